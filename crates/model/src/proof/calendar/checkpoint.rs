//! Checkpoints: a tree's size and root under the log's name and signature, as text (C2SP tlog-checkpoint, in a C2SP
//! signed-note with an Ed25519 signature, type 0x01).
//!
//! Left out: extension lines (the specification advises against them), and further signatures: a checkpoint here bears
//! exactly one, the log's own, so that it has one encoding. Witnesses' lines stand beside it, not in it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::Digest;

/// A longer log name is refused.
pub const MAX_ORIGIN: usize = 200;
/// A longer checkpoint is refused, before it is looked at.
pub(super) const MAX_NOTE: usize = 1024;
/// C2SP signed-note: an Ed25519 signature.
const ED25519: u8 = 0x01;

/// A log's head.
///
/// ```
/// use ed25519_dalek::SigningKey;
/// use sofie_model::{Digest, proof::calendar::Checkpoint};
/// let key = SigningKey::from_bytes(&[7; 32]);
/// let head = Checkpoint { origin: "example.com/log".into(), size: 3, root: Digest::ZERO };
/// let note = head.sign(&key);
/// assert!(note.starts_with("example.com/log\n3\nAAAA"));
/// assert_eq!(Checkpoint::verify(&note, &Digest(key.verifying_key().to_bytes())), Ok(head));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, which is also the name of its key.
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// RFC 6962 root.
    pub root: Digest,
}

/// Why a text is not a checkpoint of this log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCheckpoint {
    /// Not in the format.
    #[error("not a checkpoint: {0}")]
    Malformed(&'static str),
    /// The 32 bytes are no Ed25519 public key.
    #[error("{0} is no Ed25519 public key")]
    NoKey(Digest),
    /// Signed by another key, or with another name.
    #[error("it is signed by another key than {0}")]
    ForeignKey(Digest),
    /// The key's signature is over another text.
    #[error("the signature does not fit the text")]
    Signature,
}

/// Whether `text` can name a log: printable ASCII without spaces and `+`, as the name of a key must be.
#[must_use]
pub fn is_origin(text: &str) -> bool {
    (1..=MAX_ORIGIN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'+')
}

/// The key as C2SP tools and witnesses take it: `name+id+key`.
#[must_use]
pub fn verifier_key(origin: &str, key: &Digest) -> String {
    let encoded = [&[ED25519], key.as_bytes().as_slice()].concat();
    format!("{origin}+{}+{}", hex::encode(key_id(origin, ED25519, key.as_bytes())), STANDARD.encode(encoded))
}

/// Name and key of a [`verifier_key`], if that is what it is.
#[must_use]
pub fn log_key(text: &str) -> Option<(String, Digest)> {
    let (origin, rest) = text.split_once('+')?;
    let encoded = STANDARD.decode(rest.split_once('+')?.1).ok()?;
    let [ED25519, key @ ..] = encoded.as_slice() else { return None };
    let key = Digest(key.try_into().ok()?);
    let known = is_origin(origin) && VerifyingKey::from_bytes(key.as_bytes()).is_ok();
    // The id is the hash of the rest.
    (known && verifier_key(origin, &key) == text).then(|| (origin.to_owned(), key))
}

impl Checkpoint {
    /// The signed note.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> String {
        let text = self.text();
        let signature = key.sign(text.as_bytes());
        self.note(&text, &key.verifying_key().to_bytes(), &signature)
    }

    /// Reads a note and checks that `key` signed it.
    ///
    /// # Errors
    /// [`BadCheckpoint`].
    pub fn verify(note: &str, key: &Digest) -> Result<Self, BadCheckpoint> {
        let (checkpoint, id, signature) = parse(note)?;
        if id != key_id(&checkpoint.origin, ED25519, key.as_bytes()) {
            return Err(BadCheckpoint::ForeignKey(*key));
        }
        let public = VerifyingKey::from_bytes(key.as_bytes()).map_err(|_| BadCheckpoint::NoKey(*key))?;
        let text = checkpoint.text();
        public.verify_strict(text.as_bytes(), &signature).map_err(|_| BadCheckpoint::Signature)?;
        if checkpoint.note(&text, key.as_bytes(), &signature) == note {
            Ok(checkpoint)
        } else {
            Err(BadCheckpoint::Malformed("the same checkpoint is written in another way"))
        }
    }

    /// The part that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.0))
    }

    fn note(&self, text: &str, key: &[u8; 32], signature: &Signature) -> String {
        let mut bytes = key_id(&self.origin, ED25519, key).to_vec();
        bytes.extend(signature.to_bytes());
        format!("{text}\n\u{2014} {} {}\n", self.origin, STANDARD.encode(bytes))
    }
}

