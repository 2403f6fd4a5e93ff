//! The port over any [`Chain`]: signs, simulates, submits, and reads what the contracts' events say.

use std::sync::Arc;

use alloy_consensus::TxEip1559;
use alloy_primitives::{Bytes, Log, TxKind};
use async_trait::async_trait;
use secp256k1::SecretKey;
use sofie_model::proof::evm::{event, log_index};
use sofie_model::{
    Account, Class, Digest, Evidence, Finality, LedgerId, Manifest, Operation, Position, Proof, Span,
    Timestamp, contract,
};

use super::chain::{At, Call, Chain, ChainError, Logged, Tip};
use super::contracts::{DECISION, ESCROW, refusal};
use super::deploy::OpenLedgerError;
use super::keyring::Keyring;
use super::nonce::Nonces;
use super::own::Own;
use super::plan::{Plan, filler, offer, split};
use super::prove::{Unprovable, prove};
use super::replace::Replaced;
use super::request::{Answer, Question, Request, Site, wei};
use super::signed::Signed;
use crate::{Head, Intent, Ledger, LedgerError, Profile, Status, Treasury};

/// Wei per gas for the block's maker: one gwei.
pub const PRIORITY_FEE: u64 = 1_000_000_000;
/// The most blocks that [`Treasury::fees`] looks through.
pub const MAX_FEE_BLOCKS: u64 = 100_000;

/// An EVM ledger.
pub struct EvmLedger {
    pub(super) profile: Profile,
    pub(super) chain: Arc<dyn Chain>,
    pub(super) keyring: Keyring,
    pub(super) operator: Account,
    pub(super) site: Site,
    pub(super) nonces: Nonces,
    pub(super) replaced: Replaced,
    pub(super) own: Own,
    /// Who sends what anyone may send: `operator`, and who else is told to.
    pub(super) lanes: Vec<Account>,
}

/// A ledger on the embedded chain: its blocks are final at once, and one operator can rewrite them.
#[must_use]
pub fn embedded_profile(id: LedgerId) -> Profile {
    Profile {
        id,
        classes: vec![Class::Verifying],
        decides: true,
        finality: Finality::Instant,
        inclusion: Span::from_millis(500),
        finalises: Span::ZERO,
        single_operator: true,
        poll: Span::from_millis(20),
    }
}

/// A ledger behind JSON-RPC: `block` is the longest usual time between two blocks.
#[must_use]
pub fn rpc_profile(id: LedgerId, finality: Finality, block: Span) -> Profile {
    let depth = match finality {
        Finality::Instant => 0,
        Finality::Depth(blocks) => u64::from(blocks),
        // Two epochs of 32 slots, and the one that is under way (Gasper).
        Finality::Tag => 96,
        // One epoch, and the one that is under way: its checkpoint is justified, and not yet final.
        Finality::Safe => 64,
    };
    Profile {
        id,
        classes: vec![Class::Verifying],
        decides: true,
        finality,
        inclusion: block * 3,
        finalises: block * depth,
        single_operator: false,
        poll: Span::from_millis((block.as_millis() / 4).clamp(20, 3_000)),
    }
}

impl EvmLedger {
    /// Where decisions stand.
    #[must_use]
    pub fn decision_address(&self) -> Account {
        self.site.decision
    }

    /// What holds the escrows.
    #[must_use]
    pub fn escrow_address(&self) -> Account {
        self.site.escrow
    }

