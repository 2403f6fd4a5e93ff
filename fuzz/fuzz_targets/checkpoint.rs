//! A log's signed checkpoint from a stranger: without the log's key nothing is accepted, whatever the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sofie_model::{Digest, proof::calendar::Checkpoint};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(Checkpoint::verify(text, &Digest([7; 32])).is_err());
    }
});
