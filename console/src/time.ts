// Instants and spans in words, and the slack that a step left before its deadline.
import type { Contract, Step } from "./api";

/** `3.4 s`, `2 min 05 s`, `3 h 07 min`, `2 d 4 h`. */
export function span(milliseconds: number): string {
  const total = Math.max(0, milliseconds) / 1000;
  if (total < 10) return `${total.toFixed(1)} s`;
  const seconds = Math.floor(total);
  if (seconds < 60) return `${seconds} s`;
  const [minutes, hours, days] = [60, 3600, 86_400].map((unit) => Math.floor(seconds / unit)) as [number, number, number];
  const two = (value: number): string => String(value).padStart(2, "0");
  if (hours === 0) return `${minutes} min ${two(seconds % 60)} s`;
  if (days === 0) return `${hours} h ${two(minutes % 60)} min`;
  return `${days} d ${hours % 24} h`;
}

/** How long after the beginning: to the millisecond in the first second, for a whole story may take less. */
export const offset = (milliseconds: number): string =>
  milliseconds >= 0 && milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : span(milliseconds);

const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hour12: false,
});
const day = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "2-digit" });

/** The time of day, to the millisecond. */
export const timeOfDay = (at: string): string => (valid(at) ? clock.format(new Date(at)) : at);

/** The date. */
export const date = (at: string): string => (valid(at) ? day.format(new Date(at)) : "");

const valid = (at: string): boolean => !Number.isNaN(Date.parse(at));

export interface Deadline {
  key: string;
  title: string;
  at: string;
  /** Counting down, met with so much to spare, missed, or of no consequence any more. */
  state: "running" | "met" | "passed" | "void";
  /** Milliseconds left while running; to spare when met. */
  left: number;
  /** What is wrong with it, in words. */
  alarm?: string;
}

/** A deadline at the instant `now`, met at `by`, or of no consequence. */
export function deadline(
  key: string, title: string, at: string, now: number, by: string | undefined, dropped: boolean,
): Deadline {
  const due = Date.parse(at);
  const spare = by === undefined ? undefined : due - Date.parse(by);
  if (spare !== undefined) return { key, title, at, state: spare >= 0 ? "met" : "passed", left: spare };
  if (dropped) return { key, title, at, state: "void", left: 0 };
  return { key, title, at, state: due > now ? "running" : "passed", left: due - now };
}

export const stepAt = (steps: readonly Step[], names: readonly string[]): string | undefined =>
  steps.find((step) => step.ok && names.includes(step.name))?.at;

/** The three deadlines of a contract at the instant `now`. */
export function deadlines(contract: Contract, now: number): Deadline[] {
  const { steps, state } = contract;
  const over = state === "aborted" || state === "refused";
  const settled = stepAt(steps, ["settled"]);
  const refunded = stepAt(steps, ["presented", "overruled", "refunded"]);
  const one = (key: keyof Contract["deadlines"], title: string, by: string | undefined, dropped: boolean): Deadline =>
    deadline(key, title, contract.deadlines[key], now, by, dropped);
  return [
    one("decision", "Decided by", stepAt(steps, ["decided"]), over),
    one("evidence", "Evidence seen by", settled && stepAt(steps, ["observed"]), over),
    one("refund", "Refund possible from", undefined, over || settled !== undefined || refunded !== undefined),
  ];
}
