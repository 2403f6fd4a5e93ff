//! One leg: which class of its ledger carries it, and on what terms.

use sofie_audit::receipt::Sealed;
use sofie_directory::canonical;
use sofie_model::attestation::{MAX_KEYS, Panel};
use sofie_model::manifest::{Dispute, EscrowTerms, HashlockTerms, OpenedBy, TransferTerms};
use sofie_model::{Account, Class, Finality, Leg, Salt, Terms, Timestamp, commitment};

use super::{Chance, Desk, Guest, Party, Refused, Site, ensure, random, refused, times};
use crate::api::{DraftDispute, DraftEvidence, DraftLeg, DraftOpener, LegKind, MAX_PAYLOAD};
use crate::config::finality_of;

/// Who pays whom how much.
struct Payment<'a> {
    from: Party<'a>,
    to: Party<'a>,
    amount: u128,
}

impl Desk {
    /// The leg of the manifest, and what opens its commitment if it is a record.
    pub(super) fn leg(
        &self,
        asked: &DraftLeg,
        (index, guests): (usize, &[Guest]),
        start: Timestamp,
        chance: Chance<'_>,
    ) -> Result<(Leg, Option<Sealed>), Refused> {
        let path = |field: &str| format!("legs[{index}].{field}");
        let site = self.site(&asked.ledger, &path("ledger"))?;
        let class = class(asked.kind, site, &path("kind"))?;
        belongs(asked, &path)?;
        let mut opening = None;
        let terms = match asked.kind {
            LegKind::Record => {
                let sealed = seal(asked, &path("payload"), chance)?;
                let commitment = commitment::commit(&sealed.salt, &sealed.payload);
                opening = Some(sealed);
                Terms::Record(commitment)
            }
            LegKind::Transfer => {
                let Payment { from, to, amount } = self.payment(asked, guests, &path)?;
                let (payer, payee) = (from.account(), to.account());
                Terms::Transfer(TransferTerms { contract: site.holder, payer, payee, amount })
            }
            LegKind::Escrow => Terms::Escrow(self.escrow(asked, guests, site, start, &path)?),
            LegKind::Hashlock => {
                Terms::Hashlock(hashlock(&self.payment(asked, guests, &path)?, asked, start))
            }
        };
        let leg = Leg {
            ledger: asked.ledger.clone(),
            class,
            finality: finality(asked, site, &path("finality"))?,
            required: asked.required.unwrap_or(true),
            terms,
            fee_limit: asked.fee_limit.map_or(site.fee_limit, |limit| limit.0),
        };
        Ok((leg, opening))
    }

    fn payment<'a>(
        &'a self,
        asked: &DraftLeg,
        guests: &'a [Guest],
        path: &dyn Fn(&str) -> String,
    ) -> Result<Payment<'a>, Refused> {
        let party = |name: &Option<String>, field: &str| {
            let name = name.as_deref().ok_or_else(|| missing(path(field), "a party's name"))?;
            self.party(guests, name, &path(field))
        };
        let amount = asked.amount.ok_or_else(|| missing(path("amount"), "how much is paid"))?;
        Ok(Payment { from: party(&asked.from, "from")?, to: party(&asked.to, "to")?, amount: amount.0 })
    }

    fn escrow(
        &self,
        asked: &DraftLeg,
        guests: &[Guest],
        site: &Site,
        start: Timestamp,
        path: &dyn Fn(&str) -> String,
    ) -> Result<EscrowTerms, Refused> {
        let Payment { from, to, amount } = self.payment(asked, guests, path)?;
        let evidence =
            asked.evidence.as_ref().ok_or_else(|| missing(path("evidence"), "whose word it pays for"))?;
        let (payer, payee) = (from.account(), to.account());
        Ok(EscrowTerms {
            contract: site.holder,
            payer,
            payee,
            amount,
            evidence_key: self.evidence_key(evidence, guests, [payer, payee], path)?,
            evidence_deadline: times::instant(evidence.until, start),
            submission_window: evidence.window.0,
            dispute: evidence.dispute.as_ref().map(|asked| self.dispute(asked, path)).transpose()?,
        })
    }

    /// Who may overrule the evidence.
    fn dispute(&self, asked: &DraftDispute, path: &dyn Fn(&str) -> String) -> Result<Dispute, Refused> {
        let arbiter = self.parties.account_called(&asked.arbiter);
        let unknown = || self.no_party(&asked.arbiter, &path("evidence.dispute.arbiter"));
        Ok(Dispute { arbiter: arbiter.ok_or_else(unknown)?, window: asked.window.0 })
    }

    /// Whose word the escrow takes: one party's, or that of the panel which it makes with others. `parties` pay and are paid.
    fn evidence_key(
        &self,
        asked: &DraftEvidence,
        guests: &[Guest],
        parties: [Account; 2],
        path: &dyn Fn(&str) -> String,
    ) -> Result<Account, Refused> {
        let first = self.party(guests, &asked.by, &path("evidence.by"))?.account();
        let (count, field) = (asked.others.len() + 1, path("evidence.threshold"));
        let cannot = || format!("so many of {count} cannot attest; 1 to {count} are expected");
        ensure(asked.threshold.is_none_or(|k| (1..=count).contains(&k.into())), &field, cannot)?;
        if count == 1 {
            return Ok(first);
        }
        ensure(count <= MAX_KEYS, path("evidence.others"), || {
            format!("{count} parties; at most {MAX_KEYS} attest together")
        })?;
        let mut keys = Vec::new();
        let named = asked.others.iter().enumerate();
        let named = named.map(|(index, name)| (path(&format!("evidence.others[{index}]")), name));
        for (field, name) in [(path("evidence.by"), &asked.by)].into_iter().chain(named) {
            let key = self.party(guests, name, &field)?.account();
            ensure(!parties.contains(&key), &field, || format!("{name} pays or is paid, and would attest"))?;
            ensure(!keys.contains(&key), &field, || format!("{name} attests already"))?;
            keys.push(key);
        }
        let threshold = asked.threshold.ok_or_else(|| missing(&field, "how many of them must attest"))?;
        Panel::new(threshold, keys)
            .map(|panel| panel.account())
            .map_err(|bad| refused(field, bad.to_string()))
    }
}

