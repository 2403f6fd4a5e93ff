//! Two companies' nodes share a transaction by commands, as docs/guide/two-nodes.md tells it: two `sofie up` on loopback
//! and one anvil that both reach, and for a swap one bitcoind.

#[allow(dead_code, clippy::unwrap_used, reason = "the ledgers' tests use more of it")]
#[path = "../../../ledgers/tests/bitcoin/node.rs"]
mod bitcoind;
#[path = "../common/mod.rs"]
mod common;
mod contracts;
mod evidence;
mod members;
mod swap;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use common::processes::Process;
use common::{sofie, text};
use serde_json::{Value, json};
pub(crate) use sofie_peers::Anvil;
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(100);
/// What every party has in the beginning: 1 ether.
const ENDOWED: u128 = 1_000_000_000_000_000_000;
/// What Alice pays; Bob pays twice as much. More than all fees together.
pub(crate) const AMOUNT: u128 = 100_000_000_000_000_000;

/// A company's node: its folder and, while it runs, its process.
pub(crate) struct Company {
    pub(crate) name: &'static str,
    url: String,
    /// The ledgers in its configuration.
    ledgers: String,
    account: String,
    /// Its other parties, and their accounts.
    others: Vec<(&'static str, String)>,
    /// The key of its operator, as the other pins it.
    key: String,
    peer: String,
    pub(crate) folder: TempDir,
    process: Option<Process>,
}

impl Company {
    /// On a chain on which it has money.
    pub(crate) async fn new(name: &'static str, others: &[&'static str], chain: &Anvil) -> Self {
        let made = Self::made(name, others);
        chain.ask("anvil_setBalance", json!([made.account, format!("0x{ENDOWED:x}")])).await;
        let ledgers = format!(
            "[[ledger]]\nid = \"ethereum\"\nkind = \"evm-rpc\"\nurl = \"{}\"\nchain_id = 31337\nfinality = \"depth:1\"\n\
             inclusion = \"2s\"\nfinalises = \"2s\"\npoll = \"250ms\"\n",
            chain.url
        );
        Self { ledgers, ..made }
    }

