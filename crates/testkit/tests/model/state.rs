//! The state: what stands on three ledgers, who knows what, and what time it is.

use crate::times::Times;

/// A participant. Alice pays on the pivot and is its guard, Bob claims the pivot and pays on the verifying leg, Carol
/// appends the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    Alice,
    Bob,
    Carol,
}

pub(crate) const ALL: [Who; 3] = [Who::Alice, Who::Bob, Who::Carol];

/// A set of participants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Set(u8);

impl Set {
    pub(crate) const EVERYONE: Self = Self(0b111);

    pub(crate) fn of(members: &[Who]) -> Self {
        members.iter().fold(Self::default(), |set, who| set.with(*who))
    }

    pub(crate) const fn has(self, who: Who) -> bool {
        self.0 >> who as u8 & 1 == 1
    }

    #[must_use]
    pub(crate) const fn with(self, who: Who) -> Self {
        Self(self.0 | 1 << who as u8)
    }

    #[must_use]
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn members(self) -> impl Iterator<Item = Who> {
        ALL.into_iter().filter(move |who| self.has(*who))
    }
}

/// A transaction on one ledger. D also carries the verifying leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Tx {
    /// The verifying leg's lock, on D.
    LockVerifying,
    /// The pivot's lock, on p.
    LockPivot,
    /// The record's entry, on a ledger that only appends.
    AppendRecord,
    /// COMMIT, on D.
    Commit,
    /// ABORT, on D.
    Abort,
    /// The pivot's claim with every preimage, on p.
    Claim,
    /// The pivot's refund after T_p, on p.
    Refund,
}

pub(crate) const PREPARES: [Tx; 3] = [Tx::LockVerifying, Tx::LockPivot, Tx::AppendRecord];
pub(crate) const ALL_TX: [Tx; 7] =
    [Tx::LockVerifying, Tx::LockPivot, Tx::AppendRecord, Tx::Commit, Tx::Abort, Tx::Claim, Tx::Refund];

impl Tx {
    pub(crate) const fn is_prepare(self) -> bool {
        matches!(self, Self::LockVerifying | Self::LockPivot | Self::AppendRecord)
    }

    /// Whose prepare it is.
    pub(crate) const fn owner(self) -> Option<Who> {
        match self {
            Self::LockPivot => Some(Who::Alice),
            Self::LockVerifying => Some(Who::Bob),
            Self::AppendRecord => Some(Who::Carol),
            _ => None,
        }
    }

    const fn on_pivot(self) -> bool {
        matches!(self, Self::LockPivot | Self::Claim | Self::Refund)
    }

    pub(crate) const fn inclusion(self, times: &Times) -> u8 {
        if self.on_pivot() { times.inclusion_p } else { times.inclusion_d }
    }

    pub(crate) const fn finality(self, times: &Times) -> u8 {
        if self.on_pivot() { times.finality_p } else { times.finality_d }
    }
}

/// Where a ledger transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Absent,
    /// In the mempool, where all see it; recorded by `until` unless it conflicts with what stands.
    Waiting {
        since: u8,
        until: u8,
        /// When a first record, since undone by a reorganisation, would have been final.
        was_final_at: Option<u8>,
    },
    /// Seen since `since`; a reorganisation may undo it before `final_at`.
    Recorded {
        since: u8,
        final_at: u8,
    },
}

/// The one crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Crash {
    NotYet,
    Down(Who),
    /// It runs again, from its journal.
    Back,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// D's clock.
    pub(crate) now: u8,
    /// By how much p's clock is ahead of D's.
    pub(crate) ahead: i8,
    /// Who acts together, by any move the ledgers accept, or not at all.
    pub(crate) hostile: Set,
    /// Whose secret has 33 bytes.
    pub(crate) odd: Option<Who>,
    pub(crate) places: [Place; 7],
    /// Whose secret everyone knows.
    pub(crate) released: Set,
    /// The honest ones have signed ABORT. A hostile one's signature is to be had at any time.
    pub(crate) abort_signed: bool,
    /// The honest guard has signed COMMIT.
    pub(crate) guard_signed: bool,
    /// The claimant's COMMIT was seen, and did not arrive.
    pub(crate) lost: bool,
    /// P2: the last honest release came after every prepare was final, and before T_D.
    pub(crate) released_well: bool,
    pub(crate) crash: Crash,
    /// How many more reorganisations there may be.
    pub(crate) reorgs: u8,
    /// P4: some leg was locked twice.
    pub(crate) twice: bool,
    /// What a reader who breaks the rules took for the decision.
    pub(crate) misread: Option<bool>,
    /// The verifying leg went back by time, which breaks the rules.
    pub(crate) back_by_time: bool,
}

