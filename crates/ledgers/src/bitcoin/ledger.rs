//! The port over a bitcoind: intends, submits, and reads what the chain holds.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use bitcoin::hashes::Hash;
use bitcoin::key::CompressedPublicKey;
use bitcoin::{OutPoint, ScriptBuf, Transaction, TxOut};
use sofie_model::proof::bitcoin::Mark;
use sofie_model::{
    Account, Class, Digest, Evidence, Fact, Finality, LedgerId, Leg, LegId, Manifest, Operation, Position,
    Proof, Span, Step, Terms, Timestamp,
};
use tokio::sync::{Mutex, MutexGuard};

use super::index::{Coin, End, Index, Placed};
use super::ladder::Ladder;
use super::lock::{Found, Lock, Spent};
use super::open::BitcoinConfig;
use super::pay::{Payment, Signed, Unpayable, Wallet, choose, coins_of, spend_fees, spends, too_dear};
use super::rpc::{Node, RpcError, Sent};
use crate::{Hashlocks, Head, Intent, Ledger, LedgerError, Profile, Spend, Status, Treasury};

/// Payments that are intended and of which the chain shows nothing final yet: more wait.
pub const MAX_OPEN: usize = 4_096;
/// A waiting transaction is replaced by the next dearer one after so many blocks that left it out.
const REPLACED_AFTER: u64 = 2;

/// A Bitcoin ledger.
pub struct BitcoinLedger {
    pub(super) profile: Profile,
    pub(super) node: Node,
    pub(super) wallet: Wallet,
    pub(super) config: BitcoinConfig,
    pub(super) state: Mutex<State>,
}

/// What one call at a time reads and changes.
pub(super) struct State {
    pub(super) index: Index,
    /// Payments that are intended, by their mark: the same operation is answered by the same intent, and no other
    /// takes its coins.
    pub(super) open: BTreeMap<Mark, Ladder>,
    /// What others signed: of which lock, at which fees.
    pub(super) accepted: BTreeMap<(Mark, Spend), (OutPoint, Signed)>,
}

/// A ledger behind a bitcoind: `block` is the longest usual time between two blocks.
#[must_use]
pub fn bitcoin_profile(id: LedgerId, depth: u32, block: Span) -> Profile {
    Profile {
        id,
        classes: vec![Class::Hashlock, Class::Record],
        decides: false,
        finality: Finality::Depth(depth),
        // A fee that rises after each few blocks is high enough by then, up to the leg's limit.
        inclusion: block * (3 * REPLACED_AFTER),
        finalises: block * u64::from(depth),
        single_operator: false,
        poll: Span::from_millis((block.as_millis() / 20).clamp(20, 10_000)),
    }
}

impl BitcoinLedger {
    fn id(&self) -> LedgerId {
        self.profile.id.clone()
    }

    fn unsupported(&self, operation: &Operation, reason: impl Into<String>) -> LedgerError {
        LedgerError::Unsupported { ledger: self.id(), verb: operation.verb(), reason: reason.into() }
    }

    /// What the node's error is to the one who asked the ledger. A word of refusal outside of `submit` may pass.
    pub(super) fn error(&self, error: RpcError) -> LedgerError {
        match error {
            RpcError::Away(reason) => self.profile.transient(reason),
            RpcError::Nonsense(reason) => self.profile.nonsense(reason),
            said @ RpcError::Said { .. } => self.profile.transient(said.to_string()),
        }
    }

    fn unpayable(&self, why: Unpayable) -> LedgerError {
        match why {
            Unpayable::Refused(reason) => self.profile.refused(reason),
            Unpayable::Waits(reason) => self.profile.transient(reason),
        }
    }

    /// The state as of the chain's head.
    pub(super) async fn synced(&self) -> Result<(MutexGuard<'_, State>, End), LedgerError> {
        let mut state = self.state.lock().await;
        let end = state.index.sync(&self.node).await.map_err(|error| self.error(error))?;
        Ok((state, end))
    }

    pub(super) fn is_final(&self, placed: &Placed, end: End) -> bool {
        let depth = match self.profile.finality {
            Finality::Depth(blocks) => u64::from(blocks),
            Finality::Instant | Finality::Tag | Finality::Safe => 0,
        };
        end.height >= placed.height + depth
    }