    /// `sofie init` makes its keys, and tells what the other must know of it.
    fn made(name: &'static str, others: &[&'static str]) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|door| door.local_addr()).expect("a free port");
        let folder = tempfile::tempdir().expect("a folder");
        let node = format!("{name}-node");
        let parties = others.iter().flat_map(|other| ["--party", other]);
        let init = ["init", "-o", "json", "--name", &node, "--party", name];
        let made = sofie(&init).args(parties).arg(folder.path()).output().expect("it runs");
        assert!(made.status.success(), "{}", text(&made.stderr));
        let told: Value = serde_json::from_slice(&made.stdout).expect("JSON");
        let word = |place: &str| told.pointer(place).and_then(Value::as_str).expect("a text").to_owned();
        let (account, key) = (word("/parties/0/account"), word("/key"));
        let others = (1..).zip(others).map(|(at, other)| (*other, word(&format!("/parties/{at}/account"))));
        let (others, url) = (others.collect(), format!("http://{free}"));
        let (ledgers, peer) = (String::new(), String::new());
        Self { name, url, ledgers, account, others, key, peer, folder, process: None }
    }

    /// `other` is a peer, which may have this one pay `automatic`.
    pub(crate) fn knows(&mut self, other: &Self, automatic: u128) {
        let parties = [(other.name, other.account.clone())].into_iter().chain(other.others.clone());
        let parties: Vec<_> = parties.map(|(name, account)| format!("{name} = \"{account}\"")).collect();
        self.peer = format!(
            "\n[[peer]]\nname = \"{0}-co\"\nurl = \"{1}\"\nkey = \"{2}\"\nparties = {{ {3} }}\n\
             automatic = {{ ethereum = \"{automatic}\" }}\n",
            other.name,
            other.url,
            other.key,
            parties.join(", ")
        );
    }

    pub(crate) fn start(&mut self, args: &[&str]) {
        self.process = None;
        let config = self.folder.path().join("sofie.toml");
        std::fs::write(&config, self.text()).expect("it is written");
        let config = config.display().to_string();
        self.process = Some(Process::start(&[&["up", "-o", "json", "-c", &config], args].concat()));
    }

    fn text(&self) -> String {
        let others = self.others.iter().map(|(name, _)| format!("[[party]]\nname = \"{name}\"\n\n"));
        let others: String = others.collect();
        format!(
            "[node]\nname = \"{0}-node\"\noperator = \"{0}\"\nlisten = \"{1}\"\n\n[[party]]\nname = \"{0}\"\n\n\
             {others}{2}{3}",
            self.name,
            self.url.trim_start_matches("http://"),
            self.ledgers,
            self.peer
        )
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// `sofie ARGS` at this node: its exit code, what it tells, and what it says.
    pub(crate) fn run(&self, args: &[&str]) -> (i32, String, String) {
        let output = sofie(args).args(["--node", &self.url]).output().expect("it runs");
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// The same, as data.
    pub(crate) fn data(&self, args: &[&str]) -> Value {
        let (code, told, said) = self.run(&[args, &["-o", "json"]].concat());
        assert_eq!(code, 0, "{args:?}: {said}");
        serde_json::from_str(&told).expect("JSON")
    }

    /// Waits until the contract is in one of the states.
    pub(crate) fn contract_until(&self, id: &str, states: &[&str]) -> Value {
        let of = |shown: &Value| shown["state"].as_str().is_some_and(|state| states.contains(&state));
        self.contract_shows(id, &format!("{states:?}"), of)
    }

    /// Waits until the node shows of the contract what is wanted.
    pub(crate) fn contract_shows(&self, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let since = Instant::now();
        loop {
            let (code, told, said) = self.run(&["contract", "show", id, "-o", "json"]);
            match serde_json::from_str(&told) {
                Ok(shown) if code == 0 && wanted(&shown) => return shown,
                _ => assert!(since.elapsed() < PATIENCE, "{} is not {what}: {told}{said}", self.name),
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// `sofie tx ARGS` at this node.
    fn tx(&self, args: &[&str]) -> (i32, String, String) {
        self.run(&[&["tx"], args].concat())
    }

    /// The same, as data of one transaction.
    fn one(&self, args: &[&str]) -> Value {
        self.data(&[&["tx"], args].concat())
    }

    /// Waits until the node tells of the transaction what is wanted.
    fn until(&self, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.until_within(PATIENCE, id, what, wanted)
    }

    fn until_within(
        &self,
        patience: Duration,
        id: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let since = Instant::now();
        loop {
            let (code, told, said) = self.tx(&["show", id, "-o", "json"]);
            match serde_json::from_str(&told) {
                Ok(shown) if code == 0 && wanted(&shown) => return shown,
                _ => assert!(since.elapsed() < patience, "{} is not {what}: {told}{said}", self.name),
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn ends(&self, id: &str) -> String {
        let done = self.until(id, "done", |shown| shown["phase"] == "done");
        done["decision"].as_str().expect("a decision").to_owned()
    }

    fn draft(&self, name: &str, seconds: u64) -> String {
        let legs = [
            leg("ethereum", "transfer", "alice", "bob", AMOUNT),
            leg("ethereum", "transfer", "bob", "alice", 2 * AMOUNT),
        ];
        self.written(name, seconds, &legs)
    }

    fn written(&self, name: &str, seconds: u64, legs: &[Value]) -> String {
        let file = self.folder.path().join(name);
        let draft = json!({ "deadline": format!("{seconds}s"), "legs": legs });
        std::fs::write(&file, draft.to_string()).expect("it is written");
        file.display().to_string()
    }

    /// Submits it; gives the id.
    fn submits(&self, name: &str, seconds: u64) -> String {
        self.proposes(name, &self.draft(name, seconds))
    }

    fn proposes(&self, name: &str, draft: &str) -> String {
        let shown = self.one(&["submit", draft, "--key", name]);
        assert_eq!(shown["phase"], "proposed", "{shown}");
        shown["id"].as_str().expect("an id").to_owned()
    }
}

fn leg(ledger: &str, kind: &str, from: &str, to: &str, amount: u128) -> Value {
    json!({ "ledger": ledger, "kind": kind, "from": from, "to": to, "amount": format!("{amount}") })
}

/// Alice's node and Bob's, who may pay half of what the draft asks of him without being asked.
async fn companies(chain: &Anvil) -> (Company, Company) {
    let mut alice = Company::new("alice", &[], chain).await;
    let mut bob = Company::new("bob", &[], chain).await;
    alice.knows(&bob, 0);
    bob.knows(&alice, AMOUNT);
    (alice, bob)
}

pub(crate) async fn held(chain: &Anvil, companies: [&Company; 2]) -> [u128; 2] {
    let [alice, bob] = companies;
    [chain.balance(&alice.account).await, chain.balance(&bob.account).await]
}

/// Whether `after` is what `before` becomes by a change of `whole` [`AMOUNT`]s, but for fees.
#[track_caller]
pub(crate) fn changed(before: u128, after: u128, whole: i128) {
    let signed = |amount: u128| i128::try_from(amount).expect("it fits");
    let fees = signed(before) + whole * signed(AMOUNT) - signed(after);
    assert!((0..signed(AMOUNT) / 10).contains(&fees), "{before} to {after} is not {whole} amounts less fees");
}

#[tokio::test]
async fn what_one_company_submits_the_other_sees_and_declines_or_agrees_to() {
    let Some(chain) = Anvil::start() else { return };
    let (mut alice, mut bob) = companies(&chain).await;
    // Bob's node is away: nothing is begun.
    alice.start(&[]);
    let (code, _, said) = alice.tx(&["submit", &alice.draft("early", 90)]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("legs[0].to: for bob, peer bob-co at") && said.contains("nothing was begun"),
        "{said}"
    );
    assert_eq!(alice.one(&["ls"]), json!([]));
    bob.start(&[]);
    let before = held(&chain, [&alice, &bob]).await;

    let id = alice.submits("no", 120);
    bob.until(&id, "proposed", |shown| shown["phase"] == "proposed");
    let (code, told, _) = bob.tx(&["show", &id[..8]]);
    assert_eq!(code, 0);
    for part in [
        "phase        proposed",
        "label        verified",
        "leg 0        ethereum (verifying): proposed, alice pays bob 100000000000000000",
        "leg 1        ethereum (verifying): proposed, bob pays alice 200000000000000000",
        "proposed by  peer alice-co",
        "between      alice, bob",
        "because      with it 200000000000000000 is paid on ethereum, and 100000000000000000 is automatic",
        "next         sofie tx agree, or sofie tx decline",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(bob.one(&["decline", &id[..8], "--reason", "not this week"])["phase"], "declined");
    let (code, _, said) = bob.tx(&["agree", &id]);
    assert!(code == 1 && said.contains("its owner has declined: not this week"), "{code}: {said}");
    let declined = alice.until(&id, "declined", |shown| shown["phase"] == "declined");
    assert_eq!(declined["proposal"]["why"], "peer bob-co declines: its owner has declined: not this week");
    let id = alice.submits("back", 120);
    bob.until(&id, "proposed", |shown| shown["phase"] == "proposed");
    assert_eq!(alice.one(&["withdraw", &id[..8], "--reason", "sold elsewhere"])["phase"], "declined");
    let back = bob.until(&id, "declined", |shown| shown["phase"] == "declined");
    let why = "peer alice-co has withdrawn it: its owner has withdrawn it: sold elsewhere";
    assert_eq!(back["proposal"]["why"], why);
    let (code, _, said) = bob.tx(&["agree", &id]);
    assert!(code == 1 && said.contains("sold elsewhere"), "{code}: {said}");
    assert_eq!(held(&chain, [&alice, &bob]).await, before, "nothing was paid, not even a fee");

    let id = alice.submits("yes", 120);
    bob.until(&id, "proposed", |shown| shown["phase"] == "proposed");
    bob.one(&["agree", &id]);
    bob.one(&["agree", &id]);
    assert_eq!((alice.ends(&id), bob.ends(&id)), ("commit".into(), "commit".into()));
    let after = held(&chain, [&alice, &bob]).await;
    changed(before[0], after[0], 1);
    changed(before[1], after[1], -1);
}

/// Killed at a step of its journal and started again, either node ends as the other does.
#[tokio::test]
async fn a_node_that_is_killed_at_a_step_ends_as_the_other_does() {
    let Some(chain) = Anvil::start() else { return };
    let (mut alice, mut bob) = companies(&chain).await;
    // Each stops before it sends what its own party locks: the other's is locked, or about to be.
    for (name, whose, step) in [("a-locks", 0, "intent:prepare 0"), ("b-locks", 1, "intent:prepare 1")] {
        let before = held(&chain, [&alice, &bob]).await;
        let stop = ["--pause-at", step];
        alice.start(if whose == 0 { &stop } else { &[] });
        bob.start(if whose == 1 { &stop } else { &[] });
        let id = alice.submits(name, 120);
        bob.until(&id, "proposed", |shown| shown["phase"] == "proposed");
        // It may stop before it has answered: then the word is given, and its answer is not.
        let _ = bob.tx(&["agree", &id]);
        let killed = if whose == 0 { &mut alice } else { &mut bob };
        killed.process.as_mut().expect("it runs").paused();
        killed.kill();
        killed.start(&[]);
        let (hers, his) = (alice.ends(&id), bob.ends(&id));
        assert_eq!(hers, his, "killed at {step}");
        let after = held(&chain, [&alice, &bob]).await;
        let whole = i128::from(hers == "commit");
        changed(before[0], after[0], whole);
        changed(before[1], after[1], -whole);
    }
}

/// Both nodes are dead after D has decided; a third, which holds no key of theirs, drives the legs from the manifest.
#[tokio::test]
async fn a_watcher_elsewhere_finishes_what_dead_nodes_have_decided() {
    let Some(chain) = Anvil::start() else { return };
    let (mut alice, mut bob) = companies(&chain).await;
    let mut watcher = Company::new("watcher", &[], &chain).await;
    let before = held(&chain, [&alice, &bob]).await;
    let stop = ["--pause-at", "intent:apply 0"];
    alice.start(&stop);
    bob.start(&stop);
    watcher.start(&[]);
    let id = alice.submits("watched", 120);
    bob.until(&id, "proposed", |shown| shown["phase"] == "proposed");
    bob.one(&["agree", &id]);
    for company in [&mut alice, &mut bob] {
        company.process.as_mut().expect("it runs").paused();
    }
    let file = watcher.folder.path().join("story.manifest").display().to_string();
    assert_eq!(alice.tx(&["manifest", &id, &file]).0, 0);
    alice.kill();
    bob.kill();
    let cut = format!("{file}.cut");
    let manifest = std::fs::read(&file).expect("a manifest");
    std::fs::write(&cut, &manifest[1..]).expect("a file");
    let (code, _, said) = watcher.tx(&["watch", &cut]);
    assert!(code == 1 && said.contains("the manifest cannot be watched"), "{said}");
    // Neither has sent what pays Bob.
    changed(before[1], held(&chain, [&alice, &bob]).await[1], -2);

    for _ in 0..2 {
        assert_eq!(watcher.one(&["watch", &file])["id"], id.as_str());
    }
    assert_eq!(watcher.ends(&id), "commit");
    let after = held(&chain, [&alice, &bob]).await;
    changed(before[0], after[0], 1);
    changed(before[1], after[1], -1);
    // A node of a participant is no watcher: it takes part.
    let (code, told, _) = watcher.tx(&["show", &id]);
    assert!(code == 0 && told.contains("watched"), "{told}");
}