impl State {
    pub(crate) fn at(&self, tx: Tx) -> Place {
        self.places[tx as usize]
    }

    pub(crate) fn set(&mut self, tx: Tx, place: Place) {
        self.places[tx as usize] = place;
    }

    pub(crate) fn is_absent(&self, tx: Tx) -> bool {
        self.at(tx) == Place::Absent
    }

    pub(crate) fn is_recorded(&self, tx: Tx) -> bool {
        matches!(self.at(tx), Place::Recorded { .. })
    }

    pub(crate) fn is_final(&self, tx: Tx) -> bool {
        matches!(self.at(tx), Place::Recorded { final_at, .. } if final_at <= self.now)
    }

    /// When everybody could first see it.
    pub(crate) fn seen(&self, tx: Tx) -> Option<u8> {
        match self.at(tx) {
            Place::Absent => None,
            Place::Waiting { since, .. } | Place::Recorded { since, .. } => Some(since),
        }
    }

    /// When it is final, unless it is undone before.
    pub(crate) fn final_at(&self, tx: Tx) -> Option<u8> {
        match self.at(tx) {
            Place::Recorded { final_at, .. } => Some(final_at),
            _ => None,
        }
    }

    pub(crate) fn is_decided(&self) -> bool {
        self.is_recorded(Tx::Commit) || self.is_recorded(Tx::Abort)
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.is_recorded(Tx::Claim) || self.is_recorded(Tx::Refund)
    }

    pub(crate) fn is_honest(&self, who: Who) -> bool {
        !self.hostile.has(who)
    }

    pub(crate) fn is_up(&self, who: Who) -> bool {
        self.crash != Crash::Down(who)
    }

    /// Who follows the rules and runs.
    pub(crate) fn able(&self, who: Who) -> bool {
        self.is_honest(who) && self.is_up(who)
    }

    /// p's clock.
    pub(crate) fn pivot_clock(&self) -> i16 {
        i16::from(self.now) + i16::from(self.ahead)
    }

    /// Whether nothing can happen any more: the decision is final, and so is the pivot's end.
    pub(crate) fn is_over(&self) -> bool {
        let decided = self.is_final(Tx::Commit) || self.is_final(Tx::Abort);
        let spent = self.is_final(Tx::Claim) || self.is_final(Tx::Refund);
        decided && (spent || self.is_absent(Tx::LockPivot))
    }

    /// Forgets instants that nothing depends on any more, so that states which differ only in them are one.
    pub(crate) fn forget(&mut self) {
        let decided = self.is_decided();
        for tx in ALL_TX {
            let over = match tx {
                Tx::Commit => !self.is_absent(Tx::Claim) || self.is_spent(),
                Tx::Claim => decided,
                _ => true,
            };
            let keeps_since = tx == Tx::Claim && !decided;
            let now = self.now;
            match &mut self.places[tx as usize] {
                Place::Absent => {}
                Place::Waiting { since, .. } => *since = if keeps_since { *since } else { 0 },
                Place::Recorded { since, final_at } => {
                    *since = if keeps_since { *since } else { 0 };
                    *final_at = if over && *final_at <= now { 0 } else { *final_at };
                }
            }
        }
    }

    /// Whether the hostile ones know every secret.
    pub(crate) fn hostile_know_all(&self) -> bool {
        self.released.and(self.hostile) == Set::EVERYONE
    }
}
