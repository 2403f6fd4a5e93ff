//! Proof that facts stand on a Bitcoin chain, and what SOFIE writes there.
//!
//! Headers link by their parents' hashes up to one anchor block, and each has the work that its own bits ask for. Each
//! fact comes with its transaction and the branch of the block's Merkle tree; how a lock was spent is read from the
//! spender's witness, which the block's first transaction commits to (BIP 141). Times are median times past (BIP 113).
//!
//! Left out: whether the bits are what the chain's rules ask for at that height, and whether another chain has more
//! work. Whoever pins the anchor's hash needs neither; who does not has a proof of as much work as the headers show.

mod chain;
mod mark;
pub mod script;
mod transaction;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::{Anchor, BadProof, Proven};
use crate::{Digest, Evidence, Fact, LedgerId, LegId, Manifest, Position, Terms, Timestamp};

pub use chain::{HEADER_BYTES, MEDIAN_OF, branch, display};
pub use mark::{MARK_BYTES, Mark, PREFIX};
pub use transaction::{MAX_TRANSACTION_BYTES, Transaction, twice};

/// More headers than this are refused: a month of them.
pub const MAX_HEADERS: usize = 4_096;
/// More facts than this are refused: two a leg.
pub const MAX_FACTS: usize = 128;

/// Headers up to one anchor block, and transactions in their blocks.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct ChainProof {
    /// The hash of the chain's first block, as it is printed: which chain this is.
    #[n(0)]
    pub genesis: Digest,
    /// The first header's height.
    #[n(1)]
    pub height: u64,
    /// Of 80 bytes each, the oldest first. The last one is the anchor.
    #[n(2)]
    pub headers: Vec<ByteVec>,
    /// In the chain's order.
    #[n(3)]
    pub facts: Vec<Shown>,
}

/// One fact and the transaction that makes it one.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Shown {
    /// The block's height.
    #[n(0)]
    pub height: u64,
    /// The transaction's place in the block.
    #[n(1)]
    pub index: u32,
    /// Its bytes, with witnesses only where the fact is in them.
    #[n(2)]
    pub transaction: ByteVec,
    /// From its name to the header's Merkle root.
    #[n(3)]
    pub branch: Vec<Digest>,
    /// What it shows.
    #[n(4)]
    pub what: What,
}

