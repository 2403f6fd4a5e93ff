//! A node that lies about its directory: it answers as a real one did, but for one lie at a time, and is found out.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sofie_model::map::anchor::Entries;

use crate::world::World;

const LIST: &str = "/things?offset=0&limit=100";
const ANCHORED: &str = "/api/v1/directory/anchored";
const ENTRIES: &str = "/api/v1/directory/entries";

/// What is answered by which path. What is not there is not found.
type Answers = BTreeMap<String, Vec<u8>>;

struct Liar {
    url: String,
    answers: Arc<Mutex<Answers>>,
}

impl Liar {
    /// Answers until the test's process ends.
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let answers = Arc::new(Mutex::new(Answers::new()));
        let said = Arc::clone(&answers);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let request = lines.next().unwrap_or_default();
                lines.find(String::is_empty);
                let path = request.split(' ').nth(1).unwrap_or_default();
                let body = said.lock().expect("nobody panics").get(path).cloned();
                let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
                let body = body.unwrap_or_default();
                let link = "</things>; rel=\"canonical\"; etag=\"7\"";
                let head =
                    format!("HTTP/1.1 {status}\r\nconnection: close\r\nlink: {link}\r\ncontent-length");
                let _ = write!(&stream, "{head}: {}\r\n\r\n", body.len());
                let _ = (&stream).write_all(&body);
            }
        });
        Self { url, answers }
    }

    fn says(&self, answers: Answers) {
        *self.answers.lock().expect("nobody panics") = answers;
    }
}

/// `sofie directory verify`: the exit code, and all that it says.
async fn verify(url: &str, more: &[&str]) -> (Option<i32>, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_sofie"));
    let run = command.args(["directory", "verify", "--node", url]).args(more).output();
    let out = run.await.expect("the binary runs");
    let text = [out.stdout, out.stderr].concat();
    (out.status.code(), String::from_utf8(text).expect("text"))
}

/// What the real node says now.
async fn captured(world: &World) -> Answers {
    let ids: Vec<String> = world.get("/things").await.as_array().expect("a list").iter().map(id).collect();
    let mut paths = vec![LIST.to_owned(), ANCHORED.to_owned(), ENTRIES.to_owned()];
    for id in &ids {
        let segment = id.replace(':', "%3A");
        paths.extend([format!("/things/{segment}"), format!("/api/v1/directory/proofs/{segment}")]);
    }
    let mut answers = Answers::new();
    for path in paths {
        answers.insert(path.clone(), world.bytes(&path).await);
    }
    answers
}

fn id(thing: &Value) -> String {
    thing["id"].as_str().expect("a thing has an id").to_owned()
}

/// The list, changed.
fn list(answers: &Answers, change: impl FnOnce(&mut Vec<Value>)) -> Answers {
    let mut things: Vec<Value> = serde_json::from_slice(&answers[LIST]).expect("a list");
    change(&mut things);
    let mut changed = answers.clone();
    changed.insert(LIST.into(), json!(things).to_string().into_bytes());
    changed
}

pub(crate) async fn every_lie_is_found_out(world: &World) {
    let honest = captured(world).await;
    let things: Vec<Value> = serde_json::from_slice(&honest[LIST]).expect("a list");
    let (first, second) = (id(&things[0]), id(&things[1]));
    let liar = Liar::start();
    liar.says(honest.clone());
    let (code, said) = verify(&liar.url, &[]).await;
    assert_eq!(code, Some(0), "the truth is believed: {said}");

    let fewer = list(&honest, |things| drop(things.remove(0)));
    let mut forgotten = fewer.clone();
    let mut entries = Entries::from_bytes(&honest[ENTRIES]).expect("entries");
    entries.entries.remove(0);
    forgotten.insert(ENTRIES.into(), entries.to_bytes());
    let mut cut = honest.clone();
    cut.get_mut(ANCHORED).expect("it is there").pop();
    for (lie, answers, found) in [
        ("drops a thing", fewer, "dropped"),
        ("changes a thing", list(&honest, |things| things[0]["title"] = json!("Trap door")), "forged"),
        (
            "adds a thing",
            list(&honest, |things| {
                let mut more = things[0].clone();
                more["id"] = json!("urn:zzz");
                things.push(more);
            }),
            "not anchored",
        ),
        ("drops a thing and its entry", forgotten, "are not those under its anchored root"),
        ("shows half a proof", cut, "cannot believe the directory"),
    ] {
        liar.says(answers);
        let (code, said) = verify(&liar.url, &[]).await;
        assert!(code == Some(1) && said.contains(found), "it {lie}: {code:?} {said}");
    }

    // One thing alone: it is denied, or another's proof is shown for it.
    let segment = |id: &str| id.replace(':', "%3A");
    let mut denied = honest.clone();
    denied.remove(&format!("/things/{}", segment(&first)));
    liar.says(denied);
    let (code, said) = verify(&liar.url, &["--thing", &first]).await;
    assert!(code == Some(1) && said.contains("dropped"), "{said}");
    let mut swapped = honest.clone();
    let other = honest[&format!("/api/v1/directory/proofs/{}", segment(&second))].clone();
    swapped.insert(format!("/api/v1/directory/proofs/{}", segment(&first)), other);
    liar.says(swapped);
    let (code, said) = verify(&liar.url, &["--thing", &first]).await;
    assert!(code == Some(1) && said.contains("cannot believe the directory"), "{said}");

    // The old state, to who has seen the new one.
    world
        .put(
            "/things/urn:example:new",
            json!({
                "@context": "https://www.w3.org/2022/wot/td/v1.1", "id": "urn:example:new", "title": "New",
                "securityDefinitions": {"n": {"scheme": "nosec"}}, "security": "n"
            }),
        )
        .await;
    let folder = tempfile::tempdir().expect("a folder");
    let seen = folder.path().join("directory.seen").display().to_string();
    let (code, said) = verify(world.url(), &["--seen", &seen]).await;
    assert!(code == Some(0) && said.contains("urn:example:new"), "a change is anchored: {said}");
    let absent = ["--thing", "urn:example:none", "--thing", "urn:example:new"];
    let (code, said) = verify(world.url(), &absent).await;
    assert!(code == Some(0) && said.contains("absent") && said.contains("present"), "{said}");
    liar.says(honest);
    let (code, said) = verify(&liar.url, &["--seen", &seen]).await;
    assert!(code == Some(1) && said.contains("it is old"), "{said}");
}
