//! The books: accounts, held legs and signed statements in PostgreSQL. One request is one SQL transaction, and all of it
//! happens or nothing. Row locks are taken in one order (leg, account, book), so that no two requests wait for each
//! other in a circle.
//!
//! Left out: a pool of connections. Each request opens one, at most [`MAX_CONNECTIONS`] at once.

use ed25519_dalek::SigningKey;
use sofie_model::custodian::{
    About, Act, Judged, MAX_REQUEST, Request, Value, check_refund, check_same, check_settle,
};
use sofie_model::proof::evm::Settlement;
use sofie_model::proof::statement::{Signed, Statement};
use sofie_model::{
    Account, Digest, Evidence, Fact, LedgerId, LegId, Position, Proof, Terms, Timestamp, Txid, canonical,
};
use tokio::sync::Semaphore;
use tokio_postgres::{Client, Config, NoTls, Row, Transaction};

/// So many requests work on the database at once; more wait.
const MAX_CONNECTIONS: usize = 16;
/// The longest stored statement.
const MAX_STATEMENT: usize = 2048;

/// Why a request was not carried out.
#[derive(Debug)]
pub(crate) enum No {
    /// The rules or the books are against it.
    Refused(String),
    /// D has decided otherwise before: who is to blame.
    Twice(String),
    /// The database is away or in a tangle: the same request may be made again.
    Away(String),
}

impl From<tokio_postgres::Error> for No {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Away(error.to_string())
    }
}

/// The open books.
pub(crate) struct Books {
    postgres: Config,
    places: Semaphore,
    pub(crate) ledger: LedgerId,
    key: SigningKey,
}

/// What a leg's row says.
struct Found {
    state: String,
    decided_at: Timestamp,
    /// That D decided, by which the leg was moved.
    decision: Option<Proof>,
}

/// How a step changes a leg: its new state, whom its value goes to, and what is stated.
struct Change {
    state: &'static str,
    pays: Option<Account>,
    fact: Fact,
    settlement: Option<Settlement>,
}

impl Books {
    /// Makes the tables that are not there yet.
    pub(crate) async fn open(postgres: Config, ledger: LedgerId, key: SigningKey) -> Result<Self, No> {
        let books = Self { postgres, places: Semaphore::new(MAX_CONNECTIONS), ledger, key };
        books.connect().await?.batch_execute(include_str!("schema.sql")).await?;
        Ok(books)
    }

    pub(crate) fn public_key(&self) -> Digest {
        Digest(self.key.verifying_key().to_bytes())
    }

    /// How far the books are.
    pub(crate) async fn about(&self, now: Timestamp) -> Result<About, No> {
        let _place = self.places.acquire().await;
        let row = self.connect().await?.query_one("select height, at from book", &[]).await?;
        let (ledger, key) = (self.ledger.clone(), self.public_key());
        let at = now.max(Timestamp::from_millis(row.get::<_, i64>(1) as u64));
        Ok(About { ledger, key, height: row.get::<_, i64>(0) as u64, at })
    }

    /// What was stated of a leg so far.
    pub(crate) async fn history(&self, txid: Txid, leg: LegId) -> Result<Vec<Signed>, No> {
        let _place = self.places.acquire().await;
        let mut client = self.connect().await?;
        stated(&client.transaction().await?, txid, leg).await
    }

    /// Carries out what was checked; what was done already is told again.
    pub(crate) async fn carry_out(
        &self,
        request: &Request,
        value: Value,
        judged: Option<&Judged>,
        now: Timestamp,
    ) -> Result<Vec<Signed>, No> {
        let _place = self.places.acquire().await;
        let (txid, leg) = (request.manifest.txid(), request.leg);
        let mut client = self.connect().await?;
        let books = client.transaction().await?;
        let change = match &request.act {
            Act::Hold { .. } => hold(&books, txid, leg, value).await?,
            act => {
                let found = lock(&books, txid, leg).await?;
                self::change(request, act, value, judged, &found, now)?
            }
        };
        if let Some(change) = change {
            self.write(&books, request, value, change, judged, now).await?;
        }
        let history = stated(&books, txid, leg).await?;
        books.commit().await?;
        Ok(history)
    }

