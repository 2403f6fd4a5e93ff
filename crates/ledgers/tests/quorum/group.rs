//! Four doors on loopback, the members behind them, and a record of all that members said to each other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use ed25519_dalek::SigningKey;
use k256::ecdsa::SigningKey as AccountKey;
use sofie_ledgers::conformance::{Failure, Harness, Site};
use sofie_ledgers::quorum::{Config, Member, MemberConfig, NotTaken, OpenError, Quorum, Seated, profile};
use sofie_ledgers::{Clock, Ledger};
use sofie_model::manifest::{DecisionSite, Participant};
use sofie_model::quorum::{Bundle, Kind, MAX_BUNDLE};
use sofie_model::{
    Account, Attestation, Class, Decide, Digest, Finality, Leg, Manifest, Operation, Rule, SignedAttestation,
    Span, Terms, Timestamp, Txid, canonical,
};

/// How fast rounds are here: some times the way of a message on loopback.
const PACE: Span = Span::from_millis(100);

pub(crate) type Answer = (StatusCode, Vec<u8>);
/// A member that does not do as it should: what it answers to a path and a body.
pub(crate) type Liar = Arc<dyn Fn(&str, &[u8]) -> Answer + Send + Sync>;

/// Who is behind a door.
#[derive(Clone)]
pub(crate) enum Behind {
    Nobody,
    Honest(Arc<Member>),
    Lies(Liar),
}

/// All that members said in bundles, and a signal for each.
#[derive(Default)]
pub(crate) struct Record {
    said: Mutex<Vec<Bundle>>,
    pub(crate) news: tokio::sync::Notify,
}

impl Record {
    fn hear(&self, bytes: &[u8]) {
        if let Ok(bundle) = canonical::decode::<Bundle>(bytes, MAX_BUNDLE) {
            self.said.lock().unwrap().push(bundle);
            self.news.notify_waiters();
        }
    }

    /// Every value that `member` signed, by transaction, round and kind.
    pub(crate) fn votes_of(&self, member: u8) -> BTreeMap<(Txid, u32, Kind), Vec<Option<Digest>>> {
        let mut votes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let mut add = |txid, round, kind, value| {
            let values = votes.entry((txid, round, kind)).or_default();
            if !values.contains(&value) {
                values.push(value);
            }
        };
        for bundle in self.said.lock().unwrap().iter() {
            let txid = bundle.manifest.txid();
            for vote in bundle.votes.iter().filter(|vote| vote.member == member) {
                add(txid, vote.round, vote.kind, vote.value);
            }
            let certified = [(&bundle.lock, Kind::Prevote), (&bundle.decided, Kind::Precommit)];
            for (certificate, kind) in
                certified.into_iter().filter_map(|(one, kind)| Some((one.as_ref()?, kind)))
            {
                if certificate.votes.signatures.iter().any(|(signer, _)| *signer == member) {
                    add(txid, certificate.votes.round, kind, Some(certificate.value.id()));
                }
            }
        }
        votes
    }
}

/// The group. Its doors stay where they are when members come and go.
pub(crate) struct Group {
    pub(crate) seated: Vec<Seated>,
    pub(crate) keys: Vec<SigningKey>,
    doors: Vec<Arc<RwLock<Behind>>>,
    pub(crate) record: Arc<Record>,
    clock: Clock,
    /// T_D of all its transactions.
    deadline: Timestamp,
    pub(crate) folder: tempfile::TempDir,
}

/// The members' keys, in the group's order.
pub(crate) fn keys() -> Vec<SigningKey> {
    let mut keys: Vec<_> = (0x21..=0x24).map(|byte| SigningKey::from_bytes(&[byte; 32])).collect();
    keys.sort_by_key(|key| key.verifying_key().to_bytes());
    keys
}

impl Group {
    /// Four doors with nobody behind them.
    pub(crate) async fn new(clock: Clock) -> Self {
        let record = Arc::new(Record::default());
        let (mut seated, mut doors) = (Vec::new(), Vec::new());
        for key in keys() {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
            seated.push(Seated { key: Digest(key.verifying_key().to_bytes()), url });
            let door = Arc::new(RwLock::new(Behind::Nobody));
            let routes = routes(Arc::clone(&door), Arc::clone(&record));
            tokio::spawn(async move { axum::serve(listener, routes).await });
            doors.push(door);
        }
        let folder = tempfile::tempdir().unwrap();
        let deadline = Timestamp::from_seconds(clock().as_seconds() + 600);
        Self { seated, keys: keys(), doors, record, clock, deadline, folder }
    }

