//! A manifest from a stranger: what is accepted is canonical, and checking it never panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sofie_model::{Manifest, Timestamp, canonical};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = canonical::decode::<Manifest>(bytes, 64 * 1024) {
        assert_eq!(canonical::encode(&manifest), bytes);
        let _ = manifest.check(Timestamp::from_seconds(1_800_000_000));
    }
});
