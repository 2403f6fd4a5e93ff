//! An EVM in memory with one clock that the test sets: no blocks, no fees, so that balances add up by themselves.

use alloy_primitives::{Address, Bytes, Log, U256};
use alloy_sol_types::{SolCall, SolEvent, SolInterface};
use revm::{
    Context, ExecuteCommitEvm, ExecuteEvm, MainBuilder, MainContext,
    bytecode::Bytecode,
    context::{BlockEnv, CfgEnv, TxEnv, result::ExecutionResult},
    database::{CacheDB, EmptyDB},
    primitives::{TxKind, hardfork::SpecId},
    state::AccountInfo,
};
use sofie_model::{Account, contract};

/// The chain's id unless a test sets another.
pub(crate) const CHAIN_ID: u64 = 31337;
/// What every account of a test starts with.
pub(crate) const WEALTH: u128 = 1_000_000;
/// Under the limit of one transaction since Osaka (EIP-7825).
const GAS_LIMIT: u64 = 16_000_000;

pub(crate) struct Chain {
    db: CacheDB<EmptyDB>,
    pub(crate) id: u64,
    /// The next transaction's block time, in seconds.
    pub(crate) time: u64,
    /// What the next transactions may spend.
    pub(crate) gas: u64,
}

/// A transaction that succeeded.
#[derive(Debug)]
pub(crate) struct Done {
    /// What the receipt says: with the 21,000 and the calldata, less refunds.
    pub(crate) gas: u64,
    pub(crate) logs: Vec<Log>,
    output: Bytes,
}

impl Done {
    /// The one event of this transaction.
    pub(crate) fn event<E: SolEvent>(&self) -> E {
        let [log] = self.logs.as_slice() else { panic!("one event is expected: {:?}", self.logs) };
        E::decode_log_validate(log).expect("the event that the model defines").data
    }
}

impl Chain {
    pub(crate) fn new(time: u64) -> Self {
        let mut chain = Self { db: CacheDB::new(EmptyDB::new()), id: CHAIN_ID, time, gas: GAS_LIMIT };
        let code = Bytecode::new_raw(contract::DEPLOYER_CODE.to_vec().into());
        chain.db.insert_account_info(
            contract::address(contract::DEPLOYER),
            AccountInfo::default().with_code(code),
        );
        chain
    }

    pub(crate) fn fund(&mut self, account: Account, value: u128) {
        let info = AccountInfo::default().with_balance(U256::from(value));
        self.db.insert_account_info(contract::address(account), info);
    }

    /// Gives a contract money without calling it.
    pub(crate) fn endow(&mut self, account: Account, value: u128) {
        let account = self.db.load_account(contract::address(account)).expect("memory does not fail");
        account.info.balance = U256::from(value);
    }

    /// Creates a contract by the deterministic deployer.
    pub(crate) fn deploy(&mut self, creation: &[u8]) -> Account {
        let deployer = contract::address(contract::DEPLOYER);
        let done = self.transact(Address::ZERO, deployer, 0, contract::deployment(creation));
        let done = done.expect("the constructor does not revert");
        Account(done.output.as_ref().try_into().expect("the deployer answers with an address"))
    }

    /// The contract of one account stands at another, too.
    pub(crate) fn copy_code(&mut self, from: Account, to: Account) {
        let code =
            self.db.load_account(contract::address(from)).expect("memory does not fail").info.code.clone();
        let info = AccountInfo::default().with_code(code.expect("a contract stands there"));
        self.db.insert_account_info(contract::address(to), info);
    }

    /// Sends a transaction. A revert must be one of the errors `E` that the model defines.
    pub(crate) fn send<C: SolCall, E: SolInterface>(
        &mut self,
        from: Account,
        to: Account,
        value: u128,
        call: &C,
    ) -> Result<Done, E> {
        self.transact(contract::address(from), contract::address(to), value, call.abi_encode().into())
            .map_err(|output| {
                E::abi_decode_validate(&output).unwrap_or_else(|_| panic!("unknown error {output}"))
            })
    }

    /// Asks without changing anything.
    pub(crate) fn view<C: SolCall>(&mut self, to: Account, call: &C) -> C::Return {
        let tx = self.transaction(Address::ZERO, contract::address(to), 0, call.abi_encode().into());
        let result = self.evm().transact(tx).expect("the transaction is well formed").result;
        let output = result.output().filter(|_| result.is_success()).expect("a view does not revert");
        C::abi_decode_returns_validate(output).expect("the return values that the model defines")
    }

    pub(crate) fn balance(&mut self, account: Account) -> u128 {
        let account = self.db.load_account(contract::address(account)).expect("memory does not fail");
        account.info.balance.try_into().expect("less than 2^128 exists")
    }

    /// Sends raw calldata; a revert's bytes as they are.
    pub(crate) fn transact(
        &mut self,
        from: Address,
        to: Address,
        value: u128,
        data: Bytes,
    ) -> Result<Done, Bytes> {
        let tx = self.transaction(from, to, value, data);
        let result = self.evm().transact_commit(tx).expect("the transaction is well formed");
        let gas = result.tx_gas_used();
        match result {
            ExecutionResult::Success { logs, output, .. } => {
                Ok(Done { gas, logs, output: output.into_data() })
            }
            ExecutionResult::Revert { output, .. } => Err(output),
            ExecutionResult::Halt { reason, .. } => panic!("no call halts: {reason:?}"),
        }
    }

    /// Whether a transaction succeeds, which may run out of gas.
    pub(crate) fn attempt(&mut self, from: Address, to: Address, data: Bytes) -> bool {
        let tx = self.transaction(from, to, 0, data);
        self.evm().transact_commit(tx).expect("the transaction is well formed").is_success()
    }

    fn transaction(&self, from: Address, to: Address, value: u128, data: Bytes) -> TxEnv {
        TxEnv {
            caller: from,
            kind: TxKind::Call(to),
            value: U256::from(value),
            data,
            gas_limit: self.gas,
            chain_id: None,
            ..TxEnv::default()
        }
    }

    fn evm(
        &mut self,
    ) -> impl ExecuteCommitEvm<
        Tx = TxEnv,
        ExecutionResult = ExecutionResult,
        State = revm::state::EvmState,
        Error: std::fmt::Debug,
    > + '_ {
        let block =
            BlockEnv { timestamp: U256::from(self.time), gas_limit: GAS_LIMIT, ..BlockEnv::default() };
        let mut config = CfgEnv::new_with_spec(SpecId::OSAKA).with_chain_id(self.id);
        config.disable_nonce_check = true;
        Context::mainnet().with_db(&mut self.db).with_block(block).with_cfg(config).build_mainnet()
    }
}
