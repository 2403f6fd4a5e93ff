//! Making payments: which coins, how much change, whose signature.

use std::collections::BTreeMap;

use bitcoin::absolute::LockTime;
use bitcoin::key::CompressedPublicKey;
use bitcoin::secp256k1::{All, Message, Secp256k1, SecretKey};
use bitcoin::sighash::{EcdsaSighashType, SighashCache};
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, TxIn, TxOut, Witness, ecdsa};
use sofie_model::{Account, Digest, PublicKey};

use super::index::Coin;
use super::ladder::{Ladder, REPLACEABLE, fees};
use super::lock::Lock;
use crate::Spend;
use crate::evm::Keyring;

/// Smaller outputs to a key are not relayed (`GetDustThreshold` for P2WPKH at 3 sat/vB).
pub(super) const DUST: u64 = 294;
/// Coins of one payment: more are dear, and a payer who was sent dust shall not pay for it.
const MAX_COINS: usize = 16;

/// Why a payment cannot be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unpayable {
    /// Never, as things stand.
    Refused(String),
    /// Not now: coins are on their way.
    Waits(String),
}

/// The keys that are held here or watched, and all that is signed with them.
pub(super) struct Wallet {
    curve: Secp256k1<All>,
    keyring: Keyring,
    keys: BTreeMap<Account, CompressedPublicKey>,
}

/// Signatures of a lock's spend, each with its fee in satoshi, the cheapest first.
pub(super) type Signed = Vec<(u64, ecdsa::Signature)>;

/// What a payment is to be.
#[derive(Debug, Clone)]
pub(super) struct Payment {
    pub(super) outputs: Vec<TxOut>,
    /// Whose coins: a key held here.
    pub(super) from: CompressedPublicKey,
    /// Satoshi per 1,000 virtual bytes.
    pub(super) rate: u64,
    /// The most that it may cost.
    pub(super) limit: u64,
}

impl Wallet {
    pub(super) fn new(keyring: Keyring, watched: &[PublicKey]) -> Self {
        let curve = Secp256k1::new();
        let mut wallet = Self { curve, keyring, keys: BTreeMap::new() };
        let held: Vec<Account> = wallet.keyring.accounts().collect();
        for account in held {
            let public = wallet.secret(account).map(|key| key.public_key(&wallet.curve));
            wallet.keys.extend(public.map(|key| (account, CompressedPublicKey(key))));
        }
        for watched in watched {
            let key = CompressedPublicKey::from_slice(&watched.0).ok();
            wallet.keys.extend(watched.account().zip(key));
        }
        wallet
    }

    fn secret(&self, account: Account) -> Option<SecretKey> {
        SecretKey::from_slice(&self.keyring.get(account)?.secret_bytes()).ok()
    }

    fn secret_of(&self, key: CompressedPublicKey) -> Option<SecretKey> {
        let (account, _) = self.keys.iter().find(|(_, one)| **one == key)?;
        self.secret(*account)
    }

    /// Whether this process can sign with it.
    pub(super) fn holds(&self, key: CompressedPublicKey) -> bool {
        self.keys.iter().any(|(account, one)| *one == key && self.keyring.get(*account).is_some())
    }

    /// The key of an account that is held here or watched.
    pub(super) fn key(&self, account: Account) -> Option<CompressedPublicKey> {
        self.keys.get(&account).copied()
    }

    /// Where the coins of all these keys are.
    pub(super) fn scripts(&self) -> impl Iterator<Item = ScriptBuf> {
        self.keys.values().map(coins_of)
    }

