//! The peer on a real node: a bare client that knows all transactions before, signed, and only brings them there. It keeps
//! nothing, asks whether nothing would fail, and waits for nothing before the last is mined.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use sofie_model::{Account, LegId, Manifest, Operation, Step};

use super::world::World;
use crate::failure::Failure;
use crate::story::funding;

/// So many transactions go in one request (JSON-RPC 2.0, section 6).
const BATCH: usize = 100;
/// So many requests are under way at once.
const AT_ONCE: usize = 4;
/// Between two looks at what is mined.
const LOOK: Duration = Duration::from_millis(20);
/// How long the node may take to mine all.
const MINED_WITHIN: Duration = Duration::from_secs(600);

const TRIED: &str = "measure the bare client";

/// Requests that are ready to be sent, and when all that they bring is mined.
pub(super) struct Presigned {
    /// Prepares, decisions, applies: those of a wave may arrive in any order, and each needs what the wave before brought.
    waves: [Vec<Value>; 3],
    operator: Account,
    /// The number of the operator's transactions, at the end.
    last: u64,
    count: usize,
    /// Of the transactions that the node took.
    hashes: Vec<Value>,
}

/// Signs all calls of these transactions on the chain.
pub(super) async fn sign(
    world: &World,
    url: &str,
    manifests: &[Arc<Manifest>],
) -> Result<Presigned, Failure> {
    let leg = |step: Step| {
        move |manifest: &Arc<Manifest>| Operation::Leg {
            manifest: manifest.clone(),
            leg: LegId(0),
            step: step.clone(),
        }
    };
    // D checks the preimages; the evidence root is for readers: any will do that costs as much.
    let commit = |manifest: &Arc<Manifest>| world.commit(manifest, manifest.nonce);
    let prepares = manifests.iter().map(leg(Step::Prepare));
    let operations: Vec<_> =
        prepares.chain(manifests.iter().map(commit)).chain(manifests.iter().map(leg(Step::Apply))).collect();
    let signed = world.evm.presign(&operations).await.map_err(|e| Failure::refused(TRIED, e, ""))?;
    let count = manifests.len();
    let waves = [0, 1, 2].map(|wave| batches(&signed[wave * count..(wave + 1) * count]));
    let operator = world.operator();
    let last = mined(url, operator).await? + 2 * count as u64;
    Ok(Presigned { waves, operator, last, count, hashes: Vec::new() })
}

fn batches(signed: &[Vec<u8>]) -> Vec<Value> {
    let hex = |raw: &Vec<u8>| {
        let digits: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
        Value::from(format!("0x{digits}"))
    };
    signed.chunks(BATCH).map(|some| batch("eth_sendRawTransaction", some.iter().map(hex))).collect()
}

impl Presigned {
    /// Brings all, and waits until the last is mined: so long for each of them.
    pub(super) async fn bring(&mut self, url: &str) -> Result<Vec<Duration>, Failure> {
        let begun = Instant::now();
        let client = client()?;
        for wave in &self.waves {
            let sent = wave.iter().map(|batch| send(&client, url, batch));
            let hashes: Vec<_> = stream::iter(sent).buffer_unordered(AT_ONCE).try_collect().await?;
            self.hashes.extend(hashes.into_iter().flatten());
        }
        while mined(url, self.operator).await? < self.last {
            if begun.elapsed() > MINED_WITHIN {
                return Err(wrong("not all transactions are mined"));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(vec![begun.elapsed(); self.count])
    }

    /// Every one was mined, and none reverted.
    pub(super) async fn check(&self, url: &str) -> Result<(), Failure> {
        let client = client()?;
        for hashes in self.hashes.chunks(BATCH) {
            let questions = batch("eth_getTransactionReceipt", hashes.iter().cloned());
            for (receipt, hash) in send(&client, url, &questions).await?.iter().zip(hashes) {
                if receipt["status"] != "0x1" {
                    return Err(wrong(format!("transaction {hash} has the receipt {receipt}")));
                }
            }
        }
        Ok(())
    }
}

fn client() -> Result<reqwest::Client, Failure> {
    reqwest::Client::builder().no_proxy().build().map_err(wrong)
}

/// One request of many calls with a single parameter each.
fn batch(method: &str, params: impl Iterator<Item = Value>) -> Value {
    let call = |(id, param)| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": [param] });
    params.enumerate().map(call).collect()
}

/// The results, in the order of the calls.
async fn send(client: &reqwest::Client, url: &str, batch: &Value) -> Result<Vec<Value>, Failure> {
    let answer = client.post(url).json(batch).send().await.map_err(|e| wrong(e.without_url()))?;
    let mut answers: Vec<Value> = answer.json().await.map_err(|e| wrong(e.without_url()))?;
    answers.sort_by_key(|answer| answer["id"].as_u64());
    let result = |answer: &Value| answer.get("result").cloned().ok_or_else(|| wrong(answer.to_string()));
    answers.iter().map(result).collect()
}

/// How many transactions of this account are mined.
async fn mined(url: &str, account: Account) -> Result<u64, Failure> {
    let count = funding::call(url, "eth_getTransactionCount", json!([account.to_string(), "latest"])).await?;
    let digits = count.as_str().and_then(|text| text.strip_prefix("0x"));
    let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    number.ok_or_else(|| wrong(format!("{count} is no number of transactions")))
}

fn wrong(why: impl Into<Box<dyn std::error::Error>>) -> Failure {
    Failure::refused(TRIED, why, "see whether the node runs")
}
