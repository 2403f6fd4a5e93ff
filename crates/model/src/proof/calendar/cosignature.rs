//! Witnesses' cosignatures under a log's checkpoint (C2SP tlog-cosignature, `cosignature/v1`, Ed25519): each says that the
//! checkpoint goes on from every other one of this log that the witness has signed. Where a reader demands more than half of
//! its witnesses, a second history finds too few that are honest.
//!
//! Left out: ML-DSA-44 cosignatures (type 0x06), which no vetted implementation here verifies, and cosigned subtrees.

use std::fmt;
use std::str::FromStr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

use super::checkpoint::{Checkpoint, is_origin, key_id};
use crate::{Digest, Timestamp};

/// More witnesses than this are not asked, and not read.
pub const MAX_WITNESSES: usize = 16;
/// C2SP signed-note: a timestamped Ed25519 cosignature.
const COSIGNATURE: u8 = 0x04;

/// A witness: its name and its Ed25519 public key, written as C2SP tools take them, `name+id+key`.
///
/// ```
/// use sofie_model::proof::calendar::WitnessKey;
/// let text = "witness.example/w1+87d46c1a+BID6PsBd3tQJdh7KXGkTs7Pdwc+lD7bPih3h+IiOoW0C";
/// let witness: WitnessKey = text.parse().unwrap();
/// assert_eq!((witness.name.as_str(), witness.to_string()), ("witness.example/w1", text.to_owned()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WitnessKey {
    /// A URL without its scheme.
    pub name: String,
    /// The key.
    pub key: Digest,
}

/// A text that is no witness's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no witness's key: name+id+key is expected, as `init` of a witness prints it, of type 04")]
pub struct BadWitnessKey;

impl FromStr for WitnessKey {
    type Err = BadWitnessKey;

    fn from_str(text: &str) -> Result<Self, BadWitnessKey> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(_), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(BadWitnessKey);
        };
        let bytes = STANDARD.decode(key).map_err(|_| BadWitnessKey)?;
        let [COSIGNATURE, key @ ..] = bytes.as_slice() else { return Err(BadWitnessKey) };
        let key = Digest(key.try_into().map_err(|_| BadWitnessKey)?);
        let witness = Self { name: name.to_owned(), key };
        let known = is_origin(name) && VerifyingKey::from_bytes(key.as_bytes()).is_ok();
        // The id is the hash of the rest.
        if known && witness.to_string() == text { Ok(witness) } else { Err(BadWitnessKey) }
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = [&[COSIGNATURE], self.key.as_bytes().as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id()), STANDARD.encode(encoded))
    }
}

impl WitnessKey {
    fn id(&self) -> [u8; 4] {
        key_id(&self.name, COSIGNATURE, self.key.as_bytes())
    }
}

/// One witness's signature under a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Cosignature {
    /// The witness's name.
    #[n(0)]
    pub name: String,
    /// Its Ed25519 public key.
    #[n(1)]
    pub key: Digest,
    /// When it signed, in seconds since the Unix epoch.
    #[n(2)]
    pub at: u64,
    /// Over `cosignature/v1`, the time and the checkpoint's text.
    #[n(3)]
    pub signature: ByteArray<64>,
}

/// Why a cosignature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCosignature {
    /// Not the line that was expected.
    #[error("it is no cosignature of {0}")]
    Malformed(String),
    /// By another key, or over another checkpoint.
    #[error("the signature of {0} does not fit the checkpoint")]
    Signature(String),
}

impl Cosignature {
    /// A witness's word for `checkpoint` at `at`.
    #[must_use]
    pub fn sign(name: &str, key: &SigningKey, checkpoint: &Checkpoint, at: Timestamp) -> Self {
        let at = at.as_seconds();
        let signature = key.sign(message(checkpoint, at).as_bytes()).to_bytes().into();
        Self { name: name.to_owned(), key: Digest(key.verifying_key().to_bytes()), at, signature }
    }

    /// The line of a signed note, without its newline.
    #[must_use]
    pub fn line(&self) -> String {
        let id = self.witness().id();
        let bytes = [id.as_slice(), &self.at.to_be_bytes(), self.signature.as_slice()].concat();
        format!("\u{2014} {} {}", self.name, STANDARD.encode(bytes))
    }

