//! Proposals as a journal of format 1 may hold them. Until 28 November 2026 one that the owner had declined did not say whose
//! it was nor why; the audit log of the same write does. Programs after that could not read it, and did not start.

use std::path::Path;

use minicbor::{Decode, Encode};
use sofie_model::{Digest, Txid, canonical};
use sofie_transaction::Plan;

use super::{GROUP, MAX_BYTES, Opening, entry};
use crate::auditor;
use crate::config::Config;
use crate::journal::{JournalError, Reader};
use crate::migrate::Change;

/// What its peer was told then, whoever asked.
const WHY: &str = "its owner has declined";

#[derive(Debug, Clone, Encode, Decode)]
pub(crate) enum Stand {
    #[n(1)]
    DeclinedHere,
}

#[derive(Debug, Clone, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Proposal {
    #[n(0)]
    pub(crate) stand: Stand,
    #[n(1)]
    pub(crate) plan: Plan,
    #[n(2)]
    pub(crate) openings: Vec<Opening>,
}

/// Step 1 to 2: each such proposal gets its peer's key, which is zero when the configuration no longer has the peer.
///
/// # Errors
/// [`JournalError`] when a proposal is of neither form.
pub(crate) fn changes(journal: &Reader, config: &Config) -> Result<Vec<Change>, JournalError> {
    let mut changes = Vec::new();
    for (key, bytes) in journal.facts(GROUP)? {
        let Err(unread) = super::Proposal::read(journal.path(), &key, &bytes) else { continue };
        let Ok(old) = canonical::decode::<Proposal>(&bytes, MAX_BYTES) else { return Err(unread) };
        let txid = old.plan.manifest.txid();
        let peer = decliner(journal, txid)?;
        let known = peer.as_ref().and_then(|name| config.peers.iter().find(|one| one.name.as_str() == name));
        let stand = super::Stand::Declined {
            peer: known.map_or(Digest::ZERO, |peer| Digest(peer.key.to_bytes())),
            why: WHY.into(),
        };
        let Proposal { plan, openings, .. } = old;
        let proposal = super::Proposal { stand, plan, openings, contract: None };
        let whose = peer.unwrap_or_else(|| "a peer that the audit log does not name".into());
        changes.push(Change {
            what: format!("{txid}: a proposal of {whose} that was declined says so from now on"),
            entries: vec![entry(txid, canonical::encode(&proposal))],
        });
    }
    Ok(changes)
}

/// To which peer the owner declined it, as the audit log of that time says.
fn decliner(journal: &Reader, txid: Txid) -> Result<Option<String>, JournalError> {
    let path: &Path = journal.path();
    for bytes in journal.audit_of(txid.0)? {
        let record = auditor::decode(path, &bytes)?;
        let peer =
            record.detail.strip_prefix("to peer ").and_then(|rest| rest.strip_suffix(", by the owner"));
        if let ("declined", Some(peer)) = (record.kind.as_str(), peer) {
            return Ok(Some(peer.to_owned()));
        }
    }
    Ok(None)
}
