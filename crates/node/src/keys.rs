//! The parties' keys: one file a party, made on the first start, readable by the node's user alone.
//!
//! A party has a secp256k1 key (its account on value ledgers, and its signature on evidence) and an Ed25519 key (its
//! capabilities and records). They lie in the file as they are: there is no passphrase, so the file system's
//! permissions are the whole protection, and a file that others may read is refused. Secrets are wiped from memory when
//! they are dropped, and no `Debug` shows them. Hardware keys and rotation are left out.

mod secret_file;
mod token;

use std::{fmt, path::Path};

use k256::ecdsa;
use sofie_model::{Account, Digest};
use zeroize::Zeroizing;

use crate::config::{Name, Party};

pub use secret_file::SecretFileError;
pub use token::Token;

/// The keys of one party.
pub struct PartyKeys {
    name: Name,
    secp256k1: ecdsa::SigningKey,
    ed25519: ed25519_dalek::SigningKey,
    epoch: Option<Digest>,
}

/// Why a party has no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Its file is not as it must be, or could not be made.
    #[error("the keys of party {party}: {source}")]
    File {
        /// Whose.
        party: Name,
        /// What is wrong with it.
        source: SecretFileError,
    },
    /// Its file does not hold two keys of this party.
    #[error(
        "the keys of party {party}: {file}: {what}; bring back the file from a copy (removing it makes new keys, and \
         with them a new, empty account)"
    )]
    Content {
        /// Whose.
        party: Name,
        /// Which file.
        file: String,
        /// What is wrong; never a part of the secret.
        what: String,
    },
    /// The system gives no randomness.
    #[error("the keys of party {party}: the system gives no randomness: {source}")]
    Randomness {
        /// Whose.
        party: Name,
        /// What the system says.
        source: getrandom::Error,
    },
}

/// The first line that counts: which form the rest has.
const FORM: &str = "sofie-keys-1";

impl PartyKeys {
    /// Reads the party's file, or makes keys and the file when there is none.
    ///
    /// # Errors
    /// [`KeyError`]. Nothing half-written is left behind.
    pub fn load_or_create(party: &Party) -> Result<Self, KeyError> {
        let failed = |source| KeyError::File { party: party.name.clone(), source };
        if let Some(text) = secret_file::read(&party.key_file).map_err(failed)? {
            return Self::parse(&party.name, &party.key_file, &text);
        }
        let keys = Self::generate(&party.name)?;
        secret_file::create(&party.key_file, &keys.to_text()).map_err(failed)?;
        tracing::info!(party = %party.name, account = %keys.account(), file = %party.key_file.display(), "made keys");
        Ok(keys)
    }

    /// New keys, kept nowhere.
    ///
    /// # Errors
    /// [`KeyError::Randomness`].
    pub fn generate(name: &Name) -> Result<Self, KeyError> {
        let failed = |source| KeyError::Randomness { party: name.clone(), source };
        let mut bytes = Zeroizing::new([0; 32]);
        let secp256k1 = loop {
            getrandom::fill(&mut *bytes).map_err(failed)?;
            // All but about 2^-128 of the values are keys.
            if let Ok(key) = ecdsa::SigningKey::from_slice(&*bytes) {
                break key;
            }
        };
        getrandom::fill(&mut *bytes).map_err(failed)?;
        let ed25519 = ed25519_dalek::SigningKey::from_bytes(&bytes);
        Ok(Self { name: name.clone(), secp256k1, ed25519, epoch: None })
    }

    /// The same keys, with the secrets of another epoch.
    pub(crate) fn in_epoch(self, epoch: Option<Digest>) -> Self {
        Self { epoch, ..self }
    }

    /// A secret that this key alone can derive again, in this epoch.
    pub(crate) fn secret(&self, domain: &str, parts: &[&[u8]]) -> Digest {
        let key = Zeroizing::new(<[u8; 32]>::from(self.secp256k1.to_bytes()));
        let epoch = self.epoch.iter().map(|epoch| &epoch.as_bytes()[..]);
        let all: Vec<&[u8]> = [&key[..]].into_iter().chain(epoch).chain(parts.iter().copied()).collect();
        Digest::of(domain, &all)
    }

    /// Whose keys they are.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// The account on value ledgers.
    #[must_use]
    pub fn account(&self) -> Account {
        Account(alloy_primitives::Address::from_private_key(&self.secp256k1).into())
    }

    /// The key of the account.
    #[must_use]
    pub const fn secp256k1(&self) -> &ecdsa::SigningKey {
        &self.secp256k1
    }

    /// The key of capabilities and records.
    #[must_use]
    pub const fn ed25519(&self) -> &ed25519_dalek::SigningKey {
        &self.ed25519
    }

