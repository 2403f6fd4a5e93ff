//! The calendar: damage, restarts, proofs, and which decision stands.

use std::sync::{Mutex, atomic::AtomicU64};

use sofie_model::{
    Account, Attestation, Decide, Fact, Signature, SignedAttestation, Step, Terms, Timestamp,
    contract::abort_digest,
    manifest::Participant,
    proof::calendar::{PublishedRoot, merkle},
};
use tempfile::TempDir;

use super::*;
use crate::conformance::{self, Failure, Harness, Site, no_manifest};

const START: u64 = 1_800_000_000_500;

/// A folder for a calendar, and the clock that it reads.
struct Place {
    folder: TempDir,
    now: Arc<AtomicU64>,
    opened: Mutex<u32>,
    decides: bool,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, now: Arc::new(AtomicU64::new(START)), opened: Mutex::new(0), decides: false }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(format!("{}.log", self.opened.lock().unwrap()))
    }

    fn config(&self) -> Config {
        let (id, origin) = ("calendar".parse().unwrap(), "example.com/calendar".into());
        Config { decides: self.decides, ..Config::new(id, origin, self.path()) }
    }

    fn clock(&self) -> Clock {
        let now = Arc::clone(&self.now);
        Arc::new(move || Timestamp::from_millis(now.load(Ordering::Relaxed)))
    }

    fn try_open(&self) -> Result<Calendar, OpenError> {
        Ok(Calendar::open(self.config(), key(), self.clock())?.acting_for([party(1), party(2)]))
    }

    fn calendar(&self) -> Calendar {
        self.try_open().unwrap()
    }

    fn wait(&self, millis: u64) {
        self.now.fetch_add(millis, Ordering::Relaxed);
    }
}

pub(super) fn key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

/// A participant's key.
pub(super) fn party(byte: u8) -> AccountKey {
    AccountKey::from_slice(&[byte; 32]).unwrap()
}

pub(super) fn account(byte: u8) -> Account {
    Account::from(party(byte).verifying_key())
}

pub(super) fn note(number: u64) -> Operation {
    Operation::Note { topic: Digest::sha256(b"topic"), commitment: Digest::sha256(&number.to_be_bytes()) }
}

async fn append(calendar: &Calendar, number: u64) -> Evidence {
    let intent = calendar.intend(&note(number)).await.unwrap();
    calendar.submit(&intent).await.unwrap();
    match calendar.status(&note(number), None).await.unwrap() {
        Status::Final(evidence) => evidence,
        other => panic!("{other:?}"),
    }
}

#[async_trait]
impl Harness for Place {
    async fn open(&self) -> Result<Arc<dyn Ledger>, Failure> {
        *self.opened.lock().unwrap() += 1;
        Ok(Arc::new(self.calendar()))
    }

    async fn reopen(&self, ledger: Arc<dyn Ledger>) -> Result<Arc<dyn Ledger>, Failure> {
        drop(ledger);
        self.try_open().map(|one| Arc::new(one) as _).map_err(|error| Failure::Harness(error.to_string()))
    }

    fn site(&self) -> Site {
        Site {
            chain_id: 0,
            decision: Account::ZERO,
            escrow: Account([0xe; 20]),
            payer: account(1),
            payee: account(2),
            evidence_key: Account([3; 20]),
            amount: 1,
            others: vec![],
        }
    }

    fn attest(&self, attestation: Attestation) -> SignedAttestation {
        SignedAttestation { attestation, signature: vec![0; 65] }
    }

    async fn step(&self) -> Result<(), Failure> {
        self.wait(300);
        Ok(())
    }

