// Transactions as the fixture tells them: one that commits on two ledgers, in the shape of GET /api/v1/transactions/TXID.

export const TXID = "cd".repeat(32);

const evidence = (ledger, fact, height, leg) => ({
  ledger, fact: { [fact]: [TXID, leg] }, position: { height, index: 0, reference: `${fact.length}${leg}`.repeat(32) }, at: Date.now(),
});

/** Under way, not locked yet: `left` milliseconds until its locks must be sent. */
export function underWay(left, { alarm = false, started = Date.now() - 5_000 } = {}) {
  const at = (seconds) => new Date(started + seconds * 1000).toISOString();
  const slack = () => ({ due: "prepare", until: new Date(Date.now() + left).toISOString(), left_ms: left, alarm });
  return {
    id: TXID, phase: "preparing", label: "custodial",
    next: `not decided by ${at(60)}, it aborts and every lock is undone`,
    decision_ledger: "evm", decision: null, deadline: at(60), grace_end: at(60),
    legs: [
      { leg: 0, ledger: "evm", class: "verifying", kind: "transfer", state: "intended", evidence: [], slack: slack(),
        payment: { from: "renter", to: "locker-co", amount: "25000000" } },
      { leg: 1, ledger: "calendar", class: "record", kind: "record", state: "intended", evidence: [], slack: slack(),
        opening: { payload: "{\"what\":\"a locker\"}", salt: "11".repeat(32) } },
    ],
    steps: [{ seq: 1, name: "submitted", at: at(0), ledger: null, ok: true, detail: "by this node" }],
  };
}

export const locked = (one, leg) => {
  const { slack, ...rest } = one.legs[leg];
  const ledger = rest.ledger;
  one.legs[leg] = { ...rest, state: "prepared", evidence: [evidence(ledger, "prepared", 7 + leg, leg)], slack: { ...slack, due: "decide" } };
  tell(one, ["prepared", ledger, "at height 7, index 0"]);
  return one;
};

/** D has decided and every leg follows. */
export function done(one, decision) {
  const commit = decision === "commit";
  const [state, fact] = commit ? ["applied", "applied"] : ["reverted", "reverted"];
  tell(one, ["decided", "evm", commit ? "COMMIT, at height 9, index 0" : "ABORT, at height 9, index 0"]);
  const legs = one.legs.map(({ slack: _, ...leg }) => (leg.state === "refused" ? leg : {
    ...leg, state, evidence: [evidence(leg.ledger, fact, 10, leg.leg)],
  }));
  legs.forEach((leg) => leg.state === state && tell(one, [fact, leg.ledger, "at height 10, index 0"]));
  return Object.assign(one, {
    phase: "done", decision, decided: { ...evidence("evm", "decided", 9, 0) }, legs,
    next: commit ? "nothing: it has taken effect" : "nothing: it takes effect nowhere",
  });
}

export function tell(one, [name, ledger, detail], ok = true) {
  one.steps.push({ seq: one.steps.length + 1, name, at: new Date().toISOString(), ledger, ok, detail });
  return one;
}
