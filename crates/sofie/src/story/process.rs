//! Child processes of this same binary: they tell JSON lines on stdout, and end when we do.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::failure::Failure;

/// So many lines of a child's log are shown when it ends too early.
const LAST_WORDS: usize = 5;

/// A running child.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    log: PathBuf,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts `sofie ARGS`; what it logs goes to a file in `folder`.
    pub(crate) fn start(name: &str, args: &[&str], folder: &Path) -> Result<Self, Failure> {
        let tried = format!("start the {name}");
        let lacking = |e: std::io::Error| Failure::lacking(&tried, e, "run sofie doctor");
        let path = folder.join(format!("{name}.log"));
        let log = std::fs::File::options().create(true).append(true).open(&path);
        let program = std::env::current_exe().map_err(lacking)?;
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.map_err(lacking)?)
            .kill_on_drop(true)
            .spawn()
            .map_err(lacking)?;
        let stdout = child.stdout.take().expect("stdout was asked to be a pipe");
        Ok(Self { name: name.into(), log: path, child, lines: BufReader::new(stdout).lines() })
    }

    /// The next line that it tells.
    pub(crate) async fn told<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        let tried = format!("hear from the {}", self.name);
        let line =
            self.lines.next_line().await.map_err(|e| Failure::lacking(&tried, e, "run sofie doctor"))?;
        let Some(line) = line else {
            let ended = self.child.wait().await.map_or_else(|e| e.to_string(), |status| status.to_string());
            return Err(Failure::lacking(&tried, format!("it ended ({ended}): {}", self.last_words()), ""));
        };
        serde_json::from_str(&line)
            .map_err(|e| Failure::lacking(&tried, format!("{line:?} is not what is expected: {e}"), ""))
    }

    /// The end of its log.
    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(LAST_WORDS).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        // It may have gone by itself.
        let _ = self.child.kill().await;
    }

    /// SIGTERM, and waits until it is gone.
    pub(crate) async fn stop(mut self) {
        if let Some(id) = self.child.id() {
            let asked = Command::new("kill").arg("-TERM").arg(id.to_string()).status().await;
            if asked.is_ok_and(|status| status.success()) {
                let _ = self.child.wait().await;
                return;
            }
        }
        self.kill().await;
    }
}
