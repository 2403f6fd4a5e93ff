//! Where a peer is looked for, and what a test does that has none.

use super::*;
use crate::proxy::Fault;

/// The one test whose output nextest shows although it passes (.config/nextest.toml): it says for the whole run what
/// was left out.
#[test]
fn every_peer_is_here_or_left_out_aloud() {
    let of_folder = ["anvil", "bitcoind", "witness/bin/aics-witness", "acme/bin/acmecse"].map(program);
    let of_system = ["mosquitto", "coap-server-openssl", "coap-client-openssl"].map(installed);
    let found = of_folder.into_iter().chain(of_system).chain([postgresql()]).flatten();
    assert!(found.into_iter().all(|peer| peer.exists()));
}

#[test]
fn a_missing_peer_fails_its_test_with_the_command_that_brings_it() {
    let wanted = missing("anvil", false).expect_err("it must fail");
    assert!(wanted.contains("anvil") && wanted.contains("cargo xtask peers install"), "{wanted}");
    let left_out = missing("anvil", true).expect("it is left out");
    assert!(left_out.starts_with("LEFT OUT: no anvil"), "{left_out}");
}

#[test]
fn a_peer_is_looked_for_where_it_is_named_then_in_the_workspace() {
    let root = folders(None)[0].parent().expect("the workspace").to_owned();
    assert!(root.join("Cargo.lock").is_file());
    assert_eq!(folders(Some("/elsewhere".into())), [PathBuf::from("/elsewhere"), root.join(".peers")]);
    assert_eq!(folders(Some("mine".into())), [root.join("mine"), root.join(".peers")]);
    let (src, here) = (root.join("crates/peers/src"), root.join("crates/peers"));
    assert_eq!(first(&[here.clone(), src.clone()], "lib.rs"), Some(src.join("lib.rs")));
    assert_eq!(first(&[here], "src"), None, "a folder is no program");
}

#[test]
fn a_port_is_nobodys_else_before_its_server_and_between_its_servers() {
    use std::net::{TcpListener, TcpStream};
    let port = Port::free();
    let at = ("127.0.0.1", port.number());
    for _ in 0..2 {
        assert!(TcpStream::connect(at).is_err(), "nobody listens");
        let server = TcpListener::bind(at).expect("its server listens");
        assert!(TcpListener::bind(at).is_err(), "one server at a time");
        assert!(TcpStream::connect(at).is_ok() && server.accept().is_ok());
    }
    let others: Vec<Port> = (0..512).map(|_| Port::free()).collect();
    assert!(others.iter().all(|other| other.number() != port.number()), "it is not given away");
}

/// Each kind of fault comes about as often as it is asked for, and the same seed brings the same.
#[test]
fn faults_follow_from_their_seed() {
    let of = |seed| (0..4_096).map(|exchange| Faults { seed, one_in: 16 }.of(exchange)).collect::<Vec<_>>();
    for seed in 0..8 {
        let faults = of(seed);
        assert!(faults == of(seed) && faults != of(seed + 1));
        for kind in [Fault::Delays, Fault::Cuts, Fault::DropsAnswer, Fault::Doubles] {
            let count = faults.iter().filter(|fault| **fault == kind).count();
            assert!((128..512).contains(&count), "{kind:?}: {count} of {}", faults.len());
        }
    }
}