    /// What stands at `placed`, as a status.
    fn stands(&self, state: &State, end: End, placed: &Placed, fact: Fact) -> Result<Status, LedgerError> {
        if !self.is_final(placed, end) {
            return Ok(Status::Pending);
        }
        let (_, clock) = state
            .index
            .block(placed.height)
            .ok_or_else(|| self.profile.nonsense("a block without a place"))?;
        let position = Position {
            height: placed.height,
            index: placed.index.into(),
            reference: name(&placed.transaction),
        };
        let at = Timestamp::from_seconds(clock.into());
        Ok(Status::Final(Evidence { ledger: self.id(), fact, position, at }))
    }

    /// The limit in satoshi, once it is known not to be nothing.
    fn fee_limit(&self, limit: u128) -> Result<u64, LedgerError> {
        match u64::try_from(limit).unwrap_or(u64::MAX) {
            0 => Err(self.profile.refused("fee_limit is 0, and this ledger charges for every transaction")),
            limit => Ok(limit),
        }
    }

    async fn rate(&self) -> Result<u64, LedgerError> {
        self.node.fee_rate().await.map_err(|error| self.error(error))
    }

    /// Signs a payment with this mark, or finds the one that was signed before.
    async fn pay(
        &self,
        state: &mut State,
        mark: Mark,
        outputs: Vec<TxOut>,
        from: CompressedPublicKey,
        limit: u64,
    ) -> Result<Intent, LedgerError> {
        if let Some(ladder) = state.open.get(&mark) {
            return Ok(ladder.intent());
        }
        if state.open.len() >= MAX_OPEN {
            return Err(self.profile.transient(format!("{MAX_OPEN} payments are open already")));
        }
        let rate = self.rate().await?;
        let paid: u64 = outputs.iter().map(|output| output.value.to_sat()).sum();
        let wanted = paid.saturating_add(limit).saturating_add(super::pay::DUST);
        let payment = Payment { outputs, from, rate, limit };
        let (free, held) = state.free_coins(&coins_of(&from));
        let coins = choose(free, wanted, &mark.0);
        match self.wallet.pay(&payment, &coins) {
            Ok(ladder) => {
                let intent = ladder.intent();
                state.open.insert(mark, ladder);
                Ok(intent)
            }
            Err(Unpayable::Refused(_)) if held >= wanted && self.wallet.holds(from) => {
                Err(self.unpayable(Unpayable::Waits(format!(
                    "{held} satoshi are there, but in coins that other payments use or that are not mature"
                ))))
            }
            Err(why) => Err(self.unpayable(why)),
        }
    }

    fn payer(&self, account: Account) -> Result<CompressedPublicKey, LedgerError> {
        self.wallet
            .key(account)
            .ok_or_else(|| self.profile.refused(format!("this node holds no key of {account}")))
    }

    async fn intend_mark(&self, mark: Mark, limit: u64) -> Result<Intent, LedgerError> {
        let from = self.payer(self.config.operator)?;
        let (mut state, _) = self.synced().await?;
        if let Some(placed) = state.index.marked(mark).first() {
            // A second entry would say the same: what stands is the answer.
            return Ok(Ladder::new(vec![placed.transaction.clone()]).intent());
        }
        self.pay(&mut state, mark, vec![inscription(mark)], from, limit).await
    }

    async fn intend_closed(
        &self,
        manifest: &Manifest,
        id: LegId,
        applied: bool,
    ) -> Result<Intent, LedgerError> {
        let (leg, commitment) = self.record(manifest, id)?;
        let limit = self.fee_limit(leg.fee_limit)?;
        {
            let (state, _) = self.synced().await?;
            if state.index.marked(Mark::record(manifest.txid(), id, commitment)).is_empty() {
                return Err(self.profile.refused(format!("{id} was never prepared")));
            }
            if !state.index.marked(Mark::closed(manifest.txid(), id, !applied)).is_empty() {
                return Err(self.profile.refused(format!("{id} is closed otherwise")));
            }
        }
        self.intend_mark(Mark::closed(manifest.txid(), id, applied), limit).await
    }

