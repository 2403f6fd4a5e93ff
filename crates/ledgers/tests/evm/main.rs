//! The EVM ledger under the conformance suite, on the embedded chain and on a real anvil; and what only one of them has.

mod embedded;
mod parties;
