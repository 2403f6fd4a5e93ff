//! One chain, and nodes on it that come and go, each on threads of its own: to drop those is to kill it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use sofie_ledgers::evm::contracts::{DECISION, ESCROW};
use sofie_model::manifest::{DecisionSite, Participant, TransferTerms};
use sofie_model::{
    Account, Class, Digest, Finality, LedgerId, Leg, Manifest, Rule, Span, Terms, Timestamp, Txid,
};
use sofie_node::config::Config;
use sofie_node::http::{self, Options};
use sofie_node::journal::JournalError;
use sofie_node::keys::PartyKeys;
use sofie_node::runtime::{Runtime, StartError};
pub(crate) use sofie_peers::Anvil;
use sofie_peers::Port;
use sofie_transaction::{Phase, Plan};
use tokio::sync::{mpsc, oneshot};

/// A bound on waiting, not a measure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
const CHAIN: u64 = Anvil::CHAIN;
/// What every party has in the beginning: 1 ether.
const ENDOWED: u128 = 1_000_000_000_000_000_000;
/// What the first leg moves, and the others more of: more than all fees together.
pub(crate) const AMOUNT: u128 = 100_000_000_000_000_000;
/// What each node may pay unasked: enough for every leg.
pub(crate) const AUTOMATIC: u128 = 3 * AMOUNT;

/// The chain as a node's configuration names it.
pub(crate) fn evm(chain: &Anvil) -> String {
    format!(
        "[[ledger]]\nid = \"ethereum\"\nkind = \"evm-rpc\"\nurl = \"{}\"\nchain_id = {CHAIN}\nfinality = \
         \"depth:1\"\ninclusion = \"2s\"\nfinalises = \"2s\"\npoll = \"250ms\"\n",
        chain.url
    )
}

/// Who a node is: its folder, its port, and its one party.
pub(crate) struct Who {
    pub(crate) name: &'static str,
    port: Port,
    pub(crate) keys: PartyKeys,
    folder: tempfile::TempDir,
}

impl Who {
    pub(crate) fn new(name: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let party = sofie_node::config::Party {
            name: name.parse().unwrap(),
            key_file: folder.path().join("data/keys").join(format!("{name}.key")),
        };
        let keys = PartyKeys::load_or_create(&party).unwrap();
        Self { name, port: Port::free(), keys, folder }
    }

    pub(crate) fn account(&self) -> Account {
        self.keys.account()
    }

    pub(crate) fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its configuration, with `peers`, each of which may have it pay `automatic` unasked.
    fn config(&self, chain: Option<&Anvil>, peers: &[&Who], automatic: u128) -> Config {
        Config::parse(&self.text(chain, peers, automatic), &self.folder.path().join("sofie.toml")).unwrap()
    }

    fn text(&self, chain: Option<&Anvil>, peers: &[&Who], automatic: u128) -> String {
        let ledger = match chain {
            Some(chain) => evm(chain),
            None => {
                let genesis = format!("genesis = {{ {} = \"{ENDOWED}\" }}\n", self.name);
                format!("[[ledger]]\nid = \"ethereum\"\nkind = \"evm-embedded\"\n{genesis}")
            }
        };
        self.written(&ledger, peers, &format!("ethereum = \"{automatic}\""))
    }

    /// As [`Who::config`], with these ledgers.
    pub(crate) fn config_on(&self, ledgers: &str, peers: &[&Who], automatic: &str) -> Config {
        let text = self.written(ledgers, peers, automatic);
        Config::parse(&text, &self.folder.path().join("sofie.toml")).unwrap()
    }

    /// As [`Who::config_on`], with one more peer, which is a `watcher` to this node, or is `watched` by it.
    pub(crate) fn config_with(
        &self,
        ledgers: &str,
        peers: &[&Who],
        automatic: &str,
        (role, other): (&str, &Who),
    ) -> Config {
        let text = format!(
            "{}\n[[peer]]\nname = \"{}-co\"\nurl = \"http://{}\"\nkey = \"{}\"\npublish = []\n{role} = true\n",
            self.written(ledgers, peers, automatic),
            other.name,
            other.authority(),
            hex::encode(other.keys.ed25519().verifying_key().as_bytes()),
        );
        Config::parse(&text, &self.folder.path().join("sofie.toml")).unwrap()
    }

