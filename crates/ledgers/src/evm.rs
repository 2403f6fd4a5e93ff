//! Ethereum: the decision and the escrow contract on any EVM chain, an embedded one or one behind JSON-RPC.
//!
//! [`chain`] is what this room asks of a chain; [`embedded`] and [`rpc`] answer it; [`EvmLedger`] is the port over
//! either (docs/adr/0001-embedded-evm.md).

pub mod chain;
pub mod contracts;
mod deploy;
pub mod embedded;
mod keyring;
mod ledger;
mod nonce;
mod prove;
mod request;
pub mod rpc;
mod signed;

pub use deploy::OpenLedgerError;
pub use embedded::{EmbeddedChain, Genesis};
pub use keyring::{Keyring, NotAKey};
pub use ledger::{EvmLedger, MAX_FEE_BLOCKS, PRIORITY_FEE, embedded_profile, rpc_profile};
pub use rpc::{RpcChain, RpcConfig, RpcOpenError};
pub use signed::MAX_TRANSACTION_BYTES;