    async fn intend_lock(&self, manifest: &Manifest, id: LegId) -> Result<Intent, LedgerError> {
        let lock = self.lock(manifest, id)?;
        let limit = self.fee_limit(manifest.leg(id).map_or(0, |leg| leg.fee_limit))?;
        if !self.wallet.holds(lock.payer) {
            return Err(self.profile.refused(format!("this node holds no key {}", lock.payer)));
        }
        let (mut state, _) = self.synced().await?;
        if lock.find(state.index.marked(lock.mark)).is_some() {
            return Err(self.profile.refused("it stands there already"));
        }
        let rate = self.rate().await?;
        if let Some(why) = too_dear(&lock, rate, limit) {
            return Err(self.profile.refused(why));
        }
        let outputs = vec![lock.output(), inscription(lock.mark)];
        self.pay(&mut state, lock.mark, outputs, lock.payer, limit).await
    }

    async fn intend_spend(
        &self,
        manifest: &Manifest,
        id: LegId,
        spend: Spend,
        preimages: &[Digest],
    ) -> Result<Intent, LedgerError> {
        let lock = self.lock(manifest, id)?;
        let limit = self.fee_limit(manifest.leg(id).map_or(0, |leg| leg.fee_limit))?;
        if spend == Spend::Claim {
            lock.fits(preimages).map_err(|why| self.profile.refused(why))?;
        }
        let (state, _) = self.synced().await?;
        let found = self.found(&state, &lock)?;
        if state.index.spender(found.outpoint).is_some() {
            return Err(self.profile.refused("the lock is spent already"));
        }
        let signed = self.signatures(&state, &lock, found.outpoint, spend, limit).await?;
        let ladder = spends(&lock, found.outpoint, spend, &signed, preimages);
        ladder.map(|ladder| ladder.intent()).map_err(|why| self.profile.nonsense(why))
    }

    /// Our own key's, or what another's key signed before.
    async fn signatures(
        &self,
        state: &State,
        lock: &Lock,
        outpoint: OutPoint,
        spend: Spend,
        limit: u64,
    ) -> Result<Signed, LedgerError> {
        let fees = spend_fees(lock, spend, self.rate().await?, limit);
        let ours = self.wallet.sign_spend(lock, outpoint, spend, &fees);
        let theirs = state.accepted.get(&(lock.mark, spend));
        let theirs =
            theirs.filter(|(signed_for, _)| *signed_for == outpoint).map(|(_, signed)| signed.clone());
        ours.or(theirs).filter(|signed| !signed.is_empty()).ok_or_else(|| {
            let key = lock.key(spend);
            self.profile
                .transient(format!("this node holds neither the key {key} nor anything that it signed"))
        })
    }

    pub(super) fn lock(&self, manifest: &Manifest, id: LegId) -> Result<Lock, LedgerError> {
        Lock::of(manifest, id).map_err(|why| self.profile.refused(why))
    }

    pub(super) fn found(&self, state: &State, lock: &Lock) -> Result<Found, LedgerError> {
        let found = lock.find(state.index.marked(lock.mark));
        found.ok_or_else(|| self.profile.transient("its lock is not on the chain, or not yet"))
    }

