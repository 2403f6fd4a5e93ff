//! A DOUBLE of the federation: it keeps a few things in memory and plays what a test tells it to. It says nothing about
//! the real one.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use serde_json::json;
use sofie_directory::discovery::Resources;
use sofie_model::{Account, Digest, LedgerId, ThingId, Timestamp, Txid, ruling::SignedRuling};
use sofie_node::{
    api::*,
    http::metrics::{Kind, family, sample},
    peers::{Incoming, Outgoing, Word, envelope::Fields},
    seats::SeatCall,
};
use tokio::sync::{Semaphore, watch};

/// The one contract that the double knows.
pub(crate) const CONTRACT: Txid = Txid(Digest([7; 32]));

/// What the double's world looks like now.
#[derive(Default)]
struct World {
    steps: Vec<Step>,
    ended: bool,
    changes: Vec<ThingEvent>,
}

pub(crate) struct Double {
    world: watch::Sender<World>,
    things: Mutex<BTreeMap<ThingId, Description>>,
    /// `join_platform` takes one before it answers.
    pub(crate) gate: Semaphore,
    /// How many `join_platform` calls have come to their end.
    pub(crate) joined: AtomicUsize,
    /// How many have begun.
    pub(crate) begun: watch::Sender<usize>,
}

impl Double {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            world: watch::Sender::new(World::default()),
            things: Mutex::default(),
            gate: Semaphore::new(0),
            joined: AtomicUsize::new(0),
            begun: watch::Sender::new(0),
        })
    }

    /// Adds a step to the contract.
    pub(crate) fn step(&self, name: &str) {
        self.world.send_modify(|world| {
            let seq = world.steps.len() as u64 + 1;
            world.steps.push(Step {
                seq,
                name: name.to_owned(),
                at: At(Timestamp::from_millis(1_764_022_698_000 + seq)),
                ledger: None,
                ok: true,
                detail: format!("step {seq}"),
            });
        });
    }

    /// Ends the contract.
    pub(crate) fn end(&self) {
        self.world.send_modify(|world| world.ended = true);
    }

    fn changed(&self, change: ThingChange, id: &ThingId) {
        self.world.send_modify(|world| {
            let seq = world.changes.len() as u64 + 1;
            world.changes.push(ThingEvent { seq, change, id: id.clone() });
        });
    }

    fn the_contract(&self) -> Contract {
        let world = self.world.borrow();
        Contract {
            id: CONTRACT,
            state: if world.ended { ContractState::Settled } else { ContractState::Preparing },
            reason: None,
            thing: "urn:locker".parse().unwrap(),
            action: "open".to_owned(),
            renter: "renter".to_owned(),
            owner: "locker-co".to_owned(),
            price: Amount(u128::MAX),
            label: "custodial".to_owned(),
            deadlines: Deadlines { decision: At::default(), evidence: At::default(), refund: At::default() },
            next: "nothing".to_owned(),
            sensors: Vec::new(),
            penalty: None,
            dispute: None,
            steps: world.steps.clone(),
        }
    }
}

fn missing(what: &str) -> ApiError {
    ApiError::new(ErrorKind::NotFound, format!("no such {what}"), format!("the double has no such {what}"))
        .next("ask for another")
}

fn found(id: Txid) -> Result<(), ApiError> {
    if id == CONTRACT { Ok(()) } else { Err(missing("contract")) }
}

#[async_trait]
impl Federation for Double {
    async fn ready(&self) -> Result<(), ApiError> {
        if self.world.borrow().ended {
            return Err(ApiError::new(ErrorKind::Unavailable, "not ready", "the double is at its end"));
        }
        Ok(())
    }

    async fn status(&self) -> Result<Status, ApiError> {
        Ok(Status {
            name: "double".to_owned(),
            version: "0".to_owned(),
            started_at: At(Timestamp::from_millis(1_764_022_698_007)),
            console: None,
            ledgers: self.ledgers().await?,
            webhooks: Vec::new(),
        })
    }

    async fn ledgers(&self) -> Result<Vec<LedgerStatus>, ApiError> {
        Ok(vec![LedgerStatus {
            log: None,
            id: "evm".parse().unwrap(),
            kind: "evm-embedded".to_owned(),
            classes: vec![sofie_model::Class::Verifying],
            height: Some(3),
            time: Some(At::default()),
            single_operator: true,
            ok: true,
            error: None,
        }])
    }

    async fn balances(&self, ledger: &LedgerId) -> Result<Balances, ApiError> {
        if ledger.as_str() != "evm" {
            return Err(missing("ledger"));
        }
        let balances = BTreeMap::from([("renter".to_owned(), Amount(1 << 70))]);
        Ok(Balances { ledger: ledger.clone(), height: 3, balances })
    }

