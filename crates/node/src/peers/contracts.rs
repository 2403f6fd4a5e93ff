//! Contracts with parties of peers: what is offered to them, what begins with a shared transaction, and what the owner's
//! node says of one whose payer is here.

use std::time::Duration;

use sofie_market::{Contract, ContractTerms, Input, Offer, Part, Phase};
use sofie_model::{Digest, Timestamp};

use super::judge::Judged;
use super::message::{Message, Reply, shortened};
use super::{PeerError, Peers};
use crate::auditor::Note;
use crate::clock;
use crate::config::Peer;
use crate::contracts::{Beginning, Driven, Plan};
use crate::drive::Handle;
use crate::journal::Entry;
use crate::offers::{MAX_OFFERS, Offers};

/// The first wait before the owner's node is asked again how far it is.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A contract that is ready to begin with its transaction, or none.
#[derive(Default)]
pub(super) struct Ready {
    beginning: Option<Beginning>,
    /// To be journaled with the transaction's beginning.
    pub(super) entries: Vec<Entry>,
    /// To be told with it.
    pub(super) notes: Vec<Note>,
}

impl Peers {
    /// What this node's parties have for sale.
    pub(crate) fn offers(&self) -> &Offers {
        &self.0.offers
    }

    /// The answer to a peer that asks what is for sale.
    pub(super) fn offers_to(&self, peer: &Peer) -> Reply {
        let open = self.0.offers.open_at(clock::now());
        let visible = open.into_iter().filter(|one| one.is_for(peer)).map(|one| one.offer);
        Reply::Offers { offers: visible.collect() }
    }

    /// What `peer` offers to this node.
    ///
    /// # Errors
    /// [`PeerError`].
    pub(crate) async fn browse(&self, peer: &Peer) -> Result<Vec<Offer>, PeerError> {
        let unwilling = |why| PeerError::Unwilling { peer: peer.name.clone(), verb: "browse", why };
        match self.ask(peer, &Message::Browse).await? {
            Reply::Offers { offers } if offers.len() <= MAX_OFFERS => Ok(offers),
            Reply::Refused { reason } => Err(unwilling(shortened(&reason))),
            other => Err(unwilling(format!("with {}, which is no answer to it", other.word()))),
        }
    }

    /// Adds to what was found of a proposal what its contract demands.
    pub(super) fn judge_contract(
        &self,
        peer: &Peer,
        judged: Judged,
        terms: &ContractTerms,
    ) -> Result<Judged, String> {
        let published = self.0.offers.for_peer(terms.offer, peer);
        let (contract, asked) = self.0.contracts.judge(published, peer, &judged.plan.manifest, terms)?;
        Ok(Judged { person: judged.person.or(asked), contract: Some(contract), ..judged })
    }

    /// Makes a contract ready to begin.
    ///
    /// # Errors
    /// Why it cannot.
    pub(super) fn ready(&self, plan: Option<Plan>) -> Result<Ready, String> {
        let Some(plan) = plan else { return Ok(Ready::default()) };
        let name_of = |account| self.name_of(account).unwrap_or_else(|| self.0.parties.name_of(account));
        let notes = plan.begins(name_of);
        let mut beginning = self.0.contracts.beginning(plan).map_err(|refused| refused.to_string())?;
        let entries = std::mem::take(&mut beginning.entries);
        Ok(Ready { beginning: Some(beginning), entries, notes })
    }

    /// Lets it run, once the journal holds it.
    pub(super) fn set_out(&self, ready: Ready) {
        if let Some(beginning) = ready.beginning {
            self.accompany(self.0.contracts.set_out(beginning));
        }
    }

    /// Asks the nodes of its sensors' owners what they saw, and the owner's node how far a contract is whose payer alone is here.
    pub(super) fn accompany(&self, handle: Handle<Driven>) {
        self.call_witnesses(&handle);
        let state = handle.state();
        let owner = state.contract.agreement().owner;
        if state.contract.part() == Part::Payer
            && let Some(peer) = self.with_account(owner)
        {
            tokio::spawn(self.clone().hear(peer.clone(), handle));
        }
    }

