//! A shared calendar in memory: an owner that keeps to the rules, and what becomes of one that does not. Over HTTP it is in
//! crates/node/tests/calendar_shared.

use std::sync::Mutex as Lock;
use std::sync::atomic::{AtomicU64, Ordering};

use sofie_model::proof::calendar::{Cosignature, MAX_LEAVES};
use sofie_model::{Attestation, Digest, Fact, SignedAttestation};
use tempfile::TempDir;

use super::*;
use crate::calendar::tests::{abort, account, commit, guarded, key, note, party};
use crate::calendar::{Calendar, Config as CalendarConfig, SigningKey};
use crate::conformance::{self, Failure, Harness, Patient, Site, no_manifest};

mod lies;

const START: u64 = 1_800_000_000_500;

/// Changes an answer on its way.
type Bend = Box<dyn Fn(&Request, Answer) -> Answer + Send + Sync>;

/// An owner's node in memory, with whatever is wrong with it.
#[derive(Default)]
struct Office {
    calendar: Lock<Option<Arc<Calendar>>>,
    bend: Lock<Option<Bend>>,
    /// Every request is done twice, as behind a proxy that sends again.
    doubles: bool,
    /// Every so many answers are lost, after what was asked for is done; 0 for none.
    loses: u64,
    asked: AtomicU64,
}

#[async_trait]
impl Owner for Office {
    async fn ask(&self, request: Vec<u8>) -> Result<Vec<u8>, String> {
        let calendar = self.calendar.lock().unwrap().clone().ok_or("nobody is there")?;
        let request: Request = canonical::decode(&request, sofie_model::calendar::MAX_REQUEST).unwrap();
        if self.doubles {
            calendar.answer(&request).await.map_err(|why| why.to_string())?;
        }
        let answer = calendar.answer(&request).await.map_err(|why| why.to_string())?;
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        if self.loses > 0 && number.is_multiple_of(self.loses) {
            return Err("the answer is lost".into());
        }
        Ok(canonical::encode(&match &*self.bend.lock().unwrap() {
            Some(bend) => bend(&request, answer),
            None => answer,
        }))
    }

    fn place(&self) -> String {
        "http://owner.example\u{1b}".into()
    }
}

impl Office {
    fn opens(&self, calendar: Calendar) {
        *self.calendar.lock().unwrap() = Some(Arc::new(calendar));
    }

    /// Gives the calendar's file up.
    fn closes(&self) {
        drop(self.calendar.lock().unwrap().take());
    }

    fn bends(&self, bend: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static) {
        *self.bend.lock().unwrap() = Some(Box::new(bend));
    }
}

/// A folder with the owner's file and the reader's, and one clock.
struct World {
    folder: TempDir,
    now: Arc<AtomicU64>,
    opened: AtomicU64,
    decides: bool,
    office: Arc<Office>,
}

impl World {
    fn with(office: Office) -> Self {
        let now = Arc::new(AtomicU64::new(START));
        let (opened, folder) = (AtomicU64::new(0), tempfile::tempdir().unwrap());
        Self { folder, now, opened, decides: false, office: Arc::new(office) }
    }

    fn new() -> Self {
        let world = Self::with(Office::default());
        world.office.opens(world.calendar("own"));
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The owner's log in the file of this name.
    fn calendar(&self, name: &str) -> Calendar {
        let (id, origin) = ("calendar".parse().unwrap(), "example.com/calendar".into());
        let config =
            CalendarConfig { decides: self.decides, ..CalendarConfig::new(id, origin, self.path(name)) };
        let now = Arc::clone(&self.now);
        let clock = Arc::new(move || Timestamp::from_millis(now.load(Ordering::Relaxed)));
        Calendar::open(config, key(), clock).unwrap()
    }

    fn config(&self) -> Config {
        let number = self.opened.load(Ordering::Relaxed);
        Config {
            log: LogKey {
                origin: "example.com/calendar".into(),
                key: Digest(key().verifying_key().to_bytes()),
            },
            path: self.path(&format!("{number}.seen")),
            witnesses: vec![],
            quorum: 0,
        }
    }

    fn shared(&self) -> Shared {
        self.shared_with(self.config())
    }

    fn shared_with(&self, config: Config) -> Shared {
        let profile = profile("calendar".parse().unwrap(), self.decides);
        let shared = Shared::open(config, profile, Arc::clone(&self.office) as _).unwrap();
        shared.acting_for([party(1), party(2)])
    }

    fn fresh(&self) -> String {
        format!("{}.log", self.opened.load(Ordering::Relaxed))
    }
}

#[async_trait]
impl Harness for World {
    async fn open(&self) -> Result<Arc<dyn Ledger>, Failure> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.office.closes();
        self.office.opens(self.calendar(&self.fresh()));
        Ok(Arc::new(Patient(self.shared())))
    }

