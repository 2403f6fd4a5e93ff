//! `sofie init`: a configuration and the keys of its parties, so that `sofie up` has all that it needs.
//!
//! The keys come first and the configuration last: when it is there, everything is. A folder that holds one already is
//! left as it is.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use sofie_model::{Account, Digest};
use sofie_node::config::{Config, Name, Party, VERSION};
use sofie_node::parties::Parties;

use crate::cli::Init;
use crate::failure::Failure;
use crate::output::{self, Format};

/// What each party gets in the embedded chain's first block, in wei: a tenth of an ether pays a few thousand calls.
const FIRST_BALANCE: u128 = 100_000_000_000_000_000;

/// What was made.
#[derive(Debug, Serialize)]
struct Made {
    config: PathBuf,
    /// What another company writes into its `[[peer]]`.
    key: String,
    parties: Vec<MadeParty>,
}

#[derive(Debug, Serialize)]
struct MadeParty {
    name: String,
    account: Account,
    key_file: PathBuf,
}

pub(crate) fn run(args: &Init) -> Result<ExitCode, Failure> {
    let file = args.dir.join("sofie.toml");
    let tried = format!("make {}", file.display());
    if file.exists() {
        let next = format!("start it with `sofie up -c {}`, or name another folder", file.display());
        return Err(Failure::refused(&tried, "it is there already", &next));
    }
    let text = text(args);
    let config = Config::parse(&text, &file)
        .map_err(|e| Failure::usage(&tried, e, "correct the option that it names"))?;
    let parties = Parties::load(&config).map_err(|e| Failure::lacking("make keys", e, ""))?;
    keep(&file, &text).map_err(|e| Failure::lacking(&tried, e, "name another folder"))?;
    tell(&made(file, &config, &parties), args.output.output);
    Ok(ExitCode::SUCCESS)
}

/// The smallest configuration that these options ask for.
fn text(args: &Init) -> String {
    let operator = args.party.first().map_or("operator", |name| name.as_str());
    let parties: Vec<&str> = match args.party.as_slice() {
        [] => vec![operator],
        named => named.iter().map(Name::as_str).collect(),
    };
    let tables: Vec<String> = parties.iter().map(|name| format!("[[party]]\nname = \"{name}\"\n")).collect();
    let genesis: Vec<String> = parties.iter().map(|name| format!("{name} = \"{FIRST_BALANCE}\"")).collect();
    format!(
        "# A SOFIE node: `sofie up` starts it. docs/guide/configuration.md lists every key.\nversion = {VERSION}\n\n\
         [node]\nname = \"{}\"\noperator = \"{operator}\"\nlisten = \"{}\"\n\n\
         {}\n\
         # An EVM in the process. Another ledger is another `kind` here and nothing else.\n\
         [[ledger]]\nid = \"evm\"\nkind = \"evm-embedded\"\ngenesis = {{ {} }}\n\n\
         [[ledger]]\nid = \"calendar\"\nkind = \"calendar\"\n",
        args.name,
        args.listen,
        tables.join("\n"),
        genesis.join(", "),
    )
}

/// Appears whole or not at all, and never over another.
pub(super) fn keep(file: &Path, text: &str) -> std::io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    draft.write_all(text.as_bytes())?;
    draft.as_file().sync_all()?;
    draft.persist_noclobber(file).map_err(|failed| failed.error)?;
    std::fs::File::open(folder)?.sync_all()
}

fn made(file: PathBuf, config: &Config, parties: &Parties) -> Made {
    let operator = parties.named(config.node.operator.as_str());
    let key = operator.map(|keys| Digest(keys.ed25519().verifying_key().to_bytes()).to_string());
    let party = |one: &Party| {
        let account = parties.named(one.name.as_str())?.account();
        Some(MadeParty { name: one.name.to_string(), account, key_file: one.key_file.clone() })
    };
    Made {
        config: file,
        key: key.unwrap_or_default(),
        parties: config.parties.iter().filter_map(party).collect(),
    }
}

fn tell(made: &Made, format: Format) {
    if format == Format::Json {
        return output::json(made);
    }
    let row =
        |one: &MadeParty| vec![one.name.clone(), one.account.to_string(), one.key_file.display().to_string()];
    output::table(&["PARTY", "ACCOUNT", "KEY FILE"], &made.parties.iter().map(row).collect::<Vec<_>>());
    output::line(&format!("the node's key for others: {}", made.key));
    output::say(&format!("keep a copy of the key files; then: sofie up -c {}", made.config.display()));
}