    async fn fees(&self, _: &LedgerId, from: u64, to: u64) -> Result<Fees, ApiError> {
        Ok(Fees { fees: Amount(u128::from(to - from)) })
    }

    async fn parties(&self) -> Result<Vec<Party>, ApiError> {
        Ok(vec![Party { name: "renter".to_owned(), account: Account([1; 20]) }])
    }

    async fn party(&self, name: &str) -> Result<Holder, ApiError> {
        let held = Holding {
            ledger: "bitcoin".parse().unwrap(),
            address: Some("bcrt1q".to_owned()),
            amount: Some(Amount(1 << 70)),
            coins: Some(FreeCoins { count: 2, worth: Amount(7) }),
            missing: None,
        };
        let renter = Holder { name: name.to_owned(), account: Account([1; 20]), ledgers: vec![held] };
        if name == "renter" { Ok(renter) } else { Err(missing("party")) }
    }

    async fn join_platform(&self, request: JoinPlatform) -> Result<Platform, ApiError> {
        self.begun.send_modify(|begun| *begun += 1);
        self.gate.acquire().await.expect("never closed").forget();
        self.joined.fetch_add(1, Ordering::SeqCst);
        let JoinPlatform { owner, kind, url, .. } = request;
        Ok(Platform { id: "a b".to_owned(), owner, kind, url, things: Vec::new() })
    }

    async fn introspect_platform(&self, request: JoinPlatform) -> Result<Introspected, ApiError> {
        let things = vec![serde_json::json!({"title": request.owner})];
        Ok(Introspected { kind: request.kind, url: request.url, things })
    }

    async fn probe_platform(&self, id: &str) -> Result<Probed, ApiError> {
        let drift = Drift {
            thing: "urn:x:lamp".parse().unwrap(),
            kind: DriftKind::Changed,
            affordance: Some("property on".to_owned()),
            was: Some("boolean of /on, json".to_owned()),
            is: Some("integer of /on, json".to_owned()),
        };
        let probed = Probed { platform: id.to_owned(), drift: vec![drift] };
        if id == "a b" { Ok(probed) } else { Err(missing("platform")) }
    }

    async fn read_property(
        &self,
        thing: &ThingId,
        property: &str,
        fresh: bool,
    ) -> Result<PropertyReading, ApiError> {
        let at = At(Timestamp::from_seconds(1));
        let (thing, property, unit) = (thing.clone(), property.to_owned(), "Cel".to_owned());
        let value = sofie_model::Value::Bool(fresh);
        Ok(PropertyReading { thing, property, value, unit, observed_at: at, arrived: at, retained: false })
    }

    async fn write_property(
        &self,
        thing: &ThingId,
        property: &str,
        request: WriteProperty,
    ) -> Result<Written, ApiError> {
        let key = request.idempotency_key.unwrap_or_default();
        let detail = format!("{thing} {property} {} {key}", request.value);
        Ok(Written { outcome: WriteOutcome::Unknown, detail })
    }

    async fn platforms(&self) -> Result<Vec<Platform>, ApiError> {
        Ok(Vec::new())
    }

    async fn platform(&self, id: &str) -> Result<Platform, ApiError> {
        let url = "coap://127.0.0.1".to_owned();
        let platform = Platform {
            id: id.to_owned(),
            owner: "o".to_owned(),
            kind: PlatformKind::Coap,
            url,
            things: vec![],
        };
        if id == "a b" { Ok(platform) } else { Err(missing("platform")) }
    }

    async fn open_contract(&self, asked: OpenContract) -> Result<Contract, ApiError> {
        // Whatever it is asked under, the double shows it where it can be read.
        Ok(Contract { reason: asked.idempotency_key, ..self.the_contract() })
    }

    async fn contracts(&self) -> Result<Vec<Contract>, ApiError> {
        Ok(vec![self.the_contract()])
    }

    async fn contract(&self, id: Txid) -> Result<Contract, ApiError> {
        found(id).map(|()| self.the_contract())
    }

    async fn contract_events(&self, id: Txid, after: Option<u64>) -> Result<Steps, ApiError> {
        found(id)?;
        let position = (self.world.subscribe(), after.unwrap_or(0) as usize);
        let steps = stream::unfold(position, |(mut world, seen)| async move {
            let step = {
                let world = world.wait_for(|world| world.steps.len() > seen || world.ended).await.ok()?;
                world.steps.get(seen).cloned()?
            };
            Some((step, (world, seen + 1)))
        });
        Ok(steps.boxed())
    }

    async fn bring_evidence(&self, id: Txid, _: BringEvidence) -> Result<Contract, ApiError> {
        found(id)?;
        if self.world.borrow().ended {
            return Err(ApiError::new(ErrorKind::Refused, "the evidence does not count", "it has ended"));
        }
        Ok(self.the_contract())
    }

