//! What each ledger's proof shows, and whether the reader knows what it rests on.

use sofie_model::{Account, Class, Evidence, Fact, LedgerId, LegId, Manifest, Proof, proof::evm::Settlement};

use super::published::Published;
use crate::{Anchors, Body, Outcome, Publication, Report, anchors::Pin, report::Rests};

/// The facts of all proofs that hold.
#[derive(Debug, Default)]
pub(super) struct Facts {
    evidence: Vec<Evidence>,
    /// Of the proofs of chains.
    settlements: Vec<Settlement>,
    /// The same of what arbiters overruled.
    rulings: Vec<Settlement>,
    /// Whose anchors the reader has pinned.
    anchored: Vec<LedgerId>,
}

impl Facts {
    /// All of them, ledger by ledger, each in its ledger's order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Evidence> {
        self.evidence.iter()
    }

    /// The first on `ledger` that is `fact`.
    pub(super) fn find(&self, ledger: &LedgerId, fact: &Fact) -> Option<&Evidence> {
        self.all().find(|one| one.ledger == *ledger && one.fact == *fact)
    }

    /// The first fact of `leg`, on its own ledger, that `kind` makes.
    pub(super) fn of_leg(
        &self,
        manifest: &Manifest,
        leg: LegId,
        kind: fn(sofie_model::Txid, LegId) -> Fact,
    ) -> Option<&Evidence> {
        self.find(&manifest.leg(leg)?.ledger, &kind(manifest.txid(), leg))
    }

    /// The facts of escrows that paid their payees.
    pub(super) fn settled(&self) -> impl Iterator<Item = (LegId, &Evidence)> {
        self.all().filter_map(|one| match one.fact {
            Fact::Settled(_, leg) => Some((leg, one)),
            _ => None,
        })
    }

    /// The facts of escrows that paid their payers back.
    pub(super) fn refunded(&self) -> impl Iterator<Item = (LegId, &Evidence)> {
        self.all().filter_map(|one| match one.fact {
            Fact::Refunded(_, leg) => Some((leg, one)),
            _ => None,
        })
    }

    /// The facts of escrows whose evidence an arbiter overruled.
    pub(super) fn overruled(&self) -> impl Iterator<Item = (LegId, &Evidence)> {
        self.all().filter_map(|one| match one.fact {
            Fact::Overruled(_, leg) => Some((leg, one)),
            _ => None,
        })
    }

    /// What was overruled of `leg`.
    pub(super) fn ruling(&self, leg: LegId) -> Option<&Settlement> {
        self.rulings.iter().find(|one| one.leg == leg)
    }

    /// What the settlement of `leg` says.
    pub(super) fn settlement(&self, leg: LegId) -> Option<&Settlement> {
        self.settlements.iter().find(|one| one.leg == leg)
    }

    pub(super) fn is_anchored(&self, ledger: &LedgerId) -> bool {
        self.anchored.contains(ledger)
    }
}

/// Verifies each ledger's proof, and compares what it rests on with the anchors and with what was published.
pub(super) fn proofs(
    body: &Body,
    anchors: &Anchors,
    publication: &Publication,
    report: &mut Report,
) -> Facts {
    let mut facts = Facts::default();
    let mut published = Published::of(publication);
    for (index, one) in body.proofs.iter().enumerate() {
        let (ledger, name) = (&one.ledger, format!("proof {}", one.ledger));
        if body.proofs[..index].iter().any(|other| other.ledger == *ledger) {
            report.add(name, Outcome::Failed, "two proofs of one ledger could show two histories");
            continue;
        }
        if !is_named(&body.manifest, ledger) {
            report.add(name, Outcome::Failed, "the manifest does not name this ledger");
            continue;
        }
        match one.proof.verify(ledger, &body.manifest) {
            Err(error) => report.add(name, Outcome::Failed, format!("{}: {}", error.part, error.why)),
            Ok(proven) => {
                report.add(name, Outcome::Passed, format!("{} facts", proven.evidence.len()));
                let pin = anchors.holds(&proven.anchor);
                let pin = published.judge(ledger, &one.proof, &proven, pin, report);
                anchor(pin, ledger, &mut facts, report);
                facts.evidence.extend(proven.evidence);
                facts.settlements.extend(one.proof.settlements());
                facts.rulings.extend(one.proof.rulings());
                report.anchors.push(Rests { ledger: ledger.clone(), on: proven.anchor });
            }
        }
    }
    published.left_over(report);
    facts
}

fn anchor(pin: Pin, ledger: &LedgerId, facts: &mut Facts, report: &mut Report) {
    let name = format!("anchor {ledger}");
    match pin {
        Pin::Holds(reason) => {
            facts.anchored.push(ledger.clone());
            report.add(name, Outcome::Passed, reason);
        }
        Pin::Differs(why) => report.add(name, Outcome::Failed, why),
        Pin::Missing(why) => report.add(name, Outcome::Unanchored, why),
    }
}

fn is_named(manifest: &Manifest, ledger: &LedgerId) -> bool {
    manifest.decision.ledger == *ledger || manifest.legs.iter().any(|leg| leg.ledger == *ledger)
}

/// Whether the code of the contracts is known, which the proofs take for the rules. A chain shows events by any code.
pub(super) fn contracts(body: &Body, anchors: &Anchors, report: &mut Report) -> bool {
    let site = &body.manifest.decision;
    // A custodian is named by its key, which its proof's anchor shows.
    let on_chain = body.manifest.legs.iter().filter(|leg| leg.class == Class::Verifying);
    let escrows = on_chain.filter_map(|leg| Some(("escrow", leg.terms.holder()?)));
    // A group is named by its keys, which its certificate was verified with.
    let certified = |proof: &Proof| matches!(proof, Proof::Quorum(_));
    let by_group = body.proofs.iter().any(|one| one.ledger == site.ledger && certified(&one.proof));
    let on_d = (!by_group).then_some(("decision", site.contract));
    let named = on_d.into_iter().chain(escrows);
    let named: Vec<_> = named.filter(|(_, contract)| *contract != Account::ZERO).collect();
    if named.is_empty() {
        report.add("contracts", Outcome::Absent, "the manifest names none");
        return true;
    }
    let (mut known, mut missing) = (Vec::new(), Vec::new());
    for (name, contract) in named {
        match anchors.contract(site.chain_id, name, contract) {
            Pin::Holds(reason) => known.push(reason),
            Pin::Missing(why) => missing.push(why),
            Pin::Differs(why) => {
                report.add("contracts", Outcome::Failed, why);
                return false;
            }
        }
    }
    let all = missing.is_empty();
    let (outcome, reasons) = if all { (Outcome::Passed, known) } else { (Outcome::Unanchored, missing) };
    report.add("contracts", outcome, reasons.join(", "));
    all
}
