//! `sofie ledger published` and `sofie ledger extend`: roots of calendars' seconds, and what puts a receipt under one.
//! What the node says is checked before it is printed or written.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use sofie_audit::Receipt;
use sofie_audit::receipt::MAX_RECEIPT;
use sofie_model::calendar::LogKey;
use sofie_model::proof::calendar::{Checkpoint, Extension, LogProof, PublishedRoot};
use sofie_model::{LedgerId, Proof};
use sofie_node::api::PublishedSeconds;

use super::nouns::{keep, show};
use super::verify;
use crate::cli::Node;
use crate::client::{Client, url_segment};
use crate::failure::Failure;
use crate::{input, output};

/// Prints the root, as it is to be printed.
pub(crate) async fn print(
    client: &Client,
    node: &Node,
    ledger: &LedgerId,
    size: Option<u64>,
) -> Result<ExitCode, Failure> {
    let query = size.map(|size| format!("?size={size}")).unwrap_or_default();
    let path = format!("/api/v1/calendars/{}/published{query}", url_segment(ledger.as_str()));
    let root: PublishedSeconds = client.get(&path).await?;
    genuine(&root).map_err(|why| {
        let tried = format!("print the published root of {ledger}");
        Failure::refused(&tried, format!("what the node answers does not count: {why}"), "see its log")
    })?;
    show(node, &root, || output::line(root.note.trim_end()));
    Ok(ExitCode::SUCCESS)
}

/// A note that the log's own key signed, and nothing else.
fn genuine(root: &PublishedSeconds) -> Result<(), String> {
    let log: LogKey = root.log.parse().map_err(|_| "it names no log's key".to_owned())?;
    let seconds = Checkpoint::verify(&root.note, &log.key).map_err(|e| e.to_string())?;
    let expected = PublishedRoot { log: log.origin, size: root.size, root: root.root };
    match PublishedRoot::of(&seconds) {
        Some(signed) if signed == expected => Ok(()),
        _ => Err("the note says something else than the answer".into()),
    }
}

/// Writes what puts the receipt under the root in the file.
pub(crate) async fn extend(
    client: &Client,
    node: &Node,
    receipt: &Path,
    root: &Path,
    file: &Path,
) -> Result<ExitCode, Failure> {
    let published = verify::root(root)?;
    let next = "name the receipt's file";
    let bytes = input::read(receipt, MAX_RECEIPT, next)?;
    let tried = format!("extend {}", receipt.display());
    let read = Receipt::from_bytes(&bytes).map_err(|e| Failure::usage(&tried, e, next))?;
    let (ledger, proof, head) = of_log(&read, &published.log).ok_or_else(|| {
        let why = format!("it has no proof of the log {}", published.log);
        Failure::refused(
            &tried,
            why,
            "take a root of the log that the receipt rests on; `sofie verify` names it",
        )
    })?;
    let (size, of, seconds) = (head.size, head.root, published.size);
    let ledger_segment = url_segment(ledger.as_str());
    let path =
        format!("/api/v1/calendars/{ledger_segment}/extension?size={size}&root={of}&seconds={seconds}");
    let answer = client.bytes(&path).await?;
    let lies = |why: String| {
        let next = "ask the node that keeps the log; if this is it, keep receipt, root and answer: it shows two histories";
        Failure::refused(
            &tried,
            format!("what the node answers does not lead to the published root: {why}"),
            next,
        )
    };
    let extension = Extension::from_bytes(&answer).map_err(|e| lies(e.to_string()))?;
    // Without the proof's own path, so that it is the extension which is checked.
    let alone = LogProof { published: None, ..proof.clone() };
    let under = alone.under(&published, &[extension]).map_err(|e| lies(e.to_string()))?;
    keep(file, &answer)?;
    let told = json!({
        "ledger": ledger, "log": published.log, "size": size, "seconds": seconds, "second": under.second, "file": file,
    });
    show(node, &told, || {
        output::line(&format!(
            "{size} entries of {ledger} stand under the published root of {seconds} seconds"
        ));
    });
    Ok(ExitCode::SUCCESS)
}

/// The receipt's proof of a log, and where it ends.
fn of_log<'a>(receipt: &'a Receipt, log: &str) -> Option<(&'a LedgerId, &'a LogProof, Checkpoint)> {
    receipt.body.proofs.iter().find_map(|one| {
        let Proof::Calendar(proof) = &one.proof else { return None };
        let head = proof.head().ok().filter(|head| head.origin == log)?;
        Some((&one.ledger, proof, head))
    })
}
