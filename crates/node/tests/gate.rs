//! The owner's door: whom it lets in, once, and what it remembers.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sofie_access::{Affordance, Book, Grant, Op, SecretKey, proof, token};
use sofie_adapters::port::{Gate, Refusal, Request, Write};
use sofie_model::{Digest, Span, ThingId, Timestamp, Txid, Value, canonical};
use sofie_node::auditor::{self, Auditor};
use sofie_node::clock;
use sofie_node::drive::Keeper;
use sofie_node::gate::{self, Allowed, BOOKS, Memory, OwnersGate, Shown, VERDICTS};
use sofie_node::journal::{Entry, Journal, JournalError, Machine};
use tokio::sync::mpsc;

const OWNER: &str = "locker-co";
const TXID: Txid = Txid(Digest([7; 32]));

/// The owner's and the renter's keys, and a journal.
struct World {
    owner: SecretKey,
    renter: SecretKey,
    journal: Journal,
    keeper: Keeper,
    nonces: std::cell::Cell<u8>,
}

impl World {
    fn new(path: &Path) -> Self {
        let start = Instant::now();
        let journal = loop {
            match Journal::open(path, None) {
                Ok(journal) => break journal,
                Err(JournalError::Held { .. }) if start.elapsed() < Duration::from_secs(30) => {
                    std::thread::yield_now();
                }
                Err(error) => panic!("{error}"),
            }
        };
        let keeper = Keeper { auditor: Auditor::open(journal.clone()).unwrap(), fatal: mpsc::channel(1).0 };
        let key = |byte| SecretKey::from_bytes(&zeroize::Zeroizing::new([byte; 32]));
        Self { owner: key(1), renter: key(2), journal, keeper, nonces: std::cell::Cell::new(0) }
    }

    /// What the owner's doors remember, by the journal.
    fn memory(&self) -> Arc<Memory> {
        let kept = self.journal.reader().unwrap().fact(BOOKS, OWNER).unwrap();
        Memory::new(self.owner.public(), kept.map(|bytes| Book::from_bytes(&bytes).unwrap()))
    }

    /// A door that allows `lock` and `light`.
    fn door(&self, memory: Arc<Memory>) -> Arc<OwnersGate> {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let allowed = Allowed { actions: set(&["lock", "light"]), writes: set(&["level", "mode"]) };
        OwnersGate::new(OWNER, self.owner.public(), allowed, memory, self.keeper.clone())
    }

    fn grant(&self) -> Grant {
        let now = clock::now();
        let lock = Affordance::action("lock").unwrap();
        let grant = Grant::new(self.renter.public(), locker(), lock, now, now + Span::from_seconds(60));
        Grant { uses: Some(1), transaction: Some(TXID), ..grant }
    }

    /// Shows a token of `owner` for `asked`, proven by `holder`.
    fn shown_by(&self, owner: &SecretKey, grant: &Grant, holder: &SecretKey, asked: Request) -> Request {
        let token = token::issue(owner, grant).unwrap();
        self.shown(token, holder, asked)
    }

    fn shown(&self, token: Vec<u8>, holder: &SecretKey, asked: Request) -> Request {
        self.nonces.set(self.nonces.get() + 1);
        let nonce = Digest([self.nonces.get(); 32]);
        let proven = gate::request(&asked, TXID).unwrap();
        let proof = proof::sign(holder, OWNER, &token, &proven, nonce, clock::now());
        let shown = Shown { token, proof, transaction: Some(TXID) };
        Request { capability: canonical::encode(&shown), ..asked }
    }

    fn good(&self) -> Request {
        self.shown_by(&self.owner, &self.grant(), &self.renter, asked("lock"))
    }

    /// What the audit log says of this transaction and this thing: kind, ok, who.
    fn audit(&self) -> Vec<(String, bool, String)> {
        let records = self.journal.reader().unwrap().audit().unwrap();
        let decode = |bytes: &Vec<u8>| auditor::decode(self.journal.path(), bytes).unwrap();
        records.iter().map(decode).map(|record| (record.kind, record.ok, record.actor)).collect()
    }
}

fn locker() -> ThingId {
    "urn:locker:7".parse().unwrap()
}

