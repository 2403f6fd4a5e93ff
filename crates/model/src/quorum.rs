//! A group of named members that decides transactions: more than two thirds of them sign one decision, and that
//! certificate is D's record ([`crate::proof::quorum`]). No server, no log, no chain: what a reader needs is the
//! manifest, the members' keys, and the certificate (docs/specs/inter-ledger.md, "A quorum that decides").
//!
//! The members agree by Tendermint's consensus (Buchman, Kwon, Milosevic: *The latest gossip on BFT consensus*, 2018,
//! algorithm 1), one instance a transaction. Of n members up to f = ⌊(n − 1)/3⌋ may lie in any way: two certificates of
//! one transaction for different decisions do not exist. While more than f are away, nothing is decided.
//!
//! Everything here is pure: no network, no disk, no clock.

mod exchange;
mod group;
mod instance;
mod message;
mod word;

pub use exchange::{Ask, Bundle, Candidate, MAX_ASK, MAX_BUNDLE, MAX_VOTES, Proposal};
pub use group::{BadGroup, Group, MAX_MEMBERS, MIN_MEMBERS};
pub use instance::{Effect, Input, Instance, MAX_DRIFT, MAX_STATE, MAX_WAIT, Refused, Seat, State, Step};
pub use message::{Certificate, Kind, MAX_VALUE, Value, Vote, Votes, check_site, vote_digest};
pub use word::{MAX_REASON, MAX_WORD, Said, Word, word_digest};

#[cfg(test)]
pub(crate) mod tests;
