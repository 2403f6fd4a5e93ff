//! What changed in the directory, in order and in a bounded buffer (WoT Discovery, section 7.3.2.2).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use sofie_model::{ThingId, Timestamp};

/// How many events are kept for those who ask late.
pub const MAX_EVENTS: usize = 1024;

/// What happened to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// Registered.
    #[serde(rename = "thing_created")]
    Created,
    /// Replaced or patched.
    #[serde(rename = "thing_updated")]
    Updated,
    /// Deleted or expired.
    #[serde(rename = "thing_deleted")]
    Deleted,
}

impl EventKind {
    /// The event's name in the notification API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "thing_created",
            Self::Updated => "thing_updated",
            Self::Deleted => "thing_deleted",
        }
    }
}

/// One change, as subscribers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its number, without gaps: the same after a restart, when the caller keeps events as it keeps records.
    pub seq: u64,
    /// What happened.
    pub kind: EventKind,
    /// To which thing.
    pub id: ThingId,
    /// When.
    pub at: Timestamp,
}

/// Some of the events that were asked for are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("events {oldest} to {newest} are kept, not those after {after}: read the list of things again")]
pub struct Lost {
    /// What was asked for.
    pub after: u64,
    /// The oldest that is kept.
    pub oldest: u64,
    /// The newest.
    pub newest: u64,
}

#[derive(Debug, Default)]
pub(super) struct Events {
    kept: VecDeque<Event>,
    latest: u64,
}

impl Events {
    /// Those that were kept, in any order; `latest` is the number of the newest, if none is.
    pub(super) fn kept(mut events: Vec<Event>, latest: u64) -> Self {
        events.sort_by_key(|event| event.seq);
        let latest = events.last().map_or(latest, |event| event.seq);
        let surplus = events.len().saturating_sub(MAX_EVENTS);
        Self { kept: events.into_iter().skip(surplus).collect(), latest }
    }

    /// The next one.
    pub(super) fn next(&self, kind: EventKind, id: ThingId, at: Timestamp) -> Event {
        Event { seq: self.latest + 1, kind, id, at }
    }

    pub(super) fn push(&mut self, event: Event) {
        self.latest = event.seq;
        if self.kept.len() == MAX_EVENTS {
            self.kept.pop_front();
        }
        self.kept.push_back(event);
    }

    pub(super) fn after(&self, seq: u64) -> Result<impl Iterator<Item = &Event>, Lost> {
        let oldest = self.kept.front().map_or(self.latest + 1, |event| event.seq);
        if seq > self.latest || seq + 1 < oldest {
            return Err(Lost { after: seq, oldest, newest: self.latest });
        }
        Ok(self.kept.iter().filter(move |event| event.seq > seq))
    }

    pub(super) const fn latest(&self) -> u64 {
        self.latest
    }
}
