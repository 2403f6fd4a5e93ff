//! The participants' keys, the same in every world.

use std::sync::LazyLock;

use k256::ecdsa::SigningKey;
use sofie_model::{Account, Digest, PublicKey, Signature};

/// So many take part in a world.
pub(super) const PEOPLE: u8 = 3;

static KEYS: LazyLock<Vec<(SigningKey, Account)>> = LazyLock::new(|| {
    let key = |who: u8| SigningKey::from_slice(&[who + 1; 32]).expect("a small number is a secret key");
    (0..PEOPLE).map(key).map(|key| (key.clone(), Account::from(key.verifying_key()))).collect()
});

/// The account of a participant.
pub(super) fn account(who: u8) -> Account {
    KEYS[usize::from(who)].1
}

/// The key of a participant in a lock.
pub(super) fn public(who: u8) -> PublicKey {
    PublicKey::from(KEYS[usize::from(who)].0.verifying_key())
}

/// Whose account it is.
pub(super) fn owner(of: Account) -> Option<u8> {
    (0..).zip(KEYS.iter()).find(|(_, (_, account))| *account == of).map(|(who, _)| who)
}

/// A participant's signature of an EIP-712 digest.
pub(super) fn sign(who: u8, digest: Digest) -> Signature {
    Signature::by(&KEYS[usize::from(who)].0, digest)
}
