//! A panel: n owners of sensors, of whom any k together speak for an escrow. Each attests for itself, knowing nothing of
//! the others; their words together are one signature, which `contracts/src/Testimony.sol` takes as it takes a key's.

use alloy_primitives::keccak256;

use super::{BadSignature, SignedAttestation, recover};
use crate::{Account, Attestation, Digest, Timestamp};

/// With more keys than this a settlement would cost more than most escrows hold.
pub const MAX_KEYS: usize = 16;

const HEAD: usize = 2;
const KEY: usize = 20;
const SIGNATURE: usize = 65;
const WORD: usize = 1 + 32 + 8 + SIGNATURE;

/// Whose word counts: the keys in ascending order, and how many of them must attest.
///
/// ```
/// use sofie_model::{Account, attestation::Panel};
/// let keys = [Account([3; 20]), Account([1; 20]), Account([2; 20])];
/// let panel = Panel::new(2, keys.to_vec())?;
/// assert_eq!(panel.keys()[0], Account([1; 20]));
/// assert_ne!(panel.account(), Panel::new(3, keys.to_vec())?.account());
/// # Ok::<(), sofie_model::attestation::BadPanel>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Panel {
    threshold: u8,
    keys: Vec<Account>,
}

/// Keys or words that make no panel's attestation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPanel {
    /// One key needs no panel.
    #[error("{0} keys; 2 to {MAX_KEYS} make a panel")]
    Size(usize),
    /// None would be enough, or all too few.
    #[error("{threshold} of {keys} keys cannot attest")]
    Threshold {
        /// How many are demanded.
        threshold: u8,
        /// How many there are.
        keys: usize,
    },
    /// One owner would have two voices.
    #[error("{0} stands twice in the panel")]
    Twice(Account),
    /// Nobody has this key.
    #[error("the panel names the zero account")]
    Nobody,
    /// Somebody else's word.
    #[error("{0} is not in the panel")]
    Stranger(Account),
    /// Words about different escrows, or of different verdicts.
    #[error("the words are not about the same escrow leg, or not of the same verdict")]
    Unlike,
    /// Fewer different keys than the threshold.
    #[error("{got} of the panel attested, {threshold} must")]
    TooFew {
        /// How many did.
        got: usize,
        /// How many must.
        threshold: u8,
    },
    /// An escrow has paid for something else.
    #[error("no words of enough of the panel come to this observation and time")]
    Sum,
    /// A signature that proves nothing.
    #[error("a word of the panel: {0}")]
    Signature(#[from] BadSignature),
}