    async fn hear(self, peer: Peer, handle: Handle<Driven>) {
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            let state = handle.state();
            if state.contract.ended() || state.contract.informed() {
                return;
            }
            // Nothing is done before this node has seen it decided and armed itself; and where the price is proven only the
            // stake can need a word yet.
            let knows = state.contract.proven() && state.contract.asks_why_until().is_none();
            if knows || matches!(state.contract.phase(), Phase::Recording | Phase::Committed) {
                continue;
            }
            pause = next_pause(pause, marks_of(&state.contract), clock::now());
            let txid = state.contract.txid();
            match self.ask(&peer, &Message::Progress { txid }).await {
                Ok(Reply::Report { report }) if state.contract.is_news(&report) => {
                    let mut report = *report;
                    report.outcome = report.outcome.map(|outcome| shortened(&outcome));
                    if let Err(why) = handle.give(Input::Reported(report)).await {
                        tracing::warn!(peer = %peer.name, %why, "what it reports does not count");
                    } else {
                        pause = FIRST_PAUSE;
                    }
                }
                Ok(Reply::Report { .. }) => {}
                Ok(reply) => tracing::warn!(peer = %peer.name, ?reply, "no report"),
                Err(error) => tracing::warn!(%error, "no report"),
            }
        }
    }

    /// The peer that offers `id` to this node, and the offer, which is what its id says.
    ///
    /// # Errors
    /// The peers that did not answer, in words; empty: all did, and none offers it.
    pub(crate) async fn find_offer(&self, id: Digest) -> Result<(Peer, Offer), Vec<String>> {
        let asked = self.all().iter().map(async |peer| (peer, self.browse(peer).await));
        let mut silent = Vec::new();
        for (peer, answer) in futures::future::join_all(asked).await {
            match answer.map(|offers| offers.into_iter().find(|offer| offer.id() == id)) {
                Ok(Some(offer)) => return Ok((peer.clone(), offer)),
                Ok(None) => {}
                Err(error) => silent.push(error.to_string()),
            }
        }
        Err(silent)
    }
}

/// When the owner's node may know what only the payer's can use: of a penalty, from when the act was due, and once the last
/// word about it is signed.
pub(super) fn marks_of(contract: &Contract) -> impl Iterator<Item = Timestamp> {
    contract.bond().into_iter().flat_map(|bond| [contract.due(), bond.escrow().1.evidence_deadline])
}

/// The wait after one of `last`: twice as long, but no longer than until the next of the `marks`, after which it is short.
pub(super) fn next_pause(last: Duration, marks: impl Iterator<Item = Timestamp>, now: Timestamp) -> Duration {
    marks.fold((last * 2).min(LONGEST_PAUSE), |pause, mark| {
        if now < mark {
            pause.min(mark.since(now).into())
        } else if Duration::from(now.since(mark)) < LONGEST_PAUSE {
            FIRST_PAUSE
        } else {
            pause
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owners_node_is_asked_seldom_but_soon_after_an_act_was_due() {
        let seconds = Duration::from_secs;
        let next = |last, now: u64| {
            let marks = [100, 160].map(Timestamp::from_seconds).into_iter();
            next_pause(seconds(last), marks, Timestamp::from_seconds(now))
        };
        for (last, now, expected) in [
            (1, 10, 2),
            (8, 10, LONGEST_PAUSE.as_secs()),
            // Not past the first mark, then often, then seldom again; and the same of the second.
            (8, 97, 3),
            (3, 100, 1),
            (1, 109, 1),
            (1, 110, 2),
            (8, 155, 5),
            (5, 160, 1),
            (1, 170, 2),
        ] {
            assert_eq!(next(last, now), seconds(expected), "after {last} s, at {now} s");
        }
        assert_eq!(next_pause(seconds(4), [].into_iter(), Timestamp::from_seconds(100)), seconds(8));
    }
}
