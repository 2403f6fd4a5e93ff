//! Parties, one transaction of two legs, and both contracts on a chain.

use std::path::PathBuf;

use alloy_primitives::Bytes;
use k256::ecdsa::SigningKey;
use sofie_model::{
    Account, Class, Digest, Finality, Leg, LegId, Manifest, Rule, Span, Terms, Timestamp, attestation,
    contract::{self, Decision, Decision::DecisionErrors, Escrow, Escrow::EscrowErrors},
    manifest::{DecisionSite, EscrowTerms, Participant},
};

use crate::chain::{CHAIN_ID, Chain, Done, WEALTH};

/// When the transaction is prepared, in seconds.
pub(crate) const START: u64 = 1_800_000_000;
/// T_D.
pub(crate) const DEADLINE: u64 = START + 100;
/// G where there is a guard.
pub(crate) const GRACE_END: u64 = DEADLINE + 60;
/// T_E.
pub(crate) const EVIDENCE_DEADLINE: u64 = START + 600;
/// The last second of a settlement.
pub(crate) const LAST_SUBMISSION: u64 = EVIDENCE_DEADLINE + 60;
pub(crate) const AMOUNT: u128 = 2_500;

pub(crate) type Decided = Result<Done, DecisionErrors>;
pub(crate) type Moved = Result<Done, EscrowErrors>;

/// Someone with a key.
pub(crate) struct Party {
    pub(crate) key: SigningKey,
    pub(crate) account: Account,
}

impl Party {
    pub(crate) fn new(name: &str) -> Self {
        let key =
            SigningKey::from_slice(Digest::sha256(name.as_bytes()).as_bytes()).expect("below the order");
        Self { account: Account::from(key.verifying_key()), key }
    }

    pub(crate) fn sign(&self, digest: Digest) -> Bytes {
        attestation::sign(digest, &self.key).to_vec().into()
    }
}

/// The other signature that the curve's equation takes: s in the upper half.
pub(crate) fn high_s(signature: &Bytes) -> Bytes {
    let low = k256::ecdsa::Signature::from_slice(&signature[..64]).expect("a signature");
    let high = k256::ecdsa::Signature::from_scalars(low.r(), -*low.s()).expect("not zero");
    [&high.to_bytes()[..], &[27 + 28 - signature[64]]].concat().into()
}