    /// EIP-155 chain id, for manifests and attestations.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.site.chain_id
    }

    /// Lets these accounts send, and pay for, what anyone may send, besides the operator: each has its own sequence of
    /// nonces, so that what is stuck in one holds up nothing in the others.
    ///
    /// # Errors
    /// [`OpenLedgerError::NoOperatorKey`] for one whose key is not in the keyring.
    pub fn with_lanes(mut self, lanes: &[Account]) -> Result<Self, OpenLedgerError> {
        for &operator in lanes {
            if self.keyring.get(operator).is_none() {
                return Err(OpenLedgerError::NoOperatorKey { ledger: self.id(), operator });
            }
            if !self.lanes.contains(&operator) {
                self.lanes.push(operator);
            }
        }
        Ok(self)
    }

    pub(super) fn assembled(
        chain: Arc<dyn Chain>,
        profile: Profile,
        keyring: Keyring,
        operator: Account,
    ) -> Self {
        let site = Site { chain_id: chain.chain_id(), decision: DECISION.address, escrow: ESCROW.address };
        Self {
            profile,
            chain,
            keyring,
            operator,
            site,
            nonces: Nonces::default(),
            replaced: Replaced::default(),
            own: Own::default(),
            lanes: vec![operator],
        }
    }

    /// The hash of the chain's first block: what tells it from any other.
    pub(super) async fn genesis(&self) -> Result<Digest, LedgerError> {
        let first = self.chain.header(0).await.map_err(|error| self.error(error))?;
        let first = first.ok_or_else(|| self.profile.nonsense("it has no first block"))?;
        Ok(Digest(first.hash_slow().0))
    }

    fn id(&self) -> LedgerId {
        self.profile.id.clone()
    }

    /// What a chain's error is to the one who asked the ledger.
    pub(super) fn error(&self, error: ChainError) -> LedgerError {
        match error {
            ChainError::Away(reason) | ChainError::Underpriced(reason) => self.profile.transient(reason),
            ChainError::Reverted(data) => self.profile.refused(refusal(&data)),
            ChainError::Refused(reason) => self.profile.refused(reason),
            ChainError::Nonsense(reason) => self.profile.nonsense(reason),
            ChainError::Known | ChainError::NonceUsed(_) => self.profile.refused(error.to_string()),
        }
    }

    /// Simulates, takes a nonce and signs: in this order, so that a refusal burns no nonce.
    pub(super) async fn sign(&self, request: &Request) -> Result<Bytes, ChainError> {
        if request.fee_limit == 0 {
            let id = &self.profile.id;
            return Err(ChainError::Refused(format!(
                "fee_limit is 0, and {id} charges for each transaction"
            )));
        }
        self.key_of(request)?;
        let sender = contract::address(request.from);
        let tip = self.chain.tip().await?;
        let fees = offer(tip.base_fee, PRIORITY_FEE, request.gas, request.fee_limit);
        let call = Call {
            from: sender,
            to: contract::address(request.to),
            value: wei(request.value),
            data: request.data.clone(),
            gas: request.gas,
            max_fee: fees.map_or(0, |(highest, _)| highest),
        };
        // First: what the contract refuses is refused however dear it would be.
        self.chain.call(&call).await?;
        let fees = fees.ok_or_else(|| too_dear(tip.base_fee, request))?;
        let on_chain = self.chain.nonce(sender, At::Pending).await?;
        let nonce = self
            .nonces
            .reserve(sender, on_chain)
            .ok_or_else(|| ChainError::Away(format!("too many transactions of {} are open", request.from)))?;
        self.signed(request, fees, nonce)
    }

    /// The transaction of this nonce, signed; `fees` are the highest and the block maker's part, in wei per gas.
    pub(super) fn signed(
        &self,
        request: &Request,
        (highest, priority): (u128, u128),
        nonce: u64,
    ) -> Result<Bytes, ChainError> {
        let transaction = TxEip1559 {
            chain_id: self.site.chain_id,
            nonce,
            gas_limit: request.gas,
            max_fee_per_gas: highest,
            max_priority_fee_per_gas: priority,
            to: TxKind::Call(contract::address(request.to)),
            value: wei(request.value),
            access_list: Default::default(),
            input: request.data.clone(),
        };
        let raw = Signed::sign(transaction, self.key_of(request)?);
        self.own.signed(&raw, contract::address(request.from));
        Ok(raw)
    }

    fn key_of(&self, request: &Request) -> Result<&SecretKey, ChainError> {
        let key = self.keyring.get(request.from);
        key.ok_or_else(|| ChainError::Refused(format!("this node holds no key of {}", request.from)))
    }

    /// The call that carries `operation` out; what anyone may send, `operator` sends.
    pub(super) fn request(&self, operation: &Operation, operator: Account) -> Result<Request, LedgerError> {
        self.site.request(&self.profile.id, operation, operator).map_err(|reason| LedgerError::Unsupported {
            ledger: self.id(),
            verb: operation.verb(),
            reason,
        })
    }

    pub(super) fn read(&self, intent: &Intent) -> Result<Plan, LedgerError> {
        let plan = Plan::read(intent, self.site.chain_id)
            .map_err(|why| self.profile.nonsense(format!("not an intent of this ledger: {why}")))?;
        let sender = Account(plan.signed.sender.into_array());
        match self.keyring.get(sender) {
            Some(_) => Ok(plan),
            None => Err(self
                .profile
                .nonsense(format!("an intent of {sender}, whose key this node does not hold"))),
        }
    }

    /// A transaction was refused for good: its nonce must not hold up the account's later ones.
    pub(super) async fn give_back(&self, signed: &Signed) {
        let (sender, nonce) = (signed.sender, signed.transaction.nonce);
        let key = self.keyring.get(Account(sender.into_array()));
        if let Some(key) = key.filter(|_| self.nonces.is_waited_for(sender, nonce))
            && matches!(
                self.chain.submit(Signed::sign(filler(signed), key)).await,
                Ok(()) | Err(ChainError::NonceUsed(_))
            )
        {
            return;
        }
        self.nonces.release(sender, nonce);
    }

    /// The newest block whose facts are final; `None` while there is none.
    pub(super) async fn final_height(&self, tip: Tip) -> Result<Option<u64>, ChainError> {
        match self.profile.finality {
            Finality::Instant => Ok(Some(tip.number)),
            Finality::Depth(blocks) => Ok(tip.number.checked_sub(u64::from(blocks))),
            Finality::Tag => self.chain.finalized().await.map(Some),
            Finality::Safe => self.chain.safe().await.map(Some),
        }
    }

    /// The transaction of a step of the ladder, signed.
    fn raised(&self, plan: &Plan, step: u32) -> Option<Bytes> {
        let key = self.keyring.get(Account(plan.signed.sender.into_array()))?;
        Some(Signed::sign(plan.ladder().step(step)?, key))
    }

    /// Who may send what anyone may send, the one with the fewest open transactions first.
    async fn lanes_by_load(&self) -> Result<Vec<Account>, ChainError> {
        if let [only] = self.lanes.as_slice() {
            return Ok(vec![*only]);
        }
        let mut loads = Vec::with_capacity(self.lanes.len());
        for &lane in &self.lanes {
            let address = contract::address(lane);
            let mined = self.chain.nonce(address, At::Latest).await?;
            loads.push((self.nonces.open(address, mined), lane));
        }
        loads.sort_by_key(|(open, _)| *open);
        Ok(loads.into_iter().map(|(_, lane)| lane).collect())
    }

    /// Fixes the transaction of a call that anyone may send: by the first lane that can pay for it.
    pub(super) async fn intend_by_lane(
        &self,
        call: &(dyn Fn(Account) -> Result<Request, LedgerError> + Send + Sync),
    ) -> Result<Intent, LedgerError> {
        let mut refused = None;
        for lane in self.lanes_by_load().await.map_err(|error| self.error(error))? {
            let request = call(lane)?;
            match self.sign(&request).await {
                Ok(raw) => return Ok(Plan::encode(&raw, request.fee_limit)),
                // This lane may have no money; what only one account may send is not tried by another.
                Err(ChainError::Refused(reason)) if request.from == lane => refused = Some(reason),
                Err(error) => return Err(self.error(error)),
            }
        }
        Err(self.profile.refused(refused.unwrap_or_default()))
    }

    /// What the contracts' events say, if they say anything; and up to which block they are final.
    async fn look(&self, question: &Question<'_>) -> Result<(Option<Status>, Option<u64>), ChainError> {
        // The head first: a log that comes later is at most taken for less deep than it is.
        let final_height = self.final_height(self.chain.tip().await?).await?;
        let is_final = |block: u64| final_height.is_some_and(|height| block <= height);
        let txid = question.manifest.txid();
        let fact_of = |log: &Log| event::fact_of(txid, &self.profile.id, question.manifest, log).ok();
        let says = |log: &Log| fact_of(log).map_or(Answer::Unrelated, |fact| question.answer(&fact));
        let wanted = |log: &Log| says(log) != Answer::Unrelated;
        let from = contract::address(question.contract);
        let logs = self.chain.logs(from, contract::word(txid.0), &wanted).await?;
        let mut ruled_out = None;
        for logged in logs {
            let Some(fact) = fact_of(&logged.log) else { continue };
            match question.answer(&fact) {
                Answer::Done if is_final(logged.block) => {
                    return Ok((Some(Status::Final(self.evidence(fact, &logged))), final_height));
                }
                Answer::Done => return Ok((Some(Status::Pending), final_height)),
                Answer::RuledOut if is_final(logged.block) => {
                    let reason = format!("{fact:?} stands in block {}", logged.block);
                    ruled_out = Some(Status::Refused { reason });
                }
                Answer::RuledOut | Answer::Unrelated => {}
            }
        }
        Ok((ruled_out, final_height))
    }

    fn evidence(&self, fact: sofie_model::Fact, logged: &Logged) -> Evidence {
        Evidence {
            ledger: self.id(),
            fact,
            position: Position {
                height: logged.block,
                index: log_index(logged.index, logged.log_index),
                reference: Digest(logged.transaction.0),
            },
            at: Timestamp::from_seconds(logged.time),
        }
    }

    /// How our own try stands, when its operation's fact is not there.
    pub(super) async fn fate(&self, plan: &Plan, final_height: Option<u64>) -> Result<Status, ChainError> {
        let signed = &plan.signed;
        let (sender, nonce) = (signed.sender, signed.transaction.nonce);
        if self.chain.nonce(sender, At::Latest).await? <= nonce {
            return Ok(Status::Absent);
        }
        // The nonce first: if it is used by then and our transaction is not there after, another one took it.
        let used = match final_height {
            Some(height) => self.chain.nonce(sender, At::Block(height)).await?,
            None => 0,
        };
        let Some(height) = final_height.filter(|_| used > nonce) else {
            // Mined since the logs were read, or not deep enough to be sure by which transaction.
            return Ok(Status::Pending);
        };
        match self.searched(plan, height).await? {
            Some(mined) if mined.success || mined.block > height => Ok(Status::Pending),
            Some(mined) => {
                let why = self.would_refuse(signed).await;
                let reason = format!("transaction {} failed in block {}{why}", signed.hash, mined.block);
                Ok(Status::Refused { reason })
            }
            None => {
                let reason = format!("another transaction of {sender} took nonce {nonce}");
                Ok(Status::Displaced { reason })
            }
        }
    }

    /// Why the same call would fail now: the likely reason that it failed before. A chain does not keep the reason.
    async fn would_refuse(&self, signed: &Signed) -> String {
        let TxKind::Call(to) = signed.transaction.to else { return String::new() };
        let call = Call {
            from: signed.sender,
            to,
            value: signed.transaction.value,
            data: signed.transaction.input.clone(),
            gas: signed.transaction.gas_limit,
            max_fee: 0,
        };
        match self.chain.call(&call).await {
            Err(ChainError::Reverted(data)) => format!(": {}", refusal(&data)),
            _ => String::new(),
        }
    }
}

