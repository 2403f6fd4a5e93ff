//! Accompanies a transaction of several nodes until it is decided: tells the peers what this node's participants have
//! released, or that they will not, and what they sign ahead for the pivot. Begun again after a restart, it says everything again. What the others lock and
//! decide is not heard from them: the transaction itself looks at the ledgers (`crate::transactions`).

use std::collections::BTreeSet;
use std::time::Duration;

use sofie_ledgers::Spend;
use sofie_model::{Digest, Manifest};
use sofie_transaction::{Input, News, State};

use super::Peers;
use super::message::{Message, Reply, shortened};
use crate::config::Peer;
use crate::drive::Handle;
use crate::transactions::presigned;

/// The first wait before a message is said again.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Peers {
    /// Begins to accompany `handle`, if participants of it live elsewhere.
    pub(super) fn follow(&self, handle: Handle<State>) {
        let state = handle.state();
        for peer in self.0.peers.iter().filter(|peer| takes_part(peer, state.manifest())) {
            tokio::spawn(self.clone().tell(peer.clone(), handle.clone()));
        }
    }

    /// Whether participants of it live elsewhere: then it must be accompanied.
    pub(crate) fn shares(&self, manifest: &Manifest) -> bool {
        self.0.peers.iter().any(|peer| takes_part(peer, manifest))
    }

    /// Tells `peer` what it must know, each thing until it is heard, until D has decided.
    async fn tell(self, peer: Peer, mut handle: Handle<State>) {
        let mut heard = BTreeSet::new();
        let mut pause = FIRST_PAUSE;
        loop {
            let is_news = |state: &State| state.is_silent() || !unheard(state, &heard).is_empty();
            let Some(state) = handle.until(is_news).await else { return };
            if state.is_silent() {
                return;
            }
            for what in unheard(&state, &heard) {
                let Some(message) = self.message(&state, what).await else { continue };
                match self.ask(&peer, &message).await {
                    Ok(Reply::Taken) => {
                        heard.insert(what);
                    }
                    // It may not have begun yet, or its ledger not have shown it the lock.
                    Ok(reply) => {
                        tracing::warn!(peer = %peer.name, ?reply, verb = message.verb(), "not taken")
                    }
                    Err(error) => tracing::warn!(%error, "not heard"),
                }
            }
            if !unheard(&handle.state(), &heard).is_empty() {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// How it is said; `None` for what cannot be signed now.
    async fn message(&self, state: &State, what: What) -> Option<Message> {
        let txid = state.txid();
        match what {
            What::Ahead(spend, _) => match self.0.transactions.presign(state, spend).await {
                Ok(signed) => {
                    Some(Message::Presigned { txid, refund: spend == Spend::Refund, signed: signed.bytes })
                }
                Err(error) => {
                    tracing::warn!(%error, "nothing is signed ahead yet");
                    None
                }
            },
            What::Word(who, news) => {
                let said = state.news().into_iter().find(|(name, _)| *name == (who, news))?;
                match said.1 {
                    Input::Released(who, preimage) => Some(Message::Released { txid, who, preimage }),
                    Input::Withheld(who, reason) => {
                        Some(Message::Withheld { txid, who, reason: shortened(&reason) })
                    }
                    Input::Renounced(who, signature) => Some(Message::Renounced { txid, who, signature }),
                    _ => None,
                }
            }
        }
    }
}

/// One thing to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// What a party signs ahead of this lock of the pivot.
    Ahead(Spend, Digest),
    /// A participant's word.
    Word(u16, News),
}

fn takes_part(peer: &Peer, manifest: &Manifest) -> bool {
    manifest.participants.iter().any(|one| peer.has(one.account))
}

/// What is to be said and was not heard. What is signed ahead comes first: the others release nothing without it.
fn unheard(state: &State, heard: &BTreeSet<What>) -> Vec<What> {
    let ahead = presigned::due(state).into_iter().map(|(spend, lock)| What::Ahead(spend, lock));
    let words = state.news().into_iter().map(|((who, news), _)| What::Word(who, news));
    ahead.chain(words).filter(|what| !heard.contains(what)).collect()
}
