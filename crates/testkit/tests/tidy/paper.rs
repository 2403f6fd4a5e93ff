//! What is written beside the code: no registry host, no machine's path, each decision listed, each parser fuzzed.

use crate::tree;

/// Hosts that a file must not name: a package is named by its name, and the user's client knows where to get it.
/// `Cargo.lock` names the index that every cargo knows, which is not among them.
const HOSTS: &[&str] = &[
    concat!("registry.", "npmjs.org"),
    concat!("registry.", "yarnpkg.com"),
    concat!("static.", "crates.io"),
    concat!("index.", "crates.io"),
    concat!("files.", "pythonhosted.org"),
    concat!("deb.", "debian.org"),
    concat!("proxy.", "golang.org"),
];

/// Where one machine keeps its files.
const PATHS: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/t", "mp/")];

/// Parsers of what a stranger sends, and the fuzz target of each (fuzz/fuzz_targets/NAME.rs).
const PARSERS: &[(&str, &str)] = &[
    ("crates/access/src/token.rs", "capability"),
    ("crates/adapters/src/coap/codec.rs", "coap_codec"),
    ("crates/adapters/src/coap/link_format.rs", "link_format"),
    ("crates/adapters/src/mqtt/codec.rs", "mqtt_codec"),
    ("crates/adapters/src/wot/codec.rs", "wot_codec"),
    ("crates/adapters/src/onem2m/codec.rs", "onem2m_codec"),
    ("crates/adapters/src/wot/events.rs", "wot_events"),
    ("crates/audit/src/receipt.rs", "receipt_decode"),
    ("crates/directory/src/jsonpath.rs", "jsonpath"),
    ("crates/directory/src/thing.rs", "td_parse"),
    ("crates/model/src/attestation/panel.rs", "panel"),
    ("crates/model/src/calendar.rs", "shared_calendar"),
    ("crates/model/src/custodian.rs", "custodian"),
    ("crates/model/src/manifest.rs", "manifest"),
    ("crates/model/src/map.rs", "map"),
    ("crates/model/src/proof.rs", "proof"),
    ("crates/model/src/proof/bitcoin/transaction.rs", "bitcoin_transaction"),
    ("crates/model/src/proof/calendar/checkpoint.rs", "checkpoint"),
    ("crates/model/src/proof/calendar/extension.rs", "extension"),
    ("crates/model/src/quorum/exchange.rs", "quorum"),
    ("crates/node/src/peers/envelope.rs", "node_signature"),
    ("crates/node/src/peers/message.rs", "node_message"),
];

/// Lines of `text` that name a host or hold an absolute path of a machine.
fn leaks(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let host = HOSTS.iter().find(|host| line.contains(**host));
        let path = PATHS.iter().find(|path| starts_a_path(line, path));
        found.extend(host.into_iter().chain(path).map(|what| format!("{name}:{}: {what}", index + 1)));
    }
    found
}

/// Whether `path` stands in `line` as the beginning of a path, not in the middle of a URL.
fn starts_a_path(line: &str, path: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || "/._-:}>*".contains(c);
    line.match_indices(path).any(|(at, _)| !line[..at].chars().next_back().is_some_and(inside))
}

/// The decisions in docs/adr, by file name.
fn decisions() -> Vec<String> {
    let is_one = |name: &String| name.starts_with(|c: char| c.is_ascii_digit());
    let files = tree::files_ending(&[".md"]).into_iter();
    files.filter_map(|name| name.strip_prefix("docs/adr/").map(str::to_owned)).filter(is_one).collect()
}

#[test]
fn no_file_names_a_registry_host_or_a_machines_path() {
    let found: Vec<String> = tree::files()
        .iter()
        .filter(|name| !name.contains("/corpora/"))
        .flat_map(|name| leaks(name, &tree::read(name)))
        .collect();
    tree::none(&found, "name packages by their names, and paths from the workspace's root:");
}

#[test]
fn every_decision_is_listed_once_and_has_its_three_parts() {
    let index = tree::read("docs/adr/README.md");
    let mut offences = Vec::new();
    let mut numbers = Vec::new();
    for name in decisions() {
        numbers.push(name.chars().take(4).collect::<String>());
        if index.matches(&format!("({name})")).count() != 1 {
            offences.push(format!("docs/adr/{name} does not stand once in docs/adr/README.md"));
        }
        let text = tree::read(&format!("docs/adr/{name}")).to_lowercase();
        for part in ["context", "decision", "consequences"] {
            if !text.contains(&format!("## {part}")) {
                offences.push(format!("docs/adr/{name} has no part \"{part}\""));
            }
        }
    }
    numbers.dedup();
    assert_eq!(numbers.len(), decisions().len(), "two decisions share a number");
    tree::none(&offences, "a decision that is not listed is not found:");
}

/// Pages under docs/ that `text` names.
fn pages(text: &str) -> Vec<&str> {
    let is_path = |c: char| c.is_alphanumeric() || "/._-".contains(c);
    let ends = |tail: &str| tail.find(|c| !is_path(c)).unwrap_or(tail.len());
    text.match_indices("docs/")
        .filter(|(at, _)| !text[..*at].chars().next_back().is_some_and(is_path))
        .map(|(at, _)| &text[at..at + ends(&text[at..])])
        .filter_map(|path| path.find(".md").map(|end| &path[..end + 3]))
        .collect()
}

/// Targets of `text`'s Markdown links that are files of the tree.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next());
    targets.filter(|target| !target.is_empty() && !target.contains("://")).collect()
}

