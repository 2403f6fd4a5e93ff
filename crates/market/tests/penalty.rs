//! The owner's stake: the renter's if the sensor says, once it was due, that what was agreed is not so; else the owner's.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, reason = "the world is shared with the other tests")]

mod world;

use proptest::prelude::*;
use sofie_market::{
    Agreement, BondPhase, COURTESY, Contract, Effect, EvidenceRule, Input, Part, Penalty, Phase, Report,
    Seen, Unfit, WORD_PATIENCE, Witness, Witnesses,
};
use sofie_model::manifest::EscrowTerms;
use sofie_model::{
    Account, Attestation, Digest, Fact, Leg, LegId, Manifest, Observation, Quantity, SignedAttestation, Span,
    Terms, Timestamp, Value, canonical,
};
use world::*;

/// The stake's leg: behind the price and the record.
const BOND: LegId = LegId(2);
const STAKE: u128 = 500;
/// The last instant at which it may be shown that the act was missed.
const UNTIL: Timestamp = Timestamp::from_seconds(1_700);
/// From when the owner can have the stake back.
const RETURN_AT: Timestamp = Timestamp::from_seconds(1_731);

fn staked() -> Agreement {
    Agreement { penalty: Some(Penalty { amount: STAKE, until: UNTIL }), ..agreement() }
}

fn with_bond(change: impl Fn(&mut EscrowTerms)) -> Manifest {
    let mut manifest = manifest();
    let Terms::Escrow(price) = &manifest.legs[0].terms else { unreachable!() };
    let (payer, payee) = (account(2), account(1));
    let mut bond = EscrowTerms { payer, payee, amount: STAKE, evidence_deadline: UNTIL, ..price.clone() };
    change(&mut bond);
    let leg = Leg { terms: Terms::Escrow(bond), ..manifest.legs[0].clone() };
    manifest.legs.push(leg);
    manifest
}

fn staked_manifest() -> Manifest {
    with_bond(|_| {})
}

fn new(part: Part) -> Contract {
    Contract::begin(staked(), &staked_manifest()).unwrap().as_part(part)
}

/// Both escrows are armed, and the device has been told, if it is here.
fn told(part: Part) -> Contract {
    let armed = run(new(part), [Input::Committed(NOW), Input::Armed]);
    if part == Part::Payer { armed } else { run(armed, [Input::Issued(TOKEN.into()), Input::Acting]) }
}

/// The door is shut, as the sensor saw it at `at`.
fn shut(at: Timestamp) -> Observation {
    Observation { quantity: Quantity::unitless(Value::Bool(false)), ..reading(at) }
}

fn said(leg: LegId, observation: &Observation) -> SignedAttestation {
    let said = new(Part::Both).attestation(observation, &salt());
    Attestation { leg, ..said }.sign(&evidence_key())
}

fn missed() -> Input {
    Input::Attested(said(BOND, &shut(EVIDENCE_DEADLINE)))
}

fn opened() -> Input {
    Input::Attested(said(LEG, &reading(NOW)))
}

fn fact(fact: fn(sofie_model::Txid, LegId) -> Fact, leg: LegId) -> sofie_model::Evidence {
    seen(fact(new(Part::Both).txid(), leg))
}

fn price_paid() -> Input {
    Input::Settled(fact(Fact::Settled, LEG))
}

fn price_back() -> Input {
    Input::Refunded(fact(Fact::Refunded, LEG))
}

fn bond_paid() -> Input {
    Input::Settled(fact(Fact::Settled, BOND))
}

fn bond_back() -> Input {
    Input::Refunded(fact(Fact::Refunded, BOND))
}

fn bond(contract: &Contract) -> &BondPhase {
    contract.bond().unwrap().phase()
}

fn at(contract: &Contract, input: &Input, now: Timestamp) -> Contract {
    contract.clone().next(input, now).unwrap()
}