impl Panel {
    /// A panel of these keys, in any order, of whom `threshold` must attest.
    ///
    /// # Errors
    /// [`BadPanel`].
    pub fn new(threshold: u8, mut keys: Vec<Account>) -> Result<Self, BadPanel> {
        let count = keys.len();
        if !(2..=MAX_KEYS).contains(&count) {
            return Err(BadPanel::Size(count));
        }
        if threshold == 0 || usize::from(threshold) > count {
            return Err(BadPanel::Threshold { threshold, keys: count });
        }
        keys.sort_unstable();
        if keys[0] == Account::ZERO {
            return Err(BadPanel::Nobody);
        }
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(twin) => Err(BadPanel::Twice(twin[0])),
            None => Ok(Self { threshold, keys }),
        }
    }

    /// Its keys, ascending.
    #[must_use]
    pub fn keys(&self) -> &[Account] {
        &self.keys
    }

    /// How many of them must attest.
    #[must_use]
    pub const fn threshold(&self) -> u8 {
        self.threshold
    }

    /// What an escrow's terms name as evidence key: the last 20 bytes of Keccak-256 over a tag, the threshold, and the keys.
    /// Nobody can sign as this account.
    #[must_use]
    pub fn account(&self) -> Account {
        account(&self.head())
    }

    /// The first part of its certificates: k ‖ n ‖ keys.
    fn head(&self) -> Vec<u8> {
        let count = u8::try_from(self.keys.len()).expect("at most MAX_KEYS");
        let mut head = vec![self.threshold, count];
        self.keys.iter().for_each(|key| head.extend(key.0));
        head
    }

    /// The panel's attestation from those of its members: of each the first word, and of the first `threshold` members.
    ///
    /// # Errors
    /// [`BadPanel`] names the word that does not fit, or says that there are too few.
    pub fn attest(&self, words: &[SignedAttestation]) -> Result<SignedAttestation, BadPanel> {
        let placed = self.placed(words)?;
        Ok(self.certificate(&placed[..self.threshold.into()]))
    }

    /// The same, of those `threshold` members whose words come to this observation and time: for which an escrow has paid.
    ///
    /// # Errors
    /// As [`Panel::attest`]; [`BadPanel::Sum`] when no such words do.
    pub fn attest_as(
        &self,
        words: &[SignedAttestation],
        observation: Digest,
        observed_at: Timestamp,
    ) -> Result<SignedAttestation, BadPanel> {
        let placed = self.placed(words)?;
        // MAX_KEYS members at most have words: 65,536 choices.
        let choices =
            (0_u32..1 << placed.len()).filter(|choice| choice.count_ones() == u32::from(self.threshold));
        let chosen = |choice: u32| -> Vec<_> {
            let within = placed.iter().enumerate().filter(|(bit, _)| choice >> bit & 1 == 1);
            within.map(|(_, word)| *word).collect()
        };
        let comes_to = |words: &Vec<(usize, &SignedAttestation)>| {
            let said: Vec<_> = words.iter().map(|(_, word)| word.attestation).collect();
            let sum = sum(said[0], &said);
            (sum.observation, sum.observed_at) == (observation, observed_at)
        };
        let found = choices.map(chosen).find(comes_to).ok_or(BadPanel::Sum)?;
        Ok(self.certificate(&found))
    }

    /// The first word of each member, by its place: `threshold` of them at least, all alike.
    fn placed<'a>(
        &self,
        words: &'a [SignedAttestation],
    ) -> Result<Vec<(usize, &'a SignedAttestation)>, BadPanel> {
        let mut by_place = std::collections::BTreeMap::new();
        for word in words {
            let key = word.signer()?;
            let place = self.keys.binary_search(&key).map_err(|_| BadPanel::Stranger(key))?;
            by_place.entry(place).or_insert(word);
        }
        if words.iter().any(|word| !alike(&words[0].attestation, &word.attestation)) {
            return Err(BadPanel::Unlike);
        }
        if by_place.len() < self.threshold.into() {
            return Err(BadPanel::TooFew { got: by_place.len(), threshold: self.threshold });
        }
        Ok(by_place.into_iter().collect())
    }

    /// Of `threshold` words, one at least.
    fn certificate(&self, words: &[(usize, &SignedAttestation)]) -> SignedAttestation {
        let mut signature = self.head();
        for (place, word) in words {
            signature.push(u8::try_from(*place).expect("at most MAX_KEYS"));
            signature.extend(word.attestation.observation.as_bytes());
            signature.extend(word.attestation.observed_at.as_seconds().to_be_bytes());
            signature.extend(&word.signature);
        }
        let said: Vec<Attestation> = words.iter().map(|(_, word)| word.attestation).collect();
        SignedAttestation { attestation: sum(said[0], &said), signature }
    }
}

/// Whether both say the same of the same escrow, of whatever observation.
fn alike(one: &Attestation, other: &Attestation) -> bool {
    let Attestation { observation, observed_at, .. } = *one;
    *one == Attestation { observation, observed_at, ..*other }
}

/// What words come to together: Keccak-256 over their observations, and the earliest time.
fn sum(common: Attestation, words: &[Attestation]) -> Attestation {
    let observations: Vec<u8> = words.iter().flat_map(|word| word.observation.0).collect();
    let observed_at = words.iter().map(|word| word.observed_at).min().unwrap_or(common.observed_at);
    Attestation { observation: Digest(keccak256(observations).0), observed_at, ..common }
}

fn account(head: &[u8]) -> Account {
    let tag = keccak256("sofie.panel.v1");
    Account(keccak256([tag.as_slice(), head].concat()).0[12..].try_into().expect("32 less 12 are 20"))
}

