//! A whole story with made-up ledgers: a chain of one transaction a block, and a log. What the ledgers' own rules would
//! prevent can be told here, too: a reader must not rest on it that nobody lies.
#![allow(dead_code, unreachable_pub, reason = "each test file tells its part of the tale")]
#![allow(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

mod chain;
mod kinds;
mod log;

use k256::ecdsa::SigningKey;
use sofie_audit::{
    Anchors, Body, Chain as AuditLog, Draft, Extract, Receipt, Record, Story,
    anchors::{PinnedCalendar, PinnedChain},
    receipt::{Actuation, Capability, LedgerProof, Party, Sealed, Seen, Thing},
    topic,
};
use sofie_market::{Agreement, EvidenceRule, Penalty, Witness, Witnesses};
use sofie_model::attestation::Panel;
use sofie_model::{
    Account, Anchor, Attestation, Class, Decision, Digest, Evidence, Finality, LedgerId, Leg, LegId,
    Manifest, Observation, Proof, Quantity, Rule, Salt, SignedAttestation, Span, Terms, ThingId, Timestamp,
    Value, canonical, evidence,
    manifest::{DecisionSite, Dispute, EscrowTerms, Participant},
    proof::calendar::Entry,
};

pub use chain::{Chain, Event};
pub use log::Log;

pub const CHAIN_ID: u64 = 31_337;
pub const DECISION: Account = Account([0xd0; 20]);
pub const ESCROW: Account = Account([0xe0; 20]);
pub const ORIGIN: &str = "calendar.test/log";
pub const FEE_LIMIT: u128 = 1_000_000_000_000_000_000;
pub const PRICE: u128 = 1_000;

pub fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(1_800_000_000 + seconds)
}

pub fn key(byte: u8) -> SigningKey {
    SigningKey::from_slice(&[byte; 32]).unwrap()
}

pub fn account(key: &SigningKey) -> Account {
    Account::from(key.verifying_key())
}

pub fn renter() -> SigningKey {
    key(1)
}

pub fn locker_co() -> SigningKey {
    key(2)
}

pub fn sensor_co() -> SigningKey {
    key(3)
}

pub fn operator() -> SigningKey {
    key(4)
}

pub fn evm() -> LedgerId {
    "evm".parse().unwrap()
}

pub fn calendar() -> LedgerId {
    "calendar".parse().unwrap()
}

pub fn locker() -> ThingId {
    "urn:example:locker:1".parse().unwrap()
}

pub fn sensor() -> ThingId {
    "urn:example:sensor:1".parse().unwrap()
}

