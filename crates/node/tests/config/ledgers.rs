//! What single kinds of ledgers say in the file.

use std::path::Path;

use sofie_model::Span;
use sofie_node::config::{Config, LedgerKind};

use crate::{GOOD, faults};

const WITNESS: &str = "witness.example/w1+87d46c1a+BID6PsBd3tQJdh7KXGkTs7Pdwc+lD7bPih3h+IiOoW0C";

#[test]
fn a_custodian_is_pinned_by_its_key_and_a_file_needs_nothing() {
    let text = |url: &str, key: &str| {
        format!(
            "[[party]]\nname = \"operator\"\n\n[[ledger]]\nid = \"bank\"\nkind = \"custodian\"\n\
             url = \"{url}\"\nkey = \"{key}\"\n\n[[ledger]]\nid = \"file\"\nkind = \"file\"\n"
        )
    };
    assert_eq!(
        faults(&text("https://bank.example", "12")),
        "sofie.toml:7:7: [[ledger]] url: the scheme is \"https\"; expected \"http\"\n\
         sofie.toml:8:7: [[ledger]] key: \"12\" is not a digest: 64 hexadecimal digits are expected"
    );
    let key = "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394";
    let config = Config::parse(&text("http://127.0.0.1:8600", key), Path::new("sofie.toml")).unwrap();
    let LedgerKind::Custodian { key: got, .. } = &config.ledgers[0].kind else { panic!("{config:?}") };
    assert_eq!((got.to_string().as_str(), &config.ledgers[1].kind), (key, &LedgerKind::File));
}

#[test]
fn a_chains_lanes_are_parties_and_its_logs_have_a_beginning() {
    let with = |line: &str| GOOD.replacen("poll = \"250ms\"", line, 1);
    let text = with("lanes = [\"renter\", \"operator\"]\nsince = 7");
    let config = Config::parse(&text, Path::new("sofie.toml")).expect("good");
    let LedgerKind::EvmRpc { since: 7, lanes, .. } = &config.ledgers[1].kind else { panic!("{config:?}") };
    assert_eq!(lanes.iter().map(|lane| lane.as_str()).collect::<Vec<_>>(), ["renter", "operator"]);
    for (line, told) in [
        (
            "lanes = [\"rentr\"]",
            "[[ledger]] lanes: no [[party]] is named \"rentr\"; did you mean \"renter\"?",
        ),
        ("lanes = \"renter\"", "[[ledger]] lanes: expected"),
        ("since = 100000001", "[[ledger]] since: 100000001 is not between 0 and 100000000"),
    ] {
        let got = faults(&with(line));
        assert!(got.starts_with("sofie.toml:27:") && got.contains(told), "{told}: {got}");
    }
}

#[test]
fn batches_of_records_name_the_chain_that_they_stand_on() {
    let text = |on: &str, more: &str| {
        format!(
            "[[party]]\nname = \"operator\"\n\n[[ledger]]\nid = \"calendar\"\nkind = \"calendar\"\n\n\
             [[ledger]]\nid = \"records\"\nkind = \"evm-records\"\n{on}{more}\n\
             [[ledger]]\nid = \"evm\"\nkind = \"evm-embedded\"\n"
        )
    };
    let read = |text: &str| Config::parse(text, Path::new("sofie.toml"));
    for (on, more, told) in [
        ("", "", "8:1: [[ledger]] lacks \"on\"; write for example on = \"evm\""),
        (
            "on = \"calendar\"\n",
            "",
            "8:1: on: no [[ledger]] of an EVM chain has the id \"calendar\"; there are evm",
        ),
        ("on = \"evm\"\n", "interval = \"2h\"\n", "interval"),
    ] {
        let got = faults(&text(on, more));
        assert!(got.contains(told), "{told}: {got}");
    }
    let config = read(&text("on = \"evm\"\n", "interval = \"5s\"\n")).unwrap();
    let interval = Span::from_seconds(5);
    assert_eq!(config.ledgers[1].kind, LedgerKind::EvmRecords { on: "evm".parse().unwrap(), interval });
    let config = read(&text("on = \"evm\"\n", "")).unwrap();
    assert!(
        matches!(config.ledgers[1].kind, LedgerKind::EvmRecords { interval, .. } if interval == Span::from_seconds(1))
    );
}

#[test]
fn a_calendars_witnesses_are_named_by_their_keys_and_a_quorum_is_of_them() {
    let with = |more: &str| {
        format!(
            "[[party]]\nname = \"operator\"\n[[ledger]]\nid = \"calendar\"\nkind = \"calendar\"\n{more}\
             [ledger.witnesses]\n\"{WITNESS}\" = \"http://127.0.0.1:7380/w\"\n"
        )
    };
    let config = Config::parse(&with(""), Path::new("sofie.toml")).unwrap();
    let LedgerKind::Calendar { witnesses, quorum, .. } = &config.ledgers[0].kind else {
        panic!("another kind")
    };
    assert_eq!((witnesses.len(), *quorum), (1, 1), "all, unless the file says otherwise");
    let (witness, url) = witnesses.first_key_value().unwrap();
    assert_eq!((witness.to_string().as_str(), url.path()), (WITNESS, "/w"));
    let more = faults(&with("quorum = 2\n"));
    assert!(more.contains("quorum: 2 of 1 witnesses"), "{more}");
    let log = faults(&with("").replace("+87d46c1a", "+87d46c1b"));
    assert!(log.contains("no witness's key"), "{log}");
}

