//! The custodian's HTTP API from the outside.

use sofie_model::custodian::{About, MAX_ANSWER};
use sofie_model::proof::statement::Signed;
use sofie_model::{LegId, Txid};

use super::{Config, OpenError};
use crate::http::{self, NoClient};

pub(super) use crate::http::Answer;

pub(super) struct Client(http::Client);

impl Client {
    pub(super) fn new(config: &Config) -> Result<Self, OpenError> {
        match http::Client::new(config.url.clone(), config.timeout, MAX_ANSWER) {
            Ok(client) => Ok(Self(client)),
            Err(NoClient::Scheme(scheme)) => Err(OpenError::Scheme { scheme }),
            Err(NoClient::Broken(why)) => Err(OpenError::Unreachable { at: "its URL".into(), why }),
        }
    }

    /// The custodian for people, without path and credentials.
    pub(super) fn place(&self) -> String {
        self.0.place()
    }

    pub(super) async fn about(&self) -> Result<About, Answer> {
        self.0.get(&["v1", "head"]).await
    }

    pub(super) async fn history(&self, txid: Txid, leg: LegId) -> Result<Vec<Signed>, Answer> {
        self.0.get(&["v1", "legs", &txid.to_string(), &leg.0.to_string()]).await
    }

    pub(super) async fn carry_out(&self, request: Vec<u8>) -> Result<Vec<Signed>, Answer> {
        self.0.post(&["v1", "legs"], "application/cbor", request).await
    }
}
