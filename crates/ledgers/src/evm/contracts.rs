//! The compiled contracts, from the committed artefacts (`contracts/artifacts`), and what their refusals mean.

use std::sync::LazyLock;

use alloy_primitives::{Bytes, hex};
use alloy_sol_types::{Revert, SolError, SolInterface};
use sofie_model::Account;
use sofie_model::contract::{self, Decision, Escrow, Notary};

/// A contract, ready to be deployed: its creation code with its constructor's arguments, and where it will stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Its name in `contracts/src`.
    pub name: &'static str,
    /// What the deployment proxy is sent.
    pub input: Bytes,
    /// Where it stands, on every chain.
    pub address: Account,
}

/// The decision contract.
pub static DECISION: LazyLock<Deployment> = LazyLock::new(|| {
    deployment("Decision", creation(include_str!("../../../../contracts/artifacts/Decision.json")))
});

/// The escrow contract that reads [`DECISION`].
pub static ESCROW: LazyLock<Deployment> = LazyLock::new(|| {
    let bytecode = creation(include_str!("../../../../contracts/artifacts/Escrow.json"));
    deployment("Escrow", contract::escrow_creation(&bytecode, DECISION.address))
});

/// The contract that takes batches of records.
pub static NOTARY: LazyLock<Deployment> = LazyLock::new(|| {
    deployment("Notary", creation(include_str!("../../../../contracts/artifacts/Notary.json")))
});

/// The deployment proxy's own code (EIP-2470's sibling by N. Johnson): calls CREATE2 with the first word as the salt.
pub const PROXY_CODE: [u8; 69] = hex!(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f5"
    "8015156039578182fd5b8082525050506014600cf3"
);

fn deployment(name: &'static str, creation: Bytes) -> Deployment {
    Deployment { name, input: contract::deployment(&creation), address: contract::create2(&creation) }
}

fn creation(artefact: &str) -> Bytes {
    let artefact: serde_json::Value =
        serde_json::from_str(artefact).expect("the artefact is compiled in, and a test reads it");
    let code = artefact["bytecode"].as_str().expect("an artefact has a bytecode, and a test reads it");
    hex::decode(code).expect("the compiler writes hexadecimal digits, and a test reads it").into()
}

/// A contract's refusal in words: the custom error's name and fields, or what else stands in the data.
#[must_use]
pub fn refusal(data: &[u8]) -> String {
    if data.is_empty() {
        return "the contract reverted without a reason".into();
    }
    // Errors that two contracts have are the same in both ABIs.
    if let Ok(error) = Escrow::EscrowErrors::abi_decode(data) {
        return format!("{error:?}").replace("EscrowErrors::", "");
    }
    if let Ok(error) = Decision::DecisionErrors::abi_decode(data) {
        return format!("{error:?}").replace("DecisionErrors::", "");
    }
    if let Ok(error) = Notary::NotaryErrors::abi_decode(data) {
        return format!("{error:?}").replace("NotaryErrors::", "");
    }
    match Revert::abi_decode(data) {
        Ok(revert) => revert.reason,
        Err(_) => format!("the contract reverted with 0x{}", hex::encode(&data[..data.len().min(64)])),
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{B256, U256};

    use super::*;

    #[test]
    fn the_artefacts_hold_code_and_their_addresses_are_those_of_the_model() {
        let decision = creation(include_str!("../../../../contracts/artifacts/Decision.json"));
        let escrow = creation(include_str!("../../../../contracts/artifacts/Escrow.json"));
        assert!(decision.len() > 1_000 && escrow.len() > 1_000);
        assert_eq!(DECISION.address, contract::decision_address(&decision));
        assert_eq!(ESCROW.address, contract::escrow_address(&escrow, DECISION.address));
        assert_ne!(DECISION.address, ESCROW.address);
        assert_eq!(NOTARY.address, contract::NOTARY, "the model names where the compiled contract stands");
    }

    #[test]
    fn a_refusal_tells_the_errors_name_and_fields() {
        let late = Decision::TooLate { until: U256::from(7), blockTime: U256::from(9) };
        let undecided = Escrow::Undecided { txid: B256::repeat_byte(0xab) };
        let table = [
            (late.abi_encode(), "TooLate"),
            (late.abi_encode(), "until: 7"),
            (late.abi_encode(), "blockTime: 9"),
            (undecided.abi_encode(), "Undecided"),
            (undecided.abi_encode(), "0xabab"),
            (Revert { reason: "no".into() }.abi_encode(), "no"),
            (Notary::WrongCount { most: 9, got: 0 }.abi_encode(), "most: 9"),
            (vec![], "without a reason"),
            (vec![1, 2, 3], "0x010203"),
        ];
        for (data, expected) in table {
            let got = refusal(&data);
            assert!(got.contains(expected), "{expected}: {got}");
        }
    }
}
