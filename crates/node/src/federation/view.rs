//! Machines' states as the API shows them.

use futures::{Stream, stream};
use sofie_market::{Bond, BondPhase, COURTESY, Part, Phase, Voice};
use sofie_model::{Account, Decision, Digest, Evidence, Fact, LegId, Salt, Terms, Timestamp, Txid};
use sofie_transaction::{Leg, State};

use crate::api::{
    Amount, At, Contract, ContractState, Deadlines, DisputeStatus, LegKind, LegSlack, LegStatus, Opening,
    Payment, PenaltyStatus, Proposal, SensorStatus, Step, Transaction, Verdict,
};
use crate::auditor;
use crate::contracts::{Driven, Plan};
use crate::federation::outlook;
use crate::journal::{JournalError, Reader};
use crate::peers::{Pending, Standing, TOO_LATE, WITHDRAWN};
use crate::runtime::Runtime;
use crate::slack::Slack;

impl Runtime {
    /// What the audit log says about `subject`, numbered from 1; only what comes after number `after`.
    pub(super) fn steps(&self, subject: Digest, after: Option<u64>) -> Result<Vec<Step>, JournalError> {
        steps(&self.journal().reader()?, subject, after)
    }

    pub(super) fn label(&self, manifest: &sofie_model::Manifest) -> String {
        let single = |id: &_| self.ledgers().get(id).is_none_or(|ledger| ledger.profile().single_operator);
        sofie_transaction::label(manifest, single).to_string()
    }
}

/// What a journal's audit log says about `subject`, numbered from 1; only what comes after number `after`.
pub(crate) fn steps(
    journal: &Reader,
    subject: Digest,
    after: Option<u64>,
) -> Result<Vec<Step>, JournalError> {
    let records = journal.audit_of(subject)?;
    let steps = (1..).zip(records).filter(|(seq, _)| *seq > after.unwrap_or(0));
    steps.map(|(seq, bytes)| Ok(step(seq, auditor::decode(journal.path(), &bytes)?))).collect()
}

fn step(seq: u64, record: auditor::Record) -> Step {
    Step {
        seq,
        name: record.kind,
        at: At(record.at),
        ledger: record.ledger,
        ok: record.ok,
        detail: record.detail,
    }
}

/// A contract's steps as they come; ends after its last.
pub(super) fn follow(runtime: Runtime, id: Txid, after: u64) -> impl Stream<Item = Step> + Send {
    struct Reader {
        runtime: Runtime,
        grown: tokio::sync::watch::Receiver<u64>,
        after: u64,
        read: std::collections::VecDeque<Step>,
    }
    let grown = runtime.auditor().watch();
    let reader = Reader { runtime, grown, after, read: std::collections::VecDeque::new() };
    stream::unfold(reader, move |mut reader| async move {
        loop {
            if let Some(step) = reader.read.pop_front() {
                reader.after = step.seq;
                return Some((step, reader));
            }
            reader.grown.mark_unchanged();
            // Asked before the steps are read: what it ended with is then among them.
            let ended =
                reader.runtime.contracts().state(id).ok()?.is_none_or(|driven| driven.contract.ended());
            reader.read = reader.runtime.steps(id.0, Some(reader.after)).ok()?.into();
            if reader.read.is_empty() {
                if ended {
                    return None;
                }
                reader.grown.changed().await.ok()?;
            }
        }
    })
}

pub(super) fn contract(runtime: &Runtime, driven: &Driven, steps: Vec<Step>) -> Contract {
    let (state, reason) = state(driven.contract.phase());
    shown(runtime, &driven.contract, &driven.plan.manifest, (state, reason, next(driven)), steps)
}

