//! The ledger port over a group: all members are asked at once, and the first valid certificate decides, whoever showed it.
//!
//! `Refused` says that n − f members refuse, or that as many know of no COMMIT past T_D by their clocks: of them at least
//! f + 1 are honest, and without those no COMMIT finds its first quorum any more. The clock is the median of n − f
//! members', which lies between two honest ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use k256::ecdsa::SigningKey as AccountKey;
use sofie_model::proof::calendar::decision;
use sofie_model::proof::quorum::{QuorumProof, evidence};
use sofie_model::quorum::{Ask, Candidate, Certificate, Group, Kind, MAX_ASK, MAX_WORD, Word, check_site};
use sofie_model::{
    Account, Decide, Decision, Digest, Evidence, Finality, LedgerId, Manifest, Operation, Proof, Span,
    Timestamp, Txid, canonical,
};
use tokio::sync::mpsc;

use super::{BadMembers, MEDIA_TYPE, Seated, ask_path, clients, segments, word_path};
use crate::decide::{Participants, parts};
use crate::http::Client;
use crate::{Head, Intent, Ledger, LedgerError, Profile, Status};

/// Between two `status` calls: some rounds of messages.
const POLL: Span = Span::from_millis(100);
/// From `submit` until it is decided, some failed rounds included.
const INCLUSION: Span = Span::from_seconds(30);

/// What a group's ledger is opened with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Every member of the group.
    pub members: Vec<Seated>,
}

/// What a group's ledger is by itself.
#[must_use]
pub fn profile(id: LedgerId) -> Profile {
    Profile {
        id,
        classes: vec![],
        decides: true,
        finality: Finality::Instant,
        inclusion: INCLUSION,
        finalises: Span::ZERO,
        single_operator: false,
        poll: POLL,
    }
}

/// The ledger of one group.
pub struct Quorum {
    profile: Profile,
    group: Group,
    /// In the group's order.
    members: Vec<Client>,
    participants: Participants,
    /// The latest instant that was seen, in milliseconds: the head never goes back.
    latest: AtomicU64,
}

/// A member's answer, or what is wrong with it.
type Heard = Result<Word, String>;

impl Quorum {
    /// Makes the ledger; no member is asked yet, so that all of a group can start at once.
    ///
    /// # Errors
    /// [`BadMembers`].
    pub fn open(config: &Config, profile: Profile) -> Result<Self, BadMembers> {
        let group = super::group(&config.members)?;
        let members = clients(&group, &config.members, MAX_WORD)?;
        let (participants, latest) = (Participants::default(), AtomicU64::new(0));
        Ok(Self { profile, group, members, participants, latest })
    }

    /// Signs an early ABORT for these participants.
    #[must_use]
    pub fn acting_for(mut self, keys: impl IntoIterator<Item = AccountKey>) -> Self {
        self.participants = keys.into_iter().collect();
        self
    }

    /// What manifests name as D's contract.
    #[must_use]
    pub fn account(&self) -> Account {
        self.group.account()
    }

    /// n − f: so many answer while no more than f are away.
    fn enough(&self) -> usize {
        self.members.len() - self.group.faulty()
    }

    /// Asks every member at once; answers come in the order in which they arrive, each checked. A member that has been
    /// asked for a decision hears of it even when nobody waits for its answer any more.
    fn ask_all(&self, txid: Txid, ask: Option<&Arc<Vec<u8>>>) -> Result<mpsc::Receiver<Heard>, LedgerError> {
        let (sender, answers) = mpsc::channel(self.members.len());
        for (member, client) in (0_u8..).zip(&self.members) {
            let mut nonce = Digest::ZERO;
            getrandom::fill(&mut nonce.0).map_err(|error| self.profile.transient(error.to_string()))?;
            let (client, group, ask, sender) =
                (client.clone(), self.group.clone(), ask.cloned(), sender.clone());
            tokio::spawn(async move {
                let heard = question(&client, &group, (txid, &nonce), ask).await.and_then(|word| {
                    word.verify(&group, txid, &nonce)?;
                    if word.member == member {
                        Ok(word)
                    } else {
                        Err(format!("member {} answers", word.member))
                    }
                });
                // The receiver may have heard enough.
                let _ = sender.send(heard.map_err(|why| format!("{}: {why}", client.place()))).await;
            });
        }
        Ok(answers)
    }

