//! What a reader knows from elsewhere: the few hashes, keys and accounts that a receipt's proofs rest on.
//!
//! The file is TOML. All tables are optional; what is not pinned is shown as unanchored.
//!
//! ```
//! let text = r#"
//! [[chain]]
//! id = 31337
//! block = "2b1c6d3f0d3e5a9f4f6a3a3b0a9d8c7b6a5f4e3d2c1b0a998877665544332211"  # the block that the receipt names
//! decision = "0x00000000000000000000000000000000000000d1"                      # the contracts that are known
//! escrow = "0x00000000000000000000000000000000000000e1"
//!
//! [[bitcoin]]
//! genesis = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"   # the first block: which chain
//! block = "3a9d8c7b6a5f4e3d2c1b0a9988776655443322112b1c6d3f0d3e5a9f4f6a3a3b"     # the block that the receipt names
//!
//! [[calendar]]
//! origin = "calendar.example/log"
//! key = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"
//! witnesses = ["witness.example/w1+87d46c1a+BID6PsBd3tQJdh7KXGkTs7Pdwc+lD7bPih3h+IiOoW0C"]   # all must have cosigned
//!
//! [[quorum]]
//! ledger = "notaries"
//! group = "5d1f3a0c9e8b7a695847362514039f8e7d6c5b4a39281706f5e4d3c2b1a09f8e"     # the hash of its members' keys
//!
//! [accounts]
//! operator = "0x00000000000000000000000000000000000000a1"
//!
//! [keys]                                                                       # owners' keys of capabilities
//! locker-co = "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394"
//! "#;
//! let anchors = sofie_audit::Anchors::parse(text)?;
//! assert_eq!(anchors.to_toml().parse(), Ok(anchors));
//! # Ok::<(), sofie_audit::anchors::BadAnchors>(())
//! ```

use std::{collections::BTreeMap, str::FromStr};

use serde::{Deserialize, Serialize};
use sofie_model::{Account, Anchor, Cosigner, Digest, LedgerId};

/// The largest file that is read, in bytes.
pub const MAX_ANCHORS: usize = 256 * 1024;

/// The pinned hashes, keys and accounts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchors {
    /// Blocks of chains; one chain may have several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<PinnedChain>,
    /// Blocks of Bitcoin chains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bitcoin: Vec<PinnedBitcoin>,
    /// Logs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calendar: Vec<PinnedCalendar>,
    /// Whose word counts for a ledger that rests on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operator: Vec<PinnedOperator>,
    /// Groups whose certificates count as a ledger's decisions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quorum: Vec<PinnedQuorum>,
    /// Parties' accounts by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub accounts: BTreeMap<String, Account>,
    /// Ed25519 keys by the owner's name: whose grants count at the door. Used by who verifies the capability.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, Digest>,
}

/// A block, and the contracts that are known on its chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedChain {
    /// EIP-155 chain id.
    pub id: u64,
    /// Keccak-256 of the block's header.
    pub block: Digest,
    /// The decision contract whose code is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Account>,
    /// The escrow contract whose code is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escrow: Option<Account>,
}

/// A block of a Bitcoin chain; hashes as they are printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedBitcoin {
    /// The chain's first block.
    pub genesis: Digest,
    /// The block.
    pub block: Digest,
}

/// A log and, optionally, one of its checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedCalendar {
    /// The log's name.
    pub origin: String,
    /// Its Ed25519 public key.
    pub key: Digest,
    /// Who must have cosigned what rests on the log, `name+id+key` (C2SP tlog-cosignature).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub witnesses: Vec<String>,
    /// How many of them at least; without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<usize>,
    /// A checkpoint that the reader saw elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<PinnedCheckpoint>,
}

