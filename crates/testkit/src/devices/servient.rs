//! **A double** of a W3C WoT servient over HTTP/1.1, with one lamp: it answers what the specifications say, and on demand
//! what they forbid. It is no evidence that other makers' servients are understood; node-wot is asked for that.
//!
//! As real servients do, it writes the addresses of an interface at which it cannot be reached here.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// An interface that nobody here has (RFC 5737).
pub const ELSEWHERE: &str = "192.0.2.2";
/// The longest line of a request's head, and the longest body.
const MAX_LINE: u64 = 8 * 1024;
const MAX_BODY: usize = 64 * 1024;
/// How many lines a head has at most.
const MAX_LINES: usize = 64;

/// What the lamp does with the next requests for an action or a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It does them, and says so.
    Fair,
    /// It refuses them.
    Refusing,
    /// It does them, and closes the connection without a word.
    Speechless,
    /// It does them, and says 500.
    Failing,
    /// It sends whoever asks to another host.
    Pointing,
}

/// A running lamp; its last handle ends it. Clones share it.
#[derive(Debug, Clone)]
pub struct Lamp(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    address: SocketAddr,
    state: Arc<State>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    on: watch::Sender<bool>,
    mood: Mutex<Mood>,
    deeds: Mutex<u64>,
    asked: Mutex<Vec<String>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Lamp {
    /// A lamp that is off. Answers once this returns.
    ///
    /// # Errors
    /// Its address is taken.
    pub async fn start(listen: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            on: watch::Sender::new(false),
            mood: Mutex::new(Mood::Fair),
            deeds: Mutex::default(),
            asked: Mutex::default(),
        });
        let server = tokio::spawn(serve(listener, address, Arc::clone(&state)));
        Ok(Self(Arc::new(Inner { address, state, server })))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Changes its mood.
    pub fn set_mood(&self, mood: Mood) {
        *held(&self.0.state.mood) = mood;
    }

    /// Somebody at the lamp switches it by hand.
    pub fn switch_by_hand(&self, on: bool) {
        self.0.state.on.send_replace(on);
    }

    /// How often it did something.
    #[must_use]
    pub fn deeds(&self) -> u64 {
        *held(&self.0.state.deeds)
    }

    /// What it was asked so far: `GET /lamp`.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        held(&self.0.state.asked).clone()
    }
}

fn held<T>(lock: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, address: SocketAddr, state: Arc<State>) {
    // Its connections end with it.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let state = Arc::clone(&state);
        connections.spawn(async move { drop(answer(stream, address, &state).await) });
    }
}

