// A transaction in plain words: where it is, what each leg does and where it is, what is wrong, how much time is left.
import type { Evidence, Leg, Slack, Transaction } from "./api";
import { deadline, stepAt, type Deadline } from "./time";

const PHASES: Record<Transaction["phase"], string> = {
  proposed: "Proposed",
  declined: "Declined",
  expired: "Expired",
  preparing: "Locking its legs",
  collecting: "Locked, collecting secrets",
  deciding: "Being decided",
  applying: "Decided, legs follow",
  done: "Done",
  halted: "Halted",
};

/** Where it is, in words; an unknown phase of a newer node by its name. */
export function whereItIs({ phase, decision }: Transaction): string {
  if (phase === "done" && decision) return decision === "commit" ? "Committed" : "Aborted";
  if (phase === "applying" && decision) return decision === "commit" ? "Committed, applying" : "Aborted, undoing";
  return PHASES[phase] ?? phase;
}

/** The colour of its badge, by a contract's state of the same kind. */
export function mood({ phase, decision }: Transaction): string {
  if (phase === "halted") return "refused";
  if (decision === "abort") return "aborted";
  return phase === "done" ? "settled" : phase;
}

const STATES: Record<Leg["state"], string> = {
  proposed: "Proposed",
  declined: "Declined",
  expired: "Expired",
  intended: "Open",
  prepared: "Locked",
  applied: "Applied",
  reverted: "Undone",
  refused: "Refused",
};

export const legState = (leg: Leg): string => STATES[leg.state] ?? leg.state;

/** The colour of its badge, by a contract's state of the same kind. */
export function legMood({ state }: Leg): string {
  if (state === "applied") return "settled";
  return state === "reverted" ? "aborted" : state;
}

/** What a leg's state means for what it carries. */
export function legMeaning({ kind, state }: Leg): string {
  const record = kind === "record";
  switch (state) {
    case "intended": return record ? "Its entry is not known to be on the ledger." : "Nothing is known to be locked.";
    case "prepared": return record ? "Its entry is on the ledger, without effect until COMMIT." : "Its value is locked, finally.";
    case "applied": return kind === "escrow" ? "The escrow is armed: it pays by evidence, or pays back by time." : "It has taken effect.";
    case "reverted": return record ? "Its entry is without effect for good." : "Its value is back with its payer, or was never locked.";
    case "refused": return "Its ledger refused the lock: nothing is locked there.";
    default: return "Nothing is begun.";
  }
}

/** What a leg does, without its amount. */
export function legDeed({ kind }: Leg): string {
  switch (kind) {
    case "transfer": return "when it commits";
    case "escrow": return "once evidence is shown after it commits";
    case "hashlock": return "by every participant's secret, before a time";
    case "record": return "Records a commitment to data";
  }
}

const DUE: Record<Slack["due"], string> = {
  prepare: "its lock must be sent",
  decide: "COMMIT must be sent",
  claim: "its claim must be sent",
  settle: "COMMIT must be sent, for its claim is seen",
};

const dueWords = (slack: Slack): string => DUE[slack.due] ?? slack.due;

const TOO_LITTLE = "less time is left than this node may need to notice and act";

/** The slack of a leg, `since` milliseconds after the node told it. By the node's clock: the browser's may differ. */
export function slackOf({ leg, slack }: Leg, since: number): Deadline | null {
  if (!slack) return null;
  const left = slack.left_ms - since;
  const words = dueWords(slack);
  return {
    key: `leg-${leg}`,
    title: `${words.charAt(0).toUpperCase()}${words.slice(1)} by`,
    at: slack.until,
    state: left > 0 ? "running" : "passed",
    left,
    ...(slack.alarm && { alarm: `Alarm: ${TOO_LITTLE}.` }),
  };
}

/** The leg with the least time left. */
export function tightest(one: Transaction): Slack | null {
  const all = one.legs.flatMap(({ slack }) => (slack ? [slack] : []));
  return all.reduce<Slack | null>((least, slack) => (least && least.left_ms <= slack.left_ms ? least : slack), null);
}

/** What somebody should look at, a line each. */
export function alarms(one: Transaction): string[] {
  const where = (leg: Leg): string => `Leg ${leg.leg} on ${leg.ledger}`;
  const ofLeg = (leg: Leg): string[] => [
    ...(leg.slack?.alarm ? [`${where(leg)}: ${TOO_LITTLE} before ${dueWords(leg.slack)}.`] : []),
    ...(leg.state === "refused" ? [`${where(leg)} was refused: ${leg.reason ?? "its ledger gave no reason"}`] : []),
  ];
  const halted = one.phase === "halted" ? ["The transaction stands still until an operator looks at it."] : [];
  return [...halted, ...one.legs.flatMap(ofLeg)];
}

/** T_D, G and T_p at the instant `now`. */
export function transactionDeadlines(one: Transaction, now: number): Deadline[] {
  const decided = stepAt(one.steps, ["decided"]);
  const never = one.phase === "declined" || one.phase === "expired";
  const settled = one.decision !== null || never;
  const timelocks = one.legs.flatMap((leg) => (leg.timelock === undefined ? [] : [
    deadline(`timelock-${leg.leg}`, `Refund of leg ${leg.leg} possible from`, leg.timelock, now, undefined,
      never || leg.state === "applied" || leg.state === "reverted"),
  ]));
  return [
    deadline("decision", "Decided by", one.deadline, now, decided, settled),
    ...(one.grace_end === one.deadline ? [] : [
      deadline("grace", "A claim that was seen decided by", one.grace_end, now, undefined, settled),
    ]),
    ...timelocks,
  ];
}

/** What a piece of evidence says, and where: `Applied at height 41, index 0`. */
export function evidenceWords({ fact, position }: Evidence): string {
  const name = Object.keys(fact)[0] ?? "fact";
  return `${name.charAt(0).toUpperCase()}${name.slice(1)} at height ${position.height}, index ${position.index}`;
}
