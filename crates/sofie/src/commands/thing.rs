//! `sofie thing`: what is in the directory, and whether a Thing Description keeps the standard.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};
use sofie_directory::json::Limits;

use crate::cli::{Node, ThingVerb};
use crate::client::{Client, url_segment};
use crate::failure::Failure;
use crate::output::{self, Format};

/// As many as a page of the directory has.
const PAGE: usize = 100;

pub(crate) async fn run(verb: ThingVerb, node: &Node) -> Result<ExitCode, Failure> {
    match verb {
        ThingVerb::Check { files } => check(&files, node.output.output),
        ThingVerb::Ls => {
            let all = all(&Client::of(node)?).await?;
            let text = |thing: &Value, key: &str| thing[key].as_str().unwrap_or_default().to_owned();
            match node.output.output {
                Format::Json => output::json(&all),
                Format::Text => {
                    let rows: Vec<_> =
                        all.iter().map(|thing| vec![text(thing, "id"), text(thing, "title")]).collect();
                    output::table(&["ID", "TITLE"], &rows);
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        ThingVerb::Show { id } => {
            let escaped = url_segment(&id);
            let thing: Value = Client::of(node)?.get(&format!("/things/{escaped}")).await?;
            output::json(&thing);
            Ok(ExitCode::SUCCESS)
        }
    }
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

fn check(files: &[PathBuf], format: Format) -> Result<ExitCode, Failure> {
    let mut good = true;
    let mut found = Vec::new();
    for file in files {
        let tried = format!("check {}", file.display());
        let size = std::fs::metadata(file).map_err(|e| Failure::usage(&tried, e, "name a file"))?.len();
        let limit = Limits::THING.bytes;
        if size > limit as u64 {
            return Err(Failure::refused(
                &tried,
                format!("{size} bytes, at most {limit} are read"),
                "shorten it",
            ));
        }
        let bytes =
            std::fs::read(file).map_err(|e| Failure::usage(&tried, e, "name a file that can be read"))?;
        let verdict = sofie_directory::parse(&bytes);
        good &= verdict.is_ok();
        match (format, &verdict) {
            (Format::Json, _) => found.push(json!({
                "file": file.display().to_string(),
                "valid": verdict.is_ok(),
                "problems": verdict.err().map(|errors| errors.to_string()),
            })),
            (Format::Text, Ok(_)) => output::line(&format!("{}: valid", file.display())),
            (Format::Text, Err(errors)) => output::line(&format!("{}: not valid\n{errors}", file.display())),
        }
    }
    if format == Format::Json {
        output::json(&found);
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
