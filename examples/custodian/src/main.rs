//! A custodian: accounts in PostgreSQL that hold value for legs of transactions on several ledgers, by the HTTP API of
//! docs/specs/custodian.md. An operator's own accounts would take the place of the table `accounts`.
//!
//! `custodian CONFIG.toml` (see README.md beside it). It trusts no one who asks: a hold needs the payer's signature, and a
//! release or a return D's decision, which it verifies by itself. Stop it as you like, kill -9 too: the database is the
//! state.
//!
//! Left out: TLS (put a proxy before it, as for PostgreSQL on another machine), and opening accounts (see schema.sql).

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of its own, with no log but these lines"
)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path as At, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{BoxError, Router};
use ed25519_dalek::SigningKey;
use serde::Deserialize;
use sofie_model::custodian::{Act, MAX_REASON, MAX_REQUEST, Request};
use sofie_model::proof::statement::Signed;
use sofie_model::{Digest, LedgerId, LegId, Timestamp, Txid, canonical};

mod books;
mod group;
mod judge;

use books::{Books, No};
use group::Quorum;
use judge::{Chain, Judge, Log};

/// How long one request may take, and one question to D's node.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    ledger: LedgerId,
    listen: SocketAddr,
    /// As libpq writes it: `host=/run/postgresql user=bank dbname=bank`.
    postgres: String,
    key_file: PathBuf,
    #[serde(default)]
    chain: Vec<Chain>,
    #[serde(default)]
    log: Vec<Log>,
    #[serde(default)]
    quorum: Vec<Quorum>,
}

struct Custodian {
    books: Books,
    judge: Judge,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let file = std::env::args_os().nth(1).ok_or("usage: custodian CONFIG.toml")?;
    let config: Config = toml::from_str(&std::fs::read_to_string(file)?)?;
    let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
    let groups = config.quorum.into_iter().map(Quorum::read).collect::<Result<_, _>>();
    let groups =
        groups.map_err(|bad| format!("[[quorum]] members: {bad}: correct them in the configuration"))?;
    let judge = Judge { chains: config.chain, logs: config.log, groups, http };
    let books = Books::open(config.postgres.parse()?, config.ledger, key(&config.key_file)?).await;
    let books = books.map_err(|no| format!("the database does not open: {no:?}"))?;
    let listener = tokio::net::TcpListener::bind(config.listen).await?;
    println!("custodian {} of key {} on {}", books.ledger, books.public_key(), listener.local_addr()?);
    let routes = Router::new()
        .route("/v1/head", get(head))
        .route("/v1/legs/{txid}/{leg}", get(history))
        .route("/v1/legs", post(carry_out))
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .with_state(Arc::new(Custodian { books, judge }));
    axum::serve(listener, routes).await?;
    Ok(())
}

/// The signing key; made when there is none.
fn key(file: &Path) -> Result<SigningKey, BoxError> {
    if !file.exists() {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        write_secret(file, &hex::encode(secret))?;
    }
    let secret: Digest = std::fs::read_to_string(file)?.trim().parse()?;
    Ok(SigningKey::from_bytes(&secret.0))
}

#[cfg(unix)]
fn write_secret(file: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(not(unix))]
fn write_secret(_: &Path, _: &str) -> std::io::Result<()> {
    Err(std::io::Error::other("make the key file by hand: 64 hexadecimal digits that nobody else can read"))
}

async fn head(State(custodian): State<Arc<Custodian>>) -> Response {
    answered(custodian.books.about(now()), canonical::encode).await
}

async fn history(State(custodian): State<Arc<Custodian>>, At((txid, leg)): At<(String, u16)>) -> Response {
    let Ok(txid) = txid.parse::<Txid>() else {
        return (StatusCode::BAD_REQUEST, "not a txid").into_response();
    };
    answered(custodian.books.history(txid, LegId(leg)), |all: &Vec<Signed>| canonical::encode(all)).await
}

async fn carry_out(State(custodian): State<Arc<Custodian>>, body: Bytes) -> Response {
    let request = match Request::from_bytes(&body) {
        Ok(request) => request,
        Err(bad) => return (StatusCode::BAD_REQUEST, bad.to_string()).into_response(),
    };
    answered(custodian.carry_out(&request), |all: &Vec<Signed>| canonical::encode(all)).await
}

impl Custodian {
    async fn carry_out(&self, request: &Request) -> Result<Vec<Signed>, No> {
        let (manifest, leg) = (&request.manifest, request.leg);
        // What stands is told again, whatever the time is.
        let stands = self.books.history(manifest.txid(), leg).await?;
        if matches!(request.act, Act::Hold { .. }) && !stands.is_empty() {
            return Ok(stands);
        }
        let about = self.books.about(now()).await?;
        let value = request.check(&about.ledger, &about.key, about.at).map_err(No::Refused)?;
        let judged = match &request.act {
            Act::Hold { .. } => {
                self.judge.before_hold(manifest).await?;
                None
            }
            Act::Release { decision } | Act::Return { decision } => {
                Some(self.judge.decision(manifest, leg, decision).await?)
            }
            Act::Settle { .. } | Act::Refund => None,
        };
        self.books.carry_out(request, value, judged.as_ref(), about.at).await
    }
}

/// The status codes of the specification.
async fn answered<T>(work: impl Future<Output = Result<T, No>>, encode: impl Fn(&T) -> Vec<u8>) -> Response {
    let cut = |mut reason: String| {
        reason.truncate(reason.floor_char_boundary(MAX_REASON));
        reason
    };
    match tokio::time::timeout(TIMEOUT, work).await {
        Ok(Ok(done)) => ([("content-type", "application/cbor")], encode(&done)).into_response(),
        Ok(Err(No::Refused(reason))) => (StatusCode::CONFLICT, cut(reason)).into_response(),
        Ok(Err(No::Twice(reason))) => {
            eprintln!(
                "custodian: {reason}: both proofs are in the books or were refused just now; believe it no longer"
            );
            (StatusCode::CONFLICT, cut(reason)).into_response()
        }
        Ok(Err(No::Away(reason))) => {
            eprintln!("custodian: {reason}");
            (StatusCode::SERVICE_UNAVAILABLE, "try again later").into_response()
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "it takes too long").into_response(),
    }
}

#[allow(clippy::disallowed_methods, reason = "a program of its own: here its clock is read")]
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
