//! What a draft becomes, and what each bad one is told.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use sofie_ledgers::Profile;
use sofie_model::manifest::{OpenedBy, Participant};
use sofie_model::{
    Account, Class, Digest, Finality, LegId, PublicKey, Rule, Span, Terms, Timestamp, commitment, custodian,
};
use sofie_transaction::Plan;

use super::{Desk, Guest, Refused, Resolved, Site};
use crate::api::Draft;
use crate::config::Config;
use crate::contracts::Deployment;
use crate::parties::Parties;

/// 2026-11-24T22:18:18.250Z
const NOW: Timestamp = Timestamp::from_millis(1_795_558_698_250);
const PARTIES: [&str; 4] = ["alice", "bob", "carol", "operator"];

fn site(id: &str, classes: &[Class], decides: bool, finality: Finality, seconds: [u64; 3]) -> Site {
    let [inclusion, finalises, skew] = seconds.map(Span::from_seconds);
    let profile = Profile {
        id: id.parse().unwrap(),
        classes: classes.to_vec(),
        decides,
        finality,
        inclusion,
        finalises,
        single_operator: false,
        poll: Span::from_millis(20),
    };
    let contracts = Deployment { chain_id: 7, decision: Account([0xdd; 20]), escrow: Account([0xe5; 20]) };
    let deployment = decides.then_some(contracts);
    let holder = deployment.map_or(Account::ZERO, |contracts| contracts.escrow);
    Site { profile, deployment, holder, fee_limit: u128::from(decides) * 1000, skew }
}

fn desk() -> Desk {
    let folder = tempfile::tempdir().unwrap();
    let parties: String = PARTIES.map(|name| format!("[[party]]\nname = \"{name}\"\n")).concat();
    let text = format!("{parties}[[ledger]]\nid = \"l\"\nkind = \"calendar\"\n");
    let config = Config::parse(&text, &folder.path().join("sofie.toml")).unwrap();
    Desk {
        parties: Parties::load(&config).unwrap(),
        elsewhere: BTreeMap::new(),
        operator: config.node.operator,
        sites: vec![
            site("evm", &[Class::Verifying], true, Finality::Depth(1), [2, 2, 1]),
            site("bitcoin", &[Class::Hashlock, Class::Record], false, Finality::Depth(6), [3, 6, 2]),
            site("calendar", &[Class::Record], false, Finality::Instant, [1, 1, 0]),
        ],
        detection: Span::from_millis(2500),
    }
}

fn swap() -> Value {
    json!({
        "deadline": "30s",
        "legs": [
            { "ledger": "evm", "kind": "transfer", "from": "alice", "to": "bob", "amount": "1000" },
            { "ledger": "bitcoin", "kind": "hashlock", "from": "bob", "to": "alice", "amount": "50" },
            { "ledger": "calendar", "kind": "record", "payload": { "b": 1, "a": "swap" } },
        ],
    })
}

fn resolve(desk: &Desk, draft: &Value) -> Result<Resolved, Refused> {
    let draft: Draft = serde_json::from_value(draft.clone()).expect("a draft");
    let mut next = 0;
    desk.resolve(&draft, (Digest([9; 32]), &[]), NOW, &mut || {
        next += 1;
        Ok([next; 32])
    })
}

