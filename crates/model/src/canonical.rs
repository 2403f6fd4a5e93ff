//! One value, one encoding: CBOR (RFC 8949) in its core deterministic form (section 4.2.1), records as arrays.
//!
//! A decoder that only *reads* canonical bytes is not enough: [`decode`] encodes again and compares, so that a longer
//! integer, an indefinite length or a trailing byte is refused. ADR 0003 says why.

use minicbor::{Decode, Encode};

/// Why bytes were refused.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// More bytes than the caller allows.
    #[error("{got} bytes, at most {limit} are allowed")]
    TooLong {
        /// How many bytes came.
        got: usize,
        /// How many the caller allows.
        limit: usize,
    },
    /// Not the expected shape.
    #[error("not a {what}: {why}")]
    Malformed {
        /// The type that was expected.
        what: &'static str,
        /// What the decoder found.
        why: String,
    },
    /// The right value in another than the canonical encoding.
    #[error("not in canonical form: the same {what} encodes to other bytes")]
    NotCanonical {
        /// The type that was decoded.
        what: &'static str,
    },
}

/// Room for most of what is encoded, so that it need not grow byte by byte.
const USUAL: usize = 512;

/// The canonical bytes of `value`.
///
/// ```
/// use sofie_model::{Digest, canonical};
/// let bytes = canonical::encode(&Digest::ZERO);
/// assert_eq!(canonical::decode::<Digest>(&bytes, 64), Ok(Digest::ZERO));
/// ```
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL);
    minicbor::encode(value, &mut bytes)
        .expect("writing to a Vec does not fail, and no Encode of ours refuses a value");
    bytes
}

/// Reads back what [`encode`] wrote, and nothing else.
///
/// # Errors
/// [`Error::TooLong`] past `limit` bytes, [`Error::Malformed`], [`Error::NotCanonical`].
pub fn decode<T>(bytes: &[u8], limit: usize) -> Result<T, Error>
where
    T: Encode<()> + for<'b> Decode<'b, ()>,
{
    let what = short_name::<T>();
    if bytes.len() > limit {
        return Err(Error::TooLong { got: bytes.len(), limit });
    }
    let value: T = minicbor::decode(bytes).map_err(|e| Error::Malformed { what, why: e.to_string() })?;
    if encode(&value) == bytes { Ok(value) } else { Err(Error::NotCanonical { what }) }
}

fn short_name<T>() -> &'static str {
    let name = std::any::type_name::<T>();
    name.rsplit("::").next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_form_of_the_same_value_is_refused() {
        // 24 as one byte after 0x18 (canonical) and as two bytes after 0x19 (not).
        assert_eq!(decode::<u64>(&[0x18, 24], 9), Ok(24));
        assert_eq!(decode::<u64>(&[0x19, 0, 24], 9), Err(Error::NotCanonical { what: "u64" }));
        assert_eq!(decode::<u64>(&[0x18, 24, 0], 9), Err(Error::NotCanonical { what: "u64" }));
        assert_eq!(decode::<u64>(&[0x18, 24], 1), Err(Error::TooLong { got: 2, limit: 1 }));
    }
}
