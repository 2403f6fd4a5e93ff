//! A PostgreSQL server for one test: made by initdb, on a socket in a folder of its own, ended with the test.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tokio_postgres::{Client, NoTls};

/// PostgreSQL refuses to run as root; this user owns nothing.
const NOBODY: u32 = 65_534;

pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    programs: PathBuf,
}

impl Cluster {
    /// Starts one; `None` where PostgreSQL is left out.
    pub(crate) fn start() -> Option<Self> {
        let programs = sofie_peers::postgresql()?;
        let folder = tempfile::tempdir().unwrap();
        let cluster = Self { folder, programs };
        if is_root() {
            chown(cluster.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        cluster.run("initdb", &["-U", "postgres", "--auth=trust", "--no-sync", "-D"], &[]);
        let sockets = format!("-c listen_addresses= -c max_connections=64 -k {}", cluster.path().display());
        cluster.run("pg_ctl", &["-w", "start", "-l", &cluster.log(), "-D"], &["-o", &sockets]);
        Some(cluster)
    }

    /// As libpq writes it.
    pub(crate) fn address(&self) -> String {
        format!("host={} user=postgres dbname=postgres", self.path().display())
    }

    pub(crate) async fn connect(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.address(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn log(&self) -> String {
        self.path().join("log").display().to_string()
    }

    fn command(&self, program: &str, before: &[&str], after: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.args(before).arg(self.path().join("data")).args(after);
        command.current_dir(self.path()).stdin(Stdio::null()).stdout(Stdio::null());
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn run(&self, program: &str, before: &[&str], after: &[&str]) {
        let status = self.command(program, before, after).status().unwrap();
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        assert!(status.success(), "{program}: {status}\n{log}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.command("pg_ctl", &["-w", "-m", "immediate", "stop", "-D"], &[]).status();
    }
}

fn is_root() -> bool {
    let told = Command::new("id").arg("-u").output();
    told.is_ok_and(|told| told.stdout.trim_ascii() == b"0")
}
