//! How much time each leg of a transaction has left before it is too late for what must come next, and whether that is
//! less than this node may need to notice and act, a restart included (docs/specs/inter-ledger.md, "Pivot").
//!
//! Undecided, a leg must be final and decided before T_D; after that only the pivot rests on time, at the edges that
//! [`State::slack`] knows. Nothing that is only undone is in a hurry.

use std::collections::HashSet;
use std::time::Duration;

use sofie_ledgers::Profile;
use sofie_model::{LedgerId, LegId, Span, Timestamp, Txid};
use sofie_transaction::{Edge, Leg, Phase, Remaining, State};

use crate::auditor::Note;
use crate::clock;
use crate::runtime::Runtime;

/// How often the slack of what runs is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Of so many legs, those with the least time left, the measures tell each: an operator's board holds no more.
const URGENT: usize = 64;

/// What must happen to a leg next, and by when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Due {
    /// Its prepare must be sent.
    Prepare,
    /// COMMIT must be sent.
    Decide,
    /// Its claim must be sent.
    Claim,
    /// COMMIT must be sent, because its claim is seen.
    Settle,
}

/// How much time a leg has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slack {
    pub(crate) due: Due,
    /// The last instant at which it is still in time.
    pub(crate) until: Timestamp,
    /// From now until then; zero when it is over.
    pub(crate) left: Span,
    /// Less is left than the node may need.
    pub(crate) alarm: bool,
}

/// The slack of all that runs.
#[derive(Debug, Default)]
pub(crate) struct Slacks {
    /// The smallest, also of what only waits.
    pub(crate) least: Option<Span>,
    /// How many legs have too little.
    pub(crate) alarms: usize,
    /// The most urgent legs, the first before the others; at most [`URGENT`].
    pub(crate) urgent: Vec<(Txid, LegId, LedgerId, Slack)>,
}

impl Due {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Decide => "decide",
            Self::Claim => "claim",
            Self::Settle => "settle",
        }
    }
}

/// The slack of leg `id`; `None` when it rests on no time now, or its ledger's times are not known.
pub(crate) fn of_leg<'p>(
    state: &State,
    id: LegId,
    profile: impl Fn(&LedgerId) -> Option<&'p Profile>,
    detection: Span,
    now: Timestamp,
) -> Option<Slack> {
    let (leg, known) = (state.manifest().leg(id)?, state.legs().get(usize::from(id.0))?);
    let ledger = profile(&leg.ledger)?;
    let decided_by = before(state.manifest().deadline, state.decision_time());
    let (due, until) = match (state.phase(), known) {
        (Phase::Preparing, Leg::Open) => {
            (Due::Prepare, before(decided_by, ledger.inclusion + ledger.finalises))
        }
        (Phase::Preparing | Phase::Releasing | Phase::Committing, Leg::Open | Leg::Prepared(_)) => {
            (Due::Decide, decided_by)
        }
        _ => return state.slack(now).into_iter().find(|edge| edge.leg == Some(id)).and_then(of_pivot),
    };
    let left = until.since(now);
    Some(Slack { due, until, left, alarm: left < detection })
}

fn of_pivot(remaining: Remaining) -> Option<Slack> {
    let due = match remaining.edge {
        Edge::Claim => Due::Claim,
        Edge::Settle => Due::Settle,
        Edge::Release | Edge::Commit => return None,
    };
    Some(Slack { due, until: remaining.until, left: remaining.left, alarm: remaining.alarm })
}

const fn before(at: Timestamp, span: Span) -> Timestamp {
    Timestamp::from_millis(at.as_millis().saturating_sub(span.as_millis()))
}

impl Runtime {
    /// The slack of every leg of a transaction that has any.
    pub(crate) fn slacks(&self, state: &State, now: Timestamp) -> Vec<(LegId, Slack)> {
        let profile = |id: &LedgerId| self.ledgers().get(id).map(|ledger| ledger.profile());
        let slack = |id| Some((id, of_leg(state, id, profile, self.desk().detection, now)?));
        state.manifest().legs().filter_map(|(id, _)| slack(id)).collect()
    }

    /// The slack of all that runs, for the measures.
    pub(crate) fn all_slacks(&self) -> Slacks {
        let now = clock::now();
        let mut all = Vec::new();
        for state in self.transactions().states() {
            let ledger = |id| state.manifest().leg(id).map(|leg| leg.ledger.clone());
            let slacks = self.slacks(&state, now).into_iter();
            all.extend(slacks.filter_map(|(id, slack)| Some((state.txid(), id, ledger(id)?, slack))));
        }
        let alarms = all.iter().filter(|(.., slack)| slack.alarm).count();
        let waiting = self.transactions().waiting_until().map(|until| until.since(now));
        let least = all.iter().map(|(.., slack)| slack.left).chain(waiting).min();
        all.sort_by_key(|(txid, leg, _, slack)| (slack.until, *txid, *leg));
        all.truncate(URGENT);
        Slacks { least, alarms, urgent: all }
    }