    /// Both restart.
    async fn reopen(&self, ledger: Arc<dyn Ledger>) -> Result<Arc<dyn Ledger>, Failure> {
        drop(ledger);
        self.office.closes();
        self.office.opens(self.calendar(&self.fresh()));
        Ok(Arc::new(Patient(self.shared())))
    }

    fn site(&self) -> Site {
        Site {
            chain_id: 0,
            decision: sofie_model::Account::ZERO,
            escrow: sofie_model::Account([0xe; 20]),
            payer: account(1),
            payee: account(2),
            evidence_key: sofie_model::Account([3; 20]),
            amount: 1,
            others: vec![],
        }
    }

    fn attest(&self, attestation: Attestation) -> SignedAttestation {
        SignedAttestation { attestation, signature: vec![0; 65] }
    }

    async fn step(&self) -> Result<(), Failure> {
        self.now.fetch_add(300, Ordering::Relaxed);
        Ok(())
    }

    async fn pass(&self, until: Timestamp) -> Result<(), Failure> {
        self.now.fetch_max(until.as_millis(), Ordering::Relaxed);
        Ok(())
    }
}

async fn conforms(office: Office, decides: bool) -> usize {
    let world = World { decides, ..World::with(office) };
    let outcomes = conformance::run_all(&world).await.unwrap();
    assert_eq!(conformance::failures(&outcomes), "");
    outcomes.len()
}

#[tokio::test]
async fn it_conforms() {
    assert!(conforms(Office::default(), false).await >= 16);
}

#[tokio::test]
async fn it_conforms_as_a_decision_ledger_where_requests_are_doubled_and_answers_lost() {
    assert!(conforms(Office { doubles: true, loses: 3, ..Office::default() }, true).await >= 26);
}

async fn append(shared: &Shared, number: u64) -> Evidence {
    let intent = shared.intend(&note(number)).await.unwrap();
    shared.submit(&intent).await.unwrap();
    found(shared, number).await.unwrap()
}

async fn found(shared: &Shared, number: u64) -> Result<Evidence, LedgerError> {
    match shared.status(&note(number), None).await? {
        Status::Final(evidence) => Ok(evidence),
        other => panic!("{other:?}"),
    }
}

/// That the ledger must not be trusted further, with the place and this in its reason.
#[track_caller]
fn nonsense<T: std::fmt::Debug>(answer: Result<T, LedgerError>, why: &str) {
    let Err(LedgerError::Nonsense { reason, .. }) = answer else { panic!("{answer:?}") };
    assert!(reason.starts_with("its owner at http://owner.example") && reason.contains(why), "{reason}");
}

#[tokio::test]
async fn an_owner_that_is_away_costs_time_only() {
    let world = World::new();
    let shared = world.shared();
    let before = append(&shared, 1).await;
    let intent = shared.intend(&note(2)).await.unwrap();
    world.office.closes();
    for answer in [shared.submit(&intent).await, shared.head().await.map(drop)] {
        let Err(LedgerError::Transient { reason, .. }) = answer else { panic!("{answer:?}") };
        assert_eq!(reason, "its owner at http://owner.example\u{1b}: nobody is there");
    }
    // The reader starts without its owner.
    let shared = world.shared();
    assert!(matches!(shared.status(&note(1), None).await, Err(LedgerError::Transient { .. })));
    world.office.opens(world.calendar("own"));
    shared.submit(&intent).await.unwrap();
    assert_eq!(found(&shared, 1).await.unwrap(), before);
    assert_eq!(found(&shared, 2).await.unwrap().position.index, 1);
}

#[tokio::test]
async fn what_witnesses_have_not_cosigned_is_not_final() {
    let world = World::new();
    let witness = SigningKey::from_bytes(&[5; 32]);
    let pinned =
        WitnessKey { name: "witness.example".into(), key: Digest(witness.verifying_key().to_bytes()) };
    let shared = world.shared_with(Config { witnesses: vec![pinned], quorum: 1, ..world.config() });
    let intent = shared.intend(&note(1)).await.unwrap();
    shared.submit(&intent).await.unwrap();
    // Never "pending": a node would take that for a decision that has gone.
    let waits = async |shared: &Shared| match shared.status(&note(1), None).await {
        Err(LedgerError::Transient { reason, .. }) => {
            assert!(reason.contains("0 of the witnesses that are pinned"), "{reason}");
        }
        other => panic!("{other:?}"),
    };
    waits(&shared).await;
    let log = shared.config.log.clone();
    let sign = move |key: &SigningKey, head: &Checkpoint| {
        vec![Cosignature::sign("witness.example", key, head, Timestamp::from_seconds(9))]
    };
    let by = move |key: SigningKey| {
        let log = log.clone();
        move |_: &Request, answer: Answer| match answer.found {
            Found::Stands { leaf, .. } => {
                let cosigned = sign(&key, &log.head(&answer.checkpoint).unwrap());
                Answer { found: Found::Stands { leaf, cosigned }, ..answer }
            }
            Found::Proof { mut proof } => {
                proof.cosigned = Some(sign(&key, &log.head(&proof.checkpoint).unwrap()));
                Answer { found: Found::Proof { proof }, ..answer }
            }
            _ => answer,
        }
    };
    world.office.bends(by.clone()(SigningKey::from_bytes(&[6; 32])));
    // Another key of that name.
    waits(&shared).await;
    world.office.bends(by(witness));
    let evidence = found(&shared, 1).await.unwrap();
    let proof = shared.prove(&no_manifest(), std::slice::from_ref(&evidence)).await.unwrap();
    let proven = proof.verify(&shared.profile.id, &no_manifest()).unwrap();
    assert_eq!(proven.evidence, std::slice::from_ref(&evidence));
    *world.office.bend.lock().unwrap() = None;
    let unsigned = shared.prove(&no_manifest(), &[evidence]).await;
    assert!(matches!(unsigned, Err(LedgerError::Transient { .. })), "{unsigned:?}");
}

