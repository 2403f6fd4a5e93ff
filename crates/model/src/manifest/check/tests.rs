//! Each fault of a manifest by its path.

use k256::ecdsa::SigningKey;

use crate::manifest::{
    DecisionSite, Dispute, EscrowTerms, HashlockTerms, Leg, MAX_DISPUTE_WINDOW, MAX_LEGS, Manifest,
    Participant, TransferTerms,
};
use crate::{Account, Class, Digest, Finality, PublicKey, Rule, Span, Terms, Timestamp};

const NOW: Timestamp = Timestamp::from_seconds(1000);

fn account(byte: u8) -> Account {
    Account([byte; 20])
}

fn leg(ledger: &str, class: Class, terms: Terms) -> Leg {
    let ledger = ledger.parse().unwrap();
    Leg { ledger, class, finality: Finality::Tag, required: true, terms, fee_limit: 1 }
}

fn key(byte: u8) -> PublicKey {
    PublicKey::from(SigningKey::from_slice(&[byte; 32]).unwrap().verifying_key())
}

/// Legs: 0 an escrow, 1 a transfer, 2 the pivot, 3 a record.
fn good() -> Manifest {
    let escrow = EscrowTerms {
        contract: account(9),
        payer: account(1),
        payee: account(2),
        amount: 5,
        evidence_key: account(3),
        evidence_deadline: Timestamp::from_seconds(3000),
        submission_window: Span::from_seconds(10),
        dispute: None,
    };
    let transfer = TransferTerms { contract: account(9), payer: account(2), payee: account(1), amount: 7 };
    let hashlock = HashlockTerms {
        payer: account(1),
        claimant: account(2),
        amount: 8,
        timelock: Timestamp::from_seconds(1500),
        payer_key: key(1),
        claimant_key: key(2),
        opened_by: None,
    };
    let participant = |byte| Participant { account: account(byte), hashlock: Digest([byte; 32]) };
    Manifest {
        version: 1,
        legs: vec![
            leg("evm", Class::Verifying, Terms::Escrow(escrow)),
            leg("evm", Class::Verifying, Terms::Transfer(transfer)),
            leg("bitcoin", Class::Hashlock, Terms::Hashlock(hashlock)),
            leg("calendar", Class::Record, Terms::Record(Digest([4; 32]))),
        ],
        rule: Rule::All,
        decision: DecisionSite {
            ledger: "evm".parse().unwrap(),
            chain_id: 1,
            contract: account(8),
            finality: Finality::Tag,
            fee_limit: 1,
        },
        deadline: Timestamp::from_seconds(1060),
        grace: Span::from_seconds(900),
        guard: account(1),
        participants: vec![participant(1), participant(2)],
        nonce: Digest([7; 32]),
    }
}

fn transfer(manifest: &mut Manifest) -> &mut TransferTerms {
    let Terms::Transfer(terms) = &mut manifest.legs[1].terms else { unreachable!() };
    terms
}

fn hashlock(manifest: &mut Manifest) -> &mut HashlockTerms {
    let Terms::Hashlock(terms) = &mut manifest.legs[2].terms else { unreachable!() };
    terms
}

