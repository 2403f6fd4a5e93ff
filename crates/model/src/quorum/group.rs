//! Who decides: the members' keys, how many make a quorum, and whose turn it is.

use ed25519_dalek::VerifyingKey;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use crate::{Account, Digest, Txid};

/// With fewer than four members not a single one may fail or lie (n ≥ 3f + 1, f = 1).
pub const MIN_MEMBERS: usize = 4;
/// More members than this are refused: each of them sends to every other one.
pub const MAX_MEMBERS: usize = 31;

/// The members by their Ed25519 keys (RFC 8032), in ascending order: one group has one encoding, and so one name.
///
/// ```
/// use ed25519_dalek::SigningKey;
/// use sofie_model::{Digest, quorum::Group};
/// let key = |byte| Digest(SigningKey::from_bytes(&[byte; 32]).verifying_key().to_bytes());
/// let group = Group::new((1..=4).map(key).collect())?;
/// assert_eq!((group.faulty(), group.quorum()), (1, 3));
/// assert_eq!(group, Group::new((1..=4).rev().map(key).collect())?);
/// # Ok::<(), sofie_model::quorum::BadGroup>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Group {
    members: Vec<Digest>,
}

/// Keys that make no group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadGroup {
    /// Too few to bear a traitor, or too many to talk to each other.
    #[error("{got} members; {MIN_MEMBERS} to {MAX_MEMBERS} make a group")]
    Size {
        /// How many keys there are.
        got: usize,
    },
    /// One member would have two voices.
    #[error("member {0} stands twice")]
    Twice(Digest),
    /// Nobody could sign for it.
    #[error("{0} is no Ed25519 public key")]
    NoKey(Digest),
}

impl Group {
    /// Makes a group of these keys, in any order.
    ///
    /// # Errors
    /// [`BadGroup`].
    pub fn new(mut members: Vec<Digest>) -> Result<Self, BadGroup> {
        let got = members.len();
        if !(MIN_MEMBERS..=MAX_MEMBERS).contains(&got) {
            return Err(BadGroup::Size { got });
        }
        members.sort_unstable();
        if let Some(twin) = members.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(BadGroup::Twice(twin[0]));
        }
        // Of a weak key one signature fits many messages.
        let usable = |key: &Digest| VerifyingKey::from_bytes(key.as_bytes()).is_ok_and(|key| !key.is_weak());
        match members.iter().find(|key| !usable(key)) {
            Some(key) => Err(BadGroup::NoKey(*key)),
            None => Ok(Self { members }),
        }
    }

    /// The keys, in the order in which votes name them.
    #[must_use]
    pub fn members(&self) -> &[Digest] {
        &self.members
    }

    /// Which member has this key.
    #[must_use]
    pub fn place(&self, key: &Digest) -> Option<u8> {
        self.members.binary_search(key).ok().and_then(|place| u8::try_from(place).ok())
    }

    /// f, how many may lie in any way: ⌊(n − 1)/3⌋.
    #[must_use]
    pub fn faulty(&self) -> usize {
        (self.members.len() - 1) / 3
    }

    /// More than two thirds: two quorums share at least f + 1 members, so at least one honest one.
    #[must_use]
    pub fn quorum(&self) -> usize {
        2 * self.members.len() / 3 + 1
    }

    /// Whose turn it is to propose. Each transaction begins at another member.
    #[must_use]
    pub fn proposer(&self, txid: Txid, round: u32) -> u8 {
        let first = u64::from(u16::from_be_bytes([txid.0.0[0], txid.0.0[1]]));
        let place = (first + u64::from(round)) % self.members.len() as u64;
        u8::try_from(place).expect("it is below MAX_MEMBERS")
    }

    /// The group's name: SHA-256 over its keys.
    #[must_use]
    pub fn id(&self) -> Digest {
        Digest::of("sofie.quorum.group.v1", &[&crate::canonical::encode(self)])
    }

    /// What manifests name as D's contract: a manifest that names it binds every key and the threshold, and a
    /// participant's signature for one group is none for another.
    #[must_use]
    pub fn account(&self) -> Account {
        Account(self.id().0[..20].try_into().expect("20 of 32 bytes"))
    }
}

impl<C> Encode<C> for Group {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        self.members.encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for Group {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let members: Vec<Digest> = Decode::decode(d, ctx)?;
        Self::new(members).map_err(|bad| decode::Error::message(bad.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::canonical;

    fn keys(count: u8) -> Vec<Digest> {
        (1..=count)
            .map(|byte| Digest(SigningKey::from_bytes(&[byte; 32]).verifying_key().to_bytes()))
            .collect()
    }

    #[test]
    fn two_quorums_share_an_honest_member_and_the_honest_make_one() {
        for count in 4..=31 {
            let group = Group::new(keys(count)).unwrap();
            let (n, f, q) = (usize::from(count), group.faulty(), group.quorum());
            assert!(3 * q > 2 * n, "{n}: more than two thirds");
            assert!(2 * q > n + f, "{n}: two quorums meet in an honest member");
            assert!(n - f >= q, "{n}: the honest suffice");
        }
    }

    #[test]
    fn every_member_has_its_turn() {
        let group = Group::new(keys(5)).unwrap();
        let txid = Txid(Digest([0xff; 32]));
        let mut turns: Vec<_> = (0..5).map(|round| group.proposer(txid, round)).collect();
        turns.sort_unstable();
        assert_eq!(turns, [0, 1, 2, 3, 4]);
        assert!(group.proposer(txid, u32::MAX) < 5);
    }

    #[test]
    fn a_group_is_read_in_its_own_order_only() {
        let group = Group::new(keys(4)).unwrap();
        let bytes = canonical::encode(&group);
        assert_eq!(canonical::decode::<Group>(&bytes, 4096), Ok(group.clone()));
        let mut shuffled = group.members.clone();
        shuffled.swap(0, 1);
        assert!(canonical::decode::<Group>(&canonical::encode(&shuffled), 4096).is_err());
        assert_eq!(Group::new(keys(3)), Err(BadGroup::Size { got: 3 }));
        assert_eq!(Group::new([keys(4), keys(1)].concat()), Err(BadGroup::Twice(keys(1)[0])));
        let mut none = Digest::ZERO;
        none.0[0] = 1;
        assert_eq!(Group::new([keys(4), vec![none]].concat()), Err(BadGroup::NoKey(none)));
    }
}
