//! The keys that a node may sign with.

use std::collections::HashMap;
use std::fmt;

use k256::ecdsa::SigningKey;
use secp256k1::{Message, SECP256K1, SecretKey};
use sofie_model::{Account, Digest};
use zeroize::Zeroizing;

/// Accounts and their secp256k1 keys. The keys are wiped when it is dropped, and never printed.
#[derive(Clone, Default)]
pub struct Keyring {
    keys: HashMap<Account, Key>,
}

/// Wiped when it is dropped.
#[derive(Clone)]
struct Key(SecretKey);

impl Drop for Key {
    fn drop(&mut self) {
        self.0.non_secure_erase();
    }
}

/// Bytes that are no key of secp256k1: zero, or not below the curve's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a secp256k1 key: its 32 bytes are zero or not below the curve's order")]
pub struct NotAKey;

impl Keyring {
    /// Adds a key, and answers its account.
    ///
    /// # Errors
    /// [`NotAKey`].
    pub fn insert(&mut self, secret: &Zeroizing<[u8; 32]>) -> Result<Account, NotAKey> {
        let key = SigningKey::from_slice(secret.as_slice()).map_err(|_| NotAKey)?;
        let account = Account::from(key.verifying_key());
        let key = SecretKey::from_byte_array(**secret).map_err(|_| NotAKey)?;
        self.keys.insert(account, Key(key));
        Ok(account)
    }

    /// Whose keys are here.
    pub fn accounts(&self) -> impl Iterator<Item = Account> {
        self.keys.keys().copied()
    }

    /// The signature of `account` over `digest`: r ‖ s ‖ v, s in the lower half; nothing without its key.
    pub(crate) fn sign(&self, account: Account, digest: Digest) -> Option<[u8; 65]> {
        let message = Message::from_digest(digest.0);
        let (id, bytes) = SECP256K1.sign_ecdsa_recoverable(message, self.get(account)?).serialize_compact();
        let mut signature = [0; 65];
        signature[..64].copy_from_slice(&bytes);
        signature[64] = 27 + (i32::from(id) & 1) as u8;
        Some(signature)
    }

    pub(crate) fn get(&self, account: Account) -> Option<&SecretKey> {
        self.keys.get(&account).map(|key| &key.0)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.keys.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_its_accounts_and_never_prints_a_key() {
        let mut keyring = Keyring::default();
        let account = keyring.insert(&Zeroizing::new([0x77; 32])).unwrap();
        assert!(keyring.get(account).is_some() && keyring.get(Account::ZERO).is_none());
        let printed = format!("{keyring:?}");
        assert_eq!(printed, format!("{{{account}}}"));
        assert_eq!(keyring.insert(&Zeroizing::new([0; 32])), Err(NotAKey));
        assert_eq!(keyring.insert(&Zeroizing::new([0xff; 32])), Err(NotAKey));
    }
}
