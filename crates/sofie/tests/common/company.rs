//! A company's node: made by `sofie init`, run by `sofie up` as a process of its own, and asked by commands.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sofie_model::PublicKey;
use sofie_node::config::Config;
use sofie_node::keys::PartyKeys;
use sofie_peers::Anvil;
use tempfile::TempDir;

use super::processes::Process;
use super::{sofie, text};

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
pub(crate) const PAUSE: Duration = Duration::from_millis(100);
/// What every party has in the beginning: 1 ether.
pub(crate) const ENDOWED: u128 = 1_000_000_000_000_000_000;
/// What Alice pays; Bob pays twice as much. More than all fees together.
pub(crate) const AMOUNT: u128 = 100_000_000_000_000_000;

/// A company's node: its folder and, while it runs, its process.
pub(crate) struct Company {
    pub(crate) name: &'static str,
    pub(crate) url: String,
    /// The ledgers in its configuration.
    pub(crate) ledgers: String,
    pub(crate) account: String,
    /// Its other parties, and their accounts.
    pub(crate) others: Vec<(&'static str, String)>,
    /// The key of its operator, as the other pins it.
    pub(crate) key: String,
    peer: String,
    pub(crate) folder: TempDir,
    pub(crate) process: Option<Process>,
}

impl Company {
    /// On a chain on which it has money.
    pub(crate) async fn new(name: &'static str, others: &[&'static str], chain: &Anvil) -> Self {
        let made = Self::made(name, others);
        endow(chain, &made.account).await;
        Self { ledgers: ethereum(&chain.url), ..made }
    }

    /// `sofie init` makes its keys, and tells what the other must know of it.
    pub(crate) fn made(name: &'static str, others: &[&'static str]) -> Self {
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
        self.try_start(args).unwrap_or_else(|why| panic!("{}: {why}", self.name));
    }

    /// Starts it, unless its ledgers fail it meanwhile.
    pub(crate) fn try_start(&mut self, args: &[&str]) -> Result<(), String> {
        self.process = None;
        let config = self.folder.path().join("sofie.toml");
        std::fs::write(&config, self.text()).expect("it is written");
        let config = config.display().to_string();
        let started = Process::try_start(&[&["up", "-o", "json", "-c", &config], args].concat())?;
        self.process = Some(started);
        Ok(())
    }

    /// The key that locks and spends the bitcoin of its first parties, in the order of the configuration.
    pub(crate) fn bitcoin_key(&self, party: usize) -> PublicKey {
        let config = Config::parse(&self.text(), &self.folder.path().join("sofie.toml")).expect("it is good");
        let keys = PartyKeys::load_or_create(&config.parties[party]).expect("they were made");
        PublicKey::from(keys.secp256k1().verifying_key())
    }

    pub(crate) fn text(&self) -> String {
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
    pub(crate) fn tx(&self, args: &[&str]) -> (i32, String, String) {
        self.run(&[&["tx"], args].concat())
    }

    /// The same, as data of one transaction.
    pub(crate) fn one(&self, args: &[&str]) -> Value {
        self.data(&[&["tx"], args].concat())
    }

    /// Waits until the node tells of the transaction what is wanted.
    pub(crate) fn until(&self, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.until_within(PATIENCE, id, what, wanted)
    }

    pub(crate) fn until_within(
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

    pub(crate) fn ends(&self, id: &str) -> String {
        let done = self.until(id, "done", |shown| shown["phase"] == "done");
        done["decision"].as_str().expect("a decision").to_owned()
    }

    pub(crate) fn draft(&self, name: &str, seconds: u64) -> String {
        let legs = [
            leg("ethereum", "transfer", "alice", "bob", AMOUNT),
            leg("ethereum", "transfer", "bob", "alice", 2 * AMOUNT),
        ];
        self.written(name, seconds, &legs)
    }

    pub(crate) fn written(&self, name: &str, seconds: u64, legs: &[Value]) -> String {
        let file = self.folder.path().join(name);
        let draft = json!({ "deadline": format!("{seconds}s"), "legs": legs });
        std::fs::write(&file, draft.to_string()).expect("it is written");
        file.display().to_string()
    }

    /// Submits it; gives the id.
    pub(crate) fn submits(&self, name: &str, seconds: u64) -> String {
        self.proposes(name, &self.draft(name, seconds))
    }

    pub(crate) fn proposes(&self, name: &str, draft: &str) -> String {
        let shown = self.one(&["submit", draft, "--key", name]);
        assert_eq!(shown["phase"], "proposed", "{shown}");
        shown["id"].as_str().expect("an id").to_owned()
    }
}

/// Money on the chain for a party: [`ENDOWED`].
pub(crate) async fn endow(chain: &Anvil, account: &str) {
    chain.ask("anvil_setBalance", json!([account, format!("0x{ENDOWED:x}")])).await;
}

/// An anvil with a block a second, as a node's ledger.
pub(crate) fn ethereum(url: &str) -> String {
    format!(
        "[[ledger]]\nid = \"ethereum\"\nkind = \"evm-rpc\"\nurl = \"{url}\"\nchain_id = 31337\nfinality = \"depth:1\"\n\
         inclusion = \"2s\"\nfinalises = \"2s\"\npoll = \"250ms\"\n"
    )
}

pub(crate) fn leg(ledger: &str, kind: &str, from: &str, to: &str, amount: u128) -> Value {
    json!({ "ledger": ledger, "kind": kind, "from": from, "to": to, "amount": format!("{amount}") })
}