#[test]
fn a_contract_begins_only_on_the_stake_that_is_agreed() {
    assert!(Contract::begin(agreement(), &staked_manifest()).is_none(), "none is agreed");
    assert!(Contract::begin(staked(), &manifest()).is_none(), "none is locked");
    let changes: [fn(&mut EscrowTerms); 6] = [
        |bond| bond.payer = account(1),
        |bond| bond.payee = account(2),
        |bond| bond.amount += 1,
        |bond| bond.evidence_key = account(9),
        |bond| bond.evidence_deadline = EVIDENCE_DEADLINE,
        |bond| bond.submission_window = Span::ZERO,
    ];
    for change in changes {
        assert!(Contract::begin(staked(), &with_bond(change)).is_none());
    }
    let late =
        Agreement { penalty: Some(Penalty { amount: STAKE, until: EVIDENCE_DEADLINE }), ..agreement() };
    let manifest = with_bond(|bond| bond.evidence_deadline = EVIDENCE_DEADLINE);
    assert!(Contract::begin(late, &manifest).is_none(), "nothing could be shown after it is due");
    let theirs: sofie_audit::Agreement = canonical::decode(&canonical::encode(&staked()), 16 * 1024).unwrap();
    assert_eq!(canonical::encode(&theirs), canonical::encode(&staked()));
}

#[test]
fn what_shows_that_it_was_missed_is_of_the_sensor_and_of_its_time() {
    let rule = agreement().evidence;
    let missed = |observation: &Observation| rule.missed_by(observation, EVIDENCE_DEADLINE, UNTIL);
    for edge in [EVIDENCE_DEADLINE, UNTIL] {
        assert_eq!(missed(&shut(edge)), Ok(()));
    }
    let just_before = Timestamp::from_millis(EVIDENCE_DEADLINE.as_millis() - 1);
    assert_eq!(missed(&shut(just_before)), Err(Unfit::TooEarly));
    assert_eq!(missed(&shut(Timestamp::from_millis(UNTIL.as_millis() + 1))), Err(Unfit::TooLate));
    assert_eq!(missed(&reading(UNTIL)), Err(Unfit::Fulfils { value: Value::Bool(true) }));
    assert_eq!(missed(&Observation { retained: true, ..shut(UNTIL) }), Err(Unfit::Retained));
    let other = Observation { property: "bell".into(), ..shut(UNTIL) };
    assert!(matches!(missed(&other), Err(Unfit::Other { .. })));
}

#[test]
fn a_missed_act_gives_the_renter_price_and_stake() {
    let told = told(Part::Both);
    assert!(told.effects().contains(&Effect::Notice { sensor: 0 }));
    let noticed = at(&told, &Input::Missed(shut(EVIDENCE_DEADLINE), salt()), EVIDENCE_DEADLINE);
    let asked = Effect::AttestMissed { sensor: 0, observation: shut(EVIDENCE_DEADLINE), salt: salt() };
    assert!(noticed.effects().contains(&asked));
    let claimed = at(&noticed, &missed(), EVIDENCE_DEADLINE);
    let BondPhase::Claiming { attestation } = bond(&claimed) else { panic!("{:?}", bond(&claimed)) };
    assert!(claimed.effects().contains(&Effect::Settle { leg: BOND, attestation: attestation.clone() }));
    assert!(claimed.penalised());
    // From now on no word has the price paid.
    assert!(claimed.clone().next(&opened(), EVIDENCE_DEADLINE).is_err());
    let back = run(at(&claimed, &Input::Woken, REFUND_AT), [price_back()]);
    assert!(!back.effects().contains(&Effect::Receipt), "the stake is not where it belongs yet");
    let over = run(back, [bond_paid()]);
    assert_eq!((name(over.phase()), bond(&over)), ("refunded", &BondPhase::Paid));
    assert_eq!(over.effects(), vec![Effect::Receipt]);
    assert!(run(over, [Input::Receipted(Digest::ZERO)]).ended());
}

#[test]
fn a_kept_promise_gives_the_owner_both_and_silence_moves_nothing() {
    let proven = run(told(Part::Both), [opened()]);
    assert!(!proven.effects().contains(&Effect::Notice { sensor: 0 }));
    let refused = proven.clone().next(&missed(), EVIDENCE_DEADLINE).unwrap_err();
    assert!(refused.why.contains("the penalty is not due"), "{refused}");
    for first in [run(proven, [noted(), price_paid()]), told(Part::Both)] {
        assert_eq!(bond(&at(&first, &Input::Woken, REFUND_AT)), &BondPhase::Held);
        let due = at(&first, &Input::Woken, RETURN_AT);
        assert_eq!(bond(&due), &BondPhase::Returning);
        assert!(due.effects().contains(&Effect::Refund { leg: BOND }));
        assert_eq!(bond(&run(due, [bond_back()])), &BondPhase::Returned);
    }
}

