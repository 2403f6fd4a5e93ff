//! Batches before a node that says what the test wants, over HTTP.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::Ipv4Addr;

use alloy_json_rpc::Request;
use alloy_rpc_client::RpcClient;
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::*;

/// Longer than any test takes.
const NEVER: Duration = Duration::from_secs(3_600);
const MAX_ANSWER: usize = 10_000;

/// The node's answer to a request, whole: the number that it asks with.
fn echo(request: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": request["id"], "result": request["params"][0] })
}

/// To one request or to a batch, that in another order.
fn fair(request: &Value) -> Value {
    request.as_array().map_or_else(|| echo(request), |all| all.iter().rev().map(echo).collect())
}

/// A client of a node that answers as `says`.
async fn before<F>(
    patience: Duration,
    timeout: Duration,
    says: impl Fn(Value) -> F + Clone + Send + Sync + 'static,
) -> Batcher
where
    F: Future<Output = (u16, String)> + Send,
{
    let handler = move |body: Bytes| {
        let says = says.clone();
        async move {
            let (status, text) = says(serde_json::from_slice(&body).unwrap()).await;
            (axum::http::StatusCode::from_u16(status).unwrap(), text)
        }
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", post(handler))).await });
    let transport = Limited::new(url, NEVER, MAX_ANSWER).unwrap();
    Batcher(Arc::new(Shared { transport, timeout, patience, line: Mutex::default() }))
}

fn request(number: u64) -> SerializedRequest {
    Request::new("eth_call", Id::Number(number), (number,)).serialize().unwrap()
}

/// Brings so many requests in one batch: what each was answered, or the error's words.
async fn brought(batcher: &Batcher, count: u64) -> Vec<Result<u64, String>> {
    let (batch, askers): (Vec<_>, Vec<_>) = (0..count).map(request).map(Waiting::new).unzip();
    batcher.clone().bring(batch).await;
    let mut answers = Vec::new();
    for asker in askers {
        answers.push(match asker.await.unwrap() {
            Ok(ResponsePacket::Single(Response { payload, .. })) => {
                Ok(serde_json::from_str(payload.as_success().unwrap().get()).unwrap())
            }
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        });
    }
    answers
}

/// Numbers that the node was asked with: one list a request of HTTP.
type Seen = Arc<Mutex<Vec<Vec<u64>>>>;

fn note(seen: &Seen, request: &Value) {
    let one = |request: &Value| request["params"][0].as_u64().unwrap();
    let numbers = request.as_array().map_or_else(|| vec![one(request)], |all| all.iter().map(one).collect());
    seen.lock().unwrap().push(numbers);
}

#[tokio::test]
async fn what_waits_meanwhile_goes_together_and_everybody_gets_their_own_answer() {
    let (seen, arrived, may_answer) =
        (Seen::default(), Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let batcher = before(NEVER, NEVER, {
        let (seen, arrived, may_answer) = (seen.clone(), arrived.clone(), may_answer.clone());
        move |request| {
            let (seen, arrived, may_answer) = (seen.clone(), arrived.clone(), may_answer.clone());
            async move {
                note(&seen, &request);
                arrived.add_permits(1);
                may_answer.acquire().await.unwrap().forget();
                (200, fair(&request).to_string())
            }
        }
    })
    .await;
    let client = RpcClient::new(batcher.clone(), true);
    let ask = |method: &'static str, number: u64| {
        let client = client.clone();
        tokio::spawn(async move { client.request::<_, u64>(method, (number,)).await.unwrap() })
    };
    let mut asked = Vec::new();
    for number in 0..MAX_UNDER_WAY as u64 {
        asked.push(ask("eth_call", number));
        arrived.acquire().await.unwrap().forget();
    }
    let gathered = 2 * MAX_BATCH as u64 + 50;
    let last = MAX_UNDER_WAY as u64 + gathered;
    asked.extend((MAX_UNDER_WAY as u64..last).map(|number| ask("eth_sendRawTransaction", number)));
    while lock(&batcher.0.line).waiting.len() < gathered as usize {
        tokio::task::yield_now().await;
    }
    // What makes a node read whole blocks waits for nobody, and nobody for it.
    asked.push(ask("eth_getLogs", last));
    arrived.acquire().await.unwrap().forget();
    may_answer.add_permits(Semaphore::MAX_PERMITS / 2);
    for (number, one) in asked.into_iter().enumerate() {
        assert_eq!(one.await.unwrap(), number as u64);
    }
    let mut lengths: Vec<_> = seen.lock().unwrap().iter().map(Vec::len).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [1, 1, 1, 1, 1, 50, MAX_BATCH, MAX_BATCH]);
    let all: BTreeSet<u64> = seen.lock().unwrap().iter().flatten().copied().collect();
    assert_eq!(all.len() as u64, last + 1, "each was sent once");
}

