//! Another party's HTTP interface of canonical CBOR from the outside, with a limit on time and on size: it may answer
//! anything.

use std::time::Duration;

use minicbor::{Decode, Encode};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use sofie_model::canonical;
use sofie_model::custodian::MAX_REASON;
use url::Url;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// An answer that is not the one that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Answer {
    /// None, or "later". What was asked for may have been done.
    #[error("{0}")]
    Away(String),
    /// The other's rules or books are against it.
    #[error("{0}")]
    Refused(String),
    /// Not in the format.
    #[error("{0}")]
    Nonsense(String),
}

/// Why there is no client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoClient {
    /// The URL is not one of plain HTTP.
    Scheme(String),
    /// The client cannot be made.
    Broken(String),
}

/// One place on the network.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: Url,
    max_answer: usize,
}

impl Client {
    /// Speaks to what is at `url`; a longer answer than `max_answer` bytes is refused unread.
    pub(crate) fn new(url: Url, timeout: Duration, max_answer: usize) -> Result<Self, NoClient> {
        if url.scheme() != "http" || url.cannot_be_a_base() {
            return Err(NoClient::Scheme(url.scheme().into()));
        }
        let builder = reqwest::Client::builder().timeout(timeout).connect_timeout(CONNECT);
        // A request goes where the configuration says, and nowhere else.
        let builder = builder.redirect(reqwest::redirect::Policy::none());
        // What listens on this machine is not behind the proxy of the environment.
        let here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let builder = if here { builder.no_proxy() } else { builder };
        let http = builder.build().map_err(|error| NoClient::Broken(error.to_string()))?;
        Ok(Self { http, url, max_answer })
    }

    /// The other for people, without path and credentials.
    pub(crate) fn place(&self) -> String {
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{}{port}", self.url.scheme(), self.url.host_str().unwrap_or_default())
    }

    pub(crate) async fn get<T>(&self, path: &[&str]) -> Result<T, Answer>
    where
        T: Encode<()> + for<'b> Decode<'b, ()>,
    {
        self.ask(self.http.request(Method::GET, self.at(path))).await
    }

    pub(crate) async fn post<T>(&self, path: &[&str], media_type: &str, body: Vec<u8>) -> Result<T, Answer>
    where
        T: Encode<()> + for<'b> Decode<'b, ()>,
    {
        let post = self.http.request(Method::POST, self.at(path)).header("content-type", media_type);
        self.ask(post.body(body)).await
    }

    /// Posts text, and gives the answer's status and text whatever they are.
    pub(crate) async fn post_text(&self, path: &[&str], body: String) -> Result<(u16, String), Answer> {
        let post = self.http.request(Method::POST, self.at(path)).header("content-type", "text/plain");
        let answer = post.body(body).send().await.map_err(away)?;
        let status = answer.status().as_u16();
        let text = String::from_utf8(self.body(answer).await?);
        let text = text.map_err(|_| Answer::Nonsense("its answer is no text".into()))?;
        Ok((status, text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()))
    }

    fn at(&self, path: &[&str]) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    async fn ask<T>(&self, request: RequestBuilder) -> Result<T, Answer>
    where
        T: Encode<()> + for<'b> Decode<'b, ()>,
    {
        let answer = request.send().await.map_err(away)?;
        let status = answer.status();
        let body = self.body(answer).await?;
        sort(status, &body, self.max_answer)
    }

    async fn body(&self, mut answer: Response) -> Result<Vec<u8>, Answer> {
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(away)? {
            if body.len() + chunk.len() > self.max_answer {
                return Err(Answer::Nonsense(format!("its answer is longer than {} bytes", self.max_answer)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// What an answer of this status and body means (docs/specs/custodian.md, "Answers").
fn sort<T>(status: StatusCode, body: &[u8], max: usize) -> Result<T, Answer>
where
    T: Encode<()> + for<'b> Decode<'b, ()>,
{
    let said = || {
        let text = String::from_utf8_lossy(&body[..body.len().min(MAX_REASON)]);
        // A stranger's text goes into a log and onto a terminal.
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>()
    };
    match status {
        StatusCode::OK => {
            canonical::decode(body, max).map_err(|error| Answer::Nonsense(format!("its answer: {error}")))
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(Answer::Away(said())),
        status if status.is_server_error() => Err(Answer::Away(format!("HTTP status {status}: {}", said()))),
        status if status.is_client_error() => Err(Answer::Refused(said())),
        status => Err(Answer::Nonsense(format!("HTTP status {status}"))),
    }
}

/// The URL may carry a secret of the user's: it goes into no message.
fn away(error: reqwest::Error) -> Answer {
    let mut text = error.without_url().to_string();
    text.truncate(MAX_REASON);
    Answer::Away(text)
}

#[cfg(test)]
mod tests {
    use sofie_model::proof::statement::Signed;

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
            let got = sort::<Vec<Signed>>(StatusCode::from_u16(status).unwrap(), body, 64);
            let got = format!("{got:?}");
            assert!(got.replacen("Err(", "", 1).starts_with(expected) || got.starts_with(expected), "{got}");
        }
    }
}
