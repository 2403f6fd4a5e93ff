//! Runs transactions and calls in `revm`, by the rules of Prague.
//!
//! Left out: the system calls of EIP-2935 and EIP-4788 (no contract of ours reads them), and transactions other than
//! those of EIP-1559.

use std::convert::Infallible;

use alloy_consensus::{Eip658Value, Receipt, ReceiptEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bloom, Bytes, Log, U256};
use revm::context::result::{EVMError, ExecutionResult, InvalidTransaction, Output};
use revm::context::{BlockEnv, Evm, FrameStack, TxEnv};
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::handler::instructions::EthInstructions;
use revm::handler::{EthPrecompiles, MainnetContext, MainnetEvm};
use revm::primitives::hardfork::SpecId;
use revm::{Context, DatabaseCommit, ExecuteEvm, MainContext};

use super::world::{Changes, View, World};
use crate::evm::chain::{Call, ChainError};
use crate::evm::signed::Signed;

/// The chain's rules.
const SPEC: SpecId = SpecId::PRAGUE;

/// A transaction that was run: into the block it goes, failed or not.
#[derive(Debug, Clone)]
pub(super) struct Ran {
    pub(super) signed: Signed,
    pub(super) success: bool,
    pub(super) logs: Vec<Log>,
    pub(super) bloom: Bloom,
    /// EIP-2718 bytes, as the trie and the disk hold them.
    pub(super) receipt: Bytes,
}

/// A block's environment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Env {
    pub(super) chain_id: u64,
    pub(super) number: u64,
    pub(super) time: u64,
    pub(super) gas_limit: u64,
    pub(super) base_fee: u64,
    pub(super) coinbase: Address,
}

/// A block in the making.
pub(super) struct Run<'a> {
    evm: MainnetEvm<MainnetContext<View<'a>>>,
    gas_limit: u64,
    pub(super) gas_used: u64,
}

impl<'a> Run<'a> {
    pub(super) fn new(world: &'a World, env: Env) -> Self {
        Self { evm: evm(world, env), gas_limit: env.gas_limit, gas_used: 0 }
    }

    /// The sender's next nonce, this block's transactions included.
    pub(super) fn nonce(&self, sender: &Address) -> u64 {
        self.evm.ctx.journaled_state.database.account(sender).map_or(0, |info| info.nonce)
    }

    /// Whether the block still has the gas for it.
    pub(super) fn has_room(&self, signed: &Signed) -> bool {
        self.gas_used.saturating_add(signed.transaction.gas_limit) <= self.gas_limit
    }

    /// Runs one transaction. `Err`: it does not go into the block, and nothing happened.
    pub(super) fn run(&mut self, signed: Signed) -> Result<Ran, ChainError> {
        let result = self.evm.transact_one(environment(&signed)).map_err(|error| {
            self.evm.finalize();
            invalid(error)
        })?;
        let state = self.evm.finalize();
        self.evm.ctx.journaled_state.database.commit(state);
        self.gas_used += result.tx_gas_used();
        let success = result.is_success();
        // A failed transaction's logs are undone with its other effects.
        let logs = if success { result.into_logs() } else { Vec::new() };
        let status = Eip658Value::Eip658(success);
        let receipt = Receipt { status, cumulative_gas_used: self.gas_used, logs: logs.clone() };
        let receipt = receipt.with_bloom();
        let bloom = receipt.logs_bloom;
        let receipt = ReceiptEnvelope::Eip1559(receipt).encoded_2718().into();
        Ok(Ran { signed, success, logs, bloom, receipt })
    }

    /// What the block changed.
    pub(super) fn into_changes(self) -> Changes {
        self.evm.ctx.journaled_state.database.changes
    }
}

/// Runs a call as the block of `env` would; nothing stays of it.
pub(super) fn call(world: &World, mut env: Env, call: &Call) -> Result<Bytes, ChainError> {
    if call.max_fee == 0 {
        env.base_fee = 0;
    }
    let transaction = TxEnv {
        tx_type: 2,
        caller: call.from,
        gas_limit: call.gas,
        gas_price: call.max_fee,
        gas_priority_fee: Some(0),
        kind: call.to.into(),
        value: call.value,
        data: call.data.clone(),
        nonce: world.nonce(&call.from),
        chain_id: Some(env.chain_id),
        ..TxEnv::default()
    };
    match evm(world, env).transact_one(transaction).map_err(invalid)? {
        ExecutionResult::Success { output: Output::Call(data), .. } => Ok(data),
        ExecutionResult::Success { output: Output::Create(..), .. } => Ok(Bytes::new()),
        ExecutionResult::Revert { output, .. } => Err(ChainError::Reverted(output)),
        ExecutionResult::Halt { reason, .. } => {
            Err(ChainError::Refused(format!("the call halts: {reason:?}")))
        }
    }
}

fn evm(world: &World, env: Env) -> MainnetEvm<MainnetContext<View<'_>>> {
    let block = BlockEnv {
        number: U256::from(env.number),
        beneficiary: env.coinbase,
        timestamp: U256::from(env.time),
        gas_limit: env.gas_limit,
        basefee: env.base_fee,
        difficulty: U256::ZERO,
        prevrandao: Some(B256::ZERO),
        blob_excess_gas_and_price: Some(BlobExcessGasAndPrice { excess_blob_gas: 0, blob_gasprice: 1 }),
        slot_num: 0,
    };
    let ctx = Context::mainnet().with_db(View::new(world)).with_block(block).modify_cfg_chained(|cfg| {
        cfg.set_spec_and_mainnet_gas_params(SPEC);
        cfg.chain_id = env.chain_id;
    });
    // As `build_mainnet` does it, but for its eight frames of 36 kB ahead of all use: our contracts call two deep at most.
    Evm {
        ctx,
        inspector: (),
        instruction: EthInstructions::new_mainnet_with_spec(SPEC),
        precompiles: EthPrecompiles::new(SPEC),
        frame_stack: FrameStack::new(),
    }
}

fn environment(signed: &Signed) -> TxEnv {
    let transaction = &signed.transaction;
    TxEnv {
        tx_type: 2,
        caller: signed.sender,
        gas_limit: transaction.gas_limit,
        gas_price: transaction.max_fee_per_gas,
        gas_priority_fee: Some(transaction.max_priority_fee_per_gas),
        kind: transaction.to,
        value: transaction.value,
        data: transaction.input.clone(),
        nonce: transaction.nonce,
        chain_id: Some(transaction.chain_id),
        access_list: transaction.access_list.clone(),
        ..TxEnv::default()
    }
}

fn invalid(error: EVMError<Infallible, InvalidTransaction>) -> ChainError {
    match error {
        EVMError::Transaction(why) => ChainError::Refused(why.to_string()),
        other => ChainError::Nonsense(other.to_string()),
    }
}
