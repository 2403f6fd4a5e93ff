//! Companies whose nodes are the members of a group, each a process of its own, and a transaction of one of them: they are
//! killed while they decide, are asked for the opposite meanwhile, and decide once.

use std::collections::BTreeSet;
use std::sync::Arc;

use sofie_ledgers::quorum::{Config, Quorum, Seated, group, profile};
use sofie_ledgers::{Ledger as _, LedgerError};
use sofie_model::quorum::{Certificate, Group, MAX_ASK, MAX_WORD, Word};
use sofie_model::{Decide, Decision, Digest, Manifest, Operation, Txid, canonical};
use sofie_node::config::Party;
use sofie_node::keys::PartyKeys;
use sofie_node::parties::preimage;

use super::*;

/// Their nodes' configurations; nobody runs yet.
fn members() -> [Company; 4] {
    let mut all = ["anna", "ben", "cleo", "dan"].map(|name| Company::made(name, &[]));
    let members: String = all.iter().map(|one| format!("{} = \"{}\"\n", one.key, one.url)).collect();
    for one in &mut all {
        one.ledgers = format!(
            "[[ledger]]\nid = \"notaries\"\nkind = \"quorum\"\ninclusion = \"5s\"\n[ledger.members]\n{members}\n\
             [[ledger]]\nid = \"calendar\"\nkind = \"calendar\"\n\n[[member]]\nledger = \"notaries\"\npace = \"100ms\"\n"
        );
    }
    all
}

/// The group from outside.
struct Outside {
    seated: Vec<Seated>,
    group: Group,
    http: reqwest::Client,
}

impl Outside {
    fn new(members: &[Company]) -> Self {
        let seat = |one: &Company| Seated {
            key: one.key.parse().expect("a key"),
            url: one.url.parse().expect("a URL"),
        };
        let seated: Vec<_> = members.iter().map(seat).collect();
        let group = group(&seated).expect("four keys");
        // No connection outlives the process at its other end.
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).pool_max_idle_per_host(0);
        let http = http.build().expect("a client");
        Self { seated, group, http }
    }

    async fn get(&self, at: &Company, path: &str) -> Vec<u8> {
        let answer = self.http.get(format!("{}{path}", at.url)).send().await.expect("it answers");
        assert!(answer.status().is_success(), "{path}: {answer:?}");
        answer.bytes().await.expect("bytes").to_vec()
    }

    /// Waits until this member says of the transaction what is wanted.
    async fn until<T>(&self, at: &Company, txid: Txid, wanted: impl Fn(&Word) -> Option<T>) -> T {
        let (since, nonce) = (Instant::now(), Digest([0x6e; 32]));
        loop {
            let path = format!("/api/v1/quorums/{}/words/{txid}/{nonce}", self.group.id());
            let word: Word = canonical::decode(&self.get(at, &path).await, MAX_WORD).expect("a word");
            assert_eq!(word.verify(&self.group, txid, &nonce), Ok(()));
            if let Some(found) = wanted(&word) {
                return found;
            }
            assert!(since.elapsed() < PATIENCE, "{} says {word:?}", at.name);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What this member has decided.
    async fn decided(&self, at: &Company, txid: Txid) -> Certificate {
        self.until(at, txid, |word| word.decided.clone()).await
    }

    /// Asks whoever lives for a decision.
    async fn ask(
        &self,
        manifest: &Arc<Manifest>,
        decide: Decide,
        keys: &PartyKeys,
    ) -> Result<(), LedgerError> {
        let config = Config { members: self.seated.clone() };
        let client = Quorum::open(&config, profile("notaries".parse().expect("a name"))).expect("a group");
        let client = client.acting_for([keys.secp256k1().clone()]);
        let operation = Operation::Decide { manifest: Arc::clone(manifest), decide };
        let intent = client.intend(&operation).await.expect("the rules allow it");
        client.submit(&intent).await
    }
}

/// The keys of a company's operator.
fn keys(of: &Company) -> PartyKeys {
    let key_file = of.folder.path().join(format!("sofie-data/keys/{}.key", of.name));
    let party = Party { name: of.name.parse().expect("a name"), key_file };
    let keys = PartyKeys::load_or_create(&party).expect("its keys");
    assert_eq!(keys.account().to_string(), of.account);
    keys
}

#[tokio::test]
async fn members_that_are_killed_while_they_decide_decide_once() {
    let mut members = members();
    let outside = Outside::new(&members);
    let [anna, ben, cleo, _] = &mut members;
    // Anna's node stops before it asks anybody for COMMIT; its member goes on.
    anna.start(&["--pause-at", "intent:commit"]);
    [&mut *ben, &mut *cleo].into_iter().for_each(|one| one.start(&[]));
    let draft = anna.folder.path().join("deed.json");
    let leg = json!({ "ledger": "calendar", "kind": "record", "payload": "a deed" });
    let asked = json!({ "deadline": "100s", "decision": "notaries", "legs": [leg] });
    std::fs::write(&draft, asked.to_string()).expect("it is written");
    let id = anna.one(&["submit", &draft.display().to_string()])["id"].as_str().expect("an id").to_owned();
    let txid: Txid = id.parse().expect("a txid");
    anna.process.as_mut().expect("it runs").paused();
    let bytes = outside.get(anna, &format!("/api/v1/transactions/{id}/manifest")).await;
    let manifest: Arc<Manifest> = Arc::new(canonical::decode(&bytes, MAX_ASK).expect("a manifest"));
    assert_eq!(manifest.txid(), txid);
    // Two of four take a COMMIT and vote: a third is missing, and they are killed.
    cleo.kill();
    let (keys, evidence_root) = (keys(anna), Digest([9; 32]));
    let preimages = vec![preimage(&keys, manifest.nonce)];
    let commit = Decide::Commit { included: 1, evidence_root, preimages, guard: None };
    outside.ask(&manifest, commit, &keys).await.expect("one of two is honest");
    for one in [&*anna, &*ben] {
        outside.until(one, txid, |word| word.said.commits.then_some(())).await;
    }
    anna.kill();
    ben.kill();
    // The third has heard of nothing, takes an ABORT, and is killed.
    cleo.start(&[]);
    let abort = Decide::Abort { by: keys.account(), signatures: vec![] };
    let said = outside.ask(&manifest, abort, &keys).await.expect_err("one is not enough").to_string();
    assert!(said.contains("1 of 4 members answer"), "{said}");
    cleo.kill();
    // The fourth stays away: these three have to agree, and Anna's node asks for its own COMMIT.
    [&mut *anna, &mut *ben, &mut *cleo].into_iter().for_each(|one| one.start(&[]));
    let verdict = anna.ends(&id);
    let mut values = BTreeSet::new();
    for one in [&*anna, &*ben, &*cleo] {
        let certificate = outside.decided(one, txid).await;
        let is_commit = matches!(certificate.value.decision, Decision::Commit { .. });
        assert_eq!(is_commit, verdict == "commit", "{}: {certificate:?}", one.name);
        values.insert(certificate.value.id());
    }
    [&mut *anna, &mut *ben, &mut *cleo].into_iter().for_each(Company::kill);
    // What was decided stands on each one's disk.
    for one in [ben, cleo] {
        one.start(&[]);
        values.insert(outside.decided(one, txid).await.value.id());
    }
    assert_eq!(values.len(), 1, "two certificates of one transaction: {values:?}");
}
