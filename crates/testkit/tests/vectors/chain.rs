//! Proofs whose ledger is an Ethereum chain: of events, and of records in batches. The chain is the embedded one, with the
//! contracts' own bytecode, at one instant; so each run makes the same blocks. Others of the same shape must be refused.

use std::path::Path;
use std::sync::Arc;

use sofie_ledgers::evm::{
    EmbeddedChain, EvmLedger, EvmRecords, Genesis, Keyring, RecordsConfig, embedded_profile, records_profile,
};
use sofie_ledgers::{Clock, Ledger, Status};
use sofie_model::proof::batch::BatchProof;
use sofie_model::proof::evm::ChainProof;
use sofie_model::{
    Anchor, Attestation, Decide, Digest, Evidence, LedgerId, LegId, Manifest, Operation, Proof, Span, Step,
    Timestamp, canonical, evidence,
};

use crate::Vector;
use crate::examples::{CHAIN, DEADLINE, account, chained, key, secret};

/// The legs of [`chained`].
const TRANSFER: LegId = LegId(0);
const ESCROW: LegId = LegId(1);
const RECORD: LegId = LegId(2);
/// Records of a batch.
const FULL: u32 = 3;
/// When all of it happens.
const NOW: Timestamp = Timestamp::from_seconds(DEADLINE - 100);
/// What each account has, and what a batch's transaction may cost at most, in wei.
const MONEY: u128 = 1_000_000_000_000_000_000;

pub(crate) fn vectors() -> Vec<Vector> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    runtime.block_on(async { World::open(folder.path()).await.vectors().await })
}

struct World {
    evm: Arc<EvmLedger>,
    records: EvmRecords,
    manifest: Arc<Manifest>,
}

impl World {
    async fn open(folder: &Path) -> Self {
        let clock: Clock = Arc::new(|| NOW);
        let mut keyring = Keyring::default();
        for byte in [1, 2, 5] {
            keyring.insert(&[byte; 32].into()).unwrap();
        }
        let balances = [1, 2, 5].map(|byte| (account(byte), MONEY)).into();
        let genesis = Genesis { chain_id: CHAIN, base_fee: 7, balances };
        let chain = EmbeddedChain::open(&folder.join("chain"), &genesis, Arc::clone(&clock)).unwrap();
        let profile = embedded_profile("evm".parse().unwrap());
        let evm = Arc::new(EvmLedger::open(Arc::new(chain), profile, keyring, account(5)).await.unwrap());
        let interval = Span::from_seconds(1);
        let config = RecordsConfig { path: folder.join("records"), interval, most: FULL, fee_limit: MONEY };
        let profile = records_profile("records".parse().unwrap(), evm.profile(), interval);
        let records = EvmRecords::open(config, profile, Arc::clone(&evm), clock).await.unwrap();
        let manifest = Arc::new(chained(evm.decision_address(), evm.escrow_address()));
        Self { evm, records, manifest }
    }

    fn step(&self, leg: LegId, step: Step) -> Operation {
        Operation::Leg { manifest: Arc::clone(&self.manifest), leg, step }
    }

    /// The payer's two locks share a block: the later nonce comes first and waits for the other.
    async fn locked(&self) -> [Evidence; 2] {
        let locks = [TRANSFER, ESCROW].map(|leg| self.step(leg, Step::Prepare));
        let mut intents = Vec::new();
        for lock in &locks {
            intents.push(self.evm.intend(lock).await.unwrap());
        }
        for intent in intents.iter().rev() {
            self.evm.submit(intent).await.unwrap();
        }
        let [first, second] = &locks;
        [stands(&*self.evm, first).await, stands(&*self.evm, second).await]
    }

    async fn done(&self, operation: &Operation) -> Evidence {
        let intent = self.evm.intend(operation).await.unwrap();
        self.evm.submit(&intent).await.unwrap();
        stands(&*self.evm, operation).await
    }

    /// A full batch: this step of the record leg after a note, and before another.
    async fn batched(&self, step: Step, number: u8) -> [Evidence; 2] {
        let note = |byte| Operation::Note { topic: Digest([1; 32]), commitment: Digest([byte; 32]) };
        let operations = [note(number), self.step(RECORD, step), note(number + 1)];
        for operation in &operations {
            let intent = self.records.intend(operation).await.unwrap();
            self.records.submit(&intent).await.unwrap();
        }
        self.records.drive().await.unwrap();
        [stands(&self.records, &operations[0]).await, stands(&self.records, &operations[1]).await]
    }