    async fn write(
        &self,
        books: &Transaction<'_>,
        request: &Request,
        value: Value,
        change: Change,
        judged: Option<&Judged>,
        now: Timestamp,
    ) -> Result<(), No> {
        let (txid, leg) = (request.manifest.txid(), request.leg);
        let decided_at = judged.map(|judged| judged.at.as_millis() as i64);
        let decision = decision(&request.act).map(canonical::encode);
        let update = "update legs set state = $3, decided_at = coalesce($4, decided_at),
                      decision = coalesce($5, decision) where txid = $1 and leg = $2";
        let (id, number) = (txid.0.0.as_slice(), i32::from(leg.0));
        books.execute(update, &[&id, &number, &change.state, &decided_at, &decision]).await?;
        if let Some(account) = change.pays {
            let pay = "update accounts set balance = balance + $2::text::numeric where account = $1";
            let paid = books.execute(pay, &[&account.0.as_slice(), &value.amount.to_string()]).await?;
            if paid != 1 {
                return Err(No::Refused(format!("{account} has no account here")));
            }
        }
        self.state(books, (txid, leg), change, now).await
    }

    /// Signs the statement and appends it. The book's row is locked last and shortest.
    async fn state(
        &self,
        books: &Transaction<'_>,
        (txid, leg): (Txid, LegId),
        change: Change,
        now: Timestamp,
    ) -> Result<(), No> {
        let row = books.query_one("select height, at, reference from book for update", &[]).await?;
        let height = row.get::<_, i64>(0) + 1;
        let at = now.max(Timestamp::from_millis(row.get::<_, i64>(1) as u64));
        let said = canonical::encode(&change.fact);
        let time = at.as_millis().to_be_bytes();
        let reference = Digest::of("sofie.custodian.book.v1", &[row.get::<_, &[u8]>(2), &said, &time]);
        let position = Position { height: height as u64, index: 0, reference };
        let evidence = Evidence { ledger: self.ledger.clone(), fact: change.fact, position, at };
        let signed = Statement { evidence, settlement: change.settlement }.sign(&self.key);
        let body = canonical::encode(&signed);
        let (id, number, millis) = (txid.0.0.as_slice(), i32::from(leg.0), at.as_millis() as i64);
        books
            .execute("insert into statements values ($1, $2, $3, $4)", &[&height, &id, &number, &body])
            .await?;
        let update = "update book set height = $1, at = $2, reference = $3";
        books.execute(update, &[&height, &millis, &reference.0.as_slice()]).await?;
        Ok(())
    }

    async fn connect(&self) -> Result<Client, No> {
        let (client, connection) = self.postgres.connect(NoTls).await?;
        // It ends with its client; what went wrong on it, the client is told.
        tokio::spawn(async move { drop(connection.await) });
        Ok(client)
    }
}

/// Takes the value from the payer, once.
async fn hold(books: &Transaction<'_>, txid: Txid, leg: LegId, value: Value) -> Result<Option<Change>, No> {
    let (id, number, amount) = (txid.0.0.as_slice(), i32::from(leg.0), value.amount.to_string());
    // Whoever holds the same leg at the same time is waited for here.
    let insert = "insert into legs (txid, leg, state, amount) values ($1, $2, 'held', $3::text::numeric)
                  on conflict do nothing";
    if books.execute(insert, &[&id, &number, &amount]).await? == 0 {
        return Ok(None);
    }
    let payee = value.payee.0.as_slice();
    if books.query_opt("select 1 from accounts where account = $1", &[&payee]).await?.is_none() {
        return Err(No::Refused(format!("{} has no account here", value.payee)));
    }
    let take = "update accounts set balance = balance - $2::text::numeric
                where account = $1 and balance >= $2::text::numeric";
    if books.execute(take, &[&value.payer.0.as_slice(), &amount]).await? == 0 {
        return Err(No::Refused(format!("{} does not have {amount}", value.payer)));
    }
    Ok(Some(Change { state: "held", pays: None, fact: Fact::Prepared(txid, leg), settlement: None }))
}