/// A contract that has not begun.
pub(super) fn proposed(
    runtime: &Runtime,
    pending: &Pending,
    plan: &Plan,
    steps: Vec<Step>,
) -> Option<Contract> {
    let contract = sofie_market::Contract::begin(plan.agreement.clone(), &plan.manifest)?;
    let deadline = At(pending.manifest.deadline);
    let own = pending.peer.is_none();
    let cancelled = pending.why.starts_with(WITHDRAWN);
    let (state, next) = match (pending.standing, own) {
        (Standing::Proposed, true) => {
            let next = format!(
                "the other node's owner decides; without a word it expires at {deadline}, and nothing moves"
            );
            (ContractState::Proposed, next)
        }
        (Standing::Proposed, false) => {
            let next = format!(
                "`sofie tx agree` or `sofie contract cancel`; without a word it expires at {deadline}, and nothing moves"
            );
            (ContractState::Proposed, next)
        }
        (Standing::Declined, _) if pending.why.ends_with(TOO_LATE) => {
            (ContractState::Expired, "nothing: agree to the offer again".into())
        }
        (Standing::Declined, true) if cancelled => {
            (ContractState::Cancelled, "nothing: it never begins".into())
        }
        (Standing::Declined, _) => (ContractState::Declined, "nothing: it never begins".into()),
        (Standing::Expired, _) => (ContractState::Expired, "nothing: agree to the offer again".into()),
    };
    Some(shown(runtime, &contract, &plan.manifest, (state, Some(pending.why.clone()), next), steps))
}

fn shown(
    runtime: &Runtime,
    contract: &sofie_market::Contract,
    manifest: &sofie_model::Manifest,
    (state, reason, next): (ContractState, Option<String>, String),
    steps: Vec<Step>,
) -> Contract {
    let agreement = contract.agreement();
    let (_, terms) = contract.escrow();
    Contract {
        id: contract.txid(),
        state,
        reason,
        thing: agreement.thing.clone(),
        action: agreement.action.clone(),
        renter: runtime.called(agreement.renter),
        owner: runtime.called(agreement.owner),
        price: Amount(agreement.price),
        label: runtime.label(manifest),
        deadlines: Deadlines {
            decision: At(manifest.deadline),
            evidence: At(terms.evidence_deadline),
            refund: At(contract.refund_at()),
        },
        next,
        sensors: sensors(runtime, contract),
        penalty: contract.bond().map(|bond| penalty(contract, bond)),
        dispute: contract.dispute().map(|agreed| DisputeStatus {
            arbiter: runtime.called(agreed.arbiter),
            account: agreed.arbiter,
            window_s: agreed.window.as_seconds(),
            until: contract.disputable_until().map(At),
            ruling: contract.ruling(),
        }),
        steps,
    }
}

/// The owner's stake, and what becomes of it.
fn penalty(contract: &sofie_market::Contract, bond: &Bond) -> PenaltyStatus {
    let (_, terms) = bond.escrow();
    let (due, until, refund) = (At(contract.due()), At(terms.evidence_deadline), At(bond.refund_at()));
    let (state, next) = match bond.phase() {
        BondPhase::Held => (
            "held",
            format!(
                "unless the sensors attest from {due} to {until} that it is not so, the owner has it back at {refund}"
            ),
        ),
        BondPhase::Claiming { .. } => ("claimed", "the escrow pays it to the renter".into()),
        BondPhase::Refused { reason } => ("refused", format!("{reason}; the owner has it back at {refund}")),
        BondPhase::Returning => ("returning", "the escrow gives it back to the owner".into()),
        BondPhase::Paid => ("paid", paid_why(contract.asks_why_until())),
        BondPhase::Returned => ("returned", "nothing: the owner has it back".into()),
        BondPhase::Stuck { reason } => ("stuck", format!("nothing by itself: {reason}")),
    };
    // Nothing was locked for good.
    let aborted = matches!(contract.phase(), Phase::Aborted { .. });
    let (state, next) =
        if aborted { ("returned", "nothing: nothing was moved".into()) } else { (state, next) };
    PenaltyStatus { amount: Amount(terms.amount), state: state.into(), due, until, refund, next }
}

fn paid_why(asked_until: Option<Timestamp>) -> String {
    asked_until.map_or_else(
        || "nothing: the renter has it".into(),
        |until| {
            format!(
                "the renter has it; until {} this node asks on which word, which its receipt is to tell",
                At(until)
            )
        },
    )
}

