//! Asks a node: its HTTP API as the command line uses it.

use std::fmt::Write;
use std::time::Duration;

use futures::StreamExt;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sofie_model::{Digest, Txid};
use sofie_node::api::{Problem, Step};

use crate::cli::Id;
use crate::failure::Failure;
use crate::input;

/// A node that does not answer a question within this time is away. Longer than the node's own default
/// (`request_timeout`), which says what was too slow.
const TIMEOUT: Duration = Duration::from_secs(40);
/// A node that does not take a connection within this time is away.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest file with a token.
const MAX_TOKEN: usize = 4_096;
/// The longest line of an event stream.
const MAX_EVENT: usize = 256 * 1024;

/// A client of one node.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Client {
    /// A client of the node at `base`.
    pub(crate) fn new(base: &str, token: Option<String>) -> Result<Self, Failure> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .build()
            .map_err(|e| Failure::lacking("make an HTTP client", e, "run sofie doctor"))?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), token })
    }

    /// The node that the flags name.
    pub(crate) fn of(node: &crate::cli::Node) -> Result<Self, Failure> {
        let read = |file: &std::path::PathBuf| {
            input::text(file, MAX_TOKEN, "name the node's token file").map(|text| text.trim().to_owned())
        };
        let token = node.token_file.as_ref().map(read);
        Self::new(&node.node, token.transpose()?)
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.read(self.send(Method::GET, path, None::<&()>).await?).await
    }

    /// The same, if there is such a thing.
    pub(crate) async fn get_if_there<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Failure> {
        let response = self.send(Method::GET, path, None::<&()>).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.read(response).await.map(Some)
    }

    /// A page of a list, and the name of the list's state (`etag` of the canonical link; WoT Discovery, section 7.3.2.1.5).
    pub(crate) async fn page<T: DeserializeOwned>(&self, path: &str) -> Result<(T, String), Failure> {
        let response = self.send(Method::GET, path, None::<&()>).await?;
        let links = response.headers().get_all("link").iter().filter_map(|link| link.to_str().ok());
        let canonical = links
            .filter(|link| link.contains("rel=\"canonical\""))
            .find_map(|link| Some(link.split_once("etag=\"")?.1.split_once('"')?.0.to_owned()));
        Ok((self.read(response).await?, canonical.unwrap_or_default()))
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.read(self.send(Method::POST, path, Some(body)).await?).await
    }

    pub(crate) async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.read(self.send(Method::PUT, path, Some(body)).await?).await
    }

    /// Sends what is no JSON.
    pub(crate) async fn post_bytes<T: DeserializeOwned>(
        &self,
        path: &str,
        media_type: &str,
        body: Vec<u8>,
    ) -> Result<T, Failure> {
        let request = self.request(Method::POST, path).header("content-type", media_type).body(body);
        self.read(request.send().await.map_err(|e| self.away(path, e))?).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<(), Failure> {
        let response = self.send(Method::DELETE, path, None::<&()>).await?;
        self.checked(response).await.map(drop)
    }

    pub(crate) async fn bytes(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let response = self.send(Method::GET, path, None::<&()>).await?;
        let response = self.checked(response).await?;
        let bytes = response.bytes().await.map_err(|e| self.away(path, e))?;
        Ok(bytes.to_vec())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Response, Failure> {
        let request = self.request(method, path);
        let request = body.into_iter().fold(request, |request, body| request.json(body));
        request.send().await.map_err(|e| self.away(path, e))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base)).timeout(TIMEOUT);
        self.token.iter().fold(request, |request, token| request.bearer_auth(token))
    }

    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, Failure> {
        let path = response.url().path().to_owned();
        let response = self.checked(response).await?;
        response.json().await.map_err(|e| self.away(&path, e))
    }

    async fn checked(&self, response: Response) -> Result<Response, Failure> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let tried = format!("have {} from the node at {}", response.url().path(), self.base);
        match response.json::<Problem>().await {
            Ok(problem) => {
                Err(Failure::refused(&tried, format!("{}: {}", problem.title, problem.detail), &problem.next))
            }
            Err(_) => {
                let next = if status == StatusCode::NOT_FOUND {
                    "see whether a SOFIE node listens there"
                } else {
                    "see its log"
                };
                Err(Failure::refused(&tried, format!("it answers {status}"), next))
            }
        }
    }

    fn away(&self, path: &str, error: reqwest::Error) -> Failure {
        let tried = format!("ask the node at {} for {path}", self.base);
        if error.is_builder() {
            let next = "name the node as http://HOST:PORT with --node";
            return Failure::usage(&tried, "that is no address of a node", next);
        }
        let next = "start one with `sofie up`, or name another with --node";
        if error.is_decode() {
            return Failure::lacking(
                &tried,
                "what answers there is no SOFIE node, or one of another version",
                next,
            );
        }
        if error.is_timeout() {
            let why = format!("no answer within {} s", TIMEOUT.as_secs());
            return Failure::lacking(&tried, why, "see whether the node is overloaded, and its log");
        }
        Failure::lacking(&tried, deepest(&error), next)
    }

    /// The whole id of which the user gave the beginning.
    pub(crate) async fn whole(&self, what: &str, path: &str, id: &Id) -> Result<Txid, Failure> {
        #[derive(serde::Deserialize)]
        struct Identified {
            id: Txid,
        }
        if let Some(whole) = id.whole() {
            return whole.parse().map_err(|e| Failure::usage("read the id", e, ""));
        }
        let all: Vec<Identified> = self.get(path).await?;
        one_of(what, id, all.into_iter().map(|one| one.id))
    }

    /// A contract's steps after number `after`, each given to `seen`; returns once the contract has ended, or the
    /// connection.
    pub(crate) async fn follow(
        &self,
        id: &str,
        after: u64,
        mut seen: impl FnMut(Step),
    ) -> Result<bool, Failure> {
        let path = format!("/api/v1/contracts/{id}/events");
        let mut request = self.http.get(format!("{}{path}", self.base)).header("last-event-id", after);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = self.checked(request.send().await.map_err(|e| self.away(&path, e))?).await?;
        let mut chunks = response.bytes_stream();
        let (mut text, mut event) = (Vec::new(), String::new());
        while let Some(chunk) = chunks.next().await {
            let Ok(chunk) = chunk else { return Ok(false) };
            text.extend_from_slice(&chunk);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                match line.trim_end().split_once(':') {
                    Some(("event", name)) => event = name.trim().to_owned(),
                    Some(("data", data)) if event == "step" => {
                        if let Ok(step) = serde_json::from_str(data.trim()) {
                            seen(step);
                        }
                    }
                    Some(("data", _)) if event == "end" => return Ok(true),
                    _ => {}
                }
            }
            if text.len() > MAX_EVENT {
                return Err(Failure::refused(
                    "follow the contract",
                    "an event is too long",
                    "see the node's log",
                ));
            }
        }
        Ok(false)
    }
}

/// The one of `all` that begins as `id` does.
pub(crate) fn one_of(what: &str, id: &Id, all: impl Iterator<Item = Txid>) -> Result<Txid, Failure> {
    one_of_digests(what, id, all.map(|txid| txid.0)).map(Txid)
}

/// The same, of what is no transaction.
pub(crate) fn one_of_digests(
    what: &str,
    id: &Id,
    all: impl Iterator<Item = Digest>,
) -> Result<Digest, Failure> {
    let mut found = all.filter(|one| one.to_string().starts_with(id.as_str()));
    let tried = format!("find {what} {}", id.as_str());
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => {
            Err(Failure::refused(&tried, "there is none whose id begins so", "list them with the verb ls"))
        }
        (Some(_), Some(_)) => {
            Err(Failure::refused(&tried, "more than one id begins so", "give more of its digits"))
        }
    }
}

/// The innermost cause: what the system said. The outer ones repeat the address.
fn deepest(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A thing's id is a URI; in a path its reserved characters are escaped (RFC 3986, section 2.1).
pub(crate) fn url_segment(id: &str) -> String {
    id.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(byte.into());
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}