/// T_p stays zero where it is to be filled in.
fn hashlock(payment: &Payment<'_>, asked: &DraftLeg, start: Timestamp) -> HashlockTerms {
    HashlockTerms {
        payer: payment.from.account(),
        claimant: payment.to.account(),
        amount: payment.amount,
        timelock: asked.timelock.map_or_else(Timestamp::default, |when| times::instant(when, start)),
        payer_key: payment.from.key(),
        claimant_key: payment.to.key(),
        opened_by: asked.opened_by.map(|DraftOpener::Claimant| OpenedBy::Claimant),
    }
}

fn class(kind: LegKind, site: &Site, field: &str) -> Result<Class, Refused> {
    let wanted: &[Class] = match kind {
        LegKind::Transfer | LegKind::Escrow => &[Class::Verifying, Class::Escrow],
        LegKind::Hashlock => &[Class::Hashlock],
        LegKind::Record => &[Class::Record],
    };
    let had = &site.profile.classes;
    wanted.iter().copied().find(|class| had.contains(class)).ok_or_else(|| {
        let words = |classes: &[Class], and: &str| {
            classes.iter().map(ToString::to_string).collect::<Vec<_>>().join(and)
        };
        let (wanted, had) = (words(wanted, " or "), words(had, " and "));
        refused(field, format!("needs a ledger of class {wanted}; {} is {had}", site.profile.id))
    })
}

/// A field of another kind of leg is a mistake, not a thing to pass over.
fn belongs(asked: &DraftLeg, path: &dyn Fn(&str) -> String) -> Result<(), Refused> {
    let pays = asked.kind != LegKind::Record;
    for (field, there, belongs) in [
        ("from", asked.from.is_some(), pays),
        ("to", asked.to.is_some(), pays),
        ("amount", asked.amount.is_some(), pays),
        ("payload", asked.payload.is_some(), !pays),
        ("evidence", asked.evidence.is_some(), asked.kind == LegKind::Escrow),
        ("timelock", asked.timelock.is_some(), asked.kind == LegKind::Hashlock),
        ("opened_by", asked.opened_by.is_some(), asked.kind == LegKind::Hashlock),
    ] {
        ensure(belongs || !there, path(field), || format!("is no field of {}", noun(asked.kind)))?;
    }
    Ok(())
}

const fn noun(kind: LegKind) -> &'static str {
    match kind {
        LegKind::Transfer => "a transfer",
        LegKind::Escrow => "an escrow",
        LegKind::Hashlock => "a hashlock",
        LegKind::Record => "a record",
    }
}

fn seal(asked: &DraftLeg, field: &str, chance: Chance<'_>) -> Result<Sealed, Refused> {
    let payload = asked.payload.as_ref().ok_or_else(|| missing(field, "what is recorded"))?;
    let payload = canonical::text(payload).into_bytes();
    ensure(payload.len() <= MAX_PAYLOAD, field, || {
        format!("has {} bytes; at most {MAX_PAYLOAD} are taken: record a digest of it", payload.len())
    })?;
    Ok(Sealed { payload, salt: Salt::new(random(chance, field)?) })
}

fn finality(asked: &DraftLeg, site: &Site, field: &str) -> Result<Finality, Refused> {
    let own = site.profile.finality;
    let Some(text) = &asked.finality else { return Ok(own) };
    let wanted = finality_of(text).map_err(|why| refused(field, why))?;
    ensure(wanted == own, field, || {
        let (id, own) = (&site.profile.id, word(own));
        format!("{id} is configured as {own:?}: say that, or leave it out")
    })?;
    Ok(own)
}

fn word(finality: Finality) -> String {
    match finality {
        Finality::Instant => "instant".into(),
        Finality::Tag => "finalized".into(),
        Finality::Safe => "safe".into(),
        Finality::Depth(depth) => format!("depth:{depth}"),
    }
}

fn missing(field: impl Into<String>, what: &str) -> Refused {
    refused(field, format!("is missing: {what} is expected"))
}
