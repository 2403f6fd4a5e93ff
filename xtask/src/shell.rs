//! Running other programs and telling what went wrong with them.

use std::{
    ffi::OsStr,
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

/// Why a chore stopped.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    /// 1 the chore failed, 2 wrong use, 3 the machine lacks something.
    pub(crate) code: u8,
}

/// What a chore returns.
pub(crate) type Done = Result<(), Failure>;

impl Failure {
    /// The chore did its work and found something wrong.
    pub(crate) fn found(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    /// The command line is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }

    /// The machine lacks something.
    pub(crate) fn lacks(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 3 }
    }

    /// The same, with what was being done.
    pub(crate) fn during(self, what: &str) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.parent().unwrap_or(crate_dir).to_owned()
}

/// A command that runs in the workspace's root.
pub(crate) fn command(program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// The cargo that runs this chore.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), arguments)
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// The product, out of the build that the tests use: by itself cargo would choose other features of its dependencies, and
/// build them all once more.
pub(crate) fn sofie(arguments: &[&str]) -> Result<Command, Failure> {
    run(&mut cargo(&["test", "--workspace", "--no-run", "--locked", "--quiet"]))?;
    Ok(command(target().join("debug/sofie"), arguments))
}

/// Runs to the end with this terminal.
pub(crate) fn run(command: &mut Command) -> Done {
    let shown = shown(command);
    let status = command.status().map_err(|error| cannot_start(&shown, &error))?;
    if status.success() { Ok(()) } else { Err(Failure::found(format!("{status} from: {shown}"))) }
}

/// Runs to the end silently; on failure its output becomes the message.
pub(crate) fn quietly(command: &mut Command) -> Result<String, Failure> {
    silently(command).map(|(stdout, _)| stdout)
}

/// As [`quietly`], for a program that says on stderr what it found.
pub(crate) fn quietly_told(command: &mut Command) -> Result<String, Failure> {
    silently(command).map(|(_, stderr)| stderr)
}

fn silently(command: &mut Command) -> Result<(String, String), Failure> {
    let shown = shown(command);
    let output = command.output().map_err(|error| cannot_start(&shown, &error))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    if output.status.success() {
        return Ok((stdout, stderr));
    }
    Err(Failure::found(format!("{} from: {shown}\n{stdout}{stderr}", output.status)))
}

/// Whether a program of this name is on the path.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn cannot_start(shown: &str, error: &std::io::Error) -> Failure {
    Failure::lacks(format!("cannot start `{shown}`: {error}"))
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