    pub(crate) fn path(&self, member: usize) -> PathBuf {
        self.folder.path().join(format!("{member}.member"))
    }

    pub(crate) fn open(&self, member: usize) -> Result<Member, OpenError> {
        let config = MemberConfig { members: self.seated.clone(), path: self.path(member), pace: PACE };
        Member::open(config, self.keys[member].clone(), Arc::clone(&self.clock))
    }

    pub(crate) fn put(&self, member: usize, behind: Behind) {
        *self.doors[member].write().unwrap() = behind;
    }

    pub(crate) fn start(&self, member: usize) {
        self.put(member, Behind::Honest(Arc::new(self.open(member).unwrap())));
    }

    /// The member is gone at once, whatever it was about to say.
    pub(crate) async fn stop(&self, member: usize) {
        let behind = std::mem::replace(&mut *self.doors[member].write().unwrap(), Behind::Nobody);
        if let Behind::Honest(mut member) = behind {
            // A request that is being answered holds it for a moment.
            loop {
                match Arc::try_unwrap(member) {
                    Ok(member) => break drop(member),
                    Err(held) => member = held,
                }
                tokio::task::yield_now().await;
            }
        }
    }

    pub(crate) fn member(&self, member: usize) -> Arc<Member> {
        match &*self.doors[member].read().unwrap() {
            Behind::Honest(member) => Arc::clone(member),
            _ => panic!("no honest member there"),
        }
    }

