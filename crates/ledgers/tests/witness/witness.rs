//! Witnesses in this process, behind a real door: one that keeps the rules, judged by Cloudflare's port of Go's reference
//! implementation, and some that do not.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sofie_ledgers::calendar::SigningKey;
use sofie_model::proof::calendar::{Checkpoint, Cosignature, WitnessKey};
use sofie_model::{Digest, Timestamp};
use tlog_tiles::Hash;

use crate::log_key;

/// What a witness does when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Honest,
    /// Signs another checkpoint.
    Another,
    /// Signs with another key.
    ForeignKey,
    /// Answers with nonsense.
    Nonsense,
    /// Says each time that it has seen another size.
    Wanders,
    /// Says that it has seen more than there is.
    Ahead,
    /// Never answers.
    Silent,
    /// Answers without end.
    Floods,
    /// Is out of order.
    Broken,
}

pub(crate) struct Double {
    pub(crate) key: WitnessKey,
    pub(crate) url: String,
    manner: Arc<Mutex<Manner>>,
}

struct Inside {
    name: String,
    key: SigningKey,
    manner: Arc<Mutex<Manner>>,
    seen: Mutex<(u64, Hash)>,
}

impl Double {
    pub(crate) async fn start(number: u8, manner: Manner) -> Self {
        let (name, key) = (format!("witness.example/w{number}"), SigningKey::from_bytes(&[number; 32]));
        let public = WitnessKey { name: name.clone(), key: Digest(key.verifying_key().to_bytes()) };
        let manner = Arc::new(Mutex::new(manner));
        let seen = Mutex::new((0, tlog_tiles::EMPTY_HASH));
        let inside = Arc::new(Inside { name, key, manner: Arc::clone(&manner), seen });
        let router = Router::new().route("/w/add-checkpoint", post(add_checkpoint)).with_state(inside);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/w", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { key: public, url, manner }
    }

    pub(crate) fn behave(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }
}

async fn add_checkpoint(State(inside): State<Arc<Inside>>, body: String) -> (StatusCode, String) {
    let manner = *inside.manner.lock().unwrap();
    match manner {
        Manner::Silent => std::future::pending().await,
        Manner::Floods => (StatusCode::OK, "\u{2014} x ".repeat(10_000)),
        Manner::Nonsense => (StatusCode::OK, "\u{2014} nothing of the kind\n".into()),
        Manner::Broken => (StatusCode::SERVICE_UNAVAILABLE, "its disk\u{1b}[2J is full".into()),
        Manner::Ahead => (StatusCode::CONFLICT, "4000000\n".into()),
        Manner::Wanders => {
            let mut seen = inside.seen.lock().unwrap();
            seen.0 = (seen.0 + 1) % 2;
            (StatusCode::CONFLICT, format!("{}\n", seen.0))
        }
        Manner::Honest | Manner::Another | Manner::ForeignKey => inside.judge(&body, manner),
    }
}

impl Inside {
    fn judge(&self, body: &str, manner: Manner) -> (StatusCode, String) {
        let (head, note) = body.split_once("\n\n").unwrap();
        let mut lines = head.lines();
        let old: u64 = lines.next().unwrap().strip_prefix("old ").unwrap().parse().unwrap();
        let path: Vec<_> =
            lines.map(|line| Hash(STANDARD.decode(line).unwrap().try_into().unwrap())).collect();
        let log = Digest(log_key().verifying_key().to_bytes());
        let checkpoint = Checkpoint::verify(note, &log).unwrap();
        let mut seen = self.seen.lock().unwrap();
        if old != seen.0 {
            return (StatusCode::CONFLICT, format!("{}\n", seen.0));
        }
        let root = Hash(checkpoint.root.0);
        let goes_on = match old {
            0 => path.is_empty(),
            old if old == checkpoint.size => path.is_empty() && root == seen.1,
            old => tlog_tiles::check_tree(&path, checkpoint.size, root, old, seen.1).is_ok(),
        };
        if !goes_on {
            return (StatusCode::UNPROCESSABLE_ENTITY, "it does not go on from what was seen".into());
        }
        *seen = (checkpoint.size, root);
        let at = Timestamp::from_seconds(1_800_000_001);
        let foreign = SigningKey::from_bytes(&[99; 32]);
        let one = match manner {
            Manner::Another => {
                let other = Checkpoint { size: checkpoint.size + 1, ..checkpoint };
                Cosignature::sign(&self.name, &self.key, &other, at)
            }
            Manner::ForeignKey => {
                let own = Digest(self.key.verifying_key().to_bytes());
                Cosignature { key: own, ..Cosignature::sign(&self.name, &foreign, &checkpoint, at) }
            }
            _ => Cosignature::sign(&self.name, &self.key, &checkpoint, at),
        };
        (StatusCode::OK, format!("{}\n", one.line()))
    }
}
