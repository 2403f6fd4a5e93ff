//! A node that says what the test wants: over HTTP, and word by word.

use std::borrow::Cow;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// Answers every connection with these bytes, until the listener is dropped with the test's runtime.
async fn node(answer: Vec<u8>) -> Url {
    node_that(move |_| answer.clone()).await
}

/// The same, with what `says` answers to the request.
async fn node_that(says: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let request = request(&mut stream).await;
            let _ = stream.write_all(&says(&request)).await;
        }
    });
    format!("http://127.0.0.1:{port}/secret-path").parse().unwrap()
}

/// A whole request, or what came of it.
async fn request(stream: &mut TcpStream) -> String {
    let (mut text, mut some) = (String::new(), [0; 4_096]);
    loop {
        let length = stream.read(&mut some).await.unwrap_or(0);
        text.push_str(&String::from_utf8_lossy(&some[..length]));
        let body = text.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
        let lower = text.to_lowercase();
        let told = lower.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        if length == 0 || told.is_some_and(|told: usize| body >= told) {
            return text;
        }
    }
}

fn http(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").into_bytes()
}

async fn refusal(url: Url) -> RpcOpenError {
    let config = RpcConfig { url, chain_id: 1, timeout: Duration::from_secs(5), since: 0 };
    RpcChain::open(config).await.err().expect("must be refused")
}

#[tokio::test]
async fn a_node_of_another_chain_is_named() {
    let url = node(http("200 OK", r#"{"jsonrpc":"2.0","id":0,"result":"0x7a69"}"#)).await;
    let got = refusal(url).await;
    assert!(matches!(got, RpcOpenError::WrongChain { expected: 1, got: 31_337, .. }), "{got}");
    assert!(!got.to_string().contains("secret-path"), "{got}");
}

#[tokio::test]
async fn what_is_no_node_is_named_and_no_secret_with_it() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let table = [
        (format!("http://{closed}/secret-path").parse().unwrap(), "eth_chainId"),
        (node(http("404 Not Found", "<html>")).await, "404"),
        (node(http("200 OK", "<html>")).await, "something else"),
        (node(http("200 OK", r#"{"jsonrpc":"2.0","id":0,"result":[]}"#)).await, "something else"),
        ("https://user:pass@127.0.0.1/secret-path".parse().unwrap(), "https is not spoken"),
        ("ftp://127.0.0.1/secret-path".parse().unwrap(), "ftp is not spoken"),
    ];
    for (url, expected) in table {
        let got = refusal(url).await.to_string();
        assert!(got.contains(expected), "{expected}: {got}");
        assert!(!got.contains("secret-path") && !got.contains("pass"), "{got}");
    }
}

#[tokio::test]
async fn a_node_that_never_answers_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap()).parse().unwrap();
    let config = RpcConfig { url, chain_id: 1, timeout: Duration::from_millis(50), since: 0 };
    let got = RpcChain::open(config).await.err().expect("must be given up").to_string();
    assert!(got.contains("no Ethereum node answers") && got.contains("timed out"), "{got}");
}

#[tokio::test]
async fn an_answer_without_an_end_is_cut() {
    let url = node(http("200 OK", &" ".repeat(5_000))).await;
    let transport = Limited::new(url, Duration::from_secs(5), 4_999).unwrap();
    let client = RpcClient::new(Batcher::new(transport, Duration::from_secs(5)), true);
    let error = client.request::<_, U64>("eth_chainId", ()).await.unwrap_err();
    assert!(chained(&error).contains("longer than 4999 bytes"), "{error}");
}

#[test]
fn what_a_node_says_is_understood() {
    type Check = fn(&ChainError) -> bool;
    let table: [(&str, Check); 10] = [
        ("already known", |e| matches!(e, ChainError::Known)),
        ("transaction already imported", |e| matches!(e, ChainError::Known)),
        ("nonce too low: next nonce 5, tx nonce 4", |e| matches!(e, ChainError::NonceUsed(_))),
        ("insufficient funds for gas * price + value", |e| matches!(e, ChainError::Refused(_))),
        ("Insufficient funds for gas * price + value", |e| matches!(e, ChainError::Refused(_))),
        ("replacement transaction underpriced", |e| matches!(e, ChainError::Underpriced(_))),
        ("transaction underpriced", |e| matches!(e, ChainError::Underpriced(_))),
        ("txpool is full", |e| matches!(e, ChainError::Away(_))),
        ("execution reverted", |e| matches!(e, ChainError::Reverted(data) if data.is_empty())),
        ("something new", |e| matches!(e, ChainError::Away(_))),
    ];
    for (message, expected) in table {
        let got = said(&ErrorPayload { code: -32_000, message: Cow::Borrowed(message), data: None });
        assert!(expected(&got), "{message}: {got:?}");
    }
    let data = serde_json::value::to_raw_value("0x01020304").unwrap();
    let reverted = ErrorPayload { code: 3, message: Cow::Borrowed("execution reverted"), data: Some(data) };
    assert_eq!(said(&reverted), ChainError::Reverted(Bytes::from_static(&[1, 2, 3, 4])));
}

/// What reverts by the newest block's clock may pass by that of the block to come; only then is the node asked for it.
#[tokio::test]
async fn a_call_is_tried_on_the_newest_block_and_only_then_on_the_one_to_come() {
    const REVERTED: &str = r#""error":{"code":3,"message":"execution reverted","data":"0x01"}"#;
    let table = [
        (r#""result":"0x0a""#, r#""result":"0x0b""#, Ok(Bytes::from_static(&[0x0a]))),
        (REVERTED, r#""result":"0x0b""#, Ok(Bytes::from_static(&[0x0b]))),
        (REVERTED, REVERTED, Err(ChainError::Reverted(Bytes::from_static(&[1])))),
        (
            r#""error":{"code":-32000,"message":"insufficient funds"}"#,
            r#""result":"0x0b""#,
            Err(ChainError::Refused("insufficient funds".into())),
        ),
    ];
    for (latest, pending, expected) in table {
        let url = node_that(move |request| {
            let said = match request {
                chain if chain.contains("eth_chainId") => r#""result":"0x1""#,
                call if call.contains(r#""latest""#) => latest,
                _ => pending,
            };
            let id = request.split(r#""id":"#).nth(1).and_then(|rest| rest.split([',', '}']).next());
            http("200 OK", &format!(r#"{{"jsonrpc":"2.0","id":{},{said}}}"#, id.unwrap()))
        });
        let config = RpcConfig { url: url.await, chain_id: 1, timeout: Duration::from_secs(5), since: 0 };
        let chain = RpcChain::open(config).await.unwrap();
        let call = Call {
            from: Address::ZERO,
            to: Address::ZERO,
            value: U256::ZERO,
            data: Bytes::new(),
            gas: 21_000,
            max_fee: 0,
        };
        assert_eq!(chain.call(&call).await, expected, "{latest}, {pending}");
    }
}