#[test]
fn a_calendar_is_used_by_peers_and_another_nodes_is_pinned_by_its_log() {
    const LOG: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let with = |kind: &str, more: &str| {
        let key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]).verifying_key().to_bytes();
        format!(
            "[[party]]\nname = \"operator\"\n[[ledger]]\nid = \"calendar\"\nkind = \"{kind}\"\n{more}\n[[peer]]\n\
             name = \"bob-co\"\nurl = \"http://127.0.0.1:8421\"\nkey = \"{}\"\n",
            hex::encode(key)
        )
    };
    let read = |text: &str| Config::parse(text, Path::new("sofie.toml")).unwrap().ledgers.remove(0);
    let own = read(&with("calendar", "peers = [\"bob-co\"]\npeer_entries = 7")).kind;
    let LedgerKind::Calendar { peers, peer_entries: 7, .. } = &own else { panic!("{own:?}") };
    assert_eq!(peers.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["bob-co"]);
    let here = "url = \"http://127.0.0.1:8431\"\n";
    let log = format!("log = \"{LOG}\"\n");
    let witnesses = format!("witnesses = [\"{WITNESS}\"]\n");
    let theirs = read(&with("calendar-http", &format!("{here}{log}{witnesses}decides = true")));
    let LedgerKind::CalendarHttp(shared) = &theirs.kind else { panic!("{theirs:?}") };
    assert_eq!((shared.log.to_string().as_str(), shared.quorum, shared.decides), (LOG, 1, true));
    assert_eq!((theirs.inclusion, theirs.skew), (Span::from_seconds(60), Span::from_seconds(2)));
    for (kind, more, told) in [
        ("calendar", "peers = [\"bob\"]".to_owned(), "peers: no [[peer]] is named \"bob\"; there are bob-co"),
        ("calendar", "peer_entries = 0".to_owned(), "peer_entries"),
        ("calendar-http", log.clone(), "url"),
        ("calendar-http", here.to_owned(), "log"),
        ("calendar-http", format!("{here}log = \"{WITNESS}\""), "no log's key"),
        ("calendar-http", format!("{here}{log}{witnesses}quorum = 2"), "quorum: 2 of 1 witnesses"),
        ("calendar-http", format!("url = \"http://127.0.0.1/x\"\n{log}"), "more than scheme, host and port"),
    ] {
        let got = faults(&with(kind, &more));
        assert!(got.contains(told), "{told}\n{got}");
    }
}

#[test]
fn a_group_is_of_enough_members_and_a_member_is_of_a_group() {
    let url = "http://127.0.0.1:8421";
    let config = Config::parse(&with_group(4, url, "notaries"), Path::new("sofie.toml")).expect("good");
    let LedgerKind::Quorum { members } = &config.ledgers[0].kind else { panic!("{:?}", config.ledgers[0]) };
    assert_eq!((members.len(), config.ledgers[0].skew), (4, Span::from_seconds(10)));
    let seat = &config.members[0];
    assert_eq!((seat.party.as_str(), seat.pace, &seat.restored), ("operator", Span::from_millis(500), &None));
    for (count, url, member, told) in [
        (3, url, "notaries", "[[ledger]] members: 3 members; 4 to 31 make a group"),
        (4, "http://127.0.0.1:8421/path", "notaries", "names more than scheme, host and port"),
        (4, url, "notary", "[[member]] ledger: no [[ledger]] of kind \"quorum\" is named \"notary\""),
    ] {
        let got = faults(&with_group(count, url, member));
        assert!(got.contains(told), "{told}\n{got}");
    }
    let twice = format!("{}[[member]]\nledger = \"notaries\"\n", with_group(4, url, "notaries"));
    assert!(faults(&twice).contains("a second member of ledger \"notaries\""), "{}", faults(&twice));
    let nobody = format!("{}party = \"nobody\"\n", with_group(4, url, "notaries"));
    assert!(
        faults(&nobody).contains("[[member]] party: no [[party]] is named \"nobody\""),
        "{}",
        faults(&nobody)
    );
}

/// A node that uses a group of as many members, and runs one of ledger `member`.
fn with_group(count: u8, url: &str, member: &str) -> String {
    let key = |byte| ed25519_dalek::SigningKey::from_bytes(&[byte; 32]).verifying_key().to_bytes();
    let members: String =
        (1..=count).map(|byte| format!("{} = \"{url}\"\n", hex::encode(key(byte)))).collect();
    format!(
        "[[party]]\nname = \"operator\"\n[[ledger]]\nid = \"notaries\"\nkind = \"quorum\"\n[ledger.members]\n{members}\
         [[member]]\nledger = \"{member}\"\n"
    )
}