    fn record<'a>(&self, manifest: &'a Manifest, id: LegId) -> Result<(&'a Leg, Digest), LedgerError> {
        match manifest.leg(id).map(|leg| (leg, &leg.terms)) {
            Some((leg, Terms::Record(commitment))) => Ok((leg, *commitment)),
            _ => Err(self.profile.refused(format!("{id} is not a record leg"))),
        }
    }

    /// What stands of a lock's two ends.
    fn spend_status(
        &self,
        (state, end): (&State, End),
        (manifest, id): (&Manifest, LegId),
        (spend, intent): (Spend, Option<&Intent>),
    ) -> Result<Status, LedgerError> {
        let lock = self.lock(manifest, id)?;
        let Some(found) = lock.find(state.index.marked(lock.mark)) else { return Ok(Status::Absent) };
        let Some(placed) = state.index.spender(found.outpoint) else {
            return self.unspent(end, &found, intent);
        };
        let (happened, fact) = match lock.spent_by(found.outpoint, &placed.transaction) {
            Some(Spent::Claim(_)) => (Spend::Claim, Fact::Applied(manifest.txid(), id)),
            Some(Spent::Refund) => (Spend::Refund, Fact::Reverted(manifest.txid(), id)),
            None => {
                return Err(self.profile.nonsense("a block in which the lock is spent against its script"));
            }
        };
        match self.stands(state, end, placed, fact)? {
            Status::Final(_) if happened != spend => {
                let reason = match happened {
                    Spend::Claim => "the lock was claimed, with every preimage",
                    Spend::Refund => "the lock was paid back, after its time",
                };
                Ok(Status::Refused { reason: reason.into() })
            }
            status => Ok(status),
        }
    }

    /// A lock that nothing spends. What was fixed for one that the chain has undone since spends nothing any more: the
    /// payment that was made again at another fee has another name.
    fn unspent(&self, end: End, found: &Found, intent: Option<&Intent>) -> Result<Status, LedgerError> {
        let Some(intent) = intent else { return Ok(Status::Absent) };
        let fixed_for_it = self.read(intent)?.first_input() == found.outpoint;
        Ok(match fixed_for_it || !self.is_final(&found.placed, end) {
            true => Status::Absent,
            false => Status::Displaced { reason: format!("its lock is {} by now", found.outpoint) },
        })
    }

    fn closed_status(
        &self,
        (state, end): (&State, End),
        (manifest, id): (&Manifest, LegId),
        applied: bool,
    ) -> Result<Status, LedgerError> {
        let first = |applied| state.index.marked(Mark::closed(manifest.txid(), id, applied)).first();
        let place = |placed: &Placed| (placed.height, placed.index);
        let Some(placed) = first(applied) else { return Ok(Status::Absent) };
        let fact = match applied {
            true => Fact::Applied(manifest.txid(), id),
            false => Fact::Reverted(manifest.txid(), id),
        };
        match (self.stands(state, end, placed, fact)?, first(!applied)) {
            (Status::Final(_), Some(other)) if place(other) < place(placed) => {
                Ok(Status::Refused { reason: format!("{id} was closed otherwise") })
            }
            (status, _) => Ok(status),
        }
    }

    /// Of what an operation pays for, the mark and the chain's word about it.
    fn payment_status(
        &self,
        (state, end): (&State, End),
        mark: Mark,
        placed: Option<&Placed>,
        (fact, intent): (Fact, Option<&Intent>),
    ) -> Result<(Mark, Status), LedgerError> {
        let status = match placed {
            Some(placed) => self.stands(state, end, placed, fact)?,
            None => self.missed(state, end, intent)?,
        };
        Ok((mark, status))
    }

    /// A payment of which nothing stands: its coins may be gone for good.
    fn missed(&self, state: &State, end: End, intent: Option<&Intent>) -> Result<Status, LedgerError> {
        let Some(intent) = intent else { return Ok(Status::Absent) };
        let ladder = self.read(intent)?;
        let gone = ladder
            .inputs()
            .filter_map(|coin| state.index.spender(coin))
            .any(|placed| self.is_final(placed, end));
        Ok(match gone {
            true => Status::Refused { reason: "another payment used its coin".into() },
            false => Status::Absent,
        })
    }

    fn read(&self, intent: &Intent) -> Result<Ladder, LedgerError> {
        Ladder::read(intent)
            .map_err(|why| self.profile.nonsense(format!("not an intent of this ledger: {why}")))
    }

    fn leg_status(
        &self,
        at: (&State, End),
        operation: &Operation,
        (manifest, id, step): (&Manifest, LegId, &Step),
        intent: Option<&Intent>,
    ) -> Result<(Option<Mark>, Status), LedgerError> {
        let txid = manifest.txid();
        let marked = |mark| at.0.index.marked(mark);
        let payment = match (manifest.leg(id).map(|leg| &leg.terms), step) {
            (Some(Terms::Hashlock(_)), Step::Prepare) => {
                let lock = self.lock(manifest, id)?;
                let found = lock.find(marked(lock.mark));
                let placed = found.as_ref().map(|found| &found.placed);
                self.payment_status(at, lock.mark, placed, (Fact::Prepared(txid, id), intent))?
            }
            (Some(Terms::Record(commitment)), Step::Prepare) => {
                let mark = Mark::record(txid, id, *commitment);
                self.payment_status(at, mark, marked(mark).first(), (Fact::Prepared(txid, id), intent))?
            }
            (Some(Terms::Record(_)), Step::Apply | Step::Revert) => {
                let applied = *step == Step::Apply;
                let status = match self.closed_status(at, (manifest, id), applied)? {
                    Status::Absent => self.missed(at.0, at.1, intent)?,
                    status => status,
                };
                (Mark::closed(txid, id, applied), status)
            }
            (Some(Terms::Hashlock(_)), Step::Claim(_)) => {
                return Ok((None, self.spend_status(at, (manifest, id), (Spend::Claim, intent))?));
            }
            (Some(Terms::Hashlock(_)), Step::Revert) => {
                return Ok((None, self.spend_status(at, (manifest, id), (Spend::Refund, intent))?));
            }
            (Some(_), _) => {
                return Err(self.unsupported(operation, format!("{id} is not a leg of that kind")));
            }
            (None, _) => return Err(self.profile.refused(format!("there is no {id}"))),
        };
        Ok((Some(payment.0), payment.1))
    }

    /// From which rung on to try: after the one that waits, if it has waited long enough. `None`: nothing to do.
    async fn next_rung(&self, ladder: &Ladder, end: End) -> Result<Option<usize>, LedgerError> {
        let waiting =
            self.node.waiting_spender(ladder.first_input()).await.map_err(|error| self.error(error))?;
        let Some(waiting) = waiting else { return Ok(Some(0)) };
        let txid = waiting.compute_txid();
        let Some(rung) = ladder.rung_of(txid) else { return Ok(Some(0)) };
        let since = self.node.waits_since(txid).await.map_err(|error| self.error(error))?;
        let long = since.is_some_and(|since| end.height >= since + REPLACED_AFTER);
        Ok(long.then_some(rung + 1))
    }

    /// Brings the first of these that the node takes.
    async fn send(&self, rungs: &[Transaction], replacing: bool) -> Result<(), LedgerError> {
        let mut last = String::new();
        for rung in rungs {
            match self.node.send(rung).await.map_err(|error| self.error(error))? {
                Sent::Taken => return Ok(()),
                Sent::Underpaid(why) => last = why,
                Sent::Spent(why) => return Err(self.profile.transient(why)),
                Sent::Early(why) => {
                    let time = rung.lock_time.to_consensus_u32();
                    return Err(self
                        .profile
                        .transient(format!("{why}: its time is {time}, by the chain's own clock")));
                }
                Sent::Refused(why) => return Err(self.profile.refused(why)),
            }
        }
        if replacing {
            return Ok(());
        }
        Err(self.profile.transient(format!("{last}: the leg's fee_limit allows no more")))
    }
}

