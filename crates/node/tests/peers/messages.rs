//! What a stranger, a replayer and a liar can say to a node's door: nothing that counts. The sender is a program of the
//! test's own that holds a peer's key; the node is real, on a chain of its own.

use reqwest::StatusCode;
use sofie_model::{Account, Digest, Timestamp, Txid};
use sofie_node::clock;
use sofie_node::peers::envelope::{Fields, MEDIA_TYPE, PATH};
use sofie_node::peers::message::{MAX_MESSAGE, Message, Reply};

use crate::liar::{Heard, Liar};
use crate::world::{Node, Who, nonce};

fn enquiry(to: &Who) -> Message {
    Message::Enquire { nonce: nonce(), party: to.account() }
}

#[test]
fn a_peer_is_answered_and_the_answer_is_signed() {
    let (alice, bob) = (Who::new("alice"), Who::new("bob"));
    let node = Node::alone(&bob, &[&alice]);
    let asked = enquiry(&bob);
    let (_, first) = Liar::new(&node, &alice, &bob).say(&asked);
    let Ok(Reply::Answer { account, hashlock, key }) = first.clone() else { panic!("{first:?}") };
    assert_eq!(account, bob.account());
    let point = bob.keys.secp256k1().verifying_key().to_encoded_point(true);
    assert_eq!(&key[..], point.as_bytes());
    assert_eq!(Liar::new(&node, &alice, &bob).say(&asked).1, first, "asked again, answered the same");
    let Message::Enquire { nonce, .. } = asked else { unreachable!() };
    let own = sofie_node::parties::preimage(&bob.keys, nonce);
    assert_ne!(hashlock, Digest::sha256(own.as_bytes()), "not the secret of bob's own transactions");
}

#[test]
fn a_message_counts_once_for_one_node_and_by_one_key() {
    let (alice, bob, mallory) = (Who::new("alice"), Who::new("bob"), Who::new("mallory"));
    let node = Node::alone(&bob, &[&alice]);
    let liar = Liar::new(&node, &alice, &bob);
    let body = enquiry(&bob).to_bytes();
    let told =
        |(status, heard): Heard| (status.as_u16(), heard.unwrap_err()["detail"].as_str().unwrap().to_owned());

    let fields = liar.seal(&body, clock::now());
    assert!(liar.send(&fields, body.clone()).1.is_ok());
    let (status, detail) = told(liar.send(&fields, body.clone()));
    assert_eq!(status, 409, "replayed: {detail}");
    assert!(detail.contains("peer alice-co") && detail.contains("its nonce is used"), "{detail}");

    let stranger = Liar::new(&node, &mallory, &bob);
    let (status, detail) = told(stranger.say(&enquiry(&bob)));
    assert_eq!(status, 401, "another key: {detail}");
    assert!(detail.contains("no [[peer]] has the key"), "{detail}");

    let stolen =
        Fields { signature: stranger.seal(&body, clock::now()).signature, ..liar.seal(&body, clock::now()) };
    assert_eq!(
        told(liar.send(&stolen, body.clone())).0,
        401,
        "a signature of another key under alice's name"
    );

    let changed = enquiry(&bob).to_bytes();
    let (status, detail) = told(liar.send(&liar.seal(&body, clock::now()), changed));
    assert_eq!((status, detail.contains("content-digest")), (401, true), "{detail}");

    let early = Timestamp::from_seconds(clock::now().as_seconds() - 61);
    let (status, detail) = told(liar.send(&liar.seal(&body, early), body.clone()));
    assert_eq!((status, detail.contains("counts from")), (401, true), "expired: {detail}");

    // Signed for another node: under its own name the door refuses it, under ours the signature does.
    let elsewhere = Liar { authority: "127.0.0.1:1".into(), ..Liar::new(&node, &alice, &bob) };
    let fields = elsewhere.seal(&body, clock::now());
    let (status, detail) = told(elsewhere.send(&fields, body.clone()));
    assert_eq!((status, detail.contains("this node is")), (421, true), "{detail}");
    assert_eq!(told(elsewhere.send_to(&bob.authority(), &fields, body)).0, 401);
}

#[test]
fn what_does_not_fit_is_refused_and_kept() {
    let (alice, bob) = (Who::new("alice"), Who::new("bob"));
    let node = Node::alone(&bob, &[&alice]);
    let liar = Liar::new(&node, &alice, &bob);
    let txid = Txid(nonce());
    for (message, about, why) in [
        (
            Message::Released { txid, who: 0, preimage: Digest([1; 32]) },
            txid.0,
            "released of peer alice-co: this node knows no such transaction",
        ),
        (
            Message::Withheld { txid, who: 0, reason: "no".into() },
            txid.0,
            "withheld of peer alice-co: this node knows no such transaction",
        ),
    ] {
        let (status, heard) = liar.say(&message);
        assert!(matches!(heard, Ok(Reply::Refused { .. })), "{status} {heard:?}");
        let told = node.told(about);
        assert!(told.contains(&("peer-refused".to_owned(), why.to_owned())), "{told:?}");
    }
    let stranger = Message::Enquire { nonce: nonce(), party: Account([9; 20]) };
    assert!(matches!(liar.say(&stranger).1, Ok(Reply::Refused { .. })));
    for body in [vec![], vec![0x82, 0x02, 0x00], vec![0xff; 100]] {
        let heard = liar.send(&liar.seal(&body, clock::now()), body.clone());
        assert!(matches!(heard.1, Ok(Reply::Refused { .. })), "{heard:?}");
    }
    let large = vec![0; MAX_MESSAGE + 1];
    assert_eq!(liar.send(&liar.seal(&large, clock::now()), large).0, StatusCode::PAYLOAD_TOO_LARGE);
}

/// The token is for the node's own people; a peer shows its signature instead, at this one door.
#[test]
fn a_message_needs_its_media_type_and_no_query() {
    let (alice, bob) = (Who::new("alice"), Who::new("bob"));
    let node = Node::alone(&bob, &[&alice]);
    let liar = Liar::new(&node, &alice, &bob);
    let body = enquiry(&bob).to_bytes();
    let fields = liar.seal(&body, clock::now());
    for (path, media_type, expected) in [
        (PATH.to_owned(), "text/plain", 415),
        (PATH.to_owned(), "application/json", 415),
        (format!("{PATH}?x=1"), MEDIA_TYPE, 401),
    ] {
        let status = node.run(async {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let url = format!("http://{}{path}", bob.authority());
            let mut request = client.post(url).header("content-type", media_type).body(body.clone());
            for (name, value) in fields.pairs() {
                request = request.header(name, value);
            }
            request.send().await.unwrap().status()
        });
        assert_eq!(status.as_u16(), expected, "{path} as {media_type}");
    }
}

/// A nonce is remembered over a restart, for as long as its signature counts.
#[test]
fn a_replay_after_a_restart_is_refused() {
    let (alice, bob) = (Who::new("alice"), Who::new("bob"));
    let node = Node::alone(&bob, &[&alice]);
    let body = enquiry(&bob).to_bytes();
    let fields = Liar::new(&node, &alice, &bob).seal(&body, clock::now());
    assert!(Liar::new(&node, &alice, &bob).send(&fields, body.clone()).1.is_ok());
    node.kill();
    let node = Node::alone(&bob, &[&alice]);
    let (status, heard) = Liar::new(&node, &alice, &bob).send(&fields, body);
    assert_eq!(status.as_u16(), 409, "{heard:?}");
}
