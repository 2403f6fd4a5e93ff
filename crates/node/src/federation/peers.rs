//! Other companies' nodes, as the API shows them.

use sofie_model::{Leg, Terms, Txid};

use super::no_such;
use crate::api::{Amount, ApiError, At, ErrorKind, Neighbour, Neighbours, Own, Proposed};
use crate::config::Peer;
use crate::peers::{Peers, Pending};
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
        peers: peers.all().iter().map(neighbour).collect(),
        proposals: peers.pending().into_iter().map(|pending| proposed(runtime, pending)).collect(),
    }
}

/// The owner's word.
///
/// # Errors
/// [`ErrorKind::NotFound`], [`ErrorKind::Refused`].
pub(super) async fn decide(peers: &Peers, id: Txid, agree: bool) -> Result<(), ApiError> {
    match peers.decide(id, agree).await? {
        Some(Ok(())) => Ok(()),
        Some(Err(why)) => Err(ApiError::new(ErrorKind::Refused, "it can no longer begin", why)
            .next("ask the other side to propose it anew")),
        None => Err(no_such("transaction", id)),
    }
}

fn neighbour(peer: &Peer) -> Neighbour {
    Neighbour {
        name: peer.name.to_string(),
        url: peer.url.to_string(),
        key: hex::encode(peer.key.as_bytes()),
        parties: peer.parties.iter().map(|(name, account)| (name.to_string(), *account)).collect(),
        automatic: peer.automatic.iter().map(|(id, limit)| (id.to_string(), Amount(*limit))).collect(),
    }
}

fn proposed(runtime: &Runtime, pending: Pending) -> Proposed {
    let next = match &pending.peer {
        Some(peer) => format!("agree or decline; after the deadline {peer} must propose it anew"),
        None => "nothing: it begins once every peer has agreed".into(),
    };
    Proposed {
        txid: pending.txid,
        peer: pending.peer,
        why: pending.why,
        deadline: At(pending.manifest.deadline),
        legs: pending.manifest.legs.iter().map(|leg| line(runtime, leg)).collect(),
        next,
    }
}

/// "evm: alice pays bob 1000".
fn line(runtime: &Runtime, leg: &Leg) -> String {
    let name = |account| {
        let known = runtime.peers().name_of(account);
        known.unwrap_or_else(|| runtime.parties().name_of(account))
    };
    let (payer, payee, amount, how) = match &leg.terms {
        Terms::Escrow(terms) => (terms.payer, terms.payee, terms.amount, " by evidence"),
        Terms::Transfer(terms) => (terms.payer, terms.payee, terms.amount, ""),
        Terms::Hashlock(terms) => (terms.payer, terms.claimant, terms.amount, " by secrets"),
        Terms::Record(_) => return format!("{}: a record", leg.ledger),
    };
    format!("{}: {} pays {} {amount}{how}", leg.ledger, name(payer), name(payee))
}