    fn written(&self, ledgers: &str, peers: &[&Who], automatic: &str) -> String {
        let mut text = format!(
            "[node]\nname = \"{0}-node\"\noperator = \"{0}\"\nlisten = \"127.0.0.1:{1}\"\ndata_dir = \"data\"\n\n\
             [[party]]\nname = \"{0}\"\n\n{ledgers}",
            self.name, self.port
        );
        for peer in peers {
            text.push_str(&format!(
                "\n[[peer]]\nname = \"{0}-co\"\nurl = \"http://{1}\"\nkey = \"{2}\"\nparties = {{ {0} = \"{3}\" }}\n\
                 automatic = {{ {automatic} }}\n",
                peer.name,
                peer.authority(),
                hex::encode(peer.keys.ed25519().verifying_key().as_bytes()),
                peer.account()
            ));
        }
        text
    }
}

/// What comes of opening a node.
pub(crate) type Opening = Result<(Runtime, mpsc::Receiver<JournalError>), StartError>;

/// A node that runs.
pub(crate) struct Node {
    threads: tokio::runtime::Runtime,
    pub(crate) runtime: Runtime,
    stop: oneshot::Sender<()>,
}

impl Node {
    /// Opens it with its door.
    pub(crate) fn start(who: &Who, chain: &Anvil, peers: &[&Who], automatic: u128) -> Self {
        Self::with(who.config(Some(chain), peers, automatic))
    }

    /// One on a chain of its own, for what needs no other.
    pub(crate) fn alone(who: &Who, peers: &[&Who]) -> Self {
        Self::with(who.config(None, peers, 0))
    }

    /// As [`Node::alone`], for one peer that may know these parties only.
    pub(crate) fn publishing(who: &Who, peer: &Who, parties: &[&str]) -> Self {
        let text = format!("{}publish = {parties:?}\n", who.text(None, &[peer], 0));
        Self::with(Config::parse(&text, &who.folder.path().join("sofie.toml")).unwrap())
    }

    fn with(config: Config) -> Self {
        Self::opened(config, async |config| Runtime::open(config, None).await).unwrap()
    }

    /// One that `open` opens; an error where that fails.
    pub(crate) fn opened(config: Config, open: impl AsyncFn(Config) -> Opening) -> Result<Self, StartError> {
        let threads =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (stop, stopped) = oneshot::channel();
        let runtime = threads.block_on(async move {
            let bound = http::bind(config.node.listen).await.unwrap();
            let (runtime, failed) = opened(config, open).await?;
            runtime.set_base_url(bound.base_url());
            let served = Arc::new(runtime.clone());
            tokio::spawn(async move {
                let _failed = failed;
                bound.serve(served, Options::default(), async { drop(stopped.await) }).await
            });
            Ok::<_, StartError>(runtime)
        })?;
        Ok(Self { threads, runtime, stop })
    }

    /// As [`Node::start`], after everybody was given money.
    pub(crate) fn start_funded(who: &Who, chain: &Anvil, peers: &[&Who], all: &[&Who]) -> Self {
        let threads = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        threads.block_on(fund(chain, all));
        Self::start(who, chain, peers, AUTOMATIC)
    }

    /// Runs on the node's own threads.
    pub(crate) fn run<T>(&self, what: impl Future<Output = T>) -> T {
        self.threads.block_on(what)
    }

    /// Ends it without a word: whatever is under way is dropped where it stands.
    pub(crate) fn kill(self) {
        drop(self.stop);
        drop(self.runtime);
        self.threads.shutdown_timeout(Duration::from_secs(20));
    }

    pub(crate) fn phase(&self, txid: Txid) -> Option<Phase> {
        self.runtime.transactions().state(txid).unwrap().map(|state| state.phase().clone())
    }

