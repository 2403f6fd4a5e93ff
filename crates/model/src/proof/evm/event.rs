//! What the contracts' events say, as facts of one manifest.

use alloy_primitives::{Log, LogData};
use alloy_sol_types::SolEventInterface;

use crate::contract::{self, Decision as D, Escrow};
use crate::{Account, Decision, Digest, Fact, LedgerId, LegId, Manifest, Txid};

/// The fact that `log` states about the transaction of `manifest`.
///
/// # Errors
/// In words: the log is by another contract than the manifest names, about another transaction, leg or lock, or not one
/// of the two contracts' events.
pub fn fact(ledger: &LedgerId, manifest: &Manifest, log: &Log) -> Result<Fact, String> {
    fact_of(manifest.txid(), ledger, manifest, log)
}

/// [`fact`], where the name of `manifest` is known already: it is computed from all of the manifest.
///
/// # Errors
/// As [`fact`].
pub fn fact_of(txid: Txid, ledger: &LedgerId, manifest: &Manifest, log: &Log) -> Result<Fact, String> {
    let by = Account(log.address.into_array());
    if by == manifest.decision.contract && *ledger == manifest.decision.ledger {
        return decision(txid, &log.data);
    }
    escrow(txid, ledger, manifest, by, &log.data)
}

fn decision(txid: Txid, data: &LogData) -> Result<Fact, String> {
    let event = D::DecisionEvents::decode_raw_log(data.topics(), &data.data)
        .map_err(|_| "not an event of the decision contract".to_owned())?;
    let (about, decision) = match event {
        D::DecisionEvents::Committed(event) => {
            let preimages = event.preimages.iter().map(|one| Digest(one.0)).collect();
            let evidence_root = Digest(event.evidenceRoot.0);
            (event.txid, Decision::Commit { included: event.included, evidence_root, preimages })
        }
        D::DecisionEvents::Aborted(event) => {
            (event.txid, Decision::Abort { by: Account(event.by.into_array()) })
        }
    };
    if about.0 == txid.0.0 { Ok(Fact::Decided(txid, decision)) } else { Err("of another transaction".into()) }
}

fn escrow(
    txid: Txid,
    ledger: &LedgerId,
    manifest: &Manifest,
    by: Account,
    data: &LogData,
) -> Result<Fact, String> {
    let event = Escrow::EscrowEvents::decode_raw_log(data.topics(), &data.data)
        .map_err(|_| format!("not an event of a contract that the manifest names ({by})"))?;
    let (about, leg, lock_id, fact): (_, _, _, fn(_, _) -> Fact) = match event {
        Escrow::EscrowEvents::Prepared(e) => (e.txid, e.leg, e.lockId, Fact::Prepared),
        Escrow::EscrowEvents::Applied(e) => (e.txid, e.leg, e.lockId, Fact::Applied),
        Escrow::EscrowEvents::Reverted(e) => (e.txid, e.leg, e.lockId, Fact::Reverted),
        Escrow::EscrowEvents::Refunded(e) => (e.txid, e.leg, e.lockId, Fact::Refunded),
        Escrow::EscrowEvents::Settled(e) => (e.txid, e.leg, e.lockId, Fact::Settled),
        Escrow::EscrowEvents::Presented(e) => (e.txid, e.leg, e.lockId, Fact::Presented),
        Escrow::EscrowEvents::Overruled(e) => (e.txid, e.leg, e.lockId, Fact::Overruled),
        // Between the contract and a payee: the leg is applied, or settled, either way.
        Escrow::EscrowEvents::Owed(_) | Escrow::EscrowEvents::Collected(_) => {
            return Err("tells of a payee's debt, not of the transaction".into());
        }
    };
    if about.0 != txid.0.0 {
        return Err("of another transaction".into());
    }
    let id = LegId(leg);
    let Some(leg) = manifest.leg(id).filter(|leg| leg.ledger == *ledger) else {
        return Err(format!("{id} is not on this ledger"));
    };
    let (Some(holder), Some(lock)) = (leg.terms.holder(), contract::lock_under(txid, manifest, id)) else {
        return Err(format!("no contract holds {id}"));
    };
    if by != holder {
        return Err(format!("by {by}, the manifest names {holder}"));
    }
    if lock_id.0 != contract::lock_id(&lock).0 {
        return Err(format!("{id} locks on other terms"));
    }
    Ok(fact(txid, id))
}
