//! The directory's data (W3C WoT Discovery, section 7.3). Thing Descriptions go in as text and come out as JSON values:
//! the directory room judges them, not the door.

use serde::{Deserialize, Serialize};
use sofie_directory::discovery::Filter;
use sofie_model::{ThingId, Value};
use utoipa::ToSchema;

use super::At;

/// A Thing Description as JSON.
pub type Description = serde_json::Value;

/// The longest page of Thing Descriptions.
pub const MAX_PAGE: usize = 100;

/// Which part of the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// How many descriptions come before it.
    pub offset: usize,
    /// At most so many: 1 to [`MAX_PAGE`].
    pub limit: usize,
}

/// A part of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In the order of their ids.
    pub items: Vec<Description>,
    /// How many there are in all.
    pub total: usize,
    /// A number that grows with each change of the directory: pages with one number are of one list.
    pub revision: u64,
}

/// What of the links to things is asked for (RFC 6690).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedLinks {
    /// Those that have it.
    pub filter: Option<Filter>,
    /// Which page, from 0.
    pub page: usize,
    /// How many links it holds at most.
    pub count: usize,
}

/// What a PUT did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It was new.
    Created,
    /// It took the place of an older one.
    Replaced,
}

/// What a property is, and how fresh that is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PropertyReading {
    /// Of which thing.
    #[schema(value_type = String)]
    pub thing: ThingId,
    /// Which property.
    pub property: String,
    /// True, false, a whole number or a text; a decimal number is a text, `"21.5"`, so that no digit is lost.
    #[schema(value_type = serde_json::Value)]
    pub value: Value,
    /// In which unit (UCUM), or empty.
    pub unit: String,
    /// When it was so, by the device or its platform; where they tell no time, when it arrived.
    pub observed_at: At,
    /// When it arrived at this node.
    pub arrived: At,
    /// The platform kept it from an earlier time.
    pub retained: bool,
}

/// What a property shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteProperty {
    /// True, false, a whole number or a text; a decimal number is a text, `"21.5"`, so that no digit is lost.
    #[schema(value_type = serde_json::Value)]
    pub value: Value,
    /// In which unit (UCUM); without it, in the property's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The client's name for this request: sent again, it is not written again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// What became of a write. It went to the device, or may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Written {
    /// What is known of it.
    pub outcome: WriteOutcome,
    /// What the device, or the node, says of it.
    pub detail: String,
}

/// What is known of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WriteOutcome {
    /// The device says that it took the value.
    Done,
    /// The device refuses it, and did nothing.
    Refused,
    /// It was sent, and nobody can say what became of it: read the property.
    Unknown,
}

impl WriteOutcome {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// A change of the directory (WoT Discovery, section 7.3.2.2: the Notification API).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ThingEvent {
    /// Its number, from 1, without gaps since the node started.
    pub seq: u64,
    /// What happened.
    pub change: ThingChange,
    /// To which thing.
    #[schema(value_type = String)]
    pub id: ThingId,
}

/// What can happen to a Thing Description. As text these are the event names of the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ThingChange {
    /// Registered.
    ThingCreated,
    /// Replaced or patched.
    ThingUpdated,
    /// Forgotten or expired.
    ThingDeleted,
}

impl ThingChange {
    /// The event's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ThingCreated => "thing_created",
            Self::ThingUpdated => "thing_updated",
            Self::ThingDeleted => "thing_deleted",
        }
    }
}