/// A certificate that is taken apart: nothing of it is believed yet.
pub(super) struct Certificate<'a> {
    /// Whose it claims to be.
    pub(super) panel: Panel,
    head: &'a [u8],
    words: Vec<Word<'a>>,
}

struct Word<'a> {
    key: Account,
    observation: Digest,
    observed_at: Timestamp,
    signature: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Its form: lengths, threshold, order of keys and of words. `None` where the contract says `BadPanel`.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (&threshold, &count) = (bytes.first()?, bytes.get(1)?);
        let (head, words) = bytes.split_at_checked(HEAD + KEY * usize::from(count))?;
        let keys: Vec<Account> = head[HEAD..].as_chunks().0.iter().map(|key| Account(*key)).collect();
        let ascending = keys.is_sorted();
        let panel = Panel::new(threshold, keys).ok()?;
        let words = panel.words(words)?;
        ascending.then_some(Self { panel, head, words })
    }

    /// Each word as its member signed it: `common` with its own observation and time.
    pub(super) fn said(&self, common: &Attestation) -> impl Iterator<Item = SignedAttestation> {
        self.words.iter().map(|word| {
            let Word { observation, observed_at, signature, .. } = *word;
            let attestation = Attestation { observation, observed_at, ..*common };
            SignedAttestation { attestation, signature: signature.to_vec() }
        })
    }

    /// The panel's account, once every word is its key's and their sum is what `said` says.
    pub(super) fn signer(&self, said: &Attestation) -> Result<Account, BadSignature> {
        let mut words = Vec::new();
        for (word, claimed) in self.said(said).zip(&self.words) {
            if recover(word.attestation.digest(), &word.signature)? != claimed.key {
                return Err(BadSignature::Word(claimed.key));
            }
            words.push(word.attestation);
        }
        if sum(*said, &words) == *said { Ok(account(self.head)) } else { Err(BadSignature::Sum) }
    }
}

impl Panel {
    fn words<'a>(&self, bytes: &'a [u8]) -> Option<Vec<Word<'a>>> {
        let (words, rest) = bytes.as_chunks::<WORD>();
        if !rest.is_empty()
            || words.len() != usize::from(self.threshold)
            || !words.is_sorted_by(|a, b| a[0] < b[0])
        {
            return None;
        }
        words.iter().map(|word| self.word(word)).collect()
    }

    fn word<'a>(&self, word: &'a [u8; WORD]) -> Option<Word<'a>> {
        let seconds = u64::from_be_bytes(*word[33..].first_chunk()?);
        Some(Word {
            key: *self.keys.get(usize::from(word[0]))?,
            observation: Digest(*word[1..].first_chunk()?),
            observed_at: Timestamp::from_seconds(seconds),
            signature: &word[41..],
        })
    }
}

#[cfg(test)]
mod tests {
    use k256::ecdsa::SigningKey;

