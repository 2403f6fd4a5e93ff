//! k of N at a whole node, on the ledgers inside it: what its API and its receipt tell of a record that COMMIT leaves out.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use sofie_audit::{Outcome, Story, Verdict, verify};
use sofie_ledgers::{Head, Intent, Ledger, LedgerError, Profile, Status};
use sofie_model::{Decision, Evidence, Fact, LegId, Manifest, Operation, Proof, Step};
use sofie_node::api::{self, Draft, Federation};
use sofie_node::runtime::Runtime;
use sofie_node::{opening, parties::Parties};
use sofie_transaction::Phase;

use crate::world::{Node, Who};

const LEDGERS: &str = "[[party]]
name = \"bob\"

[[ledger]]
id = \"evm\"
kind = \"evm-embedded\"
genesis = { alice = \"1000000000000000000\", bob = \"1000000000000000000\" }

[[ledger]]
id = \"calendar\"
kind = \"calendar\"
";
const RECORD: LegId = LegId(1);

/// A ledger that takes every entry, and never calls one that prepares a leg final: it is behind with its checkpoints.
struct Behind(Arc<dyn Ledger>);

#[async_trait]
impl Ledger for Behind {
    fn profile(&self) -> &Profile {
        self.0.profile()
    }

    async fn intend(&self, operation: &Operation) -> Result<Intent, LedgerError> {
        self.0.intend(operation).await
    }

    async fn adopt(&self, intent: &Intent) -> Result<(), LedgerError> {
        self.0.adopt(intent).await
    }

    async fn submit(&self, intent: &Intent) -> Result<(), LedgerError> {
        self.0.submit(intent).await
    }

    async fn status(&self, operation: &Operation, intent: Option<&Intent>) -> Result<Status, LedgerError> {
        let status = self.0.status(operation, intent).await?;
        let prepares = matches!(operation, Operation::Leg { step: Step::Prepare, .. });
        Ok(if prepares && matches!(status, Status::Final(_)) { Status::Pending } else { status })
    }

    async fn head(&self) -> Result<Head, LedgerError> {
        self.0.head().await
    }

    async fn prove(&self, manifest: &Manifest, facts: &[Evidence]) -> Result<Proof, LedgerError> {
        self.0.prove(manifest, facts).await
    }
}

/// A node of Alice and Bob whose calendar is behind, and that calendar as it is.
fn start(alice: &Who) -> (Node, Arc<dyn Ledger>) {
    let (tell, told) = std::sync::mpsc::channel();
    let config = alice.config_on(LEDGERS, &[], "");
    let node = Node::opened(config, async |config| {
        let parties = Parties::load(&config).unwrap();
        let mut opened = opening::open(&config, &parties).await.unwrap();
        let id = "calendar".parse().unwrap();
        let calendar = opened.ledgers.remove(&id).unwrap();
        opened.ledgers.insert(id, Arc::new(Behind(calendar.clone())));
        tell.send(calendar).unwrap();
        Runtime::open_on(config, None, opened).await
    });
    (node.unwrap(), told.try_iter().last().unwrap())
}

#[test]
fn a_record_that_a_commit_of_two_of_three_leaves_out_is_told_to_be_inert_by_the_api_and_the_receipt() {
    let alice = Who::new("alice");
    let (node, calendar) = start(&alice);
    let pays = |from: &str, to: &str, amount: &str, required: bool| json!({ "ledger": "evm", "kind": "transfer", "from": from, "to": to, "amount": amount, "required": required });
    let draft = json!({
        "deadline": "6s",
        "rule": { "at_least": 2 },
        "legs": [
            pays("alice", "bob", "1000", true),
            { "ledger": "calendar", "kind": "record", "payload": "a deed", "required": false },
            pays("bob", "alice", "300", false),
        ],
    });
    let draft: Draft = serde_json::from_value(draft).unwrap();
    let txid = node.run(Federation::submit(&node.runtime, draft)).unwrap().id;
    let phase = node.until(txid, |phase| matches!(phase, Phase::Done(_)));
    assert!(matches!(phase, Phase::Done(Decision::Commit { included: 0b101, .. })), "{phase:?}");

    // It stood all the time.
    let state = node.runtime.transactions().state(txid).unwrap().unwrap();
    let leg = |step| Operation::Leg { manifest: state.manifest().clone(), leg: RECORD, step };
    let status = node.run(calendar.status(&leg(Step::Prepare), None)).unwrap();
    assert!(matches!(&status, Status::Final(one) if one.fact == Fact::Prepared(txid, RECORD)), "{status:?}");
    let status = node.run(calendar.status(&leg(Step::Revert), None)).unwrap();
    assert!(matches!(&status, Status::Final(one) if one.fact == Fact::Reverted(txid, RECORD)), "{status:?}");

    let shown = node.run(Federation::transaction(&node.runtime, txid)).unwrap();
    let told: Vec<_> = shown.legs.iter().map(|leg| (leg.state.as_str(), leg.reason.as_deref())).collect();
    assert_eq!(told, [("applied", None), ("reverted", Some("COMMIT leaves it out")), ("applied", None)]);
    assert_eq!((shown.phase.as_str(), shown.decision), ("done", Some(api::Verdict::Commit)));

    let receipt = node.run(Federation::transaction_receipt(&node.runtime, txid)).unwrap();
    let report = verify(&receipt, None);
    let verdict = (report.verdict(), report.story);
    assert_eq!(verdict, (Verdict::ConsistentUnanchored, Some(Story::Committed)), "{report:#?}");
    let left_out = report.check("left out").unwrap();
    assert_eq!(left_out.outcome, Outcome::Passed);
    assert_eq!(left_out.reason, "leg 1 on calendar: a record, inert, and closed as one without effect");
    assert_eq!(report.check("applied").unwrap().reason, "2 legs, after the decision");
}
