//! A double of an Ethereum node, and no evidence of anything but how ours takes a wrong answer: it knows one method,
//! `eth_chainId`, and says that it is chain 5.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};

#[derive(Debug)]
pub(crate) struct ChainOfAnotherId(SocketAddr);

impl ChainOfAnotherId {
    /// Answers until the test's process ends.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(&stream);
                let (mut line, mut length) = (String::new(), 0);
                while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                    let lower = line.to_lowercase();
                    if let Some(value) = lower.strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap_or(0);
                    }
                    line.clear();
                }
                let mut body = vec![0; length];
                if reader.read_exact(&mut body).is_err() {
                    continue;
                }
                let asked: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
                let answer =
                    serde_json::json!({ "jsonrpc": "2.0", "id": asked["id"], "result": "0x5" }).to_string();
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length";
                // Who has gone away wants no answer.
                let _ = write!(&stream, "{head}: {}\r\n\r\n{answer}", answer.len());
            }
        });
        Self(address)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.0)
    }
}