fn asked(action: &str) -> Request {
    let input = serde_json::json!({"open_for_s": 600});
    Request { thing: locker(), action: action.into(), input, message: TXID.0, capability: Vec::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_opens_once_and_its_word_is_on_the_disk_before() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&folder.path().join("journal.sqlite"));
    let door = world.door(world.memory());
    let good = world.good();
    assert_eq!(door.admit(&good), Ok(()));
    let reader = world.journal.reader().unwrap();
    assert!(reader.fact(BOOKS, OWNER).unwrap().is_some());
    assert!(reader.fact(VERDICTS, &TXID.to_string()).unwrap().is_some());
    // The very same request, and a new proof for the same capability, which is good for one use.
    let again = door.admit(&good).unwrap_err();
    let Shown { token, .. } = canonical::decode(&good.capability, 16 * 1024).unwrap();
    let anew = door.admit(&world.shown(token, &world.renter, asked("lock"))).unwrap_err();
    for refusal in [again, anew] {
        assert!(matches!(&refusal, Refusal::Forged { reason } if reason.contains("use")), "{refusal}");
    }
    let refused = ("refused-at-door".to_owned(), false, OWNER.to_owned());
    assert_eq!(world.audit(), [("admitted".into(), true, OWNER.into()), refused.clone(), refused]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_request_is_refused_for_its_reason_and_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&folder.path().join("journal.sqlite"));
    let door = world.door(world.memory());
    let (now, hour) = (clock::now(), Span::from_seconds(3600));
    let (mine, renter, grant) = (&world.owner, &world.renter, world.grant());
    let other = SecretKey::from_bytes(&zeroize::Zeroizing::new([9; 32]));
    let past = Timestamp::from_millis(now.as_millis() - hour.as_millis());
    let elsewhere = Request { thing: "urn:locker:8".parse().unwrap(), ..asked("lock") };
    let changed = Request { input: serde_json::json!({"open_for_s": 9_999}), ..world.good() };
    let expired = Grant { not_before: past, expires: past + Span::from_seconds(1), ..grant.clone() };
    let early = Grant { not_before: now + hour, expires: now + hour + hour, ..grant.clone() };
    let cases = [
        ("nothing shown", asked("lock"), "no capability is shown"),
        ("garbage", Request { capability: vec![0xff; 40], ..asked("lock") }, "does not hold"),
        ("too long", Request { capability: vec![0; 17 * 1024], ..asked("lock") }, "does not hold"),
        (
            "not allowed",
            world.shown_by(mine, &grant, renter, asked("unlock")),
            "locker-co has not allowed that unlock is asked for",
        ),
        ("other action", world.shown_by(mine, &grant, renter, asked("light")), "for another action"),
        ("other thing", world.shown_by(mine, &grant, renter, elsewhere), "for another thing"),
        ("other input", changed, "does not hold"),
        ("other holder", world.shown_by(mine, &grant, &other, asked("lock")), "does not hold"),
        ("other owner", world.shown_by(&other, &grant, renter, asked("lock")), "does not hold"),
        ("expired", world.shown_by(mine, &expired, renter, asked("lock")), "has expired"),
        ("too early", world.shown_by(mine, &early, renter, asked("lock")), "not valid yet"),
    ];
    let count = cases.len();
    for (name, request, why) in cases {
        let refusal = door.admit(&request).expect_err(name).to_string();
        assert!(refusal.contains(why), "{name}: {refusal}");
    }
    assert_eq!(world.audit(), vec![("refused-at-door".to_owned(), false, OWNER.to_owned()); count]);
    // None of them has used the capability up.
    assert_eq!(door.admit(&world.good()), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_remembers_over_a_restart_whom_it_has_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    let world = World::new(&path);
    let door = world.door(world.memory());
    let good = world.good();
    assert_eq!(door.admit(&good), Ok(()));
    drop((door, world));
    let world = World::new(&path);
    let refusal = world.door(world.memory()).admit(&good).unwrap_err();
    assert!(matches!(&refusal, Refusal::Forged { reason } if reason.contains("use")), "{refusal}");
    // A door that has lost its memory takes no proof from before it was opened, known or not.
    let forgetful = world.door(Memory::new(world.owner.public(), None));
    assert!(matches!(forgetful.admit(&good), Err(Refusal::Forged { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_door_of_an_owner_let_in_is_used_up_at_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&folder.path().join("journal.sqlite"));
    let memory = world.memory();
    let (front, back) = (world.door(memory.clone()), world.door(memory));
    let good = world.good();
    assert_eq!(front.admit(&good), Ok(()));
    assert!(back.admit(&good).is_err());
    // Many at once: the book on the disk is the newest, so that a restart knows all of them.
    let requests: Vec<Request> = (0..20).map(|_| world.good()).collect();
    let doors = requests.iter().cloned().enumerate().map(|(index, request)| {
        let door = if index % 2 == 0 { front.clone() } else { back.clone() };
        tokio::spawn(async move { door.admit(&request) })
    });
    let admitted: Vec<_> = futures::future::join_all(doors.collect::<Vec<_>>()).await;
    assert!(admitted.into_iter().all(|outcome| outcome.unwrap() == Ok(())));
    let restarted = world.door(world.memory());
    assert!(requests.iter().all(|request| restarted.admit(request).is_err()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_whose_book_cannot_be_kept_lets_nobody_in() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&folder.path().join("journal.sqlite"));
    let door = world.door(world.memory());
    let begun = || Entry::Begun { machine: Machine::Contract, id: Digest::ZERO, plan: Vec::new() };
    world.journal.keep(vec![begun(), begun()], clock::now()).await.unwrap_err();
    let refusal = door.admit(&world.good()).unwrap_err().to_string();
    assert!(refusal.contains("cannot keep its book") && refusal.contains("journal.sqlite"), "{refusal}");
}

/// A write that the owner's own key allows, shown for `asked`.
fn write(world: &World, grant: &Grant, asked: &Write) -> Write {
    let token = token::issue(&world.owner, grant).unwrap();
    world.nonces.set(world.nonces.get() + 1);
    let nonce = Digest([world.nonces.get(); 32]);
    let proven = gate::write_request(asked).unwrap();
    let proof = proof::sign(&world.owner, OWNER, &token, &proven, nonce, clock::now());
    let shown = Shown { token, proof, transaction: None };
    Write { capability: canonical::encode(&shown), ..asked.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_passes_the_same_door_and_no_action_is_a_write() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&folder.path().join("journal.sqlite"));
    let door = world.door(world.memory());
    let level = Write {
        thing: locker(),
        property: "level".into(),
        value: Value::Text("21.5".into()),
        unit: None,
        message: TXID.0,
        capability: Vec::new(),
    };
    let now = clock::now();
    let granted = |op, name| {
        let affordance = Affordance::new(op, name).unwrap();
        let grant = Grant::new(world.owner.public(), locker(), affordance, now, now + Span::from_seconds(60));
        Grant { uses: Some(1), ..grant }
    };
    let grant = granted(Op::WriteProperty, "level");
    let hotter = Write { value: Value::Text("99".into()), ..write(&world, &grant, &level) };
    let in_kelvin = Write { unit: Some("K".into()), ..write(&world, &grant, &level) };
    let secret = Write { property: "secret".into(), ..level.clone() };
    let secret = write(&world, &granted(Op::WriteProperty, "secret"), &secret);
    for (name, asked, why) in [
        ("nothing shown", level.clone(), "no capability is shown"),
        ("another value", hotter, "does not hold"),
        ("another unit", in_kelvin, "does not hold"),
        (
            "another property",
            write(&world, &granted(Op::WriteProperty, "mode"), &level),
            "another action or property",
        ),
        (
            "an action",
            write(&world, &granted(Op::InvokeAction, "level"), &level),
            "another action or property",
        ),
        ("not allowed", secret, "locker-co has not allowed that secret is written"),
    ] {
        let refusal = door.admit_write(&asked).expect_err(name).to_string();
        assert!(refusal.contains(why), "{name}: {refusal}");
    }
    let good = write(&world, &grant, &level);
    assert_eq!(door.admit_write(&good), Ok(()));
    assert!(door.admit_write(&good).is_err(), "it is used up");
    let audit = world.audit();
    assert_eq!(audit.iter().filter(|(kind, ok, _)| kind == "admitted" && *ok).count(), 1, "{audit:?}");
    assert_eq!(audit.len(), 8, "{audit:?}");
    let action = Request { capability: good.capability, ..asked("lock") };
    assert!(door.admit(&action).is_err(), "what is shown for a write opens nothing");
}
