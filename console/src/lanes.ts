// Which lane a step belongs to: one for the parties, one a ledger, one for the things.
import type { LedgerStatus, Step } from "./api";

export interface Lane {
  key: string;
  kind: "parties" | "ledger" | "things";
  title: string;
  ledger: LedgerStatus | null;
}

/** Steps that happen at the things, whatever the node writes beside them. */
const AT_THE_THINGS: readonly string[] = [
  "capability-issued", "asked", "admitted", "denied", "actuated", "fate-unknown", "observed", "attested",
];

const LEDGER = "ledger:";

/** The lane of one step. */
export function laneOf(step: Step): string {
  if (step.ledger) return LEDGER + step.ledger;
  return AT_THE_THINGS.includes(step.name) ? "things" : "parties";
}

/** The parties, the node's ledgers in its own order, then any other that a step names, then the things. */
export function lanes(known: readonly LedgerStatus[], steps: readonly Step[]): Lane[] {
  const ids = new Set(known.map((ledger) => ledger.id));
  for (const step of steps) if (step.ledger) ids.add(step.ledger);
  const ledgers = [...ids].map((id): Lane => ({
    key: LEDGER + id,
    kind: "ledger",
    title: id,
    ledger: known.find((ledger) => ledger.id === id) ?? null,
  }));
  return [
    { key: "parties", kind: "parties", title: "Parties", ledger: null },
    ...ledgers,
    { key: "things", kind: "things", title: "Things", ledger: null },
  ];
}

/** Adds a step, once, in order: the stream repeats steps after a reconnection. */
export function withStep(steps: readonly Step[], step: Step): Step[] {
  const others = steps.filter((one) => one.seq !== step.seq);
  return [...others, step].sort((a, b) => a.seq - b.seq);
}

/** How a step is called on the page. */
export function stepTitle(name: string): string {
  const words = name.replaceAll(/[-_]/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
