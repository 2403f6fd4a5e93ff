//! Receipts of k of N: what COMMIT includes and what it leaves out, told truly and otherwise.

#![allow(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

mod tale;

use sofie_audit::receipt::LedgerProof;
use sofie_audit::{Outcome, Receipt, Report, Story, Verdict, verify};
use sofie_model::manifest::EscrowTerms;
use sofie_model::proof::calendar::Entry;
use sofie_model::{Decision, Digest, Evidence, Fact, Leg, LegId, Manifest, Proof, Rule, Terms, evidence};
use tale::*;

/// The leg that only appends; the first and the third are escrows on the chain that decides.
const RECORD: u16 = 1;
const DECIDED_AT: u64 = 5;

/// What is told of three legs, the first of them required. In each mask bit i is leg i.
#[derive(Clone)]
struct Told {
    at_least: u16,
    /// COMMIT of these; none: ABORT.
    included: Option<u64>,
    prepared: u64,
    /// Whose prepares the evidence root names.
    rooted: u64,
    applied: u64,
    reverted: u64,
    reverted_at: u64,
}

impl Told {
    /// COMMIT under the rule 2 of 3. All were prepared, and each follows.
    fn commit(included: u64) -> Self {
        let (applied, reverted) = (included, 0b111 & !included);
        Self {
            at_least: 2,
            included: Some(included),
            prepared: 0b111,
            rooted: included,
            applied,
            reverted,
            reverted_at: 8,
        }
    }

    fn abort(prepared: u64, reverted: u64) -> Self {
        Self { included: None, prepared, applied: 0, reverted, ..Self::commit(0) }
    }

    fn manifest(&self) -> Manifest {
        let whole = Tale::settled().manifest();
        let first = Tale::settled().escrow();
        let back = EscrowTerms { payer: first.payee, payee: first.payer, amount: STAKE, ..first };
        let optional = |leg: &Leg| Leg { required: false, ..leg.clone() };
        let [escrow, record] = &whole.legs[..] else { unreachable!("two legs") };
        let third = Leg { terms: Terms::Escrow(back), ..optional(escrow) };
        let legs = vec![escrow.clone(), optional(record), third];
        Manifest { legs, rule: Rule::AtLeast(self.at_least), ..whole }
    }

    fn proofs(&self, manifest: &Manifest) -> Vec<LedgerProof> {
        let mut ledgers = Ledgers::new(manifest);
        ledgers.tell(2, self.prepared, None);
        if self.reverted_at < DECIDED_AT {
            ledgers.tell(self.reverted_at, self.reverted, Some(false));
        }
        let decided = match self.included {
            Some(included) => Event::Decided(Decision::Commit {
                included,
                evidence_root: ledgers.root(self.rooted),
                preimages: Tale::settled().preimages,
            }),
            None => Event::Aborted(account(&renter())),
        };
        ledgers.chain.push(at(DECIDED_AT), manifest, decided);
        ledgers.tell(6, self.applied, Some(true));
        if self.reverted_at > DECIDED_AT {
            ledgers.tell(self.reverted_at, self.reverted, Some(false));
        }
        ledgers.proofs()
    }

    /// A receipt of the transaction alone: no agreement, nothing actuated.
    fn receipt(&self) -> Receipt {
        let manifest = self.manifest();
        let (story, last) = match self.included {
            Some(_) => (Story::Committed, "applied"),
            None => (Story::Aborted, "decided"),
        };
        let mut tale = Tale::new(story);
        let end = tale.records.iter().position(|(kind, _)| *kind == last).unwrap();
        tale.records.truncate(end + 1);
        let mut body = tale.body();
        (body.agreement, body.capability, body.actuation) = (None, None, None);
        body.things.clear();
        (body.txid, body.audit, body.proofs) =
            (manifest.txid(), tale.audit(&manifest), self.proofs(&manifest));
        body.manifest = manifest;
        body.sign(&operator())
    }

    fn report(&self) -> Report {
        let receipt = self.receipt();
        verify(&receipt.to_bytes(), Some(&anchors(&receipt)))
    }
}

struct Ledgers<'a> {
    manifest: &'a Manifest,
    chain: Chain,
    log: Log,
}

impl<'a> Ledgers<'a> {
    fn new(manifest: &'a Manifest) -> Self {
        Self { manifest, chain: Chain::new(CHAIN_ID, at(0)), log: Log::new() }
    }

