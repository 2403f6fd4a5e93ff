//! One case: runs its script, compares the whole output.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::mask::Mask;

/// No command of the command line may take longer: it hangs.
const HANGS: Duration = Duration::from_secs(90);

/// A folder with `cmd`, and what it must give.
#[derive(Debug)]
pub(crate) struct Case(PathBuf);

/// What a script gave.
#[derive(Debug)]
pub(crate) struct Run {
    dir: tempfile::TempDir,
    stdout: String,
    stderr: String,
    code: String,
}

impl Run {
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// A file of a case says something else.
#[derive(Debug)]
pub(crate) struct Told {
    file: PathBuf,
    wanted: String,
    got: String,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, wanted, got } = self;
        write!(f, "--- {}, wanted:\n{wanted}--- got:\n{got}", file.display())
    }
}

impl Case {
    /// Every case of a folder, by name.
    pub(crate) fn all(folder: &Path) -> Vec<Self> {
        let entries = std::fs::read_dir(folder).expect("the folder of the cases is there");
        let mut all: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
        all.sort();
        assert!(!all.is_empty(), "{} has no cases", folder.display());
        all.into_iter().map(Self).collect()
    }

    pub(crate) fn name(&self) -> &str {
        self.0.file_name().and_then(|name| name.to_str()).expect("a case's name is text")
    }

    /// Runs the script in a folder of its own that starts as a copy of `in`.
    pub(crate) async fn run(&self, env: &[(String, String)]) -> Run {
        let dir = tempfile::tempdir().expect("a folder for the case");
        copy(&self.0.join("in"), dir.path());
        let own = Path::new(env!("CARGO_BIN_EXE_sofie")).parent().expect("the binary has a folder");
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", own.display());
        let tmp = tempfile::tempdir().expect("a folder for temporary files");
        let running = Command::new("sh")
            .arg(self.0.join("cmd"))
            .current_dir(dir.path())
            .env_clear()
            .envs(env.iter().map(|(name, value)| (name, value)))
            .env("PATH", path)
            .env("HOME", dir.path())
            .env("TMPDIR", tmp.path())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(HANGS, running).await;
        let output = output.unwrap_or_else(|_| panic!("{} hangs", self.name())).expect("sh is there");
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).expect("the output is UTF-8");
            text.replace(&tmp.path().display().to_string(), "[TMP]")
        };
        let code = output.status.code().expect("the script was not killed");
        Run { stdout: text(output.stdout), stderr: text(output.stderr), code: format!("{code}\n"), dir }
    }

    /// Compares; or writes, when the outputs are blessed.
    pub(crate) fn judge(&self, run: &Run, mask: &Mask) -> Vec<Told> {
        let bless = std::env::var_os("SOFIE_BLESS").is_some();
        let outputs = [("stdout", &run.stdout), ("stderr", &run.stderr), ("code", &run.code)];
        let mut told = Vec::new();
        for (name, got) in outputs {
            let (file, got) = (self.0.join(name), mask.apply(got));
            if bless {
                std::fs::write(&file, &got).expect("the case's folder can be written");
            }
            let wanted = std::fs::read_to_string(&file).unwrap_or_default();
            if wanted != got {
                told.push(Told { file, wanted, got });
            }
        }
        told
    }
}

fn copy(from: &Path, to: &Path) {
    let Ok(entries) = std::fs::read_dir(from) else { return };
    for entry in entries {
        let from = entry.expect("it can be listed").path();
        let to = to.join(from.file_name().expect("an entry has a name"));
        if from.is_dir() {
            std::fs::create_dir(&to).expect("the copy can be made");
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).expect("the copy can be made");
        }
    }
}
