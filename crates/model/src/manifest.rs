//! The manifest: everything that the participants of one inter-ledger transaction agree on before anything is locked.
//! Its name, the [`Txid`], is computed in a way that a contract can repeat (docs/specs/inter-ledger.md, "txid").

use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{Account, Digest, LedgerId, LegId, PublicKey, Span, Timestamp, Txid, canonical};

mod check;

pub use check::{Fault, MAX_DISPUTE_WINDOW, MAX_LEGS, MAX_PARTICIPANTS};

/// What a ledger can do for a leg, from its profile (docs/specs/inter-ledger.md, "Legs").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cbor(index_only)]
pub enum Class {
    /// Runs a contract that checks the decision itself.
    #[n(0)]
    Verifying,
    /// Locks value to a hash and a time.
    #[n(1)]
    Hashlock,
    /// Holds value by a custodian's word.
    #[n(2)]
    Escrow,
    /// Only appends data, or a hash of it.
    #[n(3)]
    Record,
}

/// When a ledger's fact is taken as final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finality {
    /// As soon as the ledger answers: one operator, no reorganisation.
    #[n(0)]
    Instant,
    /// Under this many blocks; 0 is the head itself.
    #[n(1)]
    Depth(#[n(0)] u32),
    /// At the block that the ledger itself tags `finalized`.
    #[n(2)]
    Tag,
    /// At the block that the ledger itself tags `safe`: the last justified checkpoint of Ethereum's proof of stake
    /// (consensus-specs, fork_choice/safe-block.md). It comes sooner than [`Finality::Tag`], and may be undone without
    /// anybody losing a stake: whoever takes it trusts an honest majority and a network that is not cut.
    #[n(3)]
    Safe,
}

/// How many legs make a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Every leg.
    #[n(0)]
    All,
    /// Every required leg, and this many in all.
    #[n(1)]
    AtLeast(#[n(0)] u16),
}

/// Value under a contract: released by evidence, returned by a deadline, both only after COMMIT.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct EscrowTerms {
    /// The escrow contract that holds the value.
    #[n(0)]
    pub contract: Account,
    /// Who pays, and is refunded.
    #[n(1)]
    pub payer: Account,
    /// Who is paid once the evidence is there.
    #[n(2)]
    pub payee: Account,
    /// In the ledger's smallest unit.
    #[n(3)]
    pub amount: u128,
    /// The only key, or [`crate::attestation::Panel::account`], whose attestation settles: neither payer's nor payee's.
    #[n(4)]
    pub evidence_key: Account,
    /// T_E: no later observation counts. A whole second.
    #[n(5)]
    pub evidence_deadline: Timestamp,
    /// How long after T_E an attestation may still be brought. Whole seconds; after it only a refund is possible.
    #[n(6)]
    pub submission_window: Span,
    /// Who may overrule the evidence, and for how long. Without it evidence pays at once.
    #[n(7)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispute: Option<Dispute>,
}

/// What stands between an escrow's evidence and its payment: a time in which one account may overrule it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Dispute {
    /// Whose ruling pays the payer back at once: neither payer, payee nor evidence key.
    #[n(0)]
    pub arbiter: Account,
    /// How long a ruling counts after the evidence was presented, by the ledger's clock. Whole seconds. The submission window
    /// is at least as long, and evidence may be presented until a dispute window before its end.
    #[n(1)]
    pub window: Span,
}

impl EscrowTerms {
    /// The last instant at which evidence may be brought: what comes later could not be disputed in time.
    #[must_use]
    pub fn last_evidence(&self) -> Timestamp {
        let window = self.dispute.map_or(Span::ZERO, |dispute| dispute.window);
        Timestamp::from_millis(self.window_end().as_millis().saturating_sub(window.as_millis()))
    }

    /// The end of the submission window: after it nothing is brought any more, and what nobody brought is paid back.
    #[must_use]
    pub fn window_end(&self) -> Timestamp {
        self.evidence_deadline + self.submission_window
    }
}

/// Value that COMMIT itself pays to the payee, and ABORT back to the payer. No evidence is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct TransferTerms {
    /// The contract, or the custodian's account, that holds the value until then.
    #[n(0)]
    pub contract: Account,
    /// Who pays, and is paid back.
    #[n(1)]
    pub payer: Account,
    /// Who is paid.
    #[n(2)]
    pub payee: Account,
    /// In the ledger's smallest unit.
    #[n(3)]
    pub amount: u128,
}