    /// The certificate that a member shows of `manifest`. One that does not hold is that member's lie.
    fn shown(&self, manifest: &Manifest, word: &Word) -> Option<Certificate> {
        let certificate = word.decided.clone()?;
        match certificate.verify(&self.group, manifest, Kind::Precommit) {
            Ok(()) => Some(certificate),
            Err(why) => {
                tracing::warn!(ledger = %self.profile.id, member = word.member, %why, "a member shows a false certificate");
                None
            }
        }
    }

    /// Hears answers about a transaction until one decides it or `enough` of them are there.
    async fn hear(
        &self,
        manifest: &Manifest,
        mut answers: mpsc::Receiver<Heard>,
    ) -> Result<Found, LedgerError> {
        let mut words = Vec::new();
        let mut faults = Vec::new();
        while let Some(heard) = answers.recv().await {
            match heard {
                Ok(word) => {
                    if let Some(certificate) = self.shown(manifest, &word) {
                        let evidence = self.note(manifest, &certificate);
                        return Ok(Found::Decided(Box::new((evidence, certificate))));
                    }
                    words.push(word);
                }
                Err(why) => faults.push(why),
            }
            if words.len() >= self.enough() {
                return Ok(Found::Undecided(words));
            }
        }
        Err(self.away(words.len(), &faults))
    }

    fn away(&self, answered: usize, faults: &[String]) -> LedgerError {
        let (all, enough) = (self.members.len(), self.enough());
        self.profile.transient(format!(
            "{answered} of {all} members answer, {enough} are needed ({})",
            faults.join("; ")
        ))
    }

    /// Its evidence; the head is never behind it.
    fn note(&self, manifest: &Manifest, certificate: &Certificate) -> Evidence {
        let evidence = evidence(&self.profile.id, manifest, certificate);
        self.latest.fetch_max(evidence.at.as_millis(), Ordering::Relaxed);
        evidence
    }

    /// The decision's candidate, for a transaction whose D this group is.
    fn candidate<'a>(&self, operation: &'a Operation) -> Result<(&'a Arc<Manifest>, Candidate), LedgerError> {
        let unsupported = |reason: String| {
            let (ledger, verb) = (self.profile.id.clone(), operation.verb());
            LedgerError::Unsupported { ledger, verb, reason }
        };
        let Operation::Decide { manifest, decide } = operation else {
            return Err(unsupported("it takes decisions, and neither legs nor notes".into()));
        };
        let site = &manifest.decision.ledger;
        if *site != self.profile.id {
            return Err(unsupported(format!("D is {site}")));
        }
        check_site(manifest, &self.group).map_err(unsupported)?;
        let (decision, signatures) = parts(decide);
        Ok((manifest, Candidate { decision, signatures }))
    }

    /// Whether the rules are against it at every time, or now.
    async fn objection(
        &self,
        manifest: &Manifest,
        candidate: &Candidate,
    ) -> Result<Option<String>, LedgerError> {
        let at = |now| decision::check_rules(manifest, &candidate.decision, &candidate.signatures, now).err();
        match (at(Timestamp::default()), &candidate.decision) {
            // What is against an ABORT before G may pass.
            (Some(_), Decision::Abort { .. }) => Ok(at(self.head().await?.time)),
            (early, _) => Ok(early),
        }
    }

    fn read(&self, intent: &Intent) -> Result<Ask, LedgerError> {
        canonical::decode(&intent.0, MAX_ASK)
            .map_err(|error| self.profile.nonsense(format!("no intent of it: {error}")))
    }

    /// Whether it is sure that no COMMIT comes: n − f members know of none, and their clocks are past T_D.
    fn is_too_late(&self, manifest: &Manifest, words: &[Word]) -> bool {
        let last = manifest.deadline.as_seconds();
        let never = |word: &&Word| !word.said.commits && word.said.at.as_seconds() > last;
        words.iter().filter(never).count() >= self.enough()
    }
}

/// What a group says of a transaction.
enum Found {
    Decided(Box<(Evidence, Certificate)>),
    /// n − f answers without a decision.
    Undecided(Vec<Word>),
}

async fn question(
    client: &Client,
    group: &Group,
    (txid, nonce): (Txid, &Digest),
    ask: Option<Arc<Vec<u8>>>,
) -> Heard {
    let group = group.id();
    let answer = match ask {
        Some(body) => {
            client.post(&segments(&ask_path(&group, nonce)), MEDIA_TYPE, body.as_ref().clone()).await
        }
        None => client.get(&segments(&word_path(&group, txid, nonce))).await,
    };
    answer.map_err(|error| error.to_string())
}

