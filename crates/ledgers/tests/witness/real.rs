//! A real witness of another maker: `aics-witness`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sofie_model::Digest;
use sofie_model::proof::calendar::{WitnessKey, verifier_key};

use crate::{ORIGIN, cosigners, entered, log_key, open, waits};

struct Peer {
    process: Child,
    key: WitnessKey,
    url: String,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Peer {
    fn run(binary: &Path, folder: &Path, arguments: &[&str]) -> String {
        let output = Command::new(binary).args(arguments).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// One that knows the log, in a folder of its own.
    fn start(binary: &Path, folder: &Path) -> Self {
        let key = Self::run(binary, folder, &["init", "--name", "witness.example/w1"]);
        let log = verifier_key(ORIGIN, &Digest(log_key().verifying_key().to_bytes()));
        Self::run(binary, folder, &["add-log", "--origin", ORIGIN, "--vkey", &log]);
        let (process, url) = Self::serve(binary, folder);
        Self { process, key: key.trim().parse().unwrap(), url }
    }

    fn serve(binary: &Path, folder: &Path) -> (Child, String) {
        let mut process = Command::new(binary)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let listening = lines.find_map(|line| {
            let rest = line.split_once("listening on ")?.1;
            Some(rest.split_whitespace().next().unwrap().to_owned())
        });
        // It must never wait for somebody to read what it prints.
        std::thread::spawn(move || lines.for_each(drop));
        (process, listening.expect("it listens"))
    }
}

#[tokio::test]
async fn a_witness_of_another_maker_cosigns_each_head_and_no_second_history() {
    let Some(binary) = sofie_peers::program("witness/bin/aics-witness") else { return };
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("witness");
    std::fs::create_dir(&home).unwrap();
    let mut peer = Peer::start(&binary, &home);
    let (path, copy) = (folder.path().join("calendar.log"), folder.path().join("copy.log"));
    let url = peer.url.clone();
    let calendar = open(&path, &[(&peer.key, url.as_str())], 1);
    let mut facts = Vec::new();
    for number in 0..20 {
        facts.push(entered(&calendar, number).await);
        if number == 7 {
            std::fs::copy(&path, &copy).unwrap();
        }
    }
    let (by, size) = cosigners(&calendar, &facts).await;
    assert_eq!((by.len(), by[0].witness.clone(), size), (1, peer.key.to_string(), 20));

    // An old copy of the log is put back, and goes on differently.
    let restored = open(&copy, &[(&peer.key, url.as_str())], 1);
    let why = waits(&restored, 99).await;
    assert!(why.contains("an old copy, or there are two logs"), "{why}");

    // Its own restart loses nothing: the same log goes on, the other still does not.
    peer.process.kill().unwrap();
    peer.process.wait().unwrap();
    (peer.process, peer.url) = Peer::serve(&binary, &home);
    drop((calendar, restored));
    let url = peer.url.clone();
    let calendar = open(&path, &[(&peer.key, url.as_str())], 1);
    entered(&calendar, 20).await;
    let restored = open(&copy, &[(&peer.key, url.as_str())], 1);
    assert!(waits(&restored, 98).await.contains("an old copy"));
}
