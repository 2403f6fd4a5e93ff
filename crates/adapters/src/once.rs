//! Requests that are sent at most once, by their names: what became of each is written down as unknown before its first
//! byte leaves, and corrected afterwards.

use std::sync::{Mutex, PoisonError};

use sofie_model::Digest;

use crate::{
    port::{AdapterError, Gate, Outcome, REMEMBERED, Refusal, Refuser, Request, Write},
    tally::Recent,
};

/// What became of the last [`REMEMBERED`] requests of one adapter.
pub(crate) struct Once {
    /// Held while a request is under way.
    turn: tokio::sync::Mutex<()>,
    outcomes: Mutex<Recent<Digest, Outcome>>,
}

impl Default for Once {
    fn default() -> Self {
        Self { turn: tokio::sync::Mutex::new(()), outcomes: Mutex::new(Recent::new(REMEMBERED)) }
    }
}

impl Once {
    /// Asks the gate and has the request sent, unless its name is known: then the first outcome is returned.
    ///
    /// # Errors
    /// Those of `send`, which says with one that nothing has left: then the name is free again.
    pub(crate) async fn run(
        &self,
        gate: &dyn Gate,
        request: &Request,
        send: impl Future<Output = Result<Outcome, AdapterError>> + Send,
    ) -> Result<Outcome, AdapterError> {
        self.named(&request.message, || gate.admit(request), send).await
    }

    /// The same for a write.
    ///
    /// # Errors
    /// As [`Once::run`].
    pub(crate) async fn write(
        &self,
        gate: &dyn Gate,
        write: &Write,
        send: impl Future<Output = Result<Outcome, AdapterError>> + Send,
    ) -> Result<Outcome, AdapterError> {
        self.named(&write.message, || gate.admit_write(write), send).await
    }

    async fn named(
        &self,
        name: &Digest,
        admit: impl FnOnce() -> Result<(), Refusal> + Send,
        send: impl Future<Output = Result<Outcome, AdapterError>> + Send,
    ) -> Result<Outcome, AdapterError> {
        // Before the gate: a door that lets nobody in twice must not call refused what was done.
        if let Some(outcome) = self.outcomes(|outcomes| outcomes.get(name).cloned()) {
            return Ok(outcome);
        }
        if let Err(refusal) = admit() {
            return Ok(Outcome::Refused(Refuser::Gate(refusal)));
        }
        let _turn = self.turn.lock().await;
        if let Some(outcome) = self.outcomes(|outcomes| outcomes.get(name).cloned()) {
            return Ok(outcome);
        }
        // If this call is dropped half-way, the next one with this name finds that nobody knows.
        let reason = "the call was interrupted while it was under way".into();
        self.outcomes(|outcomes| outcomes.put(*name, Outcome::Unknown { reason }));
        let sent = send.await;
        self.outcomes(|outcomes| match &sent {
            Ok(outcome) => outcomes.change(name, outcome.clone()),
            Err(_) => outcomes.forget(name),
        });
        sent
    }

    fn outcomes<T>(&self, look: impl FnOnce(&mut Recent<Digest, Outcome>) -> T) -> T {
        look(&mut self.outcomes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
