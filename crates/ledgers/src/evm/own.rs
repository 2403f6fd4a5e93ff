//! What this process has signed and not yet submitted, with its sender: to recover a sender from a signature costs more than
//! all the rest of taking a transaction.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use alloy_primitives::{Address, Bytes};

/// How many are remembered. Of one that is forgotten the sender is recovered, as after a restart.
const MAX_OWN: usize = 4_096;

/// Senders, by the whole signed bytes: another signature is another transaction.
#[derive(Debug, Default)]
pub(super) struct Own(Mutex<HashMap<Bytes, Address>>);

impl Own {
    /// `sender`'s key has just made these bytes.
    pub(super) fn signed(&self, raw: &Bytes, sender: Address) {
        let mut all = self.lock();
        if all.len() >= MAX_OWN {
            all.clear();
        }
        all.insert(raw.clone(), sender);
    }

    /// Who signed these very bytes here; asked once.
    pub(super) fn take(&self, raw: &Bytes) -> Option<Address> {
        self.lock().remove(raw)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Bytes, Address>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_told_once_and_only_of_the_very_bytes() {
        let (own, raw) = (Own::default(), Bytes::from_static(b"signed"));
        own.signed(&raw, Address::repeat_byte(1));
        assert_eq!(own.take(&Bytes::from_static(b"signeD")), None);
        assert_eq!(own.take(&Bytes::from_static(b"signed")), Some(Address::repeat_byte(1)));
        assert_eq!(own.take(&raw), None);
    }

    #[test]
    fn more_than_are_remembered_are_forgotten() {
        let own = Own::default();
        let raw = |number: usize| Bytes::from(number.to_be_bytes().to_vec());
        (0..=MAX_OWN).for_each(|number| own.signed(&raw(number), Address::ZERO));
        assert_eq!(own.take(&raw(0)), None);
        assert_eq!(own.take(&raw(MAX_OWN)), Some(Address::ZERO));
    }
}
