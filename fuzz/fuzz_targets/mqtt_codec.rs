//! MQTT messages: no bytes make the reader panic, and what it read it reads again.
#![no_main]

use sofie_adapters::mqtt::codec::{decode, encode};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = decode(bytes) {
        let written = encode(&message).expect("what was read can be written");
        assert_eq!(decode(&written), Ok(message));
    }
});