#[test]
fn each_fault_is_told_with_its_place() {
    assert_eq!(good().check(NOW), Ok(()));
    type Change = fn(&mut Manifest);
    let cases: [(&str, Change); 23] = [
        ("version", |m| m.version = 2),
        ("legs", |m| m.legs.clear()),
        ("legs", |m| m.legs = vec![m.legs[3].clone(); MAX_LEGS + 1]),
        ("legs[3].terms", |m| m.legs[3].class = Class::Verifying),
        ("legs[1].ledger", |m| m.legs[1].ledger = "other".parse().unwrap()),
        ("legs[4]", |m| m.legs.push(m.legs[0].clone())),
        ("legs[1].terms.contract", |m| transfer(m).contract = Account::ZERO),
        ("legs[1].terms.amount", |m| transfer(m).amount = 0),
        ("legs[1].terms.payee", |m| transfer(m).payee = account(2)),
        ("legs[1].terms.payee", |m| transfer(m).payee = Account::ZERO),
        ("legs[2].required", |m| m.legs[2].required = false),
        ("legs[2].terms.amount", |m| hashlock(m).amount = 0),
        ("legs[2].terms.timelock", |m| hashlock(m).timelock = Timestamp::from_millis(1_500_001)),
        ("legs[2].terms.payer", |m| hashlock(m).payer = account(5)),
        ("legs[2].terms.claimant", |m| hashlock(m).claimant = account(1)),
        ("legs[2].terms.payer_key", |m| hashlock(m).payer_key = PublicKey([0; 33])),
        ("legs[2].terms.claimant_key", |m| hashlock(m).claimant_key = key(1)),
        ("rule", |m| m.rule = Rule::AtLeast(5)),
        ("rule", |m| m.rule = Rule::AtLeast(0)),
        ("deadline", |m| m.deadline = NOW),
        ("grace", |m| m.grace = Span::from_millis(1)),
        ("guard", |m| m.guard = Account::ZERO),
        ("participants[1].hashlock", |m| m.participants[1].hashlock = Digest([1; 32])),
    ];
    for (path, change) in cases {
        let mut manifest = good();
        change(&mut manifest);
        assert_eq!(manifest.check(NOW).unwrap_err().path, path);
    }
}

#[test]
fn a_dispute_window_has_an_arbiter_of_its_own_and_an_end() {
    let with = |arbiter, window, submission_window| {
        let mut manifest = good();
        let Terms::Escrow(terms) = &mut manifest.legs[0].terms else { unreachable!() };
        terms.submission_window = submission_window;
        terms.dispute = Some(Dispute { arbiter, window });
        manifest.check(NOW).map_err(|fault| fault.path)
    };
    let seconds = Span::from_seconds;
    assert_eq!(with(account(4), seconds(9), seconds(10)), Ok(()));
    let longest = MAX_DISPUTE_WINDOW + seconds(1);
    assert_eq!(with(account(4), MAX_DISPUTE_WINDOW, longest), Ok(()));
    for interested in [account(1), account(2), account(3), Account::ZERO] {
        let path = "legs[0].terms.dispute.arbiter";
        assert_eq!(with(interested, seconds(9), seconds(10)), Err(path.into()), "{interested}");
    }
    let windows = [
        (Span::ZERO, seconds(10)),
        (Span::from_millis(1_500), seconds(10)),
        (seconds(10), seconds(10)),
        (seconds(11), seconds(10)),
        (longest, longest + seconds(1)),
    ];
    for (window, submission) in windows {
        let path = "legs[0].terms.dispute.window";
        assert_eq!(with(account(4), window, submission), Err(path.into()), "{window:?} of {submission:?}");
    }
}

/// What was agreed before there were disputes keeps its bytes, and so its txid.
#[test]
fn terms_without_a_dispute_are_encoded_as_ever() {
    let Terms::Escrow(terms) = &good().legs[0].terms else { unreachable!() };
    let mut with = terms.clone();
    with.dispute = Some(Dispute { arbiter: account(4), window: Span::from_seconds(9) });
    let [bytes, longer] = [terms, &with].map(crate::canonical::encode);
    // An array of seven fields, and of eight.
    assert_eq!((bytes[0], longer[0]), (0x87, 0x88));
    assert_eq!(longer[1..bytes.len()], bytes[1..]);
    let padded = [&[0x88], &bytes[1..], &[0xf6]].concat();
    assert!(crate::canonical::decode::<crate::manifest::EscrowTerms>(&padded, 1024).is_err(), "a null more");
    for (terms, bytes) in [(terms, bytes), (&with, longer)] {
        assert_eq!(crate::canonical::decode(&bytes, 1024).as_ref(), Ok(terms));
    }
}

#[test]
fn there_is_one_pivot_at_most() {
    let mut manifest = good();
    manifest.legs.push(manifest.legs[2].clone());
    hashlock(&mut manifest).amount = 9;
    let fault = manifest.check(NOW).unwrap_err();
    assert_eq!(fault.to_string(), "manifest.legs: 2 hashlock legs, at most one can be the pivot");
}
