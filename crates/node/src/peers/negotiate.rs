//! How a transaction of several nodes begins: this node answers proposals, and brings its own until every peer has
//! agreed. Nothing is locked before that, by this node.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use k256::ecdsa::VerifyingKey;
use sofie_audit::receipt::Sealed;
use sofie_market::ContractTerms;
use sofie_model::attestation::{recover, sign};
use sofie_model::manifest::Participant;
use sofie_model::{Account, Digest, LedgerId, Manifest, PublicKey, Signature, Txid, contract};
use sofie_transaction::Plan;

use super::envelope::keyid;
use super::judge::{Bench, Judged, payments};
use super::message::{Agreement, MAX_MESSAGE, Message, Opening, Reply, agreement, shortened};
use super::proposals::{Proposal, Proposals, Stand};
use super::{PeerError, Peers};
use crate::api::At;
use crate::auditor::Note;
use crate::clock;
use crate::config::Peer;
use crate::contracts;
use crate::drive::Handle;
use crate::journal::{Entry, JournalError};
use crate::openings;

/// The first wait before a proposal is made again.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How a proposal ends that nobody has decided in time.
pub(crate) const TOO_LATE: &str = "and it is too late now";
/// How a proposal ends that its own node took back.
pub(crate) const WITHDRAWN: &str = "its owner has withdrawn it";

impl Peers {
    /// Answers a proposal: by what was answered before, by what is declined always, then by the owner's rule.
    pub(super) async fn proposed(
        &self,
        peer: &Peer,
        manifest: Manifest,
        openings: Vec<Opening>,
        contract: Option<ContractTerms>,
    ) -> Result<Reply, JournalError> {
        let txid = manifest.txid();
        let _one_at_a_time = self.0.proposals.agreeing.lock().await;
        if let Some(state) = self.0.transactions.state(txid)? {
            return Ok(self.agreed(state.manifest()));
        }
        match self.0.proposals.get(txid).map(|kept| (kept.expired(clock::now()), kept.stand)) {
            Some((_, Stand::Declined { why, .. })) => return Ok(declined(&why)),
            Some((true, Stand::Theirs { .. })) => return Ok(declined("its deadline has passed")),
            Some((false, Stand::Theirs { .. })) => return Ok(waiting(txid)),
            Some((_, Stand::Ours | Stand::GivenUp { .. })) | None => {}
        }
        let judged = match self.judge(peer, &manifest, &openings, contract.as_ref()).await? {
            Ok(judged) => judged,
            Err(why) => {
                let note = Note::about(txid.0, "declined", false, format!("to peer {}: {why}", peer.name));
                self.0.auditor.keep(Vec::new(), vec![note], clock::now()).await?;
                return Ok(declined(&why));
            }
        };
        match judged.person.clone() {
            None => self.agree_to(peer, judged, openings, "by the owner's rule").await,
            Some(why) => self.ask_owner(peer, judged, openings, why).await,
        }
    }

    async fn judge(
        &self,
        peer: &Peer,
        manifest: &Manifest,
        openings: &[Opening],
        contract: Option<&ContractTerms>,
    ) -> Result<Result<Judged, String>, JournalError> {
        if self
            .0
            .proposals
            .agreed(&keyid(&peer.key), manifest.nonce)?
            .is_some_and(|txid| txid != manifest.txid())
        {
            // The same secret would open both: who learns it by the one could commit the other.
            return Ok(Err("another manifest of this nonce was agreed to; enquire with a new one".into()));
        }
        let Some(desk) = self.0.desk.get() else {
            return Ok(Err("this node is only starting".into()));
        };
        let bench = Bench {
            peer,
            desk,
            known: &|account| self.with_account(account).is_some(),
            parties: &self.0.parties,
            ledgers: self.0.executor.ledgers(),
            outstanding: self.outstanding(peer),
            now: clock::now(),
        };
        let judged = bench.judge(manifest, openings).await;
        Ok(match contract {
            Some(terms) => judged.and_then(|judged| self.judge_contract(peer, judged, terms)),
            None => judged,
        })
    }