/// One request, one answer.
async fn answer(stream: TcpStream, address: SocketAddr, state: &State) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let Some((method, target, body)) = request(&mut stream).await? else { return Ok(()) };
    held(&state.asked).push(format!("{method} {target}"));
    let mut stream = stream.into_inner();
    let (status, body) = match (method.as_str(), target.as_str()) {
        ("GET", "/") => (200, list(address).to_string()),
        ("GET", "/lamp") => (200, description(address).to_string()),
        ("GET", "/traps") => (200, traps().to_string()),
        ("GET", "/nested") => (200, "[".repeat(1000)),
        ("GET", "/lamp/on" | "/lamp/now" | "/lamp/seldom") => (200, state.on.borrow().to_string()),
        ("GET", "/lamp/on/next") => {
            let mut on = state.on.subscribe();
            on.changed().await.map_err(io::Error::other)?;
            let now = on.borrow_and_update().to_string();
            (200, now)
        }
        ("GET", "/lamp/now/events") => return tell(&mut stream, state).await,
        // It may be written, says its description, and then refuses that.
        ("GET", "/lamp/dim") => (200, "7".into()),
        ("GET", "/lamp/odd") => (200, "\"neither\"".into()),
        ("GET", "/lamp/away") => (302, String::new()),
        ("GET", "/lamp/endless") => return endless(&mut stream).await,
        ("POST", "/lamp/switch") | ("PUT", "/lamp/on") => match switch(state, &body) {
            Some(answer) => answer,
            None => return Ok(()),
        },
        _ => (404, String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nlocation: http://{ELSEWHERE}/\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// Method, target and body; `None` for what is no request.
async fn request(stream: &mut BufReader<TcpStream>) -> io::Result<Option<(String, String, Vec<u8>)>> {
    let mut first = String::new();
    stream.take(MAX_LINE).read_line(&mut first).await?;
    let mut words = first.split_ascii_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let (method, target) = (method.to_owned(), target.to_owned());
    let mut length = 0;
    for _ in 0..MAX_LINES {
        let mut line = String::new();
        stream.take(MAX_LINE).read_line(&mut line).await?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; usize::min(length, MAX_BODY)];
    stream.read_exact(&mut body).await?;
    Ok(Some((method, target, body)))
}

/// What it answers to a request to be switched; `None` for nothing.
fn switch(state: &State, body: &[u8]) -> Option<(u16, String)> {
    let mood = *held(&state.mood);
    match mood {
        Mood::Refusing => return Some((403, "not now".into())),
        Mood::Pointing => return Some((307, String::new())),
        Mood::Fair | Mood::Speechless | Mood::Failing => {}
    }
    *held(&state.deeds) += 1;
    state.on.send_replace(body != b"false");
    match mood {
        Mood::Speechless => None,
        Mood::Failing => Some((500, "a fuse".into())),
        _ => Some((204, String::new())),
    }
}

/// Each state from now on as a server-sent event, the present one first.
async fn tell(stream: &mut TcpStream, state: &State) -> io::Result<()> {
    let mut on = state.on.subscribe();
    stream
        .write_all(
            b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n: a lamp\n\n",
        )
        .await?;
    loop {
        let now = *on.borrow_and_update();
        stream.write_all(format!("event: now\r\ndata: {now}\r\n\r\n").as_bytes()).await?;
        on.changed().await.map_err(io::Error::other)?;
    }
}

/// A body without an end.
async fn endless(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 X\r\nconnection: close\r\n\r\n\"").await?;
    loop {
        stream.write_all(&[b' '; 1024]).await?;
    }
}

/// Addresses as a servient writes them; the last is another host's.
fn list(address: SocketAddr) -> Value {
    let port = address.port();
    json!([
        format!("http://{ELSEWHERE}:{port}/lamp"),
        format!("http://127.0.0.1:{port}/lamp"),
        format!("http://{ELSEWHERE}:1/other"),
    ])
}

/// A thing that leads elsewhere, with each of its affordances.
fn traps() -> Value {
    let trap = |href: &str| json!({"type": "string", "forms": [{"href": href}]});
    json!({
        "@context": "https://www.w3.org/2022/wot/td/v1.1",
        "title": "Traps",
        "securityDefinitions": {"open": {"scheme": "nosec"}},
        "security": "open",
        "properties": {
            "a": trap("http://127.0.0.1:22/"), "b": trap("http://169.254.169.254/"), "c": trap("https://localhost/"),
            "d\u{1b}[31m": trap("file:///etc/passwd"),
        },
        "actions": {"go": {"forms": [{"href": "ftp://localhost/"}]}},
    })
}

fn description(address: SocketAddr) -> Value {
    let base = format!("http://{ELSEWHERE}:{}/lamp/", address.port());
    let login = json!([{"href": "secret", "security": ["login"]}]);
    json!({
        "@context": "https://www.w3.org/2022/wot/td/v1.1",
        "id": "urn:x:lamp",
        "title": "Lamp",
        "base": base,
        "securityDefinitions": {"open": {"scheme": "nosec"}, "login": {"scheme": "basic", "in": "header"}},
        "security": "open",
        "properties": {
            "on": {"type": "boolean", "observable": true, "forms": [
                {"href": "on", "op": ["readproperty", "writeproperty"]},
                {"href": "on/next", "op": ["observeproperty", "unobserveproperty"], "subprotocol": "longpoll"},
            ]},
            "now": {"type": "boolean", "readOnly": true, "observable": true, "forms": [
                {"href": "now"},
                {"href": "now/events", "op": ["observeproperty", "unobserveproperty"], "subprotocol": "sse"},
            ]},
            "seldom": {"type": "boolean", "readOnly": true, "forms": [{"href": "seldom"}]},
            "dim": {"type": "integer", "forms": [{"href": "dim"}]},
            "odd": {"type": "integer", "readOnly": true, "forms": [{"href": "odd"}]},
            "away": {"type": "boolean", "readOnly": true, "forms": [{"href": "away"}]},
            "endless": {"type": "string", "readOnly": true, "forms": [{"href": "endless"}]},
            "secret": {"type": "string", "forms": login},
            "inside": {"type": "string", "forms": [{"href": "http://169.254.169.254/latest/meta-data"}]},
        },
        "actions": {
            "switch": {"input": {"type": "boolean"}, "forms": [{"href": "switch"}]},
            "unlock": {"forms": login},
        },
        "events": {"broken": {"forms": [{"href": "broken"}]}},
    })
}
