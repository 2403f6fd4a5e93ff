//! The lock of a hashlock leg in Bitcoin script (BIP 16 and 65, BIP 141 for the output), by hand, so that a proof is
//! checked without a Bitcoin library. `sofie_ledgers` makes and satisfies it by miniscript and tests that both agree:
//!
//! ```text
//! andor(pk(claimant), and_v(v:sha256(h1), and_v(…, sha256(hn))), and_v(v:pk(payer), after(T_p)))
//! ```
//!
//! With one hash, the claimant's, it is the plain hashed timelock that payment networks use.

use crate::manifest::HashlockTerms;
use crate::{Digest, LegId, Manifest, Terms};

const OP_IF_ABSENT: u8 = 0x64; // OP_NOTIF
const OP_ELSE: u8 = 0x67;
const OP_ENDIF: u8 = 0x68;
const OP_SIZE: u8 = 0x82;
const OP_EQUAL: u8 = 0x87;
const OP_EQUALVERIFY: u8 = 0x88;
const OP_SHA256: u8 = 0xa8;
const OP_CHECKSIG: u8 = 0xac;
const OP_CHECKSIGVERIFY: u8 = 0xad;
const OP_CHECKLOCKTIMEVERIFY: u8 = 0xb1;

/// What a leg's lock must be: its script and its amount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// The witness script.
    pub script: Vec<u8>,
    /// Satoshi.
    pub amount: u128,
}

impl Lock {
    /// The lock of this leg; `None` when it is not a hashlock leg.
    #[must_use]
    pub fn of(manifest: &Manifest, leg: LegId) -> Option<Self> {
        let Terms::Hashlock(terms) = &manifest.leg(leg)?.terms else { return None };
        Some(Self { script: witness_script(terms, &manifest.lock_hashes(terms)), amount: terms.amount })
    }

    /// The output script that pays to it: P2WSH.
    #[must_use]
    pub fn output(&self) -> Vec<u8> {
        [&[0x00, 0x20], Digest::sha256(&self.script).as_bytes().as_slice()].concat()
    }
}

/// The witness script for these terms and what they are locked to.
#[must_use]
pub fn witness_script(terms: &HashlockTerms, hashes: &[Digest]) -> Vec<u8> {
    let mut script = Vec::with_capacity(96 + 39 * hashes.len());
    push(&mut script, &terms.claimant_key.0);
    script.extend([OP_CHECKSIG, OP_IF_ABSENT]);
    push(&mut script, &terms.payer_key.0);
    script.push(OP_CHECKSIGVERIFY);
    push(&mut script, &number(terms.timelock.as_seconds()));
    script.extend([OP_CHECKLOCKTIMEVERIFY, OP_ELSE]);
    for (index, hash) in hashes.iter().enumerate() {
        let last = index + 1 == hashes.len();
        script.push(OP_SIZE);
        push(&mut script, &[32]);
        script.extend([OP_EQUALVERIFY, OP_SHA256]);
        push(&mut script, hash.as_bytes());
        script.push(if last { OP_EQUAL } else { OP_EQUALVERIFY });
    }
    script.push(OP_ENDIF);
    script
}

/// Where the lock's key pays to when it is spent: P2WPKH of the key, whose hash the caller computes (`HASH160`).
#[must_use]
pub fn pays_to(key_hash: [u8; 20]) -> Vec<u8> {
    [&[0x00, 0x14], key_hash.as_slice()].concat()
}

/// Direct pushes only: at most 75 bytes.
fn push(script: &mut Vec<u8>, bytes: &[u8]) {
    debug_assert!(bytes.len() <= 75, "a direct push");
    script.push(bytes.len() as u8);
    script.extend_from_slice(bytes);
}

/// A script number above 16: little-endian, with a zero byte when the top bit would be the sign.
fn number(value: u64) -> Vec<u8> {
    let mut bytes = value.to_le_bytes().to_vec();
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    if bytes.last().is_some_and(|top| top & 0x80 != 0) {
        bytes.push(0);
    }
    bytes
}

/// Which branch a witness of the lock takes, and what it shows. `None`: it is no witness of this lock.
#[must_use]
pub fn read_witness<'a>(lock: &Lock, witness: &[&'a [u8]]) -> Option<Branch<'a>> {
    let (script, stack) = witness.split_last()?;
    if *script != lock.script {
        return None;
    }
    match stack.split_last()? {
        // The claimant's signature is left out: the refund's branch.
        ([], _) => Some(Branch::Refund),
        // The stack's top is the first to be consumed.
        (_, preimages) => Some(Branch::Claim(preimages.iter().rev().copied().collect())),
    }
}

/// How a lock was spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Branch<'a> {
    /// By the claimant, showing what should be every preimage, in the participants' order.
    Claim(Vec<&'a [u8]>),
    /// By the payer, after T_p.
    Refund,
}

/// Everybody's preimage as a claim shows them, each checked against its hash; `None` when one does not fit.
#[must_use]
pub fn preimages(shown: &[&[u8]], hashes: &[Digest]) -> Option<Vec<Digest>> {
    let fits = |(bytes, hash): (&&[u8], &Digest)| {
        let secret = Digest(<[u8; 32]>::try_from(*bytes).ok()?);
        (Digest::sha256(secret.as_bytes()) == *hash).then_some(secret)
    };
    (shown.len() == hashes.len()).then(|| shown.iter().zip(hashes).map(fits).collect())?
}
