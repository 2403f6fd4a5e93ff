//! Requests that wait for the node at the same moment go to it in one JSON-RPC batch (JSON-RPC 2.0, section 6).
//!
//! A request that finds the line free leaves at once; those that come while [`MAX_UNDER_WAY`] are on their way gather, and
//! leave together with the first answer. No timer holds anything back. What a batch leaves unanswered, because the node
//! takes none, or one no so long, is asked alone, so that whoever asks is told what they would have been told without
//! batches. One stuck request delays the others for no longer than [`PATIENCE`] (docs/adr/0033-requests-in-batches.md).

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use alloy_json_rpc::{Id, RequestPacket, Response, ResponsePacket, SerializedRequest};
use alloy_transport::{TransportError, TransportErrorKind, TransportFut};
use alloy_transport_http::reqwest::StatusCode;
use tokio::sync::oneshot;
use tower_service::Service;

use super::chained;
use super::transport::{Limited, Status, TooLong};

/// The most requests of a batch; public nodes allow between 100 and 1,000.
pub(super) const MAX_BATCH: usize = 100;
/// The most bytes of a batch, unless a single request has more: what HTTP servers commonly take.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// So many are on their way at once, those not counted that have taken longer than [`PATIENCE`].
const MAX_UNDER_WAY: usize = 4;
/// So many are on their way at once, those counted that have.
const MAX_OPEN: usize = 64;
/// An answer that takes longer gives its place in the line to the next.
const PATIENCE: Duration = Duration::from_secs(1);
/// The most requests that wait in the line: all that sixteen accounts may have open.
const MAX_WAITING: usize = 65_536;
/// After so many requests that were answered in batches, or alone where none are taken, longer batches are tried again.
const TRUSTED_AFTER: usize = 1_024;
/// "The JSON sent is not a valid Request object" (JSON-RPC 2.0, section 5.1): also said of a batch that is too long.
const INVALID_REQUEST: i64 = -32_600;
/// What is asked for once a transaction, and has a short answer. A batch is answered when its slowest request is: what makes a
/// node read whole blocks goes alone.
const GATHERED: [&str; 4] =
    ["eth_call", "eth_sendRawTransaction", "eth_getTransactionCount", "eth_getTransactionReceipt"];

type Answer = Result<ResponsePacket, TransportError>;

/// A request, and who waits for its answer.
struct Waiting {
    request: SerializedRequest,
    answer: oneshot::Sender<Answer>,
}

impl Waiting {
    fn new(request: SerializedRequest) -> (Self, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        (Self { request, answer }, answered)
    }
}

/// The transport under `alloy`'s client.
#[derive(Clone)]
pub(super) struct Batcher(Arc<Shared>);

struct Shared {
    transport: Limited,
    /// How long whoever asks waits, in the line and for the answer.
    timeout: Duration,
    /// After how long an answer gives its place to the next.
    patience: Duration,
    line: Mutex<Line>,
}

/// What waits, and how much is on its way.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    quick: usize,
    slow: usize,
    size: Size,
}

/// How many requests the node takes in a batch: a half after each refusal, twice as many after a while without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    most: usize,
    answered: usize,
}

impl Default for Size {
    fn default() -> Self {
        Self { most: MAX_BATCH, answered: 0 }
    }
}

impl Size {
    /// A batch of so many was not answered as a whole.
    fn refused(&mut self, length: usize) {
        *self = Self { most: self.most.min(length / 2).max(1), answered: 0 };
    }

    fn answered(&mut self, length: usize) {
        self.answered += length;
        if self.answered >= TRUSTED_AFTER {
            *self = Self { most: (self.most * 2).min(MAX_BATCH), answered: 0 };
        }
    }
}

impl Line {
    fn has_place(&self) -> bool {
        self.quick < MAX_UNDER_WAY && self.quick + self.slow < MAX_OPEN
    }

    /// The next batch; empty when nothing waits. Who has given up waiting is left out.
    fn next(&mut self) -> Vec<Waiting> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < self.size.most
            && let Some(one) = self.waiting.pop_front()
        {
            let length = one.request.serialized().get().len();
            if one.answer.is_closed() {
                continue;
            }
            if !batch.is_empty() && bytes + length > MAX_BATCH_BYTES {
                self.waiting.push_front(one);
                break;
            }
            bytes += length;
            batch.push(one);
        }
        batch
    }
}

/// A place in the line, given back when it is dropped.
struct Place {
    shared: Arc<Shared>,
    is_slow: bool,
}

