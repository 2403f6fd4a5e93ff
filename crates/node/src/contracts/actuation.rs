//! The device's part: it is told, by a capability that its owner's door verifies; and another owner's sensor is
//! watched, whose word is evidence.

use sofie_adapters::port::{AdapterError, Outcome, Refuser, Request};
use sofie_market::Input;
use sofie_model::{Digest, Observation, Salt, Span, canonical};
use tokio::sync::mpsc;

use super::{Contracts, Driven};
use crate::auditor::Note;
use crate::clock;
use crate::drive::{Asked, Machine};
use crate::gate::{self, Shown};
use crate::journal::JournalError;
use crate::parties::capability_key;
use crate::readings::Reading;
use crate::restored::WHY;

/// How long to wait before a device that is away is asked again, while nothing was sent.
const RETRY: Span = Span::from_millis(500);
/// At most so much of a device's answer is kept.
const MAX_ANSWER: usize = 512;
/// At most so many readings that fulfil nothing are told of one contract.
const MAX_IGNORED: u32 = 16;
/// At most so much of such a reading is told.
const MAX_TOLD: usize = 200;

impl Contracts {
    /// Writes that the device is about to be told, then tells it. Nothing is sent twice.
    pub(super) async fn act(
        &self,
        driven: &Driven,
        token: Vec<u8>,
        inputs: &mpsc::Sender<Asked<Input>>,
    ) -> Result<Input, JournalError> {
        // D's clock may be ahead: the escrow takes no observation from before the decision.
        tokio::time::sleep(driven.contract.tell_from().since(clock::now()).into()).await;
        for rule in driven.contract.agreement().rules() {
            self.platforms.learn(&rule.thing, &rule.property).await?;
        }
        let (taken, kept) = tokio::sync::oneshot::channel();
        let asked = Asked { input: Input::Acting, taken: Some(taken) };
        let written = inputs.send(asked).await.is_ok() && matches!(kept.await, Ok(Ok(())));
        if !written {
            // The node stops, or the contract moved on: the device is not told.
            return std::future::pending().await;
        }
        if self.transactions.is_restored(driven.id()) {
            // It may have been told after the backup was made: never a second time.
            return Ok(Input::FateUnknown(WHY.into()));
        }
        Ok(self.tell(driven, &token).await)
    }

    async fn tell(&self, driven: &Driven, token: &[u8]) -> Input {
        let agreement = driven.contract.agreement();
        let Some(adapter) = self.platforms.adapter_of(&agreement.thing) else {
            return Input::Denied(format!("no joined platform has {}", agreement.thing));
        };
        loop {
            let request = match self.request(driven, token) {
                Ok(request) => request,
                Err(why) => return Input::Denied(why),
            };
            match adapter.invoke(&request).await {
                Ok(outcome) => return answer(outcome),
                // Nothing was sent: it may be tried again while the capability is good and its act could be proven.
                Err(AdapterError::Transient { reason, .. })
                    if clock::now() + RETRY < driven.contract.tell_until() =>
                {
                    tracing::warn!(%reason, thing = %agreement.thing, "the device does not answer yet");
                    tokio::time::sleep(RETRY.into()).await;
                }
                Err(error) => return Input::Denied(error.to_string()),
            }
        }
    }

    fn request(&self, driven: &Driven, token: &[u8]) -> Result<Request, String> {
        let agreement = driven.contract.agreement();
        let txid = driven.contract.txid();
        let input = match agreement.input.as_str() {
            "" => serde_json::Value::Null,
            text => serde_json::from_str(text).map_err(|e| format!("the agreed input is no JSON: {e}"))?,
        };
        let (thing, action) = (agreement.thing.clone(), agreement.action.clone());
        let mut request = Request { thing, action, input, message: txid.0, capability: Vec::new() };
        let holder = self.holder(driven)?;
        let owner = self.parties.name_of(agreement.owner);
        let asked = gate::request(&request, txid).map_err(|e| e.to_string())?;
        let nonce = random().map_err(|e| e.to_string())?;
        let proof = sofie_access::proof::sign(
            &capability_key(holder),
            &owner,
            token,
            &asked,
            Digest(nonce),
            clock::now(),
        );
        let shown = Shown { token: token.to_vec(), proof, transaction: Some(txid) };
        request.capability = canonical::encode(&shown);
        Ok(request)
    }

    /// Reads what the thing says of itself, without touching it. Whether it acted is for the sensor to tell.
    pub(super) async fn inspect(&self, driven: &Driven) -> Input {
        let thing = &driven.contract.agreement().thing;
        let Some(adapter) = self.platforms.adapter_of(thing) else {
            return Input::FateUnknown(format!(
                "the node stopped while it told {thing}, which is no longer joined"
            ));
        };
        let mut seen = Vec::new();
        for property in self.platforms.properties_of(thing).into_keys() {
            match adapter.read(thing, &property).await {
                Ok(message) => {
                    seen.extend(
                        message.observations.iter().map(|o| format!("{} = {}", o.property, o.quantity.value)),
                    );
                }
                Err(error) => seen.push(error.to_string()),
            }
        }
        let seen = if seen.is_empty() { "nothing".to_owned() } else { seen.join(", ") };
        Input::FateUnknown(format!(
            "the node stopped while it told {thing}; it shows {seen}; it is not told again"
        ))
    }

