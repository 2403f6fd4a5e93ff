//! `sofie mapping`: an owner's words about a platform, judged by the samples that stand beside them.

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use sofie_model::Value;
use sofie_node::platforms::{self, Tested};

use crate::cli::MappingVerb;
use crate::failure::Failure;
use crate::output::{self, Format};

/// What is said of one file.
#[derive(Debug, Serialize)]
struct Judged {
    file: String,
    good: bool,
    samples: Vec<Tested>,
    /// Properties of which no sample says anything.
    untested: Vec<String>,
}

pub(crate) fn run(verb: &MappingVerb, format: Format) -> Result<ExitCode, Failure> {
    let MappingVerb::Test { files } = verb;
    let all: Vec<Judged> = files.iter().map(|file| judge(file)).collect::<Result<_, _>>()?;
    match format {
        Format::Json => output::json(&all),
        Format::Text => all.iter().for_each(show),
    }
    Ok(if all.iter().all(|one| one.good) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn judge(file: &Path) -> Result<Judged, Failure> {
    let mapping = platforms::mapping(file)
        .map_err(|error| Failure::usage("test a mapping", error, "correct the file"))?;
    let samples = mapping.test();
    // What nothing was asked of is not good.
    let good = !samples.is_empty() && samples.iter().all(|sample| sample.faults.is_empty());
    let untested = mapping.untested(&samples);
    Ok(Judged { file: file.display().to_string(), good, samples, untested })
}

fn show(judged: &Judged) {
    let Judged { file, samples, untested, .. } = judged;
    let mut failed = 0;
    for (number, sample) in (1..).zip(samples) {
        let verdict = if sample.faults.is_empty() { "ok" } else { "FAILED" };
        failed += usize::from(!sample.faults.is_empty());
        output::line(&format!("{file}: sample {number} on {}: {verdict}", output::plain(&sample.source)));
        for reading in &sample.readings {
            let value = match &reading.value {
                Value::Bool(value) => value.to_string(),
                Value::Integer(value) => value.to_string(),
                Value::Text(text) => output::plain(text),
            };
            let unit = if reading.unit.is_empty() { String::new() } else { format!(" {}", reading.unit) };
            let back = if reading.written { ", and is written back" } else { "" };
            output::line(&format!("  {} = {value}{unit}{back}", output::plain(&reading.property)));
        }
        sample.faults.iter().for_each(|fault| output::line(&format!("  {}", output::plain(fault))));
    }
    for property in untested {
        output::line(&format!("{file}: no sample says {}", output::plain(property)));
    }
    match samples.len() {
        0 => output::line(&format!("{file}: it has no [[samples]], so nothing was tested")),
        all => output::line(&format!("{file}: {all} samples, {failed} failed")),
    }
}
