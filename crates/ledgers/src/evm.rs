//! Ethereum: the decision and the escrow contract on any EVM chain, an embedded one or one behind JSON-RPC.
//!
//! [`chain`] is what this room asks of a chain; [`embedded`] and [`rpc`] answer it; [`EvmLedger`] is the port over
//! either (docs/adr/0001-embedded-evm.md).
//!
//! ```
//! use std::sync::Arc;
//! use sofie_ledgers::{Clock, Ledger, evm::{EmbeddedChain, EvmLedger, Genesis, Keyring, embedded_profile}};
//! use sofie_model::Timestamp;
//! use zeroize::Zeroizing;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut keyring = Keyring::default();
//! let operator = keyring.insert(&Zeroizing::new([7; 32]))?;
//! let genesis = Genesis { chain_id: 424_242, base_fee: 7, balances: vec![(operator, 1_000_000_000_000_000_000)] };
//! let clock: Clock = Arc::new(|| Timestamp::from_seconds(1_800_000_000));
//!
//! let folder = tempfile::tempdir()?;
//! let chain = EmbeddedChain::open(&folder.path().join("evm.db"), &genesis, clock)?;
//! let ledger = EvmLedger::open(Arc::new(chain), embedded_profile("evm".parse()?), keyring, operator).await?;
//! assert_eq!(ledger.head().await?.height, 2, "a block for each of the two contracts");
//! # Ok(())
//! # }
//! ```

pub mod chain;
pub mod contracts;
mod deploy;
pub mod embedded;
mod keyring;
mod ledger;
mod nonce;
mod own;
mod plan;
mod presign;
mod prove;
mod records;
mod replace;
mod request;
pub mod rpc;
mod signed;

pub use deploy::OpenLedgerError;
pub use embedded::{EmbeddedChain, Genesis};
pub use keyring::{Keyring, NotAKey};
pub use ledger::{EvmLedger, MAX_FEE_BLOCKS, PRIORITY_FEE, embedded_profile, rpc_profile};
pub use records::{EvmRecords, MAX_OPEN, MAX_WAITING, RecordsConfig, RecordsOpenError, records_profile};
pub use replace::PATIENCE_BLOCKS;
pub use rpc::{RpcChain, RpcConfig, RpcOpenError};
pub use signed::MAX_TRANSACTION_BYTES;
