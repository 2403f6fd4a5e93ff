//! CoAP datagrams: no bytes make the reader panic, and what it read it reads again.
#![no_main]

use sofie_adapters::coap::codec::{decode, encode};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = decode(bytes)
        && let Ok(written) = encode(&message)
    {
        assert_eq!(decode(&written), Ok(message));
    }
});