    /// What this node's parties pay in all transactions with `peer` that have not ended.
    fn outstanding(&self, peer: &Peer) -> BTreeMap<LedgerId, u128> {
        let mut sums: BTreeMap<LedgerId, u128> = BTreeMap::new();
        for state in self.0.transactions.all_live().iter().map(Handle::state) {
            if !state.manifest().participants.iter().any(|one| peer.has(one.account)) {
                continue;
            }
            for (ledger, amount) in payments(state.manifest(), &self.0.parties) {
                let sum = sums.entry(ledger).or_default();
                *sum = sum.saturating_add(amount);
            }
        }
        sums
    }

    async fn ask_owner(
        &self,
        peer: &Peer,
        judged: Judged,
        openings: Vec<Opening>,
        why: String,
    ) -> Result<Reply, JournalError> {
        let (txid, now) = (judged.plan.manifest.txid(), clock::now());
        let stand = Stand::Theirs { peer: Digest(peer.key.to_bytes()), why: why.clone() };
        let proposal = Proposal { stand, plan: judged.plan, openings, contract: judged.contract };
        let Some(entries) = self.0.proposals.put(txid, proposal, now) else {
            return Ok(declined("too many of its proposals wait for this node's owner"));
        };
        let note = Note::about(txid.0, "proposed", true, format!("by peer {}: {why}", peer.name));
        self.0.auditor.keep(entries, vec![note], now).await?;
        Ok(waiting(txid))
    }

    /// Begins here, and says so. The caller holds the lock of the proposals.
    async fn agree_to(
        &self,
        peer: &Peer,
        Judged { plan, contract, .. }: Judged,
        shown: Vec<Opening>,
        by: &str,
    ) -> Result<Reply, JournalError> {
        let manifest = plan.manifest.clone();
        let txid = manifest.txid();
        let mut contract = match self.ready(contract) {
            Ok(contract) => contract,
            Err(why) => return Ok(declined(&why)),
        };
        let mut with = vec![
            Proposals::agreed_entry(&keyid(&peer.key), manifest.nonce, txid),
            Proposals::begun_entry(txid),
        ];
        with.extend(
            shown
                .into_iter()
                .map(|Opening { leg, salt, payload }| openings::entry(txid, leg, &Sealed { payload, salt })),
        );
        let mut notes = vec![Note::about(txid.0, "agreed", true, format!("with peer {}, {by}", peer.name))];
        with.append(&mut contract.entries);
        notes.append(&mut contract.notes);
        let handle = self.0.transactions.begin(plan, with, notes).await?;
        self.0.proposals.begun(txid);
        self.follow(handle);
        self.set_out(contract);
        Ok(self.agreed(&manifest))
    }

    /// The signatures of the participants whose keys are here.
    fn agreed(&self, manifest: &Manifest) -> Reply {
        let txid = manifest.txid();
        let signed = (0..).zip(&manifest.participants).filter_map(|(who, participant)| {
            let keys = self.0.parties.with_account(participant.account)?;
            Some(Agreement { who, signature: sign(agreement(txid), keys.secp256k1()) })
        });
        Reply::Agreed { txid, signatures: signed.collect() }
    }

