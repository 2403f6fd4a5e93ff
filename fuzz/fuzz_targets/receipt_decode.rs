//! Receipts: no bytes make the reader panic, and one receipt has one encoding.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(receipt) = sofie_audit::Receipt::from_bytes(bytes) {
        assert_eq!(receipt.to_bytes(), bytes);
    }
});
