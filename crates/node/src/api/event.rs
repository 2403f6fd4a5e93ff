//! What happened at the node, as CloudEvents 1.0 in their JSON format: the same for server-sent events and webhooks.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::At;

/// One record of the audit log (CloudEvents 1.0.2, section 3; `sequence` is its extension of that name).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CloudEvent {
    /// Always `1.0`.
    pub specversion: String,
    /// The record's hash: one that is delivered twice has the same, and no other has it.
    pub id: String,
    /// The node: `urn:sofie:node:NAME`.
    pub source: String,
    /// `sofie.audit.` and the record's kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is about: a transaction's id, or the digest of a thing or platform.
    pub subject: String,
    /// By the node's clock.
    pub time: At,
    /// Its place in the log, from 1, in 20 digits: they sort as texts, too.
    pub sequence: String,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// What the record says.
    pub data: EventData,
}

/// What a record of the audit log says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventData {
    /// What happened: `prepared`, `decided`, `settled`, ….
    pub name: String,
    /// Who did it.
    pub actor: String,
    /// On which ledger; `null` where it is on none.
    pub ledger: Option<String>,
    /// Whether it went as it should.
    pub ok: bool,
    /// A sentence for people.
    pub detail: String,
}