    async fn pass(&self, until: Timestamp) -> Result<(), Failure> {
        self.now.fetch_max(until.as_millis(), Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::test]
async fn it_conforms() {
    let outcomes = conformance::run_all(&Place::new()).await.unwrap();
    assert_eq!(conformance::failures(&outcomes), "");
    assert!(outcomes.len() >= 16, "{}", outcomes.len());
}

#[tokio::test]
async fn it_conforms_as_a_decision_ledger() {
    let outcomes = conformance::run_all(&Place { decides: true, ..Place::new() }).await.unwrap();
    assert_eq!(conformance::failures(&outcomes), "");
    let decisions = outcomes.iter().filter(|one| one.name.starts_with("decision:")).count();
    assert!(decisions >= 10, "{decisions}");
}

/// A transaction that this calendar decides, with two participants and a guard until G.
pub(super) fn guarded() -> Manifest {
    let participant = |byte| Participant { account: account(byte), hashlock: Digest::sha256(&[byte; 32]) };
    let mut manifest = no_manifest();
    manifest.legs = vec![sofie_model::Leg {
        ledger: "calendar".parse().unwrap(),
        class: Class::Record,
        finality: Finality::Instant,
        required: true,
        terms: Terms::Record(Digest::ZERO),
        fee_limit: 0,
    }];
    manifest.decision.ledger = "calendar".parse().unwrap();
    (manifest.decision.chain_id, manifest.decision.contract) = (0, Account::ZERO);
    manifest.deadline = Timestamp::from_millis(START) + Span::from_seconds(10);
    manifest.deadline = Timestamp::from_seconds(manifest.deadline.as_seconds());
    manifest.grace = Span::from_seconds(10);
    manifest.guard = account(3);
    manifest.participants = vec![participant(1), participant(2)];
    manifest
}

pub(super) fn commit(manifest: &Manifest, guard: Option<&AccountKey>) -> Operation {
    let (included, evidence_root) = (1, Digest::ZERO);
    let digest = sofie_model::contract::commit_digest(manifest, included, evidence_root);
    let guard = guard.map(|key| Signature::by(key, digest));
    let preimages = vec![Digest([1; 32]), Digest([2; 32])];
    let decide = Decide::Commit { included, evidence_root, preimages, guard };
    Operation::Decide { manifest: Arc::new(manifest.clone()), decide }
}

pub(super) fn abort(manifest: &Manifest, signers: &[u8]) -> Operation {
    let signature = |byte: &u8| Signature::by(&party(*byte), abort_digest(manifest));
    let decide = Decide::Abort { by: account(1), signatures: signers.iter().map(signature).collect() };
    Operation::Decide { manifest: Arc::new(manifest.clone()), decide }
}

async fn why_not(calendar: &Calendar, operation: &Operation) -> String {
    match calendar.intend(operation).await {
        Err(LedgerError::Refused { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn after_the_deadline_it_wants_the_guard_and_before_g_every_signature() {
    let place = Place { decides: true, ..Place::new() };
    let (calendar, manifest) = (place.calendar(), guarded());
    assert!(why_not(&calendar, &abort(&manifest, &[])).await.contains("every participant"));
    assert!(why_not(&calendar, &abort(&manifest, &[1])).await.contains("every participant"));
    let early = calendar.intend(&abort(&manifest, &[1, 2])).await;
    assert!(early.is_ok(), "{early:?}");
    let plain = calendar.intend(&commit(&manifest, None)).await.unwrap();

    place.wait(15_000);
    for operation in [commit(&manifest, None), commit(&manifest, Some(&party(1)))] {
        assert!(why_not(&calendar, &operation).await.contains("the guard"));
    }
    let Err(LedgerError::Refused { reason, .. }) = calendar.submit(&plain).await else { panic!("too late") };
    assert!(reason.contains("the guard"), "{reason}");
    let signed = commit(&manifest, Some(&party(3)));
    let intent = calendar.intend(&signed).await.unwrap();
    calendar.submit(&intent).await.unwrap();
    let Status::Final(decided) = calendar.status(&signed, None).await.unwrap() else { panic!("not there") };
    let proof = calendar.prove(&manifest, std::slice::from_ref(&decided)).await.unwrap();
    assert_eq!(proof.verify(&calendar.profile.id, &manifest).unwrap().evidence, [decided]);

    // What is decided is neither decided again nor prepared.
    place.wait(15_000);
    assert!(why_not(&calendar, &abort(&manifest, &[])).await.contains("is decided"));
    let leg = sofie_model::LegId(0);
    let manifest = Arc::new(manifest);
    let late = Operation::Leg { manifest: manifest.clone(), leg, step: Step::Prepare };
    assert!(why_not(&calendar, &late).await.contains("is decided"));
    assert!(matches!(calendar.status(&late, None).await.unwrap(), Status::Refused { .. }));
}

/// Its clock stands still while nothing comes in: an older COMMIT may still be on its way.
#[tokio::test]
async fn a_commit_is_given_up_only_when_the_log_itself_is_past_it() {
    let place = Place { decides: true, ..Place::new() };
    let (calendar, manifest) = (place.calendar(), guarded());
    let commit = commit(&manifest, None);
    place.wait(15_000);
    assert_eq!(calendar.status(&commit, None).await.unwrap(), Status::Absent);
    append(&calendar, 1).await;
    assert!(matches!(calendar.status(&commit, None).await.unwrap(), Status::Refused { .. }));
}

/// A log that somebody else wrote, or an older program, may hold what is no decision.
#[test]
fn a_reader_takes_the_first_valid_decision() {
    let manifest = guarded();
    let entry = |operation: &Operation| match operation {
        Operation::Decide { manifest, decide } => Wanted::decision(manifest, decide).entry,
        _ => unreachable!(),
    };
    let mut log = Log::new("example.com/calendar".into(), Digest::ZERO);
    let at = |seconds| manifest.deadline + Span::from_seconds(seconds);
    let unsigned = entry(&commit(&manifest, None));
    let signed = entry(&commit(&manifest, Some(&party(3))));
    let late = entry(&abort(&manifest, &[]));
    for (seconds, entry) in [(1, unsigned.clone()), (1, late.clone()), (2, signed), (11, late)] {
        log.append(sofie_model::proof::calendar::Leaf { at: at(seconds), entry });
    }
    assert_eq!(log.decision(&manifest).map(|(index, _)| index), Some(2));
    assert_eq!(log.find(&unsigned).map(|(index, _)| index), Some(0));
}

#[tokio::test]
async fn without_decides_it_takes_records_only() {
    let (place, manifest) = (Place::new(), guarded());
    let answer = place.calendar().intend(&commit(&manifest, None)).await;
    assert!(matches!(answer, Err(LedgerError::Unsupported { verb: "commit", .. })), "{answer:?}");
    let place = Place { decides: true, ..Place::new() };
    let mut elsewhere = manifest;
    elsewhere.decision.ledger = "another".parse().unwrap();
    let answer = place.calendar().intend(&commit(&elsewhere, None)).await;
    assert!(matches!(answer, Err(LedgerError::Unsupported { verb: "commit", .. })), "{answer:?}");
}

#[tokio::test]
async fn a_proof_rests_on_a_published_second_once_that_is_over() {
    let place = Place::new();
    let calendar = place.calendar();
    let first = append(&calendar, 1).await;
    let proof = async |facts: &[Evidence]| match calendar.prove(&no_manifest(), facts).await.unwrap() {
        Proof::Calendar(proof) => proof,
        _ => panic!("another ledger's proof"),
    };
    assert_eq!(proof(std::slice::from_ref(&first)).await.published, None, "the second is not over");
    place.wait(1000);
    let published = proof(std::slice::from_ref(&first)).await.published.unwrap();
    assert_eq!((published.second, published.index), (first.at.as_seconds(), 0));

    let second = append(&calendar, 2).await;
    let both = [first.clone(), second.clone()];
    assert_eq!(proof(&both).await.published, None, "only the first one's second is over");
    place.wait(5000);
    let third = append(&calendar, 3).await;
    let published = proof(&both).await.published.unwrap();
    assert_eq!((published.second, published.index), (second.at.as_seconds(), 1));
    let proven = Proof::Calendar(proof(&both).await).verify(&calendar.profile.id, &no_manifest()).unwrap();
    assert_eq!(proven.evidence, both);
    assert!(third.at.as_seconds() > published.second);

    // A restart publishes the same roots.
    let before = calendar.published();
    drop(calendar);
    assert_eq!(place.calendar().published(), before);
}

#[tokio::test]
async fn a_proof_is_extended_to_every_root_that_was_published_after_it_also_after_a_restart() {
    let place = Place::new();
    let mut calendar = place.calendar();
    assert_eq!((calendar.seconds(), calendar.published_at(0), calendar.published_at(1)), (0, None, None));
    let mut made: Vec<(LogProof, u64, u64)> = Vec::new();
    for number in 0..12 {
        let fact = append(&calendar, number).await;
        let proof = calendar.prove(&no_manifest(), &[fact]).await.unwrap();
        let Proof::Calendar(proof) = proof else { panic!("another ledger's proof") };
        let second = (calendar.clock)().as_seconds();
        made.push((proof, calendar.seconds(), second));
        place.wait(if number % 3 == 0 { 100 } else { 700 });
    }
    place.wait(1000);
    calendar.publish().await.unwrap();
    let all = calendar.seconds();
    for restarted in [false, true] {
        if restarted {
            drop(calendar);
            calendar = place.calendar();
        }
        for seconds in 1..=all {
            let (note, last) = calendar.published_at(seconds).unwrap();
            let root: PublishedRoot = note.parse().unwrap();
            assert_eq!((root.log.as_str(), root.size), ("example.com/calendar", seconds));
            for (proof, before, second) in &made {
                let alone = LogProof { published: None, ..proof.clone() };
                let head = alone.head().unwrap();
                match calendar.extension(head.size, head.root, seconds) {
                    Ok(extension) => {
                        let under = alone.under(&root, &[extension]).unwrap();
                        assert!(under.second == *second && *second <= last, "{under:?}, {second}");
                    }
                    Err(error) => {
                        let size = head.size;
                        assert_eq!(error, NotExtended::Younger { size, seconds });
                        assert!(seconds <= *before && *second > last);
                    }
                }
            }
        }
    }
    assert_eq!(Some(calendar.published()), calendar.published_at(all).map(|(note, _)| note));
    let head = made[3].0.head().unwrap();
    let too_far = NotExtended::Unpublished { asked: all + 1, seconds: all };
    assert_eq!(calendar.extension(head.size, head.root, all + 1), Err(too_far));
    // Who does not know the root learns nothing; no size is too strange.
    for (size, root) in [(head.size, Digest::ZERO), (head.size + 1, head.root), (u64::MAX, head.root)] {
        assert_eq!(calendar.extension(size, root, all), Err(NotExtended::Foreign { size }));
    }
    assert_eq!((calendar.published_at(all + 1), calendar.published_at(u64::MAX)), (None, None));
}

#[tokio::test]
async fn the_log_only_grows() {
    let place = Place::new();
    let calendar = place.calendar();
    let mut roots = vec![merkle::empty_root()];
    for number in 0..20 {
        append(&calendar, number).await;
        roots.push(calendar.log().head().root);
    }
    for (old, old_root) in (0..).zip(&roots) {
        let path = calendar.consistency(old, 20).unwrap();
        assert!(merkle::is_consistent(old, 20, *old_root, roots[20], &path), "{old}");
    }
    assert_eq!(calendar.consistency(0, 21), None);
}

#[tokio::test]
async fn read_only_takes_nothing_new_and_still_shows_what_stands() {
    let place = Place::new();
    let calendar = place.calendar();
    let stands = append(&calendar, 1).await;
    let before = calendar.intend(&note(2)).await.unwrap();
    drop(calendar);
    let calendar = Calendar::open(Config { refuse: true, ..place.config() }, key(), place.clock()).unwrap();
    for refusal in [calendar.intend(&note(2)).await.map(drop), calendar.submit(&before).await] {
        let Err(LedgerError::Refused { reason, .. }) = refusal else { panic!("{refusal:?}") };
        assert!(reason.contains("read-only"), "{reason}");
    }
    assert_eq!(append(&calendar, 1).await, stands, "the same note again is no new entry");
    calendar.set_read_only(false);
    append(&calendar, 2).await;
}

#[tokio::test]
async fn what_it_does_not_hold_it_does_not_prove() {
    let place = Place::new();
    let calendar = place.calendar();
    let good = append(&calendar, 1).await;
    let (topic, commitment) = (Digest::ZERO, Digest::ZERO);
    let mut cases = vec![good.clone(); 4];
    cases[0].fact = Fact::Noted(topic, commitment);
    cases[1].position.index = 1;
    cases[2].at = good.at + Span::from_millis(1);
    cases[3].position.index = u64::MAX;
    for fact in cases {
        let answer = calendar.prove(&no_manifest(), std::slice::from_ref(&fact)).await;
        assert!(matches!(answer, Err(LedgerError::Nonsense { .. })), "{fact:?}");
    }
}

#[tokio::test]
async fn another_process_key_or_name_is_told_from_damage() {
    let place = Place::new();
    let calendar = place.calendar();
    append(&calendar, 1).await;
    assert!(matches!(place.try_open(), Err(OpenError::InUse { .. })));
    drop(calendar);
    let other = SigningKey::from_bytes(&[8; 32]);
    let foreign = Calendar::open(place.config(), other, place.clock()).map(drop);
    assert!(matches!(foreign, Err(OpenError::ForeignKey { .. })), "{foreign:?}");
    let renamed = Config { origin: "example.com/other".into(), ..place.config() };
    let foreign = Calendar::open(renamed, key(), place.clock()).map(drop);
    assert!(matches!(foreign, Err(OpenError::ForeignOrigin { .. })), "{foreign:?}");
    for origin in ["", "a b", "a+b", "\u{e9}", &"x".repeat(MAX_ORIGIN)] {
        let bad = Config { origin: origin.into(), ..place.config() };
        let bad = Calendar::open(bad, key(), place.clock()).map(drop);
        assert!(matches!(bad, Err(OpenError::BadOrigin { .. })), "{origin:?}: {bad:?}");
    }
    place.now.store(START - 120_000, Ordering::Relaxed);
    let early = place.try_open().map(drop);
    assert!(matches!(early, Err(OpenError::ClockBehind { .. })), "{early:?}");
    place.now.store(START, Ordering::Relaxed);
    assert_eq!(place.calendar().log().size(), 1);
}

/// A log with a frame of each kind between others: its bytes, and how many entries are durable at each length of the file.
async fn example(place: &Place) -> (Vec<u8>, Vec<(u64, u64)>) {
    let calendar = place.calendar();
    let length = || std::fs::metadata(place.path()).unwrap().len();
    let mut durable = vec![(length(), 0)];
    for number in 0..2 {
        append(&calendar, number).await;
        durable.push((length(), number + 1));
        place.wait(1000);
    }
    drop(calendar);
    (std::fs::read(place.path()).unwrap(), durable)
}

#[tokio::test]
async fn a_crash_at_any_byte_keeps_all_that_was_durable() {
    let place = Place::new();
    let (bytes, durable) = example(&place).await;
    for cut in 0..=bytes.len() {
        std::fs::write(place.path(), &bytes[..cut]).unwrap();
        let calendar = place.try_open().unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        let expected = durable.iter().rev().find(|(length, _)| *length <= cut as u64).map_or(0, |(_, n)| *n);
        assert_eq!(calendar.log().size(), expected, "cut at {cut}");
        // It goes on from there, and what it writes now is there at the next start.
        if cut % 7 == 0 {
            append(&calendar, 100).await;
            drop(calendar);
            assert_eq!(place.calendar().log().size(), expected + 1, "cut at {cut}");
        }
    }
}

#[tokio::test]
async fn a_tail_of_zeroes_is_a_write_that_never_happened() {
    let place = Place::new();
    let (bytes, durable) = example(&place).await;
    for (length, entries) in &durable {
        for zeroes in [1, 15, 16, 17, 500, 5000] {
            let mut torn = bytes[..*length as usize].to_vec();
            torn.extend(vec![0; zeroes]);
            std::fs::write(place.path(), torn).unwrap();
            assert_eq!(place.calendar().log().size(), *entries, "{zeroes} zeroes after {length}");
        }
    }
}

#[tokio::test]
async fn a_changed_byte_is_damage_and_nothing_is_changed_by_opening() {
    let place = Place::new();
    let (bytes, _) = example(&place).await;
    for index in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[index] ^= 0x10;
        std::fs::write(place.path(), &damaged).unwrap();
        match place.try_open().map(drop) {
            Err(OpenError::Damaged { offset, .. }) => assert!(offset <= index as u64, "{index} at {offset}"),
            other => panic!("byte {index}: {other:?}"),
        }
        assert_eq!(std::fs::read(place.path()).unwrap(), damaged, "byte {index}");
    }
}

#[test]
fn a_strange_file_is_left_alone() {
    let place = Place::new();
    for content in [&b"Dear diary"[..], &[b'x'; 4000]] {
        std::fs::write(place.path(), content).unwrap();
        assert!(matches!(place.try_open().map(drop), Err(OpenError::Damaged { offset: 0, .. })));
        assert_eq!(std::fs::read(place.path()).unwrap(), content);
    }
}

#[tokio::test]
async fn a_clock_that_goes_back_does_not_take_the_log_with_it() {
    let place = Place::new();
    let calendar = place.calendar();
    let first = append(&calendar, 1).await;
    place.now.fetch_sub(10_000, Ordering::Relaxed);
    let second = append(&calendar, 2).await;
    assert_eq!(second.at, first.at);
    let proof = calendar.prove(&no_manifest(), &[first, second]).await.unwrap();
    proof.verify(&calendar.profile.id, &no_manifest()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_share_a_write() {
    let place = Place::new();
    let calendar = Arc::new(place.calendar());
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..2000 {
        let calendar = Arc::clone(&calendar);
        tasks.spawn(async move { append(&calendar, number % 1000).await });
    }
    let places: std::collections::BTreeSet<_> =
        tasks.join_all().await.into_iter().map(|evidence| evidence.position.index).collect();
    assert_eq!(places, (0..1000).collect());
    drop(calendar);
    assert_eq!(place.calendar().log().size(), 1000);
}
