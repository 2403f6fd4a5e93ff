//! The door: decides about one request from its arguments alone.

use std::time::Duration;

use biscuit_auth::{
    AuthorizerBuilder, AuthorizerLimits,
    builder::{Fact, Term, fact},
};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use sofie_model::{Digest, Span, ThingId, Timestamp, Txid, canonical};

use crate::{
    Affordance, Book, Proof, PublicKey, Refusal, RevocationId, Revocations, View, caveat::number, token,
};

/// How much a door reads, follows, believes and remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest token, in bytes.
    pub max_bytes: usize,
    /// Most parts after the grant: narrowings and delegations.
    pub max_parts: usize,
    /// Most delegations, even where the grant allows more.
    pub max_delegations: usize,
    /// How far the holder's clock may differ from the door's, and so how long proofs are remembered.
    pub proof_window: Span,
    /// Most proofs remembered at one time.
    pub max_proofs: usize,
    /// Most counted token parts remembered at one time.
    pub max_counted: usize,
    /// How old a revocation list may be.
    pub revocations_for: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 4096,
            max_parts: 8,
            max_delegations: 4,
            proof_window: Span::from_seconds(30),
            max_proofs: 4096,
            max_counted: 65_536,
            revocations_for: Span::from_seconds(3600),
        }
    }
}

/// Most Datalog facts in an evaluation. The door states fewer than 40, and the profile derives none.
const ENGINE_FACTS: u64 = 64;
/// Most iterations of the Datalog engine. The profile has no rules: the first finds nothing new.
const ENGINE_ITERATIONS: u64 = 16;
/// A stop against a defect in the engine, far beyond what the profile's checks take (tens of microseconds). It is no
/// part of the decision: the profile itself bounds the work, by its few parts, caveats and choices.
const ENGINE_STOP: Duration = Duration::from_secs(10);

/// What a holder asks for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Request {
    /// On which thing.
    #[n(0)]
    pub thing: ThingId,
    /// What to do with it.
    #[n(1)]
    pub affordance: Affordance,
    /// SHA-256 of the input, byte for byte as it goes to the device; [`Digest::ZERO`] without one.
    #[n(2)]
    pub input: Digest,
    /// The transaction it is part of.
    #[n(3)]
    pub transaction: Option<Txid>,
}

impl Request {
    /// A request without input, outside any transaction.
    #[must_use]
    pub const fn new(thing: ThingId, affordance: Affordance) -> Self {
        Self { thing, affordance, input: Digest::ZERO, transaction: None }
    }

    /// What the holder signs of it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of("sofie.request.v1", &[&canonical::encode(self)])
    }
}

/// A request as it arrives.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    /// The capability.
    pub token: &'a [u8],
    /// What is asked for.
    pub request: &'a Request,
    /// The holder's signature over it.
    pub proof: Option<&'a Proof>,
}

/// The door of one owner's things.
#[derive(Debug, Clone)]
pub struct Door {
    owner: PublicKey,
    audience: String,
    limits: Limits,
}

impl Door {
    /// A door that obeys `owner` and answers to the name `audience` in proofs.
    #[must_use]
    pub fn new(owner: PublicKey, audience: &str, limits: Limits) -> Self {
        Self { owner, audience: audience.to_owned(), limits }
    }

    /// Whom the door obeys.
    #[must_use]
    pub const fn owner(&self) -> PublicKey {
        self.owner
    }

    /// The name that proofs must name.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Decides about one request, and writes it into the book if it is let in. Store the book, then act.
    ///
    /// # Errors
    /// The first [`Refusal`] in this order: the token, revocation, time, transaction, thing, operation, uses, proof,
    /// the Datalog engine's own verdict.
    pub fn admit(
        &self,
        presented: &Presented<'_>,
        revocations: &Revocations,
        book: &mut Book,
        now: Timestamp,
    ) -> Result<View, Refusal> {
        let read = token::read(presented.token, &self.owner, self.limits.max_bytes, self.limits.max_parts)?;
        let view = read.view(self.owner);
        let counted: Vec<_> = view.uses.iter().map(|(part, _)| view.revocation_ids[*part]).collect();
        self.depth(&view)?;
        self.revoked(&view, revocations, now)?;
        in_time(&view, now)?;
        for_this(&view, presented.request)?;
        uses(&view, book)?;
        let proof = self.proven(&view, presented, now)?;
        let name = proof.name(&view.holder);
        book.allows(proof.at, name, &counted, &self.limits, now)?;
        checks(&read, facts(&view, presented.request, book, now))?;
        book.write(proof.at, name, &counted, read.grant.expires);
        Ok(view)
    }

