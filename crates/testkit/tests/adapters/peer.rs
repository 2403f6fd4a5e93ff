//! Finding and running independent peers.

use std::{
    env,
    io::Write,
    net::{TcpListener, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// A peer's process; it ends with this.
pub(crate) struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program, from `PATH`, the system's folders, or `$SOFIE_PEERS/bin`. Absent, it says so loudly.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = env::var_os("PATH").iter().flat_map(env::split_paths).collect();
    folders.push("/usr/sbin".into());
    folders.extend(env::var_os("SOFIE_PEERS").map(|peers| PathBuf::from(peers).join("bin")));
    let found = folders.into_iter().map(|folder| folder.join(program)).find(|path| path.is_file());
    if found.is_none() {
        // Past the capture of the test harness: a peer that is not there must be seen.
        let _ = writeln!(std::io::stderr(), "skipped: no {program}");
    }
    found
}

pub(crate) fn spawn(program: &PathBuf, args: &[&str]) -> Peer {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Peer(command.spawn().unwrap_or_else(|e| panic!("{}: {e}", program.display())))
}

/// A port that was free a moment ago.
pub(crate) fn free_tcp_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|s| s.local_addr()).expect("loopback has free ports").port()
}

/// A port that was free a moment ago.
pub(crate) fn free_udp_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr()).expect("loopback has free ports").port()
}
