//! k of n owners of sensors settle an escrow: the contract and [`SignedAttestation::speaks_for`] judge alike.

use alloy_primitives::Bytes;
use sofie_model::{
    Account, Attestation, Digest, SignedAttestation, Terms, Timestamp,
    attestation::Panel,
    contract::{
        Escrow::{self, EscrowErrors, settleCall},
        address, word,
    },
    manifest::EscrowTerms,
};

use crate::chain::{Done, WEALTH};
use crate::world::{AMOUNT, DECIDED_AT, EVIDENCE_DEADLINE, Party, World};

/// Where a certificate's parts begin: k, n, three keys, then words of this length.
const KEYS: usize = 2;
const WORDS: usize = KEYS + 3 * 20;
const WORD: usize = 106;

fn owners() -> [Party; 3] {
    ["first sensor", "second sensor", "third sensor"].map(Party::new)
}

fn panel(threshold: u8, owners: &[Party]) -> Panel {
    Panel::new(threshold, owners.iter().map(|owner| owner.account).collect()).expect("a panel")
}

/// An armed lock that `account` attests for.
fn armed(account: Account) -> World {
    let mut world = World::with(|manifest| {
        if let Terms::Escrow(terms) = &mut manifest.legs[0].terms {
            terms.evidence_key = account;
        }
    });
    world.arm();
    world
}

fn terms(world: &World) -> EscrowTerms {
    match &world.manifest.legs[0].terms {
        Terms::Escrow(terms) => terms.clone(),
        other => panic!("{other:?}"),
    }
}

/// What the owner in this place saw, a little later than the one before.
fn said(world: &World, place: usize) -> Attestation {
    let observed_at = Timestamp::from_seconds(DECIDED_AT + 10 + place as u64);
    let observation = Digest::of("test.reading", &[&[u8::try_from(place).expect("few")]]);
    Attestation { observation, observed_at, ..world.attestation(DECIDED_AT) }
}

fn words(world: &World, owners: &[Party]) -> Vec<SignedAttestation> {
    owners.iter().enumerate().map(|(place, owner)| said(world, place).sign(&owner.key)).collect()
}

fn call(world: &World, signed: &SignedAttestation) -> settleCall {
    settleCall {
        lock: world.lock(),
        observation: word(signed.attestation.observation),
        fulfilled: signed.attestation.fulfilled,
        observedAt: signed.attestation.observed_at.as_seconds(),
        signature: signed.signature.clone().into(),
    }
}

#[test]
fn any_two_of_three_are_paid_for_together_and_one_is_not_enough() {
    let owners = owners();
    let panel = panel(2, &owners);
    for absent in 0..3 {
        let mut world = armed(panel.account());
        let mut words = words(&world, &owners);
        words.remove(absent);
        let signed = panel.attest(&words).expect("two words");
        assert_eq!(signed.signer(), Ok(panel.account()));
        assert_eq!(signed.speaks_for(&terms(&world)), Ok(()));
        let call = call(&world, &signed);
        let done = world.settle(&call).unwrap_or_else(|refusal| panic!("without {absent}: {refusal:?}"));
        let event = done.event::<Escrow::Settled>();
        assert_eq!((event.observation, event.observedAt), (call.observation, call.observedAt));
        assert_eq!(world.money(), [WEALTH - AMOUNT, WEALTH + AMOUNT, 0]);
    }
    let mut world = armed(panel.account());
    let one = said(&world, 0).sign(&owners[0].key);
    let refusal = world.settle(&call(&world, &one)).map(drop).unwrap_err();
    assert!(matches!(refusal, EscrowErrors::WrongSigner(_)), "{refusal:?}");
}

/// A settlement by as many owners of sensors as must attest.
pub(crate) fn settled_by(threshold: u8, owners: u8) -> Done {
    let owners: Vec<Party> = (0..owners).map(|place| Party::new(&format!("sensor {place}"))).collect();
    let panel = panel(threshold, &owners);
    let mut world = armed(panel.account());
    let signed = panel.attest(&words(&world, &owners)).expect("all of them");
    let call = call(&world, &signed);
    world.settle(&call).expect("settles")
}

/// One byte, or a few, of a good certificate changed.
type Spoil = fn(&mut Vec<u8>);

#[test]
fn a_certificate_of_another_form_pays_nobody() {
    let spoils: [(&str, Spoil); 12] = [
        ("empty", |c| c.clear()),
        ("one byte", |c| c.truncate(1)),
        ("its head alone", |c| c.truncate(WORDS)),
        ("a byte short", |c| c.truncate(c.len() - 1)),
        ("a byte long", |c| c.push(0)),
        ("a word too many", |c| c.extend_from_within(WORDS..WORDS + WORD)),
        ("nobody needed", |c| {
            c[0] = 0;
            c.truncate(WORDS);
        }),
        ("three of one", |c| c[1] = 1),
        ("of 255 keys", |c| c[1] = 255),
        ("one owner twice", |c| c.copy_within(WORDS..WORDS + WORD, WORDS + WORD)),
        ("words turned round", |c| {
            let second = c.split_off(WORDS + WORD);
            let first = c.split_off(WORDS);
            c.extend(second);
            c.extend(first);
        }),
        ("a place that no key has", |c| c[WORDS + WORD] = 3),
    ];
    for (case, spoil) in spoils {
        let refusal = refused(case, |signed| spoil(&mut signed.signature));
        assert!(matches!(refusal, EscrowErrors::BadPanel(_)), "{case}: {refusal:?}");
    }
}

