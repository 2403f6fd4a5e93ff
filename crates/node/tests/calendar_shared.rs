//! A calendar that another node uses over HTTP on loopback: the conformance suite against a real owner, which restarts; and
//! who may use it, how much, and what a stranger gets.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod place;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use sofie_ledgers::conformance::{self, Failure, Harness, Site};
use sofie_ledgers::{Ledger, LedgerError, Status};
use sofie_model::calendar::{Answer, Ask, Found, MAX_ANSWER, Request};
use sofie_model::proof::calendar::{Entry, Extension, LogProof, PublishedRoot};
use sofie_model::{Account, Attestation, Digest, Operation, SignedAttestation, Timestamp, canonical};
use sofie_node::api::PublishedSeconds;
use sofie_node::calendars::{self, MAX_AT_ONCE, MEDIA_TYPE, TAG};
use sofie_node::clock;
use sofie_node::config::Config;
use sofie_node::executor::Ledgers;
use sofie_node::http::{self, Options};
use sofie_node::journal::JournalError;
use sofie_node::opening;
use sofie_node::parties::Parties;
use sofie_node::peers::envelope::{Address, Fields, open_response, seal_request};
use sofie_node::runtime::{Runtime, StartError};
use tokio::sync::{mpsc, oneshot};

use crate::place::Place;

const PAUSE: Duration = Duration::from_millis(20);

impl Place {
    fn config(&self, name: &str, data: &str, ledger: &str, peers: &[(&str, &Place)]) -> Config {
        let peer = |(name, place): &(&str, &Place)| {
            let (url, key) = (place.authority(), place.key());
            format!("\n[[peer]]\nname = \"{name}\"\nurl = \"http://{url}\"\nkey = \"{key}\"\n")
        };
        let peers: String = peers.iter().map(peer).collect();
        let text = format!(
            "[node]\nname = \"{name}\"\nlisten = \"{}\"\ndata_dir = \"{data}\"\n\n[[party]]\nname = \"operator\"\n\
             key_file = \"operator.key\"\n\n[[ledger]]\nid = \"calendar\"\n{ledger}{peers}",
            self.authority()
        );
        Config::parse(&text, &self.file()).unwrap()
    }
}

/// A node that runs, with a runtime of its own.
struct Node {
    threads: Option<tokio::runtime::Runtime>,
    stop: Option<oneshot::Sender<()>>,
}

impl Drop for Node {
    /// Nobody waits for it.
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

impl Node {
    async fn start(config: Config) -> Self {
        tokio::task::spawn_blocking(|| Self::started(config)).await.unwrap()
    }

    fn started(config: Config) -> Self {
        let threads =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (stop, stopped) = oneshot::channel();
        let open = async move {
            let bound = http::bind(config.node.listen).await.unwrap();
            let (runtime, failed) = opened(&config).await;
            runtime.set_base_url(bound.base_url());
            tokio::spawn(async move {
                let _failed = failed;
                bound.serve(Arc::new(runtime), Options::default(), async { drop(stopped.await) }).await
            });
        };
        // Spawned, since opening blocks in place.
        threads.block_on(async { tokio::spawn(open).await.unwrap() });
        Self { threads: Some(threads), stop: Some(stop) }
    }

