//! `sofie thing`: what is in the directory, what a property shall be, and whether a Thing Description keeps the standard.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;
use sofie_directory::Problem;
use sofie_directory::json::Limits;
use sofie_model as model;
use sofie_node::api::{PropertyReading, WriteOutcome, WriteProperty, Written};

use crate::cli::{Node, ThingVerb};
use crate::client::{Client, url_segment};
use crate::failure::Failure;
use crate::input;
use crate::output::{self, Format};

/// As many as a page of the directory has.
const PAGE: usize = 100;

pub(crate) async fn run(verb: ThingVerb, node: &Node) -> Result<ExitCode, Failure> {
    match verb {
        ThingVerb::Check { files } => check(&files, node.output.output),
        ThingVerb::Ls { query } => {
            let client = Client::of(node)?;
            let all = match &query {
                None => all(&client).await?,
                Some(query) => client.get(&format!("/search/jsonpath?query={}", url_segment(query))).await?,
            };
            list(&all, node.output.output);
            Ok(ExitCode::SUCCESS)
        }
        ThingVerb::Read { id, property, fresh } => {
            let path = format!(
                "/api/v1/things/{}/properties/{}{}",
                url_segment(&id),
                url_segment(&property),
                if fresh { "?fresh=true" } else { "" }
            );
            let read: PropertyReading = Client::of(node)?.get(&path).await?;
            match node.output.output {
                Format::Json => output::json(&read),
                Format::Text => output::line(&told(&read)),
            }
            Ok(ExitCode::SUCCESS)
        }
        ThingVerb::Write { id, property, value, unit, key } => {
            // What is no truth value, whole number or text in quotes goes as it is written.
            let value = serde_json::from_str(&value).unwrap_or(model::Value::Text(value));
            let asked = WriteProperty { value, unit, idempotency_key: key };
            let path = format!("/api/v1/things/{}/properties/{}", url_segment(&id), url_segment(&property));
            let written: Written = Client::of(node)?.put(&path, &asked).await?;
            match node.output.output {
                Format::Json => output::json(&written),
                Format::Text => {
                    output::line(&format!("{}: {}", written.outcome.as_str(), output::plain(&written.detail)))
                }
            }
            let done = written.outcome == WriteOutcome::Done;
            Ok(if done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        ThingVerb::Show { id } => {
            let escaped = url_segment(&id);
            let thing: Value = Client::of(node)?.get(&format!("/things/{escaped}")).await?;
            output::json(&thing);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// `21.5 Cel, observed 2026-11-24T22:18:18.007Z`.
fn told(read: &PropertyReading) -> String {
    let value = match &read.value {
        model::Value::Bool(value) => value.to_string(),
        model::Value::Integer(value) => value.to_string(),
        model::Value::Text(text) => output::plain(text),
    };
    let unit = if read.unit.is_empty() { String::new() } else { format!(" {}", output::plain(&read.unit)) };
    let kept = if read.retained { ", kept by its platform from earlier" } else { "" };
    format!("{value}{unit}, observed {}{kept}", read.observed_at)
}

/// As a table, where all of them are things, and otherwise as they are.
fn list(all: &[Value], format: Format) {
    let is_thing = |one: &Value| one["id"].is_string() && one["securityDefinitions"].is_object();
    if format == Format::Json || !all.iter().all(is_thing) {
        output::json(&all);
        return;
    }
    let text = |thing: &Value, key: &str| thing[key].as_str().unwrap_or_default().to_owned();
    let mut rows: Vec<_> = all.iter().map(|thing| vec![text(thing, "id"), text(thing, "title")]).collect();
    rows.sort_by(|one, other| one.iter().rev().cmp(other.iter().rev()));
    output::table(&["ID", "TITLE"], &rows);
}

async fn all(client: &Client) -> Result<Vec<Value>, Failure> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let page: Vec<Value> = client.get(&format!("/things?offset={}&limit={PAGE}", all.len())).await?;
        let last = page.len() < PAGE;
        all.extend(page);
        if last {
            return Ok(all);
        }
    }
}

/// What is said of one file.
#[derive(Debug, Serialize)]
struct Checked {
    file: String,
    valid: bool,
    problems: Vec<Problem>,
    /// How many more there are.
    left_out: usize,
}

fn check(files: &[PathBuf], format: Format) -> Result<ExitCode, Failure> {
    let mut all = Vec::new();
    for file in files {
        let bytes = input::read(file, Limits::THING.bytes, "name a Thing Description")?;
        let found = sofie_directory::parse(&bytes).err();
        if format == Format::Text {
            match &found {
                None => output::line(&format!("{}: valid", file.display())),
                Some(errors) => output::line(&format!("{}: not valid\n{errors}", file.display())),
            }
        }
        let valid = found.is_none();
        let (problems, left_out) = found.map_or((Vec::new(), 0), |errors| (errors.problems, errors.left_out));
        all.push(Checked { file: file.display().to_string(), valid, problems, left_out });
    }
    if format == Format::Json {
        output::json(&all);
    }
    Ok(if all.iter().all(|one| one.valid) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
