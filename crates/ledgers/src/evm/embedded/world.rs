//! The chain's state, wholly in memory, and the changes that a block makes to it.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;

use alloy_consensus::Header;
use alloy_primitives::map::AddressMap;
use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256, keccak256};
use revm::bytecode::Bytecode;
use revm::state::{Account, AccountInfo};
use revm::{Database, DatabaseCommit};

/// How many block hashes the BLOCKHASH instruction sees (Yellow Paper, appendix H).
pub(super) const BLOCK_HASHES: usize = 256;

/// Everything that the next block builds on.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) accounts: HashMap<Address, AccountInfo>,
    pub(super) slots: HashMap<(Address, U256), U256>,
    pub(super) code: HashMap<B256, Bytecode>,
    pub(super) head: Header,
    /// Of the newest blocks, oldest first, the head's last.
    pub(super) hashes: VecDeque<B256>,
    /// The sum, modulo 2^256, of the hashes of all accounts and slots.
    sum: U256,
}

/// What a block changes: an account or a slot that is gone maps to `None` or zero.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes {
    pub(super) accounts: HashMap<Address, Option<AccountInfo>>,
    pub(super) slots: HashMap<(Address, U256), U256>,
    pub(super) code: HashMap<B256, Bytecode>,
}

impl World {
    pub(super) fn empty() -> Self {
        Self {
            accounts: HashMap::new(),
            slots: HashMap::new(),
            code: HashMap::new(),
            head: Header::default(),
            hashes: VecDeque::new(),
            sum: U256::ZERO,
        }
    }

    /// The head's own hash.
    pub(super) fn head_hash(&self) -> B256 {
        self.hashes.back().copied().unwrap_or_default()
    }

    /// What the header's state root field holds: a digest over the whole state that is cheap to keep up to date and
    /// shows a damaged file. It is **not** the root of Ethereum's state trie: no account can be proven by it.
    pub(super) fn state_digest(&self, changes: &Changes) -> (U256, B256) {
        let mut sum = self.sum;
        for (address, after) in &changes.accounts {
            sum =
                sum.wrapping_sub(self.accounts.get(address).map_or(U256::ZERO, |was| account(address, was)));
            sum = sum.wrapping_add(after.as_ref().map_or(U256::ZERO, |now| account(address, now)));
        }
        for (place, after) in &changes.slots {
            sum = sum.wrapping_sub(self.slots.get(place).map_or(U256::ZERO, |was| slot(place, was)));
            sum = sum.wrapping_add(slot(place, after));
        }
        (sum, keccak256([b"sofie.evm-state.v1".as_slice(), &sum.to_be_bytes::<32>()].concat()))
    }

    /// Takes over a block's changes, whose sum [`World::state_digest`] gave.
    pub(super) fn apply(&mut self, changes: Changes, sum: U256, head: Header, hash: B256) {
        self.sum = sum;
        for (address, after) in changes.accounts {
            match after {
                Some(info) => drop(self.accounts.insert(address, info)),
                None => drop(self.accounts.remove(&address)),
            }
        }
        for (place, after) in changes.slots {
            if after.is_zero() {
                self.slots.remove(&place);
            } else {
                self.slots.insert(place, after);
            }
        }
        self.code.extend(changes.code);
        self.head = head;
        self.remember(hash);
    }

    pub(super) fn remember(&mut self, hash: B256) {
        self.hashes.push_back(hash);
        if self.hashes.len() > BLOCK_HASHES {
            self.hashes.pop_front();
        }
    }

    pub(super) fn nonce(&self, address: &Address) -> u64 {
        self.accounts.get(address).map_or(0, |info| info.nonce)
    }

    fn block_hash(&self, number: u64) -> B256 {
        let back = self.head.number.checked_sub(number).and_then(|back| usize::try_from(back).ok());
        back.and_then(|back| self.hashes.iter().rev().nth(back)).copied().unwrap_or_default()
    }
}

fn account(address: &Address, info: &AccountInfo) -> U256 {
    let mut bytes = Vec::with_capacity(92);
    bytes.extend_from_slice(address.as_slice());
    bytes.extend_from_slice(&info.balance.to_be_bytes::<32>());
    bytes.extend_from_slice(&info.nonce.to_be_bytes());
    bytes.extend_from_slice(info.code_hash.as_slice());
    U256::from_be_bytes(keccak256(bytes).0)
}

fn slot((address, slot): &(Address, U256), value: &U256) -> U256 {
    if value.is_zero() {
        return U256::ZERO;
    }
    let mut bytes = Vec::with_capacity(84);
    bytes.extend_from_slice(address.as_slice());
    bytes.extend_from_slice(&slot.to_be_bytes::<32>());
    bytes.extend_from_slice(&value.to_be_bytes::<32>());
    U256::from_be_bytes(keccak256(bytes).0)
}

/// The world as the running block sees it: unchanged below, its changes on top.
pub(super) struct View<'a> {
    world: &'a World,
    pub(super) changes: Changes,
}

impl<'a> View<'a> {
    pub(super) fn new(world: &'a World) -> Self {
        Self { world, changes: Changes::default() }
    }

    pub(super) fn account(&self, address: &Address) -> Option<&AccountInfo> {
        match self.changes.accounts.get(address) {
            Some(changed) => changed.as_ref(),
            None => self.world.accounts.get(address),
        }
    }
}

impl Database for View<'_> {
    type Error = Infallible;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        Ok(self.account(&address).cloned())
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, Infallible> {
        let code = self.changes.code.get(&code_hash).or_else(|| self.world.code.get(&code_hash));
        Ok(code.cloned().unwrap_or_default())
    }

    fn storage(&mut self, address: Address, index: U256) -> Result<U256, Infallible> {
        let place = (address, index);
        let value = self.changes.slots.get(&place).or_else(|| self.world.slots.get(&place));
        Ok(value.copied().unwrap_or_default())
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Infallible> {
        Ok(self.world.block_hash(number))
    }
}

impl DatabaseCommit for View<'_> {
    /// Since EIP-6780 only a contract of the same transaction can destroy itself: no older slot needs clearing.
    fn commit(&mut self, touched: AddressMap<Account>) {
        for (address, account) in touched {
            if !account.is_touched() {
                continue;
            }
            if account.is_selfdestructed() || account.is_empty() {
                self.changes.accounts.insert(address, None);
                continue;
            }
            for (index, slot) in account.changed_storage_slots() {
                self.changes.slots.insert((address, *index), slot.present_value);
            }
            let mut info = account.info;
            if let Some(code) = info.code.take()
                && info.code_hash != KECCAK256_EMPTY
                && !self.world.code.contains_key(&info.code_hash)
            {
                self.changes.code.insert(info.code_hash, code);
            }
            self.changes.accounts.insert(address, Some(info));
        }
    }
}
