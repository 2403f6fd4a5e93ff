//! Takes platforms in, and reads their messages as long as the node runs. One that is away is waited for.

use std::{sync::Arc, time::Duration};

use sofie_adapters::port::{Adapter, AdapterError, Message};

use tokio::sync::{mpsc, oneshot};

use super::{Joined, Kept, PlatformError, Platforms};
use crate::journal::JournalError;

/// So many messages of one platform are kept in one write.
const AT_ONCE: usize = 64;

/// The first wait before a platform that is away is asked again.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Waits that double.
#[derive(Debug)]
pub(super) struct Wait(Duration);

impl Default for Wait {
    fn default() -> Self {
        Self(FIRST_WAIT)
    }
}

impl Wait {
    pub(super) async fn once(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(LONGEST_WAIT);
    }
}

impl Platforms {
    /// Connects to a platform that an earlier run joined. One whose address is not found is tried again in the
    /// background.
    pub(super) async fn reopen_one(&self, kept: Kept) {
        let adapter = self.adapter_for(&kept).await;
        match adapter {
            Ok(adapter) => drop(self.add(Joined { kept, adapter })),
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, platform = %kept.platform.id, "not reopened yet");
                let all = self.clone();
                tokio::spawn(async move { all.reopen_until_done(kept).await });
            }
            Err(error) => tracing::error!(%error, platform = %kept.platform.id, "not reopened"),
        }
    }

    async fn adapter_for(&self, kept: &Kept) -> Result<Arc<dyn Adapter>, PlatformError> {
        let binding = Self::binding(&kept.descriptions);
        self.adapter(&kept.platform, kept.allowed(), kept.originator.as_deref(), binding).await
    }

    async fn reopen_until_done(&self, kept: Kept) {
        let mut wait = Wait::default();
        loop {
            wait.once().await;
            let adapter = self.adapter_for(&kept).await;
            match adapter {
                Ok(adapter) => return drop(self.add(Joined { kept, adapter })),
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, platform = %kept.platform.id, "not reopened yet");
                }
                Err(error) => {
                    tracing::error!(%error, platform = %kept.platform.id, "not reopened");
                    return;
                }
            }
        }
    }

    /// Takes the platform in and reads its messages from now on, as long as the node runs. The receiver is told when it
    /// was asked for them the first time.
    pub(super) fn add(&self, joined: Joined) -> oneshot::Receiver<()> {
        let all = self.clone();
        let (asked, listening) = oneshot::channel();
        self.0.joined.write().expect("no holder of this lock panics").push(joined.clone());
        tokio::spawn(async move { all.listen(joined, asked).await });
        listening
    }

    async fn listen(&self, joined: Joined, asked: oneshot::Sender<()>) {
        let id = &joined.kept.platform.id;
        let (mut wait, mut asked) = (Wait::default(), Some(asked));
        loop {
            let messages = joined.adapter.observe().await;
            // Who no longer waits does not need to know.
            let _ = asked.take().map(|asked| asked.send(()));
            match messages {
                Ok(messages) => {
                    tracing::debug!(platform = %id, "its messages are read");
                    wait = Wait::default();
                    if let Err(error) = self.take_in(id, messages).await {
                        // The node stops on the first; a full channel says that it already does.
                        let _ = self.0.keeper.fatal.try_send(error);
                        return;
                    }
                }
                Err(error @ AdapterError::Transient { .. }) => {
                    tracing::warn!(platform = %id, %error, "no messages yet");
                }
                Err(error) => {
                    tracing::info!(platform = %id, %error, "sends nothing that could be watched");
                    return;
                }
            }
            wait.once().await;
        }
    }

    /// Keeps what the messages say, then lets go of them: only then are they confirmed to the platform.
    async fn take_in(
        &self,
        platform: &str,
        mut messages: mpsc::Receiver<Message>,
    ) -> Result<(), JournalError> {
        let mut heard = Vec::with_capacity(AT_ONCE);
        while messages.recv_many(&mut heard, AT_ONCE).await > 0 {
            let mut said = Vec::new();
            for message in &heard {
                for deviation in &message.deviations {
                    tracing::warn!(%platform, source = %message.source, %deviation, "a message deviates");
                }
                said.extend(message.observations.iter().map(|one| (message.arrived, one.clone())));
            }
            let kept = self.0.readings.keep(self.0.executor.journal(), said).await;
            if kept.is_err() {
                heard.drain(..).for_each(|message| message.receipt.withhold());
            }
            heard.clear();
            kept?;
        }
        Ok(())
    }
}
