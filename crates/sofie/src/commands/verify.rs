//! `sofie verify`: a receipt, offline.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use sofie_access::verdict::Repeated;
use sofie_access::{Limits, Verdict as DoorVerdict};
use sofie_audit::publication::MAX_ROOTS;
use sofie_audit::receipt::MAX_RECEIPT;
use sofie_audit::{Anchors, Check, Outcome, Publication, Receipt, Report, Story, Verdict};
use sofie_model::canonical;
use sofie_model::proof::calendar::extension::MAX_EXTENSION;
use sofie_model::proof::calendar::{Extension, PublishedRoot};

use crate::cli::Verify;
use crate::failure::Failure;
use crate::input;
use crate::output::{self, Format};

/// The largest file of anchors.
const MAX_ANCHORS: usize = 1024 * 1024;
/// The largest file with a published root: a note with some witnesses' lines.
const MAX_ROOT: usize = 4096;
/// The check that this program adds: audit does not know what a capability is.
const CAPABILITY: &str = "capability";

pub(crate) fn run(args: &Verify) -> Result<ExitCode, Failure> {
    let bytes = input::read(&args.receipt, MAX_RECEIPT, "name the receipt's file")?;
    let anchors = args.anchors.as_deref().map(anchors).transpose()?;
    let publication = publication(args)?;
    let report = verify_under(&bytes, anchors.as_ref(), &publication);
    match args.output.output {
        Format::Json => output::json(&json!({
            "verdict": report.verdict(), "story": report.story, "transaction": report.txid,
            "anchors": report.anchors, "published": report.published, "checks": report.checks,
        })),
        Format::Text => print(&report),
    }
    Ok(match report.verdict() {
        Verdict::Refused(_) => ExitCode::FAILURE,
        Verdict::Verified | Verdict::ConsistentUnanchored => ExitCode::SUCCESS,
    })
}

/// Verifies a receipt with everything that this program knows.
pub(crate) fn verify(bytes: &[u8], anchors: Option<&Anchors>) -> Report {
    verify_under(bytes, anchors, &Publication::default())
}

fn verify_under(bytes: &[u8], anchors: Option<&Anchors>, publication: &Publication) -> Report {
    // The contracts' bytecode is in this program, and CREATE2 puts it at the same address on every chain.
    let mut known = anchors.cloned();
    if let Some(known) = &mut known {
        known.know_contracts(
            sofie_ledgers::evm::contracts::DECISION.address,
            sofie_ledgers::evm::contracts::ESCROW.address,
        );
    }
    let mut report = sofie_audit::verify_under(bytes, known.as_ref(), publication);
    if let Ok(receipt) = Receipt::from_bytes(bytes) {
        report.set(capability(&receipt, known.as_ref()));
    }
    report
}

fn capability(receipt: &Receipt, anchors: Option<&Anchors>) -> Check {
    let check = |outcome, reason: String| Check { name: CAPABILITY.into(), outcome, reason };
    let Some(shown) = &receipt.body.capability else {
        return check(Outcome::Absent, "no device was told".into());
    };
    let verdict: DoorVerdict = match canonical::decode(&shown.verdict, shown.verdict.len()) {
        Ok(verdict) => verdict,
        Err(error) => return check(Outcome::Failed, format!("the door's verdict: {error}")),
    };
    if verdict.request.transaction != Some(receipt.body.txid) {
        return check(Outcome::Failed, "the door's verdict is about another transaction".into());
    }
    let found = verdict.repeat(&shown.token, Limits::default());
    let Repeated::LetIn(view) = found else {
        return check(Outcome::Failed, format!("decided again, the door does not open: {found:?}"));
    };
    if let Err(why) = as_agreed(receipt, &verdict, &view) {
        return check(Outcome::Failed, why);
    }
    let owner = verdict.owner;
    match anchors.and_then(|anchors| anchors.keys.get(&verdict.audience)) {
        Some(key) if *key == owner.0 => {
            check(Outcome::Passed, format!("{} granted it, with the pinned key", verdict.audience))
        }
        Some(key) => {
            check(Outcome::Failed, format!("{} has key {key}, the grant is by {}", verdict.audience, owner.0))
        }
        None => check(
            Outcome::Unanchored,
            format!("granted by key {} of {}, which is not pinned", owner.0, verdict.audience),
        ),
    }
}

