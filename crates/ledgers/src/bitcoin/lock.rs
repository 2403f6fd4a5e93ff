//! A hashlock leg's lock as a miniscript (BIP 379): where value is sent, and how a claim and a refund spend it.

use bitcoin::absolute::LockTime;
use bitcoin::hashes::{Hash, sha256};
use bitcoin::key::CompressedPublicKey;
use bitcoin::{OutPoint, PublicKey, ScriptBuf, Transaction, TxOut, Witness, ecdsa};
use miniscript::{Miniscript, Satisfier, Segwitv0, miniscript::satisfy::Preimage32};
use sofie_model::manifest::HashlockTerms;
use sofie_model::proof::bitcoin::{Mark, script};
use sofie_model::{Digest, LegId, Manifest, Terms};

use super::index::Placed;
use crate::Spend;

/// Before this number a lock time counts blocks (BIP 65).
const FIRST_TIME: u64 = 500_000_000;
/// The latest time that a miniscript's `after` takes.
const LAST_TIME: u64 = (1 << 31) - 1;

/// A leg's lock.
#[derive(Debug, Clone)]
pub(super) struct Lock {
    pub(super) mark: Mark,
    pub(super) payer: CompressedPublicKey,
    pub(super) claimant: CompressedPublicKey,
    /// Satoshi.
    pub(super) amount: u64,
    pub(super) timelock: u32,
    hashes: Vec<Digest>,
    miniscript: Miniscript<PublicKey, Segwitv0>,
}

/// Where a leg's lock stands.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) outpoint: OutPoint,
    pub(super) placed: Placed,
}

impl Lock {
    /// The lock of this leg; an error says why Bitcoin cannot carry it.
    pub(super) fn of(manifest: &Manifest, leg: LegId) -> Result<Self, String> {
        let terms = match manifest.leg(leg).map(|leg| &leg.terms) {
            Some(Terms::Hashlock(terms)) => terms,
            Some(_) => return Err(format!("{leg} is not a hashlock leg")),
            None => return Err(format!("there is no {leg}")),
        };
        let seconds = terms.timelock.as_seconds();
        let timelock = u32::try_from(seconds).ok().filter(|_| (FIRST_TIME..=LAST_TIME).contains(&seconds));
        let timelock =
            timelock.ok_or_else(|| format!("its timelock {seconds} is no time that script takes"))?;
        let amount =
            u64::try_from(terms.amount).map_err(|_| format!("{} satoshi do not exist", terms.amount))?;
        let hashes = manifest.lock_hashes(terms);
        Ok(Self {
            mark: Mark::lock(manifest.txid(), leg),
            payer: key(&terms.payer_key)?,
            claimant: key(&terms.claimant_key)?,
            amount,
            timelock,
            miniscript: compiled(terms, timelock, &hashes)?,
            hashes,
        })
    }

    pub(super) fn script(&self) -> ScriptBuf {
        self.miniscript.encode()
    }

    /// How many preimages a claim shows.
    pub(super) fn preimages(&self) -> usize {
        self.hashes.len()
    }

    /// The output that holds the value.
    pub(super) fn output(&self) -> TxOut {
        let script_pubkey = ScriptBuf::new_p2wsh(&self.script().wscript_hash());
        TxOut { value: bitcoin::Amount::from_sat(self.amount), script_pubkey }
    }

    /// Whose signature this spend needs, and to whom it pays.
    pub(super) fn key(&self, spend: Spend) -> CompressedPublicKey {
        match spend {
            Spend::Claim => self.claimant,
            Spend::Refund => self.payer,
        }
    }

    /// The lock in a transaction, if it holds exactly this script and amount.
    pub(super) fn within(&self, transaction: &Transaction) -> Option<OutPoint> {
        let wanted = self.output();
        let vout = transaction.output.iter().position(|output| *output == wanted)?;
        Some(OutPoint::new(transaction.compute_txid(), u32::try_from(vout).ok()?))
    }

