//! The configuration by whole output: what is read, and what is said of what is wrong.

mod ledgers;

use std::path::Path;

use sofie_model::{Finality, Span};
use sofie_node::config::{Config, ConfigError, LedgerKind, Limits, MAX_CONFIG};

pub(crate) const GOOD: &str = r#"
[node]
name = "story"
listen = "127.0.0.1:0"
log = "info,sofie_node=debug"

[[party]]
name = "renter"

[[party]]
name = "operator"
key_file = "secrets/operator.key"

[[ledger]]
id = "evm"
kind = "evm-embedded"
chain_id = 4_242
genesis = { renter = "340282366920938463463374607431768211455", operator = 1_000 }

[[ledger]]
id = "anvil"
kind = "evm-rpc"
url = "http://127.0.0.1:8545/secret"
chain_id = 31337
finality = "depth:3"
inclusion = "12s"
poll = "250ms"

[[ledger]]
id = "calendar"
kind = "calendar"
read_only = true

[[platform]]
owner = "operator"
kind = "coap"
url = "coap://127.0.0.1:5683"
mapping = "locker.toml"
policy.actions = ["open"]

[limits]
body_bytes = 1024
drain = "2s"
"#;

/// What a good file and one line more (or another) lead to.
pub(crate) fn faults(text: &str) -> String {
    match Config::parse(text, Path::new("sofie.toml")) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_good_file_is_read_whole() {
    let config = Config::parse(GOOD, Path::new("etc/sofie.toml")).expect("good");
    assert_eq!(config.node.name.as_str(), "story");
    assert_eq!(config.node.data_dir, Path::new("etc/sofie-data"));
    assert_eq!(config.node.listen, "127.0.0.1:0".parse().unwrap());
    assert!(config.node.console && config.node.token_file.is_none());
    let files: Vec<_> = config.parties.iter().map(|party| party.key_file.to_str().unwrap()).collect();
    assert_eq!(files, ["etc/sofie-data/keys/renter.key", "etc/secrets/operator.key"]);
    let LedgerKind::EvmEmbedded { chain_id: 4242, genesis } = &config.ledgers[0].kind else {
        panic!("{:?}", config.ledgers[0])
    };
    assert_eq!(genesis.values().copied().collect::<Vec<_>>(), [1000, u128::MAX]);
    let finality = Finality::Depth(3);
    assert!(
        matches!(&config.ledgers[1].kind, LedgerKind::EvmRpc { finality: got, since: 0, lanes, .. }
            if *got == finality && lanes.is_empty()),
        "{:?}",
        config.ledgers[1]
    );
    assert_eq!(config.ledgers[1].inclusion, Span::from_seconds(12));
    assert_eq!(config.ledgers[1].poll, Span::from_millis(250));
    let LedgerKind::Calendar { read_only: true, decides: false, witnesses, quorum: 0, peers, .. } =
        &config.ledgers[2].kind
    else {
        panic!("{:?}", config.ledgers[2].kind)
    };
    assert!(witnesses.is_empty() && peers.is_empty());
    assert_eq!(config.platforms[0].mapping.as_deref(), Some(Path::new("etc/locker.toml")));
    assert_eq!(config.platforms[0].policy.actions, ["open"]);
    let limits = Limits { body_bytes: 1024, drain: Span::from_seconds(2), ..Limits::default() };
    assert_eq!(config.limits, limits);
}

/// Each case changes one thing in the good file; the whole message is compared.
#[test]
fn one_fault_is_told_with_its_place() {
    let mut wrong = String::new();
    for (from, to, told) in [
        ("listen =", "lisen =", "4:1: [node] has no key \"lisen\"; did you mean \"listen\"?"),
        (
            "name = \"story\"",
            "zzz = 1",
            "3:1: [node] has no key \"zzz\"; known are console, data_dir, hosts, listen, log, name, operator, token_file, url",
        ),
        ("[limits]", "[limit]", "41:2: no section or key \"limit\"; did you mean \"limits\"?"),
        (
            "127.0.0.1:0",
            "127.0.0.1:99999",
            "4:10: [node] listen: \"127.0.0.1:99999\" is not an address and a port such as \"127.0.0.1:8420\" or \"[::1]:8420\"",
        ),
        (
            "127.0.0.1:0",
            "0.0.0.0:80",
            "4:10: [node] listen: 0.0.0.0:80 can be reached from other machines, so that anybody there could spend the parties' money; set token_file, or listen on 127.0.0.1",
        ),
        (
            "info,sofie_node=debug",
            "sofie_node=loud",
            "5:7: [node] log: \"sofie_node=loud\" is not a log filter such as \"info\" or \"info,sofie_node=debug\": error parsing level filter: expected one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", or a number 0-5",
        ),
        (
            "name = \"renter\"",
            "name = \"Renter\"",
            "8:8: [[party]] name: \"Renter\" is not a name: 1 to 32 of a-z, 0-9 and '-', a letter first",
        ),
        (
            "name = \"renter\"",
            "name = 7",
            "8:8: [[party]] name: expected a text in quotes, found a whole number",
        ),
        (
            "name = \"renter\"",
            "name = \"operator\"",
            "10:1: a second party \"operator\"; each must be there once\n\
             sofie.toml:18:13: [[ledger]] genesis: no [[party]] is named \"renter\"; known are operator; or add a [[party]] with that name",
        ),
        (
            "genesis = { renter",
            "genesis = { rentr",
            "18:13: [[ledger]] genesis: no [[party]] is named \"rentr\"; did you mean \"renter\"?",
        ),
        (
            "1_000",
            "-1",
            "18:76: [[ledger]] genesis operator: \"-1\" is not an amount: digits alone, in the ledger's smallest unit, less than 2^128",
        ),
        ("4_242", "0", "17:12: [[ledger]] chain_id: 0 is not between 1 and 9223372036854775807"),
        (
            "read_only = true",
            "url = \"x\"",
            "32:1: [[ledger]] has no key \"url\"; known are decides, fee_limit, finalises, id, inclusion, kind, peer_entries, peers, poll, quorum, read_only, skew, witnesses",
        ),
        (
            "kind = \"calendar\"",
            "kind = \"calender\"",
            "31:8: [[ledger]] kind: \"calender\" is not one of evm-embedded, evm-rpc, evm-records, bitcoin-rpc, calendar, calendar-http, file, custodian, quorum; did you mean \"calendar\"?",
        ),
        (
            "url = \"http://127.0.0.1:8545/secret\"",
            "",
            "20:1: [[ledger]] lacks \"url\"; write for example url = \"http://127.0.0.1:8545\"",
        ),
        (
            "http://127.0.0.1:8545/secret",
            "ws://127.0.0.1:8545/secret",
            "23:7: [[ledger]] url: the scheme is \"ws\"; expected \"http\" or \"https\"",
        ),
        (
            "depth:3",
            "soon",
            "25:12: [[ledger]] finality: \"soon\" is not \"instant\", \"finalized\", \"safe\" or \"depth:N\" with N up to 100000",
        ),
        (
            "\"12s\"",
            "12",
            "26:13: [[ledger]] inclusion: expected a span of time such as \"250ms\", \"2s\", \"5m\" or \"1h\", found a whole number",
        ),
        ("\"250ms\"", "\"0s\"", "27:8: [[ledger]] poll: 0 s is not between 1 ms and 60 s"),
        (
            "owner = \"operator\"",
            "owner = \"operater\"",
            "35:9: [[platform]] owner: no [[party]] is named \"operater\"; did you mean \"operator\"?",
        ),
        (
            "coap://127.0.0.1:5683",
            "mqtt://127.0.0.1:5683",
            "37:7: [[platform]] url: the scheme is \"mqtt\"; expected \"coap\"",
        ),
        (
            "policy.actions = [\"open\"]",
            "policy.actions = [\"open\", 1]",
            "39:18: [platform.policy] actions: item 2: expected a text in quotes, found a whole number",
        ),
        (
            "body_bytes = 1024",
            "body_bytes = 0",
            "42:14: [limits] body_bytes: 0 is not between 1 and 16777216",
        ),
    ] {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from} is not in the good file");
        let (told, got) = (format!("sofie.toml:{told}"), faults(&text));
        if told != got {
            wrong += &format!("{from} → {to}\nexpected: {told}\ngot:      {got}\n\n");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn all_faults_are_told_at_once_in_order() {
    let text = r#"
party = "renter"

[node]
console = "yes"
hosts = ["node.example.org", "node.example.org:80"]

[[ledger]]
kind = "evm-rpc"
chainid = 1

[[ledger]]
id = "calendar"
kind = "calendar"

[[ledger]]
id = "calendar"
kind = "calendar"

[extra]
"#;
    assert_eq!(
        faults(text),
        r#"sofie.toml:1:1: no [[party]] that could own anything; add one with a name
sofie.toml:2:9: party: expected a list of tables, each under [[party]], found a text
sofie.toml:5:11: [node] console: expected true or false, found a text
sofie.toml:6:9: [node] hosts: item 2: "node.example.org:80" is not a host name without port, such as "node.example.org"
sofie.toml:8:1: [[ledger]] lacks "chain_id"; write for example chain_id = 31337
sofie.toml:8:1: [[ledger]] lacks "finality"; write for example finality = "finalized"
sofie.toml:8:1: [[ledger]] lacks "id"; write for example id = "evm"
sofie.toml:8:1: [[ledger]] lacks "url"; write for example url = "http://127.0.0.1:8545"
sofie.toml:10:1: [[ledger]] has no key "chainid"; did you mean "chain_id"?
sofie.toml:16:1: a second ledger "calendar"; each must be there once
sofie.toml:20:2: no section or key "extra"; known are ledger, limits, member, node, party, peer, platform, version, webhook"#
    );
}

#[test]
fn what_is_not_toml_is_told_with_its_place() {
    for (text, told) in [
        ("[node\nname = 1", "1:6: not TOML: unclosed table, expected `]`"),
        ("[node]\nname = \"a\"\nname = \"b\"\n", "3:1: not TOML: duplicate key"),
        (
            "é = \u{1}",
            "1:1: not TOML: invalid unquoted key, expected letters, numbers, `-`, `_`\nsofie.toml:1:5: not TOML: string values must be quoted, expected literal string",
        ),
    ] {
        assert_eq!(faults(text), format!("sofie.toml:{told}"), "{text:?}");
    }
}

#[test]
fn a_secret_in_a_url_is_not_repeated() {
    for bad in ["http//user:hunter2@host/", "ftp://user:hunter2@host/"] {
        let text = GOOD.replacen("http://127.0.0.1:8545/secret", bad, 1);
        assert!(!faults(&text).contains("hunter2"), "{}", faults(&text));
    }
    let text = GOOD.replacen(
        "http://127.0.0.1:8545/secret",
        "https://user:hunter2@rpc.example.org/hunter3?k=hunter4",
        1,
    );
    let config = Config::parse(&text, Path::new("sofie.toml")).expect("good");
    let LedgerKind::EvmRpc { url, .. } = &config.ledgers[1].kind else { panic!("{:?}", config.ledgers[1]) };
    assert_eq!(url.to_string(), "https://rpc.example.org");
    assert_eq!(url.reveal().path(), "/hunter3");
    assert!(!format!("{config:?}").contains("hunter"));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("sofie.toml");
    let told = Config::load(&missing).unwrap_err().to_string();
    assert_eq!(
        told,
        format!(
            "{}: cannot be read: No such file or directory (os error 2); name another file with -c, or write one (docs/guide/configuration.md)",
            missing.display()
        )
    );
    std::fs::write(&missing, vec![b'#'; MAX_CONFIG + 1]).unwrap();
    let told = Config::load(&missing).unwrap_err().to_string();
    assert!(told.contains("it has more than 262144 bytes"), "{told}");
}

#[test]
fn other_machines_are_let_in_with_a_token_only() {
    let open = GOOD.replacen("127.0.0.1:0", "0.0.0.0:8420", 1);
    let with_token = open.replacen("name = \"story\"", "token_file = \"token\"", 1);
    let config = Config::parse(&with_token, Path::new("/etc/sofie.toml")).expect("good");
    assert_eq!(config.node.token_file.as_deref(), Some(Path::new("/etc/token")));
    assert!(Config::parse(&open, Path::new("sofie.toml")).is_err());
}

proptest::proptest! {
    /// Whatever stands in the file, reading it ends with a configuration or with faults that lie in the text.
    #[test]
    fn any_text_is_read_or_refused(cut in 0..GOOD.len(), noise in "[\\[\\]a-z\"=. {}\n0-9é-]{0,24}") {
        let text = format!("{}{noise}{}", &GOOD[..cut], &GOOD[cut..]);
        match Config::parse(&text, Path::new("sofie.toml")) {
            Ok(config) => assert!(!config.parties.is_empty()),
            Err(ConfigError::Faults { faults, .. }) => {
                assert!(!faults.is_empty());
                for fault in faults {
                    let line = text.split('\n').nth(fault.line - 1).expect("the line is there");
                    assert!(fault.column <= line.chars().count() + 1, "{fault:?}");
                }
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// The guide names every key, and its example is read.
#[test]
fn the_guide_is_complete_and_its_example_is_good() {
    let guide = include_str!("../../../../docs/guide/configuration.md");
    let example: Vec<_> = guide
        .lines()
        .skip_while(|line| !line.starts_with("    "))
        .take_while(|line| line.is_empty() || line.starts_with("    "))
        .collect();
    let config = Config::parse(&example.join("\n"), Path::new("sofie.toml")).expect("the guide's example");
    assert_eq!(config.ledgers.len(), 2);

    let ledger = |kind: &str| format!("[[ledger]]\nid = \"x\"\nkind = \"{kind}\"\nzzzzzz = 1");
    for section in [
        "[node]\nzzzzzz = 1".to_owned(),
        "[[party]]\nname = \"x\"\nzzzzzz = 1".to_owned(),
        ledger("evm-embedded"),
        ledger("evm-rpc"),
        ledger("calendar"),
        "[[platform]]\nzzzzzz = 1".to_owned(),
        "[[peer]]\nzzzzzz = 1".to_owned(),
        "[[webhook]]\nzzzzzz = 1".to_owned(),
        "[limits]\nzzzzzz = 1".to_owned(),
    ] {
        let told = faults(&section);
        let (_, known) = told.split_once("\"zzzzzz\"; known are ").expect("the unknown key is told");
        for key in known.lines().next().expect("a line").split(", ") {
            let named = guide.contains(&format!("`{key}`")) || guide.contains(&format!("`{key}."));
            assert!(named, "the guide does not name {key} of {section}");
        }
    }
}

const PEER: &str = r#"
[[peer]]
name = "mill"
url = "http://Mill.Example:8421/"
key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
parties = { miller = "0x00000000000000000000000000000000000000aa" }
automatic = { evm = "1000" }
"#;

#[test]
fn a_peer_is_read_and_its_key_and_parties_are_its_own() {
    let text = format!("{GOOD}{PEER}");
    let config = Config::parse(&text, Path::new("sofie.toml")).expect("good");
    let [peer] = &config.peers[..] else { panic!("{:?}", config.peers) };
    assert_eq!((peer.authority().as_str(), peer.parties.len()), ("mill.example:8421", 1));
    assert_eq!(peer.automatic[&"evm".parse().unwrap()], 1_000);
    // The point of order 8 would accept signatures of everything.
    let weak = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a";
    for (from, to, why) in [
        ("d75a98", "d75a9", "[[peer]] key: is not an Ed25519 key of 64 hexadecimal digits"),
        ("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", weak, "is not an Ed25519 key"),
        ("8421/", "8421/path", "[[peer]] url: names more than scheme, host and port"),
        ("http://Mill", "https://Mill", "[[peer]] url: the scheme is \"https\"; expected \"http\""),
        ("miller =", "renter =", "[peer.parties] renter: mill and this node both have a party of this name"),
        ("evm = \"1000\"", "evm = -1", "[peer.automatic] evm: "),
        ("key =", "kex =", "[[peer]] lacks \"key\""),
    ] {
        let told = faults(&text.replace(from, to));
        assert!(told.contains(why), "{told}");
    }
    // RFC 8032, section 7.1: the second key.
    let key = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
    let own = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let other = PEER.replace("mill", "forge").replace(own, key);
    let claimed = faults(&format!("{text}{other}"));
    assert!(claimed.contains("forge and mill both claim the account"), "{claimed}");
    let unknown = faults(&text.replace("url = \"http://Mill", "publish = [\"rentr\"]\nurl = \"http://Mill"));
    assert!(unknown.contains("[[peer]] publish: no [[party]] is named \"rentr\"; did you mean"), "{unknown}");
    let twice = faults(&format!("{text}{PEER}"));
    assert!(twice.contains("a second peer \"mill\"") && twice.contains("a second peer key"), "{twice}");
}

#[test]
fn a_webhook_is_read_and_says_what_it_is_told() {
    let webhook = r#"
[[webhook]]
name = "erp"
url = "http://Erp.Example:9000/hooks/secret"
key = "renter"
kinds = ["decided", "settled"]
"#;
    let text = format!("{GOOD}{webhook}");
    let config = Config::parse(&text, Path::new("sofie.toml")).expect("good");
    let [read] = &config.webhooks[..] else { panic!("{:?}", config.webhooks) };
    assert_eq!(
        (read.authority().as_str(), read.url.to_string().as_str()),
        ("erp.example:9000", "http://erp.example:9000")
    );
    assert!(!format!("{read:?}").contains("secret"), "{read:?}");
    assert!(read.wants("decided") && !read.wants("observed"));
    let all = Config::parse(&text.replace("kinds =", "# "), Path::new("sofie.toml")).expect("good");
    assert!(all.webhooks[0].wants("observed"));
    for (from, to, why) in [
        ("http://Erp", "https://Erp", "[[webhook]] url: the scheme is \"https\"; expected \"http\""),
        ("/secret", "/secret?token=1", "[[webhook]] url: names more than scheme, host, port and path"),
        ("http://Erp", "http://me:word@Erp", "[[webhook]] url: names more than scheme, host, port and path"),
        ("\"decided\"", "\"decidet\"", "[[webhook]] kinds: item 1: \"decidet\" is not one of accepted, "),
        ("[\"decided\", \"settled\"]", "[]", "[[webhook]] kinds: names nothing that could be told"),
        (
            "key = \"renter\"",
            "key = \"rentr\"",
            "[[webhook]] party: no [[party]] is named \"rentr\"; did you mean",
        ),
        ("name = \"erp\"", "", "[[webhook]] lacks \"name\""),
    ] {
        let told = faults(&text.replace(from, to));
        assert!(told.contains(why) && !told.contains("word") && !told.contains("secret"), "{told}");
    }
    let twice = faults(&format!("{text}{webhook}"));
    assert!(twice.contains("a second webhook \"erp\""), "{twice}");
}

const WEBHOOK_OF_VERSION_1: &str =
    "\n[[webhook]]\nname = \"erp\"\nurl = \"http://127.0.0.1:9000/sofie\"\nkey = \"renter\"\n";

#[test]
fn an_older_version_is_read_and_each_old_name_is_told_with_its_line() {
    let text = format!("{GOOD}{WEBHOOK_OF_VERSION_1}");
    let file = Path::new("sofie.toml");
    let config = Config::parse(&text, file).unwrap();
    assert_eq!(config.webhooks[0].party.as_ref().unwrap().as_str(), "renter");
    let told: Vec<_> = config.outdated.iter().map(|fault| fault.shown(file)).collect();
    let line = text.lines().count();
    assert_eq!(
        told,
        [format!(
            "sofie.toml:{line}:1: [[webhook]] key: is called party since version 2; `sofie migrate` renames it"
        )]
    );
    assert_eq!(Config::parse(&format!("version = 1\n{text}"), file).unwrap().outdated.len(), 1);
    assert!(Config::parse(GOOD, file).unwrap().outdated.is_empty(), "nothing in it has another name");
}

#[test]
fn a_version_is_one_that_this_program_reads_and_its_names_are_that_version_s() {
    let text = format!("{GOOD}{WEBHOOK_OF_VERSION_1}");
    for (version, wanted) in [
        (
            "3",
            "sofie.toml:1:11: version: 3 is newer than 2, the newest that this program reads; start the program that this \
             file was written for",
        ),
        ("0", "sofie.toml:1:11: version: 0 is not between 1 and 18446744073709551615"),
        ("\"2\"", "sofie.toml:1:11: version: "),
        ("2", "[[webhook]] has no key \"key\"; known are kinds, name, party, url"),
    ] {
        let said = faults(&format!("version = {version}\n{text}"));
        assert!(said.contains(wanted), "{said}");
    }
    let both = faults(&format!("{text}party = \"operator\"\n"));
    assert!(both.contains("[[webhook]] has no key \"key\""), "{both}");
}
