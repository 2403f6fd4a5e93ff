//! Whether D decided what a request says. The request brings the proof; what the proof rests on is compared with what
//! this custodian knows by itself: an Ethereum node that it asks, or a log's key or a group's keys that it was given.

use alloy_sol_types::SolCall as _;
use serde::Deserialize;
use serde_json::{Value, json};
use sofie_model::custodian::{Judged, judge, judge_by};
use sofie_model::{Account, Anchor, Digest, LedgerId, LegId, Manifest, Proof, contract};

use crate::books::No;
use crate::group::Members;

/// A decision ledger that this custodian believes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chain {
    /// Its name in manifests.
    ledger: LedgerId,
    /// The custodian's own node, by JSON-RPC.
    url: String,
    chain_id: u64,
    /// The decision contract whose code it knows.
    contract: Account,
    /// How many blocks must stand on the decision's.
    confirmations: u64,
}

/// A decision log that this custodian believes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    /// Its name in manifests.
    ledger: LedgerId,
    /// Its name in its checkpoints.
    origin: String,
    /// Its Ed25519 key.
    key: Digest,
}

/// All that it believes.
pub(crate) struct Judge {
    pub(crate) chains: Vec<Chain>,
    pub(crate) logs: Vec<Log>,
    pub(crate) groups: Vec<Members>,
    pub(crate) http: reqwest::Client,
}

impl Judge {
    /// Before value is held: D must be one that this custodian can judge later, and undecided as far as it sees.
    pub(crate) async fn before_hold(&self, manifest: &Manifest) -> Result<(), No> {
        let site = &manifest.decision;
        if self.logs.iter().any(|log| log.ledger == site.ledger) {
            return Ok(());
        }
        if let Some(group) = self.group(manifest) {
            return group.is_undecided(&self.http, manifest).await;
        }
        let chain = self.chain(manifest)?;
        let call = contract::Decision::decisionOfCall { txid: contract::word(manifest.txid().0) };
        let data = format!("0x{}", hex::encode(call.abi_encode()));
        let call = json!([{ "to": site.contract.to_string(), "data": data }, "latest"]);
        let answer = self.ask(chain, "eth_call", call).await?;
        let bytes = answer.as_str().and_then(|text| hex::decode(text.strip_prefix("0x")?).ok());
        let decided = bytes
            .and_then(|bytes| contract::Decision::decisionOfCall::abi_decode_returns(&bytes).ok())
            .ok_or_else(|| No::Away("D's node answers something else".into()))?;
        match decided.kind {
            contract::UNDECIDED => Ok(()),
            _ => Err(No::Refused("D has decided already".into())),
        }
    }

    /// The decision that the proof shows, if what it rests on is D as this custodian knows it.
    pub(crate) async fn decision(
        &self,
        manifest: &Manifest,
        leg: LegId,
        proof: &Proof,
    ) -> Result<Judged, No> {
        if let Some(group) = self.group(manifest) {
            return judge_by(&group.group, manifest, leg, proof).map_err(No::Refused);
        }
        let judged = judge(manifest, leg, proof).map_err(No::Refused)?;
        match &judged.anchor {
            Anchor::Evm { height, block_hash, .. } => {
                self.is_on_chain(self.chain(manifest)?, *height, *block_hash).await?;
            }
            Anchor::Calendar { origin, key, .. } => {
                let d = &manifest.decision.ledger;
                let known = |log: &Log| log.ledger == *d && log.origin == *origin && log.key == *key;
                if !self.logs.iter().any(known) {
                    return Err(No::Refused(format!("log {origin} of key {key} is not believed here")));
                }
            }
            other => return Err(No::Refused(format!("a decision on {other:?} is not believed here"))),
        }
        Ok(judged)
    }

    fn group(&self, manifest: &Manifest) -> Option<&Members> {
        self.groups.iter().find(|one| one.ledger == manifest.decision.ledger)
    }

    fn chain(&self, manifest: &Manifest) -> Result<&Chain, No> {
        let site = &manifest.decision;
        let known = |chain: &&Chain| {
            (&chain.ledger, chain.chain_id, chain.contract) == (&site.ledger, site.chain_id, site.contract)
        };
        self.chains.iter().find(known).ok_or_else(|| {
            No::Refused(format!("D is {} with contract {}, not believed here", site.ledger, site.contract))
        })
    }

    async fn is_on_chain(&self, chain: &Chain, height: u64, hash: Digest) -> Result<(), No> {
        let newest = self.ask(chain, "eth_blockNumber", json!([])).await?;
        let newest = newest.as_str().and_then(|text| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok());
        let newest = newest.ok_or_else(|| No::Away("D's node has no newest block".into()))?;
        if newest < height.saturating_add(chain.confirmations) {
            return Err(No::Away(format!("D's decision in block {height} is not final yet")));
        }
        let block = self.ask(chain, "eth_getBlockByNumber", json!([format!("{height:#x}"), false])).await?;
        let found = block["hash"].as_str().and_then(|text| text.parse::<Digest>().ok());
        match found {
            Some(found) if found == hash => Ok(()),
            Some(found) => Err(No::Refused(format!("block {height} of D is {found}, not {hash}"))),
            None => Err(No::Away(format!("D's node does not show block {height}"))),
        }
    }

    async fn ask(&self, chain: &Chain, method: &str, params: Value) -> Result<Value, No> {
        let away = |error: reqwest::Error| No::Away(format!("D's node: {}", error.without_url()));
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = self.http.post(&chain.url).json(&call).send().await.map_err(away)?;
        let mut answer: Value = answer.json().await.map_err(away)?;
        match answer.get_mut("result") {
            Some(result) => Ok(result.take()),
            None => Err(No::Away(format!("D's node: {}", answer["error"]["message"]))),
        }
    }
}
