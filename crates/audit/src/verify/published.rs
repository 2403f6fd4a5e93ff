//! Whether a log's facts stand under the roots of its seconds that the reader has from elsewhere. Its key's signature
//! adds nothing to that, and its thief takes nothing away.

use sofie_model::proof::Proven;
use sofie_model::proof::calendar::{PublishedRoot, extension::Under};
use sofie_model::{Fact, LedgerId, Proof};

use crate::publication::{Printed, Publication};
use crate::{Outcome, Report, anchors::Pin};

/// The reader's roots, and which of them are of a log of this receipt.
pub(super) struct Published<'a> {
    publication: &'a Publication,
    met: Vec<bool>,
}

impl<'a> Published<'a> {
    pub(super) fn of(publication: &'a Publication) -> Self {
        Self { publication, met: vec![false; publication.roots.len()] }
    }

    /// Puts what a proof has proven under each root of its log. Gives what its anchor rests on then.
    pub(super) fn judge(
        &mut self,
        ledger: &LedgerId,
        proof: &Proof,
        proven: &Proven,
        mut pin: Pin,
        report: &mut Report,
    ) -> Pin {
        let Proof::Calendar(proof) = proof else { return pin };
        let Ok(head) = proof.head() else { return pin };
        for (root, met) in self.publication.roots.iter().zip(&mut self.met) {
            if root.log != head.origin {
                continue;
            }
            *met = true;
            let name = format!("published {ledger}");
            match proof.under(root, &self.publication.extensions) {
                Ok(under) => {
                    report.add(name, Outcome::Passed, stands(root, under, proven));
                    pin = anchored(root, pin);
                    report.published.push(printed(ledger, root, under, proven));
                }
                Err(why) => report.add(name, Outcome::Failed, why.to_string()),
            }
        }
        pin
    }

    /// A root of which the receipt shows nothing says nothing for it.
    pub(super) fn left_over(&self, report: &mut Report) {
        for (root, _) in self.publication.roots.iter().zip(&self.met).filter(|(_, met)| !**met) {
            let why = "no proof of this receipt that holds is of that log";
            report.add(format!("published {}", root.log), Outcome::Failed, why);
        }
    }
}

fn stands(root: &PublishedRoot, under: Under, proven: &Proven) -> String {
    let how = if under.extension.is_some() { "extended to" } else { "under" };
    let (facts, seconds, second) = (proven.evidence.len(), root.size, under.second);
    format!("{facts} facts {how} the published root of {seconds} seconds, by the end of second {second}")
}

/// Where nothing else is pinned, the root is enough; what is pinned must hold besides.
fn anchored(root: &PublishedRoot, pin: Pin) -> Pin {
    let by = format!("its published root of {} seconds", root.size);
    match pin {
        Pin::Holds(reason) => Pin::Holds(format!("{reason}; and by {by}")),
        Pin::Missing(_) => Pin::Holds(format!("log {}, by {by}, not by its key", root.log)),
        differs @ Pin::Differs(_) => differs,
    }
}

fn printed(ledger: &LedgerId, root: &PublishedRoot, under: Under, proven: &Proven) -> Printed {
    let of = |check: fn(&Fact) -> bool, name: &str| {
        proven.evidence.iter().any(|one| check(&one.fact)).then(|| name.to_owned())
    };
    let by_fact = [
        of(|fact| matches!(fact, Fact::Decided(..)), "decision"),
        of(|fact| matches!(fact, Fact::Prepared(..)), "prepared"),
        of(|fact| matches!(fact, Fact::Applied(..)), "applied"),
        of(|fact| matches!(fact, Fact::Reverted(..)), "reverted"),
        of(|fact| matches!(fact, Fact::Noted(..)), "note"),
    ];
    let always = ["proof", "published", "anchor"].map(|check| format!("{check} {ledger}"));
    Printed {
        ledger: ledger.clone(),
        log: root.log.clone(),
        size: root.size,
        root: root.root,
        second: under.second,
        checks: always.into_iter().chain(by_fact.into_iter().flatten()).collect(),
    }
}
