//! The node's answers: [`Federation`], made of the rooms that run inside it.

mod measures;
mod offers;
mod outlook;
mod parties;
mod peers;
mod submit;
mod things;
pub(crate) mod view;
mod watch;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use sofie_directory::discovery::Resources;
use sofie_ledgers::{Ledger, LedgerError};
use sofie_model::ruling::SignedRuling;
use sofie_model::{Account, Digest, LedgerId, ThingId, Txid};

use crate::api::{
    AgreeToOffer, Amount, ApiError, AskedLinks, At, Balances, BringEvidence, Claim, Contract, Description,
    Draft, ErrorKind, Events, Federation, Fees, Holder, Introspected, JoinPlatform, LedgerStatus, Neighbours,
    Offer, Offers, OpenContract, Page, PageRequest, Party, Platform, Probed, PropertyReading, PublishOffer,
    Put, Rule, SignRuling, Status, Steps, ThingEvents, Transaction, WriteProperty, Written,
};
use crate::clock;
use crate::contracts::{NoRuling, Refused};
use crate::drafts;
use crate::drive::Machine;
use crate::journal::JournalError;
use crate::peers::{Incoming, Outgoing, Pending, Word};
use crate::platforms::PlatformError;
use crate::readings::Reading;
use crate::runtime::Runtime;
use crate::seats::SeatCall;

/// No longer range of blocks is asked for fees.
const MAX_FEE_RANGE: u64 = 100_000;

#[async_trait]
impl Federation for Runtime {
    async fn ready(&self) -> Result<(), ApiError> {
        for (id, ledger) in self.ledgers().iter().filter(|(_, ledger)| ledger.profile().decides) {
            ledger.head().await.map_err(|error| unavailable(id, &error))?;
            if let Some(why) = self.executor().quarantined(id) {
                let title = format!("ledger {id} is in quarantine");
                return Err(ApiError::new(ErrorKind::Unavailable, title, why)
                    .next("see what answers in its place, then resume what waits for it"));
            }
        }
        Ok(())
    }

    async fn status(&self) -> Result<Status, ApiError> {
        Ok(Status {
            name: self.config().node.name.to_string(),
            version: env!("CARGO_PKG_VERSION").into(),
            started_at: At(self.started_at()),
            console: self.console(),
            ledgers: self.ledgers_shown().await,
            webhooks: self.webhooks().shown(),
        })
    }

    async fn ledgers(&self) -> Result<Vec<LedgerStatus>, ApiError> {
        Ok(self.ledgers_shown().await)
    }

    async fn balances(&self, ledger: &LedgerId) -> Result<Balances, ApiError> {
        let found = self.ledger(ledger)?;
        let treasury = found.treasury().ok_or_else(|| no_money(ledger))?;
        let head = found.head().await.map_err(|error| unavailable(ledger, &error))?;
        let mut balances = BTreeMap::new();
        for party in self.parties().iter() {
            let held =
                treasury.balance(party.account()).await.map_err(|error| unavailable(ledger, &error))?;
            balances.insert(party.name().to_string(), Amount(held));
        }
        Ok(Balances { ledger: ledger.clone(), height: head.height, balances })
    }

    async fn fees(&self, ledger: &LedgerId, from: u64, to: u64) -> Result<Fees, ApiError> {
        let found = self.ledger(ledger)?;
        let treasury = found.treasury().ok_or_else(|| no_money(ledger))?;
        if to < from || to - from > MAX_FEE_RANGE {
            let detail = format!("blocks {from} to {to}; at most {MAX_FEE_RANGE} are looked at");
            return Err(ApiError::new(ErrorKind::Invalid, "no such range of blocks", detail));
        }
        let payers: Vec<_> = self.parties().iter().map(|party| party.account()).collect();
        let fees = treasury.fees(&payers, from, to).await.map_err(|error| unavailable(ledger, &error))?;
        Ok(Fees { fees: Amount(fees) })
    }

    async fn parties(&self) -> Result<Vec<Party>, ApiError> {
        let party =
            |keys: &crate::keys::PartyKeys| Party { name: keys.name().to_string(), account: keys.account() };
        Ok(self.parties().iter().map(party).collect())
    }

    async fn party(&self, name: &str) -> Result<Holder, ApiError> {
        parties::holder(self, name).await
    }

    async fn join_platform(&self, request: JoinPlatform) -> Result<Platform, ApiError> {
        self.platforms().join(&request).await.map_err(Into::into)
    }

    async fn introspect_platform(&self, request: JoinPlatform) -> Result<Introspected, ApiError> {
        self.platforms().introspect(&request).await.map_err(Into::into)
    }

