//! One request, one answer, of one authority: no redirect is followed, no proxy asked, and no more of an answer kept in
//! memory than its limit.

use std::time::Duration;

use reqwest::{Client, Method};

use crate::{
    port::{AdapterError, Platform, cut},
    tally::{Tally, one_more},
};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// The owner's platform, and nothing else.
pub(super) struct Http {
    client: Client,
    /// `http://host:port`.
    authority: String,
}

/// What is asked for.
pub(super) struct Question<'a> {
    pub(super) method: Method,
    /// Path and query.
    pub(super) path: &'a str,
    /// A payload and its media type.
    pub(super) content: Option<(Vec<u8>, &'static str)>,
    pub(super) accept: &'static str,
    /// The longest answer, in bytes.
    pub(super) limit: usize,
    pub(super) patience: Duration,
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    pub(super) end: End,
}

/// How a body ended.
pub(super) enum End {
    Whole,
    /// It went on beyond the limit, where it was left.
    TooLong,
    Broken(String),
}

/// Why there is none.
pub(super) enum Silence {
    /// No byte of the request has left.
    NotSent(String),
    /// It may have arrived.
    Unknown(String),
}

impl Http {
    pub(super) fn open(platform: &Platform, authority: &str) -> Result<Self, AdapterError> {
        let builder = Client::builder()
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            // Each request has a connection of its own: one that cannot be made says that nothing was sent.
            .pool_max_idle_per_host(0);
        let next = "look at the node's environment";
        let client = builder.build().map_err(|e| platform.permanent(format!("no HTTP client: {e}"), next))?;
        Ok(Self { client, authority: authority.into() })
    }

    pub(super) async fn ask(&self, question: Question<'_>, tally: &Tally) -> Result<Answer, Silence> {
        let Question { method, path, content, accept, limit, patience } = question;
        if !path.starts_with('/') {
            return Err(Silence::NotSent(format!("{} is no path", cut(path))));
        }
        let mut request = self.client.request(method, format!("{}{path}", self.authority)).timeout(patience);
        request = request.header("accept", accept);
        if let Some((payload, media_type)) = content {
            request = request.header("content-type", media_type).body(payload);
        }
        let mut response = request.send().await.map_err(|error| silence(&error))?;
        one_more(&tally.received);
        let mut answer = Answer { status: response.status().as_u16(), body: Vec::new(), end: End::Whole };
        loop {
            match response.chunk().await {
                Ok(None) => return Ok(answer),
                Ok(Some(chunk)) if answer.body.len() + chunk.len() <= limit => {
                    answer.body.extend_from_slice(&chunk)
                }
                Ok(Some(_)) => {
                    one_more(&tally.oversize);
                    answer.end = End::TooLong;
                    return Ok(answer);
                }
                Err(error) => {
                    answer.end = End::Broken(reason(&error));
                    return Ok(answer);
                }
            }
        }
    }
}

fn silence(error: &reqwest::Error) -> Silence {
    let reason = reason(error);
    if error.is_connect() || error.is_builder() { Silence::NotSent(reason) } else { Silence::Unknown(reason) }
}

/// The error with its causes, without the address: that is told beside it.
fn reason(error: &reqwest::Error) -> String {
    let mut told =
        if error.is_timeout() { "no answer in time".to_owned() } else { "no whole answer".to_owned() };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    cut(&told)
}