impl State {
    /// Whether the chain holds what this payment is for, whoever made it: its mark, with all of its outputs but the
    /// change.
    fn holds(&self, ladder: &Ladder) -> bool {
        let Some(mark) = ladder.mark() else { return false };
        let wanted = ladder.purpose();
        let same = |placed: &Placed| wanted.iter().all(|output| placed.transaction.output.contains(output));
        self.index.marked(mark).iter().any(same)
    }

    /// The script's coins that no open payment uses, and what all of its coins are worth.
    pub(super) fn free_coins(&self, script: &ScriptBuf) -> (Vec<(OutPoint, Coin)>, u64) {
        let used: BTreeSet<OutPoint> = self.open.values().flat_map(Ladder::inputs).collect();
        let held = self.index.coins(script).map(|(_, coin)| coin.value).sum();
        let free = |(at, coin): &(OutPoint, &Coin)| !used.contains(at) && self.index.is_mature(coin);
        let free = self.index.coins(script).filter(free).map(|(at, coin)| (at, coin.clone())).collect();
        (free, held)
    }
}

/// The output that holds a mark.
fn inscription(mark: Mark) -> TxOut {
    TxOut { value: bitcoin::Amount::ZERO, script_pubkey: ScriptBuf::from_bytes(mark.script()) }
}

/// A transaction's name in the order in which everybody prints it.
pub(super) fn name(transaction: &Transaction) -> Digest {
    let mut bytes = transaction.compute_txid().to_byte_array();
    bytes.reverse();
    Digest(bytes)
}

