//! The compiled contracts, as committed, in an EVM: every state and every refusal, their agreement with the model, and
//! what each call costs.

#[path = "contracts/abi.rs"]
mod abi;
#[path = "contracts/agreement.rs"]
mod agreement;
#[path = "contracts/chain.rs"]
mod chain;
#[path = "contracts/decision.rs"]
mod decision;
#[path = "contracts/dispute.rs"]
mod dispute;
#[path = "contracts/disputes.rs"]
mod disputes;
#[path = "contracts/escrow.rs"]
mod escrow;
#[path = "contracts/gas.rs"]
mod gas;
#[path = "contracts/invariants.rs"]
mod invariants;
#[path = "contracts/notary.rs"]
mod notary;
#[path = "contracts/panel.rs"]
mod panel;
#[path = "contracts/rogue.rs"]
mod rogue;
#[path = "contracts/transfer.rs"]
mod transfer;
#[path = "contracts/vectors.rs"]
mod vectors;
#[path = "contracts/world.rs"]
mod world;
