//! The fields of another node's signature: without the peer's key nothing is genuine.
#![no_main]

use ed25519_dalek::VerifyingKey;
use libfuzzer_sys::fuzz_target;
use sofie_model::Timestamp;

#[path = "../../crates/node/src/peers/digest.rs"]
mod digest;
#[path = "../../crates/node/src/peers/envelope.rs"]
mod envelope;
#[path = "../../crates/node/src/peers/signature.rs"]
mod signature;

/// The public key of the first test of RFC 8032, section 7.1; nobody signs with it here.
const PEER: [u8; 32] = [
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e,
    0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
];

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (input, signature) = text.split_once('\n').unwrap_or((text, ""));
    let body = digest::of(b"");
    let fields = [("content-digest", body.as_str()), ("signature-input", input), ("signature", signature)];
    let head = signature::Head { method: "POST", authority: "a", path: envelope::PATH, fields: &fields };
    let key = VerifyingKey::from_bytes(&PEER).expect("a key");
    let now = Timestamp::from_seconds(1_764_036_000);
    let own = envelope::Address::messages("a");
    assert!(envelope::open_request(&head, b"", &own, now, |_| Some(key)).is_err());
});