/// What a transaction shows.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum What {
    /// A leg's lock, or its record.
    #[n(0)]
    Prepared(#[n(0)] LegId),
    /// A record leg's end: applied or reverted.
    #[n(1)]
    Closed(#[n(0)] LegId, #[n(1)] bool),
    /// A note: its topic and commitment.
    #[n(2)]
    Noted(#[n(0)] Digest, #[n(1)] Digest),
    /// A hashlock leg's end: which, its witness says.
    #[n(3)]
    Spent(#[n(0)] LegId, #[n(1)] Witnessed),
}

/// That a block commits to a spender's witness, and which lock it spends.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Witnessed {
    /// The transaction that holds the lock: its bytes, without witnesses.
    #[n(0)]
    pub lock: ByteVec,
    /// The block's first transaction: its bytes.
    #[n(1)]
    pub first: ByteVec,
    /// From the first transaction's name to the header's Merkle root.
    #[n(2)]
    pub first_branch: Vec<Digest>,
    /// From the spender's name with its witness to the root that the first transaction commits to.
    #[n(3)]
    pub branch: Vec<Digest>,
}

impl ChainProof {
    pub(super) fn verify(&self, ledger: &LedgerId, manifest: &Manifest) -> Result<Proven, BadProof> {
        let bad = |part: String, why: String| BadProof { ledger: ledger.clone(), part, why };
        let headers = chain::linked(&self.headers).map_err(|(at, why)| bad(format!("header {at}"), why))?;
        let last = headers.last().ok_or_else(|| bad("headers".into(), "there are none".into()))?;
        let height = (self.height.checked_add(headers.len() as u64 - 1))
            .ok_or_else(|| bad("height".into(), "no chain is that long".into()))?;
        let anchor = Anchor::Bitcoin { genesis: self.genesis, height, block_hash: display(last.hash) };
        if self.facts.len() > MAX_FACTS {
            return Err(bad("facts".into(), format!("{} are too many", self.facts.len())));
        }
        let mut evidence: Vec<Evidence> = Vec::new();
        for (at, shown) in self.facts.iter().enumerate() {
            let one = self.fact(&headers, shown, ledger, manifest);
            let one = one.map_err(|why| bad(format!("fact {at}"), why))?;
            let place = |one: &Evidence| (one.position.height, one.position.index);
            if evidence.last().is_some_and(|last| place(last) > place(&one)) {
                return Err(bad(format!("fact {at}"), "not after the one before it".into()));
            }
            evidence.push(one);
        }
        Ok(Proven { anchor, evidence })
    }

    fn fact(
        &self,
        headers: &[chain::Header],
        shown: &Shown,
        ledger: &LedgerId,
        manifest: &Manifest,
    ) -> Result<Evidence, String> {
        let at = shown.height.checked_sub(self.height).and_then(|at| usize::try_from(at).ok());
        let at = at.filter(|at| *at < headers.len()).ok_or("its block is not among the headers")?;
        let transaction = Transaction::read(&shown.transaction)?;
        chain::stands(transaction.txid, shown.index, &shown.branch, headers[at].root)?;
        // Nothing commits to other witnesses than those of a spender: they are left out.
        let bare = transaction.txid == transaction.wtxid;
        ensure(bare != matches!(shown.what, What::Spent(..)), || {
            "its witnesses are wanted, or are not".into()
        })?;
        let (fact, leg) = shown.what.read(&transaction, shown.index, &headers[at], manifest)?;
        let above = (headers.len() - 1 - at) as u64;
        let depth = match leg.and_then(|leg| manifest.leg(leg)).map(|leg| leg.finality) {
            Some(crate::Finality::Depth(blocks)) => u64::from(blocks),
            _ => 0,
        };
        ensure(above >= depth, || format!("{above} blocks stand on it, {depth} are needed"))?;
        let position = Position {
            height: shown.height,
            index: shown.index.into(),
            reference: display(transaction.txid),
        };
        let at = Timestamp::from_seconds(chain::clock(headers, at, self.height)?);
        Ok(Evidence { ledger: ledger.clone(), fact, position, at })
    }
}

impl What {
    /// The fact that the transaction shows, and which leg's finality it needs.
    fn read(
        &self,
        transaction: &Transaction<'_>,
        index: u32,
        header: &chain::Header,
        manifest: &Manifest,
    ) -> Result<(Fact, Option<LegId>), String> {
        let txid = manifest.txid();
        match self {
            Self::Prepared(leg) => {
                match manifest.leg(*leg).map(|leg| &leg.terms) {
                    Some(Terms::Record(commitment)) => {
                        marked(transaction, Mark::record(txid, *leg, *commitment))?;
                    }
                    Some(Terms::Hashlock(_)) => drop(locked(transaction, manifest, *leg)?),
                    _ => return Err(format!("{leg} is of another class")),
                }
                Ok((Fact::Prepared(txid, *leg), Some(*leg)))
            }
            Self::Closed(leg, applied) => {
                let is_record = matches!(manifest.leg(*leg).map(|leg| &leg.terms), Some(Terms::Record(_)));
                ensure(is_record, || format!("{leg} is not a record leg"))?;
                marked(transaction, Mark::closed(txid, *leg, *applied))?;
                let fact = if *applied { Fact::Applied(txid, *leg) } else { Fact::Reverted(txid, *leg) };
                Ok((fact, Some(*leg)))
            }
            Self::Noted(topic, commitment) => {
                marked(transaction, Mark::note(*topic, *commitment))?;
                Ok((Fact::Noted(*topic, *commitment), None))
            }
            Self::Spent(leg, witnessed) => {
                witnessed.commits_to(transaction, index, header)?;
                let lock = Transaction::read(&witnessed.lock)?;
                ensure(lock.txid == lock.wtxid, || "the lock's witnesses are not wanted".into())?;
                let (output, lock_script) = locked(&lock, manifest, *leg)?;
                let input = transaction.inputs.iter().position(|input| *input == (lock.txid, output));
                let witness =
                    input.and_then(|at| transaction.witnesses.get(at)).ok_or("it spends another")?;
                let fact =
                    match script::read_witness(&lock_script, witness).ok_or("it spends another script")? {
                        script::Branch::Refund => Fact::Reverted(txid, *leg),
                        script::Branch::Claim(shown) => {
                            let hashes = manifest.pivot_terms().map(|terms| manifest.lock_hashes(terms));
                            script::preimages(&shown, &hashes.unwrap_or_default())
                                .ok_or("it shows other preimages")?;
                            Fact::Applied(txid, *leg)
                        }
                    };
                Ok((fact, Some(*leg)))
            }
        }
    }
}

impl Witnessed {
    /// BIP 141, "Commitment structure".
    fn commits_to(
        &self,
        transaction: &Transaction<'_>,
        index: u32,
        header: &chain::Header,
    ) -> Result<(), String> {
        let first = Transaction::read(&self.first)?;
        chain::stands(first.txid, 0, &self.first_branch, header.root)?;
        let commitment = |(_, script): &(u64, &[u8])| {
            let root = script.strip_prefix(&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed])?.get(..32)?;
            Some(Digest(root.try_into().ok()?))
        };
        let committed = first.outputs.iter().rev().find_map(commitment);
        let committed = committed.ok_or("the block commits to no witnesses")?;
        let reserved = match first.witnesses.as_slice() {
            [only] if only.len() == 1 && only[0].len() == 32 => only[0],
            _ => return Err("no reserved value of 32 bytes".into()),
        };
        let root = chain::climb(transaction.wtxid, index, &self.branch)?;
        let expected = twice(&[root.as_bytes().as_slice(), reserved].concat());
        ensure(expected == committed, || "the block commits to another witness".into())
    }
}

/// The lock among the outputs: its number and script. The lock's mark must stand beside it.
fn locked(
    transaction: &Transaction<'_>,
    manifest: &Manifest,
    leg: LegId,
) -> Result<(u32, script::Lock), String> {
    let lock = script::Lock::of(manifest, leg).ok_or_else(|| format!("{leg} is not a hashlock leg"))?;
    marked(transaction, Mark::lock(manifest.txid(), leg))?;
    let output = lock.output();
    let same = |(value, script): &(u64, &[u8])| u128::from(*value) == lock.amount && *script == output;
    let place =
        transaction.outputs.iter().position(same).ok_or("no output has the lock's script and amount")?;
    Ok((u32::try_from(place).map_err(|error| error.to_string())?, lock))
}

fn marked(transaction: &Transaction<'_>, mark: Mark) -> Result<(), String> {
    let has = transaction.outputs.iter().any(|(_, script)| Mark::read(script) == Some(mark));
    ensure(has, || "it does not have that mark".into())
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}
