//! How a transaction of several nodes begins: this node answers proposals, and brings its own until every peer has
//! agreed. Nothing is locked before that, by this node.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use sofie_model::attestation::{recover, sign};
use sofie_model::manifest::Participant;
use sofie_model::{Account, Digest, LedgerId, Manifest, Txid};
use sofie_transaction::Plan;

use super::envelope::keyid;
use super::judge::{Bench, Judged, payments};
use super::message::{Agreement, Message, Opening, Reply, agreement};
use super::proposals::{Proposal, Proposals, Stand};
use super::{PeerError, Peers};
use crate::auditor::Note;
use crate::clock;
use crate::config::Peer;
use crate::drive::Handle;
use crate::journal::{Entry, JournalError};

/// The first wait before a proposal is made again.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Peers {
    /// Answers a proposal: by what was answered before, by what is declined always, then by the owner's rule.
    pub(super) async fn proposed(
        &self,
        peer: &Peer,
        manifest: Manifest,
        openings: Vec<Opening>,
    ) -> Result<Reply, JournalError> {
        let txid = manifest.txid();
        let _one_at_a_time = self.0.proposals.agreeing.lock().await;
        if let Some(state) = self.0.transactions.state(txid)? {
            return Ok(self.agreed(state.manifest()));
        }
        match self.0.proposals.get(txid).map(|waiting| waiting.stand) {
            Some(Stand::DeclinedHere) => return Ok(declined("its owner has declined")),
            Some(Stand::Theirs { why, .. }) => return Ok(Reply::Waiting { txid, reason: why }),
            Some(Stand::Ours) | None => {}
        }
        let judged = match self.judge(peer, &manifest, &openings).await? {
            Ok(judged) => judged,
            Err(why) => {
                let note = Note::about(txid.0, "declined", false, format!("to peer {}: {why}", peer.name));
                self.0.auditor.keep(Vec::new(), vec![note], clock::now()).await?;
                return Ok(declined(&why));
            }
        };
        match judged.person.clone() {
            None => self.agree_to(peer, judged.plan, "by the owner's rule").await,
            Some(why) => self.ask_owner(peer, judged, openings, why).await,
        }
    }

    async fn judge(
        &self,
        peer: &Peer,
        manifest: &Manifest,
        openings: &[Opening],
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
        let bench = Bench {
            peer,
            known: &|account| self.with_account(account).is_some(),
            parties: &self.0.parties,
            ledgers: self.0.executor.ledgers(),
            outstanding: self.outstanding(peer),
            now: clock::now(),
        };
        Ok(bench.judge(manifest, openings).await)
    }

    /// What this node's parties pay in all transactions with `peer` that have not ended.
    fn outstanding(&self, peer: &Peer) -> BTreeMap<LedgerId, u128> {
        let mut sums: BTreeMap<LedgerId, u128> = BTreeMap::new();
        for state in self.0.transactions.all_live().iter().map(Handle::state) {
            let theirs = |account| peer.parties.values().any(|known| *known == account);
            if !state.manifest().participants.iter().any(|one| theirs(one.account)) {
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
        let proposal = Proposal { stand, plan: judged.plan, openings };
        let Some(entries) = self.0.proposals.put(txid, proposal, now) else {
            return Ok(declined("too many proposals wait for this node's owner"));
        };
        let note = Note::about(txid.0, "proposed", true, format!("by peer {}: {why}", peer.name));
        self.0.auditor.keep(entries, vec![note], now).await?;
        Ok(Reply::Waiting { txid, reason: why })
    }

    /// Begins here, and says so. The caller holds the lock of the proposals.
    async fn agree_to(&self, peer: &Peer, plan: Plan, by: &str) -> Result<Reply, JournalError> {
        let manifest = plan.manifest.clone();
        let txid = manifest.txid();
        let with = vec![
            Proposals::agreed_entry(&keyid(&peer.key), manifest.nonce, txid),
            self.0.proposals.take(txid),
        ];
        let note = Note::about(txid.0, "agreed", true, format!("with peer {}, {by}", peer.name));
        let handle = self.0.transactions.begin(plan, with, vec![note]).await?;
        self.follow(handle);
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

    /// The owner's word on a proposal that waits for it: agrees or declines. `None`: none waits under this name.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn decide(&self, txid: Txid, agree: bool) -> Result<Option<Result<(), String>>, JournalError> {
        let _one_at_a_time = self.0.proposals.agreeing.lock().await;
        let Some(Proposal { stand: Stand::Theirs { peer, .. }, plan, openings }) = self.0.proposals.get(txid)
        else {
            return Ok(None);
        };
        let Some(peer) = self.with_key(peer.as_bytes()) else {
            return Ok(Some(Err("its peer is no longer in the configuration".into())));
        };
        if !agree {
            let proposal = Proposal { stand: Stand::DeclinedHere, plan, openings };
            let note = Note::about(txid.0, "declined", true, format!("to peer {}, by the owner", peer.name));
            let entries = self.0.proposals.put(txid, proposal, clock::now()).unwrap_or_default();
            self.0.auditor.keep(entries, vec![note], clock::now()).await?;
            return Ok(Some(Ok(())));
        }
        // Time has passed: what was right to ask may be wrong to begin.
        match self.judge(peer, &plan.manifest, &openings).await? {
            Ok(judged) => {
                self.agree_to(peer, judged.plan, "by the owner").await?;
                Ok(Some(Ok(())))
            }
            Err(why) => Ok(Some(Err(why))),
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
    ) -> Result<(Participant, [u8; 33]), PeerError> {
        let peer = self.with_account(account).ok_or(PeerError::Nobody { account })?;
        let unwilling = |why| PeerError::Unwilling { peer: peer.name.clone(), verb: "enquire", why };
        match self.ask(peer, &Message::Enquire { nonce, party: account }).await? {
            Reply::Answer { account: said, hashlock, key } if said == account => {
                Ok((Participant { account, hashlock }, key))
            }
            Reply::Refused { reason } => Err(unwilling(reason)),
            other => Err(unwilling(format!("it answers {other:?}"))),
        }
    }

    /// Proposes `plan` to every peer where one of its participants lives, and begins once all have agreed: durably, so
    /// that a restart goes on with it. `with` and `notes` are kept in the same write.
    ///
    /// # Errors
    /// [`PeerError::Nobody`] for a participant of no known node; `Ok(Err(_))` when the journal does not take it.
    pub async fn propose(
        &self,
        plan: Plan,
        openings: Vec<Opening>,
        mut with: Vec<Entry>,
        mut notes: Vec<Note>,
    ) -> Result<Result<Txid, JournalError>, PeerError> {
        let asked = self.asked(&plan)?;
        let (txid, now) = (plan.manifest.txid(), clock::now());
        let proposal = Proposal { stand: Stand::Ours, plan, openings };
        let Some(entries) = self.0.proposals.put(txid, proposal.clone(), now) else {
            let why = "too many proposals wait already".to_owned();
            return Err(PeerError::Unwilling { peer: asked[0].name.clone(), verb: "propose", why });
        };
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
            if proposal.stand == Stand::Ours {
                tokio::spawn(self.clone().negotiate(txid, proposal));
            }
        }
        for handle in self.0.transactions.all_live() {
            self.follow(handle);
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
        let done = match answers.into_iter().find_map(Result::err) {
            None => self.begin_own(txid, proposal.plan).await,
            Some(why) => self.give_up(txid, &proposal.plan, &asked, &why).await,
        };
        if let Err(error) = done {
            // The proposal is still in the journal: a restart goes on with it.
            tracing::error!(%error, %txid, "a proposal could not be brought to its end");
        }
    }

    /// Proposes until the peer agrees; an error says why it will not, or not in time.
    async fn win(&self, peer: &Peer, proposal: &Proposal) -> Result<(), String> {
        let manifest = &proposal.plan.manifest;
        let message =
            Message::Propose { manifest: Box::new(manifest.clone()), openings: proposal.openings.clone() };
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
                    return Err(format!("peer {} declines: {reason}", peer.name));
                }
                Ok(Reply::Waiting { reason, .. }) => {
                    format!("peer {} waits for its owner: {reason}", peer.name)
                }
                Ok(other) => format!("peer {} answers {other:?} to a proposal", peer.name),
                Err(error) => error.to_string(),
            };
            if clock::now() + proposal.plan.decision_time > manifest.deadline {
                return Err(format!("{why}; and it is too late now"));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn begin_own(&self, txid: Txid, plan: Plan) -> Result<(), JournalError> {
        let note = Note::about(txid.0, "agreed", true, "by every peer");
        let with = vec![self.0.proposals.take(txid)];
        // After a restart it may have begun already.
        if self.0.transactions.state(txid)?.is_some() {
            return self.0.auditor.keep(with, Vec::new(), clock::now()).await;
        }
        let handle = self.0.transactions.begin(plan, with, vec![note]).await?;
        self.follow(handle);
        Ok(())
    }

    /// Who has agreed need not wait for the deadline to abort.
    async fn give_up(&self, txid: Txid, plan: &Plan, asked: &[Peer], why: &str) -> Result<(), JournalError> {
        let note = Note::about(txid.0, "declined", false, why);
        self.0.auditor.keep(vec![self.0.proposals.take(txid)], vec![note], clock::now()).await?;
        let Some(who) = plan.acts_for.first() else { return Ok(()) };
        let message = Message::Withheld { txid, who: *who, reason: super::shortened(why) };
        // Said once: the deadline says the same.
        join_all(asked.iter().map(|peer| self.ask(peer, &message))).await;
        Ok(())
    }
}

fn declined(why: &str) -> Reply {
    Reply::Declined { reason: super::shortened(why) }
}

/// Every participant of the peer has signed, each with its own key.
fn all_signed(peer: &Peer, manifest: &Manifest, signatures: &[Agreement]) -> Result<(), String> {
    let digest = agreement(manifest.txid());
    for (who, participant) in (0..).zip(&manifest.participants) {
        if !peer.parties.values().any(|account| *account == participant.account) {
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
