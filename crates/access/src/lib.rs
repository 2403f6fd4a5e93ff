//! Who may do what: capabilities that are verified at the device's door without asking anyone.
//!
//! A capability is a biscuit (`docs/adr/0007-capabilities-by-biscuit.md`): the owner of a thing signs a [`Grant`] for a
//! holder's *key*, not for a name. Whoever carries the token can narrow it ([`token::attenuate`]); only its holder can
//! pass it on to another key ([`token::delegate`]); nobody can widen it. A token alone opens nothing: the holder also
//! signs each request ([`proof`]). The [`Door`] decides from its arguments alone: no network, no clock.
//!
//! Left out: policies of the vault, and the translation of OAuth 2, OpenID Connect and ACE at the edge.
//!
//! ```
//! use sofie_access::{Affordance, Book, Door, Grant, Limits, Presented, Request, Revocations, SecretKey, proof, token};
//! use sofie_model::{Digest, Span, Timestamp};
//!
//! let (owner, renter) = (SecretKey::generate()?, SecretKey::generate()?);
//! let now = Timestamp::from_seconds(1_000);
//! let open = Affordance::action("open")?;
//! let locker = "urn:example:locker:1".parse()?;
//! let grant = Grant::new(renter.public(), locker, open.clone(), now, now + Span::from_seconds(600));
//! let token = token::issue(&owner, &grant)?;
//!
//! let door = Door::new(owner.public(), "locker-co", Limits::default());
//! let request = Request::new("urn:example:locker:1".parse()?, open);
//! let proof = proof::sign(&renter, "locker-co", &token, &request, Digest::sha256(b"random"), now);
//! let revocations = Revocations::none(owner.public(), now);
//! let presented = Presented { token: &token, request: &request, proof: Some(&proof) };
//! let view = door.admit(&presented, &revocations, &mut Book::new(now), now)?;
//! assert_eq!(view.holder, renter.public());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod affordance;
pub mod book;
pub mod caveat;
pub mod door;
pub mod error;
pub mod grant;
pub mod key;
pub mod proof;
pub mod revocation;
pub mod token;
pub mod verdict;

pub use affordance::{Affordance, Op};
pub use book::Book;
pub use caveat::Caveat;
pub use door::{Door, Limits, Presented, Request};
pub use error::{Error, Refusal};
pub use grant::{Grant, View};
pub use key::{PublicKey, SecretKey};
pub use proof::Proof;
pub use revocation::{RevocationId, Revocations, SignedRevocations};
pub use verdict::Verdict;