impl PinnedCalendar {
    /// Which of the pinned witnesses have cosigned; the other way round, why they are too few.
    fn witnessed(&self, cosigned: &[Cosigner]) -> Result<String, String> {
        let needed = self.quorum.unwrap_or(self.witnesses.len());
        let signed = |witness: &&String| cosigned.iter().any(|one| one.witness == **witness);
        let names: Vec<_> = self.witnesses.iter().filter(signed).map(|key| name(key)).collect();
        match names.as_slice() {
            names if names.len() < needed => Err(format!(
                "{} of {} pinned witnesses have cosigned it, {needed} must have",
                names.len(),
                self.witnesses.len()
            )),
            [] => Ok(String::new()),
            names => Ok(format!(", cosigned by {}", names.join(", "))),
        }
    }
}

/// A witness's name in its key.
fn name(witness: &str) -> &str {
    witness.split_once('+').map_or(witness, |(name, _)| name)
}

/// A log's head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedCheckpoint {
    /// How many leaves.
    pub size: u64,
    /// RFC 6962 root at that size.
    pub root: Digest,
}

/// Whoever runs a ledger by his word: a custodian, the keeper of a record file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedOperator {
    /// The ledger's name in manifests.
    pub ledger: LedgerId,
    /// The operator's Ed25519 public key.
    pub key: Digest,
}

/// A group that decides by certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedQuorum {
    /// The ledger's name in manifests.
    pub ledger: LedgerId,
    /// The hash of its members' keys ([`sofie_model::quorum::Group::id`]).
    pub group: Digest,
}

/// A text that is not a file of anchors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("anchors: {why}")]
pub struct BadAnchors {
    /// Where and why.
    pub why: String,
}

/// Whether a pin speaks for or against something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pin {
    Holds(String),
    Differs(String),
    Missing(String),
}

impl Anchors {
    /// Reads a file.
    ///
    /// # Errors
    /// [`BadAnchors`] with the line and the unknown key or the bad value.
    pub fn parse(text: &str) -> Result<Self, BadAnchors> {
        if text.len() > MAX_ANCHORS {
            return Err(BadAnchors { why: format!("{} bytes, at most {MAX_ANCHORS} are read", text.len()) });
        }
        toml::from_str(text).map_err(|e| BadAnchors { why: e.to_string() })
    }

