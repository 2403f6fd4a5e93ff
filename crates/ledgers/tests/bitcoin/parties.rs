//! Who takes part, and ledgers over one bitcoind.

use std::time::Duration;

use sofie_ledgers::Profile;
use sofie_ledgers::bitcoin::{BitcoinConfig, BitcoinLedger, BitcoinOpenError, bitcoin_profile};
use sofie_ledgers::evm::Keyring;
use sofie_model::{Account, Class, PublicKey, Span};
use zeroize::Zeroizing;

use crate::node::Bitcoind;

/// Under so many blocks a fact is final in these tests.
pub(crate) const DEPTH: u32 = 2;

/// A key made of one repeated byte.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Party(u8);

pub(crate) const PAYER: Party = Party(0x11);
pub(crate) const CLAIMANT: Party = Party(0x22);
pub(crate) const OPERATOR: Party = Party(0x33);
/// Everybody's.
pub(crate) const ALL: [Party; 3] = [PAYER, CLAIMANT, OPERATOR];

impl Party {
    fn signing(self) -> k256::ecdsa::SigningKey {
        k256::ecdsa::SigningKey::from_slice(&[self.0; 32]).unwrap()
    }

    pub(crate) fn public(self) -> PublicKey {
        PublicKey::from(self.signing().verifying_key())
    }

    pub(crate) fn account(self) -> Account {
        Account::from(self.signing().verifying_key())
    }

    /// P2WPKH of its key, in hexadecimal.
    pub(crate) fn script(self) -> String {
        let key = bitcoin::key::CompressedPublicKey::from_slice(&self.public().0).unwrap();
        bitcoin::ScriptBuf::new_p2wpkh(&key.wpubkey_hash()).to_hex_string()
    }
}

pub(crate) fn profile(classes: &[Class]) -> Profile {
    let profile = bitcoin_profile("bitcoin".parse().unwrap(), DEPTH, Span::from_seconds(1));
    Profile { classes: classes.to_vec(), ..profile }
}

pub(crate) fn config(node: &Bitcoind) -> BitcoinConfig {
    BitcoinConfig {
        url: node.url.clone(),
        auth: node.auth(),
        network: "regtest".into(),
        since: 1,
        timeout: Duration::from_secs(20),
        operator: OPERATOR.account(),
        watch: ALL.iter().map(|party| party.public()).collect(),
        note_fee_limit: 10_000,
    }
}

/// A ledger of a node that holds these parties' keys.
pub(crate) async fn open(
    node: &Bitcoind,
    parties: &[Party],
    profile: Profile,
) -> Result<BitcoinLedger, BitcoinOpenError> {
    open_with(config(node), parties, profile).await
}

/// The same, by another configuration.
pub(crate) async fn open_with(
    config: BitcoinConfig,
    parties: &[Party],
    profile: Profile,
) -> Result<BitcoinLedger, BitcoinOpenError> {
    let mut keyring = Keyring::default();
    for party in parties {
        keyring.insert(&Zeroizing::new([party.0; 32])).unwrap();
    }
    BitcoinLedger::open(config, profile, keyring).await
}

/// So many coins of 50 bitcoins or less for each party, spendable at once.
pub(crate) async fn endow(node: &Bitcoind, parties: &[Party], coins: u32) {
    for party in parties {
        node.mine_to(coins, &party.script()).await;
    }
    node.mine(100).await;
}