    /// Gone, whatever it was about to do.
    async fn stop(mut self) {
        drop(self.stop.take());
        let threads = self.threads.take();
        let stop = move || threads.map(|threads| threads.shutdown_timeout(Duration::from_secs(20)));
        tokio::task::spawn_blocking(stop).await.unwrap();
    }
}

/// A node that has just gone lets its journal go in its own time.
async fn opened(config: &Config) -> (Runtime, mpsc::Receiver<JournalError>) {
    loop {
        match Runtime::open(config.clone(), None).await {
            Ok(opened) => return opened,
            Err(StartError::Journal(JournalError::Held { .. })) => tokio::time::sleep(PAUSE).await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The owner's node and a reader's, whose ledger alone is opened.
struct World {
    owner: Place,
    reader: Place,
    decides: bool,
    state: Mutex<u32>,
    running: tokio::sync::Mutex<Option<Node>>,
}

impl World {
    fn new(decides: bool) -> Self {
        let (owner, reader) = (Place::new(), Place::new());
        Self { owner, reader, decides, state: Mutex::new(0), running: tokio::sync::Mutex::new(None) }
    }

    fn data(&self) -> String {
        format!("data-{}", self.state.lock().unwrap())
    }

    fn owner(&self, more: &str) -> Config {
        let ledger =
            format!("kind = \"calendar\"\ndecides = {}\npeers = [\"reader-co\"]\n{more}", self.decides);
        self.owner.config("owner", &self.data(), &ledger, &[("reader-co", &self.reader)])
    }

    fn log(&self) -> String {
        sofie_model::proof::calendar::verifier_key("owner/calendar", &self.owner.key())
    }

    fn reader(&self) -> Config {
        let ledger = format!(
            "kind = \"calendar-http\"\nurl = \"http://{}\"\nlog = \"{}\"\ndecides = {}\npoll = \"5ms\"\n",
            self.owner.authority(),
            self.log(),
            self.decides
        );
        self.reader.config("reader", &self.data(), &ledger, &[])
    }

    async fn restart(&self, more: &str) {
        let mut running = self.running.lock().await;
        if let Some(node) = running.take() {
            node.stop().await;
        }
        *running = Some(Node::start(self.owner(more)).await);
    }

    async fn ledger(&self) -> Arc<dyn Ledger> {
        let config = self.reader();
        let parties = Parties::load(&config).unwrap();
        let ledgers: Ledgers = opening::open(&config, &parties).await.unwrap().ledgers;
        Arc::clone(&ledgers[&"calendar".parse().unwrap()])
    }

    /// What becomes of a request that `by` signed.
    async fn ask(&self, by: &Place, request: &Request) -> Result<Answer, (u16, Value)> {
        let body = canonical::encode(request);
        let fields = self.seal(by, &body, [7; 16]);
        self.send(&fields, body).await
    }

    fn seal(&self, by: &Place, body: &[u8], nonce: [u8; 16]) -> Fields {
        let (authority, path) = (self.owner.authority(), calendars::path(&"calendar".parse().unwrap()));
        let to = Address { authority: &authority, path: &path, tag: TAG };
        seal_request(&to, body, nonce, clock::now(), by.keys.ed25519()).unwrap()
    }

    async fn send(&self, fields: &Fields, body: Vec<u8>) -> Result<Answer, (u16, Value)> {
        let (authority, path) = (self.owner.authority(), calendars::path(&"calendar".parse().unwrap()));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client.post(format!("http://{authority}{path}")).header("content-type", MEDIA_TYPE);
        for (name, value) in fields.pairs() {
            request = request.header(name, value);
        }
        let response = request.body(body).send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let content = response.bytes().await.unwrap();
        if status != 200 {
            return Err((status, serde_json::from_slice(&content).unwrap()));
        }
        let pairs: Vec<_> =
            headers.iter().filter_map(|(n, v)| Some((n.as_str(), v.to_str().ok()?))).collect();
        let to = Address { authority: &authority, path: &path, tag: TAG };
        let key = self.owner.keys.ed25519().verifying_key();
        open_response(&to, fields, 200, &pairs, &content, clock::now(), &key).unwrap();
        Ok(canonical::decode(&content, MAX_ANSWER).unwrap())
    }
}

#[async_trait]
impl Harness for World {
    async fn open(&self) -> Result<Arc<dyn Ledger>, Failure> {
        *self.state.lock().unwrap() += 1;
        self.restart("").await;
        Ok(self.ledger().await)
    }

    /// The owner restarts, too.
    async fn reopen(&self, ledger: Arc<dyn Ledger>) -> Result<Arc<dyn Ledger>, Failure> {
        drop(ledger);
        self.restart("").await;
        Ok(self.ledger().await)
    }

    fn site(&self) -> Site {
        Site {
            chain_id: 0,
            decision: Account::ZERO,
            escrow: Account([0xe; 20]),
            payer: self.reader.keys.account(),
            payee: self.owner.keys.account(),
            evidence_key: Account([3; 20]),
            amount: 1,
            others: vec![],
        }
    }

    fn attest(&self, attestation: Attestation) -> SignedAttestation {
        SignedAttestation { attestation, signature: vec![0; 65] }
    }

    async fn step(&self) -> Result<(), Failure> {
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn pass(&self, until: Timestamp) -> Result<(), Failure> {
        tokio::time::sleep(until.since(clock::now()).into()).await;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms_over_http_also_when_its_owner_restarts() {
    let outcomes = conformance::run_all(&World::new(false)).await.unwrap();
    assert_eq!(conformance::failures(&outcomes), "");
    assert!(outcomes.len() >= 16, "{}", outcomes.len());
}

fn append(number: u64) -> Ask {
    let entry = Entry::Note { topic: Digest::ZERO, commitment: Digest::sha256(&number.to_be_bytes()) };
    Ask::Append { intent: canonical::encode(&entry) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_listed_peers_are_answered_and_only_so_many_entries_are_taken() {
    let world = World::new(false);
    let stranger = Place::new();
    world.restart("peer_entries = 3\n").await;
    let ask = |seen, ask| Request { seen, ask };
    let said = |refused: (u16, Value)| (refused.0, refused.1["detail"].as_str().unwrap().to_owned());

    // Whoever is not listed learns nothing, not even how long the log is.
    for ask in [Ask::Head, append(0), Ask::Prove { indices: vec![] }] {
        let (status, why) = said(world.ask(&stranger, &Request { seen: 0, ask }).await.unwrap_err());
        assert!(status == 401 && why.contains("may use calendar calendar"), "{status}: {why}");
    }
    // A signature that fits another body.
    let body = canonical::encode(&ask(0, append(1)));
    let fields = world.seal(&world.reader, &body, [1; 16]);
    let (status, why) = said(world.send(&fields, canonical::encode(&ask(0, append(2)))).await.unwrap_err());
    assert!(status == 401 && why.contains("content-digest"), "{status}: {why}");
    // One that is sent again appends nothing more.
    for _ in 0..2 {
        let answer = world.send(&fields, body.clone()).await.unwrap();
        let Found::Stands { leaf, .. } = answer.found else { panic!("{answer:?}") };
        assert_eq!(leaf.index, 0);
    }
    for number in 2..4 {
        world.ask(&world.reader, &ask(0, append(number))).await.unwrap();
    }
    let (status, why) = said(world.ask(&world.reader, &ask(0, append(4))).await.unwrap_err());
    assert!(
        status == 403 && why == "peer reader-co has appended the 3 entries that it may",
        "{status}: {why}"
    );
    // What stands is no new entry, and everything can still be asked for; also after a restart.
    for _ in 0..2 {
        assert!(world.ask(&world.reader, &ask(3, append(3))).await.is_ok());
        let proof = world.ask(&world.reader, &ask(3, Ask::Prove { indices: vec![0, 2] })).await.unwrap();
        assert!(matches!(proof.found, Found::Proof { .. }), "{proof:?}");
        assert_eq!(said(world.ask(&world.reader, &ask(3, append(4))).await.unwrap_err()).0, 403);
        world.restart("peer_entries = 3\n").await;
    }
    // As the reader's node sees it: its owner says no, and time passes.
    let ledger = world.ledger().await;
    let note = Operation::Note { topic: Digest::ZERO, commitment: Digest::ZERO };
    let intent = ledger.intend(&note).await.unwrap();
    let Err(LedgerError::Transient { reason, .. }) = ledger.submit(&intent).await else {
        panic!("it is taken")
    };
    assert!(reason.contains("status 403") && reason.contains(&world.owner.authority()), "{reason}");
    assert_eq!(ledger.status(&note, None).await.unwrap(), Status::Absent);

    // A calendar that is not shared is to others as if it were not there, and no token is asked for.
    let (status, _) = {
        let private =
            world.owner.config("owner", "private", "kind = \"calendar\"\n", &[("reader-co", &world.reader)]);
        let mut running = world.running.lock().await;
        running.take().unwrap().stop().await;
        *running = Some(Node::start(private).await);
        drop(running);
        said(world.ask(&world.reader, &ask(0, Ask::Head)).await.unwrap_err())
    };
    assert_eq!(status, 404);
    world.running.lock().await.take().unwrap().stop().await;
}

/// What anyone gets at a path of the owner's node.
async fn get(world: &World, path: &str) -> (u16, Vec<u8>) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/api/v1/calendars/{path}", world.owner.authority());
    let answer = client.get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anyone_has_the_published_root_and_who_has_a_proof_what_puts_it_under_a_later_one() {
    let world = World::new(false);
    world.restart("").await;
    let problem = |(status, body): (u16, Vec<u8>)| {
        let body: Value = serde_json::from_slice(&body).unwrap();
        (status, body["detail"].as_str().unwrap().to_owned())
    };
    let (status, why) = problem(get(&world, "calendar/published").await);
    assert!(status == 404 && why.contains("has published 0 seconds"), "{status}: {why}");

    let ask = |ask| Request { seen: 0, ask };
    world.ask(&world.reader, &ask(append(1))).await.unwrap();
    let proven = world.ask(&world.reader, &ask(Ask::Prove { indices: vec![0] })).await.unwrap();
    let Found::Proof { proof } = proven.found else { panic!("{proven:?}") };
    world.ask(&world.reader, &ask(append(2))).await.unwrap();
    let published = async || loop {
        let (status, body) = get(&world, "calendar/published").await;
        if status == 200 {
            return serde_json::from_slice::<PublishedSeconds>(&body).unwrap();
        }
        tokio::time::sleep(PAUSE).await;
    };
    let newest = published().await;
    let root: PublishedRoot = newest.note.parse().unwrap();
    assert_eq!((newest.log.clone(), newest.size, newest.root), (world.log(), root.size, root.root));
    let head = proof.head().unwrap();
    let path = |size, root, seconds| format!("calendar/extension?size={size}&root={root}&seconds={seconds}");
    // Also after a restart.
    for _ in 0..2 {
        let (status, bytes) = get(&world, &path(head.size, head.root, root.size)).await;
        assert_eq!(status, 200);
        let alone = LogProof { published: None, ..proof.clone() };
        let extension = Extension::from_bytes(&bytes).unwrap();
        assert!(alone.under(&root, &[extension]).is_ok());
        let (_, again) = get(&world, &format!("calendar/published?size={}", root.size)).await;
        assert_eq!(serde_json::from_slice::<PublishedSeconds>(&again).unwrap(), newest);
        world.restart("").await;
    }
    // Without the root nobody learns how long the log is, and nothing strange is answered.
    for (path, status, expected) in [
        (path(head.size, Digest::ZERO, 1), 409, "never had that root"),
        (path(u64::MAX, head.root, 1), 409, "never had that root"),
        (path(head.size, head.root, u64::MAX), 409, "are published"),
        (path(head.size, head.root, 0), 409, "only after the first 0 seconds"),
        ("calendar/extension?size=1".into(), 400, "root"),
        (format!("{}&more=1", path(head.size, head.root, 1)), 400, "more"),
        (format!("calendar/extension?size=-1&root={}&seconds=1", head.root), 400, "size"),
        ("calendar/published?size=0".into(), 404, "not 0"),
        ("calendar/published?size=18446744073709551615".into(), 404, "has published"),
        ("calendar/published?size=x".into(), 400, "size"),
        ("other/published".into(), 404, "keeps no calendar other"),
        ("other/extension?size=1&root=00&seconds=1".into(), 400, "root"),
    ] {
        let (got, why) = problem(get(&world, &path).await);
        assert!(got == status && why.contains(expected), "{path}: {got}: {why}");
    }
    world.running.lock().await.take().unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_one_peer_is_bounded_and_ends() {
    let world = Arc::new(World::new(false));
    world.restart("").await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..4 * MAX_AT_ONCE as u64 {
        let world = Arc::clone(&world);
        tasks.spawn(async move { world.ask(&world.reader, &Request { seen: 0, ask: append(number) }).await });
    }
    let (mut taken, mut turned_away) = (0, 0);
    for answer in tasks.join_all().await {
        match answer {
            Ok(_) => taken += 1,
            Err((429, _)) => turned_away += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(taken > 0, "{turned_away} were turned away");
    let answer = world.ask(&world.reader, &Request { seen: 0, ask: Ask::Head }).await.unwrap();
    let log = world.log().parse().unwrap();
    let head = answer.head(&log, &sofie_model::calendar::LogKey::beginning(&log)).unwrap();
    assert_eq!(head.size, taken, "what was turned away is not there");
    // A node that uses the calendar does not ask for more at once than is answered.
    let ledger = world.ledger().await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 1000..1000 + 4 * MAX_AT_ONCE as u64 {
        let ledger = Arc::clone(&ledger);
        tasks.spawn(async move {
            let commitment = Digest::sha256(&number.to_be_bytes());
            let note = Operation::Note { topic: Digest::ZERO, commitment };
            ledger.submit(&ledger.intend(&note).await.unwrap()).await.unwrap();
            ledger.status(&note, None).await.unwrap()
        });
    }
    let all = tasks.join_all().await;
    assert!(all.iter().all(|status| matches!(status, Status::Final(_))), "{all:?}");
    world.running.lock().await.take().unwrap().stop().await;
}
