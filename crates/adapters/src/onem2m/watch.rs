//! Watching the containers of one CSE: by subscriptions where the CSE can reach this node, else by reading them again and
//! again. Beside a subscription each container is looked at now and again, and what came to it since the last known
//! instance is fetched: a notification that was lost, or a CSE that was away, costs time and nothing else.

use std::{sync::Arc, time::Duration};

use sofie_model::Timestamp;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use super::{
    codec::{Content, Notification},
    endpoint::Endpoint,
    listener::{Heard, Listener},
};
use crate::{
    backoff::Backoff,
    outbox::Outbox,
    port::{AdapterError, Deviation, Message, cut},
    tally::{Recent, one_more},
};

/// How many contents of one container are remembered, so that none is passed on twice.
const REMEMBERED: usize = 256;
/// How far a fetch reaches back before the last known instance: clocks that count whole seconds do not tell two apart.
const OVERLAP_MS: u64 = 1_000;
/// How long taking all subscriptions back may last.
const FAREWELL: Duration = Duration::from_secs(10);

/// What is watched.
pub(super) struct Watch {
    endpoint: Arc<Endpoint>,
    sources: Vec<Source>,
    listener: Option<Listener>,
    outbox: Outbox,
}

struct Source {
    path: String,
    /// The identifiers of the contents that were passed on.
    seen: Recent<String, ()>,
    /// When the CSE took the newest of them.
    newest: Option<Timestamp>,
    /// When it is looked at next.
    due: Instant,
    wait: Backoff,
    failing: bool,
    /// The CSE was told in this run where to notify.
    subscribed: bool,
}

impl Watch {
    /// Subscribes to the sources, and passes on what they hold.
    pub(super) async fn begin(
        endpoint: &Arc<Endpoint>,
        sources: Vec<String>,
        listener: Option<Listener>,
        sender: mpsc::Sender<Message>,
    ) -> Result<Self, AdapterError> {
        let source = |path| Source {
            path,
            seen: Recent::new(REMEMBERED),
            newest: None,
            due: Instant::now(),
            wait: Backoff::default(),
            failing: false,
            subscribed: false,
        };
        let sources = sources.into_iter().map(source).collect();
        let (endpoint, outbox) = (Arc::clone(endpoint), Outbox::new(sender));
        let mut watch = Self { endpoint, sources, listener, outbox };
        let mut refusal = None;
        for of in 0..watch.sources.len() {
            if let Some(why) = watch.look(of, true).await? {
                refusal = Some(format!("{}: {why}", cut(&watch.sources[of].path)));
            }
        }
        match refusal {
            Some(refusal) if watch.sources.iter().all(|source| source.failing) => {
                let next = "introspect it again, or see as whom this node may read";
                Err(watch
                    .endpoint
                    .platform
                    .permanent(format!("none of its containers can be read: {refusal}"), next))
            }
            _ => Ok(watch),
        }
    }

    /// Passes on what comes until nobody listens.
    pub(super) async fn run(mut self) {
        let listener = self.outbox.listener();
        tokio::select! {
            () = listener.closed() => {}
            () = self.follow() => {}
        }
        if self.listener.is_some() {
            let all = async {
                for source in &self.sources {
                    self.endpoint.unsubscribe(&source.path).await;
                }
            };
            if timeout(FAREWELL, all).await.is_err() {
                tracing::debug!(platform = %self.endpoint.platform.url, "some subscriptions were not taken back");
            }
        }
    }