    /// The owner's word on a proposal that waits for it; said again, it changes nothing. `None`: nothing of this name is
    /// known here. `Some(Err(_))` says why the word comes to nothing.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn decide(&self, txid: Txid, word: Word) -> Result<Option<Result<(), String>>, JournalError> {
        let _one_at_a_time = self.0.proposals.agreeing.lock().await;
        if self.0.transactions.state(txid)?.is_some() {
            let begun = "it has begun; it is for its decision ledger to say what becomes of it";
            return Ok(Some(if word == Word::Agree { Ok(()) } else { Err(begun.into()) }));
        }
        let Some(proposal) = self.0.proposals.get(txid) else { return Ok(None) };
        let (peer, why) = match (&proposal.stand, &word) {
            (Stand::Ours, Word::Withdraw(reason)) => {
                self.give_up(txid, proposal, with_reason(WITHDRAWN, reason)).await?;
                self.0.proposals.withdrawn.notify_waiters();
                return Ok(Some(Ok(())));
            }
            (Stand::GivenUp { .. }, Word::Withdraw(_)) => return Ok(Some(Ok(()))),
            (_, Word::Withdraw(_)) => {
                return Ok(Some(Err("another node proposes it: decline it in place of withdrawing".into())));
            }
            (Stand::Declined { .. }, Word::Decline(_)) => return Ok(Some(Ok(()))),
            (Stand::Declined { why, .. }, Word::Agree) => return Ok(Some(Err(why.clone()))),
            (Stand::GivenUp { why }, _) => return Ok(Some(Err(format!("it came to nothing: {why}")))),
            (Stand::Ours, _) => {
                let ours =
                    "this node proposes it: its peers decide; what is not wanted any more is withdrawn";
                return Ok(Some(Err(ours.into())));
            }
            (Stand::Theirs { peer, why }, _) => (*peer, why.clone()),
        };
        if proposal.expired(clock::now()) {
            return Ok(Some(Err(format!("its deadline {} has passed", At(proposal.plan.manifest.deadline)))));
        }
        let Some(peer) = self.with_key(peer.as_bytes()) else {
            return Ok(Some(Err("its peer is no longer in the configuration".into())));
        };
        match word {
            Word::Decline(reason) => {
                let told = with_reason("its owner has declined", &reason);
                let note = format!("to peer {}, which waited because {why}: {told}", peer.name);
                self.close(txid, proposal, peer, told, note).await?;
                Ok(Some(Ok(())))
            }
            // Time has passed: what was right to ask may be wrong to begin. To withdraw was answered above.
            Word::Agree | Word::Withdraw(_) => {
                let terms = proposal.contract.as_ref().and_then(contracts::Plan::terms);
                let manifest = &proposal.plan.manifest;
                match self.judge(peer, manifest, &proposal.openings, terms.as_ref()).await? {
                    Ok(judged) => {
                        match self.agree_to(peer, judged, proposal.openings, "by the owner").await? {
                            Reply::Declined { reason } => Ok(Some(Err(reason))),
                            _ => Ok(Some(Ok(()))),
                        }
                    }
                    Err(why) => Ok(Some(Err(why))),
                }
            }
        }
    }

    /// Closes a peer's proposal: it is declined from now on.
    async fn close(
        &self,
        txid: Txid,
        proposal: Proposal,
        peer: &Peer,
        why: String,
        note: String,
    ) -> Result<(), JournalError> {
        let now = clock::now();
        let stand = Stand::Declined { peer: Digest(peer.key.to_bytes()), why };
        let entries = self.0.proposals.put(txid, Proposal { stand, ..proposal }, now).unwrap_or_default();
        self.0.auditor.keep(entries, vec![Note::about(txid.0, "declined", false, note)], now).await
    }

    /// A peer takes back what it proposed and nobody here has agreed to. `None`: nothing of it waits.
    pub(super) async fn withdrawn(
        &self,
        peer: &Peer,
        txid: Txid,
        reason: &str,
    ) -> Result<Option<Reply>, JournalError> {
        let _one_at_a_time = self.0.proposals.agreeing.lock().await;
        let by = Digest(peer.key.to_bytes());
        let Some(proposal) = self.0.proposals.get(txid) else { return Ok(None) };
        match &proposal.stand {
            Stand::Theirs { peer: of, .. } if *of == by => {
                let why = format!("peer {} has withdrawn it: {}", peer.name, shortened(reason));
                self.close(txid, proposal, peer, why.clone(), why).await?;
                Ok(Some(Reply::Taken))
            }
            Stand::Declined { peer: of, .. } if *of == by => Ok(Some(Reply::Taken)),
            _ => Ok(None),
        }
    }

    /// What the party with this account, which lives at a peer, puts into a manifest of this nonce: its place among the
    /// participants, and its key for a hashlock leg.
    ///
    /// # Errors
    /// [`PeerError`]; nothing has changed then.
    pub async fn enquire(
        &self,
        account: Account,
        nonce: Digest,
    ) -> Result<(Participant, PublicKey), PeerError> {
        let peer = self.with_account(account).ok_or(PeerError::Nobody { account })?;
        let unwilling = |why| PeerError::Unwilling { peer: peer.name.clone(), verb: "enquire", why };
        match self.ask(peer, &Message::Enquire { nonce, party: account }).await? {
            Reply::Answer { account: said, hashlock, key } if said == account && opens(account, &key) => {
                Ok((Participant { account, hashlock }, PublicKey(key)))
            }
            Reply::Refused { reason } => Err(unwilling(shortened(&reason))),
            other => Err(unwilling(format!("with {}, which is no answer to it", other.word()))),
        }
    }

    /// Proposes `plan` to every peer where one of its participants lives, and begins once all have agreed: durably, so
    /// that a restart goes on with it. `with` and `notes` are kept in the same write.
    ///
    /// # Errors
    /// [`PeerError`] for a participant of no known node, and for what no message or no room here would hold; `Ok(Err(_))`
    /// when the journal does not take it.
    pub async fn propose(
        &self,
        plan: Plan,
        openings: Vec<Opening>,
        with: Vec<Entry>,
        notes: Vec<Note>,
    ) -> Result<Result<Txid, JournalError>, PeerError> {
        self.propose_with(plan, (openings, None), with, notes).await
    }

    /// As [`Peers::propose`], with the contract that begins with the transaction.
    pub(crate) async fn propose_with(
        &self,
        plan: Plan,
        (openings, contract): (Vec<Opening>, Option<contracts::Plan>),
        mut with: Vec<Entry>,
        mut notes: Vec<Note>,
    ) -> Result<Result<Txid, JournalError>, PeerError> {
        let asked = self.asked(&plan)?;
        let (txid, now) = (plan.manifest.txid(), clock::now());
        let proposal = Proposal { stand: Stand::Ours, plan, openings, contract };
        let got = message_of(&proposal).to_bytes().len();
        if got > MAX_MESSAGE {
            return Err(PeerError::TooLarge { got });
        }
        let entries = self.0.proposals.put(txid, proposal.clone(), now).ok_or(PeerError::TooMany)?;
        with.extend(entries);
        let names: Vec<_> = asked.iter().map(|peer| peer.name.as_str()).collect();
        notes.push(Note::about(txid.0, "proposed", true, format!("to {}", names.join(", "))));
        let kept = self.0.auditor.keep(with, notes, now).await;
        if kept.is_ok() {
            tokio::spawn(self.clone().negotiate(txid, proposal));
        }
        Ok(kept.map(|()| txid))
    }

    /// Goes on with this node's own proposals, and with the transactions of several nodes, after a restart.
    pub(crate) fn recover(&self) {
        for (txid, proposal) in self.0.proposals.all() {
            match proposal.stand.clone() {
                Stand::Ours => drop(tokio::spawn(self.clone().negotiate(txid, proposal))),
                // Whoever has heard it already takes it once more.
                Stand::GivenUp { why } if !proposal.expired(clock::now()) => {
                    drop(tokio::spawn(self.clone().tell_off(proposal.plan, why)));
                }
                _ => {}
            }
        }
        for handle in self.0.transactions.all_live() {
            self.follow(handle);
        }
        for handle in self.0.contracts.all_live() {
            self.accompany(handle);
        }
    }

    /// The peers of the participants that this node does not act for.
    fn asked(&self, plan: &Plan) -> Result<Vec<Peer>, PeerError> {
        let mut asked: Vec<Peer> = Vec::new();
        for (who, participant) in (0..).zip(&plan.manifest.participants) {
            if plan.acts_for.contains(&who) {
                continue;
            }
            let account = participant.account;
            let peer = self.with_account(account).ok_or(PeerError::Nobody { account })?;
            if !asked.iter().any(|known| known.key == peer.key) {
                asked.push(peer.clone());
            }
        }
        Ok(asked)
    }

    async fn negotiate(self, txid: Txid, proposal: Proposal) {
        let asked = self.asked(&proposal.plan).unwrap_or_default();
        let answers = join_all(asked.iter().map(|peer| self.win(peer, &proposal))).await;
        let (plan, refused) = (proposal.plan.clone(), answers.into_iter().find_map(Result::err));
        let one_at_a_time = self.0.proposals.agreeing.lock().await;
        let stand = self.0.proposals.get(txid).map(|kept| kept.stand);
        let (done, farewell) = match (stand, refused) {
            // Its owner has withdrawn it meanwhile.
            (Some(Stand::GivenUp { why }), _) => (Ok(()), Some(why)),
            (_, Some(why)) => (self.give_up(txid, proposal, why.clone()).await, Some(why)),
            (_, None) => match self.begin_own(txid, &proposal).await {
                Ok(None) => (Ok(()), None),
                Ok(Some(why)) => (self.give_up(txid, proposal, why.clone()).await, Some(why)),
                Err(error) => (Err(error), None),
            },
        };
        drop(one_at_a_time);
        self.0.proposals.forget_word(txid);
        if let Err(error) = done {
            // The proposal is still in the journal: a restart goes on with it.
            tracing::error!(%error, %txid, "a proposal could not be brought to its end");
        } else if let Some(why) = farewell {
            // Only now: no proposal of it is on its way any more.
            self.tell_off(plan, why).await;
        }
    }

    /// Proposes until the peer agrees; an error says why it will not, or not in time.
    async fn win(&self, peer: &Peer, proposal: &Proposal) -> Result<(), String> {
        let manifest = &proposal.plan.manifest;
        let message = message_of(proposal);
        let mut pause = FIRST_PAUSE;
        loop {
            let why = match self.ask(peer, &message).await {
                Ok(Reply::Agreed { txid, signatures }) if txid == manifest.txid() => {
                    match all_signed(peer, manifest, &signatures) {
                        Ok(()) => return Ok(()),
                        Err(why) => why,
                    }
                }
                Ok(Reply::Declined { reason } | Reply::Refused { reason }) => {
                    return Err(format!("peer {} declines: {}", peer.name, shortened(&reason)));
                }
                Ok(Reply::Waiting { reason, .. }) => {
                    format!("peer {} waits: {}", peer.name, shortened(&reason))
                }
                Ok(other) => format!("peer {} answers a proposal with {}", peer.name, other.word()),
                Err(error) => error.to_string(),
            };
            self.0.proposals.hear(manifest.txid(), &peer.name, why.clone());
            if clock::now() + proposal.plan.decision_time > manifest.deadline {
                return Err(format!("{why}; {TOO_LATE}"));
            }
            let withdrawn = self.0.proposals.withdrawn.notified();
            if !self.0.proposals.is_ours(manifest.txid()) {
                return Err(WITHDRAWN.into());
            }
            // Another's withdrawal only makes it ask earlier.
            let _ = tokio::time::timeout(pause, withdrawn).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Begins what every peer has agreed to, or says why its contract cannot begin here any more. The caller holds the lock
    /// of the proposals.
    async fn begin_own(&self, txid: Txid, proposal: &Proposal) -> Result<Option<String>, JournalError> {
        let mut with = vec![Proposals::begun_entry(txid)];
        // After a restart it may have begun already.
        if self.0.transactions.state(txid)?.is_some() {
            self.0.auditor.keep(with, Vec::new(), clock::now()).await?;
            self.0.proposals.begun(txid);
            return Ok(None);
        }
        let mut contract = match self.ready(proposal.contract.clone()) {
            Ok(contract) => contract,
            Err(why) => return Ok(Some(why)),
        };
        let mut notes = vec![Note::about(txid.0, "agreed", true, "by every peer")];
        with.append(&mut contract.entries);
        notes.append(&mut contract.notes);
        let handle = self.0.transactions.begin(proposal.plan.clone(), with, notes).await?;
        self.0.proposals.begun(txid);
        self.follow(handle);
        self.set_out(contract);
        Ok(None)
    }

    /// It never begins: from here on that is durable. The caller holds the lock of the proposals.
    async fn give_up(&self, txid: Txid, proposal: Proposal, why: String) -> Result<(), JournalError> {
        let now = clock::now();
        let note = Note::about(txid.0, "declined", false, why.clone());
        let given_up = Proposal { stand: Stand::GivenUp { why }, ..proposal };
        let entries = self.0.proposals.put(txid, given_up, now).unwrap_or_default();
        self.0.auditor.keep(entries, vec![note], now).await
    }

    /// Who has agreed need not wait for the deadline to abort; who has not need not ask its owner any more. Said until it is
    /// heard, or until the deadline says the same.
    async fn tell_off(self, plan: Plan, why: String) {
        let asked = self.asked(&plan).unwrap_or_default();
        let farewell = self.farewell(&plan.manifest, &plan.acts_for, &why);
        let insist = async |peer: &Peer| {
            for message in &farewell {
                let mut pause = FIRST_PAUSE;
                while let Err(error) = self.ask(peer, message).await
                    && clock::now() < plan.manifest.deadline
                {
                    tracing::warn!(%error, "not heard");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        };
        join_all(asked.iter().map(insist)).await;
    }

    /// What those say for whom this node acts, and who never begin: why, and with a pivot that they sign ABORT, since nothing
    /// else ends it before G. Their secrets are safe: a proposal that is given up is never begun.
    fn farewell(&self, manifest: &Manifest, acts_for: &[u16], why: &str) -> Vec<Message> {
        let txid = manifest.txid();
        let withheld = |who: &u16| Message::Withheld { txid, who: *who, reason: shortened(why) };
        let told = acts_for.first().map(withheld);
        if manifest.pivot().is_none() {
            return told.into_iter().collect();
        }
        let digest = contract::abort_digest(manifest);
        let signed = |who: &u16| {
            let account = manifest.participants.get(usize::from(*who))?.account;
            let signature = Signature::by(self.0.parties.with_account(account)?.secp256k1(), digest);
            Some(Message::Renounced { txid, who: *who, signature })
        };
        told.into_iter().chain(acts_for.iter().filter_map(signed)).collect()
    }
}

/// The owner's word on a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// It shall begin.
    Agree,
    /// It shall not, for this reason, which the peer is told; it may be empty.
    Decline(String),
    /// What this node proposes itself shall not begin, for this reason, which the peers are told; it may be empty.
    Withdraw(String),
}

fn with_reason(what: &str, reason: &str) -> String {
    match shortened(reason) {
        reason if reason.is_empty() => what.to_owned(),
        reason => format!("{what}: {reason}"),
    }
}

fn message_of(proposal: &Proposal) -> Message {
    Message::Propose {
        manifest: Box::new(proposal.plan.manifest.clone()),
        openings: proposal.openings.clone(),
        contract: proposal.contract.as_ref().and_then(contracts::Plan::terms).map(Box::new),
    }
}

/// A peer learns that a person decides, and nothing of the owner's rule.
fn waiting(txid: Txid) -> Reply {
    Reply::Waiting { txid, reason: "its owner decides".into() }
}

/// Whether the compressed key is that of the account.
fn opens(account: Account, key: &[u8; 33]) -> bool {
    VerifyingKey::from_sec1_bytes(key).is_ok_and(|key| Account::from(&key) == account)
}

fn declined(why: &str) -> Reply {
    Reply::Declined { reason: shortened(why) }
}

/// Every participant of the peer has signed, each with its own key.
fn all_signed(peer: &Peer, manifest: &Manifest, signatures: &[Agreement]) -> Result<(), String> {
    let digest = agreement(manifest.txid());
    for (who, participant) in (0..).zip(&manifest.participants) {
        if !peer.has(participant.account) {
            continue;
        }
        let signed = signatures.iter().find(|signed| signed.who == who);
        let signer = signed.and_then(|signed| recover(digest, &signed.signature).ok());
        if signer != Some(participant.account) {
            return Err(format!("peer {} agrees without the signature of participant {who}", peer.name));
        }
    }
    Ok(())
}
