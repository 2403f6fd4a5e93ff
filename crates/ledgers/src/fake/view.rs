//! What a simulation sees of a fake ledger that no node does: all of it, without asking.

use sofie_model::{Account, Evidence, Fact, Operation};

use super::{Fake, Wanted, intent};
use crate::{Intent, LedgerError};

impl Fake {
    /// What is recorded, in order, and whether it is final.
    #[must_use]
    pub fn record(&self) -> Vec<(Evidence, bool)> {
        let chain = self.chain();
        let with_finality =
            |one: &Evidence| (one.clone(), chain.is_final(&self.profile, one.position.height));
        chain.facts.iter().map(with_finality).collect()
    }

    /// The first record of this operation, and whether it is final.
    #[must_use]
    pub fn seen(&self, operation: &Operation) -> Option<(Evidence, bool)> {
        let wanted = Wanted::of(operation);
        self.record().into_iter().find(|(one, _)| wanted.is(&one.fact))
    }

    /// Whether the fact is what the operation asks for; of a decision, any decision.
    #[must_use]
    pub fn is_of(fact: &Fact, operation: &Operation) -> bool {
        Wanted::of(operation).is(fact)
    }

    /// All the money on the ledger.
    #[must_use]
    pub fn supply(&self) -> u128 {
        self.chain().rules.balances.values().sum()
    }

    /// What `account` holds at the head.
    #[must_use]
    pub fn holds(&self, account: Account) -> u128 {
        self.chain().rules.balances.get(&account).copied().unwrap_or_default()
    }

    /// How many blocks there are.
    #[must_use]
    pub fn height(&self) -> usize {
        self.chain().blocks.len()
    }

    /// What an intent would do.
    ///
    /// # Errors
    /// [`LedgerError::Nonsense`] when it is none of this ledger's.
    pub fn operation(&self, intent: &Intent) -> Result<Operation, LedgerError> {
        self.decode(intent)
    }

    /// An intent with a number of one's own choice: a nonce that another may have, too.
    ///
    /// # Errors
    /// As [`crate::Ledger::intend`].
    pub fn intend_with(&self, number: u64, operation: &Operation) -> Result<Intent, LedgerError> {
        self.check_carries(operation)?;
        self.chain().tries += 1;
        Ok(intent::encode(number, operation))
    }

    /// How many intents were made.
    #[must_use]
    pub fn tries(&self) -> u64 {
        self.chain().tries
    }
}