/// C2SP signed-note: what a signature line names its key by.
pub(super) fn key_id(name: &str, algorithm: u8, key: &[u8; 32]) -> [u8; 4] {
    let digest = Digest::sha256(&[name.as_bytes(), b"\n", &[algorithm], key].concat()).0;
    [digest[0], digest[1], digest[2], digest[3]]
}

fn parse(note: &str) -> Result<(Checkpoint, [u8; 4], Signature), BadCheckpoint> {
    use BadCheckpoint::Malformed;
    if note.len() > MAX_NOTE {
        return Err(Malformed("it is too long"));
    }
    let lines: Vec<&str> = note.split('\n').collect();
    let [origin, size, root, "", signature, ""] = lines[..] else {
        return Err(Malformed("three lines, an empty one and one signature are expected"));
    };
    if !is_origin(origin) {
        return Err(Malformed("its first line is no log's name"));
    }
    let size = size.parse().map_err(|_| Malformed("its second line is no size"))?;
    let root = STANDARD.decode(root).ok().and_then(|bytes| bytes.try_into().ok());
    let root = Digest(root.ok_or(Malformed("its third line is no root hash"))?);
    let name_and_bytes = signature.strip_prefix("\u{2014} ").and_then(|line| line.split_once(' '));
    let (name, bytes) = name_and_bytes.ok_or(Malformed("its last line is no signature"))?;
    if name != origin {
        return Err(Malformed("the signature's name is not the log's"));
    }
    let bytes = STANDARD.decode(bytes).map_err(|_| Malformed("the signature is not in base64"))?;
    let (id, signature) = bytes.split_first_chunk::<4>().ok_or(Malformed("the signature is too short"))?;
    let signature =
        Signature::from_slice(signature).map_err(|_| Malformed("the signature is no Ed25519 one"))?;
    Ok((Checkpoint { origin: origin.to_owned(), size, root }, *id, signature))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever comes in is answered, and what is accepted is what was signed.
        #[test]
        fn no_text_is_too_strange(lines in prop::collection::vec("[ -~\u{2014}+/=0-9]{0,90}", 0..8), text in any::<String>()) {
            let key = Digest(SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes());
            for note in [lines.join("\n"), text] {
                prop_assert!(Checkpoint::verify(&note, &key).is_err());
            }
        }
    }

    #[test]
    fn a_key_is_named_as_the_reference_implementation_names_it() {
        // SHA-256("PeterNeumann\n" ‖ 01 ‖ key)[:4], the verifier key of golang.org/x/mod/sumdb/note's documentation.
        let text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let encoded = STANDARD.decode(text.rsplit_once('+').unwrap().1).unwrap();
        let key: [u8; 32] = encoded[1..].try_into().unwrap();
        assert_eq!(encoded[0], ED25519);
        assert_eq!(key_id("PeterNeumann", ED25519, &key), [0xc7, 0x4f, 0x20, 0xa3]);
        assert_eq!(verifier_key("PeterNeumann", &Digest(key)), text);
    }

    #[test]
    fn every_changed_byte_is_refused() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let public = Digest(key.verifying_key().to_bytes());
        let head = Checkpoint { origin: "example.com/log".into(), size: 12, root: Digest::sha256(b"root") };
        let note = head.sign(&key);
        assert_eq!(Checkpoint::verify(&note, &public), Ok(head));
        for index in 0..note.len() {
            for bit in 0..8 {
                let mut bytes = note.clone().into_bytes();
                bytes[index] ^= 1 << bit;
                if let Ok(text) = String::from_utf8(bytes) {
                    assert!(Checkpoint::verify(&text, &public).is_err(), "byte {index}, bit {bit}");
                }
            }
            if note.is_char_boundary(index) {
                assert!(Checkpoint::verify(&note[..index], &public).is_err(), "cut at {index}");
            }
        }
        assert!(Checkpoint::verify(&format!("{note}\n"), &public).is_err());
        let other = Digest(SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes());
        assert_eq!(Checkpoint::verify(&note, &other), Err(BadCheckpoint::ForeignKey(other)));
    }
}