    /// Each of `legs` prepared, or closed as applied or not.
    fn tell(&mut self, second: u64, legs: u64, closed: Option<bool>) {
        for leg in (0..3).filter(|leg| legs & 1 << leg != 0) {
            if leg == RECORD {
                self.log.push(at(second), self.entry(closed));
            } else {
                let event = match closed {
                    None => Event::Prepared,
                    Some(true) => Event::Applied,
                    Some(false) => Event::Reverted,
                };
                self.chain.push(at(second), self.manifest, Event::Of(leg, Box::new(event)));
            }
        }
    }

    fn entry(&self, closed: Option<bool>) -> Entry {
        let (txid, leg) = (self.manifest.txid(), LegId(RECORD));
        let Terms::Record(commitment) = self.manifest.legs[usize::from(RECORD)].terms else {
            unreachable!("a record")
        };
        match closed {
            None => Entry::Prepared { txid, leg, commitment },
            Some(applied) => Entry::Closed { txid, leg, applied },
        }
    }

    fn proofs(&self) -> Vec<LedgerProof> {
        let chain = LedgerProof { ledger: evm(), proof: Proof::Evm(self.chain.proof()) };
        vec![chain, LedgerProof { ledger: calendar(), proof: Proof::Calendar(self.log.proof()) }]
    }

    /// The root over the prepares of `legs`, in the order of the legs.
    fn root(&self, legs: u64) -> Digest {
        let mut prepared: Vec<(LegId, Evidence)> = Vec::new();
        for one in self.proofs() {
            for evidence in one.proof.verify(&one.ledger, self.manifest).unwrap().evidence {
                match evidence.fact {
                    Fact::Prepared(_, leg) if legs & 1 << leg.0 != 0 => prepared.push((leg, evidence)),
                    _ => {}
                }
            }
        }
        prepared.sort_by_key(|(leg, _)| *leg);
        evidence::root(prepared.iter().map(|(_, evidence)| evidence))
    }
}

const CLOSED: &str = "leg 1 on calendar: a record, inert, and closed as one without effect";
const STANDS: &str = "leg 1 on calendar: a record that stands, inert: it is without effect for want of a COMMIT that \
                      includes it";
const UNDONE: &str = "leg 2 on evm: its lock was undone";

#[test]
fn what_a_commit_of_k_of_n_leaves_out_is_told_to_be_inert_or_undone() {
    let one = Told { at_least: 1, ..Told::commit(0b001) };
    let both = format!("{CLOSED}; {UNDONE}");
    let table: [(&str, Told, Option<&str>); 7] = [
        ("nothing", Told::commit(0b111), None),
        ("a record that was closed", Told::commit(0b101), Some(CLOSED)),
        ("a record that nobody closed", Told { reverted: 0, ..Told::commit(0b101) }, Some(STANDS)),
        (
            "a record that never was",
            Told { prepared: 0b101, reverted: 0, ..Told::commit(0b101) },
            Some("leg 1 on calendar: no proof shows that it was prepared"),
        ),
        ("a lock", Told::commit(0b011), Some(UNDONE)),
        (
            "a lock that never was",
            Told { prepared: 0b011, reverted: 0, ..Told::commit(0b011) },
            Some("leg 2 on evm: no proof shows that it was prepared"),
        ),
        ("both", one, Some(&both)),
    ];
    for (name, told, expected) in table {
        let report = told.report();
        let verdict = (report.verdict(), report.story);
        assert_eq!(verdict, (Verdict::Verified, Some(Story::Committed)), "{name}: {:#?}", report.checks);
        let left_out = report.check("left out").map(|check| (check.outcome, check.reason.as_str()));
        assert_eq!(left_out, expected.map(|told| (Outcome::Passed, told)), "{name}");
    }
}

/// The whole of what a reader is told, but for what differs from one transaction to another.
#[test]
fn a_receipt_of_two_of_three_tells_all_of_it() {
    let report = Told { reverted: 0, ..Told::commit(0b101) }.report();
    let varies = |name: &str| matches!(name, "encoding" | "signatures" | "transaction" | "audit log");
    let told: Vec<_> = report
        .checks
        .iter()
        .filter(|check| !varies(&check.name) && check.outcome == Outcome::Passed)
        .map(|check| format!("{}: {}", check.name, check.reason))
        .collect();
    let left_out = format!("left out: {STANDS}");
    let expected = [
        "evidence root: the COMMIT names exactly these prepares, so that it came after them",
        "prepared: 2 legs, before the decision",
        "applied: 2 legs, after the decision",
        &left_out,
        "order: the records tell the story in its order",
    ];
    let from = told.iter().position(|one| one.starts_with("evidence root")).unwrap();
    assert_eq!(told[from..], expected, "{told:#?}");
    assert!(told[..from].iter().any(|one| *one == "decision: COMMIT at second 1800000005"), "{told:#?}");
}

