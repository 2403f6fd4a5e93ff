//! HTTP as adapters ask it. One request, one answer, of one authority: no redirect is followed, no proxy asked, and no more
//! of an answer kept in memory than its limit.

use std::time::Duration;

use reqwest::{Client, Method};

use crate::{
    port::{AdapterError, Platform, cut},
    tally::{Tally, one_more},
};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// The owner's platform, and nothing else.
pub(crate) struct Http {
    client: Client,
    /// `http://host:port`.
    authority: String,
}

/// What is asked for; by default a GET.
#[derive(Default)]
pub(crate) struct Question<'a> {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: &'a str,
    /// A payload and its media type.
    pub(crate) content: Option<(Vec<u8>, &'static str)>,
    pub(crate) accept: &'static str,
    /// Header fields besides: name and value.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// A header field of the answer that is wanted, or none.
    pub(crate) hear: Option<&'static str>,
    /// The longest answer, in bytes.
    pub(crate) limit: usize,
    pub(crate) patience: Duration,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The header field that was asked for ([`Question::hear`]), if it is a text.
    pub(crate) heard: Option<String>,
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
}

/// How a body ended.
pub(crate) enum End {
    Whole,
    /// It went on beyond the limit, where it was left.
    TooLong,
    Broken(String),
}

/// Why there is none.
pub(crate) enum Silence {
    /// No byte of the request has left.
    NotSent(String),
    /// It may have arrived.
    Unknown(String),
}

impl Http {
    pub(crate) fn open(platform: &Platform, authority: &str) -> Result<Self, AdapterError> {
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

    /// Asks for a stream: its head within `patience`, its body for as long as it goes on.
    pub(crate) async fn stream(
        &self,
        path: &str,
        accept: &'static str,
        patience: Duration,
        tally: &Tally,
    ) -> Result<Stream, Silence> {
        if !path.starts_with('/') {
            return Err(Silence::NotSent(format!("{} is no path", cut(path))));
        }
        let request = self.client.get(format!("{}{path}", self.authority)).header("accept", accept);
        let late = |_| Silence::Unknown("no answer in time".into());
        let response = tokio::time::timeout(patience, request.send()).await.map_err(late)?;
        let response = response.map_err(|error| silence(&error))?;
        one_more(&tally.received);
        Ok(Stream(response))
    }

    pub(crate) async fn ask(&self, question: Question<'_>, tally: &Tally) -> Result<Answer, Silence> {
        let Question { method, path, content, accept, headers, hear, limit, patience } = question;
        if !path.starts_with('/') {
            return Err(Silence::NotSent(format!("{} is no path", cut(path))));
        }
        let mut request = self.client.request(method, format!("{}{path}", self.authority)).timeout(patience);
        request = request.header("accept", accept);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some((payload, media_type)) = content {
            request = request.header("content-type", media_type).body(payload);
        }
        let mut response = request.send().await.map_err(|error| silence(&error))?;
        one_more(&tally.received);
        let heard = hear.and_then(|name| response.headers().get(name)?.to_str().ok().map(cut));
        let status = response.status().as_u16();
        let mut answer = Answer { status, heard, body: Vec::new(), end: End::Whole };
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

/// An answer whose body is read as it comes.
pub(crate) struct Stream(reqwest::Response);

impl Stream {
    pub(crate) fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    /// Whether its content is of this media type.
    pub(crate) fn is(&self, media_type: &str) -> bool {
        let told =
            self.0.headers().get("content-type").and_then(|told| told.to_str().ok()).unwrap_or_default();
        told.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type)
    }

    /// The next piece; `None` at its end, `Err` says how it broke.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, String> {
        self.0.chunk().await.map(|piece| piece.map(|piece| piece.to_vec())).map_err(|error| reason(&error))
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