/// The base fee may fall again before the deadline.
fn too_dear(base_fee: u64, request: &Request) -> ChainError {
    let (limit, gas) = (request.fee_limit, request.gas);
    ChainError::Away(format!(
        "{gas} gas may cost {limit} wei (fee_limit), and the next block takes {base_fee} wei per gas at least"
    ))
}

#[async_trait]
impl Ledger for EvmLedger {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn intend(&self, operation: &Operation) -> Result<Intent, LedgerError> {
        self.intend_by_lane(&|lane| self.request(operation, lane)).await
    }

    async fn adopt(&self, intent: &Intent) -> Result<(), LedgerError> {
        let signed = self.read(intent)?.signed;
        let nonce = signed.transaction.nonce;
        let on_chain = self.chain.nonce(signed.sender, At::Latest).await.map_err(|e| self.error(e))?;
        if self.nonces.adopt(signed.sender, on_chain, nonce) {
            Ok(())
        } else {
            Err(self
                .profile
                .nonsense(format!("an intent with nonce {nonce}, and the chain counts {on_chain}")))
        }
    }

    async fn submit(&self, intent: &Intent) -> Result<(), LedgerError> {
        let (_, first) = split(intent).map_err(|why| self.profile.nonsense(why))?;
        // Read only when it must be: to recover who signed it costs more than all the rest.
        let (step, raw) = match self.replaced.step(&first) {
            0 => (0, first),
            step => (step, self.raised(&self.read(intent)?, step).unwrap_or(first)),
        };
        let taken = match self.own.take(&raw) {
            Some(sender) => self.chain.submit_own(raw, sender).await,
            None => self.chain.submit(raw).await,
        };
        match taken {
            Ok(()) => Ok(()),
            Err(error) => self.not_taken(&self.read(intent)?, step, error).await,
        }
    }