#[test]
fn an_aborted_contract_has_no_stake_to_return() {
    let aborted = run(new(Part::Both), [Input::Aborted("no".into())]);
    assert_eq!(aborted.effects(), vec![Effect::Receipt]);
    assert!(run(aborted, [Input::Receipted(Digest::ZERO)]).ended());
}

#[test]
fn a_refusal_of_the_stakes_escrow_is_told_and_ends_by_time() {
    let claimed = at(&told(Part::Both), &missed(), EVIDENCE_DEADLINE);
    let refused = run(claimed, [Input::BondRefused("no".into())]);
    assert_eq!(bond(&refused), &BondPhase::Refused { reason: "no".into() });
    let due = at(&refused, &Input::Woken, RETURN_AT);
    assert_eq!(bond(&due), &BondPhase::Returning);
    let stuck = run(due, [Input::BondRefused("never".into())]);
    assert!(matches!(stuck.effects().last(), Some(Effect::Alarm(why)) if why.contains("never")));
    assert_eq!(bond(&run(stuck, [bond_back()])), &BondPhase::Returned, "what the escrow says stands");
}

#[test]
fn the_owners_node_tells_and_the_renters_claims() {
    let noticed = run(told(Part::Owner), [Input::Missed(shut(EVIDENCE_DEADLINE), salt())]);
    let knows = at(&noticed, &missed(), EVIDENCE_DEADLINE);
    assert_eq!(bond(&knows), &BondPhase::Held, "it does not ask for what harms its owner");
    let report = knows.report();
    assert_eq!(report.missed.as_ref().map(Vec::len), Some(1));
    let renter = told(Part::Payer);
    assert!(renter.is_news(&report));
    let claims = run(renter.clone(), [Input::Reported(report.clone())]);
    assert!(matches!(bond(&claims), BondPhase::Claiming { .. }));
    assert!(!claims.is_news(&report));
    // A word that shows nothing.
    let lie = Seen { observation: reading(UNTIL), salt: salt(), attestation: said(BOND, &reading(UNTIL)) };
    let lying = Report { missed: Some(vec![lie]), ..Report::default() };
    assert!(renter.clone().next(&Input::Reported(lying), NOW).is_err());
    // Somebody may bring it, too.
    let brought = Seen { observation: shut(UNTIL), salt: salt(), attestation: said(BOND, &shut(UNTIL)) };
    assert!(matches!(bond(&run(renter.clone(), [Input::Brought(brought)])), BondPhase::Claiming { .. }));
    // The owner has the stake back first; the renter's node later, so that its own contract ends.
    assert_eq!(bond(&at(&noticed, &Input::Woken, RETURN_AT)), &BondPhase::Returning);
    assert_eq!(bond(&at(&renter, &Input::Woken, RETURN_AT)), &BondPhase::Held);
    assert_eq!(bond(&at(&renter, &Input::Woken, RETURN_AT + COURTESY)), &BondPhase::Returning);
}

/// Before the device is told nothing counts; then the price's word, until one is there; from when it was due, the stake's.
#[test]
fn a_word_is_listened_for_while_it_would_count() {
    let late = EVIDENCE_DEADLINE;
    for part in [Part::Both, Part::Owner, Part::Payer] {
        assert!(!new(part).listens(late), "{part:?}: nothing is armed");
        assert!(told(part).listens(NOW), "{part:?}: the price's");
        assert!(!run(told(part), [opened()]).listens(late), "{part:?}: it is as agreed");
        let back = run(told(part), [price_back()]);
        assert_eq!([NOW, late].map(|now| back.listens(now)), [false, true], "{part:?}: the stake's");
        assert!(!run(back, [bond_back()]).listens(late), "{part:?}: it is over");
    }
    assert!(!at(&told(Part::Both), &missed(), late).listens(late), "it is claimed");
}

