// How fresh the page is: a dot beside the title, a note when the node is lost, the last step spoken to a screen reader.
import type { Step } from "./api";
import { stepTitle } from "./lanes";
import { timeOfDay } from "./time";

export type Connection = "connecting" | "live" | "lost" | "ended";

const CONNECTION: Record<Connection, string> = {
  connecting: "Connecting", live: "Live", lost: "Connection lost", ended: "Complete",
};

export function LiveDot({ connection }: { connection: Connection }) {
  return <span className={`link ${connection}`} data-testid="connection"><i aria-hidden="true" />{CONNECTION[connection]}</span>;
}

interface Lost {
  connection: Connection;
  heard: number | null;
  retry: () => void;
}

export function ConnectionNote({ connection, heard, retry }: Lost) {
  const since = heard ? ` What you see is from ${timeOfDay(new Date(heard).toISOString())}.` : "";
  return (
    <div role="status" aria-live="polite">
      {connection === "lost" && (
        <div className="note bad" data-testid="lost">
          <span><strong>Connection lost.</strong>{since} The page tries again by itself; the node goes on without it.</span>
          <button type="button" onClick={retry}>Try now</button>
        </div>
      )}
    </div>
  );
}

/** Speaks the last step to a screen reader, and nothing else. */
export function Announcer({ steps }: { steps: readonly Step[] }) {
  const last = steps.at(-1);
  return (
    <p className="hidden" aria-live="polite" data-testid="announcer">
      {last && `${stepTitle(last.name)}${last.ledger ? ` on ${last.ledger}` : ""}: ${last.detail}`}
    </p>
  );
}
