//! The inter-ledger protocol as a pure state machine (docs/guide/inter-ledger.md): one transaction is recorded in all
//! of its ledgers or in none.
//!
//! Nothing here does I/O, draws randomness or reads a clock. [`State::next`] takes an [`Input`] and the time it came
//! and returns the next state; [`State::effects`] says what is outstanding in a state. The caller stores the input
//! durably, then runs the effects; a restart replays the inputs, and what was outstanding is outstanding again.
//! Every effect names the inputs that answer it ([`Effect`]).
//!
//! Left out here: how a ledger carries an operation out (room `ledgers`), what becomes of an armed escrow later
//! (room `market`), and the exchange of messages between nodes.

mod effect;
mod input;
mod label;
mod state;
mod timing;

pub use effect::{Effect, Look, Task};
pub use input::{Input, Plan, Untimely};
pub use label::{Label, label};
pub use state::{Aborter, Edge, Leg, News, Phase, Rejected, Remaining, State};
pub use timing::{PivotClock, Slack, TooTight, slack};
