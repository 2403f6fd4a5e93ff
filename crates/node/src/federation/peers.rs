//! Other companies' nodes, as the API shows them, and the owner's word on what they propose.

use sofie_model::Txid;

use super::no_such;
use crate::api::{Amount, ApiError, ErrorKind, Neighbour, Neighbours, Own};
use crate::config::Peer;
use crate::peers::{Peers, Word};
use crate::runtime::Runtime;

/// All of them.
pub(super) fn shown(runtime: &Runtime) -> Neighbours {
    let peers = runtime.peers();
    Neighbours {
        own: Own {
            name: runtime.config().node.name.to_string(),
            authority: peers.authority(),
            key: peers.own_key(),
            parties: runtime.parties().iter().map(|keys| (keys.name().to_string(), keys.account())).collect(),
        },
        peers: peers.all().iter().map(|peer| neighbour(runtime, peer)).collect(),
    }
}

/// The owner's word.
///
/// # Errors
/// [`ErrorKind::NotFound`], [`ErrorKind::Conflict`].
pub(super) async fn decide(peers: &Peers, id: Txid, word: Word) -> Result<(), ApiError> {
    match peers.decide(id, word).await? {
        Some(Ok(())) => Ok(()),
        Some(Err(why)) => {
            let error =
                ApiError::new(ErrorKind::Conflict, "the word comes to nothing", format!("{id}: {why}"));
            Err(error.next("see `sofie tx show`; whoever wants it still must propose it anew"))
        }
        None => Err(no_such("transaction", id)),
    }
}

fn neighbour(runtime: &Runtime, peer: &Peer) -> Neighbour {
    let published = runtime.parties().iter().map(|keys| keys.name()).filter(|name| peer.may_know(name));
    Neighbour {
        name: peer.name.to_string(),
        url: peer.url.to_string(),
        key: hex::encode(peer.key.as_bytes()),
        parties: peer.parties.iter().map(|(name, account)| (name.to_string(), *account)).collect(),
        publish: published.map(ToString::to_string).collect(),
        automatic: peer.automatic.iter().map(|(id, limit)| (id.to_string(), Amount(*limit))).collect(),
    }
}
