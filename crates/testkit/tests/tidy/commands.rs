//! Every `cargo nextest run` of the guide runs something: its packages and targets exist, and each of its filters finds a
//! test among those that the profile does not leave out.

use crate::tree;

/// Where commands stand that a reader is to run.
const PAGES: &[&str] = &["docs/guide/", "docs/specs/", "README.md", "CONTRIBUTING.md"];
const RUN: &str = "cargo nextest run";

/// One binary with tests.
struct Target {
    package: String,
    /// As nextest's `binary(…)` has it.
    binary: String,
    is_lib: bool,
    /// Their names, with their modules.
    tests: Vec<String>,
}

/// What a command selects.
#[derive(Debug, Default, PartialEq, Eq)]
struct Command<'a> {
    packages: Vec<&'a str>,
    targets: Vec<&'a str>,
    lib: bool,
    ci: bool,
    filters: Vec<&'a str>,
}

impl<'a> Command<'a> {
    /// The words after [`RUN`].
    fn parse(words: &[&'a str]) -> Result<Self, String> {
        let (mut command, mut words) = (Self::default(), words.iter());
        while let Some(word) = words.next() {
            let mut value = || words.next().copied().ok_or(format!("{word} without a value"));
            match *word {
                "--workspace" | "--no-capture" => {}
                "--lib" => command.lib = true,
                "-p" => command.packages.push(value()?),
                "--test" => command.targets.push(value()?),
                "-E" => command.filters.push(value()?),
                "--profile" => command.ci = value()? == "ci",
                other => return Err(format!("this check does not know {other}")),
            }
        }
        Ok(command)
    }

    fn selects(&self, target: &Target, hidden: &[String]) -> bool {
        let narrowed = self.lib || !self.targets.is_empty();
        let named = self.lib && target.is_lib || self.targets.contains(&target.binary.as_str());
        (self.packages.is_empty() || self.packages.contains(&target.package.as_str()))
            && (!narrowed || named)
            && (self.ci || !hidden.contains(&target.binary))
    }

    /// What of it selects nothing.
    fn idle(&self, all: &[Target], hidden: &[String]) -> Vec<String> {
        let selected: Vec<_> = all.iter().filter(|target| self.selects(target, hidden)).collect();
        let no_package = |name: &&&str| !all.iter().any(|target| target.package == ***name);
        let packages = self.packages.iter().filter(no_package).map(|name| format!("-p {name}"));
        let no_target = |name: &&&str| !selected.iter().any(|target| target.binary == ***name);
        let targets = self.targets.iter().filter(no_target).map(|name| format!("--test {name}"));
        let terms = self.filters.iter().flat_map(|filter| terms(filter));
        let terms = terms.filter(|term| !selected.iter().any(|target| term.finds(target)));
        packages.chain(targets).chain(terms.map(|term| format!("{}({})", term.set, term.what))).collect()
    }
}

/// One `test(…)` or `binary(…)` of a filter: each must find something, whatever `and`, `or` and `not` make of it.
struct Term<'a> {
    set: &'a str,
    what: &'a str,
}

impl Term<'_> {
    fn finds(&self, target: &Target) -> bool {
        match self.set {
            "test" => target.tests.iter().any(|test| test.contains(self.what)),
            "binary" => target.binary == self.what,
            "package" => target.package == self.what,
            _ => false,
        }
    }
}

fn terms(filter: &str) -> Vec<Term<'_>> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let term = |(at, _): (usize, &str)| {
        let set = filter[..at].rsplit(|c| !is_word(c)).next().filter(|set| !set.is_empty())?;
        Some(Term { set, what: filter[at + 1..].split(')').next()? })
    };
    filter.match_indices('(').filter_map(term).collect()
}

/// The commands of a page: in backquotes, where they may go over a line's end, or on a line of their own.
fn commands(text: &str) -> Vec<Vec<&str>> {
    let command = |(at, _): (usize, &str)| {
        let (before, rest) = (&text[..at], &text[at + RUN.len()..]);
        let quoted = before.matches('`').count() % 2 == 1;
        let end: &[char] = if quoted { &['`'] } else { &['\n', '#'] };
        words(&rest[..rest.find(end).unwrap_or(rest.len())])
    };
    text.match_indices(RUN).map(command).collect()
}

/// As a shell splits them; a word may stand in single quotes.
fn words(line: &str) -> Vec<&str> {
    let parts = line.split('\'').enumerate();
    parts
        .flat_map(|(at, part)| match at % 2 {
            0 => part.split_whitespace().collect(),
            _ => vec![part],
        })
        .collect()
}

/// The names of the tests that a source declares: of each function after a line with the attribute.
fn declared(source: &str) -> Vec<String> {
    let (mut names, mut marked) = (Vec::new(), false);
    for line in source.lines().map(str::trim_start) {
        marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        if let Some((_, after)) = line.split_once("fn ").filter(|_| marked) {
            names.extend(after.split(|c: char| !c.is_alphanumeric() && c != '_').next().map(str::to_owned));
            marked = false;
        }
    }
    names
}