#[test]
fn what_an_abort_of_k_of_n_leaves_is_undone_or_inert() {
    for (told, expected) in [
        (Told::abort(0b101, 0b101), "nothing took effect; 2 locks undone"),
        (
            Told::abort(0b011, 0b001),
            "nothing took effect; 1 locks undone; 1 records stand that nobody closed, without effect for want of a COMMIT",
        ),
    ] {
        let report = told.report();
        assert_eq!((report.verdict(), report.story), (Verdict::Verified, Some(Story::Aborted)));
        assert_eq!(report.check("reverted").unwrap().reason, expected);
        assert!(report.check("left out").is_none());
    }
}

type Lie = (&'static str, Told, &'static [(&'static str, &'static str)]);

fn lies() -> Vec<Lie> {
    vec![
        (
            "a record that was left out is applied",
            Told { applied: 0b111, reverted: 0, ..Told::commit(0b101) },
            &[("left out", "leg 1 was applied although COMMIT leaves it out")],
        ),
        (
            "a record that was left out is applied, and closed as well",
            Told { applied: 0b111, ..Told::commit(0b101) },
            &[("left out", "leg 1 was applied although COMMIT leaves it out")],
        ),
        (
            "a lock that was left out is applied",
            Told { applied: 0b111, reverted: 0, ..Told::commit(0b011) },
            &[("left out", "leg 2 was applied although COMMIT leaves it out")],
        ),
        (
            "a lock that was left out stays",
            Told { reverted: 0, ..Told::commit(0b011) },
            &[("left out", "no proof shows that the lock of leg 2 was undone")],
        ),
        (
            "undone before anything was decided",
            Told { reverted_at: 4, ..Told::commit(0b011) },
            &[("left out", "leg 2 was reverted before the decision")],
        ),
        (
            "an included record is shown as undone",
            Told { applied: 0b001, reverted: 0b110, ..Told::commit(0b011) },
            &[("applied", "leg 1 was reverted in spite of COMMIT")],
        ),
        (
            "an included lock is undone after it was applied",
            Told { reverted: 0b101, ..Told::commit(0b011) },
            &[("applied", "leg 0 was reverted in spite of COMMIT")],
        ),
        (
            "other legs close than those of the decision",
            Told { applied: 0b101, reverted: 0b010, ..Told::commit(0b011) },
            &[
                ("applied", "leg 1 was reverted in spite of COMMIT"),
                ("left out", "leg 2 was applied although COMMIT leaves it out"),
            ],
        ),
        (
            "an included leg follows never",
            Told { applied: 0b001, ..Told::commit(0b011) },
            &[("applied", "no proof shows that leg 1 was applied on calendar")],
        ),
        (
            "an included leg was not prepared",
            Told { prepared: 0b101, ..Told::commit(0b011) },
            &[("prepared", "no proof shows that leg 1 was prepared on calendar")],
        ),
        (
            "the root names what was left out",
            Told { rooted: 0b111, ..Told::commit(0b011) },
            &[("evidence root", "the COMMIT names")],
        ),
        ("too few", Told::commit(0b001), &[("decision", "COMMIT of legs 0b1 breaks the manifest's rule")]),
        (
            "the required leg is left out",
            Told::commit(0b110),
            &[("decision", "COMMIT of legs 0b110 breaks the manifest's rule")],
        ),
        (
            "a success stays under an ABORT",
            Told::abort(0b101, 0b001),
            &[("reverted", "no proof shows that the lock of leg 2 was undone")],
        ),
        (
            "a success is kept under an ABORT",
            Told { applied: 0b010, ..Told::abort(0b011, 0b001) },
            &[("reverted", "leg 1 was applied in spite of ABORT")],
        ),
    ]
}

#[test]
fn each_lie_about_what_a_commit_includes_is_refused_for_its_reason() {
    for (name, told, expected) in lies() {
        let Verdict::Refused(reasons) = told.report().verdict() else { panic!("{name} was not refused") };
        assert_eq!(reasons.len(), expected.len(), "{name}: {reasons:#?}");
        for (reason, (check, why)) in reasons.iter().zip(expected) {
            assert!(reason.starts_with(check) && reason.contains(why), "{name}: {reasons:#?}");
        }
    }
}