#[tokio::test]
async fn a_decision_stands_for_whoever_asks_and_a_wrong_one_for_nobody() {
    let world = World { decides: true, ..World::with(Office::default()) };
    world.office.opens(world.calendar("own"));
    let (one, other) =
        (world.shared(), world.shared_with(Config { path: world.path("b.seen"), ..world.config() }));
    let manifest = guarded();
    let (commit, abort) = (commit(&manifest, None), abort(&manifest, &[1, 2]));
    one.submit(&one.intend(&commit).await.unwrap()).await.unwrap();
    let late = other.submit(&other.intend(&abort).await.unwrap()).await;
    assert!(
        matches!(&late, Err(LedgerError::Refused { reason, .. }) if reason.contains("is decided")),
        "{late:?}"
    );
    let Status::Final(decided) = other.status(&abort, None).await.unwrap() else { panic!("not decided") };
    assert!(matches!(&decided.fact, Fact::Decided(_, sofie_model::Decision::Commit { .. })));
    // A reader that was told that it takes records only asks for none.
    let profile = profile("calendar".parse().unwrap(), false);
    let records = Shared::open(world.config(), profile, Arc::clone(&world.office) as _).unwrap();
    assert!(matches!(records.intend(&commit).await, Err(LedgerError::Unsupported { .. })));
    // A decision that is not valid by what it bears is no evidence, whoever appended it.
    let mut wanted = Wanted::of(one.profile(), &commit).unwrap();
    let Entry::Decided { decision, .. } = &mut wanted.entry else { panic!("no decision") };
    *decision = sofie_model::Decision::Abort { by: account(1) };
    let leaf = Leaf { at: Timestamp::from_millis(START), entry: wanted.entry.clone() };
    assert!(carries_out(&wanted, &leaf).is_err());
}

#[test]
fn what_was_seen_of_another_log_stops_the_start() {
    let world = World::new();
    let other = Checkpoint { origin: "example.com/other".into(), size: 1, root: Digest::ZERO };
    let config = world.config();
    for text in [other.sign(&key()), "nothing of the kind".into(), String::new()] {
        std::fs::write(&config.path, &text).unwrap();
        let opened = Seen::open(config.path.clone(), &config.log).map(drop);
        assert!(matches!(opened, Err(BadSeen::Foreign { .. })), "{opened:?}");
        assert_eq!(std::fs::read_to_string(&config.path).unwrap(), text, "nothing is changed by opening");
    }
}

#[tokio::test]
async fn the_door_refuses_what_is_no_request() {
    let world = World::new();
    let calendar = world.office.calendar.lock().unwrap().clone().unwrap();
    for ask in [
        Ask::Find { intent: vec![] },
        Ask::Append { intent: vec![0xff; 8] },
        Ask::Prove { indices: vec![1, 0] },
        Ask::Prove { indices: vec![1, 1] },
        Ask::Prove { indices: (0..=MAX_LEAVES as u64).collect() },
    ] {
        let answer = calendar.answer(&Request { seen: 0, ask: ask.clone() }).await;
        assert!(matches!(answer, Err(crate::calendar::NotAnswered::Malformed(_))), "{ask:?}: {answer:?}");
    }
    for ask in [Ask::Consistency { old: 7, size: 9 }, Ask::Prove { indices: vec![0, u64::MAX] }] {
        let beyond = calendar.answer(&Request { seen: 9, ask }).await;
        assert_eq!(beyond.map(|answer| (answer.found, answer.path)), Ok((Found::Nothing, vec![])));
    }
    let decision =
        Wanted::of(&profile("calendar".parse().unwrap(), true), &commit(&guarded(), None)).unwrap();
    let ask = Ask::Append { intent: decision.to_intent().0 };
    let answer = calendar.answer(&Request { seen: 0, ask }).await.unwrap();
    assert!(
        matches!(&answer.found, Found::Refused { reason } if reason.contains("not decisions")),
        "{answer:?}"
    );
}