    /// An alarm is told to whoever is told what happens here.
    async fn tell_alarm(&self, state: &State, leg: LegId, slack: &Slack, now: Timestamp) {
        let detail = format!("{leg}: {} left to {}", slack.left, slack.due.as_str());
        let ledger = state.manifest().leg(leg).map(|leg| leg.ledger.clone());
        let note = Note { ledger, ..Note::about(state.txid().0, "alarm", false, detail) };
        if let Err(error) = self.auditor().keep(Vec::new(), vec![note], now).await {
            // The node stops by itself when its journal fails.
            tracing::error!(%error, "an alarm is not kept");
        }
    }

    /// Logs and records each alarm once, until the node stops.
    pub(crate) async fn watch_slack(self) {
        let mut told: HashSet<(Txid, LegId, Due)> = HashSet::new();
        loop {
            tokio::time::sleep(LOOK).await;
            let now = clock::now();
            let states = self.transactions().states();
            let running: HashSet<Txid> = states.iter().map(|state| state.txid()).collect();
            told.retain(|(txid, ..)| running.contains(txid));
            for state in &states {
                for (leg, slack) in self.slacks(state, now) {
                    if slack.alarm && told.insert((state.txid(), leg, slack.due)) {
                        let (left, due) = (slack.left, slack.due.as_str());
                        tracing::warn!(transaction = %state.txid(), %leg, due, %left, "little time is left");
                        self.tell_alarm(state, leg, &slack, now).await;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use sofie_model::manifest::{DecisionSite, HashlockTerms};
    use sofie_model::{
        Account, Class, Decision, Digest, Evidence, Fact, Finality, LegId, Manifest, Position, PublicKey,
        Rule, Terms,
    };
    use sofie_transaction::{Input, PivotClock, Plan};

    use super::*;

    const SECOND: Span = Span::from_seconds(1);

    pub(crate) fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn profile() -> Profile {
        Profile {
            id: "l".parse().unwrap(),
            classes: vec![Class::Hashlock],
            decides: true,
            finality: Finality::Instant,
            inclusion: SECOND * 3,
            finalises: SECOND * 6,
            single_operator: false,
            poll: SECOND,
        }
    }

    /// T_D is 100, T_p is 150, G is 200; COMMIT takes 5 s.
    pub(crate) fn begun() -> State {
        let terms = HashlockTerms {
            payer: Account([1; 20]),
            claimant: Account([2; 20]),
            amount: 1,
            timelock: at(150),
            payer_key: PublicKey([2; 33]),
            claimant_key: PublicKey([3; 33]),
            opened_by: None,
        };
        let leg = sofie_model::Leg {
            ledger: "l".parse().unwrap(),
            class: Class::Hashlock,
            finality: Finality::Instant,
            required: true,
            terms: Terms::Hashlock(terms),
            fee_limit: 0,
        };
        let decision = DecisionSite {
            ledger: "l".parse().unwrap(),
            chain_id: 0,
            contract: Account::ZERO,
            finality: Finality::Instant,
            fee_limit: 0,
        };
        let manifest = Manifest {
            version: 1,
            legs: vec![leg],
            rule: Rule::All,
            decision,
            deadline: at(100),
            grace: SECOND * 100,
            guard: Account([1; 20]),
            participants: vec![],
            nonce: Digest::ZERO,
        };
        let pivot = Some(PivotClock {
            inclusion_d: SECOND,
            finality_d: SECOND,
            inclusion_p: SECOND * 3,
            finality_p: SECOND * 6,
            detection: SECOND * 4,
            skew: SECOND,
        });
        State::begin(Plan { manifest, acts_for: vec![], decision_time: SECOND * 5, pivot })
    }

    pub(crate) fn evidence(fact: Fact) -> Evidence {
        let position = Position { height: 1, index: 0, reference: Digest::ZERO };
        Evidence { ledger: "l".parse().unwrap(), fact, position, at: at(10) }
    }

    fn seen(state: &State, now: u64) -> Option<(Due, u64, bool)> {
        let profile = profile();
        let slack = of_leg(state, LegId(0), |_| Some(&profile), SECOND * 4, at(now))?;
        assert_eq!(slack.left, slack.until.since(at(now)));
        Some((slack.due, slack.until.as_seconds(), slack.alarm))
    }

    #[test]
    fn each_phase_has_its_own_last_instant() {
        let state = begun();
        // 100 − (5 + 1) − (3 + 6): with a pivot the clocks' skew counts, too.
        assert_eq!(seen(&state, 10), Some((Due::Prepare, 85, false)));
        assert_eq!(seen(&state, 81), Some((Due::Prepare, 85, false)));
        assert_eq!(seen(&state, 82), Some((Due::Prepare, 85, true)));
        let prepared = Input::Prepared(LegId(0), evidence(Fact::Prepared(state.txid(), LegId(0))));
        let state = state.next(&prepared, at(20)).unwrap();
        assert_eq!(seen(&state, 96), Some((Due::Decide, 94, true)));
        let decision = Decision::Commit { included: 1, evidence_root: Digest::ZERO, preimages: vec![] };
        let decided = Input::Decided(evidence(Fact::Decided(state.txid(), decision)));
        let state = state.next(&decided, at(50)).unwrap();
        // 150 − (3 + 6 + 2 · 1)
        assert_eq!(seen(&state, 50), Some((Due::Claim, 139, false)));
        let closed = Input::Closed(LegId(0), evidence(Fact::Applied(state.txid(), LegId(0))));
        assert_eq!(seen(&state.next(&closed, at(60)).unwrap(), 60), None);
    }
}
