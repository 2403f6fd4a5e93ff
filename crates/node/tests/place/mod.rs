//! Where a node of a test is, and who.

use std::path::PathBuf;

use sofie_model::Digest;
use sofie_node::config::Party;
use sofie_node::keys::PartyKeys;
use sofie_peers::Port;

/// A node's folder, its key, and where it listens.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) keys: PartyKeys,
    port: Port,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let party = Party { name: "operator".parse().unwrap(), key_file: folder.path().join("operator.key") };
        Self { keys: PartyKeys::load_or_create(&party).unwrap(), folder, port: Port::free() }
    }

    pub(crate) fn key(&self) -> Digest {
        Digest(self.keys.ed25519().verifying_key().to_bytes())
    }

    pub(crate) fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("sofie.toml")
    }
}