#[async_trait]
impl Ledger for BitcoinLedger {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn intend(&self, operation: &Operation) -> Result<Intent, LedgerError> {
        let (manifest, id, step) = match operation {
            Operation::Leg { manifest, leg, step } => (manifest, *leg, step),
            Operation::Decide { .. } => return Err(self.unsupported(operation, "it runs no contracts")),
            Operation::Note { topic, commitment } => {
                return self.intend_mark(Mark::note(*topic, *commitment), self.config.note_fee_limit).await;
            }
        };
        match (manifest.leg(id).map(|leg| (&leg.terms, leg)), step) {
            (Some((Terms::Hashlock(_), _)), Step::Prepare) => self.intend_lock(manifest, id).await,
            (Some((Terms::Hashlock(_), _)), Step::Claim(preimages)) => {
                self.intend_spend(manifest, id, Spend::Claim, preimages).await
            }
            (Some((Terms::Hashlock(_), _)), Step::Revert) => {
                self.intend_spend(manifest, id, Spend::Refund, &[]).await
            }
            (Some((Terms::Record(commitment), leg)), Step::Prepare) => {
                let limit = self.fee_limit(leg.fee_limit)?;
                self.intend_mark(Mark::record(manifest.txid(), id, *commitment), limit).await
            }
            (Some((Terms::Record(_), _)), Step::Apply) => self.intend_closed(manifest, id, true).await,
            (Some((Terms::Record(_), _)), Step::Revert) => self.intend_closed(manifest, id, false).await,
            (Some(_), _) => Err(self.unsupported(operation, format!("{id} is not a leg of that kind"))),
            (None, _) => Err(self.profile.refused(format!("there is no {id}"))),
        }
    }

    async fn adopt(&self, intent: &Intent) -> Result<(), LedgerError> {
        let ladder = self.read(intent)?;
        // A claim or a refund has no mark, and takes no coin of ours.
        if let Some(mark) = ladder.mark() {
            self.state.lock().await.open.insert(mark, ladder);
        }
        Ok(())
    }

    async fn submit(&self, intent: &Intent) -> Result<(), LedgerError> {
        let ladder = self.read(intent)?;
        let (state, end) = self.synced().await?;
        if state.holds(&ladder) {
            return Ok(());
        }
        if let Some(placed) = state.index.spender(ladder.first_input()) {
            let ours = ladder.rung_of(placed.transaction.compute_txid()).is_some();
            return match ours || !self.is_final(placed, end) {
                true => Ok(()),
                false => Err(self.profile.refused("another transaction spent the same")),
            };
        }
        drop(state);
        match self.next_rung(&ladder, end).await? {
            None => Ok(()),
            Some(rung) => self.send(ladder.from(rung), rung > 0).await,
        }
    }

    async fn status(&self, operation: &Operation, intent: Option<&Intent>) -> Result<Status, LedgerError> {
        let (mut state, end) = self.synced().await?;
        let at = (&*state, end);
        let (mark, status) = match operation {
            Operation::Leg { manifest, leg, step } => {
                self.leg_status(at, operation, (manifest, *leg, step), intent)?
            }
            Operation::Decide { .. } => return Err(self.unsupported(operation, "it runs no contracts")),
            Operation::Note { topic, commitment } => {
                let mark = Mark::note(*topic, *commitment);
                let placed = state.index.marked(mark).first();
                let fact = Fact::Noted(*topic, *commitment);
                let (mark, status) = self.payment_status(at, mark, placed, (fact, intent))?;
                (Some(mark), status)
            }
        };
        // Its coins are spent, or free again.
        if let (Some(mark), Status::Final(_) | Status::Refused { .. }) = (mark, &status) {
            state.open.remove(&mark);
        }
        Ok(status)
    }

    async fn head(&self) -> Result<Head, LedgerError> {
        let (_, end) = self.synced().await?;
        Ok(Head { height: end.height, time: Timestamp::from_seconds(end.clock.into()) })
    }

    async fn prove(&self, manifest: &Manifest, facts: &[Evidence]) -> Result<Proof, LedgerError> {
        self.proof(manifest, facts).await
    }

    fn treasury(&self) -> Option<&dyn Treasury> {
        Some(self)
    }

    fn hashlocks(&self) -> Option<&dyn Hashlocks> {
        self.profile.classes.contains(&Class::Hashlock).then_some(self)
    }
}
