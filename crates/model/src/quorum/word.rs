//! What a member says of one transaction when it is asked: by its own clock, to one question, under its key.
//!
//! So whoever stands between can only delay. That it knows of no COMMIT, said after T_D, is a promise: an honest member
//! that says so never gives the first votes to one any more.

use ed25519_dalek::SigningKey;
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

use super::message::{is_signed, sign};
use super::{Certificate, Group};
use crate::{Digest, Timestamp, Txid, canonical};

/// A longer answer is refused unread: a certificate and a reason.
pub const MAX_WORD: usize = 8 * 1024;
/// A longer reason is cut, in bytes.
pub const MAX_REASON: usize = 256;

/// What it stands for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Said {
    /// Its clock.
    #[n(0)]
    pub at: Timestamp,
    /// Whether it was asked for a COMMIT, or has seen votes for one.
    #[n(1)]
    pub commits: bool,
    /// Why it did not take what it was asked for, if it did not: at most [`MAX_REASON`] bytes.
    #[n(2)]
    pub refused: Option<String>,
}

/// A member's answer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Word {
    /// Its place in the group.
    #[n(0)]
    pub member: u8,
    /// What it says.
    #[n(1)]
    pub said: Said,
    /// Ed25519 over group, txid, the question's nonce and [`Self::said`].
    #[n(2)]
    pub signature: ByteArray<64>,
    /// The decision, which proves itself.
    #[n(3)]
    pub decided: Option<Certificate>,
}

/// What a member signs with an answer.
#[must_use]
pub fn word_digest(group: &Digest, txid: Txid, nonce: &Digest, said: &Said) -> Digest {
    let parts: [&[u8]; 4] = [group.as_bytes(), txid.0.as_bytes(), nonce.as_bytes(), &canonical::encode(said)];
    Digest::of("sofie.quorum.word.v1", &parts)
}

impl Word {
    /// Answers the question `nonce` as `member`, whose key this is.
    #[must_use]
    pub fn sign(
        (group, txid, nonce): (&Digest, Txid, &Digest),
        mut said: Said,
        decided: Option<Certificate>,
        (member, key): (u8, &SigningKey),
    ) -> Self {
        if let Some(why) = &mut said.refused {
            let end = (0..=MAX_REASON.min(why.len())).rev().find(|end| why.is_char_boundary(*end));
            why.truncate(end.unwrap_or(0));
        }
        let signature = sign(key, word_digest(group, txid, nonce, &said));
        Self { member, said, signature, decided }
    }

    /// Whether its member said so, in answer to `nonce`. The certificate is for the manifest to judge.
    ///
    /// # Errors
    /// What is wrong, naming the member.
    pub fn verify(&self, group: &Group, txid: Txid, nonce: &Digest) -> Result<(), String> {
        let digest = word_digest(&group.id(), txid, nonce, &self.said);
        let brief = self.said.refused.as_ref().is_none_or(|why| why.len() <= MAX_REASON);
        if brief && is_signed(group, self.member, digest, &self.signature) {
            Ok(())
        } else {
            Err(format!("the answer is not signed by member {}", self.member))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quorum::tests::fixtures::{group, keys};

    fn word(refused: Option<String>) -> Word {
        let said = Said { at: Timestamp::from_seconds(7), commits: true, refused };
        let (txid, nonce) = (Txid(Digest([1; 32])), Digest([2; 32]));
        Word::sign((&group(4).id(), txid, &nonce), said, None, (2, &keys(4)[2]))
    }

    #[test]
    fn an_answer_holds_for_its_question_transaction_group_and_member_only() {
        let (one, txid, nonce) = (word(None), Txid(Digest([1; 32])), Digest([2; 32]));
        assert_eq!(one.verify(&group(4), txid, &nonce), Ok(()));
        assert!(one.verify(&group(5), txid, &nonce).is_err());
        assert!(one.verify(&group(4), Txid(nonce), &nonce).is_err());
        assert!(one.verify(&group(4), txid, &txid.0).is_err());
        for (member, commits) in [(1, true), (2, false), (9, true)] {
            let said = Said { commits, ..one.said.clone() };
            let other = Word { member, said, ..one.clone() };
            assert!(other.verify(&group(4), txid, &nonce).is_err(), "{member} {commits}");
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let one = word(Some("é".repeat(200)));
        assert_eq!(one.said.refused.as_ref().map(String::len), Some(256));
        let odd = word(Some(format!("x{}", "é".repeat(200))));
        assert_eq!(odd.said.refused.as_ref().map(String::len), Some(255));
        assert!(canonical::encode(&odd).len() < MAX_WORD);
    }
}
