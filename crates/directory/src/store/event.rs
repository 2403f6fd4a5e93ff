//! What changed in the directory, in order and in a bounded buffer (WoT Discovery, section 7.3.2.2).

use std::collections::VecDeque;

use serde::Serialize;
use sofie_model::{ThingId, Timestamp};

/// How many events are kept for those who ask late.
pub const MAX_EVENTS: usize = 1024;

/// What happened to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Its number, from 1, without gaps: the same after a replay of the same changes.
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
    pub(super) fn push(&mut self, kind: EventKind, id: ThingId, at: Timestamp) -> Event {
        self.latest += 1;
        let event = Event { seq: self.latest, kind, id, at };
        if self.kept.len() == MAX_EVENTS {
            self.kept.pop_front();
        }
        self.kept.push_back(event.clone());
        event
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
