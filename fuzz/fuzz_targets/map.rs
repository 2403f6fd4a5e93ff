//! Proofs of a map, and an anchored directory: one encoding only, and no stranger's bytes show a key to be what it is not.
#![no_main]

use sofie_model::Digest;
use sofie_model::map::anchor::{Anchored, Entries};
use sofie_model::map::{Entry, Map, MapProof, Shown};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(anchored) = Anchored::from_bytes(bytes) {
        assert_eq!(anchored.to_bytes(), bytes);
        let _ = anchored.verify();
    }
    if let Ok(entries) = Entries::from_bytes(bytes) {
        assert_eq!(entries.to_bytes(), bytes);
    }
    let Ok(proof) = MapProof::from_bytes(bytes) else { return };
    assert_eq!(proof.to_bytes(), bytes);
    let entry = |n: u8| Entry { key: Digest::sha256(&[n]), value: Digest([n; 32]) };
    let map = Map::of((0..8).map(entry));
    for n in 0..16 {
        if let Ok(shown) = proof.shows(&entry(n).key, &map.root()) {
            let expected = if n < 8 { Shown::Present(Digest([n; 32])) } else { Shown::Absent };
            assert_eq!(shown, expected);
        }
    }
});
