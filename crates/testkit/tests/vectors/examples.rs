//! The transactions that the vectors are about.

use k256::ecdsa::SigningKey;
use sofie_model::manifest::{
    DecisionSite, Dispute, EscrowTerms, HashlockTerms, OpenedBy, Participant, TransferTerms,
};
use sofie_model::{
    Account, Class, Digest, Finality, Leg, Manifest, PublicKey, Rule, Salt, Span, Terms, Timestamp,
    commitment,
};

/// T_D of all of them: a whole second.
pub(crate) const DEADLINE: u64 = 1_800_000_100;

/// EIP-155 id of D's chain.
pub(crate) const CHAIN: u64 = 1_337;

/// The published test keys.
pub(crate) fn key(byte: u8) -> SigningKey {
    SigningKey::from_slice(&[byte; 32]).unwrap()
}

pub(crate) fn account(byte: u8) -> Account {
    Account::from(key(byte).verifying_key())
}

/// A participant's secret.
pub(crate) fn secret(byte: u8) -> Digest {
    Digest([0x50 + byte; 32])
}

fn leg(ledger: &str, class: Class, terms: Terms) -> Leg {
    Leg {
        ledger: ledger.parse().unwrap(),
        class,
        finality: Finality::Instant,
        required: true,
        terms,
        fee_limit: 0,
    }
}

fn record(ledger: &str, payload: &[u8]) -> Leg {
    let salt = Salt::new([0x5a; 32]);
    leg(ledger, Class::Record, Terms::Record(commitment::commit(&salt, payload)))
}

fn site(ledger: &str, chain_id: u64, contract: Account, finality: Finality) -> DecisionSite {
    let fee_limit = if chain_id == 0 { 0 } else { 1_000_000_000_000_000 };
    DecisionSite { ledger: ledger.parse().unwrap(), chain_id, contract, finality, fee_limit }
}

fn manifest(legs: Vec<Leg>, decision: DecisionSite) -> Manifest {
    let participant =
        |byte| Participant { account: account(byte), hashlock: Digest::sha256(secret(byte).as_bytes()) };
    Manifest {
        version: 1,
        legs,
        rule: Rule::All,
        decision,
        deadline: Timestamp::from_seconds(DEADLINE),
        grace: Span::ZERO,
        guard: Account::ZERO,
        participants: vec![participant(1), participant(2)],
        nonce: Digest([0x77; 32]),
    }
}

/// Two records, decided on the first one's log.
pub(crate) fn records() -> Manifest {
    let decision = site("notary", 0, Account::ZERO, Finality::Instant);
    manifest(vec![record("notary", b"deed"), record("copy", b"deed")], decision)
}

/// The same records, decided by a group.
pub(crate) fn notarised(group: Account) -> Manifest {
    let decision = site("notaries", 0, group, Finality::Instant);
    Manifest { decision, ..records() }
}

/// A transfer on D's chain, a pivot with a guard, and a record that may fail.
pub(crate) fn swap() -> Manifest {
    let (payer, payee) = (account(2), account(1));
    let transfer = TransferTerms { contract: Account([0xe0; 20]), payer, payee, amount: 2_500 };
    let hashlock = HashlockTerms {
        payer: account(1),
        claimant: account(2),
        amount: 100_000,
        timelock: Timestamp::from_seconds(DEADLINE + 7_200),
        payer_key: PublicKey::from(key(1).verifying_key()),
        claimant_key: PublicKey::from(key(2).verifying_key()),
        opened_by: None,
    };
    let mut legs = vec![
        leg("evm", Class::Verifying, Terms::Transfer(transfer)),
        leg("bitcoin", Class::Hashlock, Terms::Hashlock(hashlock)),
        record("calendar", b"swap"),
    ];
    (legs[0].finality, legs[0].fee_limit) = (Finality::Tag, 1_000_000_000_000_000);
    (legs[1].finality, legs[1].fee_limit) = (Finality::Depth(3), 20_000);
    legs[2].required = false;
    let mut swap = manifest(legs, site("evm", CHAIN, Account([0xd0; 20]), Finality::Tag));
    swap.rule = Rule::AtLeast(2);
    swap.grace = Span::from_seconds(21_600);
    swap.guard = account(1);
    swap
}

/// The same, whose pivot opens to its claimant's secret alone.
pub(crate) fn packet() -> Manifest {
    let mut swap = swap();
    if let Terms::Hashlock(terms) = &mut swap.legs[1].terms {
        terms.opened_by = Some(OpenedBy::Claimant);
    }
    swap
}

/// An escrow of as much as fits, settled by the word of key 3.
pub(crate) fn rental(amount: u128) -> Manifest {
    let escrow = EscrowTerms {
        contract: Account([0xe0; 20]),
        payer: account(1),
        payee: account(2),
        amount,
        evidence_key: account(3),
        evidence_deadline: Timestamp::from_seconds(DEADLINE + 3_600),
        submission_window: Span::from_seconds(600),
        dispute: None,
    };
    let legs = vec![leg("evm", Class::Verifying, Terms::Escrow(escrow)), record("calendar", b"rental")];
    manifest(legs, site("evm", CHAIN, Account([0xd0; 20]), Finality::Instant))
}

/// The same, whose evidence key 4 may overrule for five minutes.
pub(crate) fn disputable() -> Manifest {
    let mut rental = rental(1_000);
    if let Terms::Escrow(terms) = &mut rental.legs[0].terms {
        terms.dispute = Some(Dispute { arbiter: account(4), window: Span::from_seconds(300) });
    }
    rental
}

/// A transfer and an escrow of one payer on D's chain, and a record beside them.
pub(crate) fn chained(decision: Account, escrow: Account) -> Manifest {
    let (payer, payee) = (account(1), account(2));
    let transfer = Terms::Transfer(TransferTerms { contract: escrow, payer, payee, amount: 2_500 });
    let mut legs = rental(1_000).legs;
    if let Terms::Escrow(terms) = &mut legs[0].terms {
        terms.contract = escrow;
    }
    legs[1] = record("records", b"rental");
    legs.insert(0, leg("evm", Class::Verifying, transfer));
    for leg in &mut legs[..2] {
        leg.fee_limit = 1_000_000_000_000_000;
    }
    manifest(legs, site("evm", CHAIN, decision, Finality::Instant))
}
