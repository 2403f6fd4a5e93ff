//! A double of a custodian: the HTTP API over a map, with the checks of `sofie_model::custodian`. It is not evidence that
//! anybody else's custodian works, and can be told to misbehave.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use ed25519_dalek::SigningKey;
use sofie_ledgers::{Clock, Ledger, Status};
use sofie_model::custodian::{self, About, Act, Request, Value};
use sofie_model::proof::evm::Settlement;
use sofie_model::proof::statement::{Signed, Statement};
use sofie_model::{
    Account, Anchor, Decide, Digest, Evidence, Fact, LedgerId, LegId, Operation, Position, Terms, Timestamp,
    Txid, canonical,
};
use url::Url;

/// What a custodian does to its answers.
pub(crate) type Mood = fn(&mut Vec<Signed>);

type Answer = (StatusCode, Vec<u8>);

pub(crate) struct Books {
    pub(crate) balances: BTreeMap<Account, u128>,
    legs: BTreeMap<(Txid, LegId), (Timestamp, Vec<Signed>)>,
    pub(crate) height: u64,
    at: Timestamp,
    pub(crate) mood: Mood,
    /// Answers with this instead of anything.
    pub(crate) says: Option<Answer>,
}

pub(crate) struct Double {
    pub(crate) ledger: LedgerId,
    pub(crate) key: SigningKey,
    pub(crate) clock: Clock,
    /// Its own view of D.
    pub(crate) d: Arc<dyn Ledger>,
    pub(crate) books: Mutex<Books>,
}

impl Books {
    pub(crate) fn new(balances: BTreeMap<Account, u128>) -> Self {
        let (legs, height, at) = (BTreeMap::new(), 0, Timestamp::default());
        Self { balances, legs, height, at, mood: |_| {}, says: None }
    }

    fn pay(&mut self, from: Option<Account>, to: Option<Account>, amount: u128) -> Result<(), String> {
        if let Some(from) = from {
            let held = self.balances.entry(from).or_default();
            *held = held.checked_sub(amount).ok_or("not enough")?;
        }
        if let Some(to) = to {
            *self.balances.entry(to).or_default() += amount;
        }
        Ok(())
    }
}

/// Serves until the runtime ends.
pub(crate) async fn serve(double: Arc<Double>) -> Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let routes = Router::new()
        .route("/v1/head", get(head))
        .route("/v1/legs/{txid}/{leg}", get(history))
        .route("/v1/legs", post(carry_out))
        .with_state(double);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    url
}

async fn head(State(double): State<Arc<Double>>) -> Answer {
    let books = double.books.lock().unwrap();
    let (ledger, key) = (double.ledger.clone(), Digest(double.key.verifying_key().to_bytes()));
    let about = About { ledger, key, height: books.height, at: (double.clock)().max(books.at) };
    books.says.clone().unwrap_or((StatusCode::OK, canonical::encode(&about)))
}

async fn history(State(double): State<Arc<Double>>, Path((txid, leg)): Path<(String, u16)>) -> Answer {
    double.answer((txid.parse().unwrap(), LegId(leg)))
}

async fn carry_out(State(double): State<Arc<Double>>, body: Bytes) -> Answer {
    let request = Request::from_bytes(&body).unwrap();
    match double.carry_out(&request).await {
        Ok(()) => double.answer((request.manifest.txid(), request.leg)),
        Err(why) => (StatusCode::CONFLICT, why.into_bytes()),
    }
}

impl Double {
    fn answer(&self, leg: (Txid, LegId)) -> Answer {
        let books = self.books.lock().unwrap();
        let mut all = books.legs.get(&leg).map(|(_, all)| all.clone()).unwrap_or_default();
        (books.mood)(&mut all);
        books.says.clone().unwrap_or((StatusCode::OK, canonical::encode(&all)))
    }