    /// Signs `payment` from these coins at every fee that its limit and they allow.
    pub(super) fn pay(&self, payment: &Payment, coins: &[(OutPoint, Coin)]) -> Result<Ladder, Unpayable> {
        let held: u64 = coins.iter().map(|(_, coin)| coin.value).sum();
        let paid: u64 = payment.outputs.iter().map(|output| output.value.to_sat()).sum();
        let short = || {
            Unpayable::Refused(format!("the payer's coins hold {held} satoshi, {paid} and fees are needed"))
        };
        let left = held.checked_sub(paid).and_then(|rest| rest.checked_sub(DUST)).ok_or_else(short)?;
        let secret = self
            .secret_of(payment.from)
            .ok_or_else(|| Unpayable::Refused(format!("this node holds no key of {}", payment.from)))?;
        let at = |fee: u64| self.signed(payment, coins, left + DUST - fee, &secret);
        let first = first_fee(&at(0)?, payment.rate);
        let rungs: Result<Vec<_>, _> =
            fees(first.min(payment.limit), left.min(payment.limit)).into_iter().map(at).collect();
        let rungs = rungs?;
        if rungs.is_empty() { Err(short()) } else { Ok(Ladder::new(rungs)) }
    }

    fn signed(
        &self,
        payment: &Payment,
        coins: &[(OutPoint, Coin)],
        change: u64,
        secret: &SecretKey,
    ) -> Result<Transaction, Unpayable> {
        let mut output = payment.outputs.clone();
        output.push(TxOut { value: Amount::from_sat(change), script_pubkey: coins_of(&payment.from) });
        let input = coins.iter().map(|(outpoint, _)| spending(*outpoint)).collect();
        let transaction = Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input, output };
        let mut cache = SighashCache::new(transaction);
        for (index, (_, coin)) in coins.iter().enumerate() {
            let value = Amount::from_sat(coin.value);
            let hash = cache.p2wpkh_signature_hash(index, &coin.script, value, EcdsaSighashType::All);
            let hash = hash.map_err(|error| Unpayable::Refused(error.to_string()))?;
            let signature = self.sign(Message::from(hash), secret);
            if let Some(witness) = cache.witness_mut(index) {
                *witness = Witness::p2wpkh(&signature, &payment.from.0);
            }
        }
        Ok(cache.into_transaction())
    }

    /// RFC 6979, ground to a short r: the same bytes each time, and 71 of them.
    fn sign(&self, message: Message, secret: &SecretKey) -> ecdsa::Signature {
        ecdsa::Signature::sighash_all(self.curve.sign_ecdsa_low_r(&message, secret))
    }

    /// This spend's signatures with the key that it needs, each with its fee; `None` when the key is not held here.
    pub(super) fn sign_spend(
        &self,
        lock: &Lock,
        outpoint: OutPoint,
        spend: Spend,
        fees: &[u64],
    ) -> Option<Signed> {
        let secret = self.secret_of(lock.key(spend))?;
        let one = |fee: &u64| {
            let message = message_of(lock, &unsigned(lock, outpoint, spend, *fee))?;
            Some((*fee, self.sign(message, &secret)))
        };
        fees.iter().map(one).collect()
    }

    /// Whether that is the needed key's signature for this spend at this fee.
    pub(super) fn is_signed(
        &self,
        lock: &Lock,
        outpoint: OutPoint,
        spend: Spend,
        (fee, signature): &(u64, ecdsa::Signature),
    ) -> bool {
        let message = message_of(lock, &unsigned(lock, outpoint, spend, *fee));
        signature.sighash_type == EcdsaSighashType::All
            && message.is_some_and(|message| {
                self.curve.verify_ecdsa(&message, &signature.signature, &lock.key(spend).0).is_ok()
            })
    }
}

/// The output script of a key's coins: P2WPKH.
pub(super) fn coins_of(key: &CompressedPublicKey) -> ScriptBuf {
    ScriptBuf::new_p2wpkh(&key.wpubkey_hash())
}

fn spending(previous_output: OutPoint) -> TxIn {
    TxIn { previous_output, sequence: REPLACEABLE, ..TxIn::default() }
}

/// What a signed transaction of this size costs at this rate.
fn first_fee(transaction: &Transaction, rate: u64) -> u64 {
    (transaction.vsize() as u64).saturating_mul(rate).div_ceil(1_000)
}

/// The fees at which a lock's spend is signed: what is left must not be dust.
pub(super) fn spend_fees(lock: &Lock, spend: Spend, rate: u64, limit: u64) -> Vec<u64> {
    let most = limit.min(lock.amount.saturating_sub(DUST));
    fees(spend_fee(lock, spend, rate).min(most), most)
}

