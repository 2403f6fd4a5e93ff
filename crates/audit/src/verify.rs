//! The offline verification of a receipt: no node, no network, no clock.
//!
//! What a check trusts is in the receipt or in the [`Anchors`]. The order of events on one ledger is that ledger's; a
//! COMMIT's evidence root puts every prepare before it, whatever clocks say; other comparisons across ledgers allow for
//! [`CLOCK_SKEW`].
//!
//! Left out: the capability (opaque here), and what a proof cannot show: that a record ledger's entry is the first of
//! its kind, and that a device did what it answered. The sensor's owner vouches for that.

mod actuation;
mod ledgers;
mod legs;
mod log;
mod published;
mod who;

use sofie_model::{Span, Timestamp};

use crate::{Anchors, Body, Outcome, Publication, Receipt, Report, Story};
use ledgers::Facts;
use legs::Decided;

/// How far the clocks of two ledgers, or of a ledger and a node, may differ: as far into the future as Ethereum clients
/// have let a block's time lie.
pub const CLOCK_SKEW: Span = Span::from_seconds(15);

/// Verifies a receipt. Without anchors all is checked that can be, and the decision is shown as unanchored.
///
/// ```
/// use sofie_audit::{Verdict, verify};
/// let report = verify(b"not a receipt", None);
/// assert!(matches!(report.verdict(), Verdict::Refused(_)));
/// ```
#[must_use]
pub fn verify(bytes: &[u8], anchors: Option<&Anchors>) -> Report {
    verify_under(bytes, anchors, &Publication::default())
}

/// The same, and that the entries of each log whose root of seconds was published stand under it. What does is anchored
/// by that root, also where the log's key is not pinned; what does not is refused, whoever signed it.
#[must_use]
pub fn verify_under(bytes: &[u8], anchors: Option<&Anchors>, publication: &Publication) -> Report {
    let mut report = Report::default();
    let receipt = match Receipt::from_bytes(bytes) {
        Ok(receipt) => receipt,
        Err(error) => {
            report.add("encoding", Outcome::Failed, error.to_string());
            return report;
        }
    };
    report.add("encoding", Outcome::Passed, format!("canonical, {} bytes", bytes.len()));
    let body = &receipt.body;
    report.txid = Some(body.txid);
    let none = Anchors::default();
    let anchors = anchors.unwrap_or(&none);

    who::signatures(&receipt, &mut report);
    who::parties(body, anchors, &mut report);
    report.found("manifest", manifest(body));
    report.found("transaction", transaction(body));
    let facts = ledgers::proofs(body, anchors, publication, &mut report);
    let contracts = ledgers::contracts(body, anchors, &mut report);
    let decided = legs::decision(body, &facts, contracts, &mut report);
    report.story = decided.as_ref().map(|decided| story(body, decided, &facts));
    if let Some(decided) = &decided {
        let case = Case { body, facts: &facts, decided, story: story(body, decided, &facts) };
        legs::legs(&case, &mut report);
        actuation::agreement(&case, &mut report);
        actuation::evidence(&case, &mut report);
        actuation::settlement(&case, &mut report);
        actuation::notes(&case, &mut report);
        log::order(&case, &mut report);
    }
    capability(body, &mut report);
    report.found("audit log", log::links(body));
    report
}

/// What the checks that follow the decision look at.
struct Case<'a> {
    body: &'a Body,
    facts: &'a Facts,
    decided: &'a Decided,
    story: Story,
}

impl Case<'_> {
    /// What a check of the evidence found. Only a settlement rests on it: evidence that did not count, late or unsigned
    /// by the agreed key, does not contradict a refund.
    fn judge(&self, report: &mut Report, name: &str, result: Result<String, String>) {
        match result {
            Err(why) if !self.story.rests_on_evidence() => {
                report.add(name, Outcome::Absent, format!("it did not count: {why}"));
            }
            result => report.found(name, result),
        }
    }

    /// Notes that the story has nothing of this kind, or fails if it should have.
    fn missing(&self, report: &mut Report, name: &str, needed: bool, what: &str) {
        let outcome = if needed { Outcome::Failed } else { Outcome::Absent };
        report.add(name, outcome, format!("the receipt holds no {what}"));
    }
}

fn manifest(body: &Body) -> Result<String, String> {
    // Whether its deadline has passed is not asked: that the decision kept it is a check of its own.
    body.manifest.check(Timestamp::default()).map_err(|fault| fault.to_string())?;
    let legs = body.manifest.legs.len();
    Ok(format!("{legs} legs, decision on {}", body.manifest.decision.ledger))
}

fn transaction(body: &Body) -> Result<String, String> {
    let txid = body.manifest.txid();
    if txid == body.txid {
        Ok(format!("{txid}"))
    } else {
        Err(format!("the manifest is that of {txid}, the receipt says {}", body.txid))
    }
}

fn story(body: &Body, decided: &Decided, facts: &Facts) -> Story {
    let stake = actuation::stake(body);
    if !decided.commits() {
        Story::Aborted
    } else if facts.settled().any(|(leg, _)| Some(leg) == stake) {
        Story::Penalised
    } else if facts.settled().next().is_some() {
        Story::Settled
    } else if facts.overruled().next().is_some() {
        Story::Overruled
    } else if facts.refunded().next().is_some() {
        Story::Refunded
    } else {
        Story::Committed
    }
}

fn capability(body: &Body, report: &mut Report) {
    let reason = match &body.capability {
        Some(part) => format!("a token of {} bytes, not looked at here", part.token.len()),
        None => "the receipt holds no capability".to_owned(),
    };
    report.add("capability", Outcome::Absent, reason);
}