    /// Never ends.
    async fn follow(&mut self) {
        loop {
            let Some((of, due)) =
                self.sources.iter().map(|source| source.due).enumerate().min_by_key(|(_, due)| *due)
            else {
                return;
            };
            let heard = async {
                match &mut self.listener {
                    Some(listener) => listener.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                heard = heard => self.hear(heard),
                () = sleep_until(due) => {
                    let went = self.look(of, false).await;
                    self.after(of, went);
                }
            }
        }
    }

    fn hear(&mut self, heard: Option<Heard>) {
        let Some(Heard { of, notification }) = heard else {
            // The listener has ended; its task never does.
            self.listener = None;
            return;
        };
        if of >= self.sources.len() {
            return;
        }
        match notification {
            Notification::Content(content) => self.take(of, &content, false),
            // It is subscribed to anew, and what was missed is fetched.
            Notification::Deleted => self.sources[of].due = Instant::now(),
            Notification::Verification => {}
        }
    }

    fn after(&mut self, of: usize, went: Result<Option<String>, AdapterError>) {
        let problem = match went {
            Ok(None) => None,
            Ok(Some(why)) => Some(format!("{}: {why}", cut(&self.sources[of].path))),
            Err(error) => Some(error.to_string()),
        };
        let source = &mut self.sources[of];
        let Some(problem) = problem else {
            if std::mem::take(&mut source.failing) {
                one_more(&self.endpoint.tally.reconnects);
            }
            return;
        };
        if !std::mem::replace(&mut source.failing, true) {
            tracing::warn!(problem, "a container cannot be watched just now");
        }
        source.due = Instant::now() + source.wait.next();
        self.outbox.note(Deviation::new(None, "an unbroken subscription", &problem));
    }

    /// Subscribes, where that is done, and passes on what is new. Says why that cannot be done.
    async fn look(&mut self, of: usize, first: bool) -> Result<Option<String>, AdapterError> {
        let endpoint = Arc::clone(&self.endpoint);
        let path = self.sources[of].path.clone();
        let mut pause = endpoint.interval;
        if let Some(listener) = &self.listener {
            let known = self.sources[of].subscribed;
            let taken = endpoint.subscribe(&path, &listener.address_for(of), known).await?;
            self.sources[of].subscribed = taken.is_ok();
            match taken {
                Ok(()) => pause = endpoint.look,
                // It is read again and again instead.
                Err(why) => {
                    tracing::warn!(path, why, "the CSE does not take a subscription");
                    self.outbox.note(Deviation::new(None, "to be told of new contents", &why));
                }
            }
        }
        let refused = match self.news(of, &path).await? {
            Ok(contents) => {
                for content in &contents {
                    self.take(of, content, first);
                }
                None
            }
            Err(why) => Some(why),
        };
        let source = &mut self.sources[of];
        source.due = Instant::now() + pause;
        match &refused {
            Some(_) if first => source.failing = true,
            Some(_) => {}
            None => source.wait = Backoff::default(),
        }
        Ok(refused)
    }

    /// What a source holds that may be new, oldest first.
    async fn news(&self, of: usize, path: &str) -> Result<Result<Vec<Content>, String>, AdapterError> {
        if let (Some(newest), Some(container)) = (self.sources[of].newest, path.strip_suffix("/la")) {
            let since = written(Timestamp::from_millis(newest.as_millis().saturating_sub(OVERLAP_MS)));
            match self.endpoint.since(container, &since).await? {
                Ok(contents) if !contents.is_empty() => return Ok(Ok(contents)),
                // A CSE that does not answer such a question still tells its newest.
                Ok(_) | Err(_) => {}
            }
        }
        Ok(self.endpoint.state(path).await?.map(|content| vec![content]))
    }

    /// Passes a content on that was not passed on before.
    fn take(&mut self, of: usize, content: &Content, retained: bool) {
        let source = &mut self.sources[of];
        if source.seen.get(&content.id).is_some() {
            one_more(&self.endpoint.tally.duplicates);
            return;
        }
        source.seen.put(content.id.clone(), ());
        source.newest = source.newest.max(content.told);
        match self.endpoint.understand(&source.path, content, retained) {
            Some(message) => self.outbox.pass(message, &self.endpoint.tally),
            None => one_more(&self.endpoint.tally.unbound),
        }
    }
}

/// A time as oneM2M writes it.
fn written(at: Timestamp) -> String {
    let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    at.strftime("%Y%m%dT%H%M%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onem2m::codec;

    #[test]
    fn a_time_is_written_as_it_is_read() {
        let at = Timestamp::from_seconds(1_795_953_224);
        assert_eq!(written(at), "20261129T115344");
        assert_eq!(codec::time(&written(at)), Some(at));
    }
}
