//! Watches a transaction of others: this node holds none of its keys. It follows the ledgers itself, tells when time runs
//! out, writes ABORT when the time is over and nobody has, and drives every leg once D has decided: what anyone may do who
//! has the manifest (design "Apply", P6). Left out: the pivot's pre-signed spends and a guard's signature.

use sofie_model::{Leg, Manifest, Timestamp, canonical};
use sofie_transaction::Plan;

use crate::api::{ApiError, ErrorKind, Federation, Transaction};
use crate::auditor::Note;
use crate::runtime::Runtime;

/// The longest manifest that is read, in bytes.
const MAX_MANIFEST: usize = 64 * 1024;

pub(super) async fn watch(node: &Runtime, bytes: &[u8]) -> Result<Transaction, ApiError> {
    let manifest: Manifest =
        canonical::decode(bytes, MAX_MANIFEST).map_err(|error| unfit(error.to_string()))?;
    let txid = manifest.txid();
    // Of two at once the second is told to wait: one transaction begins once.
    let _working = node.once().claim(&txid.to_string()).ok_or_else(|| {
        ApiError::new(ErrorKind::Conflict, "the same request, at once", format!("{txid} is being begun"))
            .next("send it again in a moment")
    })?;
    if node.transactions().state(txid)?.is_none() {
        let plan = plan(node, manifest)?;
        let note = Note::about(txid.0, "watched", true, "this node holds no key of its participants");
        node.transactions().begin(plan, Vec::new(), vec![note]).await?;
    }
    Federation::transaction(node, txid).await
}

fn plan(node: &Runtime, manifest: Manifest) -> Result<Plan, ApiError> {
    // Its time may be over already: then it is needed most.
    manifest.check(Timestamp::default()).map_err(|fault| unfit(fault.to_string()))?;
    if manifest.pivot().is_some() {
        return Err(unfit(
            "it has a hashlock leg, which only its parties or their pre-signed spends can end".into(),
        ));
    }
    if let Some(keys) = manifest.participants.iter().find_map(|one| node.parties().with_account(one.account))
    {
        return Err(unfit(format!(
            "the key of its participant {} is on this node: it takes part here",
            keys.name()
        )));
    }
    manifest.legs.iter().try_for_each(|leg| is_known(node, leg))?;
    let site = &manifest.decision;
    let ledger = node.ledgers().get(&site.ledger).map(|ledger| ledger.profile());
    let ledger = ledger.filter(|profile| profile.decides && profile.finality == site.finality);
    let ledger = ledger.ok_or_else(|| {
        unfit(format!("decision: {} does not decide at this node, or is final otherwise", site.ledger))
    })?;
    let decision_time = ledger.inclusion + ledger.finalises;
    Ok(Plan { manifest, acts_for: Vec::new(), decision_time, pivot: None })
}

fn is_known(node: &Runtime, leg: &Leg) -> Result<(), ApiError> {
    let known = node.ledgers().get(&leg.ledger).map(|ledger| ledger.profile());
    match known {
        None => Err(unfit(format!("this node has no ledger {}; add it as a [[ledger]]", leg.ledger))),
        Some(profile) if !profile.classes.contains(&leg.class) || profile.finality != leg.finality => {
            Err(unfit(format!("{} is another ledger at this node, by class or finality", leg.ledger)))
        }
        Some(_) => Ok(()),
    }
}

fn unfit(why: String) -> ApiError {
    ApiError::new(ErrorKind::Invalid, "the manifest cannot be watched", why)
        .next("take it from GET /api/v1/transactions/{txid}/manifest of a node that takes part")
}
