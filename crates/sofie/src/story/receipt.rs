//! A story's receipt: taken from the node, written with the anchors that this node vouches for, verified offline.

use std::path::{Path, PathBuf};

use sofie_audit::{Anchors, Outcome as Checked, Verdict};
use sofie_model::Digest;
use sofie_node::api::Party;
use sofie_node::config::Config;
use sofie_node::keys::PartyKeys;

use super::node::Node;
use super::report::ReportStep;
use super::teller::Teller;
use crate::client::Client;
use crate::commands::verify;
use crate::failure::Failure;

/// Where a receipt lies, and what `sofie verify` says of it.
pub(crate) struct Files {
    pub(crate) receipt: PathBuf,
    pub(crate) anchors: PathBuf,
    pub(crate) verdict: String,
    pub(crate) good: bool,
}

impl Files {
    /// The node could not make one.
    pub(crate) fn is_missing(&self) -> bool {
        self.receipt.as_os_str().is_empty()
    }

    /// The line that verifies it.
    pub(crate) fn command(&self) -> String {
        if self.is_missing() {
            return String::new();
        }
        format!("sofie verify {} --anchors {}", self.receipt.display(), self.anchors.display())
    }
}

/// Takes the receipt at `path` of the node, and writes it into `folder` under the first digits of `id`.
pub(crate) async fn take(
    node: &mut Node,
    folder: &Path,
    path: &str,
    id: &str,
    config: &Config,
    teller: &mut Teller,
) -> Result<Files, Failure> {
    let bytes = match node.ask(async |client: Client| client.bytes(path).await).await {
        Ok(bytes) => bytes,
        Err(why) if why.code() == 1 => return Ok(none(&why, teller)),
        Err(why) => return Err(why),
    };
    let parties: Vec<Party> = node.ask(async |client: Client| client.get("/api/v1/parties").await).await?;
    let anchors = anchors(&bytes, &parties, config)?;
    let receipt = folder.join(format!("receipt-{}.cbor", &id[..8]));
    let pinned = folder.join(format!("receipt-{}.anchors.toml", &id[..8]));
    let written = std::fs::write(&receipt, &bytes).and_then(|()| std::fs::write(&pinned, anchors.to_toml()));
    written.map_err(|e| Failure::lacking("write the receipt", e, "name a folder with --receipt-dir"))?;
    let report = verify::verify(&bytes, Some(&anchors));
    let passed = report.checks.iter().filter(|check| check.outcome == Checked::Passed).count();
    let (verdict, good) = match report.verdict() {
        Verdict::Verified => ("verified".to_owned(), true),
        Verdict::ConsistentUnanchored => ("consistent, anchors not pinned".to_owned(), false),
        Verdict::Refused(reasons) => (format!("refused: {}", reasons.join("; ")), false),
    };
    let step = ReportStep::own("verified", format!("{verdict}, {passed} checks passed"));
    teller.step(ReportStep { ok: good, ..step });
    Ok(Files { receipt, anchors: pinned, verdict, good })
}

/// A ledger cannot prove its part: the story says so.
fn none(why: &Failure, teller: &mut Teller) -> Files {
    let verdict = format!("no receipt: {}", why.text);
    teller.step(ReportStep { ok: false, ..ReportStep::own("receipt", verdict.clone()) });
    Files { receipt: PathBuf::new(), anchors: PathBuf::new(), verdict, good: false }
}

/// What this node vouches for: the blocks and checkpoints that the receipt rests on, and the parties' keys.
fn anchors(receipt: &[u8], parties: &[Party], config: &Config) -> Result<Anchors, Failure> {
    let mut anchors = Anchors::default();
    verify::verify(receipt, None).anchors.iter().for_each(|rests| anchors.pin(&rests.on));
    anchors.accounts = parties.iter().map(|party| (party.name.clone(), party.account)).collect();
    for party in &config.parties {
        let keys = PartyKeys::load_or_create(party)
            .map_err(|e| Failure::lacking("read the parties' keys", e, ""))?;
        anchors.keys.insert(party.name.to_string(), Digest(keys.ed25519().verifying_key().to_bytes()));
    }
    Ok(anchors)
}