    async fn read_property(
        &self,
        thing: &ThingId,
        property: &str,
        fresh: bool,
    ) -> Result<PropertyReading, ApiError> {
        let read = self.platforms().read(thing, property, fresh).await;
        let unread = |error| ApiError { title: "the property is not read".into(), ..ApiError::from(error) };
        let Reading { arrived, observation, .. } = read.map_err(unread)?;
        Ok(PropertyReading {
            thing: observation.thing,
            property: observation.property,
            value: observation.quantity.value,
            unit: observation.quantity.unit,
            observed_at: At(observation.observed_at),
            arrived: At(arrived),
            retained: observation.retained,
        })
    }

    async fn write_property(
        &self,
        thing: &ThingId,
        property: &str,
        request: WriteProperty,
    ) -> Result<Written, ApiError> {
        drafts::check_key(request.idempotency_key.as_deref())?;
        let written = self.platforms().write(thing, property, &request).await;
        written.map_err(|error| ApiError { title: "the property is not written".into(), ..error.into() })
    }

    async fn platforms(&self) -> Result<Vec<Platform>, ApiError> {
        Ok(self.platforms().list())
    }

    async fn probe_platform(&self, id: &str) -> Result<Probed, ApiError> {
        let probed = self.platforms().probe(id).await?;
        probed.ok_or_else(|| no_platform(id))
    }

    async fn platform(&self, id: &str) -> Result<Platform, ApiError> {
        let found = self.platforms().list().into_iter().find(|platform| platform.id == id);
        found.ok_or_else(|| no_platform(id))
    }

    async fn open_contract(&self, request: OpenContract) -> Result<Contract, ApiError> {
        let (key, digest) = (request.idempotency_key.as_deref(), drafts::digest_of_contract(&request));
        let begin = async { Ok(self.contracts().open(&request).await?) };
        let id = submit::once(self, key, digest, begin).await?;
        Federation::contract(self, id).await
    }

    async fn contracts(&self) -> Result<Vec<Contract>, ApiError> {
        let all = self.contracts().all()?;
        let begun = all.iter().map(|driven| Ok(view::contract(self, driven, self.steps(driven.id(), None)?)));
        let proposals = self.peers().proposals();
        proposals.iter().filter_map(|pending| self.contract_proposed(pending)).chain(begun).collect()
    }

    async fn contract(&self, id: Txid) -> Result<Contract, ApiError> {
        let Some(driven) = self.contracts().state(id)? else {
            let pending = self.peers().proposal(id);
            let shown = pending.and_then(|pending| self.contract_proposed(&pending));
            return shown.unwrap_or_else(|| Err(no_such("contract", id)));
        };
        Ok(view::contract(self, &driven, self.steps(id.0, None)?))
    }

    async fn contract_events(&self, id: Txid, after: Option<u64>) -> Result<Steps, ApiError> {
        Federation::contract(self, id).await?;
        Ok(view::follow(self.clone(), id, after.unwrap_or(0)).boxed())
    }

    async fn bring_evidence(&self, id: Txid, evidence: BringEvidence) -> Result<Contract, ApiError> {
        self.contracts().state(id)?.ok_or_else(|| no_such("contract", id))?;
        let reading = evidence.reading.map(|one| (one.observation, one.salt));
        let brought = self.contracts().bring(id, evidence.attestation, reading).await;
        brought.map_err(|why| {
            ApiError::new(ErrorKind::Refused, "the evidence does not count", why)
                .next("only the evidence key that the contract names can sign; see its sensor's owner")
        })?;
        Federation::contract(self, id).await
    }

    async fn dispute_contract(&self, id: Txid, claim: Claim) -> Result<Contract, ApiError> {
        self.contracts().state(id)?.ok_or_else(|| no_such("contract", id))?;
        self.contracts().dispute(id, &claim.reason).await.map_err(no_ruling)?;
        Federation::contract(self, id).await
    }

    async fn rule_on_contract(&self, id: Txid, rule: Rule) -> Result<Contract, ApiError> {
        self.contracts().state(id)?.ok_or_else(|| no_such("contract", id))?;
        self.contracts().rule(id, rule.ruling).await.map_err(no_ruling)?;
        Federation::contract(self, id).await
    }

    async fn sign_ruling(&self, asked: SignRuling) -> Result<SignedRuling, ApiError> {
        let arbiter = self.parties().account_called(&asked.arbiter);
        let arbiter = arbiter.ok_or_else(|| {
            let why = format!("this node has no party {:?}", asked.arbiter);
            ApiError::new(ErrorKind::NotFound, "no such party", why).next("list them with `sofie doctor`")
        })?;
        self.contracts().sign(arbiter, asked.ruling).map_err(no_ruling)
    }

