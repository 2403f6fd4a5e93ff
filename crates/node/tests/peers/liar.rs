//! A program that holds a peer's key and says whatever it likes.

use reqwest::StatusCode;
use serde_json::Value;
use sofie_model::Timestamp;
use sofie_node::clock;
use sofie_node::peers::envelope::{self, Address, Fields, MEDIA_TYPE, PATH, seal_request};
use sofie_node::peers::message::{Message, Reply};

use crate::world::{Node, Who, nonce};

/// A peer that says whatever it likes.
pub(crate) struct Liar<'a> {
    pub(crate) node: &'a Node,
    pub(crate) authority: String,
    pub(crate) own: &'a Who,
    pub(crate) to: &'a Who,
}

/// What came back: the status, and the signed reply or the problem.
pub(crate) type Heard = (StatusCode, Result<Reply, Value>);

impl<'a> Liar<'a> {
    pub(crate) fn new(node: &'a Node, own: &'a Who, to: &'a Who) -> Self {
        Self { node, authority: to.authority(), own, to }
    }

    pub(crate) fn seal(&self, body: &[u8], now: Timestamp) -> Fields {
        let nonce = nonce().0[..16].try_into().unwrap();
        seal_request(&Address::messages(&self.authority), body, nonce, now, self.own.keys.ed25519()).unwrap()
    }

    pub(crate) fn say(&self, message: &Message) -> Heard {
        let body = message.to_bytes();
        self.send(&self.seal(&body, clock::now()), body)
    }

    pub(crate) fn send(&self, fields: &Fields, body: Vec<u8>) -> Heard {
        self.send_to(&self.authority, fields, body)
    }

    /// Sends as it is, under this Host field.
    pub(crate) fn send_to(&self, host: &str, fields: &Fields, body: Vec<u8>) -> Heard {
        let url = format!("http://{}{PATH}", self.to.authority());
        self.node.run(async {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let mut request =
                client.post(url).header("host", host).header("content-type", MEDIA_TYPE).body(body);
            for (name, value) in fields.pairs() {
                request = request.header(name, value);
            }
            let response = request.send().await.unwrap();
            let (status, headers) = (response.status(), response.headers().clone());
            let content = response.bytes().await.unwrap();
            if status != StatusCode::OK {
                return (status, Err(serde_json::from_slice(&content).unwrap()));
            }
            let pairs: Vec<_> =
                headers.iter().filter_map(|(n, v)| Some((n.as_str(), v.to_str().ok()?))).collect();
            let key = self.to.keys.ed25519().verifying_key();
            let now = clock::now();
            let to = Address::messages(&self.authority);
            envelope::open_response(&to, fields, 200, &pairs, &content, now, &key).unwrap();
            (status, Ok(Reply::read(&content).unwrap()))
        })
    }
}
