//! Who takes part in the cases.

use sofie_ledgers::conformance::Site;
use sofie_ledgers::evm::{EvmLedger, Keyring};
use sofie_model::{Account, Attestation, SignedAttestation};
use zeroize::Zeroizing;

/// 10 ETH each.
pub(crate) const BALANCE: u128 = 10_000_000_000_000_000_000;
/// What a case's escrow holds.
pub(crate) const AMOUNT: u128 = 1_000_000;

/// Keys made of one repeated byte.
#[derive(Debug, Clone)]
pub(crate) struct Parties {
    pub(crate) keyring: Keyring,
    pub(crate) payer: Account,
    pub(crate) payee: Account,
    pub(crate) operator: Account,
    pub(crate) sensor: Account,
}

pub(crate) fn secret(byte: u8) -> Zeroizing<[u8; 32]> {
    Zeroizing::new([byte; 32])
}

impl Parties {
    pub(crate) fn new() -> Self {
        let mut keyring = Keyring::default();
        let mut insert = |byte| keyring.insert(&secret(byte)).unwrap();
        let (payer, payee, operator) = (insert(0x11), insert(0x22), insert(0x33));
        let sensor = Keyring::default().insert(&secret(0x44)).unwrap();
        Self { keyring, payer, payee, operator, sensor }
    }

    pub(crate) fn balances(&self) -> Vec<(Account, u128)> {
        [self.payer, self.payee, self.operator].into_iter().map(|account| (account, BALANCE)).collect()
    }

    pub(crate) fn attest(attestation: Attestation) -> SignedAttestation {
        attestation.sign(&k256::ecdsa::SigningKey::from_slice(secret(0x44).as_slice()).unwrap())
    }

    pub(crate) fn site(&self, ledger: &EvmLedger) -> Site {
        Site {
            chain_id: ledger.chain_id(),
            decision: ledger.decision_address(),
            escrow: ledger.escrow_address(),
            payer: self.payer,
            payee: self.payee,
            evidence_key: self.sensor,
            amount: AMOUNT,
            others: vec![self.operator],
        }
    }
}