/// Whatever a node that takes no batch, or not this one, says to it: everybody is answered, and shorter ones follow.
#[tokio::test]
async fn what_a_batch_leaves_unanswered_is_asked_alone() {
    let invalid = || json!({ "code": INVALID_REQUEST, "message": "batch too large" });
    type Says = Box<dyn Fn(&[Value]) -> (u16, String) + Send + Sync>;
    let one_error: Says =
        Box::new(move |_| (200, json!({ "jsonrpc": "2.0", "id": null, "error": invalid() }).to_string()));
    // As geth does: a list with the first request's id.
    let first_error: Says = Box::new(move |all| {
        (200, json!([{ "jsonrpc": "2.0", "id": all[0]["id"], "error": invalid() }]).to_string())
    });
    let too_few: Says = Box::new(|all| (200, all[..7].iter().map(echo).collect::<Value>().to_string()));
    let doubled: Says = Box::new(|all| {
        let other = json!({ "jsonrpc": "2.0", "id": all[3]["id"], "result": 77 });
        (200, all.iter().map(echo).chain([other]).collect::<Value>().to_string())
    });
    let foreign: Says = Box::new(|all| {
        let other = |at: u64| json!({ "jsonrpc": "2.0", "id": 1_000 + at, "result": at });
        (200, (0..all.len() as u64).map(other).collect::<Value>().to_string())
    });
    let plain = |status: u16, text: &str| -> Says {
        let text = text.to_owned();
        Box::new(move |_| (status, text.clone()))
    };
    let too_long = " ".repeat(MAX_ANSWER + 1);
    let table: [(&str, Says, usize); 10] = [
        ("one error for all", one_error, 10),
        ("one error in a list", first_error, 10),
        ("too few", too_few, 3),
        ("one doubled", doubled, 1),
        ("foreign ids", foreign, 10),
        ("none", plain(200, "[]"), 10),
        ("a page for people", plain(200, "<html>"), 10),
        ("bad request", plain(400, "<html>"), 10),
        ("too large", plain(413, ""), 10),
        ("too long", plain(200, &too_long), 10),
    ];
    for (name, says, alone) in table {
        let (seen, says) = (Seen::default(), Arc::new(says));
        let noted = seen.clone();
        let batcher = before(NEVER, NEVER, move |request| {
            note(&noted, &request);
            let answer =
                request.as_array().map_or_else(|| (200, echo(&request).to_string()), |all| says(all));
            async move { answer }
        })
        .await;
        let expected: Vec<_> = (0..10).map(Ok).collect();
        assert_eq!(brought(&batcher, 10).await, expected, "{name}");
        assert_eq!(seen.lock().unwrap().len(), 1 + alone, "{name}");
        assert_eq!(lock(&batcher.0.line).size.most, 5, "{name}");
        // The same for a batch that the caller made.
        let whole = batcher.whole((0..10).map(request).collect()).await.unwrap();
        let results = whole.responses().iter().map(|one| one.payload.as_success().unwrap().get().to_owned());
        assert!(results.eq((0..10).map(|number: u64| number.to_string())), "{name}");
    }
}