#[test]
fn a_certificate_of_other_keys_words_or_sums_pays_nobody() {
    type Change = fn(&mut SignedAttestation);
    type Expected = fn(&EscrowErrors) -> bool;
    let cases: [(&str, Change, Expected); 9] = [
        (
            "a lower threshold",
            |s| {
                s.signature[0] = 1;
                s.signature.truncate(WORDS + WORD);
            },
            |e| matches!(e, EscrowErrors::WrongSigner(_)),
        ),
        ("another key", |s| s.signature[WORDS - 1] ^= 1, |e| matches!(e, EscrowErrors::WrongSigner(_))),
        ("another's word", |s| s.signature[WORDS + WORD] = 2, |e| matches!(e, EscrowErrors::WrongSigner(_))),
        ("another reading", |s| s.signature[WORDS + 1] ^= 1, |e| matches!(e, EscrowErrors::WrongSigner(_))),
        ("another time", |s| s.signature[WORDS + 40] ^= 1, |e| matches!(e, EscrowErrors::WrongSigner(_))),
        ("a v of 29", |s| s.signature[WORDS + WORD - 1] = 29, |e| matches!(e, EscrowErrors::BadSignature(_))),
        (
            "another sum",
            |s| s.attestation.observation = Digest::ZERO,
            |e| matches!(e, EscrowErrors::WrongSum(_)),
        ),
        (
            "the later time",
            |s| {
                s.attestation.observed_at = s.last_observed_at();
            },
            |e| matches!(e, EscrowErrors::WrongSum(_)),
        ),
        (
            "an earlier time",
            |s| {
                s.attestation.observed_at = Timestamp::from_seconds(DECIDED_AT);
            },
            |e| matches!(e, EscrowErrors::WrongSum(_)),
        ),
    ];
    for (case, change, expected) in cases {
        let refusal = refused(case, change);
        assert!(expected(&refusal), "{case}: {refusal:?}");
    }
}

/// The refusal of a good settlement after `change`; the model must refuse it, too.
fn refused(case: &str, change: impl Fn(&mut SignedAttestation)) -> EscrowErrors {
    let owners = owners();
    let panel = panel(2, &owners);
    let mut world = armed(panel.account());
    let mut signed = panel.attest(&words(&world, &owners)).expect("three words");
    change(&mut signed);
    assert!(signed.speaks_for(&terms(&world)).is_err(), "{case}: the model takes it");
    let call = call(&world, &signed);
    world.settle(&call).map(drop).expect_err(case)
}

#[test]
fn every_word_counts_from_the_decision_until_the_evidence_deadline() {
    let owners = owners();
    let panel = panel(2, &owners);
    for (seconds, counts) in [
        (DECIDED_AT - 1, false),
        (DECIDED_AT, true),
        (EVIDENCE_DEADLINE, true),
        (EVIDENCE_DEADLINE + 1, false),
    ] {
        let mut world = armed(panel.account());
        let other = Attestation { observed_at: Timestamp::from_seconds(seconds), ..said(&world, 0) };
        let words = [other.sign(&owners[0].key), said(&world, 1).sign(&owners[1].key)];
        let call = call(&world, &panel.attest(&words).expect("two words"));
        match world.settle(&call).map(drop) {
            Ok(()) => assert!(counts, "{seconds} counted"),
            Err(refusal) => {
                assert!(
                    !counts && matches!(refusal, EscrowErrors::ObservedOutside(_)),
                    "{seconds}: {refusal:?}"
                );
            }
        }
    }
}

#[test]
fn nobody_who_pays_or_is_paid_sits_on_the_panel() {
    for interested in ["renter", "locker-co"] {
        let [first, _, third] = owners();
        let owners = [first, Party::new(interested), third];
        let panel = panel(2, &owners);
        let mut world = armed(panel.account());
        // The two honest ones are enough, and yet the panel is void: its threshold was agreed with all three in mind.
        let words = words(&world, &owners);
        let signed = panel.attest(&[words[0].clone(), words[2].clone()]).expect("two words");
        let call = call(&world, &signed);
        let key = address(owners[1].account);
        let refusal = EscrowErrors::InterestedKey(Escrow::InterestedKey { evidenceKey: key });
        assert_eq!(world.settle(&call).map(drop), Err(refusal), "{interested}");
        assert!(signed.speaks_for(&terms(&world)).is_err());
    }
}

#[test]
fn the_contract_and_the_model_name_a_panel_alike() {
    let owners = owners();
    let panel = panel(3, &owners);
    let mut world = armed(panel.account());
    let signed = panel.attest(&words(&world, &owners)).expect("three words");
    let head = Bytes::copy_from_slice(&signed.signature[..WORDS]);
    let named = world.chain.view(world.escrow, &Escrow::panelOfCall { panel: head });
    assert_eq!(named, address(panel.account()));
}