    fn parse(name: &Name, file: &Path, text: &str) -> Result<Self, KeyError> {
        let wrong =
            |what: String| KeyError::Content { party: name.clone(), file: file.display().to_string(), what };
        let field = |key: &str| {
            let mut values = text.lines().filter_map(|line| {
                let (found, value) = line.split_once('=')?;
                (found.trim() == key).then(|| value.trim().trim_matches('"'))
            });
            match (values.next(), values.next()) {
                (Some(value), None) => Ok(value),
                (Some(_), Some(_)) => Err(wrong(format!("says {key} twice"))),
                (None, _) => Err(wrong(format!("says no {key}"))),
            }
        };
        if field("form")? != FORM {
            return Err(wrong(format!("its form is not {FORM}")));
        }
        if field("party")? != name.as_str() {
            return Err(wrong("it is another party's".to_owned()));
        }
        let secret = |key: &str| {
            let mut bytes = Zeroizing::new([0; 32]);
            hex::decode_to_slice(field(key)?, &mut *bytes)
                .map_err(|_| wrong(format!("{key} is not 64 hexadecimal digits")))?;
            Ok(bytes)
        };
        let secp256k1 = ecdsa::SigningKey::from_slice(&*secret("secp256k1")?)
            .map_err(|_| wrong("secp256k1 is not a number of that curve".to_owned()))?;
        let ed25519 = ed25519_dalek::SigningKey::from_bytes(&*secret("ed25519")?);
        Ok(Self { name: name.clone(), secp256k1, ed25519, epoch: None })
    }

    fn to_text(&self) -> Zeroizing<String> {
        let hexed = |bytes: &[u8]| Zeroizing::new(hex::encode(bytes));
        let secp256k1 = hexed(&self.secp256k1.to_bytes());
        let ed25519 = hexed(&self.ed25519.to_bytes());
        Zeroizing::new(format!(
            "# Whoever can read this file can act and pay as {name}. Keep it secret, and keep a copy.\n\
             form = \"{FORM}\"\nparty = \"{name}\"\n# account {account}\n\
             secp256k1 = \"{secp256k1}\"\ned25519 = \"{ed25519}\"\n",
            name = self.name,
            account = self.account(),
            secp256k1 = *secp256k1,
            ed25519 = *ed25519,
        ))
    }
}

impl fmt::Debug for PartyKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartyKeys")
            .field("name", &self.name)
            .field("account", &self.account())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn party(folder: &Path) -> Party {
        Party { name: "renter".parse().unwrap(), key_file: folder.join("keys/renter.key") }
    }

    #[test]
    fn the_first_start_makes_keys_and_the_second_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let party = party(folder.path());
        let made = PartyKeys::load_or_create(&party).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&party.key_file), mode(party.key_file.parent().unwrap())), (0o600, 0o700));
        assert_eq!(
            fs::read_dir(folder.path().join("keys")).unwrap().count(),
            1,
            "nothing else is left there"
        );
        let read = PartyKeys::load_or_create(&party).unwrap();
        assert_eq!(read.secp256k1().to_bytes(), made.secp256k1().to_bytes());
        assert_eq!(read.ed25519().to_bytes(), made.ed25519().to_bytes());
        let other = PartyKeys::generate(&party.name).unwrap();
        assert_ne!(other.account(), made.account());
    }

    #[test]
    fn an_account_is_what_ethereum_says_it_is() {
        // The first account of the test mnemonic that Ethereum's development nodes share.
        let text = "form = \"sofie-keys-1\"\nparty = \"renter\"\n\
            secp256k1 = \"ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80\"\n\
            ed25519 = \"0000000000000000000000000000000000000000000000000000000000000001\"\n";
        let keys = PartyKeys::parse(&"renter".parse().unwrap(), Path::new("f"), text).unwrap();
        assert_eq!(keys.account().to_string(), "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266");
        assert!(!format!("{keys:?}").contains("ac0974"), "{keys:?}");
        assert_eq!(
            PartyKeys::parse(&"renter".parse().unwrap(), Path::new("f"), &keys.to_text()).unwrap().account(),
            keys.account()
        );
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_without_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        let party = party(folder.path());
        PartyKeys::load_or_create(&party).unwrap();
        let good = fs::read_to_string(&party.key_file).unwrap();
        let secret =
            good.lines().find_map(|line| line.strip_prefix("secp256k1 = ")).unwrap().trim_matches('"');
        let zero = "0".repeat(64);
        for (from, to, told) in [
            ("sofie-keys-1", "sofie-keys-2", "its form is not sofie-keys-1"),
            ("party = \"renter\"", "party = \"owner\"", "it is another party's"),
            ("ed25519 = ", "ed448 = ", "says no ed25519"),
            ("ed25519 = ", "secp256k1 = ", "says secp256k1 twice"),
            (secret, &secret[1..], "secp256k1 is not 64 hexadecimal digits"),
            (secret, &zero, "secp256k1 is not a number of that curve"),
        ] {
            fs::write(&party.key_file, good.replacen(from, to, 1)).unwrap();
            let error = PartyKeys::load_or_create(&party).unwrap_err().to_string();
            assert!(error.starts_with("the keys of party renter: ") && error.contains(told), "{error}");
            assert!(!error.contains(&secret[1..]), "{error}");
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let party = party(folder.path());
        PartyKeys::load_or_create(&party).unwrap();
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(&party.key_file, fs::Permissions::from_mode(mode)).unwrap();
            let error = PartyKeys::load_or_create(&party).unwrap_err().to_string();
            let path = party.key_file.display();
            assert_eq!(
                error,
                format!(
                    "the keys of party renter: {path}: others may read or change it (mode {mode:o}); run chmod 600 \
                     {path}, and take it for stolen if others use this machine"
                )
            );
        }
    }
}