/// `a/b.rs` and `a/b/mod.rs` are the module `a::b`; a root has no name.
fn module(path: &str) -> String {
    let path = path.trim_end_matches(".rs").trim_end_matches("mod").trim_end_matches('/');
    let root = ["main", "lib"].contains(&path) || path.is_empty();
    if root { String::new() } else { format!("{}::", path.replace('/', "::")) }
}

/// Every binary of the members, by their sources: a test's module is where its file lies.
fn targets() -> Vec<Target> {
    let sources = tree::files_ending(&[".rs"]);
    let mut all: Vec<Target> = Vec::new();
    for (manifest, table) in tree::manifests() {
        let package = table["package"]["name"].as_str().expect("a package has a name");
        let folder = manifest.trim_end_matches("Cargo.toml");
        for source in sources.iter().filter_map(|source| source.strip_prefix(folder)) {
            let Some((binary, path, is_lib)) = placed(package, source) else { continue };
            let module = module(&path);
            let found = declared(&tree::read(&format!("{folder}{source}")));
            let found = found.into_iter().map(|name| format!("{module}{name}"));
            match all.iter_mut().find(|one| one.package == package && one.binary == binary) {
                Some(target) => target.tests.extend(found),
                None => all.push(Target { package: package.into(), binary, is_lib, tests: found.collect() }),
            }
        }
    }
    all
}

/// The binary that a package's source belongs to, its path there, and whether it is the library.
fn placed(package: &str, source: &str) -> Option<(String, String, bool)> {
    if let Some(path) = source.strip_prefix("src/") {
        return Some((package.replace('-', "_"), path.to_owned(), true));
    }
    let path = source.strip_prefix("tests/")?;
    let (binary, path) = path.split_once('/').unwrap_or((path.trim_end_matches(".rs"), "main.rs"));
    Some((binary.to_owned(), path.to_owned(), false))
}

/// The binaries that the default profile leaves out.
fn hidden() -> Vec<String> {
    let config = tree::read(".config/nextest.toml").parse::<toml::Table>().expect("TOML");
    let filter = config["profile"]["default"]["default-filter"].as_str().expect("a filter");
    assert!(filter.starts_with("not ("), "this check reads `not (binary(a) | …)`: {filter}");
    terms(filter).iter().filter(|term| term.set == "binary").map(|term| term.what.to_owned()).collect()
}

#[test]
fn every_command_of_the_guide_runs_a_test() {
    let (all, hidden) = (targets(), hidden());
    let mut offences = Vec::new();
    let mut count = 0;
    for page in tree::files_ending(&[".md"]) {
        if !PAGES.iter().any(|known| page.starts_with(known)) {
            continue;
        }
        let text = tree::read(&page);
        for words in commands(&text) {
            count += 1;
            let idle = Command::parse(&words).map_or_else(|why| vec![why], |one| one.idle(&all, &hidden));
            offences.extend(idle.into_iter().map(|what| format!("{page}: {}: {what}", words.join(" "))));
        }
    }
    assert!(count > 20, "{count} commands were found");
    tree::none(&offences, "these select no test (with `--profile ci` where the default filter hides it):");
}

#[test]
fn a_command_that_runs_nothing_is_found() {
    let target = |package: &str, binary: &str, is_lib, tests: &[&str]| {
        let tests = tests.iter().map(|name| (*name).to_owned()).collect();
        Target { package: package.into(), binary: binary.into(), is_lib, tests }
    };
    let all = [
        target("sofie-market", "sofie_market", true, &["offer::tests::a"]),
        target("sofie-market", "panel", false, &["any_two_of_three"]),
        target("sofie", "story", false, &["it_ends"]),
    ];
    for (line, idle) in [
        ("-p sofie-market -E 'binary(panel)'", ""),
        ("-p sofie-market -E 'test(panel)'", "test(panel)"),
        ("-p sofie-market --test panel -E 'test(two) or test(four)'", "test(four)"),
        ("-p sofie-market --lib -E 'test(offer)'", ""),
        ("-p sofie-market --lib -E 'test(two)'", "test(two)"),
        ("-p sofie-bazaar", "-p sofie-bazaar"),
        ("-p sofie --test panel", "--test panel"),
        ("-p sofie --test story", "--test story"),
        ("--profile ci -p sofie --test story", ""),
        ("--workspace", ""),
    ] {
        let page = format!("| x | `{RUN} {line}` |");
        let found = commands(&page);
        let command = Command::parse(&found[0]).expect("it is one");
        assert_eq!(command.idle(&all, &["story".to_owned()]).join(" "), idle, "{line}");
    }
    assert!(Command::parse(&["--nothing"]).is_err());
    let names = declared("#[test]\nfn a() {}\n#[tokio::test(flavor = \"x\")]\nasync fn b() {}\nfn c() {}");
    assert_eq!(names, ["a", "b"]);
    assert_eq!([module("main.rs"), module("a/b.rs"), module("a/mod.rs")], ["", "a::b::", "a::"]);
}