    async fn receipt(&self, id: Txid) -> Result<Vec<u8>, ApiError> {
        let driven = self.contracts().state(id)?.ok_or_else(|| no_such("contract", id))?;
        if !driven.contract.ended() {
            let detail = format!("contract {id} has not ended: {}", view::next(&driven));
            return Err(
                ApiError::new(ErrorKind::Conflict, "no receipt yet", detail).next("follow its events")
            );
        }
        let name = id.to_string();
        let kept = self.journal().reader()?.fact(crate::receipts::KEPT, &name)?;
        kept.ok_or_else(|| {
            internal(&format!("contract {id} has ended, but its receipt is not in the journal"))
        })
    }

    async fn offers(&self) -> Result<Offers, ApiError> {
        Ok(offers::list(self).await)
    }

    async fn publish_offer(&self, offer: PublishOffer) -> Result<Offer, ApiError> {
        offers::publish(self, offer).await
    }

    async fn withdraw_offer(&self, id: Digest) -> Result<(), ApiError> {
        offers::withdraw(self, id).await
    }

    async fn agree_to_offer(&self, id: Digest, asked: AgreeToOffer) -> Result<Contract, ApiError> {
        offers::agree(self, id, asked).await
    }

    async fn cancel_contract(&self, id: Txid, reason: String) -> Result<Contract, ApiError> {
        offers::cancel(self, id, reason).await
    }

    async fn submit(&self, draft: Draft) -> Result<Transaction, ApiError> {
        submit::submit(self, draft).await
    }

    async fn transactions(&self) -> Result<Vec<Transaction>, ApiError> {
        let records = self.journal().reader()?.machines(<sofie_transaction::State as Machine>::KIND, true)?;
        let states = records.iter().rev().map(crate::transactions::replay);
        let begun = states.map(|state| self.transaction_shown(&state?));
        let proposals = self.peers().proposals();
        let waiting = proposals.iter().filter(|pending| self.transactions().live(pending.txid).is_none());
        waiting.map(|pending| self.proposal_shown(pending)).chain(begun).collect()
    }

    async fn transaction(&self, id: Txid) -> Result<Transaction, ApiError> {
        let Some(state) = self.transactions().state(id)? else {
            let pending = self.peers().proposal(id).ok_or_else(|| no_such("transaction", id))?;
            return self.proposal_shown(&pending);
        };
        let mut shown = self.transaction_shown(&state)?;
        shown.contract = self.contracts().state(id)?.is_some();
        submit::show_openings(self, &mut shown)?;
        Ok(shown)
    }

    async fn transaction_receipt(&self, id: Txid) -> Result<Vec<u8>, ApiError> {
        if self.contracts().state(id)?.is_some() {
            return Federation::receipt(self, id).await;
        }
        let state = self.transactions().state(id)?.ok_or_else(|| no_such("transaction", id))?;
        if !matches!(state.phase(), sofie_transaction::Phase::Done(_)) {
            let detail = format!("transaction {id} has not ended");
            return Err(ApiError::new(ErrorKind::Conflict, "no receipt yet", detail).next("ask again later"));
        }
        crate::receipts::of_transaction(self, &state).await.map_err(|why| {
            ApiError::new(ErrorKind::Unavailable, "no receipt now", why)
                .next("ask again once its ledgers answer")
        })
    }

    async fn resume(&self, id: Txid) -> Result<Transaction, ApiError> {
        let resumed = self.transactions().resume(id).await;
        resumed.map_err(|why| {
            ApiError::new(ErrorKind::Conflict, "it stays halted", why)
                .next("ask the operator of its decision ledger what happened there")
        })?;
        Federation::transaction(self, id).await
    }

    async fn manifest(&self, id: Txid) -> Result<Vec<u8>, ApiError> {
        let state = self.transactions().state(id)?.ok_or_else(|| no_such("transaction", id))?;
        Ok(sofie_model::canonical::encode(state.manifest().as_ref()))
    }

    async fn watch(&self, manifest: Vec<u8>) -> Result<Transaction, ApiError> {
        watch::watch(self, &manifest).await
    }

    async fn peers(&self) -> Result<Neighbours, ApiError> {
        Ok(peers::shown(self))
    }

    async fn peer_message(&self, message: Incoming) -> Result<Outgoing, ApiError> {
        self.peers().receive(message).await
    }

    async fn seat(&self, group: Digest, call: SeatCall) -> Result<Vec<u8>, ApiError> {
        self.seats().answer(group, call).await
    }

