//! JSON-RPC over HTTP with a limit on time and on size: a node is another party, and may answer anything.

use std::time::Duration;

use alloy_json_rpc::{RequestPacket, ResponsePacket};
use alloy_transport::{TransportError, TransportErrorKind};
use alloy_transport_http::reqwest::{Client, Error, Response, StatusCode};
use url::Url;

/// A longer answer is refused: a block of 30 million gas with its transactions is below 10 MB.
pub const MAX_ANSWER_BYTES: usize = 32 * 1_024 * 1_024;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// A node began an answer that is too long.
#[derive(Debug, thiserror::Error)]
#[error("its answer is longer than {limit} bytes")]
pub(super) struct TooLong {
    limit: usize,
}

/// A node answered with an HTTP error, and no JSON-RPC in it.
#[derive(Debug, thiserror::Error)]
#[error("HTTP status {0}")]
pub(super) struct Status(pub(super) StatusCode);

/// What carries one request or one batch.
pub(super) struct Limited {
    client: Client,
    url: Url,
    limit: usize,
}

impl Limited {
    pub(super) fn new(url: Url, timeout: Duration, limit: usize) -> Result<Self, Error> {
        let builder = Client::builder().timeout(timeout).connect_timeout(CONNECT);
        // What listens on this machine is not behind the proxy of the environment.
        let here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let builder = if here { builder.no_proxy() } else { builder };
        Ok(Self { client: builder.build()?, url, limit })
    }

    pub(super) async fn ask(&self, request: &RequestPacket) -> Result<ResponsePacket, TransportError> {
        let answer = self.client.post(self.url.clone()).json(request).send().await.map_err(away)?;
        let status = answer.status();
        let body = self.body(answer).await?;
        match serde_json::from_slice(&body) {
            Ok(packet) => Ok(packet),
            // Some nodes put a JSON-RPC error into an HTTP error; others a page for people.
            Err(_) if !status.is_success() => Err(TransportErrorKind::custom(Status(status))),
            Err(error) => {
                Err(TransportError::deser_err(error, String::from_utf8_lossy(&body[..body.len().min(200)])))
            }
        }
    }

    async fn body(&self, mut answer: Response) -> Result<Vec<u8>, TransportError> {
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(away)? {
            if body.len() + chunk.len() > self.limit {
                return Err(TransportErrorKind::custom(TooLong { limit: self.limit }));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// The URL may carry a key of the user's: it goes into no message.
fn away(error: Error) -> TransportError {
    TransportErrorKind::custom(error.without_url())
}
