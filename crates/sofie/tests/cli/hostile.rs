//! What careless and hostile users ask of a node: each bad request is refused with the field at fault, and nothing is
//! begun by it.

use serde_json::{Value, json};

use crate::world::World;

/// One ABORT on the embedded chain costs less.
const FEES: u128 = 200_000_000_000_000;

/// A changed field (`evidence.thing` means the thing of the evidence rule), and what the refusal must begin with.
fn bad() -> Vec<(&'static str, Value, &'static str)> {
    let long = "a".repeat(300);
    vec![
        ("price", json!("0"), "price: "),
        ("price", json!(5), "the body: "),
        ("price", json!("-1"), "the body: "),
        ("price", json!("340282366920938463463374607431768211456"), "the body: "),
        ("decision_within_s", json!(0), "decision_within_s: "),
        ("decision_within_s", json!(-1), "the body: "),
        ("decision_within_s", json!(1.5), "the body: "),
        ("decision_within_s", json!(u64::MAX), "decision_within_s: "),
        ("evidence_within_s", json!(20), "evidence_within_s: "),
        ("submission_window_s", json!(u64::MAX), "submission_window_s: "),
        ("open_for_s", json!(u64::MAX), "open_for_s: "),
        ("renter", json!("nobody"), "renter: "),
        ("renter", json!("locker-co"), "renter: "),
        ("renter", json!("sensor-co"), "evidence.thing: "),
        ("thing", json!("urn:no:such"), "thing: "),
        ("thing", json!("no uri"), "the body: "),
        ("thing", json!(long), "the body: "),
        ("action", json!("explode"), "action: "),
        ("evidence.thing", Value::Null, "evidence.thing: "),
        ("evidence.property", json!("nothing"), "evidence.property: "),
        ("evidence.equals", json!({}), "the body: "),
        ("evidence.equals", json!("open"), "evidence.equals: "),
        ("evidence.equals", json!(1), "evidence.equals: "),
        ("ledger", json!("nowhere"), "ledger: "),
        ("ledger", json!("calendar"), "ledger: "),
        ("record_ledger", json!("evm"), "record_ledger: "),
        ("idempotency_key", json!("two words"), "idempotency_key: "),
        ("idempotency_key", json!(long), "idempotency_key: "),
        ("surprise", json!(1), "the body: "),
    ]
}

pub(crate) async fn every_bad_request_is_refused_before_anything_is_prepared(world: &World) {
    let good = world.good_request().await;
    for (field, value, begins) in bad() {
        let mut asked = good.clone();
        match field.split_once('.') {
            // The locker of the payee as its own witness.
            Some((_, "thing")) => {
                asked["evidence"] = json!({ "thing": good["thing"], "property": "locked", "equals": false })
            }
            Some((_, inner)) => asked["evidence"][inner] = value.clone(),
            None => asked[field] = value.clone(),
        }
        let (status, problem) = world.ask(asked.to_string()).await;
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(matches!(status, 400 | 404), "{field} = {value}: {status} {problem}");
        assert!(detail.starts_with(begins), "{field} = {value}: {problem}");
        assert_ne!(problem["next"], "", "{field} = {value}: {problem}");
    }
    for body in ["", "[]", "{", "null", "\u{0}", &"[".repeat(60_000)] {
        assert_eq!(world.ask(body.to_owned()).await.0, 400, "{:.20}", body);
    }
    assert_eq!(world.ask(format!("\"{}\"", "a".repeat(100_000))).await.0, 413);
    assert_eq!(world.contracts().await, Vec::<Value>::new());
}

/// Not at the same time, and not after a crash: what the journal holds under the key is the answer.
pub(crate) async fn a_draft_that_is_sent_again_begins_nothing_new(world: &mut World) {
    let draft = json!({
        "deadline": "30s", "idempotency_key": "once",
        "legs": [{ "ledger": "calendar", "kind": "record", "payload": "once" }],
    });
    let before = world.transactions().await.len();
    let (one, other) = tokio::join!(world.submit(&draft), world.submit(&draft));
    // Whoever is second either learns what the first began, or that it is being worked on.
    let statuses = [one.0, other.0];
    assert!(
        statuses.contains(&202) && statuses.iter().all(|status| [202, 409].contains(status)),
        "{one:?} {other:?}"
    );
    world.crash().await;
    let (status, again) = world.submit(&draft).await;
    assert_eq!(status, 202, "{again}");
    for (status, answer) in [one, other] {
        assert!(status == 409 || answer["id"] == again["id"], "{answer} {again}");
    }
    assert_eq!(world.transactions().await.len(), before + 1);
}

pub(crate) async fn a_renter_without_funds_aborts_and_nothing_moves(world: &World) {
    let mut asked = world.good_request().await;
    asked["price"] = json!(u128::MAX.to_string());
    let before = world.balances().await;
    let (status, opened) = world.ask(asked.to_string()).await;
    assert_eq!(status, 202, "{opened}");
    let ended = world.ended(opened["id"].as_str().expect("it has an id")).await;
    assert_eq!(ended["state"], "aborted", "{ended}");
    assert!(ended["reason"].as_str().is_some_and(|reason| reason.contains("funds")), "{ended}");
    let after = world.balances().await;
    assert_eq!(before["locker-co"], after["locker-co"]);
    let held = |balances: &Value| balances["renter"].as_str().and_then(|held| held.parse::<u128>().ok());
    let spent = held(&before).zip(held(&after)).map(|(before, after)| before - after);
    assert!(spent.is_some_and(|spent| spent < FEES), "the ABORT's fee at most: {before} {after}");
}