    fn depth(&self, view: &View) -> Result<(), Refusal> {
        let got = view.passed_on_by.len();
        let granted = usize::try_from(view.delegations).unwrap_or(usize::MAX);
        let limit = granted.min(self.limits.max_delegations);
        if got <= limit { Ok(()) } else { Err(Refusal::TooDeep { what: "delegations", got, limit }) }
    }

    fn revoked(&self, view: &View, revocations: &Revocations, now: Timestamp) -> Result<(), Refusal> {
        let issued_at = revocations.issued_at();
        let stale = |why| Err(Refusal::StaleRevocations { issued_at, now, why });
        if revocations.owner() != self.owner {
            return stale("it is another owner's");
        }
        if issued_at > now + self.limits.proof_window {
            return stale("it is from the future");
        }
        if issued_at + self.limits.revocations_for < now {
            return stale("it is too old");
        }
        match view.revocation_ids.iter().position(|id| revocations.contains(*id)) {
            Some(index) => Err(Refusal::Revoked { index }),
            None => Ok(()),
        }
    }

    fn proven<'a>(
        &self,
        view: &View,
        presented: &Presented<'a>,
        now: Timestamp,
    ) -> Result<&'a Proof, Refusal> {
        let holder = view.holder;
        let proof = presented.proof.ok_or(Refusal::ProofMissing { holder })?;
        if !proof.verify(&holder, &self.audience, presented.token, presented.request) {
            return Err(Refusal::ProofWrong { holder });
        }
        let window = self.limits.proof_window;
        if proof.at.since(now) > window || now.since(proof.at) > window {
            return Err(Refusal::ProofStale { at: proof.at, now, window });
        }
        Ok(proof)
    }
}

/// The token's own verdict: its checks, by an engine that is not ours.
fn checks(read: &token::Read, facts: Vec<Fact>) -> Result<(), Refusal> {
    let limits = AuthorizerLimits {
        max_facts: ENGINE_FACTS,
        max_iterations: ENGINE_ITERATIONS,
        max_time: ENGINE_STOP,
    };
    let decide = || {
        let mut authorizer = AuthorizerBuilder::new().set_limits(limits).policy("allow if true")?;
        for fact in facts {
            authorizer = authorizer.fact(fact)?;
        }
        authorizer.build(&read.biscuit)?.authorize()
    };
    decide()
        .map(|_| ())
        .map_err(|error| Refusal::Checks { why: error.to_string().chars().take(240).collect() })
}

fn in_time(view: &View, now: Timestamp) -> Result<(), Refusal> {
    if now < view.not_before {
        return Err(Refusal::NotYet { not_before: view.not_before, now });
    }
    if now >= view.expires {
        return Err(Refusal::Expired { expires: view.expires, now });
    }
    Ok(())
}

fn for_this(view: &View, request: &Request) -> Result<(), Refusal> {
    if let Some(granted) = view.transactions.iter().find(|txid| request.transaction != Some(**txid)) {
        return Err(Refusal::OtherTransaction { granted: *granted });
    }
    if !view.things.contains(&request.thing) {
        return Err(Refusal::OtherThing { asked: request.thing.clone() });
    }
    if !view.affordances.contains(&request.affordance) {
        return Err(Refusal::OtherAffordance { asked: request.affordance.clone() });
    }
    Ok(())
}

fn uses(view: &View, book: &Book) -> Result<(), Refusal> {
    for (part, limit) in &view.uses {
        let used = book.used(view.revocation_ids[*part]);
        if used >= *limit {
            return Err(Refusal::UsedUp { used, limit: *limit });
        }
    }
    Ok(())
}

/// What the door states to the token's checks.
fn facts(view: &View, request: &Request, book: &Book, now: Timestamp) -> Vec<Fact> {
    let text = |name: &str, text: &str| fact(name, &[Term::Str(text.to_owned())]);
    let used = |id: RevocationId| number(book.used(id));
    let mut facts = vec![
        fact("time", &[number(now.as_millis())]),
        text("thing", request.thing.as_str()),
        text("affordance", &request.affordance.to_string()),
        fact("delegated", &[number(view.passed_on_by.len() as u64)]),
    ];
    facts.extend(request.transaction.map(|txid| fact("transaction", &[Term::Bytes(txid.0.0.to_vec())])));
    let speakers = view.passed_on_by.iter().chain([&view.holder]);
    facts.extend(speakers.map(|key| fact("speaks_for", &[Term::Bytes(key.0.0.to_vec())])));
    let counted = view.uses.iter().map(|(part, _)| (*part, view.revocation_ids[*part]));
    facts.extend(counted.map(|(part, id)| fact("used", &[number(part as u64), used(id)])));
    facts
}
