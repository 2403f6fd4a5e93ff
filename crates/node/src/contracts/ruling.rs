//! The arbiter's part (ADR 0034): what a company claims, what the arbiter signs, and its ruling on its way to the escrow.

use sofie_market::{Input, Unmet};
use sofie_model::manifest::Dispute;
use sofie_model::ruling::{Ruling, SignedRuling};
use sofie_model::{Account, Span, Txid};

use super::open::{LONGEST, invalid};
use super::{Contracts, Refused};
use crate::api;
use crate::auditor::Note;
use crate::clock;
use crate::drive::Machine;

/// At most so many characters of a claim are kept.
const MAX_CLAIM: usize = 512;
/// Nothing can be overruled now.
const NOTHING: &str = "no evidence that could be overruled is presented and known here";

const WINDOW: &str = "see `sofie contract show` for its window";

/// Why a claim or a ruling does not count, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(crate) struct NoRuling {
    pub(crate) why: String,
    pub(crate) next: String,
}

fn no(why: impl Into<String>, next: impl Into<String>) -> NoRuling {
    NoRuling { why: why.into(), next: next.into() }
}

impl Contracts {
    /// Keeps a company's claim that the evidence does not count. The arbiter decides; this moves nothing.
    ///
    /// # Errors
    /// [`NoRuling`].
    pub(crate) async fn dispute(&self, txid: Txid, reason: &str) -> Result<(), NoRuling> {
        let length = reason.chars().count();
        if !(1..=MAX_CLAIM).contains(&length) {
            let why = format!("the reason has {length} characters; 1 to {MAX_CLAIM} are expected");
            return Err(no(why, "say in a sentence what the evidence does not show"));
        }
        let driven = self.live(txid).map(|handle| handle.state());
        let disputable = driven.filter(|driven| driven.contract.ruling().is_some());
        let driven = disputable.ok_or_else(|| no(NOTHING, WINDOW))?;
        let note = Note::about(driven.id(), "disputed", true, reason.to_owned());
        let kept = self.keeper.auditor.keep(Vec::new(), vec![note], clock::now()).await;
        kept.map_err(|error| no(error.to_string(), "see the node's log"))
    }

    /// Takes the arbiter's ruling, or signs it here by the arbiter's key. It counts by its signature, whoever brings it.
    ///
    /// # Errors
    /// [`NoRuling`].
    pub(crate) async fn rule(&self, txid: Txid, ruling: Option<SignedRuling>) -> Result<(), NoRuling> {
        let handle = self.live(txid).ok_or_else(|| no("it has ended", "see `sofie contract show`"))?;
        let ruling = match ruling {
            Some(ruling) => ruling,
            None => {
                let state = handle.state();
                let arbiter = state.contract.dispute().ok_or_else(|| {
                    no(
                        "its terms name no arbiter: its evidence pays at once",
                        "agree on one in the next offer",
                    )
                })?;
                let ruling = state.contract.ruling().ok_or_else(|| no(NOTHING, WINDOW))?;
                self.sign(arbiter.arbiter, ruling)?
            }
        };
        let next = "only what the arbiter signs about the presented observation counts, within its window";
        handle.give(Input::Ruled(ruling)).await.map_err(|why| no(why, next))
    }

    /// Signs by the key of the account, if it is here.
    ///
    /// # Errors
    /// [`NoRuling`] names whose key is lacking.
    pub(crate) fn sign(&self, arbiter: Account, ruling: Ruling) -> Result<SignedRuling, NoRuling> {
        let keys = self.parties.with_account(arbiter).ok_or_else(|| {
            let name = self.parties.name_of(arbiter);
            let next =
                "`sofie contract sign` at the arbiter's node, then `sofie contract rule ID --ruling FILE`";
            no(format!("the key of the arbiter {name} is not on this node"), next)
        })?;
        Ok(ruling.sign(keys.secp256k1()))
    }

    /// Who may overrule, as it is asked for.
    ///
    /// # Errors
    /// [`Refused`] names the field.
    pub(super) fn dispute_of(
        &self,
        asked: Option<&api::Dispute>,
        penalty: Option<&api::Penalty>,
    ) -> Result<Option<Dispute>, Refused> {
        let Some(asked) = asked else { return Ok(None) };
        if penalty.is_some() {
            return Err(invalid("dispute", Unmet::Both.to_string()));
        }
        if !(1..=LONGEST).contains(&asked.window_s) {
            let why = format!("{} s; 1 to {LONGEST} are expected", asked.window_s);
            return Err(invalid("dispute.window_s", why));
        }
        let arbiter = self.parties.account_called(&asked.arbiter);
        let arbiter = arbiter.ok_or_else(|| self.no_party(&asked.arbiter, "dispute.arbiter"))?;
        Ok(Some(Dispute { arbiter, window: Span::from_seconds(asked.window_s) }))
    }
}
