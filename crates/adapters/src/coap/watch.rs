//! Observing a resource (RFC 7641): registered once, renewed when its representation has grown stale.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::{
    codec::{Body, Kind, Message as CoapMessage, Request, Response},
    endpoint::{Endpoint, get},
    exchange::{acknowledge, reset},
    link::Link,
};
use crate::{
    outbox::Outbox,
    port::{AdapterError, Deviation, Message, Receipt},
    tally::{Recent, one_more},
};

/// RFC 7252, section 5.10.5: Max-Age when none is given.
const DEFAULT_MAX_AGE: u32 = 60;
/// A server may be as late as this before it is asked again.
const GRACE: Duration = Duration::from_secs(5);
/// A server that answers `Max-Age: 0` is still not asked more often than this.
const LEAST: Duration = Duration::from_secs(5);
/// RFC 7641, section 3.4: after this long, any notification is newer.
const REORDERED_AT_MOST: Duration = Duration::from_secs(128);
/// How many Message IDs are remembered, to see repeats.
const REPEATS: usize = 64;

/// A resource that is being observed.
pub(super) struct Watch {
    adapter: Arc<Endpoint>,
    path: String,
    link: Link,
    token: Vec<u8>,
    last: Option<(u32, Instant)>,
    stale_at: Instant,
    seen: Recent<u16, ()>,
    outbox: Outbox,
}

impl Watch {
    /// Asks to be told of `path`. `None` when the server answers, but without telling more.
    pub(super) async fn register(
        adapter: &Arc<Endpoint>,
        path: &str,
        sender: mpsc::Sender<Message>,
    ) -> Result<Option<Self>, AdapterError> {
        let no_socket = |e| adapter.platform.transient(format!("no socket: {e}"));
        let mut watch = Self {
            adapter: Arc::clone(adapter),
            path: path.into(),
            link: Link::open(adapter.server).await.map_err(no_socket)?,
            token: Vec::new(),
            last: None,
            stale_at: Instant::now(),
            seen: Recent::new(REPEATS),
            outbox: Outbox::new(sender),
        };
        Ok(watch.renew().await?.then_some(watch))
    }

    /// Registers (again) and passes on the present state.
    async fn renew(&mut self) -> Result<bool, AdapterError> {
        let request = Request { observe: Some(0), ..get(&self.path) };
        let asked = self.link.ask(request, self.adapter.transmission, &self.adapter.tally).await;
        let (response, token) = asked.map_err(|silence| self.adapter.silent(&silence))?;
        let response = match self.adapter.whole(&self.path, response) {
            Ok(response) => response,
            Err(AdapterError::Permanent { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let Some(order) = response.observe else { return Ok(false) };
        (self.token, self.last) = (token, None);
        self.take(order, &response);
        Ok(true)
    }

    /// Passes notifications on until nobody listens, or the server ends it.
    pub(super) async fn run(mut self) {
        loop {
            let sender = self.outbox.listener();
            let heard = tokio::select! {
                () = sender.closed() => return self.forget().await,
                heard = timeout_at(self.stale_at, self.link.hear(&self.adapter.tally)) => heard,
            };
            match heard {
                Ok(Ok(message)) => {
                    if !self.hear(message).await {
                        return;
                    }
                }
                // Stale, or the network complains: ask again, at most once a LEAST.
                Ok(Err(_)) | Err(_) => {
                    one_more(&self.adapter.tally.reconnects);
                    self.stale_at = Instant::now() + LEAST;
                    match self.renew().await {
                        Ok(true) | Err(AdapterError::Transient { .. }) => {}
                        Ok(false) | Err(_) => return self.ended("the server no longer tells of it"),
                    }
                }
            }
        }
    }

    /// Takes a message; false when the observation is over (RFC 7641, section 3.2).
    async fn hear(&mut self, message: CoapMessage) -> bool {
        let CoapMessage { kind, id, token, body } = message;
        let confirmable = kind == Kind::Confirmable;
        let Body::Response(response) = body else {
            if confirmable {
                self.link.reply(&reset(id)).await;
            }
            return true;
        };
        if token != self.token {
            if confirmable {
                self.link.reply(&reset(id)).await;
            }
            return true;
        }
        if confirmable {
            self.link.reply(&acknowledge(id)).await;
        }
        if self.seen.get(&id).is_some() {
            one_more(&self.adapter.tally.duplicates);
            return true;
        }
        self.seen.put(id, ());
        match response.observe {
            Some(order) if response.code.class() == 2 => {
                self.take(order, &response);
                true
            }
            _ => {
                self.ended(&format!("the server ended it with {}", response.code));
                false
            }
        }
    }

    /// Passes a notification on, unless a newer one came before it.
    fn take(&mut self, order: u32, response: &Response) {
        let now = Instant::now();
        if self.last.is_some_and(|last| !is_newer(last, (order, now))) {
            one_more(&self.adapter.tally.duplicates);
            return;
        }
        self.last = Some((order, now));
        let max_age = Duration::from_secs(response.max_age.unwrap_or(DEFAULT_MAX_AGE).into());
        self.stale_at = now + (max_age + GRACE).max(LEAST);
        let identity = [&self.token[..], &order.to_be_bytes()].concat();
        if let Some(message) = self.adapter.understand(&self.path, response, &identity) {
            self.outbox.pass(message, &self.adapter.tally);
        }
    }

    fn ended(&mut self, why: &str) {
        let message = Message {
            source: self.path.clone(),
            raw: Vec::new(),
            arrived: (self.adapter.clock)(),
            retained: false,
            observations: Vec::new(),
            deviations: vec![Deviation::new(None, "notifications", why)],
            receipt: Receipt::default(),
        };
        self.outbox.pass(message, &self.adapter.tally);
    }

    /// Tells the server that nobody listens any more (RFC 7641, section 3.6).
    async fn forget(mut self) {
        let request = Request { observe: Some(1), ..get(&self.path) };
        if let Err(silence) = self.link.ask(request, self.adapter.transmission, &self.adapter.tally).await {
            tracing::debug!(%silence, path = self.path, "a CoAP observation was not cancelled");
        }
    }
}

/// RFC 7641, section 3.4.
fn is_newer((v1, t1): (u32, Instant), (v2, t2): (u32, Instant)) -> bool {
    const HALF: u32 = 1 << 23;
    (v1 < v2 && v2 - v1 < HALF) || (v1 > v2 && v1 - v2 > HALF) || t2 > t1 + REORDERED_AT_MOST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_notifications_wraps_around() {
        let now = Instant::now();
        for (v1, v2, after, expected) in [
            (1, 2, 0, true),
            (2, 1, 0, false),
            (1, 1, 0, false),
            ((1 << 24) - 1, 0, 0, true),
            (0, (1 << 24) - 1, 0, false),
            (2, 1, 129, true),
        ] {
            let later = now + Duration::from_secs(after);
            assert_eq!(is_newer((v1, now), (v2, later)), expected, "{v1} then {v2}");
        }
    }
}