    async fn dispute_contract(&self, id: Txid, claim: Claim) -> Result<Contract, ApiError> {
        found(id)?;
        Ok(Contract { reason: Some(claim.reason), ..self.the_contract() })
    }

    async fn rule_on_contract(&self, id: Txid, rule: Rule) -> Result<Contract, ApiError> {
        found(id)?;
        let state = if rule.ruling.is_some() { ContractState::Overruled } else { ContractState::Disputable };
        Ok(Contract { state, ..self.the_contract() })
    }

    async fn sign_ruling(&self, _: SignRuling) -> Result<SignedRuling, ApiError> {
        Err(missing("party"))
    }

    async fn receipt(&self, id: Txid) -> Result<Vec<u8>, ApiError> {
        found(id)?;
        if !self.world.borrow().ended {
            return Err(ApiError::new(ErrorKind::Conflict, "not finished", "the contract still runs"));
        }
        Ok(vec![0x80, 0, 0xff])
    }

    async fn offers(&self) -> Result<Offers, ApiError> {
        Ok(Offers::default())
    }

    async fn publish_offer(&self, _: PublishOffer) -> Result<Offer, ApiError> {
        Err(missing("thing"))
    }

    async fn withdraw_offer(&self, _: Digest) -> Result<(), ApiError> {
        Err(missing("offer"))
    }

    async fn agree_to_offer(&self, _: Digest, asked: AgreeToOffer) -> Result<Contract, ApiError> {
        Ok(Contract { reason: asked.idempotency_key, ..self.the_contract() })
    }

    async fn cancel_contract(&self, id: Txid, reason: String) -> Result<Contract, ApiError> {
        found(id)?;
        Ok(Contract { state: ContractState::Cancelled, reason: Some(reason), ..self.the_contract() })
    }

    async fn submit(&self, draft: Draft) -> Result<Transaction, ApiError> {
        let transaction = self.transaction(CONTRACT).await?;
        // Whatever it is asked under, the double shows it where it can be read.
        Ok(Transaction { phase: draft.idempotency_key.unwrap_or_default(), ..transaction })
    }

    async fn transactions(&self) -> Result<Vec<Transaction>, ApiError> {
        Ok(Vec::new())
    }

    async fn transaction(&self, id: Txid) -> Result<Transaction, ApiError> {
        found(id)?;
        Ok(Transaction {
            id,
            phase: "done".to_owned(),
            reason: None,
            next: "nothing: it has taken effect".to_owned(),
            label: "custodial".to_owned(),
            contract: true,
            proposal: None,
            decision_ledger: "evm".parse().unwrap(),
            decision: Some(Verdict::Commit),
            decided: None,
            deadline: At::default(),
            grace_end: At::default(),
            legs: Vec::new(),
            watchers: Vec::new(),
            steps: Vec::new(),
        })
    }

    async fn transaction_receipt(&self, id: Txid) -> Result<Vec<u8>, ApiError> {
        self.receipt(id).await
    }

    async fn resume(&self, id: Txid) -> Result<Transaction, ApiError> {
        self.transaction(id).await
    }

    async fn manifest(&self, id: Txid) -> Result<Vec<u8>, ApiError> {
        found(id).map(|()| vec![0x80, 0xff])
    }

    async fn watch(&self, _: Vec<u8>) -> Result<Transaction, ApiError> {
        self.transaction(CONTRACT).await
    }

    async fn peers(&self) -> Result<Neighbours, ApiError> {
        let own = Own {
            name: "double".into(),
            authority: "127.0.0.1:1".into(),
            key: "00".repeat(32),
            parties: BTreeMap::from([("renter".into(), Account([1; 20]))]),
        };
        Ok(Neighbours { own, peers: Vec::new() })
    }

    async fn peer_message(&self, message: Incoming) -> Result<Outgoing, ApiError> {
        let fields = Fields { digest: message.path, input: message.authority, signature: message.method };
        Ok(Outgoing { fields, body: message.body })
    }

    async fn seat(&self, group: Digest, call: SeatCall) -> Result<Vec<u8>, ApiError> {
        Ok(format!("{group} {call:?}").into_bytes())
    }

    async fn calendar_ask(&self, id: LedgerId, message: Incoming) -> Result<Outgoing, ApiError> {
        let message = Incoming { path: format!("{id} {}", message.path), ..message };
        self.peer_message(message).await
    }

    async fn calendar_published(
        &self,
        id: LedgerId,
        size: Option<u64>,
    ) -> Result<PublishedSeconds, ApiError> {
        let (log, size) = ("double.example/log".into(), size.unwrap_or(7));
        let (root, until, note) = (Digest::ZERO, At(Timestamp::from_seconds(1_800_000_000)), "a note".into());
        Ok(PublishedSeconds { ledger: id, log, size, root, until, note })
    }