/// A node that is busy or away is not asked tenfold: whoever asks is told, and tries again in their own time.
#[tokio::test]
async fn a_node_that_is_away_is_away_for_the_whole_batch() {
    for status in [408, 429, 500, 503] {
        let seen = Seen::default();
        let noted = seen.clone();
        let batcher = before(NEVER, NEVER, move |request| {
            note(&noted, &request);
            async move { (status, "<html>".to_owned()) }
        })
        .await;
        for answer in brought(&batcher, 10).await {
            assert!(answer.unwrap_err().contains(&format!("HTTP status {status}")));
        }
        assert_eq!(seen.lock().unwrap().len(), 1, "{status}");
        assert_eq!(lock(&batcher.0.line).size.most, MAX_BATCH, "{status}");
    }
}

#[tokio::test]
async fn stuck_requests_give_their_places_away() {
    let batcher = before(Duration::from_millis(1), NEVER, |request| async move {
        if request["params"][0] == 0 {
            std::future::pending::<()>().await;
        }
        (200, fair(&request).to_string())
    })
    .await;
    let client = RpcClient::new(batcher.clone(), true);
    let ask = |number: u64| {
        let client = client.clone();
        tokio::spawn(async move { client.request::<_, u64>("eth_call", (number,)).await.unwrap() })
    };
    let mut stuck = Vec::new();
    for count in 1..=2 * MAX_UNDER_WAY {
        stuck.push(ask(0));
        while lock(&batcher.0.line).slow < count {
            tokio::task::yield_now().await;
        }
    }
    for number in 1..=50 {
        assert_eq!(ask(number).await.unwrap(), number);
    }
    assert!(stuck.iter().all(|one| !one.is_finished()));
    let line = lock(&batcher.0.line);
    assert_eq!((line.quick, line.slow, line.waiting.len()), (0, 2 * MAX_UNDER_WAY, 0));
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_given_up_and_so_is_the_place_in_the_line() {
    let batcher = before(NEVER, Duration::from_millis(20), |_| std::future::pending()).await;
    let ask = |number| batcher.clone().gathered(request(number));
    for number in 0..=MAX_UNDER_WAY as u64 {
        let error = ask(number).await.unwrap_err().to_string();
        assert!(error.contains("timed out"), "{error}");
    }
    let mut line = lock(&batcher.0.line);
    assert_eq!((line.quick, line.waiting.len()), (MAX_UNDER_WAY, 1));
    assert!(line.next().is_empty(), "nobody waits for it any longer");
}

#[test]
fn a_batch_is_bounded_in_number_and_in_bytes() {
    let mut line = Line::default();
    let mut askers = Vec::new();
    let mut push = |line: &mut Line, length: usize| {
        let request = Request::new("eth_call", Id::Number(0), ("a".repeat(length),)).serialize().unwrap();
        let (waiting, answered) = Waiting::new(request);
        line.waiting.push_back(waiting);
        askers.push(answered);
    };
    (0..MAX_BATCH + 1).for_each(|_| push(&mut line, 1));
    push(&mut line, MAX_BATCH_BYTES);
    push(&mut line, MAX_BATCH_BYTES / 2);
    push(&mut line, 1);
    let lengths: Vec<_> = (0..5).map(|_| line.next().len()).collect();
    assert_eq!(lengths, [MAX_BATCH, 1, 1, 2, 0]);
}

#[test]
fn a_node_is_sent_shorter_batches_after_a_refusal_and_longer_ones_after_a_while() {
    let mut size = Size::default();
    let mut refused = Vec::new();
    for _ in 0..8 {
        size.refused(size.most);
        refused.push(size.most);
    }
    assert_eq!(refused, [50, 25, 12, 6, 3, 1, 1, 1]);
    // An answer to a batch that left before a longer one was refused.
    size.answered(TRUSTED_AFTER - 1);
    assert_eq!(size.most, 1);
    size.answered(1);
    assert_eq!(size.most, 2);
    (0..10).for_each(|_| size.answered(TRUSTED_AFTER));
    assert_eq!(size.most, MAX_BATCH);
    size.refused(10);
    assert_eq!(size.most, 5);
}
