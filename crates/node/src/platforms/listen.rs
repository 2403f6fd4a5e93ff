//! Takes platforms in, and reads their messages as long as the node runs. One that is away is waited for.

use std::time::Duration;

use sofie_adapters::port::{AdapterError, Message};

use super::{Joined, Kept, Platforms};

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
        let adapter = self.adapter(&kept.platform, &kept.allow, Self::binding(&kept.descriptions)).await;
        match adapter {
            Ok(adapter) => self.add(Joined { kept, adapter }),
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, platform = %kept.platform.id, "not reopened yet");
                let all = self.clone();
                tokio::spawn(async move { all.reopen_until_done(kept).await });
            }
            Err(error) => tracing::error!(%error, platform = %kept.platform.id, "not reopened"),
        }
    }

    async fn reopen_until_done(&self, kept: Kept) {
        let mut wait = Wait::default();
        loop {
            wait.once().await;
            let adapter = self.adapter(&kept.platform, &kept.allow, Self::binding(&kept.descriptions)).await;
            match adapter {
                Ok(adapter) => return self.add(Joined { kept, adapter }),
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

    /// Takes the platform in and reads its messages from now on, as long as the node runs.
    pub(super) fn add(&self, joined: Joined) {
        let all = self.clone();
        self.0.joined.write().expect("no holder of this lock panics").push(joined.clone());
        tokio::spawn(async move { all.listen(joined).await });
    }

    async fn listen(&self, joined: Joined) {
        let id = &joined.kept.platform.id;
        let mut wait = Wait::default();
        loop {
            match joined.adapter.observe().await {
                Ok(mut messages) => {
                    tracing::debug!(platform = %id, "its messages are read");
                    wait = Wait::default();
                    while let Some(message) = messages.recv().await {
                        self.take(id, message);
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

    fn take(&self, platform: &str, message: Message) {
        for deviation in &message.deviations {
            tracing::warn!(%platform, source = %message.source, ?deviation, "a message deviates");
        }
        for observation in message.observations {
            self.0.readings.push(message.arrived, observation);
        }
    }
}
