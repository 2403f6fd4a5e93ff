// Deadlines that count down, or the slack that was left.
import { isEnd, type Contract } from "./api";
import { useNow } from "./hooks";
import { deadlines, span, timeOfDay, type Deadline } from "./time";

/** Ten times a second: the story's deadlines are seconds away. */
export const TICK_MS = 100;

/** Slack below this is shown as urgent. */
const URGENT_MS = 10_000;

/** The three deadlines of a contract. */
export function ContractDeadlines({ contract, skew }: { contract: Contract; skew: number }) {
  const now = useNow(TICK_MS, !isEnd(contract.state)) + skew;
  return <DeadlineList all={deadlines(contract, now)} began={contract.steps[0]?.at} now={now} />;
}

/** Deadlines as they stand at `now`, of something that began at `began`. */
export function DeadlineList({ all, began, now }: { all: readonly Deadline[]; began: string | undefined; now: number }) {
  const start = Date.parse(began ?? "");
  return (
    <ul className="deadlines">
      {all.map((one) => <Item key={one.key} one={one} began={start} now={now} />)}
    </ul>
  );
}

function Item({ one, began, now }: { one: Deadline; began: number; now: number }) {
  const due = Date.parse(one.at);
  const urgent = one.alarm || (one.state === "running" && one.left < URGENT_MS) ? " urgent" : "";
  return (
    <li className={one.state + urgent} data-testid={`deadline-${one.key}`} data-state={one.state}>
      <span>{one.title} <time className="quiet" dateTime={one.at}>{timeOfDay(one.at)}</time></span>
      <b role={one.state === "running" ? "timer" : undefined}>{words(one)}</b>
      {one.state === "running" && due > began && (
        <progress max={due - began} value={Math.min(now, due) - began} aria-label={`Time used of: ${one.title}`} />
      )}
      {one.alarm && <strong className="alarm">{one.alarm}</strong>}
    </li>
  );
}

function words(one: Deadline): string {
  switch (one.state) {
    case "running": return `in ${span(one.left)}`;
    case "met": return `met, ${span(one.left)} to spare`;
    case "passed": return "passed";
    case "void": return "no longer needed";
  }
}