    /// The file's text.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("tables of numbers and texts are TOML")
    }

    /// Takes these contracts as known wherever the file names none: a program that carries their bytecode knows their
    /// addresses (CREATE2).
    pub fn know_contracts(&mut self, decision: Account, escrow: Account) {
        for chain in &mut self.chain {
            chain.decision.get_or_insert(decision);
            chain.escrow.get_or_insert(escrow);
        }
    }

    /// Pins what a proof rests on, to be compared elsewhere and later.
    pub fn pin(&mut self, anchor: &Anchor) {
        match anchor {
            Anchor::Evm { chain_id, block_hash, .. } => {
                let chain = PinnedChain { id: *chain_id, block: *block_hash, decision: None, escrow: None };
                self.chain.push(chain);
            }
            Anchor::Calendar { origin, key, size, root, cosigned } => self.calendar.push(PinnedCalendar {
                origin: origin.clone(),
                key: *key,
                witnesses: cosigned.iter().map(|one| one.witness.clone()).collect(),
                quorum: None,
                checkpoint: Some(PinnedCheckpoint { size: *size, root: *root }),
            }),
            Anchor::Bitcoin { genesis, block_hash, .. } => {
                self.bitcoin.push(PinnedBitcoin { genesis: *genesis, block: *block_hash });
            }
            Anchor::Operator { ledger, key } => {
                self.operator.push(PinnedOperator { ledger: ledger.clone(), key: *key });
            }
            Anchor::Quorum { ledger, group } => {
                self.quorum.push(PinnedQuorum { ledger: ledger.clone(), group: *group });
            }
        }
    }

    /// What the file says of something that a proof rests on: how it holds, or why it does not.
    ///
    /// # Errors
    /// In words, also where the file pins nothing of it.
    pub fn check(&self, anchor: &Anchor) -> Result<String, String> {
        match self.holds(anchor) {
            Pin::Holds(how) => Ok(how),
            Pin::Differs(why) | Pin::Missing(why) => Err(why),
        }
    }

    pub(crate) fn holds(&self, anchor: &Anchor) -> Pin {
        match anchor {
            Anchor::Evm { chain_id, height, block_hash } => self.holds_block(*chain_id, *height, block_hash),
            Anchor::Calendar { origin, key, size, root, cosigned } => {
                self.holds_log(origin, key, (*size, root), cosigned)
            }
            Anchor::Bitcoin { genesis, height, block_hash } => {
                self.holds_bitcoin(genesis, *height, block_hash)
            }
            Anchor::Operator { ledger, key } => self.holds_operator(ledger, key),
            Anchor::Quorum { ledger, group } => self.holds_quorum(ledger, group),
        }
    }

    fn holds_quorum(&self, ledger: &LedgerId, group: &Digest) -> Pin {
        match self.quorum.iter().find(|pinned| pinned.ledger == *ledger) {
            Some(pinned) if pinned.group == *group => {
                Pin::Holds(format!("more than two thirds of the group {group} that is {ledger}"))
            }
            Some(pinned) => {
                Pin::Differs(format!("{ledger} is group {}, the receipt says {group}", pinned.group))
            }
            None => Pin::Missing(format!("no group is pinned for {ledger}; it rests on group {group}")),
        }
    }

    fn holds_operator(&self, ledger: &LedgerId, key: &Digest) -> Pin {
        match self.operator.iter().find(|pinned| pinned.ledger == *ledger) {
            Some(pinned) if pinned.key == *key => {
                Pin::Holds(format!("the word of {ledger}'s operator, {key}"))
            }
            Some(pinned) => Pin::Differs(format!(
                "the operator of {ledger} has key {}, the receipt says {key}",
                pinned.key
            )),
            None => Pin::Missing(format!("no operator of {ledger} is pinned; it rests on the word of {key}")),
        }
    }

    fn holds_bitcoin(&self, genesis: &Digest, height: u64, hash: &Digest) -> Pin {
        let mut blocks = self.bitcoin.iter().filter(|pinned| pinned.genesis == *genesis).peekable();
        let place = format!("block {height}, {hash}, of the Bitcoin chain {genesis}");
        if blocks.peek().is_none() {
            return Pin::Missing(format!("no block of that chain is pinned; it rests on {place}"));
        }
        if blocks.any(|pinned| pinned.block == *hash) {
            return Pin::Holds(place);
        }
        Pin::Differs(format!("{place} is none of the pinned blocks"))
    }

    fn holds_block(&self, id: u64, height: u64, hash: &Digest) -> Pin {
        let mut blocks = self.chain.iter().filter(|chain| chain.id == id).peekable();
        if blocks.peek().is_none() {
            return Pin::Missing(format!(
                "no block of chain {id} is pinned; it rests on block {height}, {hash}"
            ));
        }
        if blocks.any(|chain| chain.block == *hash) {
            return Pin::Holds(format!("block {height} of chain {id}, {hash}"));
        }
        Pin::Differs(format!("block {height}, {hash}, is none of the pinned blocks of chain {id}"))
    }

    fn holds_log(
        &self,
        origin: &str,
        key: &Digest,
        (size, root): (u64, &Digest),
        cosigned: &[Cosigner],
    ) -> Pin {
        let Some(log) = self.calendar.iter().find(|log| log.origin == origin) else {
            return Pin::Missing(format!(
                "log {origin} is not pinned; it rests on key {key}, size {size}, root {root}"
            ));
        };
        if log.key != *key {
            return Pin::Differs(format!("log {origin} has key {}, the receipt says {key}", log.key));
        }
        let by = match log.witnessed(cosigned) {
            Ok(by) => by,
            Err(why) => return Pin::Differs(format!("checkpoint {size} of log {origin}: {why}")),
        };
        match &log.checkpoint {
            Some(pinned) if pinned.size == size && pinned.root != *root => Pin::Differs(format!(
                "log {origin} has root {} at size {size}, the receipt says {root}",
                pinned.root
            )),
            Some(pinned) if pinned.size == size => {
                Pin::Holds(format!("log {origin}, key and checkpoint {size}{by}"))
            }
            _ => Pin::Holds(format!("log {origin}, by its key; checkpoint {size} is signed with it{by}")),
        }
    }

    /// What is known of the contract `account` as the `name`d one of chain `id`.
    pub(crate) fn contract(&self, id: u64, name: &str, account: Account) -> Pin {
        let pinned = self.chain.iter().filter(|chain| chain.id == id).find_map(|chain| match name {
            "decision" => chain.decision,
            _ => chain.escrow,
        });
        match pinned {
            Some(known) if known == account => Pin::Holds(format!("{name} contract {account}")),
            Some(known) => {
                Pin::Differs(format!("the {name} contract is {known}, the manifest says {account}"))
            }
            None => Pin::Missing(format!("the code of the {name} contract {account} is not known")),
        }
    }

    pub(crate) fn account(&self, name: &str, account: Account) -> Pin {
        match self.accounts.get(name) {
            Some(known) if *known == account => Pin::Holds(name.to_owned()),
            Some(known) => Pin::Differs(format!("{name} is {known}, the receipt says {account}")),
            None => Pin::Missing(format!("{name} is not pinned")),
        }
    }
}