/// Value under a hash and a time (a hashed timelock).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct HashlockTerms {
    /// Who locks, and is refunded after the timelock: its account on D.
    #[n(0)]
    pub payer: Account,
    /// Who claims: its account on D.
    #[n(1)]
    pub claimant: Account,
    /// In the ledger's smallest unit.
    #[n(2)]
    pub amount: u128,
    /// T_p, in this ledger's clock.
    #[n(3)]
    pub timelock: Timestamp,
    /// The payer's key in the lock: it signs the refund.
    #[n(4)]
    pub payer_key: PublicKey,
    /// The claimant's key in the lock: it signs the claim.
    #[n(5)]
    pub claimant_key: PublicKey,
    /// Whose secret alone opens the lock; without it everybody's are needed.
    #[n(6)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_by: Option<OpenedBy>,
}

/// Who opens a lock that has one hash only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cbor(index_only)]
pub enum OpenedBy {
    /// The claimant: its hash is what an ILP packet calls the execution condition, its secret the fulfilment (Interledger
    /// RFC 27).
    #[n(0)]
    Claimant,
}

/// What one leg does, by class.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Terms {
    /// For [`Class::Verifying`] and [`Class::Escrow`].
    #[n(0)]
    Escrow(#[n(0)] EscrowTerms),
    /// For [`Class::Hashlock`].
    #[n(1)]
    Hashlock(#[n(0)] HashlockTerms),
    /// For [`Class::Record`]: the salted commitment to the leg's payload ([`crate::commitment::commit`]).
    #[n(2)]
    Record(#[n(0)] Digest),
    /// For [`Class::Verifying`] and [`Class::Escrow`].
    #[n(3)]
    Transfer(#[n(0)] TransferTerms),
}

impl Terms {
    /// Who locks value for it; `None` where none is locked.
    #[must_use]
    pub const fn payer(&self) -> Option<Account> {
        match self {
            Self::Escrow(terms) => Some(terms.payer),
            Self::Hashlock(terms) => Some(terms.payer),
            Self::Transfer(terms) => Some(terms.payer),
            Self::Record(_) => None,
        }
    }

    /// The contract, or the custodian's account, that holds the value; `None` for a lock in script, or none.
    #[must_use]
    pub const fn holder(&self) -> Option<Account> {
        match self {
            Self::Escrow(terms) => Some(terms.contract),
            Self::Transfer(terms) => Some(terms.contract),
            Self::Hashlock(_) | Self::Record(_) => None,
        }
    }
}

/// One leg: one ledger's part of the transaction.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Leg {
    /// Where.
    #[n(0)]
    pub ledger: LedgerId,
    /// As what.
    #[n(1)]
    pub class: Class,
    /// When its facts count as final.
    #[n(2)]
    pub finality: Finality,
    /// Under [`Rule::AtLeast`]: whether the transaction fails without it.
    #[n(3)]
    pub required: bool,
    /// What it does.
    #[n(4)]
    pub terms: Terms,
    /// The most that one ledger transaction for it may cost in fees, in the ledger's smallest unit: no fee is raised
    /// above it. 0 where the ledger has no fees; a ledger that charges refuses 0.
    #[n(5)]
    pub fee_limit: u128,
}

/// Where the one decision is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct DecisionSite {
    /// The decision ledger D.
    #[n(0)]
    pub ledger: LedgerId,
    /// EIP-155 chain id; 0 where the ledger has none.
    #[n(1)]
    pub chain_id: u64,
    /// The decision contract; [`Account::ZERO`] where the ledger has none.
    #[n(2)]
    pub contract: Account,
    /// When its record is final.
    #[n(3)]
    pub finality: Finality,
    /// As [`Leg::fee_limit`], for the transaction that decides.
    #[n(4)]
    pub fee_limit: u128,
}

/// Who must release a preimage before COMMIT, and may abort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Participant {
    /// The participant's account on D.
    #[n(0)]
    pub account: Account,
    /// SHA-256 of a secret of exactly 32 bytes.
    #[n(1)]
    pub hashlock: Digest,
}

/// The manifest M.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Manifest {
    /// Format version: 1.
    #[n(0)]
    pub version: u16,
    /// At least one, at most [`MAX_LEGS`].
    #[n(1)]
    pub legs: Vec<Leg>,
    /// How many legs make a commit.
    #[n(2)]
    pub rule: Rule,
    /// D.
    #[n(3)]
    pub decision: DecisionSite,
    /// T_D: COMMIT is valid until then. A whole second.
    #[n(4)]
    pub deadline: Timestamp,
    /// G − T_D: zero without a pivot.
    #[n(5)]
    pub grace: Span,
    /// The pivot's payer or its watcher, who may sign a COMMIT between T_D and G; [`Account::ZERO`] without a pivot.
    #[n(6)]
    pub guard: Account,
    /// At least one, at most [`MAX_PARTICIPANTS`].
    #[n(7)]
    pub participants: Vec<Participant>,
    /// Makes two otherwise equal transactions two.
    #[n(8)]
    pub nonce: Digest,
}

