//! What another node says: what is read of it is written the same.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/node/src/peers/message.rs"]
mod message;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(read) = message::Message::read(bytes) {
        assert_eq!(read.to_bytes(), bytes);
    }
    if let Ok(read) = message::Reply::read(bytes) {
        assert_eq!(read.to_bytes(), bytes);
    }
});
