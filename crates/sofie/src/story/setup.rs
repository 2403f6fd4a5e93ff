//! The story's node configuration: the embedded ledgers by default, or the user's file with a free port and a folder of
//! the story's own.

use std::path::Path;

use sofie_node::config::{Config, LedgerKind};
use toml::{Table, Value};

use crate::commands::up;
use crate::failure::Failure;

/// Two embedded ledgers and four parties.
const EMBEDDED: &str = include_str!("../../../../examples/locker/embedded.toml");

/// The parties that the story needs.
pub(crate) const PARTIES: [&str; 4] = ["renter", "locker-co", "sensor-co", "operator"];

/// What the story takes from the configuration.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The whole configuration.
    pub(crate) config: Config,
    /// The ledger that holds the money and decides.
    pub(crate) value: String,
    /// That ledger's EIP-155 chain id.
    pub(crate) chain_id: u64,
    /// The ledger that records.
    pub(crate) record: String,
    /// Seconds: for the decision, for the evidence, and to bring it.
    pub(crate) times: [u64; 3],
}

/// Writes the node's configuration into `folder`.
pub(crate) fn write(folder: &Path, given: Option<&Path>) -> Result<Setup, Failure> {
    let text = match given {
        Some(file) => {
            // Told with the file's own name and lines, before anything is changed in it.
            up::load(file)?;
            read(file)?
        }
        None => EMBEDDED.to_owned(),
    };
    let table: Table = text.parse().map_err(|e| Failure::usage("read the story's configuration", e, ""))?;
    setup(place(folder, table)?)
}

/// Writes a configuration into `folder`, with a free port and a data folder of the story's own, and reads it back.
pub(crate) fn place(folder: &Path, mut table: Table) -> Result<Config, Failure> {
    let node = table.entry("node").or_insert_with(|| Value::Table(Table::new()));
    if let Some(node) = node.as_table_mut() {
        node.insert("listen".into(), "127.0.0.1:0".into());
        node.insert("data_dir".into(), "data".into());
        node.entry("log").or_insert_with(|| "warn".into());
    }
    save(folder, &table)?;
    up::load(&folder.join("sofie.toml"))
}

/// Makes the record ledger refuse new entries from the next start of the node on.
pub(crate) fn make_read_only(folder: &Path, ledger: &str) -> Result<(), Failure> {
    let file = folder.join("sofie.toml");
    let mut table: Table =
        read(&file)?.parse().map_err(|e| Failure::usage("read the story's configuration", e, ""))?;
    let ledgers = table.get_mut("ledger").and_then(Value::as_array_mut);
    for one in ledgers.into_iter().flatten().filter_map(Value::as_table_mut) {
        if one.get("id").and_then(Value::as_str) == Some(ledger) {
            one.insert("read_only".into(), true.into());
        }
    }
    save(folder, &table)
}

fn setup(config: Config) -> Result<Setup, Failure> {
    let lacks =
        |what: String| Failure::usage("run the story", what, "add it; examples/locker shows a whole file");
    for party in PARTIES {
        if config.parties.iter().all(|known| known.name.as_str() != party) {
            return Err(lacks(format!("the configuration has no [[party]] {party:?}")));
        }
    }
    let find = |wanted: fn(&LedgerKind) -> bool| config.ledgers.iter().find(|ledger| wanted(&ledger.kind));
    let value = find(|kind| matches!(kind, LedgerKind::EvmEmbedded { .. } | LedgerKind::EvmRpc { .. }))
        .ok_or_else(|| lacks("the configuration has no [[ledger]] that holds money".into()))?;
    let records = |kind: &LedgerKind| {
        matches!(kind, LedgerKind::Calendar { .. } | LedgerKind::File | LedgerKind::EvmRecords { .. })
    };
    let record = find(records).ok_or_else(|| {
        lacks("the configuration has no [[ledger]] of kind calendar, file or evm-records".into())
    })?;
    // Short, but real: a ledger's own declared times fit in between.
    let slack = value.inclusion.as_seconds() + value.finalises.as_seconds();
    let times = match value.kind {
        LedgerKind::EvmRpc { .. } => [3 * slack.max(2), 4 * slack.max(2) + 2, 2],
        _ => [6, 8, 1],
    };
    let chain_id = match value.kind {
        LedgerKind::EvmEmbedded { chain_id, .. } | LedgerKind::EvmRpc { chain_id, .. } => chain_id,
        _ => 0,
    };
    let (value, record) = (value.id.to_string(), record.id.to_string());
    Ok(Setup { config, value, chain_id, record, times })
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|e| Failure::usage(&format!("read {}", file.display()), e, "name a file"))
}

fn save(folder: &Path, table: &Table) -> Result<(), Failure> {
    std::fs::write(folder.join("sofie.toml"), table.to_string())
        .map_err(|e| Failure::lacking("write the story's configuration", e, "free some space, or set TMPDIR"))
}