/// The word with the reading that it is about.
fn word(observation: Observation) -> Seen {
    Seen { attestation: said(BOND, &observation), observation, salt: salt() }
}

/// As the ledger shows it at `now`, whoever asked for it: the stake is paid out, the price is paid back.
fn paid_out(contract: &Contract, now: Timestamp) -> Contract {
    at(&at(contract, &bond_paid(), now), &price_back(), now)
}

/// Whichever comes first, the payment or the word that it rests on: both nodes know it before they end.
#[test]
fn a_node_that_sees_the_stake_paid_asks_why_until_it_hears_it_or_for_ten_minutes() {
    let now = UNTIL;
    let (brought, told_by) = (Input::Brought(word(shut(now))), |seen| {
        Input::Reported(Report { missed: Some(vec![seen]), ..Report::default() })
    });
    for part in [Part::Owner, Part::Payer] {
        let before = paid_out(&at(&told(part), &brought, now), now);
        assert!(before.penalised() && before.informed(), "{part:?}");
        assert_eq!((before.effects(), before.asks_why_until()), (vec![Effect::Receipt], None), "{part:?}");

        let unknown = paid_out(&told(part), now);
        let until = now + WORD_PATIENCE;
        assert_eq!(unknown.effects(), vec![Effect::Wake(until)], "{part:?}: the receipt waits");
        assert_eq!(unknown.asks_why_until(), Some(until));
        assert!(unknown.listens(now) && !unknown.informed());
        // A restart reads the same inputs at the same times; an early timer, or the payment seen again, changes nothing.
        assert_eq!(unknown.clone().after_restart(), unknown);
        for again in [Input::Woken, bond_paid()] {
            assert_eq!(at(&unknown, &again, now + Span::from_seconds(599)), unknown, "{part:?}");
        }

        let mut after = vec![at(&unknown, &brought, until)];
        if part == Part::Payer {
            after.push(at(&unknown, &told_by(word(shut(now))), until));
        }
        for after in after {
            assert_eq!((after.effects(), after.asks_why_until()), (vec![Effect::Receipt], None), "{part:?}");
            assert_eq!(after.missed().collect::<Vec<_>>(), [word(shut(now))], "{part:?}");
            assert!(!after.listens(until));
            // The first word stands, and so does its reading.
            let same_second = Observation { message_id: Digest([8; 32]), ..shut(now) };
            let twin = Seen { observation: same_second, ..word(shut(now)) };
            for other in [word(shut(EVIDENCE_DEADLINE)), twin] {
                assert_eq!(at(&after, &Input::Brought(other), until), after, "{part:?}");
            }
        }

        let given_up = at(&unknown, &Input::Woken, until);
        assert_eq!(
            (given_up.effects(), given_up.asks_why_until()),
            (vec![Effect::Receipt], None),
            "{part:?}"
        );
        assert!(!given_up.penalised() && !given_up.listens(until));
        assert_eq!(at(&given_up, &bond_paid(), until), given_up, "{part:?}: it does not begin again");
        assert!(run(given_up, [Input::Receipted(Digest::ZERO)]).ended());
    }
    // A contract of one node has nobody to ask; of a stake that went back there is nothing to tell.
    assert_eq!(paid_out(&told(Part::Both), now).effects(), vec![Effect::Receipt]);
    let returned = run(told(Part::Owner), [bond_back(), price_back()]);
    assert_eq!((returned.effects(), returned.listens(now)), (vec![Effect::Receipt], false));
}

