//! The parties whose keys this node holds, by name and by account.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sofie_access::SecretKey;
use sofie_model::{Account, Digest, Manifest, Signature};
use sofie_transaction::State;
use zeroize::Zeroizing;

use crate::config::{Config, Name};
use crate::keys::{KeyError, PartyKeys};
use crate::transactions::Secrets;

/// All parties of a node. Clones share them.
#[derive(Debug, Clone)]
pub struct Parties {
    keys: Arc<BTreeMap<Name, PartyKeys>>,
    /// The keys of the other nodes that may enquire for a secret's hash.
    peers: Arc<[[u8; 32]]>,
    /// What the configuration calls the parties of peers, where no party of this node is called so.
    elsewhere: Arc<BTreeMap<Account, Name>>,
}

impl Parties {
    /// Reads or makes the keys of every party of the configuration.
    ///
    /// # Errors
    /// [`KeyError`] names the party and its file.
    pub fn load(config: &Config) -> Result<Self, KeyError> {
        Self::load_in(config, None)
    }

    /// As [`Parties::load`], for a node that was put back from a backup: its secrets are those of another epoch.
    ///
    /// # Errors
    /// As [`Parties::load`].
    pub(crate) fn load_in(config: &Config, epoch: Option<Digest>) -> Result<Self, KeyError> {
        let loaded = |party| Ok(PartyKeys::load_or_create(party)?.in_epoch(epoch));
        let keys = config.parties.iter().map(|party| Ok((party.name.clone(), loaded(party)?)));
        let keys = Arc::new(keys.collect::<Result<_, KeyError>>()?);
        let peers = config.peers.iter().map(|peer| peer.key.to_bytes()).collect();
        Ok(Self { elsewhere: Arc::new(elsewhere(config)), keys, peers })
    }

    /// The keys of the party called `name`.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&PartyKeys> {
        self.keys.iter().find(|(known, _)| known.as_str() == name).map(|(_, keys)| keys)
    }

    /// The party with this account.
    #[must_use]
    pub fn with_account(&self, account: Account) -> Option<&PartyKeys> {
        self.keys.values().find(|keys| keys.account() == account)
    }

    /// The name of an account's party, here or at a peer, or the account itself for one that nobody has a name for.
    #[must_use]
    pub fn name_of(&self, account: Account) -> String {
        let here = self.with_account(account).map(PartyKeys::name);
        let name = here.or_else(|| self.elsewhere.get(&account));
        name.map_or_else(|| account.to_string(), ToString::to_string)
    }

    /// The account of the party that is called so, here or at a peer.
    #[must_use]
    pub fn account_of(&self, name: &str) -> Option<Account> {
        let there =
            || self.elsewhere.iter().find(|(_, known)| known.as_str() == name).map(|(account, _)| *account);
        self.named(name).map(PartyKeys::account).or_else(there)
    }

    /// The same, or the account that the text itself is: `0x…`.
    #[must_use]
    pub fn account_called(&self, text: &str) -> Option<Account> {
        self.account_of(text).or_else(|| text.parse().ok())
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &PartyKeys> {
        self.keys.values()
    }
}

/// Names that mean one account each: a receipt takes no other.
fn elsewhere(config: &Config) -> BTreeMap<Account, Name> {
    let mut taken: BTreeSet<&Name> = config.parties.iter().map(|party| &party.name).collect();
    let of_peers = config.peers.iter().flat_map(|peer| &peer.parties);
    of_peers.filter(|(name, _)| taken.insert(name)).map(|(name, account)| (*account, name.clone())).collect()
}

/// The party's key for capabilities, as the room `access` takes it.
#[must_use]
pub fn capability_key(keys: &PartyKeys) -> SecretKey {
    SecretKey::from_bytes(&Zeroizing::new(keys.ed25519().to_bytes()))
}

/// The secret of a participant: derived from its key and the manifest's nonce, so that a restart finds it again and
/// nothing need be stored.
#[must_use]
pub fn preimage(keys: &PartyKeys, nonce: Digest) -> Digest {
    keys.secret("sofie.preimage.v1", &[nonce.as_bytes()])
}

/// As [`preimage`], where the node of the key `peer` proposes the transaction: a nonce that another draws must not lead
/// to a secret of this node's own transactions, or of those with a third.
#[must_use]
pub fn enquired(keys: &PartyKeys, peer: &[u8; 32], nonce: Digest) -> Digest {
    keys.secret("sofie.preimage.peer.v1", &[peer, nonce.as_bytes()])
}

impl Secrets for Parties {
    fn preimage(&self, state: &State, who: u16) -> Option<Digest> {
        let manifest: &Manifest = state.manifest();
        let participant = manifest.participants.get(usize::from(who))?;
        let keys = self.with_account(participant.account)?;
        let opens = |secret: &Digest| Digest::sha256(secret.as_bytes()) == participant.hashlock;
        let own = Some(preimage(keys, manifest.nonce));
        let of_peers = self.peers.iter().map(|peer| enquired(keys, peer, manifest.nonce));
        own.into_iter().chain(of_peers).find(opens)
    }

    fn sign(&self, account: Account, digest: Digest) -> Option<Signature> {
        Some(Signature::by(self.with_account(account)?.secp256k1(), digest))
    }
}
