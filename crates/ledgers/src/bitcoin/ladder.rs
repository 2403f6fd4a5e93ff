//! An intent of a Bitcoin ledger: one payment signed at rising fees, all of them spending the very same inputs, so that
//! no two of them can ever both stand (P4) and a stuck one is replaced by the next (BIP 125) without any key at hand.
//!
//! Its bytes are the consensus encoding of the list of transactions, the cheapest first. Nothing else is needed to
//! bring it to the chain, whoever reads it after a crash; who holds these bytes may spend up to the leg's `fee_limit`.

use bitcoin::{OutPoint, Sequence, Transaction, TxOut, Txid, consensus::encode::serialize};
use sofie_model::proof::bitcoin::Mark;

use super::rpc;
use crate::Intent;

/// Fees of one intent, each at least twice the one before: beyond, the limit itself is the last.
pub(super) const MAX_RUNGS: usize = 8;
/// A longer intent is refused unread: each transaction is small, and there are few.
const MAX_BYTES: usize = MAX_RUNGS * 100_000;
/// Each of a transaction's inputs says that it may be replaced (BIP 125).
pub(super) const REPLACEABLE: Sequence = Sequence::ENABLE_RBF_NO_LOCKTIME;

/// The same payment at rising fees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ladder(Vec<Transaction>);

impl Ladder {
    /// Signed transactions, the cheapest first.
    pub(super) fn new(rungs: Vec<Transaction>) -> Self {
        Self(rungs)
    }

    /// Reads an intent's bytes; an error says in words what is wrong.
    pub(super) fn read(intent: &Intent) -> Result<Self, String> {
        if intent.0.len() > MAX_BYTES {
            return Err(format!("{} bytes, {MAX_BYTES} are allowed", intent.0.len()));
        }
        let rungs: Vec<Transaction> = rpc::read(&intent.0)?;
        if rungs.is_empty() || rungs.len() > MAX_RUNGS {
            return Err(format!("{} transactions, 1 to {MAX_RUNGS} are expected", rungs.len()));
        }
        let ladder = Self(rungs);
        let spends = |transaction: &Transaction| -> Vec<OutPoint> {
            transaction.input.iter().map(|input| input.previous_output).collect()
        };
        let first = spends(&ladder.0[0]);
        if first.is_empty() || ladder.0.iter().any(|one| spends(one) != first) {
            return Err("its transactions do not spend the same".into());
        }
        Ok(ladder)
    }

    pub(super) fn intent(&self) -> Intent {
        Intent(serialize(&self.0))
    }

    /// What every rung spends.
    pub(super) fn inputs(&self) -> impl Iterator<Item = OutPoint> {
        self.0.first().into_iter().flat_map(|one| &one.input).map(|input| input.previous_output)
    }

    /// By what it is known whether any rung stands or waits.
    pub(super) fn first_input(&self) -> OutPoint {
        self.0[0].input[0].previous_output
    }

    /// The mark in its outputs, if it has one: a claim and a refund have none.
    pub(super) fn mark(&self) -> Option<Mark> {
        self.purpose().iter().find_map(|output| Mark::read(output.script_pubkey.as_bytes()))
    }

    /// What it pays for: all outputs up to the mark. Change comes after it.
    pub(super) fn purpose(&self) -> &[TxOut] {
        let outputs = self.0.first().map(|one| one.output.as_slice()).unwrap_or_default();
        let mark = outputs.iter().position(|output| Mark::read(output.script_pubkey.as_bytes()).is_some());
        mark.map_or(&[], |at| &outputs[..=at])
    }

    /// Which rung has this name.
    pub(super) fn rung_of(&self, txid: Txid) -> Option<usize> {
        self.0.iter().position(|one| one.compute_txid() == txid)
    }

    /// The rungs from this one on.
    pub(super) fn from(&self, rung: usize) -> &[Transaction] {
        self.0.get(rung..).unwrap_or_default()
    }
}

/// The fees of a ladder: `first`, then the double each time, and `limit` in the end. Empty when `first` is above it.
pub(super) fn fees(first: u64, limit: u64) -> Vec<u64> {
    let first = first.max(1);
    let mut fees: Vec<u64> = std::iter::successors(Some(first), |fee| fee.checked_mul(2))
        .take_while(|fee| *fee <= limit)
        .take(MAX_RUNGS)
        .collect();
    if let Some(last) = fees.last().copied().filter(|last| *last < limit) {
        if fees.len() == MAX_RUNGS || last > limit / 2 && fees.len() > 1 {
            fees.pop();
        }
        fees.push(limit);
    }
    fees
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fees_double_up_to_the_limit() {
        let table: [(u64, u64, &[u64]); 7] = [
            (100, 99, &[]),
            (100, 100, &[100]),
            (100, 150, &[100, 150]),
            (100, 250, &[100, 250]),
            (100, 400, &[100, 200, 400]),
            (100, 450, &[100, 200, 450]),
            (1, 100_000, &[1, 2, 4, 8, 16, 32, 64, 100_000]),
        ];
        for (first, limit, expected) in table {
            assert_eq!(fees(first, limit), expected, "{first} to {limit}");
        }
        assert_eq!(fees(u64::MAX, u64::MAX), [u64::MAX]);
    }

    #[test]
    fn other_bytes_are_no_ladder() {
        for bytes in [vec![], vec![0], vec![0xff; 40], vec![1, 0]] {
            assert!(Ladder::read(&Intent(bytes.clone())).is_err(), "{bytes:?}");
        }
    }
}