/// Where several are agreed on: each, and what its owner has said.
fn sensors(runtime: &Runtime, contract: &sofie_market::Contract) -> Vec<SensorStatus> {
    let keys = contract.keys();
    if keys.len() == 1 {
        return Vec::new();
    }
    let told = contract.voices().zip(keys);
    told.map(|((rule, voice), key)| SensorStatus {
        thing: rule.thing.clone(),
        property: rule.property.clone(),
        by: runtime.called(key),
        says: match voice {
            Voice::Silent => "silent",
            Voice::Seen => "seen",
            Voice::Attests => "attests",
            Voice::Contradicts => "contradicts",
        }
        .into(),
    })
    .collect()
}

/// What must come, so that the money does not go back; of several sensors, what each owner has said so far.
fn unless(contract: &sofie_market::Contract) -> String {
    let said = contract.voices().map(|(rule, voice)| {
        let says = match voice {
            Voice::Silent => "is silent",
            Voice::Seen => "has seen it, unsigned",
            Voice::Attests => "attests it",
            Voice::Contradicts => "contradicts",
        };
        format!("{} {says}", rule.thing)
    });
    let said: Vec<_> = said.collect();
    match said.len() {
        1 => "without evidence".into(),
        count => format!("{}; unless {} of {count} attest,", said.join(", "), contract.needed()),
    }
}

fn state(phase: &Phase) -> (ContractState, Option<String>) {
    match phase {
        Phase::Recording => (ContractState::Preparing, None),
        Phase::Committed => (ContractState::Committed, None),
        Phase::Issuing | Phase::Ready { .. } | Phase::Acting | Phase::Awaiting => {
            (ContractState::Armed, None)
        }
        Phase::Watching | Phase::Noting { .. } | Phase::Presenting { .. } | Phase::Settling { .. } => {
            (ContractState::Actuated, None)
        }
        Phase::Disputable { .. } | Phase::Overruling { .. } => (ContractState::Disputable, None),
        Phase::Overruled => (ContractState::Overruled, Some("the arbiter overruled the evidence".into())),
        Phase::Waiting { reason } | Phase::Refunding { reason } | Phase::Stuck { reason } => {
            (ContractState::Armed, Some(reason.clone()))
        }
        Phase::Settled => (ContractState::Settled, None),
        Phase::Refunded { reason } => (ContractState::Refunded, Some(reason.clone())),
        Phase::Aborted { reason } => (ContractState::Aborted, Some(reason.clone())),
    }
}

/// What happens if nobody acts.
pub(crate) fn next(driven: &Driven) -> String {
    let refund = At(driven.contract.refund_at());
    let decision = At(driven.plan.manifest.deadline);
    let back = match driven.contract.part() {
        Part::Both => format!("the renter is paid back at {refund}"),
        Part::Payer => format!("this node has the renter paid back at {refund}"),
        Part::Owner => {
            let here = At(driven.contract.refund_at() + COURTESY);
            format!("the renter's node has it paid back from {refund}, this node at {here}")
        }
    };
    let without = unless(&driven.contract);
    match driven.contract.phase() {
        Phase::Recording => format!("not decided by {decision}, it aborts and every lock is undone"),
        Phase::Awaiting => format!("the owner's node tells the device; {without} {back}"),
        Phase::Committed | Phase::Issuing | Phase::Ready { .. } | Phase::Acting
            if driven.contract.part() != Part::Payer =>
        {
            format!("the device is told; {without} {back}")
        }
        Phase::Committed | Phase::Issuing | Phase::Ready { .. } | Phase::Acting => {
            format!("the escrow is armed, then the owner's node tells the device; {without} {back}")
        }
        Phase::Noting { until, .. } if driven.contract.part() == Part::Payer => {
            format!("the owner's node brings the evidence to the escrow; from {} this one does", At(*until))
        }
        Phase::Watching | Phase::Noting { .. } => format!("{without} {back}"),
        Phase::Presenting { .. } => {
            "the evidence is presented to the escrow, then it may be overruled".into()
        }
        Phase::Disputable { attestation } => undisputed(&driven.contract, attestation.is_some()),
        Phase::Overruling { .. } => {
            "the arbiter's ruling is brought to the escrow, which pays the renter back".into()
        }
        Phase::Overruled => "nothing: the renter is paid back".into(),
        Phase::Settling { .. } => "the escrow pays the owner".into(),
        Phase::Waiting { .. } => back,
        Phase::Refunding { .. } => "the escrow pays the renter back".into(),
        Phase::Settled => "nothing: the owner is paid".into(),
        Phase::Refunded { .. } => "nothing: the renter is paid back".into(),
        Phase::Aborted { .. } => "nothing: nothing was moved".into(),
        Phase::Stuck { .. } => "nothing by itself: the operator must look at the escrow".into(),
    }
}