#[test]
fn every_page_that_is_named_or_linked_exists() {
    let mut offences = Vec::new();
    let files = tree::files_ending(&[".md", ".rs", ".sol", ".toml", ".ts", ".tsx", ".mjs"]);
    for name in files.iter().filter(|name| !name.contains("/corpora/") && !name.ends_with("tidy/paper.rs")) {
        let text = tree::read(name);
        let folder = std::path::Path::new(name).parent().expect("a file has a folder");
        let named = pages(&text).into_iter().map(|page| tree::root().join(page));
        let linked = links(&text).into_iter().map(|target| tree::root().join(folder).join(target));
        let linked = linked.filter(|_| name.ends_with(".md"));
        let gone = named.chain(linked).filter(|path| !path.exists());
        offences.extend(gone.map(|path| format!("{name}: {}", path.display())));
    }
    tree::none(&offences, "these lead nowhere:");
}

/// Paths in backquotes that begin with a folder of the tree.
fn quoted_paths(text: &str) -> Vec<&str> {
    let inside = text.split('`').skip(1).step_by(2);
    let folders = ["crates/", "contracts/", "console/", "xtask/", "docs/", "fuzz/", "examples/", "tests/"];
    inside
        .filter(|quoted| folders.iter().any(|folder| quoted.starts_with(folder)))
        .filter(|quoted| {
            !quoted.contains(char::is_whitespace) && !quoted.contains('*') && !quoted.contains("ROOM")
        })
        .collect()
}

#[test]
fn the_code_map_leads_to_files_that_exist() {
    let map = tree::read("ARCHITECTURE.md");
    let paths = quoted_paths(&map);
    assert!(paths.len() > 20, "the map names {} paths", paths.len());
    let gone = paths.iter().filter(|path| !tree::root().join(path).exists());
    tree::none(
        &gone.map(|path| format!("ARCHITECTURE.md: {path}")).collect::<Vec<_>>(),
        "these lead nowhere:",
    );
    assert_eq!(
        quoted_paths("`crates/a.rs` and `cargo` and `crates/*/src` and `crates/ROOM/tests`"),
        ["crates/a.rs"]
    );
}

#[test]
fn every_listed_parser_has_its_fuzz_target() {
    let files = tree::files();
    let stem = |name: &str| name.strip_prefix("fuzz/fuzz_targets/")?.strip_suffix(".rs").map(str::to_owned);
    let targets: Vec<String> = files.iter().filter_map(|name| stem(name)).collect();
    assert!(targets.len() >= PARSERS.len(), "a target stands for one parser: {targets:?}");
    for codec in
        files.iter().filter(|name| name.starts_with("crates/adapters/") && name.ends_with("/codec.rs"))
    {
        assert!(PARSERS.iter().any(|(parser, _)| parser == codec), "{codec} is not in the list");
    }
    for (parser, target) in PARSERS {
        assert!(files.iter().any(|name| name == parser), "{parser} is gone: mend the list");
        let path = format!("fuzz/fuzz_targets/{target}.rs");
        assert!(files.contains(&path), "{parser} wants {path}");
        assert!(
            tree::read("fuzz/Cargo.toml").contains(&format!("\"{target}\"")),
            "fuzz/Cargo.toml lacks {target}"
        );
    }
}

#[test]
fn a_page_and_a_link_are_found() {
    let text =
        "see docs/adr/0001-x.md, (docs/guide/y.md) and [z](z.md#part) or [w](https://w.example/docs/v.md)";
    assert_eq!(pages(text), ["docs/adr/0001-x.md", "docs/guide/y.md"]);
    assert_eq!(links(text), ["z.md"]);
}

#[test]
fn a_leak_is_found() {
    let cases = [
        (concat!("\"resolved\": \"https://registry.", "npmjs.org/x\""), 1),
        (concat!("cp /t", "mp/x ."), 1),
        (concat!("path = \"/ho", "me/me/x\""), 1),
        (concat!("coap://host/ho", "me/light"), 0),
        ("see crates/node/src/lib.rs", 0),
    ];
    for (line, expected) in cases {
        assert_eq!(leaks("x", line).len(), expected, "{line}");
    }
}

/// Names of tests in backquotes: at least three words joined by underscores.
fn named_tests(text: &str) -> Vec<&str> {
    let is_name = |quoted: &&str| {
        quoted.matches('_').count() >= 2 && quoted.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
    };
    text.split('`').skip(1).step_by(2).filter(is_name).collect()
}

/// The part of the guide that says which test stands for which failure of earlier systems.
fn known_failures() -> String {
    let guide = tree::read("docs/guide/inter-ledger.md");
    let (_, failures) = guide.split_once("\n### What earlier systems").expect("the guide tells of them");
    failures.to_owned()
}

#[test]
fn every_test_that_a_threat_or_a_known_failure_names_exists() {
    let (threats, failures) = (tree::read("docs/security/threats.md"), known_failures());
    let names = [named_tests(&threats), named_tests(&failures)].concat();
    assert!(names.len() > 28, "the tables name {} tests", names.len());
    let sources: String = tree::files_ending(&[".rs"])
        .iter()
        .filter(|name| name.starts_with("crates/") || name.starts_with("examples/"))
        .map(|name| tree::read(name))
        .collect();
    let gone = names.iter().filter(|name| !sources.contains(&format!("fn {name}(")));
    tree::none(
        &gone.map(|name| format!("no test is called {name}")).collect::<Vec<_>>(),
        "threats.md, inter-ledger.md:",
    );
    assert_eq!(named_tests("`a_b` `a_b_c` and `x y_z_`"), ["a_b_c"]);
}
