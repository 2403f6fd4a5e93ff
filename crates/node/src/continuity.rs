//! Whether each embedded ledger still holds what the journal saw on it. A file that was lost, cut short or put back from
//! an older copy would undo facts that were final (P3): the node does not start over it. Ledgers of others, which may
//! reorganise, are asked fact by fact when a transaction goes on; they are left out here.

use std::collections::BTreeMap;

use sofie_ledgers::{LedgerError, Profile};
use sofie_model::{Evidence, Finality, LedgerId};
use sofie_transaction::{Leg, State};

use crate::drive::Machine;
use crate::executor::Ledgers;
use crate::journal::{JournalError, Reader};
use crate::transactions;

/// So many of the newest transactions are looked at: the newest facts are among theirs.
const NEWEST: u32 = 64;

/// Why the ledgers and the journal do not belong together.
#[derive(Debug, thiserror::Error)]
pub enum Discontinuity {
    /// The ledger ends before something that was final on it.
    #[error(
        "ledger {ledger} ends at height {height}, and the journal saw height {seen} of it: its file under data_dir was \
         lost, cut short or is an old copy; stop, and restore the whole data_dir from one backup"
    )]
    Behind {
        /// Which.
        ledger: LedgerId,
        /// Where it ends.
        height: u64,
        /// What was final on it.
        seen: u64,
    },
    /// The ledger does not say where it ends.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// How far the newest transactions of the journal saw each ledger.
///
/// # Errors
/// [`JournalError`] when it cannot be read or replayed.
pub(crate) fn seen(journal: &Reader) -> Result<BTreeMap<LedgerId, u64>, JournalError> {
    let mut seen: BTreeMap<LedgerId, u64> = BTreeMap::new();
    for record in journal.newest(State::KIND, NEWEST)? {
        for evidence in facts(&transactions::replay(&record)?) {
            let height = seen.entry(evidence.ledger.clone()).or_default();
            *height = evidence.position.height.max(*height);
        }
    }
    Ok(seen)
}

/// Compares where each embedded ledger ends with how far the journal saw it.
///
/// # Errors
/// [`Discontinuity`] names the ledger and the next step.
pub(crate) async fn check(seen: BTreeMap<LedgerId, u64>, ledgers: &Ledgers) -> Result<(), Discontinuity> {
    for (id, seen) in seen {
        // A group that only decides keeps nothing here: its height is a clock, and its members may start later.
        let kept = |profile: &Profile| profile.finality == Finality::Instant && !profile.classes.is_empty();
        let Some(ledger) = ledgers.get(&id).filter(|ledger| kept(ledger.profile())) else {
            continue;
        };
        let height = match ledger.head().await {
            Ok(head) => head.height,
            // Of another node: it keeps its own memory of what was seen, and its transactions show what is wrong.
            Err(error @ (LedgerError::Transient { .. } | LedgerError::Nonsense { .. })) => {
                tracing::warn!(ledger = %id, %error, "how far it goes is not compared with the journal");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if height < seen {
            return Err(Discontinuity::Behind { ledger: id, height, seen });
        }
    }
    Ok(())
}

fn facts(state: &State) -> Vec<&Evidence> {
    let closed = state.legs().iter().filter_map(|leg| match leg {
        Leg::Closed { evidence, .. } => evidence.as_ref(),
        _ => None,
    });
    closed.chain(state.decided()).chain(state.prepared().map(|(_, evidence)| evidence)).collect()
}