/// The door let in what was agreed, and nothing else.
fn as_agreed(receipt: &Receipt, verdict: &DoorVerdict, view: &sofie_access::View) -> Result<(), String> {
    let Some(sealed) = &receipt.body.agreement else {
        return Err("no agreement says what was granted".into());
    };
    let agreed: sofie_audit::Agreement = canonical::decode(&sealed.payload, sealed.payload.len())
        .map_err(|e| format!("the agreement: {e}"))?;
    let told_at = receipt.body.actuation.as_ref().map(|told| told.told_at);
    if verdict.request.thing != agreed.thing || verdict.request.affordance.name() != agreed.action {
        return Err(format!(
            "the door was asked for {} of {}",
            verdict.request.affordance, verdict.request.thing
        ));
    }
    if view.transactions != [receipt.body.txid] {
        return Err("the grant is not for this transaction alone".into());
    }
    if told_at.is_some_and(|told_at| told_at > verdict.at) {
        return Err("the door decided before the device was to be told".into());
    }
    Ok(())
}

pub(crate) fn anchors(file: &Path) -> Result<Anchors, Failure> {
    let text = input::text(file, MAX_ANCHORS, "name the anchors' file")?;
    let next = "docs/adr/0004-receipt-format.md shows the format";
    Anchors::parse(&text)
        .map_err(|e| Failure::usage(&format!("read the anchors {}", file.display()), e, next))
}

fn publication(args: &Verify) -> Result<Publication, Failure> {
    for (what, files) in [("--published", &args.published), ("--extension", &args.extension)] {
        if files.len() > MAX_ROOTS {
            let why = format!("{what} is there {} times, at most {MAX_ROOTS} are taken", files.len());
            return Err(Failure::usage("verify the receipt", why, "verify it under some of them at a time"));
        }
    }
    Ok(Publication {
        roots: args.published.iter().map(|file| root(file)).collect::<Result<_, _>>()?,
        extensions: args.extension.iter().map(|file| extension(file)).collect::<Result<_, _>>()?,
    })
}

/// A published root, as it was printed or copied.
pub(crate) fn root(file: &Path) -> Result<PublishedRoot, Failure> {
    let next = "`sofie ledger published` prints one: three lines, and a signature that may be left out";
    let text = input::text(file, MAX_ROOT, next)?;
    text.parse().map_err(|e| Failure::usage(&format!("read the published root {}", file.display()), e, next))
}

fn extension(file: &Path) -> Result<Extension, Failure> {
    let next = "`sofie ledger extend` writes one";
    let bytes = input::read(file, MAX_EXTENSION, next)?;
    Extension::from_bytes(&bytes)
        .map_err(|e| Failure::usage(&format!("read the extension {}", file.display()), e, next))
}

fn print(report: &Report) {
    for check in &report.checks {
        let mark = match check.outcome {
            Outcome::Passed => "✓",
            Outcome::Failed => "✗",
            Outcome::Unanchored => "?",
            Outcome::Absent => "-",
        };
        output::line(&format!("{mark} {:<24} {}", check.name, check.reason));
    }
    let story = match report.story {
        Some(Story::Settled) => "settled: the payee is paid",
        Some(Story::Penalised) => "penalised: the payer has the money back, and the owner's stake",
        Some(Story::Refunded) => "refunded: the payer has the money back",
        Some(Story::Overruled) => "overruled by the arbiter: the payer has the money back",
        Some(Story::Committed) => "committed",
        Some(Story::Aborted) => "aborted: nothing took effect",
        None => "no decision is proven",
    };
    for one in &report.published {
        let checks = one.checks.join(", ");
        output::line(&format!("by the published root of {}, not by its key: {checks}", one.log));
    }
    match report.verdict() {
        Verdict::Verified => output::line(&format!("verified: {story}")),
        Verdict::ConsistentUnanchored => output::line(&format!("consistent, anchors not pinned: {story}")),
        Verdict::Refused(reasons) => output::line(&format!("refused: {}", reasons.join("; "))),
    }
}