/// The leg's row, until the end of the SQL transaction for this request alone.
async fn lock(books: &Transaction<'_>, txid: Txid, leg: LegId) -> Result<Found, No> {
    let select = "select state, decided_at, decision from legs where txid = $1 and leg = $2 for update";
    let row = books.query_opt(select, &[&txid.0.0.as_slice(), &i32::from(leg.0)]).await?;
    let row = row.ok_or_else(|| No::Refused(format!("{leg} of {txid} was never held")))?;
    let decided_at = row.get::<_, Option<i64>>(1).unwrap_or_default() as u64;
    let decision =
        row.get::<_, Option<&[u8]>>(2).map(|body| canonical::decode(body, MAX_REQUEST)).transpose();
    let decision = decision.map_err(damaged)?;
    Ok(Found { state: row.get(0), decided_at: Timestamp::from_millis(decided_at), decision })
}

/// The proof that a request brings of D's decision.
const fn decision(act: &Act) -> Option<&Proof> {
    match act {
        Act::Release { decision } | Act::Return { decision } => Some(decision),
        Act::Hold { .. } | Act::Settle { .. } | Act::Refund => None,
    }
}

fn damaged(bad: canonical::Error) -> No {
    No::Away(format!("damaged books: {bad}"))
}

/// What `act` does to a leg in this state; nothing if it was done before.
fn change(
    request: &Request,
    act: &Act,
    value: Value,
    judged: Option<&Judged>,
    found: &Found,
    now: Timestamp,
) -> Result<Option<Change>, No> {
    let (manifest, leg) = (&request.manifest, request.leg);
    let (txid, state) = (manifest.txid(), found.state.as_str());
    let escrow = matches!(manifest.leg(leg).map(|leg| &leg.terms), Some(Terms::Escrow(_)));
    let refused = |why: String| Err(No::Refused(why));
    let moved = |state, pays, fact| Ok(Some(Change { state, pays, fact, settlement: None }));
    let included = judged.is_some_and(|judged| judged.included);
    if let (Some(before), Some(now)) = (&found.decision, decision(act)) {
        check_same(manifest, leg, before, now).map_err(No::Twice)?;
    }
    match (act, state) {
        (Act::Release { .. }, _) if !included => refused(format!("D's decision does not include {leg}")),
        (Act::Release { .. }, "held") if escrow => moved("armed", None, Fact::Applied(txid, leg)),
        (Act::Release { .. }, "held") => moved("paid", Some(value.payee), Fact::Applied(txid, leg)),
        (Act::Return { .. }, _) if included => refused(format!("D's decision is COMMIT with {leg}")),
        (Act::Return { .. }, "held") => moved("returned", Some(value.payer), Fact::Reverted(txid, leg)),
        (Act::Settle { attestation }, "armed") => {
            check_settle(manifest, leg, attestation, found.decided_at, now).map_err(No::Refused)?;
            let said = &attestation.attestation;
            let settlement = Settlement { leg, observation: said.observation, observed_at: said.observed_at };
            let fact = Fact::Settled(txid, leg);
            Ok(Some(Change { state: "settled", pays: Some(value.payee), fact, settlement: Some(settlement) }))
        }
        (Act::Refund, "armed") => {
            check_refund(manifest, leg, now).map_err(No::Refused)?;
            moved("refunded", Some(value.payer), Fact::Refunded(txid, leg))
        }
        // Done before, by whomever.
        (Act::Release { .. }, "armed" | "paid" | "settled" | "refunded") => Ok(None),
        (Act::Return { .. }, "returned") | (Act::Settle { .. }, "settled") | (Act::Refund, "refunded") => {
            Ok(None)
        }
        (_, state) => refused(format!("{leg} is {state}")),
    }
}

async fn stated(books: &Transaction<'_>, txid: Txid, leg: LegId) -> Result<Vec<Signed>, No> {
    let select = "select body from statements where txid = $1 and leg = $2 order by height";
    let rows = books.query(select, &[&txid.0.0.as_slice(), &i32::from(leg.0)]).await?;
    let read = |row: &Row| canonical::decode(row.get::<_, &[u8]>(0), MAX_STATEMENT);
    rows.iter().map(read).collect::<Result<_, _>>().map_err(damaged)
}
