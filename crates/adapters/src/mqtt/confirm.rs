//! Confirms deliveries (QoS 1) once their reader has let go of them, and in the order in which they came (MQTT 3.1.1,
//! section 4.6): what a reader had not kept when it was killed, the broker delivers again.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use rumqttc::{AsyncClient, QoS};

use crate::port::{Held, Receipt};

/// A packet's identifier, and whether its reader still holds it.
type Delivery = (u16, Weak<Held>);

/// The deliveries of one connection that are not confirmed yet. A broker has few of them under way at once (3.1.1 leaves
/// it at most 65,535). Clones share them.
#[derive(Clone)]
pub(super) struct Confirms {
    client: AsyncClient,
    waiting: Arc<Mutex<VecDeque<Delivery>>>,
}

impl Confirms {
    pub(super) fn new(client: AsyncClient) -> Self {
        Self { client, waiting: Arc::default() }
    }

    /// A delivery that its reader is about to hold.
    pub(super) fn hold(&self, id: u16) -> Receipt {
        if id == 0 {
            return Receipt::default();
        }
        let confirms = self.clone();
        let receipt = Receipt::new(move || confirms.send());
        self.like(id, receipt.watched());
        receipt
    }

    /// A delivery that stands and falls with an earlier one.
    pub(super) fn like(&self, id: u16, earlier: Weak<Held>) {
        if id != 0 {
            self.waiting(|waiting| waiting.push_back((id, earlier)));
        }
    }

    /// A delivery that nobody reads.
    pub(super) fn at_once(&self, id: u16) {
        self.like(id, Weak::new());
    }

    /// Another connection: the broker delivers again what was not confirmed.
    pub(super) fn forget(&self) {
        self.waiting(VecDeque::clear);
    }

    /// Confirms what its readers have let go, as far as the connection takes it now.
    pub(super) fn send(&self) {
        self.waiting(|waiting| {
            while let Some((id, held)) = waiting.front() {
                let mut delivery = rumqttc::Publish::new("", QoS::AtLeastOnce, Vec::new());
                delivery.pkid = *id;
                if held.strong_count() > 0 || self.client.try_ack(&delivery).is_err() {
                    return;
                }
                waiting.pop_front();
            }
        });
    }

    fn waiting<T>(&self, look: impl FnOnce(&mut VecDeque<Delivery>) -> T) -> T {
        look(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
