//! `sofie migrate`: a node of an older version, brought to this one.

use std::process::ExitCode;

use sofie_node::clock;
use sofie_node::migrate::{self, MigrateError, Moved, Report};

use super::up;
use crate::cli::Migrate;
use crate::failure::Failure;
use crate::output::{self, Format};

pub(crate) fn run(args: &Migrate) -> Result<ExitCode, Failure> {
    let config = up::load(&args.config)?;
    let file = &args.config;
    let report = if args.check {
        migrate::check(&config, file)
    } else {
        migrate::migrate(&config, file, args.backup.as_deref(), clock::now(), |_| ())
    };
    let report = report.map_err(|error| failed(&format!("migrate {}", file.display()), error))?;
    match args.output.output {
        Format::Json => output::json(&report),
        Format::Text => tell(&report),
    }
    Ok(if args.check && report.is_due() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn failed(tried: &str, error: MigrateError) -> Failure {
    match error {
        MigrateError::Unwritten { .. } => {
            Failure::lacking(tried, error, "check the file's rights and the disk, then run it again")
        }
        MigrateError::Backup(_) => Failure::lacking(tried, error, "nothing was changed"),
        error => Failure::refused(tried, error, ""),
    }
}

fn tell(report: &Report) {
    let parts = [("journal", report.journal.as_ref()), ("configuration", Some(&report.configuration))];
    let parts = parts.map(|(name, moved)| moved.map(|moved| (name, moved)));
    let row = |(name, Moved { from, to, .. }): &(&str, &Moved)| {
        vec![(*name).to_owned(), from.to_string(), to.to_string()]
    };
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    output::table(&["PART", "VERSION", "THIS PROGRAM'S"], &parts.iter().map(row).collect::<Vec<_>>());
    parts.iter().flat_map(|(_, moved)| &moved.changes).for_each(|change| output::line(change));
    if let Some(backup) = &report.backup {
        output::line(&format!("the node as it was: {}", backup.display()));
        output::say("the backup holds the node's keys: keep it like them");
    } else if !report.is_due() {
        output::say("nothing to do");
    }
}
