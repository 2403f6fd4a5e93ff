//! `sofie contract dispute`, `rule` and `sign`: what a company claims, and what the arbiter says, on its way as files.

use std::path::Path;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sofie_model::Txid;
use sofie_model::ruling::{Ruling, SignedRuling};
use sofie_node::api::{At, Claim, Contract, Rule, SignRuling};

use super::nouns::keep;
use crate::client::Client;
use crate::failure::Failure;
use crate::input;

/// No case and no ruling is longer.
const MAX_FILE: usize = 16 * 1024;

/// What the arbiter needs to know, and to sign.
#[derive(Debug, Serialize, Deserialize)]
struct Case {
    /// The arbiter's account.
    arbiter: String,
    /// The last second in which its ruling counts.
    until: At,
    /// What is claimed.
    reason: String,
    /// What it would sign.
    ruling: Ruling,
}

pub(super) async fn dispute(
    client: &Client,
    id: Txid,
    reason: String,
    case: Option<&Path>,
) -> Result<Contract, Failure> {
    let claim = Claim { reason };
    let one: Contract = client.post(&format!("/api/v1/contracts/{id}/dispute"), &claim).await?;
    if let Some(file) = case
        && let Some(dispute) = &one.dispute
        && let (Some(until), Some(ruling)) = (dispute.until, dispute.ruling)
    {
        let arbiter = dispute.account.to_string();
        write(file, &Case { arbiter, until, reason: claim.reason, ruling })?;
    }
    Ok(one)
}

pub(super) async fn rule(client: &Client, id: Txid, file: Option<&Path>) -> Result<Contract, Failure> {
    let ruling = file.map(|file| read(file, "`sofie contract sign` writes one")).transpose()?;
    client.post(&format!("/api/v1/contracts/{id}/ruling"), &Rule { ruling }).await
}

pub(super) async fn sign(client: &Client, case: &Path, file: &Path) -> Result<(), Failure> {
    let Case { arbiter, ruling, .. } = read(case, "`sofie contract dispute --case` writes one")?;
    let signed: SignedRuling = client.post("/api/v1/rulings", &SignRuling { arbiter, ruling }).await?;
    write(file, &signed)
}

fn read<T: DeserializeOwned>(file: &Path, next: &str) -> Result<T, Failure> {
    let text = input::text(file, MAX_FILE, next)?;
    serde_json::from_str(&text).map_err(|e| Failure::usage(&format!("read {}", file.display()), e, next))
}

fn write(file: &Path, what: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(what)
        .map_err(|e| Failure::usage(&format!("write {}", file.display()), e, "tell the maintainers"))?;
    keep(file, text.as_bytes())
}
