//! The model's hand-written definitions are what the compiler made of the sources: every function, error and event,
//! none more, none less.

use std::collections::BTreeSet;

use alloy_primitives::keccak256;
use alloy_sol_types::{SolEventInterface, SolInterface};
use serde_json::Value;
use sofie_model::contract::{
    self,
    Decision::{DecisionCalls, DecisionErrors, DecisionEvents},
    Escrow::{EscrowCalls, EscrowErrors, EscrowEvents},
    Notary::{NotaryCalls, NotaryErrors, NotaryEvents},
};

use crate::world::{artefact, creation};

/// `commit((bytes32,…)[],uint64)`: a type's canonical name, tuples spelled out.
fn canonical(parameter: &Value) -> String {
    let name = parameter["type"].as_str().expect("a type");
    match name.strip_prefix("tuple") {
        Some(suffix) => format!("({}){suffix}", list(&parameter["components"])),
        None => name.into(),
    }
}

fn list(parameters: &Value) -> String {
    let parameters = parameters.as_array().expect("a list");
    parameters.iter().map(canonical).collect::<Vec<_>>().join(",")
}

/// The entries of one kind, as `name(types)`.
fn compiled(name: &str, kind: &str) -> BTreeSet<String> {
    let artefact = artefact(name);
    let entries = artefact["abi"].as_array().expect("a list").iter();
    entries
        .filter(|entry| entry["type"] == kind)
        .map(|entry| format!("{}({})", entry["name"].as_str().expect("a name"), list(&entry["inputs"])))
        .collect()
}

fn written(signatures: &[&str]) -> BTreeSet<String> {
    signatures.iter().map(|&signature| signature.into()).collect()
}

fn selectors<T: SolInterface>() -> BTreeSet<[u8; 4]> {
    T::selectors().collect()
}

/// The first four bytes of each signature's Keccak-256, as the EVM dispatches.
fn hashed(signatures: &BTreeSet<String>) -> BTreeSet<[u8; 4]> {
    signatures.iter().map(|text| keccak256(text)[..4].try_into().expect("four")).collect()
}

fn topics<T: SolEventInterface>(selectors: &[[u8; 32]]) -> BTreeSet<[u8; 32]> {
    assert_eq!(selectors.len(), T::COUNT);
    selectors.iter().copied().collect()
}

fn hashed_whole(signatures: &BTreeSet<String>) -> BTreeSet<[u8; 32]> {
    signatures.iter().map(|text| keccak256(text).0).collect()
}

#[test]
fn the_decision_contract_is_as_the_model_has_it() {
    let [functions, errors, events] = ["function", "error", "event"].map(|kind| compiled("Decision", kind));
    assert_eq!(functions, written(DecisionCalls::SIGNATURES));
    assert_eq!(errors, written(DecisionErrors::SIGNATURES));
    assert_eq!(events, written(DecisionEvents::SIGNATURES));
    assert_eq!(hashed(&functions), selectors::<DecisionCalls>());
    assert_eq!(hashed(&errors), selectors::<DecisionErrors>());
    assert_eq!(hashed_whole(&events), topics::<DecisionEvents>(DecisionEvents::SELECTORS));
}

#[test]
fn the_escrow_contract_is_as_the_model_has_it() {
    let [functions, errors, events] = ["function", "error", "event"].map(|kind| compiled("Escrow", kind));
    assert_eq!(functions, written(EscrowCalls::SIGNATURES));
    assert_eq!(errors, written(EscrowErrors::SIGNATURES));
    assert_eq!(events, written(EscrowEvents::SIGNATURES));
    assert_eq!(hashed(&functions), selectors::<EscrowCalls>());
    assert_eq!(hashed(&errors), selectors::<EscrowErrors>());
    assert_eq!(hashed_whole(&events), topics::<EscrowEvents>(EscrowEvents::SELECTORS));
}

#[test]
fn the_notary_contract_is_as_the_model_has_it() {
    let [functions, errors, events] = ["function", "error", "event"].map(|kind| compiled("Notary", kind));
    assert_eq!(functions, written(NotaryCalls::SIGNATURES));
    assert_eq!(errors, written(NotaryErrors::SIGNATURES));
    assert_eq!(events, written(NotaryEvents::SIGNATURES));
    assert_eq!(hashed(&functions), selectors::<NotaryCalls>());
    assert_eq!(hashed(&errors), selectors::<NotaryErrors>());
    assert_eq!(hashed_whole(&events), topics::<NotaryEvents>(NotaryEvents::SELECTORS));
}

/// Which topics an event has decides how a proof is read.
#[test]
fn events_are_indexed_by_transaction_and_leg_and_batches_by_their_root() {
    let all = [("Decision", &["txid"][..]), ("Escrow", &["txid", "leg"][..]), ("Notary", &["root"][..])];
    for (name, indexed) in all {
        let artefact = artefact(name);
        for event in artefact["abi"].as_array().unwrap().iter().filter(|entry| entry["type"] == "event") {
            let inputs = event["inputs"].as_array().unwrap();
            let found: Vec<_> =
                inputs.iter().filter(|input| input["indexed"] == true).map(|input| &input["name"]).collect();
            assert_eq!(found, indexed, "{name}.{}", event["name"]);
        }
    }
}

#[test]
fn no_function_takes_value_but_prepare_and_none_belongs_to_an_owner() {
    for (name, payable) in [("Decision", &[][..]), ("Escrow", &["prepare"][..]), ("Notary", &[][..])] {
        let artefact = artefact(name);
        let entries = artefact["abi"].as_array().unwrap();
        let takers: Vec<_> = entries
            .iter()
            .filter(|entry| entry["stateMutability"] == "payable")
            .map(|entry| &entry["name"])
            .collect();
        assert_eq!(takers, payable, "{name}");
        assert!(
            !entries.iter().any(|entry| entry["type"] == "receive" || entry["type"] == "fallback"),
            "{name}"
        );
    }
}

#[test]
fn the_deployer_puts_each_contract_where_the_model_says() {
    let mut chain = crate::chain::Chain::new(0);
    let (decision_code, escrow_code) = (creation("Decision"), creation("Escrow"));
    let decision = chain.deploy(&decision_code);
    assert_eq!(decision, contract::decision_address(&decision_code));
    let escrow = chain.deploy(&contract::escrow_creation(&escrow_code, decision));
    assert_eq!(escrow, contract::escrow_address(&escrow_code, decision));
    assert_eq!(chain.deploy(&creation("Notary")), contract::NOTARY);
    let reads = chain.view(escrow, &contract::Escrow::decisionCall {});
    assert_eq!(reads, contract::address(decision));
}