    async fn calendar_ask(&self, id: LedgerId, message: Incoming) -> Result<Outgoing, ApiError> {
        self.calendars().answer(&id, &self.peers().authority(), &message).await
    }

    async fn calendar_published(
        &self,
        id: LedgerId,
        size: Option<u64>,
    ) -> Result<crate::api::PublishedSeconds, ApiError> {
        self.calendars().published(&id, size).await
    }

    async fn calendar_extension(&self, id: LedgerId, to: crate::api::ExtendTo) -> Result<Vec<u8>, ApiError> {
        self.calendars().extension(&id, &to)
    }

    async fn decide_proposal(&self, id: Txid, word: Word) -> Result<Transaction, ApiError> {
        peers::decide(self.peers(), id, word).await?;
        Federation::transaction(self, id).await
    }

    async fn directory(&self) -> Result<Description, ApiError> {
        things::own(self)
    }

    async fn things(&self, page: PageRequest) -> Result<Page, ApiError> {
        Ok(things::page(self, page))
    }

    async fn search_things(&self, query: &str) -> Result<String, ApiError> {
        things::search(self, query).await
    }

    async fn directory_anchored(&self) -> Result<Vec<u8>, ApiError> {
        things::anchored(self).await
    }

    async fn directory_proof(&self, id: &ThingId) -> Result<Vec<u8>, ApiError> {
        things::proof(self, id)
    }

    async fn directory_entries(&self, after: Option<Digest>) -> Result<Vec<u8>, ApiError> {
        things::entries(self, after)
    }

    async fn thing_links(&self, asked: AskedLinks) -> Result<Resources, ApiError> {
        Ok(things::links(self, &asked))
    }

    async fn create_thing(&self, description: &str) -> Result<ThingId, ApiError> {
        things::create(self, description).await
    }

    async fn thing(&self, id: &ThingId) -> Result<Description, ApiError> {
        things::get(self, id)
    }

    async fn put_thing(&self, id: &ThingId, description: &str) -> Result<Put, ApiError> {
        things::put(self, id, description).await
    }

    async fn patch_thing(&self, id: &ThingId, patch: &str) -> Result<(), ApiError> {
        things::patch(self, id, patch).await
    }

    async fn delete_thing(&self, id: &ThingId) -> Result<(), ApiError> {
        things::delete(self, id).await
    }

    async fn thing_events(&self, after: Option<u64>) -> Result<ThingEvents, ApiError> {
        Ok(things::follow(self.clone(), after).boxed())
    }

    async fn events(&self, after: Option<u64>) -> Result<Events, ApiError> {
        Ok(crate::events::follow(self, after)?.boxed())
    }

    fn write_metrics(&self, out: &mut dyn Write) -> std::fmt::Result {
        measures::write(self, out)
    }
}

impl Runtime {
    fn transaction_shown(&self, state: &sofie_transaction::State) -> Result<Transaction, ApiError> {
        let steps = self.steps(state.txid().0, None)?;
        let mut shown =
            view::transaction(state, self.label(state.manifest()), &|account| self.called(account), steps);
        let running = !matches!(shown.phase.as_str(), "done" | "halted");
        if let Some(why) = self.transactions().quarantined(state).filter(|_| running) {
            shown.reason = Some(why);
            shown.next =
                "nothing on that ledger: see what answers in its place and mend it, then `sofie tx resume`"
                    .into();
        }
        for (id, slack) in self.slacks(state, clock::now()) {
            shown.legs[usize::from(id.0)].slack = Some(view::slack(&slack));
        }
        shown.watchers = self.peers().watchers_of(state)?;
        Ok(shown)
    }

    fn proposal_shown(&self, pending: &Pending) -> Result<Transaction, ApiError> {
        let steps = self.steps(pending.txid.0, None)?;
        Ok(view::proposal(pending, self.label(&pending.manifest), &|account| self.called(account), steps))
    }

    /// A contract that has not begun; `None` for a proposal that makes none.
    fn contract_proposed(&self, pending: &Pending) -> Option<Result<Contract, ApiError>> {
        let plan = pending.contract.as_ref()?;
        match self.steps(pending.txid.0, None) {
            Ok(steps) => view::proposed(self, pending, plan, steps).map(Ok),
            Err(error) => Some(Err(error.into())),
        }
    }

    /// A party's name, here or at a peer; else the account.
    fn called(&self, account: Account) -> String {
        self.peers().name_of(account).unwrap_or_else(|| self.parties().name_of(account))
    }

