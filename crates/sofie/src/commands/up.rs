//! `sofie up`: a node, until it is asked to stop.

use std::process::ExitCode;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sofie_node::config::{Config, ConfigError};
use sofie_node::http::{self, Options};
use sofie_node::journal::Pause;
use sofie_node::keys::Token;
use sofie_node::runtime::{Runtime, StartError};
use sofie_node::telemetry;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Up;
use crate::failure::Failure;
use crate::output::{self, Format};

/// A file grew past the user's limit (`ulimit -f`; signal(7)). Its number is the same on Linux and on macOS.
const SIGXFSZ: i32 = 25;

/// What a node says on stdout, one JSON object a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Told {
    /// It answers under this address.
    Ready(String),
    /// It stands still at the step that it was asked to stop at.
    Paused(String),
}

pub(crate) async fn run(args: Up) -> Result<ExitCode, Failure> {
    let config = load(&args.config)?;
    config.outdated.iter().for_each(|fault| output::say(&fault.shown(&args.config)));
    telemetry::start(&config.node.log).map_err(|e| Failure::usage("log", e, "correct [node] log"))?;
    let json = args.output.output == Format::Json;
    // Handled, the signal no longer ends the process: the write that is too large fails, and is told.
    let _too_large =
        signal(SignalKind::from_raw(SIGXFSZ)).map_err(|e| Failure::lacking("watch signals", e, ""))?;
    let bound =
        http::bind(config.node.listen).await.map_err(|e| Failure::lacking("open the node's door", e, ""))?;
    let pause = args.pause_at.map(|at| {
        let step = format!("{at:?}");
        Pause { at, reached: Box::new(move || output::json(&Told::Paused(step))) }
    });
    let options = options(&config)?;
    let (runtime, mut failed) = Runtime::open(config, pause).await.map_err(not_started)?;
    runtime.set_base_url(bound.base_url());
    if json {
        output::json(&Told::Ready(bound.base_url()));
    } else {
        output::say(&format!("the node answers at {}", bound.base_url()));
        output::say(&format!("its console is {}", bound.console_url()));
    }
    let stop = http::stop_signal().map_err(|e| Failure::lacking("wait for signals", e, ""))?;
    let (journal_failed, told) = tokio::sync::oneshot::channel();
    let stop = async move {
        tokio::select! {
            () = stop => {}
            Some(error) = failed.recv() => { let _ = journal_failed.send(error); }
        }
    };
    bound.serve(Arc::new(runtime), options, stop).await;
    match told.await {
        Ok(error) => Err(Failure::lacking("go on", error, "")),
        Err(_) => Ok(ExitCode::SUCCESS),
    }
}

/// Reads the configuration.
pub(crate) fn load(file: &std::path::Path) -> Result<Config, Failure> {
    Config::load(file).map_err(|error| match error {
        ConfigError::Unreadable { ref source, .. } => {
            let tried = format!("read the configuration {}", file.display());
            let next = "name another file with -c, or write one: `sofie up --help` shows the smallest";
            Failure::usage(&tried, source.to_string(), next)
        }
        error => Failure::usage(
            "start",
            error.to_string(),
            "correct the file; docs/guide/configuration.md lists every key",
        ),
    })
}

fn options(config: &Config) -> Result<Options, Failure> {
    let token = config.node.token_file.as_deref().map(Token::load_or_create).transpose();
    Ok(Options {
        hosts: config.node.hosts.clone(),
        token: token.map_err(|e| Failure::lacking("read the bearer token", e, ""))?,
        console: config.node.console,
        limits: config.limits,
    })
}

fn not_started(error: StartError) -> Failure {
    Failure::lacking("start", error, "")
}
