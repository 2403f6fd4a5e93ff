//! Sensors whose owners' nodes take no part in a contract: they are asked for what they saw, and what they say counts by
//! its signature (docs/adr/0045-a-sensor-at-a-third-node.md).

use std::time::Duration;

use sofie_market::{ContractTerms, Input, Part, Seen};
use sofie_model::Manifest;
use sofie_model::attestation::MAX_KEYS;

use super::Peers;
use super::contracts::{FIRST_PAUSE, marks_of, next_pause};
use super::message::{Message, Reply, shortened};
use crate::clock;
use crate::config::Peer;
use crate::contracts::{Driven, Untold};
use crate::drive::Handle;
use crate::journal::JournalError;

/// The wait after a refusal, which stands in the other node's audit log each time.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);

impl Peers {
    /// The answer to a peer that asks what sensors here saw.
    pub(super) async fn testify(
        &self,
        peer: &Peer,
        manifest: Manifest,
        terms: &ContractTerms,
    ) -> Result<Reply, JournalError> {
        // The first word stands: two nodes of a contract may ask at the same moment.
        let _one_by_one = self.0.testifying.lock().await;
        let txid = manifest.txid();
        match self.0.contracts.testify(peer, manifest, terms).await {
            Ok(seen) => Ok(Reply::Testimony { seen }),
            Err(Untold::Yet(reason)) => Ok(Reply::Waiting { txid, reason }),
            Err(Untold::Never(why)) => self.refuse(peer, "testify", txid.0, why).await,
            Err(Untold::Journal(error)) => Err(error),
        }
    }

    /// Asks the nodes of the sensors' owners that take no part, each until enough is known; and once the owner's stake was paid,
    /// and nothing here says why, the payer's node (docs/adr/0047-why-a-stake-was-paid.md).
    pub(super) fn call_witnesses(&self, handle: &Handle<Driven>) {
        let state = handle.state();
        let (contract, agreement) = (&state.contract, state.contract.agreement());
        if contract.part() == Part::Owner
            && contract.bond().is_some()
            && let Some(payer) = self.with_account(agreement.renter)
        {
            let message = Message::Progress { txid: contract.txid() };
            tokio::spawn(self.clone().hear_word(payer.clone(), message, handle.clone()));
        }
        let Some(terms) = state.plan.terms() else { return };
        let message =
            Message::Testify { manifest: Box::new(state.plan.manifest.clone()), contract: Box::new(terms) };
        let keys = contract.keys();
        let takes_part = |peer: &Peer| peer.has(agreement.renter) || peer.has(agreement.owner);
        let named = |peer: &Peer| keys.iter().any(|key| peer.has(*key));
        for peer in self.0.peers.iter().filter(|peer| named(peer) && !takes_part(peer)) {
            tokio::spawn(self.clone().hear_word(peer.clone(), message.clone(), handle.clone()));
        }
    }

    async fn hear_word(self, peer: Peer, message: Message, handle: Handle<Driven>) {
        let of_sensor = matches!(message, Message::Testify { .. });
        let (mut pause, mut given, mut asked_why) = (FIRST_PAUSE, Vec::new(), false);
        loop {
            tokio::time::sleep(pause).await;
            let state = handle.state();
            let contract = &state.contract;
            if contract.ended() || contract.informed() {
                return;
            }
            // What did not count before the stake was paid may tell why it was.
            let asks_why = contract.asks_why_until().is_some();
            if asks_why && !std::mem::replace(&mut asked_why, true) {
                given.clear();
            }
            let listens = asks_why || (of_sensor && contract.listens(clock::now()));
            if !listens {
                pause = FIRST_PAUSE;
                continue;
            }
            pause = next_pause(pause, marks_of(contract), clock::now());
            match self.ask(&peer, &message).await {
                Ok(Reply::Testimony { seen }) if of_sensor => {
                    Self::give(&peer, &handle, seen, &mut given).await;
                }
                Ok(Reply::Report { report }) if !of_sensor => {
                    Self::give(&peer, &handle, report.missed.unwrap_or_default(), &mut given).await;
                }
                Ok(Reply::Waiting { .. }) => {}
                Ok(Reply::Refused { reason }) => {
                    let (contract, reason) = (contract.txid(), shortened(&reason));
                    tracing::warn!(peer = %peer.name, %contract, %reason, "it does not say what a sensor saw; ask its operator");
                    pause = REFUSED_PAUSE;
                }
                Ok(reply) => {
                    let reply = reply.word();
                    tracing::warn!(peer = %peer.name, reply, "that is no answer to what a sensor saw");
                }
                Err(error) => tracing::warn!(%error, "what a sensor saw is not known"),
            }
        }
    }

    /// Each word once: whether it counts is for the contract to say, by its signature.
    async fn give(peer: &Peer, handle: &Handle<Driven>, seen: Vec<Seen>, given: &mut Vec<Seen>) {
        for one in seen {
            if given.len() == MAX_KEYS || given.contains(&one) {
                continue;
            }
            given.push(one.clone());
            if let Err(why) = handle.give(Input::Brought(one)).await {
                tracing::warn!(peer = %peer.name, %why, "what it says that a sensor saw does not count");
            }
        }
    }
}