    /// Reads a witness's answer, one line or more (C2SP tlog-witness), and checks what `witness` signed.
    ///
    /// # Errors
    /// [`BadCosignature`].
    pub fn read(answer: &str, witness: &WitnessKey, checkpoint: &Checkpoint) -> Result<Self, BadCosignature> {
        let malformed = || BadCosignature::Malformed(witness.name.clone());
        let one = answer.lines().take(MAX_WITNESSES).find_map(|line| parse(line, witness));
        let one = one.ok_or_else(malformed)?;
        one.verify(checkpoint)?;
        Ok(one)
    }

    /// Whether the key that it names signed `checkpoint`.
    ///
    /// # Errors
    /// [`BadCosignature::Signature`].
    pub fn verify(&self, checkpoint: &Checkpoint) -> Result<(), BadCosignature> {
        let bad = || BadCosignature::Signature(self.name.clone());
        let key = VerifyingKey::from_bytes(self.key.as_bytes()).map_err(|_| bad())?;
        let signature = Signature::from_bytes(&self.signature);
        key.verify_strict(message(checkpoint, self.at).as_bytes(), &signature).map_err(|_| bad())
    }

    /// Who signed.
    #[must_use]
    pub fn witness(&self) -> WitnessKey {
        WitnessKey { name: self.name.clone(), key: self.key }
    }
}

/// What a witness is sent (C2SP tlog-witness, `add-checkpoint`): the size that it saw last, the proof that the log goes on
/// from there, and the log's signed `note`.
#[must_use]
pub fn add_checkpoint(old: u64, path: &[Digest], note: &str) -> String {
    let lines: String = path.iter().map(|hash| format!("{}\n", STANDARD.encode(hash.as_bytes()))).collect();
    format!("old {old}\n{lines}\n{note}")
}

fn message(checkpoint: &Checkpoint, at: u64) -> String {
    format!("cosignature/v1\ntime {at}\n{}", checkpoint.text())
}

fn parse(line: &str, witness: &WitnessKey) -> Option<Cosignature> {
    let (name, bytes) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    let bytes = STANDARD.decode(bytes).ok()?;
    let (id, rest) = bytes.split_first_chunk::<4>()?;
    let (at, signature) = rest.split_first_chunk::<8>()?;
    let signature: [u8; 64] = signature.try_into().ok()?;
    let ours = name == witness.name && *id == witness.id();
    let at = u64::from_be_bytes(*at);
    ours.then(|| Cosignature { name: name.to_owned(), key: witness.key, at, signature: signature.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed() -> (Checkpoint, Cosignature) {
        let key = SigningKey::from_bytes(&[9; 32]);
        let head = Checkpoint { origin: "example.com/log".into(), size: 12, root: Digest::sha256(b"root") };
        let one =
            Cosignature::sign("witness.example/w1", &key, &head, Timestamp::from_seconds(1_700_000_000));
        (head, one)
    }

    #[test]
    fn a_line_is_read_back_and_belongs_to_one_checkpoint_witness_and_time() {
        let (head, one) = signed();
        let answer = format!("\u{2014} other.example AAAA\n{}\n", one.line());
        assert_eq!(Cosignature::read(&answer, &one.witness(), &head), Ok(one.clone()));
        let other = Checkpoint { size: 13, ..head.clone() };
        assert!(matches!(one.verify(&other), Err(BadCosignature::Signature(_))));
        let later = Cosignature { at: one.at + 1, ..one.clone() };
        assert!(later.verify(&head).is_err());
        let stranger = WitnessKey { name: "witness.example/w2".into(), ..one.witness() };
        assert!(matches!(Cosignature::read(&answer, &stranger, &head), Err(BadCosignature::Malformed(_))));
    }

    #[test]
    fn every_changed_byte_of_a_line_is_refused() {
        let (head, one) = signed();
        let line = one.line();
        for index in 0..line.len() {
            let mut bytes = line.clone().into_bytes();
            bytes[index] ^= 1;
            if let Ok(text) = String::from_utf8(bytes) {
                assert!(Cosignature::read(&text, &one.witness(), &head).is_err(), "byte {index}");
            }
        }
    }

    #[test]
    fn a_witness_is_named_by_the_hash_of_its_name_and_key() {
        let (_, one) = signed();
        let text = one.witness().to_string();
        assert_eq!(text.parse(), Ok(one.witness()));
        for bad in ["", "w1", "w1+00000000+", &text[1..], &text[..text.len() - 4], &text.replace("+", "-")] {
            assert_eq!(bad.parse::<WitnessKey>(), Err(BadWitnessKey), "{bad}");
        }
        // A log's key is of another type.
        let log = super::super::verifier_key("witness.example/w1", &one.key);
        assert_eq!(log.parse::<WitnessKey>(), Err(BadWitnessKey));
    }
}
