//! An intent of this ledger: one call at one nonce, under a fee limit.
//!
//! From it follows a ladder of transactions that are alike but for their fees (EIP-1559). Each step offers an eighth more
//! than the one below it, in both fields: nodes ask for a tenth before they replace a waiting transaction. The ladder
//! ends where a transaction could cost more than the limit. Whoever holds the intent derives the same bytes again, so
//! that the one which was mined is found, after a restart too; all have one nonce, so that no two are (P4).
//!
//! Bytes: [`VERSION`], the fee limit in wei (16 bytes, big-endian), the first step's EIP-2718 bytes.

use alloy_consensus::TxEip1559;
use alloy_primitives::{B256, Bytes, TxKind, U256, keccak256};
use secp256k1::SecretKey;

use super::signed::Signed;
use crate::Intent;

/// The most steps above the first: the last offers 1,800 times as much.
pub(super) const MAX_STEPS: u32 = 64;
/// Gas of a transfer to oneself, which fills a nonce that nothing else will.
const GAS_FILLER: u64 = 21_000;
const VERSION: u8 = 1;
const HEAD: usize = 17;

/// An intent, read and checked.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Step 0.
    pub(super) signed: Signed,
    fee_limit: u128,
}

impl Plan {
    pub(super) fn encode(raw: &Bytes, fee_limit: u128) -> Intent {
        let mut bytes = vec![VERSION];
        bytes.extend(fee_limit.to_be_bytes());
        bytes.extend_from_slice(raw);
        Intent(bytes)
    }

    /// An error says in words what is wrong.
    pub(super) fn read(intent: &Intent, chain_id: u64) -> Result<Self, String> {
        let (fee_limit, raw) = split(intent)?;
        Ok(Self { signed: Signed::read(raw, chain_id)?, fee_limit })
    }

    pub(super) fn ladder(&self) -> Ladder {
        Ladder { first: self.signed.transaction.clone(), fee_limit: self.fee_limit }
    }

    /// What takes this intent's nonce so that it can never be mined: an empty transfer to oneself, above every step of the
    /// ladder, and itself a ladder under the same limit. It needs a tenth of a call's gas, so that the limit allows it ten
    /// times the price. `None`: not even that is enough for such a base fee.
    pub(super) fn filler(&self, base_fee: u64, priority: u64) -> Option<Ladder> {
        let ladder = self.ladder();
        let top = (0..=MAX_STEPS).map_while(|step| ladder.step(step)).last()?;
        let (highest, priority) = offer(base_fee, priority, GAS_FILLER, self.fee_limit)?;
        let first = TxEip1559 {
            max_fee_per_gas: highest.max(raised(top.max_fee_per_gas)?),
            max_priority_fee_per_gas: priority.max(raised(top.max_priority_fee_per_gas)?),
            ..filler(&self.signed)
        };
        let cost = first.max_fee_per_gas.checked_mul(GAS_FILLER.into())?;
        (cost <= self.fee_limit).then_some(Ladder { first, fee_limit: self.fee_limit })
    }
}

/// An empty transfer to oneself, at this transaction's nonce and fees.
pub(super) fn filler(signed: &Signed) -> TxEip1559 {
    TxEip1559 {
        gas_limit: GAS_FILLER,
        to: TxKind::Call(signed.sender),
        value: U256::ZERO,
        input: Bytes::new(),
        ..signed.transaction.clone()
    }
}

/// Transactions that are alike but for their fees.
#[derive(Debug, Clone)]
pub(super) struct Ladder {
    /// Step 0.
    first: TxEip1559,
    /// The most that a higher step may cost, in wei.
    fee_limit: u128,
}