/// Why nobody should lock this: its claim costs more than it may, or than it brings.
pub(super) fn too_dear(lock: &Lock, rate: u64, limit: u64) -> Option<String> {
    let (fee, most) = (spend_fee(lock, Spend::Claim, rate), limit.min(lock.amount.saturating_sub(DUST)));
    (fee > most)
        .then(|| format!("its claim would cost {fee} satoshi by now; fee_limit and amount allow {most}"))
}

/// What a lock's spend costs at this rate.
fn spend_fee(lock: &Lock, spend: Spend, rate: u64) -> u64 {
    let size = unsigned(lock, OutPoint::null(), spend, 0).vsize() as u64 + witness_size(lock, spend);
    size.saturating_mul(rate).div_ceil(1_000)
}

/// Virtual bytes of a spend's witness: the script, a signature, and each preimage of a claim (BIP 141: a quarter).
fn witness_size(lock: &Lock, spend: Spend) -> u64 {
    let preimages = if spend == Spend::Claim { lock.preimages() as u64 * 33 } else { 1 };
    (lock.script().len() as u64 + 3 + 73 + 4 + preimages).div_ceil(4)
}

/// A lock's spend at this fee, without its witness: to the key's own coins, all but the fee.
pub(super) fn unsigned(lock: &Lock, outpoint: OutPoint, spend: Spend, fee: u64) -> Transaction {
    let lock_time = match spend {
        Spend::Claim => LockTime::ZERO,
        Spend::Refund => LockTime::from_consensus(lock.timelock),
    };
    let value = Amount::from_sat(lock.amount.saturating_sub(fee));
    let output = vec![TxOut { value, script_pubkey: coins_of(&lock.key(spend)) }];
    Transaction { version: Version::TWO, lock_time, input: vec![spending(outpoint)], output }
}

fn message_of(lock: &Lock, transaction: &Transaction) -> Option<Message> {
    let (script, value) = (lock.script(), Amount::from_sat(lock.amount));
    let hash = SighashCache::new(transaction).p2wsh_signature_hash(0, &script, value, EcdsaSighashType::All);
    hash.ok().map(Message::from)
}

/// A lock's spend at each of these fees.
pub(super) fn spends(
    lock: &Lock,
    outpoint: OutPoint,
    spend: Spend,
    signed: &[(u64, ecdsa::Signature)],
    preimages: &[Digest],
) -> Result<Ladder, String> {
    let one = |(fee, signature): &(u64, ecdsa::Signature)| {
        let mut transaction = unsigned(lock, outpoint, spend, *fee);
        transaction.input[0].witness = lock.witness(spend, *signature, preimages)?;
        Ok::<_, String>(transaction)
    };
    signed.iter().map(one).collect::<Result<Vec<_>, _>>().map(Ladder::new)
}

/// Chooses coins worth `wanted`, or all that come near it. One that is enough alone is taken by a draw that depends on
/// `purpose` only: two processes that hold the same key and see the same chain choose the same coin for the same leg,
/// so that their transactions conflict (P4), and different coins for different legs.
pub(super) fn choose(mut coins: Vec<(OutPoint, Coin)>, wanted: u64, purpose: &[u8]) -> Vec<(OutPoint, Coin)> {
    let draw = |outpoint: &OutPoint| {
        let place = bitcoin::consensus::encode::serialize(outpoint);
        Digest::of("sofie.bitcoin.draw.v1", &[purpose, &place])
    };
    let enough = coins.iter().filter(|(_, coin)| coin.value >= wanted);
    if let Some(one) = enough.min_by_key(|(outpoint, _)| draw(outpoint)) {
        return vec![one.clone()];
    }
    coins.sort_by_key(|(outpoint, coin)| (std::cmp::Reverse(coin.value), draw(outpoint)));
    let mut sum = 0;
    let needed = |(_, coin): &(OutPoint, Coin)| {
        let more = sum < wanted;
        sum += coin.value;
        more
    };
    coins.into_iter().take(MAX_COINS).take_while(needed).collect()
}
