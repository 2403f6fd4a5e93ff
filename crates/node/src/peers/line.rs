//! One signed request to another node, and its signed answer: one try.

use ed25519_dalek::{SigningKey, VerifyingKey};
use futures::StreamExt;
use url::Url;

use super::envelope::{self, Address, Refused};
use super::message::shortened;
use crate::clock;
use crate::outgoing::chain;

/// The way to one node for one purpose.
pub(crate) struct Line<'a> {
    pub(crate) client: &'a reqwest::Client,
    /// Scheme, host and port.
    pub(crate) url: &'a Url,
    pub(crate) to: Address<'a>,
    pub(crate) media_type: &'static str,
    /// A longer answer is not read.
    pub(crate) longest: usize,
    /// This node's.
    pub(crate) key: &'a SigningKey,
    pub(crate) theirs: &'a VerifyingKey,
}

/// Why there is no answer that counts.
#[derive(Debug)]
pub(crate) enum Unsaid {
    /// It cannot be reached, or answers with something that is no answer. Whether it heard is unknown.
    Silent(String),
    /// Whoever answered is not it.
    Forged(Box<Refused>),
}

impl Line<'_> {
    /// Says `body`, and gives the body of the answer.
    pub(crate) async fn say(&self, body: Vec<u8>) -> Result<Vec<u8>, Unsaid> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce)
            .map_err(|error| Unsaid::Silent(format!("the system gives no randomness: {error}")))?;
        let asked = envelope::seal_request(&self.to, &body, nonce, clock::now(), self.key)
            .map_err(|fault| Unsaid::Silent(fault.to_string()))?;
        let url = format!("{}{}", self.url.as_str().trim_end_matches('/'), self.to.path);
        let mut request = self.client.post(url).header("content-type", self.media_type).body(body);
        for (name, value) in asked.pairs() {
            request = request.header(name, value);
        }
        let response = request.send().await.map_err(|error| Unsaid::Silent(chain(&error)))?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let content = self.read(response).await.map_err(Unsaid::Silent)?;
        if status != 200 {
            let detail = shortened(&String::from_utf8_lossy(&content));
            return Err(Unsaid::Silent(format!("status {status}: {detail}")));
        }
        let fields: Vec<_> =
            headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
        envelope::open_response(&self.to, &asked, status, &fields, &content, clock::now(), self.theirs)
            .map_err(|why| Unsaid::Forged(Box::new(why)))?;
        Ok(content)
    }

    /// The whole body, within its limit.
    async fn read(&self, response: reqwest::Response) -> Result<Vec<u8>, String> {
        let mut content = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| chain(&error))?;
            if content.len() + chunk.len() > self.longest {
                return Err(format!("its answer is over the limit of {} bytes", self.longest));
            }
            content.extend_from_slice(&chunk);
        }
        Ok(content)
    }
}