/// What is learnt after the payment is checked as what would have moved it.
#[test]
fn after_the_payment_no_other_word_counts_than_before_it() {
    let late = Timestamp::from_seconds(UNTIL.as_seconds() + 1);
    let early = Timestamp::from_seconds(EVIDENCE_DEADLINE.as_seconds() - 1);
    let good = word(shut(UNTIL));
    let says = |change: &dyn Fn(&mut Attestation)| {
        let mut said = good.attestation.attestation;
        change(&mut said);
        Seen { attestation: said.sign(&evidence_key()), ..good.clone() }
    };
    let cases = [
        ("has authority", Seen { attestation: good.attestation.attestation.sign(&key(9)), ..good.clone() }),
        ("does not show a penalty", word(reading(UNTIL))),
        ("does not show a penalty", word(shut(early))),
        ("does not show a penalty", word(shut(late))),
        ("does not show a penalty", word(Observation { property: "bell".into(), ..shut(UNTIL) })),
        ("does not show a penalty", word(Observation { retained: true, ..shut(UNTIL) })),
        ("another time", Seen { observation: shut(EVIDENCE_DEADLINE), ..good.clone() }),
        ("something else", Seen { salt: sofie_model::Salt::new([1; 32]), ..good.clone() }),
        ("something else", says(&|said| said.fulfilled = false)),
        ("before it was due", says(&|said| said.observed_at = early)),
        ("after the penalty's deadline", says(&|said| said.observed_at = late)),
    ];
    for part in [Part::Owner, Part::Payer] {
        let before = told(part);
        let paid = paid_out(&before, UNTIL);
        for (why, lie) in &cases {
            for contract in [&before, &paid] {
                let refused = contract.clone().next(&Input::Brought(lie.clone()), UNTIL).unwrap_err();
                assert!(refused.why.contains(why), "{part:?}: {why}: {refused}");
            }
            if part == Part::Payer {
                let report = Report { missed: Some(vec![lie.clone()]), ..Report::default() };
                let refused = paid.clone().next(&Input::Reported(report), UNTIL).unwrap_err();
                assert!(refused.why.contains(why), "{why}: {refused}");
            }
        }
        // The sensor's owner says the contrary: that moves nothing, and is no reason for what was paid.
        let watching = at(&before, &bond_paid(), UNTIL);
        let refused = watching.clone().next(&opened(), UNTIL).unwrap_err();
        assert!(refused.why.contains("the price is not paid any more"), "{refused}");
        // A bare word of it shows no reading, so that the question stands.
        let bare = at(&paid, &Input::Attested(good.attestation.clone()), UNTIL);
        assert_eq!(bare, paid, "{part:?}");
    }
    // Of the price, too, whoever passes a word on cannot change when it was read.
    let later = Observation { observed_at: NOW + Span::from_seconds(1), ..reading(NOW) };
    let turned = Seen { observation: later, salt: salt(), attestation: said(LEG, &reading(NOW)) };
    let refused = told(Part::Payer).next(&Input::Brought(turned), NOW).unwrap_err();
    assert!(refused.why.contains("another time"), "{refused}");
    // Who attested both lied once: what the stake was paid on stands in the record beside the other.
    let both = at(&at(&told(Part::Owner), &opened(), NOW), &bond_paid(), UNTIL);
    let both = at(&both, &Input::Brought(good.clone()), UNTIL);
    assert_eq!((both.penalised(), both.missed().next()), (true, Some(good)));
}

fn any_input() -> impl Strategy<Value = Input> {
    let early = Timestamp::from_seconds(EVIDENCE_DEADLINE.as_seconds() - 1);
    proptest::sample::select(vec![
        Input::Acted("2.04".into()),
        Input::Denied("no".into()),
        observed(reading(NOW)),
        opened(),
        noted(),
        price_paid(),
        price_back(),
        Input::SettleRefused("no".into()),
        Input::RefundRefused("no".into()),
        Input::Missed(shut(EVIDENCE_DEADLINE), salt()),
        Input::Missed(shut(early), salt()),
        missed(),
        Input::Attested(said(BOND, &shut(early))),
        bond_paid(),
        bond_back(),
        Input::BondRefused("no".into()),
        Input::Woken,
    ])
}

/// Words in every guise, what the escrows say, and time.
fn any_word() -> impl Strategy<Value = Input> {
    let early = Timestamp::from_seconds(EVIDENCE_DEADLINE.as_seconds() - 1);
    let stranger = word(shut(UNTIL)).attestation.attestation.sign(&key(9));
    let told = |seen| Input::Reported(Report { missed: Some(vec![seen]), ..Report::default() });
    proptest::sample::select(vec![
        Input::Brought(word(shut(UNTIL))),
        Input::Brought(word(shut(EVIDENCE_DEADLINE))),
        Input::Brought(word(shut(early))),
        Input::Brought(word(reading(UNTIL))),
        Input::Brought(Seen { attestation: stranger, ..word(shut(UNTIL)) }),
        told(word(shut(UNTIL))),
        told(word(reading(UNTIL))),
        missed(),
        bond_paid(),
        bond_paid(),
        price_back(),
        Input::Woken,
    ])
}