    /// Waits until the transaction's phase is what is wanted.
    #[track_caller]
    pub(crate) fn until(&self, txid: Txid, wanted: impl Fn(&Phase) -> bool) -> Phase {
        let since = Instant::now();
        loop {
            match self.phase(txid) {
                Some(phase) if wanted(&phase) => return phase,
                other if since.elapsed() > PATIENCE => panic!("{txid} is still {other:?}"),
                _ => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Waits until it has ended; tells whether it committed.
    #[track_caller]
    pub(crate) fn ends(&self, txid: Txid) -> bool {
        let phase = self.until(txid, |phase| matches!(phase, Phase::Done(_)));
        matches!(phase, Phase::Done(sofie_model::Decision::Commit { .. }))
    }

    /// The kinds of the audit records about `about`, in order, with their words.
    pub(crate) fn told(&self, about: Digest) -> Vec<(String, String)> {
        let records = self.runtime.journal().reader().unwrap().audit().unwrap();
        let records = records.iter().map(|bytes| sofie_node::auditor::Record::from_bytes(bytes).unwrap());
        records.filter(|record| record.subject == about).map(|record| (record.kind, record.detail)).collect()
    }
}

/// A node that was just killed lets its journal go in its own time.
async fn opened(config: Config, open: impl AsyncFn(Config) -> Opening) -> Opening {
    let since = Instant::now();
    loop {
        match open(config.clone()).await {
            Err(StartError::Journal(JournalError::Held { .. })) if since.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            other => return other,
        }
    }
}

/// Whether `after` is what `before` becomes by a change of `whole` [`AMOUNT`]s, but for fees.
#[track_caller]
pub(crate) fn changed(before: u128, after: u128, whole: i128) {
    let amount = i128::try_from(AMOUNT).unwrap();
    let fees = i128::try_from(before).unwrap() + whole * amount - i128::try_from(after).unwrap();
    assert!((0..amount / 10).contains(&fees), "{before} to {after} is not {whole} amounts less fees");
}

/// Money for everybody.
pub(crate) async fn fund(chain: &Anvil, parties: &[&Who]) {
    for who in parties {
        chain.ask("anvil_setBalance", json!([who.account().to_string(), format!("0x{ENDOWED:x}")])).await;
    }
}

/// What everybody holds, and what the escrow holds for them.
pub(crate) async fn held(chain: &Anvil, parties: &[&Who]) -> (Vec<u128>, u128) {
    let mut balances = Vec::new();
    for who in parties {
        balances.push(chain.balance(who.account()).await);
    }
    (balances, chain.balance(ESCROW.address).await)
}

/// Each of `parties` pays the next one, the last the first: the first [`AMOUNT`], the second twice, and so on.
pub(crate) fn ring(parties: &[Participant], nonce: Digest, seconds: u64) -> Manifest {
    let now = sofie_node::clock::now();
    let deadline = Timestamp::from_seconds(now.as_seconds() + seconds);
    let ledger: LedgerId = "ethereum".parse().unwrap();
    let leg = |index: usize| Leg {
        ledger: ledger.clone(),
        class: Class::Verifying,
        finality: Finality::Depth(1),
        required: true,
        terms: Terms::Transfer(TransferTerms {
            contract: ESCROW.address,
            payer: parties[index].account,
            payee: parties[(index + 1) % parties.len()].account,
            // Each pays another amount: what is paid to the wrong one shows.
            amount: AMOUNT * (index as u128 + 1),
        }),
        fee_limit: AMOUNT,
    };
    Manifest {
        version: 1,
        legs: (0..parties.len()).map(leg).collect(),
        rule: Rule::All,
        decision: DecisionSite {
            ledger: ledger.clone(),
            chain_id: CHAIN,
            contract: DECISION.address,
            finality: Finality::Depth(1),
            fee_limit: AMOUNT,
        },
        deadline,
        grace: Span::ZERO,
        guard: Account::ZERO,
        participants: parties.to_vec(),
        nonce,
    }
}

/// The first of `parties` as its own node takes part.
pub(crate) fn own(who: &Who, nonce: Digest) -> Participant {
    let secret = sofie_node::parties::preimage(&who.keys, nonce);
    Participant { account: who.account(), hashlock: Digest::sha256(secret.as_bytes()) }
}

/// What the node of the first participant begins with.
pub(crate) fn plan(manifest: Manifest) -> Plan {
    Plan { manifest, acts_for: vec![0], decision_time: Span::from_seconds(4), pivot: None }
}

/// A nonce that nobody has drawn before.
pub(crate) fn nonce() -> Digest {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    Digest(bytes)
}

/// Proposes from `first` a ring of all `parties`, whose first is its own.
pub(crate) fn propose(first: &Node, parties: &[&Who], seconds: u64) -> Txid {
    let nonce = nonce();
    let mut participants = vec![own(parties[0], nonce)];
    for who in &parties[1..] {
        let enquired = first.run(first.runtime.peers().enquire(who.account(), nonce)).unwrap();
        participants.push(enquired.0);
    }
    let plan = plan(ring(&participants, nonce, seconds));
    let peers = first.runtime.peers();
    first.run(peers.propose(plan, Vec::new(), Vec::new(), Vec::new())).unwrap().unwrap()
}
