//! Takes transactions of others to watch: this node holds none of their keys. It follows the ledgers itself, tells when time
//! runs out, writes ABORT when the time is over and nobody has, and drives every leg once D has decided: what anyone may do
//! who has the manifest (design "Apply", P6), and a pivot's legs by what was signed ahead and is entrusted to it
//! (docs/adr/0037-a-watcher-is-fed-by-its-participants-node.md). Left out: a guard's signature.

use sofie_model::{Leg, Manifest, Timestamp};
use sofie_transaction::Plan;

use super::Peers;
use super::message::Reply;
use crate::auditor::Note;
use crate::config::Peer;
use crate::executor::Ledgers;
use crate::journal::JournalError;

/// A node where so many transactions run takes no further one to watch.
pub(crate) const MAX_RUNNING: usize = 4_096;

impl Peers {
    /// What `peer` asks to be watched.
    pub(super) async fn to_watch(&self, peer: &Peer, manifest: Manifest) -> Result<Reply, JournalError> {
        let txid = manifest.txid();
        if !peer.watched {
            let why =
                format!("this node does not watch for peer {}: its entry needs `watched = true`", peer.name);
            return self.refuse(peer, "watch", txid.0, why).await;
        }
        let known = self.0.transactions.state(txid)?.is_some();
        if !known && self.0.transactions.running() >= MAX_RUNNING {
            return Ok(Reply::Waiting {
                txid,
                reason: format!("{MAX_RUNNING} transactions run here already"),
            });
        }
        match self.watch(manifest, &format!("for peer {}", peer.name)).await? {
            Ok(()) => Ok(Reply::Taken),
            Err(why) => self.refuse(peer, "watch", txid.0, why).await,
        }
    }

    /// Begins to watch; `why` is told. One that is watched already stays as it is.
    ///
    /// # Errors
    /// [`JournalError`]. `Ok(Err(_))`: why it cannot be watched here.
    pub(crate) async fn watch(
        &self,
        manifest: Manifest,
        why: &str,
    ) -> Result<Result<(), String>, JournalError> {
        let _one_by_one = self.0.watching.lock().await;
        let txid = manifest.txid();
        let watched = self.0.transactions.state(txid)?.map(|state| state.acts_for().is_empty());
        if watched == Some(true) {
            return Ok(Ok(()));
        }
        let plan = match self.to_follow(manifest) {
            Ok(plan) => plan,
            Err(why) => return Ok(Err(why)),
        };
        let note = Note::about(
            txid.0,
            "watched",
            true,
            format!("{why}; this node holds no key of its participants"),
        );
        self.0.transactions.begin(plan, Vec::new(), vec![note]).await?;
        Ok(Ok(()))
    }

    /// What this node would begin with.
    fn to_follow(&self, manifest: Manifest) -> Result<Plan, String> {
        let own = manifest.participants.iter().find_map(|one| self.0.parties.with_account(one.account));
        if let Some(keys) = own {
            return Err(format!(
                "the key of its participant {} is on this node: it takes part here",
                keys.name()
            ));
        }
        // Its time may be over already: then it is needed most.
        manifest.check(Timestamp::default()).map_err(|fault| fault.to_string())?;
        let ledgers = self.0.executor.ledgers();
        manifest.legs.iter().try_for_each(|leg| is_known(ledgers, leg))?;
        let site = &manifest.decision;
        let decides = ledgers.get(&site.ledger).map(|ledger| ledger.profile());
        let decides = decides.filter(|profile| profile.decides && profile.finality == site.finality);
        let decides = decides.ok_or_else(|| {
            format!("decision: {} does not decide at this node, or is final otherwise", site.ledger)
        })?;
        let decision_time = decides.inclusion + decides.finalises;
        let desk = self.0.desk.get().ok_or("this node is starting: ask again in a moment")?;
        let pivot = desk.clock_as_agreed(&manifest).map_err(|refused| refused.to_string())?;
        Ok(Plan { manifest, acts_for: Vec::new(), decision_time, pivot })
    }
}

fn is_known(ledgers: &Ledgers, leg: &Leg) -> Result<(), String> {
    match ledgers.get(&leg.ledger).map(|ledger| ledger.profile()) {
        None => Err(format!("this node has no ledger {}; add it as a [[ledger]]", leg.ledger)),
        Some(profile) if !profile.classes.contains(&leg.class) || profile.finality != leg.finality => {
            Err(format!("{} is another ledger at this node, by class or finality", leg.ledger))
        }
        Some(_) => Ok(()),
    }
}
