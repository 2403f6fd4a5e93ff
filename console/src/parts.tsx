// Small parts that several pages use: a state's badge, the label's meaning, a failure in words, an amount, an id.
import type { ApiFailure, State } from "./api";

const STATES: Record<State, string> = {
  proposed: "Proposed",
  preparing: "Preparing",
  committed: "Committed",
  armed: "Armed",
  actuated: "Actuated",
  disputable: "Disputable",
  settled: "Settled",
  overruled: "Overruled",
  refunded: "Refunded",
  aborted: "Aborted",
  refused: "Refused",
  declined: "Declined",
  cancelled: "Cancelled",
  expired: "Expired",
};

export function StateBadge({ state }: { state: State }) {
  return <Badge kind={state}>{STATES[state] ?? state}</Badge>;
}

/** A state in words, in the colour of its `kind`. */
export function Badge({ kind, children }: { kind: string; children: string }) {
  return <span className={`badge ${kind}`} data-testid="state">{children}</span>;
}

/** The label, and what the outcome rests on. */
export function LabelWords({ label }: { label: string }) {
  return <><b data-testid="label">{label}</b> <span className="quiet">{labelMeaning(label)}</span></>;
}

/** docs/guide/inter-ledger.md */
function labelMeaning(label: string): string {
  if (label === "verified") return "Each ledger checks the decision itself; no operator has to be trusted.";
  if (label === "quorum") return "Rests on more than two thirds of a named group.";
  if (label === "custodial") return "Rests on a single operator, who could rewrite a ledger that it uses.";
  if (label.startsWith("swap-safe")) return "Rests on someone acting in time on one of its legs.";
  return "";
}

export function FailureNote({ failure }: { failure: ApiFailure }) {
  return (
    <div className="note bad" role="alert">
      <strong>{failure.title}.</strong> {failure.message} {failure.next && <em>{failure.next}</em>}
    </div>
  );
}

/** An amount in the smallest unit, its digits in groups of three. */
export function Amount({ value }: { value: string }) {
  const grouped = value.replaceAll(/\B(?=(\d{3})+$)/g, "\u202f");
  return <span className="amount" title="in the ledger's smallest unit">{grouped}</span>;
}

export const shortId = (id: string): string => `${id.slice(0, 8)}…${id.slice(-4)}`;

/** The head of a page whose subject is not known yet. */
export function Unknown({ what, id, asking }: { what: string; id: string; asking: boolean }) {
  return (
    <>
      <h1>{what} <span className="quiet mono">{shortId(id)}</span></h1>
      {asking && <p className="quiet" role="status">Asking the node …</p>}
    </>
  );
}
