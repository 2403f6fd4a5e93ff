//! What readers ask the chain file for. Each answer comes from one index; none scans the chain.

use alloy_consensus::{Header, ReceiptEnvelope, Transaction, TxEnvelope};
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{Address, B256, Bytes, Log};
use alloy_rlp::Decodable;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use crate::evm::chain::{Block, Logged, Mined, Wanted};

pub(super) fn hash(sql: &Connection, number: u64) -> Result<Option<B256>> {
    let mut query = sql.prepare_cached("SELECT hash FROM block WHERE number = ?")?;
    query.query_row([number as i64], |row| row.get(0).map(B256::new)).optional()
}

pub(super) fn header(sql: &Connection, number: u64) -> Result<Option<Header>> {
    let mut query = sql.prepare_cached("SELECT header FROM block WHERE number = ?")?;
    query.query_row([number as i64], |row| decoded_header(row, 0)).optional()
}

pub(super) fn block(sql: &Connection, number: u64) -> Result<Option<Block>> {
    let Some(header) = header(sql, number)? else { return Ok(None) };
    let mut query =
        sql.prepare_cached("SELECT envelope, receipt, sender FROM tx WHERE block = ? ORDER BY place")?;
    let mut rows = query.query([number as i64])?;
    let mut block = Block { header, transactions: vec![], receipts: vec![], payments: vec![] };
    let mut gas_before = 0;
    while let Some(row) = rows.next()? {
        let (envelope, receipt) = (bytes(row, 0)?, bytes(row, 1)?);
        let transaction = TxEnvelope::decode_2718_exact(&envelope).map_err(|e| damaged(0, e))?;
        let gas = decoded_receipt(row, 1)?.cumulative_gas_used();
        let price = transaction.effective_gas_price(block.header.base_fee_per_gas);
        let paid = u128::from(gas.saturating_sub(gas_before)).saturating_mul(price);
        gas_before = gas;
        block.payments.push((row.get(2).map(Address::new)?, paid));
        block.transactions.push(envelope);
        block.receipts.push(receipt);
    }
    Ok(Some(block))
}

/// How many transactions `sender` has in the blocks after `block`, up to `head`.
pub(super) fn sent(sql: &Connection, sender: Address, block: u64, head: u64) -> Result<u64> {
    let mut query =
        sql.prepare_cached("SELECT count(*) FROM tx WHERE block > ? AND block <= ? AND sender = ?")?;
    let count: i64 =
        query.query_row(params![block as i64, head as i64, sender.as_slice()], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

pub(super) fn mined(sql: &Connection, transaction: B256) -> Result<Option<Mined>> {
    let mut query = sql.prepare_cached("SELECT block, success FROM tx WHERE hash = ?")?;
    let found = |row: &Row<'_>| Ok(Mined { block: number(row, 0)?, success: row.get(1)? });
    query.query_row([transaction.as_slice()], found).optional()
}

const LOGS: &str = "SELECT log.block, log.place, log.log, tx.hash, tx.receipt, block.hash, block.header
    FROM log JOIN tx ON tx.block = log.block AND tx.place = log.place JOIN block ON block.number = log.block
    WHERE log.topic = ? AND log.contract = ? ORDER BY log.block, log.place, log.log LIMIT ?";

/// Of the first `most` logs of a topic, the `wanted` ones.
pub(super) fn logs(
    sql: &Connection,
    contract: Address,
    topic: B256,
    wanted: Wanted<'_>,
    most: usize,
) -> Result<Vec<Logged>> {
    let mut query = sql.prepare_cached(LOGS)?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows = query.query_map(params![topic.as_slice(), contract.as_slice(), most], logged)?;
    rows.filter(|row| row.as_ref().map_or(true, |logged| wanted(&logged.log))).collect()
}

fn logged(row: &Row<'_>) -> Result<Logged> {
    let log_index: u32 = row.get(2)?;
    let receipt = decoded_receipt(row, 4)?;
    let log = receipt.logs().get(log_index as usize).cloned();
    Ok(Logged {
        log: log.ok_or_else(|| damaged(4, "fewer logs than its index says"))?,
        block: number(row, 0)?,
        block_hash: row.get(5).map(B256::new)?,
        transaction: row.get(3).map(B256::new)?,
        index: row.get(1)?,
        log_index,
        time: decoded_header(row, 6)?.timestamp,
    })
}

fn decoded_header(row: &Row<'_>, column: usize) -> Result<Header> {
    Header::decode(&mut &bytes(row, column)?[..]).map_err(|e| damaged(column, e))
}

fn decoded_receipt(row: &Row<'_>, column: usize) -> Result<ReceiptEnvelope<Log>> {
    ReceiptEnvelope::decode_2718_exact(&bytes(row, column)?).map_err(|e| damaged(column, e))
}

fn number(row: &Row<'_>, column: usize) -> Result<u64> {
    row.get::<_, i64>(column).map(i64::unsigned_abs)
}

fn bytes(row: &Row<'_>, column: usize) -> Result<Bytes> {
    row.get::<_, Vec<u8>>(column).map(Bytes::from)
}

fn damaged(column: usize, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, why.into())
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::evm::embedded::store::Store;

    /// To read and plan the statement costs more than to run it.
    #[test]
    fn a_statement_is_planned_once_whatever_is_bound_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&folder.path().join("chain.db")).unwrap();
        let sql = store.reader().unwrap();
        for number in 0..3 {
            let topic = B256::repeat_byte(number);
            assert!(logs(&sql, Address::ZERO, topic, &|_| true, 9).unwrap().is_empty());
            let planned = sql.prepare_cached(LOGS).unwrap().get_status(StatementStatus::RePrepare);
            assert_eq!(planned, 0, "planned anew");
        }
    }
}