/// A committed artefact.
pub(crate) fn artefact(name: &str) -> serde_json::Value {
    let path = contracts_folder().join("artifacts").join(name).with_extension("json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

pub(crate) fn contracts_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../contracts")
}

/// The creation bytecode of a committed artefact.
pub(crate) fn creation(name: &str) -> Vec<u8> {
    let artefact = artefact(name);
    let code = artefact["bytecode"].as_str().expect("a string");
    hex::decode(code.strip_prefix("0x").expect("0x")).expect("hexadecimal digits")
}

pub(crate) struct World {
    pub(crate) chain: Chain,
    pub(crate) manifest: Manifest,
    pub(crate) decision: Account,
    pub(crate) escrow: Account,
    pub(crate) renter: Party,
    pub(crate) locker: Party,
    pub(crate) sensor: Party,
    pub(crate) guard: Party,
    pub(crate) stranger: Party,
    pub(crate) secrets: Vec<Digest>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A world whose manifest differs from the usual one.
    pub(crate) fn with(change: impl FnOnce(&mut Manifest)) -> Self {
        let mut chain = Chain::new(START);
        let decision = chain.deploy(&creation("Decision"));
        let escrow = chain.deploy(&contract::escrow_creation(&creation("Escrow"), decision));
        let [renter, locker, sensor, guard, stranger] =
            ["renter", "locker-co", "sensor-co", "guard", "stranger"].map(Party::new);
        for party in [&renter, &locker, &sensor, &guard, &stranger] {
            chain.fund(party.account, WEALTH);
        }
        let secrets = vec![Digest::sha256(b"renter's secret"), Digest::sha256(b"locker-co's secret")];
        let participants = [renter.account, locker.account]
            .into_iter()
            .zip(&secrets)
            .map(|(account, secret)| Participant { account, hashlock: Digest::sha256(secret.as_bytes()) });
        let mut manifest = Manifest {
            version: 1,
            legs: vec![escrow_leg(escrow, [&renter, &locker, &sensor]), record_leg(1)],
            rule: Rule::All,
            decision: DecisionSite {
                ledger: "evm".parse().expect("a name"),
                chain_id: CHAIN_ID,
                contract: decision,
                finality: Finality::Instant,
                fee_limit: 0,
            },
            deadline: Timestamp::from_seconds(DEADLINE),
            grace: Span::ZERO,
            guard: Account::ZERO,
            participants: participants.collect(),
            nonce: Digest::sha256(b"nonce"),
        };
        change(&mut manifest);
        Self { chain, manifest, decision, escrow, renter, locker, sensor, guard, stranger, secrets }
    }

    /// The same with a guard and a time of grace.
    pub(crate) fn guarded() -> Self {
        Self::with(|manifest| {
            manifest.guard = Party::new("guard").account;
            manifest.grace = Span::from_seconds(GRACE_END - DEADLINE);
        })
    }

    /// Two of three legs, the escrow's not among the required ones.
    pub(crate) fn two_of_three() -> Self {
        Self::with(|manifest| {
            manifest.rule = Rule::AtLeast(2);
            manifest.legs[0].required = false;
            manifest.legs.push(Leg { required: false, ..record_leg(2) });
        })
    }

    pub(crate) fn terms(&self) -> contract::Terms {
        contract::terms(&self.manifest)
    }

    pub(crate) fn txid(&self) -> Digest {
        self.manifest.txid().0
    }

    /// Leg 0 as the escrow takes it.
    pub(crate) fn lock(&self) -> contract::Lock {
        let Terms::Escrow(terms) = &self.manifest.legs[0].terms else { panic!("leg 0 is an escrow") };
        contract::lock(self.manifest.txid(), LegId(0), terms)
    }

    /// A COMMIT of these legs, valid until T_D.
    pub(crate) fn committing(&self, included: u64) -> Decision::commitCall {
        Decision::commitCall {
            terms: self.terms(),
            included,
            evidenceRoot: contract::word(evidence_root()),
            preimages: self.secrets.iter().copied().map(contract::word).collect(),
            guardSignature: Bytes::new(),
        }
    }

    /// Sent by a stranger: who brings a COMMIT is of no account.
    pub(crate) fn commit(&mut self, call: &Decision::commitCall) -> Decided {
        self.chain.send(self.stranger.account, self.decision, 0, call)
    }

    pub(crate) fn abort(&mut self, by: Account, signatures: Vec<Bytes>) -> Decided {
        let call = Decision::abortCall { terms: self.terms(), signatures };
        self.chain.send(by, self.decision, 0, &call)
    }

    pub(crate) fn prepare(&mut self) -> Moved {
        let call = Escrow::prepareCall { lock: self.lock() };
        self.chain.send(self.renter.account, self.escrow, AMOUNT, &call)
    }

    pub(crate) fn apply(&mut self) -> Moved {
        let call = Escrow::apply_Call { lock: self.lock() };
        self.chain.send(self.stranger.account, self.escrow, 0, &call)
    }

    pub(crate) fn undo(&mut self) -> Moved {
        let call = Escrow::undoCall { lock: self.lock() };
        self.chain.send(self.stranger.account, self.escrow, 0, &call)
    }

    pub(crate) fn refund(&mut self) -> Moved {
        let call = Escrow::refundCall { lock: self.lock() };
        self.chain.send(self.stranger.account, self.escrow, 0, &call)
    }

    /// What the sensor's owner attests of an observation at `observed_at`.
    pub(crate) fn attestation(&self, observed_at: u64) -> sofie_model::Attestation {
        sofie_model::Attestation {
            chain_id: self.chain.id,
            contract: self.escrow,
            txid: self.manifest.txid(),
            leg: LegId(0),
            observation: Digest::sha256(b"the door is open"),
            fulfilled: true,
            observed_at: Timestamp::from_seconds(observed_at),
        }
    }

    /// A settlement by the sensor's signature over `said`.
    pub(crate) fn settling(&self, said: sofie_model::Attestation) -> Escrow::settleCall {
        let signed = said.sign(&self.sensor.key);
        Escrow::settleCall {
            lock: self.lock(),
            observation: contract::word(said.observation),
            fulfilled: said.fulfilled,
            observedAt: said.observed_at.as_seconds(),
            signature: signed.signature.into(),
        }
    }

    pub(crate) fn settle(&mut self, call: &Escrow::settleCall) -> Moved {
        self.chain.send(self.stranger.account, self.escrow, 0, call)
    }

    /// Leg 0 as a transfer: the same value, without evidence.
    pub(crate) fn transfer(&self) -> contract::Lock {
        let nobody = contract::address(Account::ZERO);
        contract::Lock { evidenceKey: nobody, evidenceDeadline: 0, submissionWindow: 0, ..self.lock() }
    }

    /// Prepared, committed a little later, applied.
    pub(crate) fn arm(&mut self) {
        self.prepare().expect("prepares");
        self.chain.time = DECIDED_AT;
        self.commit(&self.committing(0b11)).expect("commits");
        self.apply().expect("applies");
    }

    /// What renter, locker-co and the escrow hold.
    pub(crate) fn money(&mut self) -> [u128; 3] {
        [self.renter.account, self.locker.account, self.escrow].map(|account| self.chain.balance(account))
    }
}

/// When [`World::arm`] commits.
pub(crate) const DECIDED_AT: u64 = START + 50;

pub(crate) fn evidence_root() -> Digest {
    Digest::sha256(b"evidence root")
}

fn escrow_leg(contract: Account, [payer, payee, sensor]: [&Party; 3]) -> Leg {
    Leg {
        ledger: "evm".parse().expect("a name"),
        class: Class::Verifying,
        finality: Finality::Instant,
        required: true,
        terms: Terms::Escrow(EscrowTerms {
            contract,
            payer: payer.account,
            payee: payee.account,
            amount: AMOUNT,
            evidence_key: sensor.account,
            evidence_deadline: Timestamp::from_seconds(EVIDENCE_DEADLINE),
            submission_window: Span::from_seconds(LAST_SUBMISSION - EVIDENCE_DEADLINE),
            dispute: None,
        }),
        fee_limit: 0,
    }
}

fn record_leg(number: u8) -> Leg {
    Leg {
        ledger: "calendar".parse().expect("a name"),
        class: Class::Record,
        finality: Finality::Instant,
        required: true,
        terms: Terms::Record(Digest([number; 32])),
        fee_limit: 0,
    }
}
