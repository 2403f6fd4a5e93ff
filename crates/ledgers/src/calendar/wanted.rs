//! What a calendar is asked to append: an entry, and for a decision the manifest that it is checked with. Its intent is the
//! same wherever the calendar is.

use std::sync::Arc;

use minicbor::{Decode, Encode};
use sofie_model::{
    Decide, Manifest, Operation, canonical,
    proof::calendar::{Entry, MAX_LEAF},
};

use crate::decide::parts;
use crate::{Intent, LedgerError, Profile, entry};

/// A longer intent is none: 64 legs and 16 participants stay far below.
const MAX_INTENT: usize = 64 * 1024;

/// An entry with what the log's rules need to judge it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) entry: Entry,
    /// For [`Entry::Decided`] only.
    pub(super) manifest: Option<Arc<Manifest>>,
}

/// The intent of a decision. That of any other entry is the entry itself.
#[derive(Encode, Decode)]
#[cbor(array)]
struct Deciding {
    #[n(0)]
    manifest: Manifest,
    #[n(1)]
    entry: Entry,
}

impl Wanted {
    /// The entry that carries `operation` out on the calendar of this profile.
    pub(super) fn of(profile: &Profile, operation: &Operation) -> Result<Self, LedgerError> {
        let Operation::Decide { manifest, decide } = operation else {
            return entry::of(&profile.id, operation).map(Self::plain);
        };
        let wanted = Self::decision(manifest, decide);
        wanted.fits(profile).map_err(|reason| LedgerError::Unsupported {
            ledger: profile.id.clone(),
            verb: operation.verb(),
            reason,
        })?;
        Ok(wanted)
    }

    /// Whether it is one for the calendar of this profile: a decision needs one that decides, and is D.
    pub(super) fn fits(&self, profile: &Profile) -> Result<(), String> {
        match self.manifest.as_ref().map(|manifest| &manifest.decision.ledger) {
            Some(_) if !profile.decides => Err("it takes records, not decisions".into()),
            Some(site) if *site != profile.id => Err(format!("D is {site}")),
            _ => Ok(()),
        }
    }

    pub(super) const fn plain(entry: Entry) -> Self {
        Self { entry, manifest: None }
    }

    pub(super) fn decision(manifest: &Arc<Manifest>, decide: &Decide) -> Self {
        let (decision, signatures) = parts(decide);
        let entry = Entry::Decided { txid: manifest.txid(), decision, signatures };
        Self { entry, manifest: Some(Arc::clone(manifest)) }
    }

    pub(super) fn to_intent(&self) -> Intent {
        Intent(match &self.manifest {
            None => canonical::encode(&self.entry),
            Some(manifest) => canonical::encode(&Deciding {
                manifest: manifest.as_ref().clone(),
                entry: self.entry.clone(),
            }),
        })
    }

    /// The same, of a calendar's own.
    pub(super) fn read(profile: &Profile, intent: &Intent) -> Result<Self, LedgerError> {
        Self::from_intent(intent).map_err(|error| profile.nonsense(format!("no intent of it: {error}")))
    }

    pub(super) fn from_intent(intent: &Intent) -> Result<Self, String> {
        match canonical::decode::<Entry>(&intent.0, MAX_LEAF) {
            Ok(Entry::Decided { .. }) => return Err("a decision without its manifest".into()),
            Ok(entry) => return Ok(Self::plain(entry)),
            Err(_) => {}
        }
        let Deciding { manifest, entry } =
            canonical::decode(&intent.0, MAX_INTENT).map_err(|error| error.to_string())?;
        match &entry {
            Entry::Decided { txid, .. } if *txid == manifest.txid() => {
                Ok(Self { entry, manifest: Some(Arc::new(manifest)) })
            }
            _ => Err("an entry with a manifest that is not its own".into()),
        }
    }
}
