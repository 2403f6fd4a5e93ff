//! The door's verdict as a record: what was asked, when, and what the door said. With the token beside it, a reader
//! repeats the decision offline.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use sofie_model::Timestamp;

use crate::{Book, Door, Limits, Presented, Proof, PublicKey, Refusal, Request, Revocations, View};

/// One decision of a door.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Verdict {
    /// Whom the door obeys.
    #[n(0)]
    pub owner: PublicKey,
    /// Its name.
    #[n(1)]
    pub audience: String,
    /// What was asked.
    #[n(2)]
    pub request: Request,
    /// The holder's signature, if one came.
    #[n(3)]
    pub proof: Option<Proof>,
    /// The door's time.
    #[n(4)]
    pub at: Timestamp,
    /// [`Refusal::code`], or nothing when the request was let in.
    #[n(5)]
    pub refused: Option<String>,
}

/// How a repeated decision compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repeated {
    /// Let in then and now.
    LetIn(Box<View>),
    /// Refused then and now, for the same reason.
    Refused(Refusal),
    /// Refused then for a reason that lay in the door's own memory or list: a token does not show it.
    NotVisible,
    /// The token and the proof say otherwise.
    Differs {
        /// What the record says.
        recorded: String,
        /// What the token and the proof say.
        found: String,
    },
}

impl Verdict {
    /// The record of `outcome`.
    #[must_use]
    pub fn of(
        door: &Door,
        presented: &Presented<'_>,
        at: Timestamp,
        outcome: &Result<View, Refusal>,
    ) -> Self {
        Self {
            owner: door.owner(),
            audience: door.audience().to_owned(),
            request: presented.request.clone(),
            proof: presented.proof.cloned(),
            at,
            refused: outcome.as_ref().err().map(|refusal| refusal.code().to_owned()),
        }
    }

    /// Decides again, from the token and the record alone, with an empty memory and no revocations.
    #[must_use]
    pub fn repeat(&self, token: &[u8], limits: Limits) -> Repeated {
        let opened_at = self.proof.as_ref().map_or(self.at, |proof| proof.at);
        let door = Door::new(self.owner, &self.audience, limits);
        let presented = Presented { token, request: &self.request, proof: self.proof.as_ref() };
        let revocations = Revocations::none(self.owner, self.at);
        let found = door.admit(&presented, &revocations, &mut Book::new(opened_at), self.at);
        match (&self.refused, found) {
            (None, Ok(view)) => Repeated::LetIn(Box::new(view)),
            (Some(code), Err(refusal)) if code == refusal.code() => Repeated::Refused(refusal),
            (Some(code), Ok(_)) if of_memory(code) => Repeated::NotVisible,
            (recorded, found) => Repeated::Differs {
                recorded: recorded.clone().unwrap_or_else(|| "let in".to_owned()),
                found: found.map_or_else(|refusal| refusal.to_string(), |_| "let in".to_owned()),
            },
        }
    }
}

/// Refusals that only the door's own memory, list or clock explains.
fn of_memory(code: &str) -> bool {
    ["revoked", "stale-revocations", "used-up", "replayed", "busy", "proof-stale"].contains(&code)
}