/// Which sets of legs a COMMIT may include, as bit masks: bit i is leg i.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorum {
    /// Every COMMIT includes these.
    pub required: u64,
    /// A COMMIT may include these.
    pub optional: u64,
    /// A COMMIT includes at least so many legs in all.
    pub at_least: u16,
}

impl Quorum {
    /// Whether a COMMIT may include exactly these legs.
    #[must_use]
    pub const fn allows(&self, included: u64) -> bool {
        included & self.required == self.required
            && included & !(self.required | self.optional) == 0
            && included.count_ones() >= self.at_least as u32
    }
}

/// What H(canonical(M)) is framed with inside a txid: the terms that D's contract checks by itself.
pub const TXID_DOMAIN: &str = "sofie.txid.v1";

impl Manifest {
    /// SHA-256 of the canonical encoding: the manifest's content, without the terms that D repeats.
    #[must_use]
    pub fn body(&self) -> Digest {
        Digest::sha256(&canonical::encode(self))
    }

    /// The transaction's name: SHA-256 over 32-byte words, so that a contract computes it from its own arguments.
    ///
    /// `sha256(TXID_DOMAIN padded with zeroes ‖ body ‖ chain_id ‖ contract ‖ required ‖ optional ‖ at_least ‖ T_D ‖ G ‖
    /// guard ‖ (account ‖ hashlock)*)`, times in whole seconds, integers big-endian, accounts left-padded.
    #[must_use]
    pub fn txid(&self) -> Txid {
        let quorum = self.quorum();
        let mut words = Vec::with_capacity(32 * (10 + 2 * self.participants.len()));
        words.extend(right_padded(TXID_DOMAIN.as_bytes()));
        words.extend(self.body().0);
        words.extend(number(self.decision.chain_id));
        words.extend(account(self.decision.contract));
        words.extend(number(quorum.required));
        words.extend(number(quorum.optional));
        words.extend(number(quorum.at_least.into()));
        words.extend(number(self.deadline.as_seconds()));
        words.extend(number(self.grace_end().as_seconds()));
        words.extend(account(self.guard));
        for participant in &self.participants {
            words.extend(account(participant.account));
            words.extend(participant.hashlock.0);
        }
        Txid(Digest::sha256(&words))
    }

    /// The rule as D checks it: whoever holds every preimage could otherwise commit only the legs that pay him.
    #[must_use]
    pub fn quorum(&self) -> Quorum {
        let all = self.rule == Rule::All;
        let mut quorum = Quorum { required: 0, optional: 0, at_least: 0 };
        for (index, leg) in self.legs.iter().enumerate().take(MAX_LEGS) {
            let mask = if all || leg.required { &mut quorum.required } else { &mut quorum.optional };
            *mask |= 1 << index;
        }
        quorum.at_least = match self.rule {
            Rule::All => quorum.required.count_ones() as u16,
            Rule::AtLeast(k) => k,
        };
        quorum
    }

    /// G, the last instant at which D takes a COMMIT.
    #[must_use]
    pub fn grace_end(&self) -> Timestamp {
        self.deadline + self.grace
    }

    /// The leg by its id.
    #[must_use]
    pub fn leg(&self, id: LegId) -> Option<&Leg> {
        self.legs.get(usize::from(id.0))
    }

    /// Ids and legs in order.
    pub fn legs(&self) -> impl Iterator<Item = (LegId, &Leg)> {
        (0..).map(LegId).zip(&self.legs)
    }

    /// The one leg that rests on time, if there is one (design: "the pivot").
    #[must_use]
    pub fn pivot(&self) -> Option<LegId> {
        self.legs().find(|(_, leg)| leg.class == Class::Hashlock).map(|(id, _)| id)
    }

    /// The pivot's terms.
    #[must_use]
    pub fn pivot_terms(&self) -> Option<&HashlockTerms> {
        self.legs.iter().find_map(|leg| match &leg.terms {
            Terms::Hashlock(terms) => Some(terms),
            _ => None,
        })
    }

    /// The participants, by index in ascending order, whose secrets open a lock of these terms.
    pub fn openers(&self, terms: &HashlockTerms) -> impl Iterator<Item = (u16, &Participant)> {
        let (alone, claimant) = (terms.opened_by.is_some(), terms.claimant);
        (0..).zip(&self.participants).filter(move |(_, one)| !alone || one.account == claimant)
    }

