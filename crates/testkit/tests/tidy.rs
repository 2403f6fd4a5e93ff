//! The tidy tests: what the tree promises about itself, read from its manifests and sources.
//!
//! Each check lives beside a small test with a made-up offender, so that the check is known to be able to fail. The
//! scanner blanks comments and literals but is no Rust parser: a macro that builds a forbidden call is not seen.

#[path = "tidy/commands.rs"]
mod commands;
#[path = "tidy/graph.rs"]
mod graph;
#[path = "tidy/kinds.rs"]
mod kinds;
#[path = "tidy/paper.rs"]
mod paper;
#[path = "tidy/purity.rs"]
mod purity;
#[path = "tidy/scan.rs"]
mod scan;
#[path = "tidy/sources.rs"]
mod sources;
#[path = "tidy/tree.rs"]
mod tree;
