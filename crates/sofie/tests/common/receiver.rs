//! A receiver of webhooks: it answers each request as the test says, and remembers what came.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ed25519_dalek::VerifyingKey;
use serde_json::Value;
use sofie_node::events::MEDIA_TYPE;
use sofie_node::peers::digest;
use sofie_node::peers::envelope::keyid;
use sofie_node::peers::signature::{Head, Message, Sent};
use sofie_node::webhooks::{COVERED, LABEL, TAG};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(20);

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 204.
    Take,
    /// Another status, with a `Location` and a body that never ends.
    Status(u16),
    /// None, until the node gives up.
    Silence,
    /// The connection is closed, as by a receiver that crashes.
    Crash,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    path: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    pub(crate) event: Value,
    pub(crate) answer: Answer,
}

impl Request {
    pub(crate) fn sequence(&self) -> u64 {
        self.event["sequence"].as_str().expect("a text").parse().expect("a number")
    }

    fn field(&self, name: &str) -> &str {
        let field = self.fields.iter().find(|(known, _)| known == name);
        field.map(|(_, value)| value.as_str()).unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }

    /// Whose key signed it, as it says.
    pub(crate) fn keyid(&self) -> String {
        let (_, rest) = self.field("signature-input").split_once("keyid=\"").expect("a key");
        rest.split('"').next().expect("its digits").to_owned()
    }

    fn fields(&self) -> Vec<(&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// Whether the node of `key` signed exactly this, as a receiver would check it.
    #[track_caller]
    pub(crate) fn genuine(&self, key: &VerifyingKey) {
        assert_eq!(self.field("content-type"), MEDIA_TYPE);
        assert!(digest::is_of(self.field("content-digest"), &self.body), "{self:?}");
        let (fields, authority) = (self.fields(), self.field("host"));
        let message = Message::Request(Head { method: "POST", authority, path: &self.path, fields: &fields });
        let sent = Sent::read(&message, LABEL).expect("one signature");
        assert_eq!(sent.components(), COVERED);
        assert_eq!(
            (sent.params().tag.as_deref(), sent.params().alg.as_deref()),
            (Some(TAG), Some("ed25519"))
        );
        assert_eq!(sent.params().keyid, Some(keyid(key)));
        sent.verify(&message, key).expect("it is of this key");
        let member = |name: &str| self.event[name].as_str().unwrap_or_else(|| panic!("{name}: {self:?}"));
        assert_eq!((member("specversion"), member("datacontenttype")), ("1.0", "application/json"));
        assert_eq!(
            member("type"),
            format!("sofie.audit.{}", self.event["data"]["name"].as_str().expect("a name"))
        );
    }
}

/// What the test says about a request: by how many came before it, and by its event.
type Script = dyn Fn(usize, &Value) -> Answer + Send + Sync;

/// It listens until it is dropped.
pub(crate) struct Receiver {
    came: Arc<Mutex<Vec<Request>>>,
    listening: JoinHandle<()>,
}

impl Receiver {
    pub(crate) async fn open(
        port: u16,
        script: impl Fn(usize, &Value) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let door = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
        let (came, script): (_, Arc<Script>) = (Arc::default(), Arc::new(script));
        let listening = tokio::spawn(listen(door, Arc::clone(&came), script));
        Self { came, listening }
    }

    pub(crate) fn all(&self) -> Vec<Request> {
        self.came.lock().expect("nobody panics with it").clone()
    }

    /// Those that were taken.
    pub(crate) fn taken(&self) -> Vec<Request> {
        self.all().into_iter().filter(|request| request.answer == Answer::Take).collect()
    }

    /// Waits until `wanted` holds of what came.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&[Request]) -> bool) {
        let began = Instant::now();
        while !wanted(&self.all()) {
            assert!(began.elapsed() < PATIENCE, "not {what}: {:#?}", self.all());
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(door: TcpListener, came: Arc<Mutex<Vec<Request>>>, script: Arc<Script>) {
    // Open connections end with it, as those of a process would.
    let mut open = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = door.accept().await {
        let (came, script) = (Arc::clone(&came), Arc::clone(&script));
        open.spawn(async move { answer(stream, &came, script.as_ref()).await });
    }
}

/// One request a connection; `None` when its client leaves.
async fn answer(stream: TcpStream, came: &Mutex<Vec<Request>>, script: &Script) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut request = read(&mut stream).await?;
    let answer = {
        let mut came = came.lock().expect("nobody panics with it");
        request.answer = script(came.len(), &request.event);
        came.push(request.clone());
        request.answer
    };
    match answer {
        Answer::Take => {
            let head = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
            stream.get_mut().write_all(head).await.ok()
        }
        Answer::Status(status) => {
            let head =
                format!("HTTP/1.1 {status} No\r\nlocation: /elsewhere\r\ntransfer-encoding: chunked\r\n\r\n");
            stream.get_mut().write_all(head.as_bytes()).await.ok()?;
            while stream.get_mut().write_all(b"4\r\nmore\r\n").await.is_ok() {}
            None
        }
        // It ends when the client closes.
        Answer::Silence => stream.read_u8().await.ok().map(drop),
        Answer::Crash => None,
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let (mut line, mut fields) = (String::new(), Vec::new());
    stream.read_line(&mut line).await.ok()?;
    let path = line.strip_prefix("POST ")?.split(' ').next()?.to_owned();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        fields.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = fields.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let event = serde_json::from_slice(&body).ok()?;
    Some(Request { path, fields, body, event, answer: Answer::Take })
}
