//! Bitcoin: hashlock legs and record legs on the chain of a bitcoind, by its JSON-RPC (docs/adr/0012-bitcoin.md).
//!
//! A hashlock leg's value goes to a script that the claimant spends with every participant's preimage, or the payer
//! after T_p; a record is a digest in an OP_RETURN output. The node only stores and relays: all keys are held by SOFIE,
//! all coins are found and chosen here, and all transactions are signed here. [`BitcoinLedger`] is the port.
//!
//! Left out: taproot, the node's wallet, several records in one transaction, and coins that are not yet in a block.

mod hashlocks;
mod index;
mod ladder;
mod ledger;
mod lock;
mod open;
mod pay;
mod prove;
mod rpc;
#[cfg(test)]
mod tests;
mod treasury;

pub use ledger::{BitcoinLedger, MAX_OPEN, bitcoin_profile};
pub use open::{BitcoinConfig, BitcoinOpenError};
pub use rpc::{Auth, MAX_ANSWER_BYTES, RpcError};
pub use treasury::MAX_FEE_BLOCKS;