#[test]
fn a_swap_is_filled_in_as_p5_asks() {
    let desk = desk();
    let Resolved { plan, openings } = resolve(&desk, &swap()).unwrap();
    let manifest = &plan.manifest;
    let at = |seconds| Timestamp::from_seconds(NOW.as_seconds() + seconds);
    assert_eq!((manifest.deadline, &manifest.rule), (at(31), &Rule::All));
    let account = |name: &str| desk.parties.named(name).unwrap().account();
    let participants: Vec<_> = manifest.participants.iter().map(|one| one.account).collect();
    assert_eq!((participants, plan.acts_for), (vec![account("alice"), account("bob")], vec![0, 1]));
    assert_eq!(manifest.guard, account("bob"), "the pivot's payer");
    let Terms::Hashlock(pivot) = &manifest.legs[1].terms else { panic!("{:?}", manifest.legs[1]) };
    // T_D + 1 + 2 + 2.5 + 3 + 6 + 2·3, and once more 2.5
    assert_eq!(pivot.timelock, at(31 + 23));
    // T_p + 2.5 + 3 + 6 + 2.5 + 2 + 2 + 2·3, and once more 2.5: to a whole second
    assert_eq!(manifest.grace, Span::from_seconds(23 + 27));
    assert_eq!(
        (manifest.legs[0].fee_limit, manifest.decision.fee_limit, manifest.legs[2].fee_limit),
        (1000, 1000, 0)
    );
    assert_eq!(plan.decision_time, Span::from_seconds(4));
    let [(leg, sealed)] = &openings[..] else { panic!("{openings:?}") };
    assert_eq!((leg.0, sealed.payload.as_slice()), (2, &br#"{"a":"swap","b":1}"#[..]));
    assert_eq!(manifest.legs[2].terms, Terms::Record(commitment::commit(&sealed.salt, &sealed.payload)));
    manifest.check(NOW).unwrap();
}

#[test]
fn a_hashlock_may_be_opened_by_its_claimant_alone() {
    let mut draft = swap();
    draft["legs"][1]["opened_by"] = json!("claimant");
    let manifest = resolve(&desk(), &draft).unwrap().plan.manifest;
    assert_eq!(manifest.pivot_terms().unwrap().opened_by, Some(OpenedBy::Claimant));
    draft["legs"][0]["opened_by"] = json!("claimant");
    let refused = resolve(&desk(), &draft).unwrap_err();
    assert_eq!(refused.to_string(), "legs[0].opened_by: is no field of a transfer");
    draft["legs"][0]["opened_by"] = json!("payer");
    assert!(serde_json::from_value::<Draft>(draft).is_err());
}

#[test]
fn records_alone_are_the_operators() {
    let desk = desk();
    let draft = json!({ "deadline": "15s", "rule": { "at_least": 1 }, "legs": [
        { "ledger": "calendar", "kind": "record", "payload": "a", "required": false },
        { "ledger": "bitcoin", "kind": "record", "payload": "a", "required": false },
    ] });
    let manifest = resolve(&desk, &draft).unwrap().plan.manifest;
    let operator = desk.parties.named("operator").unwrap().account();
    assert_eq!(manifest.participants[0].account, operator);
    assert_eq!((manifest.decision.ledger.as_str(), manifest.rule), ("evm", Rule::AtLeast(1)));
    assert_ne!(manifest.legs[0].terms, manifest.legs[1].terms, "each with its own salt");
}

#[test]
fn a_custodian_is_named_by_its_key_as_it_demands() {
    let key = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29";
    let text = format!(
        "[[party]]\nname = \"operator\"\n[[ledger]]\nid = \"bank\"\nkind = \"custodian\"\nurl = \"http://127.0.0.1:1\"\n\
         key = \"{key}\"\n"
    );
    let config = Config::parse(&text, Path::new("sofie.toml")).unwrap();
    let holder = Site::holder_of(&config.ledgers[0].kind, None);
    let bank = Site { holder, ..site("bank", &[Class::Escrow], false, Finality::Instant, [1, 1, 0]) };
    let mut desk = desk();
    desk.sites.push(bank);
    let draft = json!({ "deadline": "30s", "legs": [
        { "ledger": "bank", "kind": "transfer", "from": "alice", "to": "bob", "amount": "5" },
    ] });
    let manifest = resolve(&desk, &draft).unwrap().plan.manifest;
    let (_, named) = custodian::value(&manifest, LegId(0)).unwrap();
    assert_eq!(named, custodian::account(&key.parse().unwrap()));
}

/// What another node's party puts into a manifest.
fn dave() -> Guest {
    let key = k256::ecdsa::SigningKey::from_slice(&[5; 32]).unwrap();
    let participant = Participant { account: Account::from(key.verifying_key()), hashlock: Digest([6; 32]) };
    Guest { name: "dave".parse().unwrap(), participant, key: PublicKey::from(key.verifying_key()) }
}

#[test]
fn a_guest_takes_part_by_what_its_node_has_said() {
    let desk =
        Desk { elsewhere: BTreeMap::from([("dave".parse().unwrap(), "dave-co".parse().unwrap())]), ..desk() };
    let pays = |from: &str, to: &str| json!({ "ledger": "evm", "kind": "transfer", "from": from, "to": to, "amount": "5" });
    let submit = |draft: Value| {
        let draft: Draft = serde_json::from_value(draft).unwrap();
        let guests = desk.guests_of(&draft).unwrap_or_default();
        let resolved = desk.resolve(&draft, (Digest([9; 32]), &[dave()]), NOW, &mut || Ok([1; 32]));
        (guests.into_iter().map(|(name, field)| format!("{field} {name}")).collect::<Vec<_>>(), resolved)
    };
    let (guests, resolved) =
        submit(json!({ "deadline": "30s", "legs": [pays("alice", "dave"), pays("dave", "alice")] }));
    assert_eq!(guests, ["legs[0].to dave"]);
    let Plan { manifest, acts_for, .. } = resolved.unwrap().plan;
    assert_eq!((manifest.participants[1], acts_for), (dave().participant, vec![0]));
    assert_eq!(manifest.nonce, Digest([9; 32]));
    let Terms::Transfer(terms) = &manifest.legs[1].terms else { panic!("{:?}", manifest.legs[1]) };
    assert_eq!(terms.payer, dave().participant.account);

    let mut swap = swap();
    swap["legs"][1]["from"] = json!("dave");
    for (draft, told) in [
        (swap, "taken"),
        (
            json!({ "deadline": "30s", "participants": ["dave"], "legs": [pays("dave", "alice")] }),
            "participants: no party of this node takes part; name one of its own, or submit the draft at the node of \
             one that does",
        ),
        (json!({ "deadline": "30s", "participants": ["alice"], "legs": [pays("alice", "dave")] }), "taken"),
        (
            json!({ "deadline": "30s", "participants": ["alice", "dave"], "legs": [pays("bob", "dave")] }),
            "legs[0].from: pays without being asked: name it among the participants, which other nodes demand",
        ),
        (
            json!({ "deadline": "30s", "legs": [pays("alice", "dvae")] }),
            "legs[0].to: this node has no party \"dvae\"; it has alice, bob, carol, operator, and its peers have dave \
             (dave-co); did you mean \"dave\"?",
        ),
    ] {
        let got = submit(draft).1.map_or_else(|refused| refused.to_string(), |_| "taken".into());
        assert_eq!(got, told);
    }
}

/// A place in the swap, what stands there instead, and the whole refusal.
#[test]
fn a_bad_draft_is_told_its_field() {
    let desk = desk();
    let transfer = swap()["legs"][0].clone();
    let mut wrong = String::new();
    for (place, value, told) in [
        ("/legs", json!([]), "legs: 0; 1 to 64 are expected"),
        ("/legs", Value::Array(vec![transfer.clone(); 65]), "legs: 65; 1 to 64 are expected"),
        ("/legs/2", transfer.clone(), "legs[2]: locks the same as legs[0]"),
        ("/legs/2", swap()["legs"][1].clone(), "legs: 2 hashlock legs, at most one can be the pivot"),
        (
            "/legs/2",
            json!({ "ledger": "bitcoin", "kind": "hashlock", "from": "alice", "to": "bob", "amount": "7" }),
            "legs: 2 hashlock legs, at most one can be the pivot",
        ),
        (
            "/legs/0/ledger",
            json!("evn"),
            "legs[0].ledger: this node has no ledger \"evn\"; it has evm, bitcoin, calendar; did you mean \"evm\"?",
        ),
        (
            "/legs/0/ledger",
            json!("calendar"),
            "legs[0].kind: needs a ledger of class verifying or escrow; calendar is record",
        ),
        ("/legs/1/ledger", json!("evm"), "legs[1].kind: needs a ledger of class hashlock; evm is verifying"),
        ("/legs/2/ledger", json!("evm"), "legs[2].kind: needs a ledger of class record; evm is verifying"),
        (
            "/legs/0/from",
            json!("alcie"),
            "legs[0].from: this node has no party \"alcie\"; it has alice, bob, carol, operator; did you mean \"alice\"?",
        ),
        ("/legs/0/from", Value::Null, "legs[0].from: is missing: a party's name is expected"),
        (
            "/legs/1/to",
            json!("zoe"),
            "legs[1].to: this node has no party \"zoe\"; it has alice, bob, carol, operator",
        ),
        ("/legs/0/to", json!("alice"), "legs[0].to: pays itself"),
        ("/legs/1/to", json!("bob"), "legs[1].to: pays itself"),
        ("/legs/0/amount", json!("0"), "legs[0].amount: nothing would be paid"),
        ("/legs/1/amount", json!("0"), "legs[1].amount: nothing would be locked"),
        ("/legs/0/amount", Value::Null, "legs[0].amount: is missing: how much is paid is expected"),
        ("/legs/0/payload", json!("x"), "legs[0].payload: is no field of a transfer"),
        ("/legs/0/timelock", json!("60s"), "legs[0].timelock: is no field of a transfer"),
        ("/legs/2/amount", json!("1"), "legs[2].amount: is no field of a record"),
        ("/legs/2/payload", Value::Null, "legs[2].payload: is missing: what is recorded is expected"),
        (
            "/legs/2/payload",
            json!("x".repeat(20_000)),
            "legs[2].payload: has 20002 bytes; at most 16384 are taken: record a digest of it",
        ),
        (
            "/legs/0/finality",
            json!("soon"),
            "legs[0].finality: \"soon\" is not \"instant\", \"finalized\", \"safe\" or \"depth:N\" with N up to 100000",
        ),
        (
            "/legs/1/finality",
            json!("depth:1"),
            "legs[1].finality: bitcoin is configured as \"depth:6\": say that, or leave it out",
        ),
        ("/legs/0/kind", json!("escrow"), "legs[0].evidence: is missing: whose word it pays for is expected"),
        ("/legs/1/required", json!(false), "legs[1].required: the pivot is always required"),
        ("/rule", json!({ "at_least": 4 }), "rule: 4 of 3 legs"),
        ("/rule", json!({ "at_least": 0 }), "rule: 0 of 3 legs"),
        ("/decision", json!("calendar"), "decision: calendar cannot hold a decision"),
        (
            "/decision",
            json!("gold"),
            "decision: this node has no ledger \"gold\"; it has evm, bitcoin, calendar",
        ),
        ("/deadline", json!("2020-01-01T00:00:00Z"), "deadline: lies in the past"),
        (
            "/deadline",
            json!("2026-11-24T22:19:18.5Z"),
            "deadline: not a whole second, and ledgers count seconds",
        ),
        (
            "/deadline",
            json!("10s"),
            "deadline: the ledgers may need 17 s to prepare and decide: 6250 ms more is needed",
        ),
        ("/legs/1/timelock", json!("40s"), "legs[1].timelock: is not safe (P5): 10500 ms more is needed"),
        ("/grace", json!("30s"), "grace: is not safe (P5): 17 s more is needed"),
        (
            "/participants",
            json!(["alice", "zoe"]),
            "participants[1]: this node has no party \"zoe\"; it has alice, bob, carol, operator",
        ),
        ("/participants", json!(["alice", "bob", "alice"]), "participants[2]: stands twice"),
        ("/participants", json!(["alice"]), "legs[1].from: is not among the participants"),
        (
            "/idempotency_key",
            json!("with a space"),
            "idempotency_key: 1 to 128 visible ASCII characters are expected",
        ),
        ("/idempotency_key", json!(""), "idempotency_key: 1 to 128 visible ASCII characters are expected"),
    ] {
        let mut draft = swap();
        set(&mut draft, place, value.clone());
        let got = resolve(&desk, &draft).map_or_else(|refused| refused.to_string(), |_| "taken".into());
        if got != told {
            wrong += &format!("{place} = {:.60}\n  wanted {told}\n  got    {got}\n", value.to_string());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// An escrow's own fields.
#[test]
fn a_bad_escrow_is_told_its_field() {
    let desk = desk();
    let escrow = |by: &str, until: &str, window: &str| {
        json!({ "deadline": "20s", "legs": [{
            "ledger": "evm", "kind": "escrow", "from": "alice", "to": "bob", "amount": "5",
            "evidence": { "by": by, "until": until, "window": window },
        }] })
    };
    assert!(resolve(&desk, &escrow("carol", "60s", "5s")).is_ok());
    for (by, until, window, told) in [
        (
            "alice",
            "60s",
            "5s",
            "legs[0].evidence.by: neither the payer's, the payee's nor nobody's key may attest",
        ),
        (
            "dora",
            "60s",
            "5s",
            "legs[0].evidence.by: this node has no party \"dora\"; it has alice, bob, carol, operator",
        ),
        ("carol", "20s", "5s", "legs[0].evidence.until: lies before the end of the decision's time"),
        ("carol", "60s", "5ms", "legs[0].evidence.window: not a whole second, and ledgers count seconds"),
    ] {
        let refused = resolve(&desk, &escrow(by, until, window)).unwrap_err();
        assert_eq!(refused.to_string(), told);
    }
}

/// An escrow for a panel's word names the panel's account, and tells which of its fields cannot be.
#[test]
fn several_parties_attest_together_and_a_bad_panel_is_told_its_field() {
    let desk = desk();
    let escrow = |others: &[&str], threshold: Option<u8>| {
        let mut draft = json!({ "deadline": "20s", "legs": [{
            "ledger": "evm", "kind": "escrow", "from": "alice", "to": "bob", "amount": "5",
            "evidence": { "by": "carol", "others": others, "until": "60s", "window": "5s" },
        }] });
        set(&mut draft, "/legs/0/evidence/threshold", json!(threshold));
        draft
    };
    let key = |draft: &Value| {
        let resolved = resolve(&desk, draft).unwrap();
        match &resolved.plan.manifest.legs[0].terms {
            sofie_model::Terms::Escrow(terms) => terms.evidence_key,
            other => panic!("{other:?}"),
        }
    };
    let panel = key(&escrow(&["operator"], Some(2)));
    assert_ne!(panel, key(&escrow(&["operator"], Some(1))));
    assert_ne!(panel, key(&escrow(&[], Some(1))));
    assert_eq!(key(&escrow(&[], Some(1))), key(&escrow(&[], None)));
    let many = ["operator"; 16];
    for (others, threshold, told) in [
        (
            &["operator"][..],
            None,
            "legs[0].evidence.threshold: is missing: how many of them must attest is expected",
        ),
        (
            &["operator"],
            Some(3),
            "legs[0].evidence.threshold: so many of 2 cannot attest; 1 to 2 are expected",
        ),
        (
            &["operator"],
            Some(0),
            "legs[0].evidence.threshold: so many of 2 cannot attest; 1 to 2 are expected",
        ),
        (&[], Some(2), "legs[0].evidence.threshold: so many of 1 cannot attest; 1 to 1 are expected"),
        (&["carol"], Some(2), "legs[0].evidence.others[0]: carol attests already"),
        (&["operator", "bob"], Some(2), "legs[0].evidence.others[1]: bob pays or is paid, and would attest"),
        (&many, Some(2), "legs[0].evidence.others: 17 parties; at most 16 attest together"),
        (
            &["dora"],
            Some(2),
            "legs[0].evidence.others[0]: this node has no party \"dora\"; it has alice, bob, carol, operator",
        ),
    ] {
        let refused = resolve(&desk, &escrow(others, threshold)).unwrap_err();
        assert_eq!(refused.to_string(), told);
    }
}

/// Sets a member that need not be there yet; null takes it away.
fn set(draft: &mut Value, place: &str, value: Value) {
    let (parent, member) = place.rsplit_once('/').unwrap();
    match draft.pointer_mut(parent).unwrap() {
        Value::Object(object) if value.is_null() => drop(object.remove(member)),
        Value::Object(object) => drop(object.insert(member.into(), value)),
        Value::Array(items) => items[member.parse::<usize>().unwrap()] = value,
        other => panic!("{other}"),
    }
}
