//! Thing Descriptions: no bytes make the reader panic.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = sofie_directory::parse(bytes);
});
