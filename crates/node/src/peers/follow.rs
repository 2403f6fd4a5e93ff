//! Accompanies a transaction of several nodes until it is decided: tells the peers what this node's participants have
//! released, or that they will not. Begun again after a restart, it says everything again. What the others lock and
//! decide is not heard from them: the transaction itself looks at the ledgers (`crate::transactions`).

use std::collections::BTreeSet;
use std::time::Duration;

use sofie_model::Manifest;
use sofie_transaction::{Input, News, State};

use super::Peers;
use super::message::{Message, Reply, shortened};
use crate::config::Peer;
use crate::drive::Handle;

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
            let is_news = |state: &State| state.is_silent() || !news(state, &heard).is_empty();
            let Some(state) = handle.until(is_news).await else { return };
            if state.is_silent() {
                return;
            }
            for (what, message) in news(&state, &heard) {
                match self.ask(&peer, &message).await {
                    Ok(Reply::Taken) => {
                        heard.insert(what);
                    }
                    // It may not have begun yet.
                    Ok(reply) => {
                        tracing::warn!(peer = %peer.name, ?reply, verb = message.verb(), "not taken")
                    }
                    Err(error) => tracing::warn!(%error, "not heard"),
                }
            }
            if !news(&handle.state(), &heard).is_empty() {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

fn takes_part(peer: &Peer, manifest: &Manifest) -> bool {
    manifest.participants.iter().any(|one| peer.has(one.account))
}

/// What is to be said and was not heard. A signature under ABORT needs a pivot, and no transaction between nodes has one.
fn news(state: &State, heard: &BTreeSet<(u16, News)>) -> Vec<((u16, News), Message)> {
    let txid = state.txid();
    let unheard = state.news().into_iter().filter(|(name, _)| !heard.contains(name));
    let message = |input| match input {
        Input::Released(who, preimage) => Some(Message::Released { txid, who, preimage }),
        Input::Withheld(who, reason) => Some(Message::Withheld { txid, who, reason: shortened(&reason) }),
        _ => None,
    };
    unheard.filter_map(|(name, input)| Some((name, message(input)?))).collect()
}