    async fn vectors(&self) -> Vec<Vector> {
        let locked = self.locked().await;
        let [noted, prepared] = self.batched(Step::Prepare, 2).await;
        let decide = Decide::Commit {
            included: 0b111,
            evidence_root: evidence::root([&locked[0], &locked[1], &prepared]),
            preimages: vec![secret(1), secret(2)],
            guard: None,
        };
        let decided = self.done(&Operation::Decide { manifest: Arc::clone(&self.manifest), decide }).await;
        let applied = self.done(&self.step(TRANSFER, Step::Apply)).await;
        let armed = self.done(&self.step(ESCROW, Step::Apply)).await;
        let settled = self.done(&self.step(ESCROW, Step::Settle(self.word().sign(&key(3))))).await;
        let [_, closed] = self.batched(Step::Apply, 4).await;

        let whole = [locked.to_vec(), vec![decided.clone(), applied.clone(), armed, settled]].concat();
        let whole = self.evm.prove(&self.manifest, &whole).await.unwrap();
        let Proof::Evm(short) = self.evm.prove(&self.manifest, &[decided, applied]).await.unwrap() else {
            panic!("another ledger's proof")
        };
        let first = [noted, prepared];
        let Proof::Batch(records) = self.records.prove(&self.manifest, &first).await.unwrap() else {
            panic!("another ledger's proof")
        };
        let [noted, prepared] = first;
        let batches = self.records.prove(&self.manifest, &[noted, prepared, closed]).await.unwrap();
        let mut vectors = vec![
            Vector::new("the transaction that the proofs are about", "manifest", &*self.manifest)
                .expect("txid", self.manifest.txid().0),
            self.good("locks in one block, a decision, and what followed", "evm", &whole),
            self.good("records of two batches", "records", &batches),
        ];
        vectors.extend(self.refused_events(&short));
        vectors.extend(self.refused_records(&records));
        vectors
    }

    fn word(&self) -> Attestation {
        Attestation {
            chain_id: CHAIN,
            contract: self.evm.escrow_address(),
            txid: self.manifest.txid(),
            leg: ESCROW,
            observation: Digest([6; 32]),
            fulfilled: true,
            observed_at: NOW,
        }
    }

    fn good(&self, name: &'static str, ledger: &str, proof: &Proof) -> Vector {
        let proven = proof.verify(&ledger.parse().unwrap(), &self.manifest).unwrap();
        let Anchor::Evm { height, block_hash, .. } = proven.anchor else { panic!("{:?}", proven.anchor) };
        Vector::new(name, "proof", proof)
            .expect("ledger", ledger)
            .expect("height", height)
            .expect("block_hash", block_hash)
            .expect("evidence", hex::encode(canonical::encode(&proven.evidence)))
    }

    fn refused(&self, name: &'static str, ledger: &str, proof: &Proof, part: &str) -> Vector {
        let ledger: LedgerId = ledger.parse().unwrap();
        let bad = proof.verify(&ledger, &self.manifest).expect_err(name);
        assert_eq!(bad.part, part, "{name}: {bad}");
        Vector::new(name, "proof", proof).expect("ledger", ledger).expect("refused", part)
    }

    /// Changes of a proof of the decision and of the transfer, each in a block of its own.
    fn refused_events(&self, good: &ChainProof) -> Vec<Vector> {
        type Change = fn(&mut ChainProof);
        let table: [(&'static str, Change, &str); 9] = [
            ("of another chain", |p| p.chain_id += 1, "chain"),
            ("headers that do not link", |p| p.headers.swap(0, 1), "header 1"),
            ("a header with a byte more", |p| p.headers[1].push(0), "header 1"),
            ("without the block of its last fact", |p| drop(p.headers.pop()), "receipt 1"),
            ("a transaction at another index", |p| p.inclusions[0].index = 1, "transaction 0"),
            ("a receipt without its nodes", |p| p.inclusions[1].receipt_nodes.clear(), "receipt 1"),
            ("a receipt whose last byte is another", |p| flip(&mut p.inclusions[0].receipt), "receipt 0"),
            ("a log that the receipt has not", |p| p.inclusions[0].logs = vec![7], "receipt 0"),
            ("the later fact first", |p| p.inclusions.reverse(), "receipt 1"),
        ];
        let vector = |(name, change, part): (&'static str, Change, &str)| {
            let mut proof = good.clone();
            change(&mut proof);
            self.refused(name, "evm", &Proof::Evm(proof), part)
        };
        table.into_iter().map(vector).collect()
    }

    /// Changes of a proof of two records in one batch.
    fn refused_records(&self, good: &BatchProof) -> Vec<Vector> {
        type Change = fn(&mut BatchProof);
        let table: [(&'static str, Change, &str); 5] = [
            ("a batch without its records", |p| drop(p.records.pop()), "records"),
            ("a record at another index", |p| p.records[0][1].index = 2, "batch 0, record 2"),
            ("a path that is cut short", |p| p.records[0][0].path.truncate(1), "batch 0, record 0"),
            (
                "an entry whose last byte is another",
                |p| flip(&mut p.records[0][0].entry),
                "batch 0, record 0",
            ),
            ("the later record first", |p| p.records[0].reverse(), "batch 0"),
        ];
        let vector = |(name, change, part): (&'static str, Change, &str)| {
            let mut proof = good.clone();
            change(&mut proof);
            self.refused(name, "records", &Proof::Batch(proof), part)
        };
        table.into_iter().map(vector).collect()
    }
}

fn flip(bytes: &mut [u8]) {
    *bytes.last_mut().unwrap() ^= 1;
}

async fn stands(ledger: &dyn Ledger, operation: &Operation) -> Evidence {
    match ledger.status(operation, None).await.unwrap() {
        Status::Final(evidence) => evidence,
        other => panic!("{}: {other:?}", operation.verb()),
    }
}