#[async_trait]
impl Ledger for Quorum {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn intend(&self, operation: &Operation) -> Result<Intent, LedgerError> {
        let signed = self.participants.signed(operation);
        let (manifest, candidate) = self.candidate(&signed)?;
        if let Some(why) = self.objection(manifest, &candidate).await? {
            return Err(self.profile.refused(why));
        }
        Ok(Intent(canonical::encode(&Ask { manifest: manifest.as_ref().clone(), candidate })))
    }

    /// A decision has no nonce to keep: its transaction is its name.
    async fn adopt(&self, intent: &Intent) -> Result<(), LedgerError> {
        self.read(intent).map(drop)
    }

    /// Taken once a quorum took it, or when as many answered as will and f + 1 took it: one of them is honest, and
    /// tells the others.
    async fn submit(&self, intent: &Intent) -> Result<(), LedgerError> {
        let manifest = self.read(intent)?.manifest;
        let mut answers = self.ask_all(manifest.txid(), Some(&Arc::new(intent.0.clone())))?;
        let (mut taken, mut refusals, mut faults) = (0, Vec::new(), Vec::new());
        while let Some(heard) = answers.recv().await {
            match heard {
                Ok(word) if self.shown(&manifest, &word).is_some() => return Ok(()),
                Ok(Word { said, .. }) => match said.refused {
                    Some(why) => refusals.push(why),
                    None => taken += 1,
                },
                Err(why) => faults.push(why),
            }
            if taken >= self.group.quorum() {
                return Ok(());
            }
            if refusals.len() >= self.enough() {
                let (count, why) = (refusals.len(), refusals.swap_remove(0));
                return Err(self.profile.refused(format!("{count} members refuse: {why}")));
            }
        }
        let refused = refusals.len();
        faults.extend(refusals);
        match taken > self.group.faulty() {
            true => Ok(()),
            false => Err(self.away(taken + refused, &faults)),
        }
    }

    async fn status(&self, operation: &Operation, _: Option<&Intent>) -> Result<Status, LedgerError> {
        let (manifest, candidate) = self.candidate(operation)?;
        let answers = self.ask_all(manifest.txid(), None)?;
        let words = match self.hear(manifest, answers).await? {
            Found::Decided(found) => return Ok(Status::Final(found.0)),
            Found::Undecided(words) => words,
        };
        let Operation::Decide { decide: Decide::Commit { .. }, .. } = operation else {
            return Ok(Status::Absent);
        };
        Ok(match self.objection(manifest, &candidate).await? {
            Some(reason) => Status::Refused { reason },
            None if self.is_too_late(manifest, &words) => {
                let last = manifest.deadline.as_seconds();
                let reason = format!(
                    "the last second of a COMMIT was {last}, and {} members know of none",
                    words.len()
                );
                Status::Refused { reason }
            }
            None => Status::Absent,
        })
    }

    /// A group has no blocks: its height is its clock in seconds.
    async fn head(&self) -> Result<Head, LedgerError> {
        let nobody = Txid(Digest::ZERO);
        let mut answers = self.ask_all(nobody, None)?;
        let (mut clocks, mut faults) = (Vec::new(), Vec::new());
        while let Some(heard) = answers.recv().await
            && clocks.len() < self.enough()
        {
            match heard {
                Ok(word) => clocks.push(word.said.at),
                Err(why) => faults.push(why),
            }
        }
        if clocks.len() < self.enough() {
            return Err(self.away(clocks.len(), &faults));
        }
        clocks.sort_unstable();
        let median = clocks[(clocks.len() - 1) / 2].as_millis();
        // A decision's instant may lie ahead of the median, by the members' drift and no further.
        let time = Timestamp::from_millis(self.latest.fetch_max(median, Ordering::Relaxed).max(median));
        Ok(Head { height: time.as_seconds(), time })
    }

    async fn prove(&self, manifest: &Manifest, facts: &[Evidence]) -> Result<Proof, LedgerError> {
        let answers = self.ask_all(manifest.txid(), None)?;
        let Found::Decided(found) = self.hear(manifest, answers).await? else {
            return Err(self.profile.transient("the members that answer do not show the decision yet"));
        };
        let (evidence, certificate) = *found;
        match facts.iter().find(|fact| **fact != evidence) {
            Some(other) => {
                Err(self.profile.nonsense(format!("it holds {:?}, and not {:?}", evidence.fact, other.fact)))
            }
            None => Ok(Proof::Quorum(QuorumProof { group: self.group.clone(), certificate })),
        }
    }
}