/// What two escrow contracts do when they are asked: each pays once, one way.
#[derive(Default)]
struct Ledger {
    closed: [Option<bool>; 2],
}

impl Ledger {
    fn answers(&mut self, effect: &Effect) -> Option<Input> {
        let (leg, pays) = match effect {
            Effect::Settle { leg, .. } => (*leg, true),
            Effect::Refund { leg } => (*leg, false),
            _ => return None,
        };
        let place = usize::from(leg == BOND);
        let closed = *self.closed[place].get_or_insert(pays);
        Some(match (place, closed) {
            (0, true) => price_paid(),
            (0, false) => price_back(),
            (_, true) => bond_paid(),
            (_, false) => bond_back(),
        })
    }

    /// What renter and owner hold, of a price and a stake that were theirs before.
    fn balances(&self) -> (u128, u128) {
        let [price, stake] = self.closed;
        let (mut renter, mut owner) = (0, 0);
        match price {
            Some(true) => owner += PRICE,
            Some(false) => renter += PRICE,
            None => {}
        }
        match stake {
            Some(true) => renter += STAKE,
            Some(false) => owner += STAKE,
            None => {}
        }
        (renter, owner)
    }
}

const PRICE: u128 = 1_000_000_007;

/// Of three sensors' owners two must say it, each for its own, and none that has said the contrary.
#[test]
fn as_many_sensors_as_attest_the_act_must_attest_that_it_was_missed() {
    let holder = |by: u8| Account::from(key(by).verifying_key());
    let rule =
        |by: u8| EvidenceRule { thing: format!("urn:door:{by}").parse().unwrap(), ..staked().evidence };
    let others = [4, 5].map(|by| Witness { rule: rule(by), key: holder(by) }).to_vec();
    let witnesses = Witnesses { threshold: 2, key: holder(3), others };
    let mut manifest = staked_manifest();
    for leg in &mut manifest.legs {
        if let Terms::Escrow(terms) = &mut leg.terms {
            terms.evidence_key = witnesses.panel().unwrap().account();
        }
    }
    let agreed = Agreement { witnesses: Some(witnesses), ..staked() };
    let device = [Input::Committed(NOW), Input::Armed, Input::Issued(TOKEN.into()), Input::Acting];
    let contract = run(Contract::begin(agreed, &manifest).unwrap(), device);
    let says = |leg: LegId, by: u8, observation: Observation| {
        let observation = Observation { thing: rule(by).thing, ..observation };
        let said = Attestation { leg, ..contract.attestation(&observation, &salt()) };
        Input::Attested(said.sign(&key(by)))
    };
    let missed = |by| says(BOND, by, shut(EVIDENCE_DEADLINE));
    let one = at(&contract, &missed(4), EVIDENCE_DEADLINE);
    assert_eq!(bond(&one), &BondPhase::Held);
    assert_eq!(at(&one, &missed(4), EVIDENCE_DEADLINE), one, "one owner has one word");
    let seen = run(contract.clone(), [says(LEG, 3, reading(NOW))]);
    let said = seen.next(&missed(3), EVIDENCE_DEADLINE).unwrap_err().to_string();
    assert!(said.contains("has attested that it was so"), "{said}");
    let two = at(&one, &missed(5), EVIDENCE_DEADLINE);
    let BondPhase::Claiming { attestation } = bond(&two) else { panic!("{:?}", bond(&two)) };
    assert_eq!(attestation.speaks_for(two.bond().unwrap().escrow().1), Ok(()));
    let said = two.next(&says(LEG, 3, reading(NOW)), EVIDENCE_DEADLINE).unwrap_err().to_string();
    assert!(said.contains("the penalty is claimed"), "{said}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever comes in whatever order: the machine asks the price's escrow and the stake's never both to pay, each of them
    /// is asked one way after the other at most as its clock allows, and in the end every coin is somebody's.
    #[test]
    fn price_and_penalty_are_never_both_paid(story in proptest::collection::vec((any_input(), 0_u64..900), 0..16)) {
        let (mut contract, mut ledger, mut journal) = (told(Part::Both), Ledger::default(), Vec::new());
        let (mut asked, mut now) = ([false; 2], NOW);
        let ends = [(Input::Woken, 800), (Input::Woken, 900)];
        for (input, late) in story.into_iter().chain(ends) {
            // What the escrows say comes from the escrows alone.
            if matches!(input, Input::Settled(_) | Input::Refunded(_)) {
                continue;
            }
            now = now.max(NOW + Span::from_seconds(late));
            let mut inputs = vec![input];
            while let Some(input) = inputs.pop() {
                let Ok(next) = contract.clone().next(&input, now) else { continue };
                journal.push((canonical::encode(&input), now));
                contract = next;
                for effect in contract.effects() {
                    match &effect {
                        Effect::Settle { leg, attestation } => {
                            prop_assert_eq!(attestation.attestation.leg, *leg);
                            asked[usize::from(*leg == BOND)] = true;
                        }
                        Effect::Refund { leg } if *leg == BOND => prop_assert!(now >= RETURN_AT),
                        _ => {}
                    }
                    prop_assert!(asked != [true, true], "both are asked to pay");
                    if let Some(answer) = ledger.answers(&effect) {
                        inputs.push(answer);
                    }
                }
            }
        }
        let replayed = journal.iter().fold(told(Part::Both), |contract, (bytes, now)| {
            contract.next(&canonical::decode(bytes, 64 * 1024).unwrap(), *now).unwrap()
        });
        prop_assert_eq!(&replayed, &contract);
        let stuck = matches!(contract.phase(), Phase::Stuck { .. });
        if !stuck && !matches!(bond(&contract), BondPhase::Stuck { .. }) {
            prop_assert_eq!(contract.effects(), vec![Effect::Receipt], "{:?}", contract);
            let (renter, owner) = ledger.balances();
            prop_assert_eq!(renter + owner, PRICE + STAKE);
            prop_assert!((renter, owner) != (STAKE, PRICE), "price and penalty");
        }
    }

    /// Whatever comes in whatever order to a node of one side: once price and stake are where they belong it makes its receipt
    /// at once if it knows why, and else not before it knows it and never later than its patience allows.
    #[test]
    fn the_end_waits_for_the_reason_and_never_for_ever(
        part in proptest::sample::select(vec![Part::Owner, Part::Payer]),
        story in proptest::collection::vec((any_word(), 0_u64..2_000), 0..12),
    ) {
        let (mut contract, mut journal, mut now) = (told(part), Vec::new(), NOW);
        let mut paid_at = None;
        let ends = [(bond_paid(), 800), (price_back(), 800)];
        for (input, late) in story.into_iter().chain(ends) {
            now = now.max(NOW + Span::from_seconds(late));
            let Ok(next) = contract.clone().next(&input, now) else { continue };
            journal.push((input, now));
            contract = next;
            if *bond(&contract) == BondPhase::Paid {
                let first = *paid_at.get_or_insert((now, contract.penalised()));
                let asks = contract.asks_why_until();
                prop_assert!(asks.is_none_or(|until| until == first.0 + WORD_PATIENCE && !contract.penalised()));
                prop_assert!(!first.1 || asks.is_none(), "it knew before");
            }
            let receipt = contract.effects().contains(&Effect::Receipt);
            prop_assert!(!receipt || contract.asks_why_until().is_none());
        }
        let replayed = journal.iter().fold(told(part), |contract, (input, now)| contract.next(input, *now).unwrap());
        prop_assert_eq!(&replayed, &contract);
        if let Some(until) = contract.asks_why_until() {
            prop_assert_eq!(contract.effects(), vec![Effect::Wake(until)]);
            contract = at(&contract, &Input::Woken, now.max(until));
        }
        prop_assert_eq!(contract.effects(), vec![Effect::Receipt]);
        prop_assert!(contract.missed().all(|seen| seen == word(shut(UNTIL)) || seen == word(shut(EVIDENCE_DEADLINE))));
    }
}