    pub(crate) fn ledger(&self) -> Quorum {
        let config = Config { members: self.seated.clone() };
        let ledger = Quorum::open(&config, profile("notaries".parse().unwrap())).unwrap();
        ledger.acting_for([1, 2].map(party))
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// A transaction of two participants and a record elsewhere.
    pub(crate) fn manifest(&self, nonce: u8) -> Arc<Manifest> {
        let participant = |byte| Participant {
            account: Account::from(party(byte).verifying_key()),
            hashlock: Digest::sha256(&[byte; 32]),
        };
        let leg = Leg {
            ledger: "calendar".parse().unwrap(),
            class: Class::Record,
            finality: Finality::Instant,
            required: true,
            terms: Terms::Record(Digest::ZERO),
            fee_limit: 0,
        };
        let contract = self.ledger().account();
        Arc::new(Manifest {
            version: 1,
            legs: vec![leg],
            rule: Rule::All,
            decision: DecisionSite {
                ledger: "notaries".parse().unwrap(),
                chain_id: 0,
                contract,
                finality: Finality::Instant,
                fee_limit: 0,
            },
            deadline: self.deadline,
            grace: Span::ZERO,
            guard: Account::ZERO,
            participants: vec![participant(1), participant(2)],
            nonce: Digest::sha256(&[nonce]),
        })
    }
}

pub(crate) fn party(byte: u8) -> AccountKey {
    AccountKey::from_slice(&[byte; 32]).unwrap()
}

pub(crate) fn commit(manifest: &Arc<Manifest>) -> Operation {
    let preimages = vec![Digest([1; 32]), Digest([2; 32])];
    let decide = Decide::Commit { included: 1, evidence_root: Digest([9; 32]), preimages, guard: None };
    Operation::Decide { manifest: Arc::clone(manifest), decide }
}

pub(crate) fn abort(manifest: &Arc<Manifest>) -> Operation {
    let decide = Decide::Abort { by: manifest.participants[0].account, signatures: vec![] };
    Operation::Decide { manifest: Arc::clone(manifest), decide }
}

#[derive(Clone)]
struct Door(Arc<RwLock<Behind>>, Arc<Record>);

fn routes(door: Arc<RwLock<Behind>>, record: Arc<Record>) -> Router {
    Router::new()
        .route("/api/v1/quorums/{group}/words/{txid}/{nonce}", get(word))
        .route("/api/v1/quorums/{group}/asks/{nonce}", post(ask))
        .route("/api/v1/quorums/{group}/bundles", post(bundle))
        .layer(DefaultBodyLimit::max(MAX_BUNDLE))
        .with_state(Door(door, record))
}

fn behind(door: &Door) -> Behind {
    door.0.read().unwrap().clone()
}

fn nobody() -> Answer {
    (StatusCode::SERVICE_UNAVAILABLE, b"nobody is here".to_vec())
}

/// Of a word, or a bundle, in its bytes.
fn answered(answer: Result<Vec<u8>, NotTaken>) -> Answer {
    match answer {
        Ok(answer) => (StatusCode::OK, answer),
        Err(NotTaken::Malformed(why)) => (StatusCode::BAD_REQUEST, why.into()),
        Err(NotTaken::Refused(why)) => (StatusCode::CONFLICT, why.into()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why.to_string().into()),
    }
}

async fn word(State(door): State<Door>, Path((_, txid, nonce)): Path<(String, String, String)>) -> Answer {
    match behind(&door) {
        Behind::Nobody => nobody(),
        Behind::Lies(liar) => liar(&format!("words/{txid}/{nonce}"), &[]),
        Behind::Honest(member) => {
            let word = member.tell(txid.parse().unwrap(), nonce.parse().unwrap()).await;
            answered(word.map(|word| canonical::encode(&word)))
        }
    }
}

async fn ask(State(door): State<Door>, Path((_, nonce)): Path<(String, String)>, body: Bytes) -> Answer {
    match behind(&door) {
        Behind::Nobody => nobody(),
        Behind::Lies(liar) => liar(&format!("asks/{nonce}"), &body),
        Behind::Honest(member) => {
            let word = member.ask(&body, nonce.parse().unwrap()).await;
            answered(word.map(|word| canonical::encode(&word)))
        }
    }
}

async fn bundle(State(door): State<Door>, body: Bytes) -> Answer {
    door.1.hear(&body);
    let answer = match behind(&door) {
        Behind::Nobody => nobody(),
        Behind::Lies(liar) => liar("bundles", &body),
        Behind::Honest(member) => answered(member.hear(&body).await.map(|told| canonical::encode(&told))),
    };
    door.1.hear(&answer.1);
    answer
}

/// The suite's world: a group whose first member never lives, and a clock that can be moved.
pub(crate) struct Surroundings {
    begun: Instant,
    moved: Arc<AtomicU64>,
    group: Mutex<Option<Arc<Group>>>,
}

impl Surroundings {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), moved: Arc::default(), group: Mutex::default() }
    }

    pub(crate) fn clock(&self) -> Clock {
        let (begun, moved) = (self.begun, Arc::clone(&self.moved));
        Arc::new(move || {
            let real = u64::try_from(begun.elapsed().as_millis()).unwrap();
            Timestamp::from_millis(1_800_000_000_000 + real + moved.load(Ordering::SeqCst))
        })
    }

    fn group(&self) -> Arc<Group> {
        self.group.lock().unwrap().clone().expect("a ledger was opened")
    }
}

#[async_trait]
impl Harness for Surroundings {
    async fn open(&self) -> Result<Arc<dyn Ledger>, Failure> {
        let group = Arc::new(Group::new(self.clock()).await);
        (1..4).for_each(|member| group.start(member));
        *self.group.lock().unwrap() = Some(Arc::clone(&group));
        Ok(Arc::new(group.ledger()))
    }

    async fn reopen(&self, ledger: Arc<dyn Ledger>) -> Result<Arc<dyn Ledger>, Failure> {
        drop(ledger);
        let group = self.group();
        for member in 1..4 {
            group.stop(member).await;
            group.start(member);
        }
        Ok(Arc::new(group.ledger()))
    }

    fn site(&self) -> Site {
        let [payer, payee] = [1, 2].map(|byte| Account::from(party(byte).verifying_key()));
        Site {
            chain_id: 0,
            decision: self.group().ledger().account(),
            escrow: Account::ZERO,
            payer,
            payee,
            evidence_key: payee,
            amount: 0,
            others: vec![],
        }
    }

    fn attest(&self, attestation: Attestation) -> SignedAttestation {
        attestation.sign(&party(2))
    }

    fn fee_limit(&self) -> u128 {
        0
    }

    async fn step(&self) -> Result<(), Failure> {
        tokio::time::sleep(Duration::from_millis(25)).await;
        Ok(())
    }

    async fn pass(&self, until: Timestamp) -> Result<(), Failure> {
        let missing = until.since((self.clock())());
        self.moved.fetch_add(missing.as_millis(), Ordering::SeqCst);
        Ok(())
    }
}
