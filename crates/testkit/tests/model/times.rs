//! The times of the model, in ticks, and the two inequalities of P5.

/// What the ledgers and the participants declare (P5), and what the manifest fixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    /// D: from submitted to recorded, censorship included.
    pub(crate) inclusion_d: u8,
    /// D: from recorded to final, reorganisations within the declared depth included.
    pub(crate) finality_d: u8,
    /// The pivot's ledger p: from submitted to recorded.
    pub(crate) inclusion_p: u8,
    /// p: from recorded to final.
    pub(crate) finality_p: u8,
    /// How long until an honest participant notices and acts, a restart included.
    pub(crate) detection: u8,
    /// How far each of the two clocks may be from the true time.
    pub(crate) skew: u8,
    /// T_D, D's last tick of a COMMIT without the guard.
    pub(crate) deadline: u8,
    /// T_p, in p's clock: a refund is valid after it.
    pub(crate) timelock: u8,
    /// G, D's last tick of any COMMIT; ABORT is valid after it.
    pub(crate) grace_end: u8,
}

/// "After T" begins one tick after T.
const TICK: u8 = 1;

impl Times {
    /// Every bound one tick, every edge as early as P5 allows.
    pub(crate) fn tight(detection: u8, skew: u8) -> Self {
        let times = Self {
            inclusion_d: 1,
            finality_d: 1,
            inclusion_p: 1,
            finality_p: 1,
            detection,
            skew,
            deadline: 3 + detection,
            timelock: 0,
            grace_end: 0,
        };
        let times = Self { timelock: times.claim_final_by(), ..times };
        Self { grace_end: times.decided_by(), ..times }
    }

    /// The earliest safe T_p: T_D + finality(D) + detection + inclusion(p) + finality(p) + 2·skew, counted from the first
    /// tick after T_D: until then D may still take a COMMIT.
    ///
    /// finality(p) is what the model added: the claim must be final, not only recorded, before a refund is valid, or
    /// a reorganisation of p within its depth lets the refund in.
    pub(crate) fn claim_final_by(&self) -> u8 {
        self.claim_recorded_by() + self.finality_p
    }

    /// The same without finality(p).
    pub(crate) fn claim_recorded_by(&self) -> u8 {
        self.deadline + TICK + self.finality_d + self.detection + self.inclusion_p + 2 * self.skew
    }

    /// The earliest safe G:
    /// T_p + detection + inclusion(p) + finality(p) + detection + inclusion(D) + finality(D) + 2·skew.
    ///
    /// The first detection is what the model added: whoever refunds may be restarting when T_p passes, and a claim is
    /// valid until the refund stands.
    pub(crate) fn decided_by(&self) -> u8 {
        self.decided_by_at_once() + self.detection
    }

    /// The same without the time to notice that T_p has passed.
    pub(crate) fn decided_by_at_once(&self) -> u8 {
        let claimed = self.timelock + TICK + self.inclusion_p + self.finality_p;
        claimed + self.detection + self.inclusion_d + self.finality_d + 2 * self.skew
    }

    /// The last tick at which a release can still be decided in time (design: "Secrets").
    pub(crate) fn release_until(&self) -> u8 {
        self.deadline - self.inclusion_d - self.finality_d
    }

    /// P6: G + detection + inclusion(D) + finality(D).
    pub(crate) fn end(&self) -> u8 {
        self.grace_end + TICK + self.detection + self.inclusion_d + self.finality_d
    }
}