    /// The first of these transactions that holds the lock: whoever made it.
    pub(super) fn find(&self, marked: &[Placed]) -> Option<Found> {
        let found = |placed: &Placed| {
            Some(Found { outpoint: self.within(&placed.transaction)?, placed: placed.clone() })
        };
        marked.iter().find_map(found)
    }

    /// The witness that spends the lock by this signature; a claim's needs the preimage of every hash.
    pub(super) fn witness(
        &self,
        spend: Spend,
        signature: ecdsa::Signature,
        preimages: &[Digest],
    ) -> Result<Witness, String> {
        let known = Known { lock: self, spend, signature, preimages };
        let mut stack = self.miniscript.satisfy(&known).map_err(|error| error.to_string())?;
        stack.push(self.script().into_bytes());
        Ok(Witness::from_slice(&stack))
    }

    /// How `transaction` spends the lock at `outpoint`; `None` when it does not.
    pub(super) fn spent_by(&self, outpoint: OutPoint, transaction: &Transaction) -> Option<Spent> {
        let input = transaction.input.iter().find(|input| input.previous_output == outpoint)?;
        let witness: Vec<&[u8]> = input.witness.iter().collect();
        let lock = script::Lock { script: self.script().into_bytes(), amount: self.amount.into() };
        match script::read_witness(&lock, &witness)? {
            script::Branch::Refund => Some(Spent::Refund),
            script::Branch::Claim(shown) => Some(Spent::Claim(script::preimages(&shown, &self.hashes)?)),
        }
    }

    /// Why these preimages do not open it; `Ok` when they do.
    pub(super) fn fits(&self, preimages: &[Digest]) -> Result<(), String> {
        let shown: Vec<&[u8]> = preimages.iter().map(|one| one.as_bytes().as_slice()).collect();
        if shown.len() != self.hashes.len() {
            return Err(format!("{} preimages, {} are needed", shown.len(), self.hashes.len()));
        }
        script::preimages(&shown, &self.hashes)
            .map(drop)
            .ok_or_else(|| "a preimage does not fit its hash".into())
    }
}

/// How a lock was spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Spent {
    /// With the preimages of all its hashes.
    Claim(Vec<Digest>),
    Refund,
}

fn key(key: &sofie_model::PublicKey) -> Result<CompressedPublicKey, String> {
    CompressedPublicKey::from_slice(&key.0).map_err(|error| format!("{key} is not a public key: {error}"))
}

fn compiled(
    terms: &HashlockTerms,
    timelock: u32,
    hashes: &[Digest],
) -> Result<Miniscript<PublicKey, Segwitv0>, String> {
    let (last, others) = hashes.split_last().ok_or("nobody takes part")?;
    let all = others
        .iter()
        .rev()
        .fold(format!("sha256({last})"), |rest, hash| format!("and_v(v:sha256({hash}),{rest})"));
    let (claimant, payer) = (terms.claimant_key, terms.payer_key);
    let policy = format!("andor(pk({claimant}),{all},and_v(v:pk({payer}),after({timelock})))");
    policy.parse().map_err(|error| format!("not a miniscript: {error}"))
}

/// What one spend may use.
struct Known<'a> {
    lock: &'a Lock,
    spend: Spend,
    signature: ecdsa::Signature,
    preimages: &'a [Digest],
}

