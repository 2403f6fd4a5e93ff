//! The custodian's HTTP API from the outside, with a limit on time and on size: it is another party, and may answer
//! anything.

use std::time::Duration;

use minicbor::{Decode, Encode};
use reqwest::{Response, StatusCode};
use sofie_model::custodian::{About, MAX_ANSWER, MAX_REASON};
use sofie_model::proof::statement::Signed;
use sofie_model::{LegId, Txid, canonical};
use url::Url;

use super::{Config, OpenError};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// An answer that is not the one that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Answer {
    /// None, or "later". What was asked for may have been done.
    #[error("{0}")]
    Away(String),
    /// The custodian's rules or books are against it.
    #[error("{0}")]
    Refused(String),
    /// Not in the format.
    #[error("{0}")]
    Nonsense(String),
}

pub(super) struct Client {
    http: reqwest::Client,
    url: Url,
}

impl Client {
    pub(super) fn new(config: &Config) -> Result<Self, OpenError> {
        let url = config.url.clone();
        if url.scheme() != "http" || url.cannot_be_a_base() {
            return Err(OpenError::Scheme { scheme: url.scheme().into() });
        }
        let builder = reqwest::Client::builder().timeout(config.timeout).connect_timeout(CONNECT);
        // A signed request goes where the configuration says, and nowhere else.
        let builder = builder.redirect(reqwest::redirect::Policy::none());
        // What listens on this machine is not behind the proxy of the environment.
        let here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let builder = if here { builder.no_proxy() } else { builder };
        match builder.build() {
            Ok(http) => Ok(Self { http, url }),
            Err(error) => Err(OpenError::Unreachable { at: place(&url), why: error.to_string() }),
        }
    }

    /// The custodian for people, without path and credentials.
    pub(super) fn place(&self) -> String {
        place(&self.url)
    }

    pub(super) async fn about(&self) -> Result<About, Answer> {
        self.ask(self.http.get(self.at(&["v1", "head"]))).await
    }

    pub(super) async fn history(&self, txid: Txid, leg: LegId) -> Result<Vec<Signed>, Answer> {
        let path = ["v1", "legs", &txid.to_string(), &leg.0.to_string()];
        self.ask(self.http.get(self.at(&path))).await
    }

    pub(super) async fn carry_out(&self, request: Vec<u8>) -> Result<Vec<Signed>, Answer> {
        let post = self.http.post(self.at(&["v1", "legs"])).header("content-type", "application/cbor");
        self.ask(post.body(request)).await
    }

    fn at(&self, path: &[&str]) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    async fn ask<T>(&self, request: reqwest::RequestBuilder) -> Result<T, Answer>
    where
        T: Encode<()> + for<'b> Decode<'b, ()>,
    {
        let answer = request.send().await.map_err(away)?;
        let status = answer.status();
        let body = body(answer).await?;
        sort(status, &body)
    }
}

/// What an answer of this status and body means (docs/specs/custodian.md, "Answers").
fn sort<T>(status: StatusCode, body: &[u8]) -> Result<T, Answer>
where
    T: Encode<()> + for<'b> Decode<'b, ()>,
{
    let said = || {
        let text = String::from_utf8_lossy(&body[..body.len().min(MAX_REASON)]);
        // A stranger's text goes into a log and onto a terminal.
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>()
    };
    match status {
        StatusCode::OK => canonical::decode(body, MAX_ANSWER)
            .map_err(|error| Answer::Nonsense(format!("its answer: {error}"))),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(Answer::Away(said())),
        status if status.is_server_error() => Err(Answer::Away(format!("HTTP status {status}: {}", said()))),
        status if status.is_client_error() => Err(Answer::Refused(said())),
        status => Err(Answer::Nonsense(format!("HTTP status {status}"))),
    }
}

async fn body(mut answer: Response) -> Result<Vec<u8>, Answer> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(away)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(Answer::Nonsense(format!("its answer is longer than {MAX_ANSWER} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The URL may carry a secret of the user's: it goes into no message.
fn away(error: reqwest::Error) -> Answer {
    let mut text = error.without_url().to_string();
    text.truncate(MAX_REASON);
    Answer::Away(text)
}

fn place(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_sorted_by_its_status() {
        let cases: [(u16, &[u8], &str); 8] = [
            (200, b"\x80", "Ok([])"),
            (200, b"\x81", "Nonsense"),
            (204, b"", "Nonsense"),
            (301, b"", "Nonsense"),
            (409, b"too poor\n\x1b[2J", "Refused(\"too poor  [2J\")"),
            (400, b"", "Refused"),
            (429, b"", "Away"),
            (503, b"", "Away"),
        ];
        for (status, body, expected) in cases {
            let got = sort::<Vec<Signed>>(StatusCode::from_u16(status).unwrap(), body);
            let got = format!("{got:?}");
            assert!(got.replacen("Err(", "", 1).starts_with(expected) || got.starts_with(expected), "{got}");
        }
    }
}