    async fn carry_out(&self, request: &Request) -> Result<(), String> {
        let (manifest, leg) = (&request.manifest, request.leg);
        let id = (manifest.txid(), leg);
        let key = Digest(self.key.verifying_key().to_bytes());
        let known = self.books.lock().unwrap().legs.contains_key(&id);
        if known && matches!(request.act, Act::Hold { .. }) {
            return Ok(());
        }
        let value = request.check(&self.ledger, &key, (self.clock)())?;
        let decided = match &request.act {
            Act::Hold { .. } if self.decided(request).await.is_some() => return Err("D has decided".into()),
            Act::Release { decision } | Act::Return { decision } => {
                let judged = custodian::judge(manifest, leg, decision)?;
                let Anchor::Evm { .. } = judged.anchor else { return Err("not a chain".into()) };
                let d = self.decided(request).await.ok_or("D has not decided")?;
                if d.at != judged.at {
                    return Err("D has decided at another time".into());
                }
                Some((judged.at, judged.included))
            }
            _ => None,
        };
        self.change(request, value, decided)
    }

    /// The decision, read from D by itself.
    async fn decided(&self, request: &Request) -> Option<Evidence> {
        let manifest = Arc::new(request.manifest.clone());
        let decide = Decide::Abort { by: Account::ZERO, signatures: vec![] };
        match self.d.status(&Operation::Decide { manifest, decide }, None).await {
            Ok(Status::Final(evidence)) => Some(evidence),
            _ => None,
        }
    }

    fn change(
        &self,
        request: &Request,
        value: Value,
        decided: Option<(Timestamp, bool)>,
    ) -> Result<(), String> {
        let mut books = self.books.lock().unwrap();
        let (manifest, leg) = (&request.manifest, request.leg);
        let (txid, now) = (manifest.txid(), (self.clock)());
        let (decided_at, stated) = books.legs.get(&(txid, leg)).cloned().unwrap_or_default();
        let escrow = matches!(manifest.legs[usize::from(leg.0)].terms, Terms::Escrow(_));
        let last = stated.last().map(|one| one.statement.evidence.fact.clone());
        let (fact, from, to, settlement) = match (&request.act, &last) {
            (Act::Hold { .. }, None) => (Fact::Prepared(txid, leg), Some(value.payer), None, None),
            (Act::Release { .. }, Some(Fact::Prepared(..))) if decided.is_some_and(|(_, yes)| yes) => {
                (Fact::Applied(txid, leg), None, (!escrow).then_some(value.payee), None)
            }
            (Act::Return { .. }, Some(Fact::Prepared(..))) if decided.is_some_and(|(_, yes)| !yes) => {
                (Fact::Reverted(txid, leg), None, Some(value.payer), None)
            }
            (Act::Settle { attestation }, Some(Fact::Applied(..))) => {
                custodian::check_settle(manifest, leg, attestation, decided_at, now)?;
                let said = attestation.attestation;
                let settlement =
                    Settlement { leg, observation: said.observation, observed_at: said.observed_at };
                (Fact::Settled(txid, leg), None, Some(value.payee), Some(settlement))
            }
            (Act::Refund, Some(Fact::Applied(..))) => {
                custodian::check_refund(manifest, leg, now)?;
                (Fact::Refunded(txid, leg), None, Some(value.payer), None)
            }
            (Act::Release { .. }, Some(Fact::Applied(..) | Fact::Settled(..) | Fact::Refunded(..)))
            | (Act::Return { .. }, Some(Fact::Reverted(..)))
            | (Act::Settle { .. }, Some(Fact::Settled(..)))
            | (Act::Refund, Some(Fact::Refunded(..))) => return Ok(()),
            (_, last) => return Err(format!("{leg} is {last:?}")),
        };
        books.pay(from, to, value.amount)?;
        books.height += 1;
        books.at = books.at.max(now);
        let position = Position { height: books.height, index: 0, reference: Digest::ZERO };
        let evidence = Evidence { ledger: self.ledger.clone(), fact, position, at: books.at };
        let signed = Statement { evidence, settlement }.sign(&self.key);
        let entry = books.legs.entry((txid, leg)).or_default();
        entry.0 = decided.map_or(entry.0, |(at, _)| at);
        entry.1.push(signed);
        Ok(())
    }
}
