//! A Bitcoin transaction's bytes, read by hand: names, inputs, outputs and witnesses (BIP 144).
//!
//! Only what a proof needs. Lengths must be written in their shortest form, and nothing may follow the lock time, so
//! that the same transaction has one encoding.

use crate::Digest;

/// A longer transaction is refused: SOFIE's own are below 2 kB, and a block's first one below 10 kB.
pub const MAX_TRANSACTION_BYTES: usize = 64 * 1_024;

/// A transaction over its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction<'a> {
    /// The hash of its bytes without witnesses, as the protocol hashes them.
    pub txid: Digest,
    /// The hash of all of its bytes (BIP 141).
    pub wtxid: Digest,
    /// Which outputs it spends: transaction (as hashed) and number.
    pub inputs: Vec<(Digest, u32)>,
    /// Satoshi, and the script.
    pub outputs: Vec<(u64, &'a [u8])>,
    /// Of each input; empty where there is none.
    pub witnesses: Vec<Vec<&'a [u8]>>,
}

impl<'a> Transaction<'a> {
    /// Reads exactly one transaction; an error says in words what is wrong.
    ///
    /// # Errors
    /// Too long, cut short, or followed by more.
    pub fn read(bytes: &'a [u8]) -> Result<Self, String> {
        if bytes.len() > MAX_TRANSACTION_BYTES {
            return Err(format!("{} bytes, {MAX_TRANSACTION_BYTES} are allowed", bytes.len()));
        }
        let mut rest = Rest(bytes);
        let version = rest.take(4)?;
        let segregated = rest.0.starts_with(&[0, 1]);
        if segregated {
            rest.take(2)?;
        }
        let from = bytes.len() - rest.0.len();
        let inputs = rest.list(|rest| {
            let transaction = Digest(rest.array()?);
            let output = u32::from_le_bytes(rest.array()?);
            rest.bytes()?;
            rest.take(4)?;
            Ok((transaction, output))
        })?;
        let outputs = rest.list(|rest| Ok((u64::from_le_bytes(rest.array()?), rest.bytes()?)))?;
        let until = bytes.len() - rest.0.len();
        let witnesses = match segregated {
            true => inputs.iter().map(|_| rest.list(Rest::bytes)).collect::<Result<_, _>>()?,
            false => vec![vec![]; inputs.len()],
        };
        let lock_time = rest.take(4)?;
        if !rest.0.is_empty() || inputs.is_empty() {
            return Err("more than a transaction, or less".into());
        }
        let stripped = [version, &bytes[from..until], lock_time].concat();
        // A transaction of 64 bytes may be an inner node of the block's tree (CVE-2017-12842).
        if stripped.len() == 64 {
            return Err("64 bytes without witnesses: it may not be a transaction at all".into());
        }
        Ok(Self { txid: twice(&stripped), wtxid: twice(bytes), inputs, outputs, witnesses })
    }
}

/// SHA-256 of SHA-256, by which Bitcoin names everything.
#[must_use]
pub fn twice(bytes: &[u8]) -> Digest {
    Digest::sha256(Digest::sha256(bytes).as_bytes())
}

/// Bytes that are not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("cut short")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N).map(|bytes| bytes.try_into().expect("as many bytes as were taken"))
    }

    /// A length (`CompactSize`), in its shortest form.
    fn length(&mut self) -> Result<usize, String> {
        let (length, least) = match self.array::<1>()?[0] {
            0xff => (u64::from_le_bytes(self.array()?), 1 << 32),
            0xfe => (u32::from_le_bytes(self.array()?).into(), 1 << 16),
            0xfd => (u16::from_le_bytes(self.array()?).into(), 0xfd),
            short => (short.into(), 0),
        };
        if length < least || length > MAX_TRANSACTION_BYTES as u64 {
            return Err(format!("a length of {length}"));
        }
        Ok(length as usize)
    }

    fn bytes(&mut self) -> Result<&'a [u8], String> {
        let length = self.length()?;
        self.take(length)
    }

    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Result<T, String>) -> Result<Vec<T>, String> {
        // Each element takes a byte at least: no list is longer than what is left.
        let count = self.length()?;
        if count > self.0.len() {
            return Err("cut short".into());
        }
        (0..count).map(|_| one(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first block's only transaction, as every node holds it.
    const FIRST: &str = concat!(
        "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104455468652054",
        "696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261696c6f757420",
        "666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61",
        "deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000",
    );

    #[test]
    fn a_well_known_transaction_has_its_name() {
        let bytes = hex::decode(FIRST).unwrap();
        let read = Transaction::read(&bytes).unwrap();
        let mut name = read.txid.0;
        name.reverse();
        assert_eq!(hex::encode(name), "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b");
        assert_eq!((read.wtxid, read.outputs[0].0, read.inputs.len()), (read.txid, 5_000_000_000, 1));
    }

    #[test]
    fn cut_or_followed_it_is_none() {
        let bytes = hex::decode(FIRST).unwrap();
        for length in 0..bytes.len() {
            assert!(Transaction::read(&bytes[..length]).is_err(), "{length}");
        }
        assert!(Transaction::read(&[bytes.as_slice(), &[0]].concat()).is_err());
    }
}
