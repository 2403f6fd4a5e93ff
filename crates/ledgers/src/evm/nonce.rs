//! Which nonces of an account are given out. A chain mines an account's transactions without a gap, so that a nonce
//! which is given out and never used would hold up all later ones.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;

use alloy_primitives::Address;

/// How far ahead of the chain a nonce may be given out or adopted: public nodes keep fewer for an account.
pub(super) const MAX_AHEAD: u64 = 4_096;

/// The nonces of all accounts that this process signs for.
#[derive(Debug, Default)]
pub(super) struct Nonces {
    accounts: Mutex<HashMap<Address, Given>>,
}

/// Below `floor` the chain has used all; from `next` on none is given out; between them those in `free` are not.
#[derive(Debug, Default)]
struct Given {
    floor: u64,
    next: u64,
    free: BTreeSet<u64>,
}

impl Nonces {
    /// Gives out the lowest nonce that is free, when the chain's own count is `on_chain`. `None`: too many are out.
    pub(super) fn reserve(&self, account: Address, on_chain: u64) -> Option<u64> {
        self.with(account, on_chain, |given| {
            if let Some(hole) = given.free.pop_first() {
                return Some(hole);
            }
            let nonce = given.next;
            (nonce - given.floor < MAX_AHEAD).then(|| {
                given.next += 1;
                nonce
            })
        })
    }

    /// Takes a nonce out that an earlier run gave. `false`: it is too far ahead of the chain to be believed.
    pub(super) fn adopt(&self, account: Address, on_chain: u64, nonce: u64) -> bool {
        self.with(account, on_chain, |given| {
            if nonce >= given.floor.saturating_add(MAX_AHEAD) {
                return false;
            }
            given.free.extend(given.next..nonce);
            given.next = given.next.max(nonce + 1);
            given.free.remove(&nonce);
            true
        })
    }

    /// Takes a nonce back that will never be used.
    pub(super) fn release(&self, account: Address, nonce: u64) {
        self.with(account, 0, |given| {
            if (given.floor..given.next).contains(&nonce) {
                given.free.insert(nonce);
            }
            while given.next > given.floor && given.free.remove(&(given.next - 1)) {
                given.next -= 1;
            }
        });
    }

    /// How many of the account's transactions are open, when the chain has mined `mined`.
    pub(super) fn open(&self, account: Address, mined: u64) -> u64 {
        self.with(account, mined, |given| {
            (given.next - mined.min(given.next)).saturating_sub(given.free.len() as u64)
        })
    }

    /// Whether later nonces than this one, which the chain does not hold, are given out, so that they wait for it.
    pub(super) fn is_waited_for(&self, account: Address, nonce: u64) -> bool {
        self.with(account, 0, |given| nonce >= given.floor) && self.has_later(account, nonce)
    }

    /// Whether later nonces than this one are given out, whatever the chain holds: its count may include what only waits.
    pub(super) fn has_later(&self, account: Address, nonce: u64) -> bool {
        self.with(account, 0, |given| given.next > nonce.saturating_add(1))
    }

    fn with<T>(&self, account: Address, on_chain: u64, act: impl FnOnce(&mut Given) -> T) -> T {
        let mut accounts = self.accounts.lock().expect("no holder of this lock panics");
        let given = accounts.entry(account).or_default();
        // An older answer of the chain may come after a newer one: the floor never falls.
        if on_chain > given.floor {
            given.floor = on_chain;
            given.next = given.next.max(on_chain);
            given.free = given.free.split_off(&on_chain);
        }
        act(given)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WHO: Address = Address::ZERO;

    #[test]
    fn nonces_follow_the_chain_and_what_is_out() {
        let nonces = Nonces::default();
        assert_eq!(nonces.reserve(WHO, 5), Some(5));
        assert_eq!(nonces.reserve(WHO, 5), Some(6));
        // A stale answer gives nothing out twice; a foreign transaction moves the floor.
        assert_eq!(nonces.reserve(WHO, 3), Some(7));
        assert_eq!(nonces.reserve(WHO, 20), Some(20));
    }

    #[test]
    fn a_released_nonce_is_given_out_again_first() {
        let nonces = Nonces::default();
        for _ in 0..3 {
            nonces.reserve(WHO, 0);
        }
        assert!(nonces.is_waited_for(WHO, 1) && !nonces.is_waited_for(WHO, 2));
        assert!(nonces.has_later(WHO, 1) && !nonces.has_later(WHO, 2));
        nonces.release(WHO, 1);
        assert_eq!(nonces.reserve(WHO, 0), Some(1));
        assert_eq!(nonces.reserve(WHO, 0), Some(3));
        for nonce in [1, 3, 2] {
            nonces.release(WHO, nonce);
        }
        assert_eq!(nonces.reserve(WHO, 0), Some(1));
    }

    #[test]
    fn adopted_nonces_are_left_alone_and_the_gaps_between_them_are_filled() {
        let nonces = Nonces::default();
        assert!(nonces.adopt(WHO, 4, 6) && nonces.adopt(WHO, 4, 9) && nonces.adopt(WHO, 4, 2));
        let given: Vec<_> = (0..6).filter_map(|_| nonces.reserve(WHO, 4)).collect();
        assert_eq!(given, [4, 5, 7, 8, 10, 11]);
        assert!(!nonces.adopt(WHO, 4, 4 + MAX_AHEAD));
    }

    #[test]
    fn not_more_than_a_chain_would_keep_are_out() {
        let nonces = Nonces::default();
        assert!((0..MAX_AHEAD).all(|nonce| nonces.reserve(WHO, 0) == Some(nonce)));
        assert_eq!(nonces.reserve(WHO, 0), None);
        assert_eq!(nonces.reserve(WHO, 1), Some(MAX_AHEAD));
    }

    proptest! {
        /// Whatever comes: no nonce is out twice, and each one given out is the lowest that is not.
        #[test]
        fn no_nonce_is_out_twice(moves in prop::collection::vec((0_u8..4, 0_u64..12), 1..60)) {
            let (nonces, mut out, mut chain) = (Nonces::default(), BTreeSet::new(), 0);
            for (kind, value) in moves {
                match kind {
                    0 => { out.remove(&value); nonces.release(WHO, value); }
                    1 => { nonces.adopt(WHO, chain, chain + value); out.insert(chain + value); }
                    2 => { chain += value / 4; out = out.split_off(&chain); }
                    _ => {
                        let lowest = (chain..).find(|nonce| !out.contains(nonce)).unwrap();
                        prop_assert_eq!(nonces.reserve(WHO, chain), Some(lowest));
                        out.insert(lowest);
                    }
                }
            }
        }
    }
}