pub fn description(id: &ThingId) -> String {
    format!(r#"{{"@context":"https://www.w3.org/2022/wot/td/v1.1","id":"{id}"}}"#)
}

fn secret(byte: u8) -> Digest {
    Digest([byte; 32])
}

/// What is told. The default tells the truth; a test changes one thing.
#[derive(Clone)]
pub struct Tale {
    pub story: Story,
    /// Makes two tales two.
    pub nonce: u8,
    pub price: u128,
    pub prepared_on_chain_at: u64,
    pub prepared_in_log_at: u64,
    pub decided_at: u64,
    pub included: u64,
    pub preimages: Vec<Digest>,
    /// In the place of the true evidence root.
    pub root: Option<Digest>,
    pub aborted_by: Account,
    /// Shows ABORT on the same chain, too.
    pub second_decision: bool,
    pub applied_on_chain_at: Option<u64>,
    pub applied_in_log_at: Option<u64>,
    /// The record was entered before an ABORT, and perhaps closed: as applied or not.
    pub entered: Option<Option<bool>>,
    pub told_at: u64,
    pub observed_at: u64,
    pub retained: bool,
    pub value: Value,
    pub observed_thing: ThingId,
    pub attestor: SigningKey,
    pub attest: fn(&mut Attestation),
    pub noted_at: Option<u64>,
    pub settled_at: u64,
    pub settled_for: Option<Digest>,
    pub refunded_at: u64,
    pub both_ways: bool,
    pub things_noted_at: Option<u64>,
    pub records: Vec<(&'static str, u64)>,
    /// The two sides are on two nodes, which reach the chain alone: its nonce binds the agreement.
    pub two_nodes: bool,
    /// How long the arbiter may overrule, in seconds; and when the evidence was presented.
    pub dispute: Option<(u64, Option<u64>)>,
    pub overruled_at: Option<u64>,
    /// Another arbiter or window than the terms' is agreed on, or none.
    pub agreed_dispute: Option<Option<Dispute>>,
    /// In the place of that nonce.
    pub bound_to: Option<Digest>,
    /// Two of three sensors must attest. The receipt shows the readings of these, by their places; none: one sensor is agreed on.
    pub shown: Vec<usize>,
    /// Of those, the escrow was paid for these.
    pub paid_for: [usize; 2],
    /// What is told of their readings.
    pub tell: fn(&Tale, &mut Vec<Seen>),
    /// What is told of the panel.
    pub of_panel: fn(&mut Witnesses),
    /// The owner stakes something, in leg 1: between two nodes only.
    pub staked: bool,
    /// What is told of the stake's terms.
    pub of_stake: fn(&mut EscrowTerms),
    /// When the owner has it back.
    pub returned_at: u64,
}

/// T_D.
pub const DEADLINE: u64 = 60;
/// T_E.
pub const EVIDENCE_DEADLINE: u64 = 120;
/// The submission window.
pub const WINDOW: u64 = 30;
/// What the owner stakes, and until when it may be shown that it is the renter's.
pub const STAKE: u128 = 300;
pub const STAKE_UNTIL: u64 = 180;

impl Tale {
    pub fn salt(&self) -> Salt {
        Salt::new([0x70 + self.nonce; 32])
    }

    pub fn agreement(&self) -> Agreement {
        Agreement {
            thing: locker(),
            action: "open".into(),
            input: r#"{"seconds":600}"#.into(),
            renter: account(&renter()),
            owner: account(&locker_co()),
            price: self.price,
            not_before: at(0),
            not_after: at(600),
            evidence: EvidenceRule {
                thing: sensor(),
                property: "door".into(),
                equals: Value::Text("open".into()),
            },
            witnesses: (!self.shown.is_empty()).then(|| {
                let mut all = witnesses();
                (self.of_panel)(&mut all);
                all
            }),
            penalty: self.staked.then_some(Penalty { amount: STAKE, until: at(STAKE_UNTIL) }),
            dispute: self.agreed_dispute.unwrap_or_else(|| self.of_dispute()),
        }
    }

    fn stake(&self) -> EscrowTerms {
        let price = self.escrow();
        let mut stake = EscrowTerms {
            payer: price.payee,
            payee: price.payer,
            amount: STAKE,
            evidence_deadline: at(STAKE_UNTIL),
            ..price
        };
        (self.of_stake)(&mut stake);
        stake
    }

    pub fn escrow(&self) -> EscrowTerms {
        EscrowTerms {
            contract: ESCROW,
            payer: account(&renter()),
            payee: account(&locker_co()),
            amount: PRICE,
            evidence_key: match self.shown[..] {
                [] => account(&sensor_co()),
                _ => panel().account(),
            },
            evidence_deadline: at(EVIDENCE_DEADLINE),
            submission_window: Span::from_seconds(WINDOW),
            dispute: self.of_dispute(),
        }
    }

    fn of_dispute(&self) -> Option<Dispute> {
        let window = |(seconds, _)| Span::from_seconds(seconds);
        self.dispute.map(|said| Dispute { arbiter: Account([0xab; 20]), window: window(said) })
    }

    pub fn manifest(&self) -> Manifest {
        let leg = |ledger, class, terms| Leg {
            ledger,
            class,
            finality: Finality::Instant,
            required: true,
            terms,
            fee_limit: FEE_LIMIT,
        };
        let commitment = self.agreement().commitment(&self.salt());
        let participant = |key: &SigningKey, preimage: Digest| Participant {
            account: account(key),
            hashlock: Digest::sha256(preimage.as_bytes()),
        };
        let mut legs = vec![leg(evm(), Class::Verifying, Terms::Escrow(self.escrow()))];
        if !self.two_nodes {
            legs.push(leg(calendar(), Class::Record, Terms::Record(commitment)));
        }
        if self.staked {
            legs.push(leg(evm(), Class::Verifying, Terms::Escrow(self.stake())));
        }
        let nonce = Digest([self.nonce; 32]);
        Manifest {
            version: 1,
            legs,
            rule: Rule::All,
            decision: DecisionSite {
                ledger: evm(),
                chain_id: CHAIN_ID,
                contract: DECISION,
                finality: Finality::Instant,
                fee_limit: FEE_LIMIT,
            },
            deadline: at(DEADLINE),
            grace: Span::ZERO,
            guard: Account::ZERO,
            participants: vec![participant(&renter(), secret(0x51)), participant(&locker_co(), secret(0x52))],
            nonce: if self.two_nodes { self.bound_to.unwrap_or(commitment) } else { nonce },
        }
    }

    pub fn observation(&self) -> Observation {
        Observation {
            thing: self.observed_thing.clone(),
            property: "door".into(),
            quantity: Quantity::unitless(self.value.clone()),
            observed_at: at(self.observed_at),
            message_id: Digest([self.nonce; 32]),
            retained: self.retained,
        }
    }

    /// What the sensor at this place saw, by its owner's word.
    pub fn seen(&self, place: usize) -> Seen {
        let observation = match place {
            0 => self.observation(),
            _ => Observation { thing: another(place), ..self.observation() },
        };
        let digest = observation.digest(&self.salt());
        let said = Attestation { observation: digest, ..self.one_word().attestation };
        Seen { observation, salt: self.salt(), attestation: said.sign(&owner_of(place)) }
    }

    /// What the escrow was paid for.
    pub fn attestation(&self) -> SignedAttestation {
        match self.shown[..] {
            [] => self.one_word(),
            _ => panel().attest(&self.paid_for.map(|place| self.seen(place).attestation)).unwrap(),
        }
    }

    fn one_word(&self) -> SignedAttestation {
        let mut attestation = Attestation {
            chain_id: CHAIN_ID,
            contract: ESCROW,
            txid: self.manifest().txid(),
            leg: LegId(0),
            observation: self.observation().digest(&self.salt()),
            fulfilled: true,
            observed_at: at(self.observed_at),
        };
        (self.attest)(&mut attestation);
        attestation.sign(&self.attestor)
    }

    pub fn body(&self) -> Body {
        let manifest = self.manifest();
        let (chain, log) = self.ledgers(&manifest);
        let alone = Seen { observation: self.observation(), salt: self.salt(), attestation: self.one_word() };
        let mut seen: Vec<_> = self.shown.iter().map(|place| self.seen(*place)).collect();
        (self.tell)(self, &mut seen);
        if self.shown.is_empty() {
            seen = vec![alone];
        }
        let told = self.story.rests_on_evidence() || self.story == Story::Overruled;
        seen.truncate(if told { 16 } else { 0 });
        let mut seen = seen.into_iter();
        let committed = self.story != Story::Aborted;
        let described = |id: ThingId| {
            let text = description(&id);
            Thing { description: topic::description(&text), text: Some(text), id }
        };
        let in_log = LedgerProof { ledger: calendar(), proof: Proof::Calendar(log.proof()) };
        let on_chain = LedgerProof { ledger: evm(), proof: Proof::Evm(chain.proof()) };
        let things: Vec<_> = [locker(), sensor()].map(described).into();
        Body {
            version: sofie_audit::receipt::VERSION,
            txid: manifest.txid(),
            parties: if self.shown.is_empty() { parties() } else { everybody() },
            operator: "operator".into(),
            proofs: if self.two_nodes { vec![on_chain] } else { vec![on_chain, in_log] },
            things: if self.two_nodes { Vec::new() } else { things },
            agreement: Some(Sealed { payload: canonical::encode(&self.agreement()), salt: self.salt() }),
            capability: committed.then(|| Capability { token: vec![1; 64], verdict: vec![2; 16] }),
            actuation: committed.then(|| Actuation {
                told_at: at(self.told_at),
                answered_at: Some(at(self.told_at)),
                answer: b"2.04".to_vec(),
            }),
            evidence: seen.next(),
            audit: self.audit(&manifest),
            others: Some(seen.collect()).filter(|others: &Vec<_>| !others.is_empty()),
            manifest,
        }
    }

    pub fn receipt(&self) -> Receipt {
        self.body().sign(&operator())
    }

    fn ledgers(&self, manifest: &Manifest) -> (Chain, Log) {
        let (mut chain, mut log) = (Chain::new(CHAIN_ID, at(0)), Log::new());
        self.describe_things(&mut log);
        let early = |at: u64| at < self.decided_at;
        if early(self.prepared_on_chain_at) {
            chain.push(at(self.prepared_on_chain_at), manifest, Event::Prepared);
            self.of_bond(&mut chain, manifest, self.prepared_on_chain_at, Event::Prepared);
        }
        if self.story != Story::Aborted {
            self.commit(&mut chain, &mut log, manifest);
        } else {
            if let Some(closed) = self.entered {
                self.enter(&mut log, manifest);
                let (txid, leg) = (manifest.txid(), LegId(1));
                let closed = closed.map(|applied| Entry::Closed { txid, leg, applied });
                closed.into_iter().for_each(|entry| log.push(at(self.decided_at + 1), entry));
            }
            chain.push(at(self.decided_at), manifest, Event::Aborted(self.aborted_by));
            if self.applied_on_chain_at.is_some() {
                chain.push(at(self.decided_at + 1), manifest, Event::Reverted);
            }
        }
        (chain, log)
    }

    fn describe_things(&self, log: &mut Log) {
        let Some(noted_at) = self.things_noted_at else { return };
        for id in [locker(), sensor()] {
            let commitment = topic::description(&description(&id));
            log.push(at(noted_at), Entry::Note { topic: topic::thing(&id), commitment });
        }
    }

    fn enter(&self, log: &mut Log, manifest: &Manifest) {
        let (txid, leg) = (manifest.txid(), LegId(1));
        if let Some(Terms::Record(commitment)) = manifest.leg(leg).map(|leg| leg.terms.clone()) {
            log.push(at(self.prepared_in_log_at), Entry::Prepared { txid, leg, commitment });
        }
    }

    fn commit(&self, chain: &mut Chain, log: &mut Log, manifest: &Manifest) {
        let (txid, leg) = (manifest.txid(), LegId(1));
        self.enter(log, manifest);
        let root = self.root.unwrap_or_else(|| root(chain, log, manifest));
        let decision = Decision::Commit {
            included: self.included,
            evidence_root: root,
            preimages: self.preimages.clone(),
        };
        if let Some(early) = self.applied_on_chain_at.filter(|applied| *applied < self.decided_at) {
            chain.push(at(early), manifest, Event::Applied);
        }
        chain.push(at(self.decided_at), manifest, Event::Decided(decision));
        if self.second_decision {
            chain.push(at(self.decided_at), manifest, Event::Aborted(self.aborted_by));
        }
        if self.prepared_on_chain_at >= self.decided_at {
            chain.push(at(self.prepared_on_chain_at), manifest, Event::Prepared);
        }
        if let Some(applied) = self.applied_on_chain_at.filter(|applied| *applied >= self.decided_at) {
            chain.push(at(applied), manifest, Event::Applied);
            self.of_bond(chain, manifest, applied, Event::Applied);
        }
        if let Some(applied) = self.applied_in_log_at.filter(|_| !self.two_nodes) {
            log.push(at(applied), Entry::Closed { txid, leg, applied: true });
        }
        self.pay(chain, log, manifest);
    }

    fn pay(&self, chain: &mut Chain, log: &mut Log, manifest: &Manifest) {
        let said = self.attestation().attestation;
        if let Some((_, Some(presented))) = self.dispute {
            chain.push(at(presented), manifest, Event::Presented(said.observation, said.observed_at));
        }
        if let Some(overruled) = self.overruled_at {
            let observation = self.settled_for.unwrap_or(said.observation);
            chain.push(at(overruled), manifest, Event::Overruled(observation, said.observed_at));
        }
        if self.story == Story::Settled {
            if let Some(noted_at) = self.noted_at {
                let topic = topic::attestation(manifest.txid());
                log.push(
                    at(noted_at),
                    Entry::Note { topic, commitment: topic::attested(&self.attestation()) },
                );
            }
            let observation = self.settled_for.unwrap_or(said.observation);
            chain.push(at(self.settled_at), manifest, Event::Settled(observation, said.observed_at));
        }
        if self.story == Story::Penalised {
            let said = self.attestation().attestation;
            let observation = self.settled_for.unwrap_or(said.observation);
            self.of_bond(chain, manifest, self.settled_at, Event::Settled(observation, said.observed_at));
        }
        if matches!(self.story, Story::Refunded | Story::Penalised) || self.both_ways {
            chain.push(at(self.refunded_at), manifest, Event::Refunded);
        }
        if self.story == Story::Settled {
            self.of_bond(chain, manifest, self.returned_at, Event::Refunded);
        }
    }

    fn of_bond(&self, chain: &mut Chain, manifest: &Manifest, when: u64, event: Event) {
        if self.staked {
            chain.push(at(when), manifest, Event::Of(1, Box::new(event)));
        }
    }

    pub fn audit(&self, manifest: &Manifest) -> Extract {
        let (mut log, subject) = (AuditLog::new(), manifest.txid().0);
        let mut records = Vec::new();
        for (kind, second) in &self.records {
            let told = Draft::about(subject, kind, true, "as told");
            let other = Draft::about(Digest::ZERO, "refused", false, "something else");
            for draft in [told, other] {
                // An honest log never goes back in time; a liar's does.
                let record = Record { at: at(*second), ..log.append(draft, at(*second)) };
                log = AuditLog::after(&record);
                records.push(record);
            }
        }
        Extract::of(&records, subject)
    }
}

/// The root over what was prepared so far.
fn root(chain: &Chain, log: &Log, manifest: &Manifest) -> Digest {
    let prepared = |evidence: Vec<Evidence>| {
        let is_prepare = |one: &Evidence| matches!(one.fact, sofie_model::Fact::Prepared(..));
        evidence.into_iter().filter(is_prepare).collect::<Vec<_>>()
    };
    let on_chain = Proof::Evm(chain.proof()).verify(&evm(), manifest).unwrap().evidence;
    let in_log = Proof::Calendar(log.proof()).verify(&calendar(), manifest).unwrap().evidence;
    let both: Vec<_> = [prepared(on_chain), prepared(in_log)].into_iter().flatten().collect();
    evidence::root(&both)
}

pub fn parties() -> Vec<Party> {
    [("renter", renter()), ("locker-co", locker_co()), ("sensor-co", sensor_co()), ("operator", operator())]
        .map(|(name, key)| Party { name: name.into(), account: account(&key) })
        .into()
}

/// The owners of the other sensors, too.
pub fn everybody() -> Vec<Party> {
    let others =
        [1, 2].map(|place| Party { name: format!("other-{place}"), account: account(&owner_of(place)) });
    parties().into_iter().chain(others).collect()
}

pub fn owner_of(place: usize) -> SigningKey {
    key([3, 5, 6][place])
}

pub fn another(place: usize) -> ThingId {
    format!("urn:example:sensor:{}", place + 1).parse().unwrap()
}

/// Two of three sensors.
fn witnesses() -> Witnesses {
    let rule = |place| EvidenceRule {
        thing: another(place),
        property: "door".into(),
        equals: Value::Text("open".into()),
    };
    let witness = |place| Witness { rule: rule(place), key: account(&owner_of(place)) };
    Witnesses { threshold: 2, key: account(&owner_of(0)), others: vec![witness(1), witness(2)] }
}

pub fn panel() -> Panel {
    witnesses().panel().unwrap()
}

/// Anchors that pin all that `receipt` rests on.
pub fn anchors(receipt: &Receipt) -> Anchors {
    let mut anchors = Anchors::default();
    for one in &receipt.body.proofs {
        match one.proof.verify(&one.ledger, &receipt.body.manifest).map(|proven| proven.anchor) {
            Ok(Anchor::Evm { chain_id, block_hash, .. }) => anchors.chain.push(PinnedChain {
                id: chain_id,
                block: block_hash,
                decision: Some(DECISION),
                escrow: Some(ESCROW),
            }),
            Ok(Anchor::Calendar { origin, key, .. }) => {
                anchors.calendar.push(PinnedCalendar {
                    origin,
                    key,
                    witnesses: Vec::new(),
                    quorum: None,
                    checkpoint: None,
                });
            }
            Ok(Anchor::Bitcoin { .. } | Anchor::Operator { .. } | Anchor::Quorum { .. }) | Err(_) => {}
        }
    }
    let named = everybody().into_iter().map(|party| (party.name, party.account));
    anchors.accounts.extend(named);
    anchors
}
