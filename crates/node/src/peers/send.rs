//! Says a message to a peer and hears its answer: one try. Whether and when to try again is the caller's to decide.

use futures::StreamExt;
use sofie_model::Account;

use super::envelope::{self, MEDIA_TYPE, PATH, Refused};
use super::message::{MAX_MESSAGE, Message, Reply, Unreadable};
use super::proposals::MAX_WAITING;
use super::{Peers, message::shortened};
use crate::clock;
use crate::config::{Name, Peer};
use crate::outgoing::chain;

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
        let body = message.to_bytes();
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|e| silent(format!("the system gives no randomness: {e}")))?;
        let authority = peer.authority();
        let asked = envelope::seal_request(&authority, &body, nonce, clock::now(), &self.0.key)
            .map_err(|fault| silent(fault.to_string()))?;
        let url = format!("{}{PATH}", peer.url.as_str().trim_end_matches('/'));
        let mut request = self.0.client.post(url).header("content-type", MEDIA_TYPE).body(body);
        for (name, value) in asked.pairs() {
            request = request.header(name, value);
        }
        let response = request.send().await.map_err(|error| silent(chain(&error)))?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let content = read(response).await.map_err(silent)?;
        if status != 200 {
            let detail = shortened(&String::from_utf8_lossy(&content));
            return Err(silent(format!("status {status}: {detail}")));
        }
        let fields: Vec<_> =
            headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
        envelope::open_response(&authority, &asked, status, &fields, &content, clock::now(), &peer.key)
            .map_err(|why| PeerError::Forged {
                peer: peer.name.clone(),
                url: peer.url.to_string(),
                verb,
                why: Box::new(why),
            })?;
        Reply::read(&content).map_err(|why: Unreadable| silent(why.to_string()))
    }
}

/// The whole body, within its limit.
async fn read(response: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| chain(&error))?;
        if content.len() + chunk.len() > MAX_MESSAGE {
            return Err(format!("its answer is over the limit of {MAX_MESSAGE} bytes"));
        }
        content.extend_from_slice(&chunk);
    }
    Ok(content)
}
