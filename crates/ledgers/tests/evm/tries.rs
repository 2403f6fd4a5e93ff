//! One operation as an executor carries it out, a call of the port at a time: what is fixed is kept as a journal keeps it,
//! and is fixed anew only when the ledger says that it can never stand.

use sofie_ledgers::evm::EvmLedger;
use sofie_ledgers::{Intent, Ledger, LedgerError, Status};
use sofie_model::{Evidence, Operation};

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Ask,
    Fix,
    Bring,
}

/// What a journal and an executor know of an operation.
pub(crate) struct Try {
    pub(crate) operation: Operation,
    pub(crate) intent: Option<Intent>,
    /// How many intents were fixed.
    pub(crate) fixed: u32,
    /// What stands.
    pub(crate) stands: Option<Evidence>,
    next: Next,
}

impl Try {
    pub(crate) fn new(operation: Operation) -> Self {
        Self { operation, intent: None, fixed: 0, stands: None, next: Next::Ask }
    }

    /// Makes one call; `false` when the turn is over: the ledger must move on before more is to be done.
    pub(crate) async fn call(&mut self, ledger: &EvmLedger) -> bool {
        let next = match self.next {
            Next::Ask => self.ask(ledger).await,
            Next::Fix => self.fix(ledger).await,
            Next::Bring => self.bring(ledger).await,
        };
        self.next = next.unwrap_or(Next::Ask);
        next.is_some()
    }

    /// All calls of a turn.
    pub(crate) async fn turn(&mut self, ledger: &EvmLedger) {
        while self.call(ledger).await {}
    }

    /// A new process knows what is written, and asks first.
    pub(crate) async fn restart(&mut self, ledger: &EvmLedger) {
        self.next = Next::Ask;
        if let Some(intent) = &self.intent {
            ledger.adopt(intent).await.unwrap();
        }
    }

    async fn ask(&mut self, ledger: &EvmLedger) -> Option<Next> {
        match ledger.status(&self.operation, self.intent.as_ref()).await.unwrap() {
            Status::Final(evidence) => {
                let earlier = self.stands.replace(evidence.clone());
                assert!(earlier.is_none_or(|earlier| earlier == evidence), "it stands twice");
                None
            }
            Status::Pending => None,
            Status::Absent if self.intent.is_some() => Some(Next::Bring),
            Status::Absent | Status::Displaced { .. } => Some(Next::Fix),
            Status::Refused { reason } => panic!("{}: {reason}", self.operation.verb()),
        }
    }

    async fn fix(&mut self, ledger: &EvmLedger) -> Option<Next> {
        match ledger.intend(&self.operation).await {
            Ok(intent) => self.intent = Some(intent),
            Err(LedgerError::Transient { .. }) => return None,
            Err(error) => panic!("{}: {error}", self.operation.verb()),
        }
        self.fixed += 1;
        Some(Next::Bring)
    }

    async fn bring(&mut self, ledger: &EvmLedger) -> Option<Next> {
        match ledger.submit(self.intent.as_ref().unwrap()).await {
            Ok(()) | Err(LedgerError::Transient { .. }) => None,
            Err(error) => panic!("{}: {error}", self.operation.verb()),
        }
    }
}