/// What becomes of presented evidence that nobody overrules. `known`: its word is here.
fn undisputed(contract: &sofie_market::Contract, known: bool) -> String {
    let (Some(until), Some(from)) = (contract.disputable_until(), contract.pays_from()) else {
        return String::new();
    };
    let unless = format!("unless the arbiter overrules the evidence until {}", At(until));
    match (contract.part(), known) {
        (Part::Both | Part::Owner, true) => format!("{unless}, the escrow pays the owner at {}", At(from)),
        (Part::Both | Part::Owner, false) => {
            format!("{unless}, the escrow pays the owner once the word that was presented is brought here")
        }
        (Part::Payer, true) => {
            format!("{unless}, the owner's node has it paid then, or this one at {}", At(from))
        }
        (Part::Payer, false) => format!("{unless}, the owner's node has it paid then"),
    }
}

/// A party's name by its account.
pub(crate) type NameOf<'a> = &'a dyn Fn(Account) -> String;

/// What has not begun.
pub(crate) fn proposal(
    pending: &Pending,
    label: String,
    name_of: NameOf<'_>,
    steps: Vec<Step>,
) -> Transaction {
    let (phase, next) = match (pending.standing, &pending.peer) {
        (Standing::Proposed, Some(_)) => ("proposed", "sofie tx agree, or sofie tx decline"),
        (Standing::Proposed, None) => {
            ("proposed", "nothing: it begins once every peer has agreed; or sofie tx withdraw")
        }
        (Standing::Declined, _) => ("declined", "nothing: it never begins"),
        (Standing::Expired, Some(_)) => ("expired", "nothing: its peer must propose it anew"),
        (Standing::Expired, None) => ("expired", "submit the draft again, with a later deadline"),
    };
    let manifest = &pending.manifest;
    let participants = manifest.participants.iter().map(|one| name_of(one.account));
    let shown = |leg: LegId| pending.openings.iter().find(|opening| opening.leg == leg);
    let leg = |(id, leg)| LegStatus {
        opening: shown(id).map(|shown| opening(&shown.payload, shown.salt)),
        ..leg_status(id, leg, phase, Vec::new(), name_of)
    };
    Transaction {
        id: pending.txid,
        phase: phase.into(),
        reason: None,
        next: outlook::of_proposal(pending),
        label,
        contract: pending.contract.is_some(),
        proposal: Some(Proposal {
            by: pending.peer.clone(),
            participants: participants.collect(),
            why: pending.why.clone(),
            next: next.into(),
        }),
        decision_ledger: manifest.decision.ledger.clone(),
        decision: None,
        decided: None,
        deadline: At(manifest.deadline),
        grace_end: At(manifest.grace_end()),
        legs: manifest.legs().map(leg).collect(),
        watchers: Vec::new(),
        steps,
    }
}

/// What a record says. It was looked at for being a text when it was taken.
pub(super) fn opening(payload: &[u8], salt: Salt) -> Opening {
    Opening { payload: String::from_utf8_lossy(payload).into_owned(), salt }
}