    async fn calendar_extension(&self, id: LedgerId, to: ExtendTo) -> Result<Vec<u8>, ApiError> {
        Ok(format!("{id} {} {} {}", to.size, to.root, to.seconds).into_bytes())
    }

    async fn decide_proposal(&self, id: Txid, _: Word) -> Result<Transaction, ApiError> {
        Err(ApiError::new(ErrorKind::NotFound, "no such transaction", id.to_string()))
    }

    async fn directory(&self) -> Result<Description, ApiError> {
        Ok(json!({ "@type": "ThingDirectory", "title": "the double's directory" }))
    }

    async fn things(&self, page: PageRequest) -> Result<Page, ApiError> {
        let things = self.things.lock().unwrap();
        let items = things.values().skip(page.offset).take(page.limit).cloned().collect();
        let revision = self.world.borrow().changes.len() as u64;
        Ok(Page { items, total: things.len(), revision })
    }

    async fn search_things(&self, query: &str) -> Result<String, ApiError> {
        Ok(json!([query]).to_string())
    }

    async fn directory_anchored(&self) -> Result<Vec<u8>, ApiError> {
        Ok(b"anchored".to_vec())
    }

    async fn directory_proof(&self, id: &ThingId) -> Result<Vec<u8>, ApiError> {
        Ok(id.as_str().as_bytes().to_vec())
    }

    async fn directory_entries(&self, after: Option<Digest>) -> Result<Vec<u8>, ApiError> {
        Ok(format!("{after:?}").into_bytes())
    }

    async fn thing_links(&self, asked: AskedLinks) -> Result<Resources, ApiError> {
        Ok(Resources { text: format!("<{asked:?}>"), more: asked.page == 0 })
    }

    async fn create_thing(&self, description: &str) -> Result<ThingId, ApiError> {
        let id: ThingId = "urn:made:1".parse().unwrap();
        self.put_thing(&id, description).await.map(|_| id)
    }

    async fn thing(&self, id: &ThingId) -> Result<Description, ApiError> {
        self.things.lock().unwrap().get(id).cloned().ok_or_else(|| missing("thing"))
    }

    async fn put_thing(&self, id: &ThingId, description: &str) -> Result<Put, ApiError> {
        let description = serde_json::from_str(description)
            .map_err(|error| ApiError::new(ErrorKind::Invalid, "not JSON", error.to_string()))?;
        let before = self.things.lock().unwrap().insert(id.clone(), description);
        let (put, change) = match before {
            None => (Put::Created, ThingChange::ThingCreated),
            Some(_) => (Put::Replaced, ThingChange::ThingUpdated),
        };
        self.changed(change, id);
        Ok(put)
    }

    async fn patch_thing(&self, id: &ThingId, _: &str) -> Result<(), ApiError> {
        self.thing(id).await?;
        self.changed(ThingChange::ThingUpdated, id);
        Ok(())
    }

    async fn delete_thing(&self, id: &ThingId) -> Result<(), ApiError> {
        self.things.lock().unwrap().remove(id).ok_or_else(|| missing("thing"))?;
        self.changed(ThingChange::ThingDeleted, id);
        Ok(())
    }

    async fn thing_events(&self, after: Option<u64>) -> Result<ThingEvents, ApiError> {
        let world = self.world.subscribe();
        let seen = after.map_or(world.borrow().changes.len(), |after| after as usize);
        let events = stream::unfold((world, seen), |(mut world, seen)| async move {
            let change = {
                let world = world.wait_for(|world| world.changes.len() > seen).await.ok()?;
                world.changes[seen].clone()
            };
            Some((change, (world, seen + 1)))
        });
        Ok(events.boxed())
    }

    async fn events(&self, after: Option<u64>) -> Result<Events, ApiError> {
        let steps = self.contract_events(CONTRACT, after).await?;
        Ok(steps.map(told).boxed())
    }

    fn write_metrics(&self, out: &mut dyn Write) -> std::fmt::Result {
        family(out, "double_steps", Kind::Gauge, "Steps that the double has played.")?;
        sample(out, "double_steps", &[], self.world.borrow().steps.len())
    }
}

/// A step as an event.
fn told(step: Step) -> CloudEvent {
    CloudEvent {
        specversion: "1.0".to_owned(),
        id: format!("{:064x}", step.seq),
        source: "urn:sofie:node:double".to_owned(),
        kind: format!("sofie.audit.{}", step.name),
        subject: CONTRACT.to_string(),
        time: step.at,
        sequence: format!("{:020}", step.seq),
        datacontenttype: "application/json".to_owned(),
        data: EventData {
            name: step.name,
            actor: "node".to_owned(),
            ledger: None,
            ok: step.ok,
            detail: step.detail,
        },
    }
}