    /// What a lock of these terms is locked to: a claim shows the preimage of each, in this order.
    #[must_use]
    pub fn lock_hashes(&self, terms: &HashlockTerms) -> Vec<Digest> {
        self.openers(terms).map(|(_, one)| one.hashlock).collect()
    }

    /// Of everybody's preimages, in the manifest's order, those that open a lock of these terms.
    #[must_use]
    pub fn lock_preimages(&self, terms: &HashlockTerms, all: &[Digest]) -> Vec<Digest> {
        self.openers(terms).filter_map(|(who, _)| all.get(usize::from(who)).copied()).collect()
    }
}

fn right_padded(text: &[u8]) -> [u8; 32] {
    let mut word = [0; 32];
    word[..text.len()].copy_from_slice(text);
    word
}

fn number(value: u64) -> [u8; 32] {
    let mut word = [0; 32];
    word[24..].copy_from_slice(&value.to_be_bytes());
    word
}

fn account(value: Account) -> [u8; 32] {
    let mut word = [0; 32];
    word[12..].copy_from_slice(&value.0);
    word
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Verifying => "verifying",
            Self::Hashlock => "hashlock",
            Self::Escrow => "escrow",
            Self::Record => "record",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(rule: Rule, required: &[bool]) -> Manifest {
        let leg = |required: &bool| Leg {
            ledger: "calendar".parse().unwrap(),
            class: Class::Record,
            finality: Finality::Instant,
            required: *required,
            terms: Terms::Record(Digest::ZERO),
            fee_limit: 0,
        };
        Manifest {
            version: 1,
            legs: required.iter().map(leg).collect(),
            rule,
            decision: DecisionSite {
                ledger: "evm".parse().unwrap(),
                chain_id: 1,
                contract: Account([1; 20]),
                finality: Finality::Tag,
                fee_limit: 0,
            },
            deadline: Timestamp::from_seconds(1),
            grace: Span::ZERO,
            guard: Account::ZERO,
            participants: vec![],
            nonce: Digest::ZERO,
        }
    }

    #[test]
    fn a_rule_is_the_masks_that_a_contract_checks() {
        let cases: [(Rule, &[bool], [u64; 3]); 5] = [
            (Rule::All, &[true, false], [0b11, 0, 2]),
            (Rule::AtLeast(2), &[true, false, false], [0b001, 0b110, 2]),
            (Rule::AtLeast(1), &[false, false], [0, 0b11, 1]),
            (Rule::All, &[true; MAX_LEGS], [u64::MAX, 0, 64]),
            (Rule::AtLeast(64), &[false; MAX_LEGS], [0, u64::MAX, 64]),
        ];
        for (rule, legs, [required, optional, at_least]) in cases {
            let expected = Quorum { required, optional, at_least: at_least as u16 };
            assert_eq!(manifest(rule, legs).quorum(), expected, "{rule:?} of {}", legs.len());
        }
    }

    #[test]
    fn a_lock_is_opened_by_everybody_or_by_its_claimant_alone() {
        let mut manifest = manifest(Rule::All, &[true]);
        let one = |byte| Participant { account: Account([byte; 20]), hashlock: Digest([byte; 32]) };
        manifest.participants = vec![one(1), one(2), one(3)];
        let mut terms = HashlockTerms {
            payer: Account([1; 20]),
            claimant: Account([2; 20]),
            amount: 1,
            timelock: Timestamp::from_seconds(1),
            payer_key: PublicKey([1; 33]),
            claimant_key: PublicKey([2; 33]),
            opened_by: None,
        };
        let (all, old) = ([4, 5, 6].map(|byte| Digest([byte; 32])), canonical::encode(&terms));
        assert_eq!(manifest.lock_hashes(&terms), [1, 2, 3].map(|byte| Digest([byte; 32])));
        assert_eq!(manifest.lock_preimages(&terms, &all), all);
        terms.opened_by = Some(OpenedBy::Claimant);
        assert_eq!(manifest.lock_hashes(&terms), [Digest([2; 32])]);
        assert_eq!(manifest.lock_preimages(&terms, &all), [Digest([5; 32])]);
        // What was written before there was a choice reads as it did.
        assert_eq!(old[0], 0x86, "an array of six");
        assert_eq!(canonical::decode::<HashlockTerms>(&old, old.len()).unwrap().opened_by, None);
        let new = canonical::encode(&terms);
        assert_eq!(canonical::decode::<HashlockTerms>(&new, new.len()).unwrap(), terms);
    }

    #[test]
    fn a_txid_covers_the_rule() {
        let all = manifest(Rule::All, &[true, true]);
        let one = manifest(Rule::AtLeast(1), &[true, true]);
        assert_ne!(all.quorum(), one.quorum());
        assert_ne!(all.txid(), one.txid());
    }
}
