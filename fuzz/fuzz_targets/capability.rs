//! A capability token from a stranger: without the owner's signature nothing is accepted, whatever the bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sofie_access::{PublicKey, token};
use sofie_model::Digest;

/// The public key of the first test of RFC 8032, section 7.1; the bytes of its secret are not among the inputs.
const OWNER: [u8; 32] = [
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e,
    0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
];

fuzz_target!(|bytes: &[u8]| {
    assert!(token::inspect(bytes, &PublicKey(Digest(OWNER))).is_err());
});
