//! `sofie backup` and `sofie restore`: a node's whole state in one folder, and back.

use std::path::Path;
use std::process::ExitCode;

use sofie_node::backup::{self, BackupError, Index};
use sofie_node::clock;
use sofie_node::config::Config;

use super::up;
use crate::cli::Backup;
use crate::failure::Failure;
use crate::output::{self, Format};

pub(crate) fn backup(args: &Backup) -> Result<ExitCode, Failure> {
    let config = up::load(&args.config)?;
    let tried = format!("back up to {}", args.folder.display());
    let index = backup::backup(&config, &args.config, &args.folder, clock::now());
    let index = index.map_err(|e| failed(&tried, e))?;
    tell(&index, &args.folder, args.output.output);
    output::say("whoever reads this folder can act and pay as these parties: keep it like their keys");
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn restore(args: &Backup) -> Result<ExitCode, Failure> {
    let tried = format!("restore {}", args.folder.display());
    let (config, text) = config(args, &tried)?;
    let index = backup::restore(&args.folder, &config).map_err(|e| failed(&tried, e))?;
    if let Some(text) = text {
        super::init::keep(&args.config, &text)
            .map_err(|e| Failure::lacking(&tried, e, "copy sofie.toml out of the backup"))?;
    }
    tell(&index, &config.node.data_dir, args.output.output);
    output::say(&format!(
        "the node does not know what it did after {}: what had not ended then is only followed and closed",
        sofie_node::api::At(index.made_at)
    ));
    output::say(&format!("start it: sofie up -c {}", args.config.display()));
    Ok(ExitCode::SUCCESS)
}

/// The configuration that is there, or else the one that was backed up, with its text.
fn config(args: &Backup, tried: &str) -> Result<(Config, Option<String>), Failure> {
    if args.config.exists() {
        return Ok((up::load(&args.config)?, None));
    }
    let text = backup::config_in(&args.folder).map_err(|e| failed(tried, e))?;
    let config = Config::parse(&text, &args.config).map_err(|e| {
        Failure::refused(tried, e, "write a configuration that this version reads, and name it with -c")
    })?;
    Ok((config, Some(text)))
}

fn failed(tried: &str, error: BackupError) -> Failure {
    match error {
        BackupError::Io { .. } | BackupError::Sqlite { .. } => {
            Failure::lacking(tried, error, "check the path, its rights, and the space on the disk")
        }
        error => Failure::refused(tried, error, ""),
    }
}

fn tell(index: &Index, folder: &Path, format: Format) {
    match format {
        Format::Json => output::json(index),
        Format::Text => {
            let row = |file: &backup::Held| vec![file.path.clone(), file.bytes.to_string()];
            output::table(&["FILE", "BYTES"], &index.files.iter().map(row).collect::<Vec<_>>());
            output::line(&format!(
                "node {}, {} not ended, in {}",
                index.node,
                index.unfinished,
                folder.display()
            ));
        }
    }
}