impl Ladder {
    /// The transaction of this step; `None` above the ladder.
    pub(super) fn step(&self, step: u32) -> Option<TxEip1559> {
        let mut transaction = self.first.clone();
        for _ in 0..step {
            transaction.max_fee_per_gas = raised(transaction.max_fee_per_gas)?;
            transaction.max_priority_fee_per_gas = raised(transaction.max_priority_fee_per_gas)?;
        }
        let cost = transaction.max_fee_per_gas.checked_mul(transaction.gas_limit.into())?;
        (step <= MAX_STEPS && (step == 0 || cost <= self.fee_limit)).then_some(transaction)
    }

    /// The lowest step, this one or above, that a block with such a base fee takes.
    pub(super) fn at_least(&self, step: u32, base_fee: u64) -> Option<(u32, TxEip1559)> {
        (step..=MAX_STEPS)
            .map_while(|next| Some((next, self.step(next)?)))
            .find(|(_, transaction)| transaction.max_fee_per_gas >= base_fee.into())
    }

    /// The hashes of all steps above the first, in their order.
    pub(super) fn hashes(&self, key: &SecretKey) -> Vec<B256> {
        let steps = (1..=MAX_STEPS).map_while(|step| self.step(step));
        steps.map(|transaction| keccak256(Signed::sign(transaction, key))).collect()
    }
}

/// The fee limit and the first step's bytes, unread.
pub(super) fn split(intent: &Intent) -> Result<(u128, Bytes), String> {
    let (head, raw) = intent.0.split_at_checked(HEAD).ok_or("it is too short")?;
    let (version, limit) = head.split_at(1);
    if version != [VERSION] {
        return Err(format!("version {version:?}, {VERSION} is expected"));
    }
    let limit = limit.try_into().map_err(|_| "it is too short")?;
    Ok((u128::from_be_bytes(limit), Bytes::copy_from_slice(raw)))
}

/// What to offer first, in wei per gas: the highest fee and the block maker's part of it. Twice the base fee lasts for six
/// full blocks (EIP-1559: an eighth more each). `None`: the limit does not allow the base fee.
pub(super) fn offer(base_fee: u64, priority: u64, gas: u64, fee_limit: u128) -> Option<(u128, u128)> {
    let (base_fee, priority) = (u128::from(base_fee), u128::from(priority));
    let ceiling = fee_limit / u128::from(gas.max(1));
    let highest = (2 * base_fee + priority).min(ceiling);
    let rest = highest.checked_sub(base_fee)?;
    Some((highest, priority.min(rest)))
}

