//! Streams of server-sent events: no bytes make the reader panic, and it reads the same however they are cut.
#![no_main]

use sofie_adapters::wot::events::{Events, MAX_EVENT};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(whole) = Events::default().feed(bytes) else { return };
    assert!(whole.iter().all(|event| event.len() <= MAX_EVENT));
    let mut events = Events::default();
    let pieces = bytes.chunks(3).flat_map(|piece| events.feed(piece).expect("the whole was read"));
    assert_eq!(pieces.collect::<Vec<_>>(), whole);
});
