//! A signed EIP-1559 transaction: an intent's bytes, read and checked.

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_primitives::{Address, B256, Bytes, Signature};
use secp256k1::{Message, SECP256K1, SecretKey};

/// A longer transaction is refused, as public nodes do (128 KiB).
pub const MAX_TRANSACTION_BYTES: usize = 128 * 1_024;

/// A signed transaction whose sender is known.
#[derive(Debug, Clone)]
pub(super) struct Signed {
    pub(super) raw: Bytes,
    pub(super) hash: B256,
    pub(super) sender: Address,
    pub(super) transaction: TxEip1559,
}

impl Signed {
    /// Reads the EIP-2718 bytes and recovers who signed them; an error says in words what is wrong.
    pub(super) fn read(raw: Bytes, chain_id: u64) -> Result<Self, String> {
        let signed = decode(&raw, chain_id)?;
        let sender = sender(&signed).ok_or_else(|| "its signature is not valid".to_owned())?;
        Ok(Self::of(raw, signed, sender))
    }

    /// As [`Signed::read`], of bytes that were signed in this process with `sender`'s key.
    pub(super) fn read_own(raw: Bytes, chain_id: u64, sender: Address) -> Result<Self, String> {
        let signed = decode(&raw, chain_id)?;
        Ok(Self::of(raw, signed, sender))
    }

    fn of(raw: Bytes, signed: alloy_consensus::Signed<TxEip1559>, sender: Address) -> Self {
        Self { raw, hash: *signed.hash(), sender, transaction: signed.strip_signature() }
    }

    /// The EIP-2718 bytes of `transaction`, signed with `key`.
    pub(super) fn sign(transaction: TxEip1559, key: &SecretKey) -> Bytes {
        let digest = Message::from_digest(transaction.signature_hash().0);
        // RFC 6979: the same bytes each time. libsecp256k1 answers with the lower s (EIP-2).
        let (id, bytes) = SECP256K1.sign_ecdsa_recoverable(digest, key).serialize_compact();
        let signature = Signature::from_bytes_and_parity(&bytes, i32::from(id) & 1 == 1);
        TxEnvelope::from(transaction.into_signed(signature)).encoded_2718().into()
    }
}

fn decode(raw: &Bytes, chain_id: u64) -> Result<alloy_consensus::Signed<TxEip1559>, String> {
    if raw.len() > MAX_TRANSACTION_BYTES {
        return Err(format!("{} bytes, {MAX_TRANSACTION_BYTES} are allowed", raw.len()));
    }
    let envelope = TxEnvelope::decode_2718_exact(raw).map_err(|e| format!("not a transaction: {e}"))?;
    let TxEnvelope::Eip1559(signed) = envelope else {
        return Err("only EIP-1559 transactions are taken".into());
    };
    if signed.tx().chain_id != chain_id {
        return Err(format!("signed for chain {}, this is {chain_id}", signed.tx().chain_id));
    }
    Ok(signed)
}

/// libsecp256k1 signs and recovers several times as fast as the pure Rust of `alloy`; it is there for the ECRECOVER
/// precompile.
fn sender(signed: &alloy_consensus::Signed<TxEip1559>) -> Option<Address> {
    let signature = signed.signature();
    if signature.normalize_s().is_some() {
        return None; // EIP-2
    }
    let mut compact = [0; 64];
    compact[..32].copy_from_slice(&signature.r().to_be_bytes::<32>());
    compact[32..].copy_from_slice(&signature.s().to_be_bytes::<32>());
    let digest = signed.tx().signature_hash();
    let recovered =
        revm::precompile::crypto().secp256k1_ecrecover(&compact, signature.v().into(), &digest.0).ok()?;
    Some(Address::from_slice(&recovered[12..]))
}

#[cfg(test)]
mod tests {
    use sofie_model::Account;

    use super::*;

    fn signed(chain_id: u64) -> (Bytes, Address) {
        let key = SecretKey::from_byte_array([7; 32]).unwrap();
        let transaction = TxEip1559 { chain_id, nonce: 3, gas_limit: 21_000, ..Default::default() };
        let judge = k256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
        let sender = Address::new(Account::from(judge.verifying_key()).0);
        (Signed::sign(transaction, &key), sender)
    }

    #[test]
    fn what_was_signed_is_read_with_its_sender() {
        let (raw, sender) = signed(5);
        let read = Signed::read(raw.clone(), 5).unwrap();
        assert_eq!((read.sender, read.transaction.nonce, &read.raw), (sender, 3, &raw));
        assert_eq!(read.hash, alloy_primitives::keccak256(&raw));
    }

    /// Two implementations of RFC 6979 agree on every bit, so that either may have signed an intent.
    #[test]
    fn the_signature_is_the_one_that_another_implementation_makes() {
        for nonce in 0..64 {
            let transaction = TxEip1559 { chain_id: 5, nonce, gas_limit: 21_000, ..Default::default() };
            let judge = k256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
            let digest = transaction.signature_hash();
            let expected: Signature = judge.sign_prehash_recoverable(digest.as_slice()).unwrap().into();
            let expected: Bytes =
                TxEnvelope::from(transaction.clone().into_signed(expected)).encoded_2718().into();
            let key = SecretKey::from_byte_array([7; 32]).unwrap();
            assert_eq!(Signed::sign(transaction, &key), expected, "nonce {nonce}");
        }
    }

    /// What is read of one's own bytes is what anybody reads of them, and nothing else is taken.
    #[test]
    fn ones_own_is_read_as_everybodys() {
        let (raw, sender) = signed(5);
        let (read, own) =
            (Signed::read(raw.clone(), 5).unwrap(), Signed::read_own(raw.clone(), 5, sender).unwrap());
        assert_eq!((own.raw, own.hash, own.sender), (read.raw, read.hash, read.sender));
        assert_eq!(own.transaction, read.transaction);
        assert!(Signed::read_own(raw, 6, sender).is_err());
        assert!(Signed::read_own(Bytes::from_static(b"x"), 5, sender).is_err());
    }

    #[test]
    fn no_changed_byte_has_the_same_sender() {
        let (raw, sender) = signed(5);
        for at in 0..raw.len() {
            let mut changed = raw.to_vec();
            changed[at] ^= 1;
            if let Ok(read) = Signed::read(changed.into(), 5) {
                assert_ne!(read.sender, sender, "byte {at}");
            }
        }
    }

    #[test]
    fn other_bytes_are_refused_in_words() {
        let table: [(Vec<u8>, &str); 4] = [
            (vec![], "not a transaction"),
            (vec![0xff; 40], "not a transaction"),
            (vec![0; MAX_TRANSACTION_BYTES + 1], "are allowed"),
            (signed(6).0.to_vec(), "signed for chain 6, this is 5"),
        ];
        for (raw, expected) in table {
            let got = Signed::read(raw.into(), 5).unwrap_err();
            assert!(got.contains(expected), "{expected}: {got}");
        }
    }
}
