//! A Bitcoin transaction from a stranger's proof: read to its end or refused, never a panic, and each name is of its own
//! bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sofie_model::proof::bitcoin::{Transaction, twice};

fuzz_target!(|bytes: &[u8]| {
    let Ok(read) = Transaction::read(bytes) else { return };
    assert_eq!(read.wtxid, twice(bytes));
    assert_eq!(read.inputs.len(), read.witnesses.len());
});
