//! RFC 6962 proofs and C2SP checkpoints: that a record stands in a signed log.