pub(crate) fn transaction(
    state: &State,
    label: String,
    name_of: NameOf<'_>,
    steps: Vec<Step>,
) -> Transaction {
    use sofie_transaction::Phase;
    let phase = match state.phase() {
        Phase::Preparing => "preparing",
        Phase::Releasing => "collecting",
        Phase::Committing | Phase::Late | Phase::Aborting { .. } => "deciding",
        Phase::Closing(_) => "applying",
        Phase::Done(_) => "done",
        Phase::Halted { .. } => "halted",
    };
    // Also of one that is halted afterwards.
    let decision = state.decided().and_then(|evidence| match evidence.fact {
        Fact::Decided(_, Decision::Commit { .. }) => Some(Verdict::Commit),
        Fact::Decided(_, Decision::Abort { .. }) => Some(Verdict::Abort),
        _ => None,
    });
    Transaction {
        id: state.txid(),
        phase: phase.into(),
        reason: outlook::reason(state, &steps),
        next: outlook::next(state),
        label,
        contract: false,
        proposal: None,
        decision_ledger: state.manifest().decision.ledger.clone(),
        decision,
        decided: state.decided().cloned(),
        deadline: At(state.manifest().deadline),
        grace_end: At(state.manifest().grace_end()),
        legs: state
            .manifest()
            .legs()
            .zip(state.legs())
            .map(|((id, leg), known)| {
                let (how_far, evidence) = how_far(known);
                LegStatus { reason: why(state, id, known), ..leg_status(id, leg, how_far, evidence, name_of) }
            })
            .collect(),
        watchers: Vec::new(),
        steps,
    }
}

pub(super) fn slack(slack: &Slack) -> LegSlack {
    LegSlack {
        due: slack.due.as_str().into(),
        until: At(slack.until),
        left_ms: slack.left.as_millis(),
        alarm: slack.alarm,
    }
}

fn how_far(known: &Leg) -> (&'static str, Vec<Evidence>) {
    match known {
        Leg::Open => ("intended", Vec::new()),
        Leg::Prepared(evidence) => ("prepared", vec![evidence.clone()]),
        Leg::Refused(_) => ("refused", Vec::new()),
        Leg::Closed { applied: true, evidence } => ("applied", evidence.iter().cloned().collect()),
        Leg::Closed { applied: false, evidence } => ("reverted", evidence.iter().cloned().collect()),
    }
}

/// Why a leg was not prepared, or did not take effect although the transaction did.
fn why(state: &State, id: LegId, known: &Leg) -> Option<String> {
    let decision = state.decided().map(|evidence| &evidence.fact);
    match (known, decision) {
        (Leg::Refused(reason), _) => Some(reason.clone()),
        (Leg::Closed { applied: false, .. }, Some(Fact::Decided(_, decision @ Decision::Commit { .. })))
            if !decision.includes(id) =>
        {
            Some("COMMIT leaves it out".into())
        }
        _ => None,
    }
}

fn leg_status(
    id: LegId,
    leg: &sofie_model::Leg,
    state: &str,
    evidence: Vec<Evidence>,
    name_of: NameOf<'_>,
) -> LegStatus {
    let pays = |from, to, amount| Payment { from: name_of(from), to: name_of(to), amount: Amount(amount) };
    let (kind, payment, timelock) = match &leg.terms {
        Terms::Transfer(terms) => {
            (LegKind::Transfer, Some(pays(terms.payer, terms.payee, terms.amount)), None)
        }
        Terms::Escrow(terms) => (LegKind::Escrow, Some(pays(terms.payer, terms.payee, terms.amount)), None),
        Terms::Hashlock(terms) => (
            LegKind::Hashlock,
            Some(pays(terms.payer, terms.claimant, terms.amount)),
            Some(At(terms.timelock)),
        ),
        Terms::Record(_) => (LegKind::Record, None, None),
    };
    LegStatus {
        leg: id,
        ledger: leg.ledger.clone(),
        class: leg.class,
        kind,
        state: state.into(),
        reason: None,
        payment,
        evidence,
        timelock,
        slack: None,
        opening: None,
    }
}
