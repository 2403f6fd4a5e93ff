//! Passing messages to an observer, who may be slower than the platform: what finds the queue full is lost, counted, and
//! told with the next message.

use tokio::sync::mpsc;

use crate::{
    port::{Deviation, Message},
    tally::{Tally, one_more},
};

/// How many notes wait for the next message; further ones are dropped.
const MAX_NOTES: usize = 16;

/// The sender's side of an observation.
pub(crate) struct Outbox {
    sender: mpsc::Sender<Message>,
    /// What the observer must be told with the next message.
    notes: Vec<Deviation>,
    /// Messages that found the queue full.
    lost: u64,
}

impl Outbox {
    pub(crate) const fn new(sender: mpsc::Sender<Message>) -> Self {
        Self { sender, notes: Vec::new(), lost: 0 }
    }

    /// Something that tells when nobody listens any more, and borrows nothing.
    pub(crate) fn listener(&self) -> mpsc::Sender<Message> {
        self.sender.clone()
    }

    /// Has the observer told with the next message.
    pub(crate) fn note(&mut self, note: Deviation) {
        if self.notes.len() < MAX_NOTES && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Passes a message on, with what there is to tell.
    pub(crate) fn pass(&mut self, mut message: Message, tally: &Tally) {
        message.deviations.extend(self.notes.iter().cloned());
        if self.lost > 0 {
            let got = format!("{} were lost: the reader was too slow", self.lost);
            message.deviations.push(Deviation::new(None, "every message", &got));
        }
        match self.sender.try_send(message) {
            Ok(()) => {
                self.notes.clear();
                self.lost = 0;
            }
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.lost += 1;
                one_more(&tally.dropped);
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {}
        }
    }
}