impl Satisfier<PublicKey> for Known<'_> {
    fn lookup_ecdsa_sig(&self, key: &PublicKey) -> Option<ecdsa::Signature> {
        (key.inner == self.lock.key(self.spend).0).then_some(self.signature)
    }

    fn lookup_sha256(&self, hash: &sha256::Hash) -> Option<Preimage32> {
        let fits = |one: &&Digest| Digest::sha256(one.as_bytes()).0 == hash.to_byte_array();
        self.preimages.iter().find(fits).map(|one| one.0)
    }

    fn check_after(&self, time: LockTime) -> bool {
        self.spend == Spend::Refund && time.to_consensus_u32() == self.lock.timelock
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::{Message, Secp256k1, SecretKey};
    use sofie_model::{Account, Timestamp};

    use super::*;

    fn secret(byte: u8) -> SecretKey {
        SecretKey::from_slice(&[byte; 32]).unwrap()
    }

    fn public(byte: u8) -> sofie_model::PublicKey {
        sofie_model::PublicKey(secret(byte).public_key(&Secp256k1::new()).serialize())
    }

    fn lock(participants: u8) -> (Lock, Vec<Digest>, Vec<u8>) {
        let terms = HashlockTerms {
            payer: Account([1; 20]),
            claimant: Account([2; 20]),
            amount: 1_000,
            timelock: Timestamp::from_seconds(1_900_000_000),
            payer_key: public(1),
            claimant_key: public(2),
            opened_by: None,
        };
        let secrets: Vec<Digest> = (0..participants).map(|byte| Digest([byte + 1; 32])).collect();
        let hashes: Vec<_> = secrets.iter().map(|secret| Digest::sha256(secret.as_bytes())).collect();
        let miniscript = compiled(&terms, 1_900_000_000, &hashes).unwrap();
        let by_hand = script::witness_script(&terms, &hashes);
        let (payer, claimant) = (key(&terms.payer_key).unwrap(), key(&terms.claimant_key).unwrap());
        let mark = Mark::note(Digest::ZERO, Digest::ZERO);
        let (amount, timelock) = (1_000, 1_900_000_000);
        (Lock { mark, payer, claimant, amount, timelock, hashes, miniscript }, secrets, by_hand)
    }

    fn signature(byte: u8) -> ecdsa::Signature {
        let message = Message::from_digest([9; 32]);
        ecdsa::Signature::sighash_all(Secp256k1::new().sign_ecdsa_low_r(&message, &secret(byte)))
    }

    fn spending(lock: &Lock, witness: Witness) -> Option<Spent> {
        let input = bitcoin::TxIn { witness, ..Default::default() };
        let transaction = Transaction {
            version: bitcoin::transaction::Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![input],
            output: vec![],
        };
        lock.spent_by(OutPoint::default(), &transaction)
    }

    #[test]
    fn the_miniscript_and_the_script_by_hand_are_the_same_bytes() {
        for participants in 1..=16 {
            let (lock, _, by_hand) = lock(participants);
            assert_eq!(lock.script().as_bytes(), by_hand, "{participants}");
            assert!(by_hand.len() <= 3_600, "a standard script: {}", by_hand.len());
        }
    }

    #[test]
    fn a_claim_shows_every_preimage_and_a_refund_none() {
        for participants in [1, 2, 3, 16] {
            let (lock, secrets, _) = lock(participants);
            let claim = lock.witness(Spend::Claim, signature(2), &secrets).unwrap();
            assert_eq!(spending(&lock, claim), Some(Spent::Claim(secrets.clone())), "{participants}");
            let refund = lock.witness(Spend::Refund, signature(1), &[]).unwrap();
            assert_eq!(spending(&lock, refund), Some(Spent::Refund));
        }
    }

    #[test]
    fn without_one_preimage_there_is_no_claim() {
        let (lock, secrets, _) = lock(3);
        for missing in 0..3 {
            let mut some = secrets.clone();
            some.remove(missing);
            assert!(lock.witness(Spend::Claim, signature(2), &some).is_err(), "{missing}");
            assert!(lock.fits(&some).is_err());
        }
        let mut changed = secrets.clone();
        changed[1] = Digest([0xee; 32]);
        assert!(lock.witness(Spend::Claim, signature(2), &changed).is_err() && lock.fits(&changed).is_err());
        assert_eq!(lock.fits(&secrets), Ok(()));
    }
}
