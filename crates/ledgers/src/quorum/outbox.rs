//! What waits to be sent to one other member: of each transaction the newest bundle only, since it says all that the
//! ones before did. What does not find room is lost, and said again by the instance in its time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use sofie_model::Txid;
use tokio::sync::Notify;

/// So many transactions wait for one member at most.
pub(super) const MAX_WAITING: usize = 1024;

#[derive(Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Default)]
struct Waiting {
    order: VecDeque<Txid>,
    bundles: BTreeMap<Txid, Arc<Vec<u8>>>,
}

impl Outbox {
    /// Puts a bundle in the place of the transaction's earlier one, or at the end.
    pub(super) fn put(&self, txid: Txid, bundle: &Arc<Vec<u8>>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let known = waiting.bundles.contains_key(&txid);
        if !known && waiting.order.len() >= MAX_WAITING {
            return;
        }
        if !known {
            waiting.order.push_back(txid);
        }
        waiting.bundles.insert(txid, Arc::clone(bundle));
        drop(waiting);
        self.news.notify_one();
    }

    /// The next one, in the order in which transactions came.
    pub(super) async fn next(&self) -> Arc<Vec<u8>> {
        loop {
            if let Some(bundle) = self.take() {
                return bundle;
            }
            self.news.notified().await;
        }
    }

    fn take(&self) -> Option<Arc<Vec<u8>>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let txid = waiting.order.pop_front()?;
        let bundle = waiting.bundles.remove(&txid);
        if !waiting.order.is_empty() {
            // Another sender may sleep: one notice stands for many puts.
            self.news.notify_one();
        }
        bundle
    }
}