impl Place {
    /// Others need not wait any longer for what has this place.
    fn give_way(&mut self) {
        let mut line = lock(&self.shared.line);
        line.quick -= 1;
        line.slow += 1;
        self.is_slow = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut line = lock(&self.shared.line);
        if self.is_slow {
            line.slow -= 1;
        } else {
            line.quick -= 1;
        }
    }
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Batcher {
    pub(super) fn new(transport: Limited, timeout: Duration) -> Self {
        Self(Arc::new(Shared { transport, timeout, patience: PATIENCE, line: Mutex::default() }))
    }

    /// Waits in the line, then for the answer.
    async fn gathered(self, request: SerializedRequest) -> Answer {
        let (waiting, answered) = Waiting::new(request);
        {
            let mut line = lock(&self.0.line);
            if line.waiting.len() >= MAX_WAITING {
                let full = format!("{MAX_WAITING} requests wait for the node already");
                return Err(TransportErrorKind::custom_str(&full));
            }
            line.waiting.push_back(waiting);
        }
        self.fill();
        match tokio::time::timeout(self.0.timeout, answered).await {
            Ok(answer) => received(answer),
            Err(_) => {
                let late = format!("timed out: no answer within {:?}", self.0.timeout);
                Err(TransportErrorKind::custom_str(&late))
            }
        }
    }

    /// A batch that the caller made: every request in it has its answer, or the batch has none.
    async fn whole(self, requests: Vec<SerializedRequest>) -> Answer {
        let (batch, askers): (Vec<_>, Vec<_>) = requests.into_iter().map(Waiting::new).unzip();
        self.bring(batch).await;
        let mut answers = Vec::new();
        for asker in askers {
            answers.extend_from_slice(received(asker.await)?.responses());
        }
        Ok(ResponsePacket::Batch(answers))
    }

    /// Has the next of what waits sent, if there is a place.
    fn fill(&self) {
        {
            let mut line = lock(&self.0.line);
            if line.waiting.is_empty() || !line.has_place() {
                return;
            }
            line.quick += 1;
        }
        let place = Place { shared: Arc::clone(&self.0), is_slow: false };
        tokio::spawn(self.clone().send(place));
    }

    /// Sends batch after batch, until nothing waits or one takes too long.
    async fn send(self, mut place: Place) {
        while !place.is_slow {
            let batch = lock(&self.0.line).next();
            if batch.is_empty() {
                break;
            }
            let mut brought = Box::pin(self.clone().bring(batch));
            if tokio::time::timeout(self.0.patience, &mut brought).await.is_err() {
                place.give_way();
                self.fill();
                brought.await;
            }
        }
        drop(place);
        // What came meanwhile may have found no place.
        self.fill();
    }

    /// Brings a batch, and hands the answers out.
    async fn bring(self, batch: Vec<Waiting>) {
        let length = batch.len();
        if length == 1 {
            for one in batch {
                self.clone().alone(one).await;
            }
            return;
        }
        let (requests, askers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|one| (one.request, one.answer)).unzip();
        let packet = RequestPacket::Batch(requests);
        let mut answers = match self.0.transport.ask(&packet).await {
            Ok(ResponsePacket::Batch(answers)) => by_id(answers),
            Ok(ResponsePacket::Single(_)) => HashMap::new(),
            Err(error) if may_pass_alone(&error) => HashMap::new(),
            Err(error) => return fail(askers, &error),
        };
        let RequestPacket::Batch(requests) = packet else { return };
        let mut left = Vec::new();
        for (request, answer) in requests.into_iter().zip(askers) {
            match answers.remove(request.id()) {
                Some(found) => drop(answer.send(Ok(ResponsePacket::Single(found)))),
                None => left.push(Waiting { request, answer }),
            }
        }
        self.learn(length, left.len());
        for one in left {
            tokio::spawn(self.clone().alone(one));
        }
    }

    async fn alone(self, one: Waiting) {
        let answer = self.0.transport.ask(&RequestPacket::Single(one.request)).await;
        self.learn(1, 0);
        drop(one.answer.send(answer));
    }

    fn learn(&self, length: usize, unanswered: usize) {
        let mut line = lock(&self.0.line);
        if unanswered == 0 {
            line.size.answered(length);
        } else {
            line.size.refused(length);
            let most = line.size.most;
            tracing::info!(length, unanswered, most, "an Ethereum node does not answer a whole batch");
        }
    }
}

fn received(answer: Result<Answer, oneshot::error::RecvError>) -> Answer {
    answer.unwrap_or_else(|_| Err(TransportErrorKind::custom_str("its batch was given up")))
}

/// The answers of a batch. Of two with one id neither is believed; one of a stranger's id finds nobody.
fn by_id(answers: Vec<Response>) -> HashMap<Id, Response> {
    let (mut found, mut doubled) = (HashMap::new(), HashSet::new());
    for answer in answers {
        if let Some(other) = found.insert(answer.id.clone(), answer) {
            doubled.insert(other.id);
        }
    }
    let refuses = |answer: &Response| answer.error_code() == Some(INVALID_REQUEST);
    found.retain(|id, answer| !doubled.contains(id) && !refuses(answer));
    found
}

/// Whether the node may take alone what it did not take together. A node that is busy or away is not asked so much more.
fn may_pass_alone(error: &TransportError) -> bool {
    match error {
        TransportError::DeserError { .. } => true,
        TransportError::Transport(TransportErrorKind::Custom(error)) => {
            match error.downcast_ref::<Status>() {
                Some(Status(StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)) => false,
                Some(Status(status)) => status.is_client_error(),
                None => error.is::<TooLong>(),
            }
        }
        _ => false,
    }
}

/// Whether any of it was done is unknown.
fn fail(askers: Vec<oneshot::Sender<Answer>>, error: &TransportError) {
    let why = chained(error);
    for asker in askers {
        drop(asker.send(Err(TransportErrorKind::custom_str(&why))));
    }
}

impl Service<RequestPacket> for Batcher {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        let this = self.clone();
        match request {
            RequestPacket::Single(one) if GATHERED.contains(&one.method()) => Box::pin(this.gathered(one)),
            alone @ RequestPacket::Single(_) => Box::pin(async move { this.0.transport.ask(&alone).await }),
            RequestPacket::Batch(requests) => Box::pin(this.whole(requests)),
        }
    }
}

#[cfg(test)]
mod tests;
