//! Server-sent events: live, resumable, bounded.

use reqwest::{Method, Response};
use serde_json::Value;

use crate::world::{Server, problem};

const EVENTS: &str =
    "/api/v1/contracts/0707070707070707070707070707070707070707070707070707070707070707/events";

/// One event, as the standard's parser would dispatch it.
#[derive(Debug, Default)]
struct Event {
    name: String,
    id: Option<String>,
    data: String,
}

/// Reads events from an open answer.
struct Reader {
    answer: Response,
    buffer: String,
}

impl Reader {
    async fn open(server: &Server, path: &str, last: Option<&str>) -> Self {
        let mut request = server.request(Method::GET, path);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert_eq!(answer.headers()["cache-control"], "no-cache");
        Self { answer, buffer: String::new() }
    }

    /// The next event; `None` when the server has ended the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let event = parse(block);
                self.buffer = rest.to_owned();
                if !event.data.is_empty() {
                    return Some(event);
                }
                continue;
            }
            let chunk = self.answer.chunk().await.unwrap()?;
            self.buffer += std::str::from_utf8(&chunk).unwrap();
        }
    }

    async fn names(&mut self, count: usize) -> Vec<(String, Option<String>)> {
        let mut names = Vec::new();
        for _ in 0..count {
            let event = self.next().await.expect("the stream goes on");
            names.push((event.name, event.id));
        }
        names
    }
}

fn parse(block: &str) -> Event {
    let mut event = Event::default();
    for line in block.lines() {
        match line.split_once(':').map(|(field, value)| (field, value.strip_prefix(' ').unwrap_or(value))) {
            Some(("event", value)) => event.name = value.to_owned(),
            Some(("id", value)) => event.id = Some(value.to_owned()),
            Some(("data", value)) => event.data += value,
            Some(("retry", value)) => assert_eq!(value, "1000"),
            Some(("", _)) => {}
            other => panic!("{other:?} in {block}"),
        }
    }
    event
}

fn step(seq: u64) -> (String, Option<String>) {
    ("step".to_owned(), Some(seq.to_string()))
}

#[tokio::test]
async fn steps_come_as_they_happen_and_end_with_the_contract() {
    let server = Server::start().await;
    server.double.step("offered");
    let mut reader = Reader::open(&server, EVENTS, None).await;
    let first = reader.next().await.unwrap();
    let data: Value = serde_json::from_str(&first.data).unwrap();
    assert_eq!(
        data,
        serde_json::json!({
            "seq": 1, "name": "offered", "at": "2025-11-24T22:18:18.001Z", "ledger": null, "ok": true, "detail": "step 1"
        })
    );
    server.double.step("accepted");
    assert_eq!(reader.names(1).await, [step(2)]);
    server.double.step("decided");
    server.double.end();
    assert_eq!(reader.names(1).await, [step(3)]);
    let end = reader.next().await.unwrap();
    assert_eq!((end.name.as_str(), end.id), ("end", None));
    let contract: Value = serde_json::from_str(&end.data).unwrap();
    assert_eq!((&contract["state"], contract["steps"].as_array().unwrap().len()), (&"settled".into(), 3));
    assert!(reader.next().await.is_none());
}

#[tokio::test]
async fn a_reader_that_comes_back_misses_nothing_and_sees_nothing_twice() {
    let server = Server::start().await;
    for name in ["offered", "accepted", "prepared", "decided"] {
        server.double.step(name);
    }
    let mut reader = Reader::open(&server, EVENTS, None).await;
    assert_eq!(reader.names(2).await, [step(1), step(2)]);
    drop(reader);
    server.double.step("applied");
    server.double.end();
    let end = ("end".to_owned(), None);
    for (path, last, seen) in [
        (EVENTS.to_owned(), Some("2"), vec![step(3), step(4), step(5), end.clone()]),
        (format!("{EVENTS}?after=4"), None, vec![step(5), end.clone()]),
        (format!("{EVENTS}?after=1"), Some("4"), vec![step(5), end.clone()]),
        (EVENTS.to_owned(), Some(""), vec![step(1), step(2), step(3), step(4), step(5), end.clone()]),
        (EVENTS.to_owned(), Some("5"), vec![end.clone()]),
        (EVENTS.to_owned(), Some("99"), vec![end]),
    ] {
        let mut reader = Reader::open(&server, &path, last).await;
        assert_eq!(reader.names(seen.len()).await, seen, "{path} {last:?}");
        assert!(reader.next().await.is_none());
    }
    for bad in ["x", "-1", "1 ", "18446744073709551616"] {
        let answer = server.request(Method::GET, EVENTS).header("last-event-id", bad).send().await.unwrap();
        // A client trims the blank away before it sends.
        let status = if bad == "1 " { 200 } else { 400 };
        assert_eq!(answer.status(), status, "{bad:?}");
    }
}