impl FromStr for Anchors {
    type Err = BadAnchors;

    fn from_str(text: &str) -> Result<Self, BadAnchors> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Digest = Digest([7; 32]);

    fn pinned(witnesses: &[&str], quorum: Option<usize>) -> Anchors {
        let witnesses = witnesses.iter().map(|one| (*one).to_owned()).collect();
        let log = PinnedCalendar { origin: "log".into(), key: KEY, witnesses, quorum, checkpoint: None };
        Anchors { calendar: vec![log], ..Anchors::default() }
    }

    #[test]
    fn as_many_pinned_witnesses_as_are_demanded_must_have_cosigned() {
        let by = |names: &[&str]| {
            let one = |name: &&str| Cosigner { witness: (*name).to_owned(), at: 1 };
            let (origin, cosigned) = ("log".into(), names.iter().map(one).collect());
            Anchor::Calendar { origin, key: KEY, size: 3, root: Digest::ZERO, cosigned }
        };
        let both = ["w1+aa+AA", "w2+bb+BB"];
        let all = pinned(&both, None);
        let Pin::Holds(how) = all.holds(&by(&both)) else { panic!("both have") };
        assert!(how.ends_with("cosigned by w1, w2"), "{how}");
        // A witness of the same name and another key is another witness.
        for few in [&["w1+aa+AA"][..], &["w1+aa+AA", "w2+cc+CC"], &["w1+aa+AA", "w1+aa+AA"], &[]] {
            let Pin::Differs(why) = all.holds(&by(few)) else { panic!("{few:?} are enough") };
            assert!(why.contains("of 2 pinned witnesses have cosigned it, 2 must have"), "{why}");
        }
        assert!(matches!(pinned(&both, Some(1)).holds(&by(&both[..1])), Pin::Holds(_)));
        assert!(matches!(pinned(&both, Some(3)).holds(&by(&both)), Pin::Differs(_)));
        let none = pinned(&[], None).holds(&by(&both));
        assert!(matches!(none, Pin::Holds(how) if how.ends_with("signed with it")), "nobody is demanded");
    }

    #[test]
    fn what_a_receipt_rests_on_is_pinned_with_its_witnesses() {
        let mut anchors = Anchors::default();
        let cosigned = vec![Cosigner { witness: "w1+aa+AA".into(), at: 1 }];
        let anchor =
            Anchor::Calendar { origin: "log".into(), key: KEY, size: 3, root: Digest::ZERO, cosigned };
        anchors.pin(&anchor);
        assert_eq!(anchors.to_toml().parse(), Ok(anchors.clone()));
        assert!(matches!(anchors.holds(&anchor), Pin::Holds(_)));
    }
}
