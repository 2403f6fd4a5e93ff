//! CoRE links: no text makes the reader panic, and what it read it reads again.
#![no_main]

use sofie_adapters::coap::link_format::{MAX_DOCUMENT, parse};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(links) = parse(text) {
        let written = links.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        // Quoting may lengthen a document beyond the limit.
        if written.len() <= MAX_DOCUMENT {
            assert_eq!(parse(&written), Ok(links));
        }
    }
});