#[tokio::test]
async fn the_whole_log_is_told_as_cloud_events_from_a_cursor() {
    let server = Server::start().await;
    for name in ["offered", "accepted", "prepared"] {
        server.double.step(name);
    }
    let mut reader = Reader::open(&server, "/api/v1/events?after=1", None).await;
    let event = reader.next().await.unwrap();
    assert_eq!((event.name.as_str(), event.id.as_deref()), ("event", Some("2")));
    let data: Value = serde_json::from_str(&event.data).unwrap();
    assert_eq!(
        data,
        serde_json::json!({
            "specversion": "1.0", "id": format!("{:064x}", 2), "source": "urn:sofie:node:double",
            "type": "sofie.audit.accepted", "subject": "07".repeat(32), "time": "2025-11-24T22:18:18.002Z",
            "sequence": "00000000000000000002", "datacontenttype": "application/json",
            "data": { "name": "accepted", "actor": "node", "ledger": null, "ok": true, "detail": "step 2" }
        })
    );
    let mut resumed = Reader::open(&server, "/api/v1/events", Some("2")).await;
    assert_eq!(resumed.next().await.unwrap().id.as_deref(), Some("3"));
}

#[tokio::test]
async fn streams_are_bounded_and_give_their_place_back() {
    let server = Server::limited(|limits| limits.streams = 1).await;
    server.double.step("offered");
    let mut first = Reader::open(&server, EVENTS, None).await;
    assert_eq!(first.names(1).await, [step(1)]);
    let refused = server.get(EVENTS).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(problem(refused).await["detail"], "1 event streams are open already");
    drop(first);
    // The server notices when it writes to the closed connection.
    server.double.step("accepted");
    server.until_measure("sofie_http_streams", 0).await;
    Reader::open(&server, EVENTS, None).await;
}

#[tokio::test]
async fn the_directory_tells_what_changes() {
    let server = Server::start().await;
    let mut all = Reader::open(&server, "/events", None).await;
    let mut deleted = Reader::open(&server, "/events/thing_deleted", None).await;
    let put = || {
        let request =
            server.request(Method::PUT, "/things/urn:x").header("content-type", "application/td+json");
        request.body("{}").send()
    };
    put().await.unwrap();
    put().await.unwrap();
    server.request(Method::DELETE, "/things/urn:x").send().await.unwrap();
    for (seq, name) in [("1", "thing_created"), ("2", "thing_updated"), ("3", "thing_deleted")] {
        let event = all.next().await.unwrap();
        assert_eq!((event.name.as_str(), event.id.as_deref()), (name, Some(seq)));
        assert_eq!(event.data, "{\"id\":\"urn:x\"}");
    }
    assert_eq!(deleted.next().await.unwrap().id.as_deref(), Some("3"));
    let mut resumed = Reader::open(&server, "/events", Some("1")).await;
    assert_eq!(resumed.next().await.unwrap().id.as_deref(), Some("2"));
}

/// A stream that is cut because the node stops has no `end`: the reader knows that it must come back.
#[tokio::test]
async fn a_stop_cuts_streams_without_an_end() {
    let server = Server::start().await;
    server.double.step("offered");
    let mut reader = Reader::open(&server, EVENTS, None).await;
    assert_eq!(reader.names(1).await, [step(1)]);
    let (running, _) = server.stop();
    assert!(reader.next().await.is_none());
    assert_eq!(running.await.unwrap().cut, 0);
}
