//! What a oneM2M CSE sends, judged by what it means: no bytes make the reader panic; an address that is taken is a path that
//! goes nowhere else; a content that is taken keeps its bounds, and one that is written is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sofie_adapters::onem2m::codec::{self, MAX_ADDRESSES, MAX_CHILDREN, MAX_CONTENT};

fuzz_target!(|bytes: &[u8]| {
    if let Ok((paths, _)) = codec::addresses(bytes) {
        assert!(paths.len() <= MAX_ADDRESSES);
        for path in paths {
            assert!(path.starts_with('/') && !path.split('/').any(|step| step == ".."));
            assert!(!path.contains(['?', '#', '%', ' ', '\r', '\n']), "{path}");
        }
    }
    if let Ok(content) = codec::resource(bytes).and_then(|resource| resource.content()) {
        assert!(content.payload.len() <= MAX_CONTENT && !content.id.is_empty());
    }
    if let Ok(all) = codec::instances(bytes) {
        assert!(all.len() <= MAX_CHILDREN);
        assert!(all.is_sorted_by_key(|content| content.told));
    }
    let _ = (codec::notification(bytes), codec::debug(bytes));
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = codec::time(text);
        let written = codec::resource(&codec::instance(text)).expect("what is written is read");
        assert!(written.attribute("con").is_some());
    }
});