    async fn status(&self, operation: &Operation, intent: Option<&Intent>) -> Result<Status, LedgerError> {
        let question = self.site.question(&self.profile.id, operation).map_err(|reason| {
            LedgerError::Unsupported { ledger: self.id(), verb: operation.verb(), reason }
        })?;
        let (found, final_height) = self.look(&question).await.map_err(|error| self.error(error))?;
        match (found, intent) {
            (Some(status), _) => Ok(status),
            // Read only now: to recover who signed it costs more than all the rest.
            (None, Some(intent)) => {
                let plan = self.read(intent)?;
                self.fate(&plan, final_height).await.map_err(|error| self.error(error))
            }
            (None, None) => Ok(Status::Absent),
        }
    }

    async fn head(&self) -> Result<Head, LedgerError> {
        let tip = self.chain.tip().await.map_err(|error| self.error(error))?;
        Ok(Head { height: tip.number, time: Timestamp::from_seconds(tip.time) })
    }

    async fn prove(&self, manifest: &Manifest, facts: &[Evidence]) -> Result<Proof, LedgerError> {
        prove(&*self.chain, &self.profile.id, manifest, facts).await.map_err(|why| match why {
            Unprovable::Chain(error) => self.error(error),
            Unprovable::TooFar(reason) => self.profile.refused(reason),
            Unprovable::Gone(reason) => self.profile.nonsense(reason),
        })
    }

    fn treasury(&self) -> Option<&dyn Treasury> {
        Some(self)
    }
}

#[async_trait]
impl Treasury for EvmLedger {
    async fn balance(&self, account: Account) -> Result<u128, LedgerError> {
        self.chain.balance(contract::address(account)).await.map_err(|error| self.error(error))
    }

    async fn fees(&self, payers: &[Account], from: u64, to: u64) -> Result<u128, LedgerError> {
        if to.saturating_sub(from) > MAX_FEE_BLOCKS {
            return Err(self
                .profile
                .refused(format!("{from} to {to} are more than {MAX_FEE_BLOCKS} blocks")));
        }
        let mut sum = 0_u128;
        for number in from..=to {
            let block = self.chain.block(number).await.map_err(|error| self.error(error))?;
            let Some(block) = block else { break };
            let paid =
                block.payments.iter().filter(|(payer, _)| payers.contains(&Account(payer.into_array())));
            sum = paid.fold(sum, |sum, (_, fee)| sum.saturating_add(*fee));
        }
        Ok(sum)
    }
}