    use super::*;
    use crate::{LegId, Txid};

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_slice(&[byte; 32]).unwrap()
    }

    fn account(byte: u8) -> Account {
        Account::from(key(byte).verifying_key())
    }

    fn word(byte: u8) -> SignedAttestation {
        said(byte).sign(&key(byte))
    }

    fn said(byte: u8) -> Attestation {
        Attestation {
            chain_id: 31337,
            contract: Account([0xe5; 20]),
            txid: Txid(Digest([1; 32])),
            leg: LegId(0),
            observation: Digest([byte; 32]),
            fulfilled: true,
            observed_at: Timestamp::from_seconds(1_800_000_000 + u64::from(byte)),
        }
    }

    fn panel() -> Panel {
        Panel::new(2, vec![account(1), account(2), account(3)]).unwrap()
    }

    #[test]
    fn its_words_are_what_its_members_said_in_the_order_of_their_keys() {
        let signed = panel().attest(&[word(3), word(1)]).unwrap();
        assert_eq!((signed.signer(), signed.panel()), (Ok(panel().account()), Some(panel())));
        let mut expected = vec![word(3), word(1)];
        expected.sort_by_key(|word| word.signer().unwrap());
        assert_eq!(signed.words(), expected);
        assert_eq!(signed.attestation.observed_at, said(1).observed_at);
        assert_eq!(signed.last_observed_at(), said(3).observed_at);
        assert_eq!(panel().attest(&signed.words()), Ok(signed));
    }

    #[test]
    fn one_key_alone_is_its_own_only_word() {
        assert_eq!((word(1).panel(), word(1).words()), (None, vec![word(1)]));
        assert_eq!(word(1).last_observed_at(), said(1).observed_at);
    }

    #[test]
    fn more_words_than_needed_and_one_said_twice_make_one_certificate() {
        let all = panel().attest(&[word(1), word(2), word(3), word(2)]).unwrap();
        assert_eq!(all.words().len(), 2);
        assert_eq!(all.signer(), Ok(panel().account()));
        let twice = panel().attest(&[word(2), word(2)]);
        assert_eq!(twice, Err(BadPanel::TooFew { got: 1, threshold: 2 }));
    }

    #[test]
    fn of_more_words_than_needed_those_are_found_that_an_escrow_has_paid_for() {
        let words = [word(1), word(2), word(3)];
        for pair in [[1, 2], [1, 3], [2, 3]] {
            let paid = panel().attest(&pair.map(word)).unwrap();
            let Attestation { observation, observed_at, .. } = paid.attestation;
            assert_eq!(panel().attest_as(&words, observation, observed_at), Ok(paid), "{pair:?}");
            let later = Timestamp::from_seconds(observed_at.as_seconds() + 9);
            assert_eq!(panel().attest_as(&words, observation, later), Err(BadPanel::Sum));
        }
        let few = BadPanel::TooFew { got: 1, threshold: 2 };
        assert_eq!(panel().attest_as(&words[..1], Digest::ZERO, Timestamp::default()), Err(few));
    }

    #[test]
    fn words_of_strangers_of_other_escrows_or_of_another_verdict_are_refused() {
        assert_eq!(panel().attest(&[word(1), word(9)]), Err(BadPanel::Stranger(account(9))));
        assert_eq!(panel().attest(&[]), Err(BadPanel::TooFew { got: 0, threshold: 2 }));
        let others = [
            Attestation { leg: LegId(1), ..said(2) },
            Attestation { chain_id: 1, ..said(2) },
            Attestation { fulfilled: false, ..said(2) },
        ];
        for other in others {
            assert_eq!(panel().attest(&[word(1), other.sign(&key(2))]), Err(BadPanel::Unlike), "{other:?}");
        }
        let mut broken = word(2);
        broken.signature[64] = 29;
        let refusal = BadPanel::Signature(BadSignature::Parity { got: 29 });
        assert_eq!(panel().attest(&[word(1), broken]), Err(refusal));
    }

    #[test]
    fn keys_that_make_no_panel_are_named() {
        let many = (1..=17).map(account).collect::<Vec<_>>();
        assert_eq!(Panel::new(1, many.clone()), Err(BadPanel::Size(17)));
        assert_eq!(Panel::new(1, many[..1].to_vec()), Err(BadPanel::Size(1)));
        for threshold in [0, 4] {
            let refusal = BadPanel::Threshold { threshold, keys: 3 };
            assert_eq!(Panel::new(threshold, many[..3].to_vec()), Err(refusal));
        }
        assert_eq!(Panel::new(1, vec![account(1), account(1)]), Err(BadPanel::Twice(account(1))));
        assert_eq!(Panel::new(1, vec![account(1), Account::ZERO]), Err(BadPanel::Nobody));
    }

    #[test]
    fn a_panel_is_named_by_its_threshold_and_every_key() {
        let others = [
            Panel::new(3, vec![account(1), account(2), account(3)]).unwrap(),
            Panel::new(2, vec![account(1), account(2)]).unwrap(),
            Panel::new(2, vec![account(1), account(2), account(4)]).unwrap(),
        ];
        for other in others {
            assert_ne!(other.account(), panel().account(), "{other:?}");
        }
    }
}
