//! One member of a group: the doors' side of it, and the senders to the others.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use ed25519_dalek::SigningKey;
use sofie_model::quorum::{Ask, Bundle, Group, MAX_ASK, MAX_BUNDLE, Seat, Word};
use sofie_model::{Digest, Span, Txid, canonical};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::outbox::Outbox;
use super::store::{OpenError, Store, refused};
use super::worker::{MAX_QUEUE, Request, Worker};
use super::{MEDIA_TYPE, Seated, bundle_path, clients, segments};
use crate::Clock;
use crate::http::Client;
use crate::sqlite::Fault;

/// So many bundles are on their way to one member at once.
const IN_FLIGHT: usize = 4;

/// What a member is opened with.
#[derive(Debug, Clone)]
pub struct MemberConfig {
    /// Every member of the group, itself too.
    pub members: Vec<Seated>,
    /// Its store; made when there is none. Its folder must be there.
    pub path: PathBuf,
    /// How long the first round waits for each step, and how often an undecided member repeats itself: some times the way of a
    /// message. [`super::PACE`] is for a network.
    pub pace: Span,
}

/// Why a member did not take what it was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It is not in the format.
    #[error("{0}")]
    Malformed(String),
    /// The rules are against it.
    #[error("{0}")]
    Refused(String),
    /// Too much at once.
    #[error("{0}: come later")]
    Busy(String),
    /// The member does not work any more.
    #[error("this member does not work: {0}")]
    Broken(String),
}

/// A member that runs. Dropping it waits for its last write.
pub struct Member {
    group: Group,
    place: u8,
    queue: SyncSender<Request>,
    worker: Option<JoinHandle<()>>,
    senders: Vec<AbortHandle>,
}

impl Member {
    /// Opens the store, takes up what was undecided, and runs. Blocks while it reads; sends from the runtime that this is
    /// called in.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(config: MemberConfig, key: SigningKey, clock: Clock) -> Result<Self, OpenError> {
        let group = super::group(&config.members)?;
        let public = Digest(key.verifying_key().to_bytes());
        let seat = Seat::new(group.clone(), key, config.pace).ok_or(OpenError::NoMember { key: public })?;
        let place = seat.member();
        let clients = clients(&group, &config.members, MAX_BUNDLE)?;
        let store = Store::open(&config.path, &group.id(), &public)?;
        let others: Vec<_> =
            (0_u8..).zip(clients).filter(|(at, _)| *at != place).map(|(_, one)| one).collect();
        let outboxes: Vec<Arc<Outbox>> = others.iter().map(|_| Arc::default()).collect();
        let worker = Worker::resume(Arc::new(seat), clock, store, outboxes.clone());
        let worker = worker.map_err(|what| refused(&config.path, Fault::Corrupt(what)))?;
        let (queue, requests) = sync_channel(MAX_QUEUE);
        let worker = std::thread::Builder::new()
            .name(format!("member-{place}"))
            .spawn(move || worker.run(&requests))
            .map_err(|source| refused(&config.path, Fault::Io(Box::new(source))))?;
        let path = bundle_path(&group.id());
        let start = |(client, outbox): (&Client, &Arc<Outbox>)| {
            let sender = send(client.clone(), path.clone(), Arc::clone(outbox), queue.clone());
            tokio::spawn(sender).abort_handle()
        };
        let pairs = || others.iter().zip(&outboxes);
        let senders = (0..IN_FLIGHT).flat_map(|_| pairs().map(start)).collect();
        Ok(Self { group, place, queue, worker: Some(worker), senders })
    }

    /// The group.
    #[must_use]
    pub const fn group(&self) -> &Group {
        &self.group
    }

    /// Its place there.
    #[must_use]
    pub const fn place(&self) -> u8 {
        self.place
    }

    /// Takes a request for a decision ([`Ask`], at most [`MAX_ASK`] bytes), and answers the question `nonce`.
    ///
    /// # Errors
    /// [`NotTaken`]; what the rules are against is no error but an answer that says so.
    pub async fn ask(&self, body: &[u8], nonce: Digest) -> Result<Word, NotTaken> {
        let ask: Ask = read(body, MAX_ASK)?;
        self.request(|answer| Request::Ask { ask: Box::new(ask), nonce, answer }).await
    }

    /// Hears another member's [`Bundle`] (at most [`MAX_BUNDLE`] bytes), and answers with its own.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub async fn hear(&self, body: &[u8]) -> Result<Bundle, NotTaken> {
        let bundle: Bundle = read(body, MAX_BUNDLE)?;
        self.request(|answer| Request::Heard { bundle: Box::new(bundle), answer: Some(answer) }).await
    }

    /// Answers the question `nonce` how a transaction stands.
    ///
    /// # Errors
    /// [`NotTaken::Busy`], [`NotTaken::Broken`].
    pub async fn tell(&self, txid: Txid, nonce: Digest) -> Result<Word, NotTaken> {
        self.request(|answer| Request::Tell { txid, nonce, answer }).await
    }

    async fn request<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, NotTaken>>) -> Request,
    ) -> Result<T, NotTaken> {
        let gone = || NotTaken::Broken("its worker has ended: restart the node".into());
        let (asker, answer) = oneshot::channel();
        self.queue.try_send(request(asker)).map_err(|error| match error {
            TrySendError::Full(_) => NotTaken::Busy(format!("{MAX_QUEUE} requests wait already")),
            TrySendError::Disconnected(_) => gone(),
        })?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.senders.iter().for_each(AbortHandle::abort);
        // The worker finishes what waits, ends, and lets the store's lock go.
        let _ = self.queue.send(Request::Stop);
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

fn read<T>(body: &[u8], limit: usize) -> Result<T, NotTaken>
where
    T: minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()>,
{
    canonical::decode(body, limit).map_err(|error| NotTaken::Malformed(error.to_string()))
}

/// Brings one other member what waits for it, and hears its answers.
async fn send(client: Client, path: Vec<String>, outbox: Arc<Outbox>, queue: SyncSender<Request>) {
    loop {
        let bundle = outbox.next().await.as_ref().clone();
        match client.post::<Bundle>(&segments(&path), MEDIA_TYPE, bundle).await {
            Ok(bundle) => {
                // What finds no room is said again.
                let _ = queue.try_send(Request::Heard { bundle: Box::new(bundle), answer: None });
            }
            Err(error) => tracing::debug!(member = client.place(), %error, "a bundle was not taken"),
        }
    }
}
