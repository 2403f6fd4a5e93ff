//! Says a message to a peer and hears its answer: one try. Whether and when to try again is the caller's to decide.

use sofie_model::Account;

use super::Peers;
use super::envelope::{Address, MEDIA_TYPE, Refused};
use super::line::{Line, Unsaid};
use super::message::{MAX_MESSAGE, Message, Reply, Unreadable};
use super::proposals::MAX_WAITING;
use crate::config::{Name, Peer};

/// Why a peer's part is not had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// It cannot be reached, or answers with something that is no answer.
    #[error("peer {peer} at {url} did not answer {verb}: {why}")]
    Silent {
        /// Who.
        peer: Name,
        /// Where.
        url: String,
        /// What was said to it.
        verb: &'static str,
        /// What happened.
        why: String,
    },
    /// Whoever answered is not it.
    #[error("peer {peer} at {url}: the answer to {verb} does not count: {why}")]
    Forged {
        /// Who.
        peer: Name,
        /// Where.
        url: String,
        /// What was said to it.
        verb: &'static str,
        /// What is wrong with the answer.
        why: Box<Refused>,
    },
    /// It answers, and says nothing that helps.
    #[error("peer {peer} answers {verb}: {why}")]
    Unwilling {
        /// Who.
        peer: Name,
        /// What was said to it.
        verb: &'static str,
        /// In its words.
        why: String,
    },
    /// No peer has the key of this account.
    #[error("no [[peer]] has the account {account} among its parties")]
    Nobody {
        /// Whose.
        account: Account,
    },
    /// This node has too many proposals that wait.
    #[error("{MAX_WAITING} proposals of this node wait already")]
    TooMany,
    /// No message holds the proposal.
    #[error("the proposal has {got} bytes; at most {MAX_MESSAGE} are carried between nodes")]
    TooLarge {
        /// How many.
        got: usize,
    },
}

impl Peers {
    /// Says `message` to `peer` once.
    ///
    /// # Errors
    /// [`PeerError::Silent`]: whether it was heard is unknown; to say it again is harmless. [`PeerError::Forged`].
    pub async fn ask(&self, peer: &Peer, message: &Message) -> Result<Reply, PeerError> {
        let verb = message.verb();
        let silent =
            |why: String| PeerError::Silent { peer: peer.name.clone(), url: peer.url.to_string(), verb, why };
        let authority = peer.authority();
        let line = Line {
            client: &self.0.client,
            url: &peer.url,
            to: Address::messages(&authority),
            media_type: MEDIA_TYPE,
            longest: MAX_MESSAGE,
            key: &self.0.key,
            theirs: &peer.key,
        };
        let content = line.say(message.to_bytes()).await.map_err(|unsaid| match unsaid {
            Unsaid::Silent(why) => silent(why),
            Unsaid::Forged(why) => {
                PeerError::Forged { peer: peer.name.clone(), url: peer.url.to_string(), verb, why }
            }
        })?;
        Reply::read(&content).map_err(|why: Unreadable| silent(why.to_string()))
    }
}
