//! A node whose answers are lost on their way, and what is remembered of its chain then.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::serve::ListenerExt;
use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::hashes::Hash;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, ScriptBuf, Transaction, TxIn, TxMerkleNode, TxOut, transaction,
};
use serde_json::{Value, json};

use super::index::{End, Index};
use super::open::{MAX_STALLS, read_all};
use super::rpc::{Auth, Node, RpcError};

/// A chain, and which of the answers about it, by their numbers, never come.
struct Teller {
    chain: Mutex<Vec<Block>>,
    /// All that it ever held: a node forgets none.
    known: Mutex<Vec<Block>>,
    lost: Mutex<Box<dyn Fn(u32) -> bool + Send>>,
    asked: Mutex<u32>,
}

impl Teller {
    async fn start(chain: Vec<Block>) -> (Arc<Self>, Node) {
        let teller = Arc::new(Self {
            chain: Mutex::default(),
            known: Mutex::default(),
            lost: Mutex::new(Box::new(|_| false)),
            asked: Mutex::default(),
        });
        teller.shows(chain);
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&teller));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        // Else each small answer waits for an acknowledgement.
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        tokio::spawn(axum::serve(listener, router).into_future());
        let auth = Auth::Password { user: "u".into(), password: String::new().into() };
        (teller, Node::new(url, auth, Duration::from_secs(20)).unwrap())
    }

    fn shows(&self, chain: Vec<Block>) {
        self.known.lock().unwrap().extend(chain.iter().cloned());
        *self.chain.lock().unwrap() = chain;
    }

    /// From now on, counted anew.
    fn loses(&self, lost: impl Fn(u32) -> bool + Send + 'static) {
        *self.asked.lock().unwrap() = 0;
        *self.lost.lock().unwrap() = Box::new(lost);
    }

    fn asked(&self) -> u32 {
        *self.asked.lock().unwrap()
    }

    fn told(&self, question: &Value) -> Value {
        let chain = self.chain.lock().unwrap();
        let named = |block: &&Block| question["params"][0] == json!(block.block_hash());
        let known = self.known.lock().unwrap();
        let block = known.iter().find(named);
        match question["method"].as_str().unwrap() {
            "getbestblockhash" => json!(chain.last().unwrap().block_hash()),
            "getblockhash" => match chain.get(question["params"][0].as_u64().unwrap() as usize) {
                Some(block) => json!(block.block_hash()),
                None => Value::Null,
            },
            "getblockheader" => json!(serialize_hex(&block.unwrap().header)),
            "getblock" => json!(serialize_hex(block.unwrap())),
            other => panic!("{other}"),
        }
    }
}

async fn answer(State(teller): State<Arc<Teller>>, question: String) -> (StatusCode, String) {
    let number = {
        let mut asked = teller.asked.lock().unwrap();
        *asked += 1;
        *asked - 1
    };
    if (teller.lost.lock().unwrap())(number) {
        return (StatusCode::SERVICE_UNAVAILABLE, String::new());
    }
    let told = teller.told(&serde_json::from_str(&question).unwrap());
    let error = if told.is_null() { json!({ "code": -8, "message": "out of range" }) } else { Value::Null };
    (StatusCode::OK, json!({ "result": told, "error": error, "id": 0 }).to_string())
}

/// A block with nothing but its own reward.
fn block(parent: Option<&Block>, time: u32) -> Block {
    let reward = Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn::default()],
        output: vec![TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::new() }],
    };
    let header = Header {
        version: Version::TWO,
        prev_blockhash: parent.map_or_else(BlockHash::all_zeros, Block::block_hash),
        merkle_root: TxMerkleNode::from_byte_array(reward.compute_txid().to_byte_array()),
        time,
        bits: CompactTarget::from_consensus(0x207f_ffff),
        nonce: 0,
    };
    Block { header, txdata: vec![reward] }
}

/// The chain goes on with a block for each of these times.
fn grow(mut chain: Vec<Block>, times: impl IntoIterator<Item = u32>) -> Vec<Block> {
    for time in times {
        chain.push(block(chain.last(), time));
    }
    chain
}

fn empty() -> Index {
    Index::new(1, BTreeSet::new())
}

async fn fresh(node: &Node) -> End {
    empty().sync(node).await.unwrap()
}

/// Whichever answer is lost, what is read in the end is what somebody reads who begins then: the clock, too, which is a
/// median over blocks that were taken back and others that were not.
#[tokio::test]
async fn a_reorganisation_whose_reading_fails_half_way_leaves_the_chains_clock_right() {
    let common = grow(vec![], (1..=13).map(|number| number * 600));
    let (ours, theirs) = (grow(common.clone(), [9_000]), grow(common, [8_000, 8_100, 8_200]));
    let (teller, node) = Teller::start(ours.clone()).await;
    let mut right = None;
    for lost in 0.. {
        teller.loses(|_| false);
        teller.shows(ours.clone());
        let mut index = empty();
        index.sync(&node).await.unwrap();
        teller.shows(theirs.clone());
        teller.loses(move |number| number == lost);
        let first = index.sync(&node).await;
        if teller.asked() <= lost {
            assert!(lost > 15, "every answer was lost once, all {lost}");
            return;
        }
        assert!(matches!(first, Err(RpcError::Away(_))), "answer {lost} is lost: {first:?}");
        let end = index.sync(&node).await.unwrap();
        if right.is_none() {
            right = Some(fresh(&node).await);
        }
        assert_eq!(Some(end), right, "answer {lost} was lost");
    }
}

#[tokio::test]
async fn a_start_survives_answers_that_are_lost_in_a_row_and_not_a_node_that_is_gone() {
    let (teller, node) = Teller::start(grow(vec![], (1..=40).map(|number| number * 600))).await;
    let whole = fresh(&node).await;
    // Some in the middle of the walk, and a single one of a later call.
    teller.loses(|number| (20..20 + MAX_STALLS).contains(&number) || number == 40);
    assert_eq!(read_all(&mut empty(), &node).await, Ok(whole));
    teller.loses(|number| number >= 20);
    assert!(matches!(read_all(&mut empty(), &node).await, Err(RpcError::Away(_))));
    assert!(teller.asked() <= 20 + MAX_STALLS + 2, "{} questions", teller.asked());
    // Who never answered is not asked again.
    teller.loses(|_| true);
    assert!(matches!(read_all(&mut empty(), &node).await, Err(RpcError::Away(_))));
    assert_eq!(teller.asked(), 1);
}