fn raised(fee: u128) -> Option<u128> {
    Some(fee.checked_mul(9)?.div_ceil(8))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> SecretKey {
        SecretKey::from_byte_array([7; 32]).unwrap()
    }

    fn plan(highest: u128, priority: u128, fee_limit: u128) -> Plan {
        let transaction = TxEip1559 {
            chain_id: 5,
            nonce: 3,
            gas_limit: 100_000,
            max_fee_per_gas: highest,
            max_priority_fee_per_gas: priority,
            ..Default::default()
        };
        let intent = Plan::encode(&Signed::sign(transaction, &key()), fee_limit);
        Plan::read(&intent, 5).unwrap()
    }

    proptest! {
        /// Any ladder: each step is enough to replace the one below it, none may cost more than the limit, and nothing
        /// but the fees differs.
        #[test]
        fn every_step_replaces_the_one_below_and_none_passes_the_limit(
            highest in 0_u128..1 << 60, part in 0_u128..100, limit in 0_u128..1 << 90,
        ) {
            let ladder = plan(highest, highest * part / 100, limit).ladder();
            let mut below = ladder.step(0).unwrap();
            for step in 1..=MAX_STEPS + 1 {
                let Some(next) = ladder.step(step) else { break };
                prop_assert!(step <= MAX_STEPS && next.max_fee_per_gas * 100_000 <= limit);
                for (low, high) in [
                    (below.max_fee_per_gas, next.max_fee_per_gas),
                    (below.max_priority_fee_per_gas, next.max_priority_fee_per_gas),
                ] {
                    prop_assert!(high * 8 >= low * 9, "{} after {}", high, low);
                }
                let same = TxEip1559 {
                    max_fee_per_gas: below.max_fee_per_gas,
                    max_priority_fee_per_gas: below.max_priority_fee_per_gas,
                    ..next.clone()
                };
                prop_assert_eq!(same, below);
                below = next;
            }
        }

        /// Any filler: it takes the very nonce, moves nothing, replaces every step of what it gives up, pays the base fee,
        /// and never costs more than the manifest allows.
        #[test]
        fn a_filler_replaces_every_step_and_keeps_the_same_limit(
            highest in 1_u128..1 << 50, part in 0_u128..=100, limit in 0_u128..1 << 80, base_fee in 0_u64..1 << 50,
        ) {
            let plan = plan(highest, highest * part / 100, limit.max(highest * 100_000));
            let Some(ladder) = plan.filler(base_fee, 1_000) else { return Ok(()) };
            let (given, all) = (plan.ladder(), (0..=MAX_STEPS).map_while(|step| ladder.step(step)));
            for filler in all {
                prop_assert_eq!((filler.nonce, filler.value, filler.input.len()), (3, U256::ZERO, 0));
                prop_assert_eq!(filler.to, TxKind::Call(plan.signed.sender));
                prop_assert!(filler.max_fee_per_gas >= base_fee.into());
                prop_assert!(filler.max_fee_per_gas * u128::from(filler.gas_limit) <= plan.fee_limit);
                prop_assert!(filler.max_priority_fee_per_gas <= filler.max_fee_per_gas);
                for step in (0..=MAX_STEPS).map_while(|step| given.step(step)) {
                    prop_assert!(filler.max_fee_per_gas * 8 >= step.max_fee_per_gas * 9);
                    prop_assert!(filler.max_priority_fee_per_gas * 8 >= step.max_priority_fee_per_gas * 9);
                }
            }
        }
    }

    #[test]
    fn a_filler_can_be_had_where_the_call_itself_is_too_dear() {
        let plan = plan(1_000, 100, 100_000 * 2_000);
        assert!(plan.ladder().at_least(0, 9_000).is_none() && plan.filler(9_000, 100).is_some());
        assert!(plan.filler(10_000, 100).is_none(), "9,523 wei per gas are all that 21,000 gas may cost");
    }

    #[test]
    fn a_rise_of_the_base_fee_skips_steps_and_the_limit_ends_them() {
        let ladder = plan(1_000, 100, 100_000 * 2_000).ladder();
        assert_eq!(ladder.at_least(1, 0).map(|(step, _)| step), Some(1));
        let (step, transaction) = ladder.at_least(1, 1_500).unwrap();
        assert!(
            transaction.max_fee_per_gas >= 1_500 && ladder.step(step - 1).unwrap().max_fee_per_gas < 1_500
        );
        assert!(ladder.at_least(1, 2_001).is_none());
        assert_eq!(ladder.hashes(&key()).len(), 5, "1,125 to 1,804");
    }

    #[test]
    fn the_first_offer_keeps_the_limit_and_pays_the_base_fee() {
        let gwei = 1_000_000_000;
        assert_eq!(offer(10, gwei, 100, u128::MAX), Some((u128::from(gwei) + 20, u128::from(gwei))));
        assert_eq!(offer(10, gwei, 100, 1_500), Some((15, 5)));
        assert_eq!(offer(10, gwei, 100, 1_000), Some((10, 0)));
        assert_eq!(offer(10, gwei, 100, 999), None);
    }

    #[test]
    fn other_bytes_are_no_plan() {
        let good = Plan::encode(&plan(1, 1, 1).signed.raw, 1);
        let table =
            [vec![], good.0[..HEAD - 1].to_vec(), good.0[..HEAD].to_vec(), [&[2], &good.0[1..]].concat()];
        for bytes in table {
            assert!(Plan::read(&Intent(bytes), 5).is_err());
        }
        assert!(Plan::read(&good, 6).is_err());
    }
}