    /// Waits for a reading that fulfils the agreement. Of those of the agreed property that do not, the first
    /// [`MAX_IGNORED`] are told in the log: a sensor that talks without end must not fill the journal, nor make its good
    /// reading wait behind the others.
    pub(super) async fn watch(&self, driven: &Driven, sensor: usize) -> Result<Input, JournalError> {
        let Some(rule) = driven.contract.agreement().rules().nth(sensor) else {
            return Ok(std::future::pending().await);
        };
        let (_, terms) = driven.contract.escrow();
        let told_at = driven.contract.told_at().unwrap_or(driven.plan.opened_at);
        let mut readings = self.platforms.readings(&rule.thing, driven.plan.opened_at);
        let mut ignored = 0;
        loop {
            let Reading { observation, changed, .. } = readings.next().await;
            if observation.property != rule.property {
                continue;
            }
            let fulfils = rule.fulfilled_by(&observation, told_at, terms.evidence_deadline);
            let fulfils = fulfils.map_err(|why| why.to_string());
            // The door may stand open from an earlier rental: that it is open says nothing, that it opened does.
            let no_change = || "the value did not change".to_owned();
            match fulfils.and_then(|()| changed.then_some(()).ok_or_else(no_change)) {
                Ok(()) => {
                    // A salt that could be guessed would betray the value: better no evidence than that.
                    let Ok(salt) = random() else { return Ok(std::future::pending().await) };
                    return Ok(Input::Observed(observation, Salt::new(salt)));
                }
                Err(_) if ignored == MAX_IGNORED => {}
                Err(why) => {
                    ignored += 1;
                    let last = if ignored == MAX_IGNORED { "; more of this kind are not told" } else { "" };
                    let (property, value) = (&observation.property, &observation.quantity.value);
                    let told: String =
                        format!("{property} = {value}: {why}").chars().take(MAX_TOLD).collect();
                    let detail = format!("{told}{last}");
                    let note = Note::about(driven.id(), "reading-ignored", true, detail);
                    self.keeper.auditor.keep(Vec::new(), vec![note], clock::now()).await?;
                }
            }
        }
    }

    /// Once it is due, the sensor is asked, and heard, whether it is not as agreed.
    pub(super) async fn notice(&self, driven: &Driven, sensor: usize) -> Input {
        let rule = driven.contract.agreement().rules().nth(sensor);
        let (Some(rule), Some(bond)) = (rule, driven.contract.bond()) else {
            return std::future::pending().await;
        };
        let (due, until) = (driven.contract.due(), bond.escrow().1.evidence_deadline);
        clock::until(due).await;
        let mut readings = self.platforms.readings(&rule.thing, due);
        let asked = match self.platforms.adapter_of(&rule.thing) {
            Some(adapter) => adapter.read(&rule.thing, &rule.property).await.ok(),
            None => None,
        };
        let asked = asked.into_iter().flat_map(|message| message.observations);
        let mut shows = asked.filter(|seen| rule.missed_by(seen, due, until).is_ok());
        let observation = match shows.next() {
            Some(observation) => observation,
            None => loop {
                let Reading { observation, .. } = readings.next().await;
                if rule.missed_by(&observation, due, until).is_ok() {
                    break observation;
                }
            },
        };
        match random() {
            Ok(salt) => Input::Missed(observation, Salt::new(salt)),
            Err(_) => std::future::pending().await,
        }
    }

    /// The sensor's owner signs that it is not as agreed, if its key is on this node.
    pub(super) async fn attest_missed(
        &self,
        driven: &Driven,
        sensor: usize,
        observation: &Observation,
        salt: &Salt,
    ) -> Input {
        let key = driven.contract.keys().get(sensor).copied();
        let keys = key.and_then(|key| self.parties.with_account(key));
        match keys.zip(driven.contract.missed_attestation(observation, salt)) {
            Some((keys, said)) => Input::Attested(said.sign(keys.secp256k1())),
            None => std::future::pending().await,
        }
    }

    /// The sensor's owner signs, with the key that the agreement names, if it is on this node.
    pub(super) async fn attest(
        &self,
        driven: &Driven,
        sensor: usize,
        observation: &Observation,
        salt: &Salt,
    ) -> Input {
        let key = driven.contract.keys().get(sensor).copied();
        let Some(keys) = key.and_then(|key| self.parties.with_account(key)) else {
            // Another node's owner will bring it.
            return std::future::pending().await;
        };
        Input::Attested(driven.contract.attestation(observation, salt).sign(keys.secp256k1()))
    }
}

fn answer(outcome: Outcome) -> Input {
    match outcome {
        Outcome::Answered { code, payload } => {
            let text: String = String::from_utf8_lossy(&payload).chars().take(MAX_ANSWER).collect();
            Input::Acted(format!("the device answers {code} {text}").trim_end().to_owned())
        }
        Outcome::Refused(Refuser::Gate(refusal)) => Input::Denied(refusal.to_string()),
        Outcome::Refused(Refuser::Device { code, diagnostic }) => {
            Input::Denied(format!("the device refuses: {code} {diagnostic}"))
        }
        Outcome::Unknown { reason } => Input::FateUnknown(reason),
    }
}

/// 32 random bytes.
pub(crate) fn random() -> Result<[u8; 32], getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