    async fn ledgers_shown(&self) -> Vec<LedgerStatus> {
        let mut shown = Vec::new();
        for configured in &self.config().ledgers {
            let Some(ledger) = self.ledgers().get(&configured.id) else { continue };
            let profile = ledger.profile();
            let head = ledger.head().await;
            let distrust = self.executor().quarantined(&configured.id);
            shown.push(LedgerStatus {
                id: configured.id.clone(),
                kind: configured.kind.as_str().into(),
                classes: profile.classes.clone(),
                log: self.calendars().log_of(&configured.id),
                height: head.as_ref().ok().map(|head| head.height),
                time: head.as_ref().ok().map(|head| At(head.time)),
                single_operator: profile.single_operator,
                ok: head.is_ok() && distrust.is_none(),
                error: distrust.or_else(|| head.err().map(|error| error.to_string())),
            });
        }
        shown
    }

    fn ledger(&self, id: &LedgerId) -> Result<&Arc<dyn Ledger>, ApiError> {
        self.ledgers().get(id).ok_or_else(|| {
            ApiError::new(ErrorKind::NotFound, "no such ledger", format!("this node has no ledger {id}"))
                .next("list them with GET /api/v1/status")
        })
    }
}

fn no_such(what: &str, id: Txid) -> ApiError {
    ApiError::new(ErrorKind::NotFound, format!("no such {what}"), format!("the journal holds no {what} {id}"))
        .next(format!("list them with GET /api/v1/{what}s"))
}

fn no_ruling(refused: NoRuling) -> ApiError {
    ApiError::new(ErrorKind::Refused, "nothing is overruled", refused.why).next(refused.next)
}

fn no_money(ledger: &LedgerId) -> ApiError {
    ApiError::new(
        ErrorKind::Conflict,
        "no money there",
        format!("{ledger} only records; nobody holds anything on it"),
    )
}

fn unavailable(ledger: &LedgerId, error: &LedgerError) -> ApiError {
    ApiError::new(ErrorKind::Unavailable, format!("ledger {ledger} does not answer"), error.to_string())
        .next("see whether it runs and is reached; sofie doctor tells more")
}

fn internal(error: &dyn std::fmt::Display) -> ApiError {
    ApiError::new(ErrorKind::Internal, "the node failed", error.to_string()).next("see its log")
}

impl From<JournalError> for ApiError {
    fn from(error: JournalError) -> Self {
        Self::new(ErrorKind::Unavailable, "the journal does not answer", error.to_string())
            .next("see the node's log; it stops when it cannot write")
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown { what, .. } => {
                Self::new(ErrorKind::NotFound, format!("no such {what}"), refused.to_string())
                    .next("name one that the node has")
            }
            Refused::Invalid { .. } => {
                Self::new(ErrorKind::Invalid, "the contract cannot be opened", refused.to_string())
                    .next("correct this field and ask again; nothing was begun")
            }
            Refused::TooMany => Self::new(ErrorKind::TooMany, "too many contracts run", refused.to_string())
                .next("open it once some have ended (`sofie contract ls`); nothing was begun"),
            Refused::Journal(error) => error.into(),
        }
    }
}

fn no_platform(id: &str) -> ApiError {
    let detail = format!("this node has joined no platform {id:?}");
    ApiError::new(ErrorKind::NotFound, "no such platform", detail)
        .next("list them with GET /api/v1/platforms")
}

impl From<PlatformError> for ApiError {
    fn from(error: PlatformError) -> Self {
        use sofie_adapters::AdapterError;
        if let PlatformError::Directory(error) = &error {
            return error.into();
        }
        let kind = match &error {
            PlatformError::NoOwner { .. } | PlatformError::NoThing { .. } => ErrorKind::NotFound,
            PlatformError::Adapter(AdapterError::NotThere { .. }) => ErrorKind::NotFound,
            PlatformError::Unwritten { conflict: false, .. } => ErrorKind::Refused,
            PlatformError::Unwritten { conflict: true, .. } => ErrorKind::Conflict,
            PlatformError::Joined { .. } => ErrorKind::Conflict,
            PlatformError::TooMany => ErrorKind::TooMany,
            PlatformError::Adapter(AdapterError::Transient { .. })
            | PlatformError::Anchor { .. }
            | PlatformError::Empty { .. } => ErrorKind::Unavailable,
            // Only at the start, so never by this way.
            PlatformError::Mapping { .. } => ErrorKind::Internal,
            PlatformError::Adapter(_) => ErrorKind::Invalid,
            PlatformError::Directory(_) => ErrorKind::Invalid,
            PlatformError::Journal(_) => ErrorKind::Unavailable,
        };
        Self::new(kind, "the platform or thing is not taken", error.to_string())
    }
}
