//! The sections of the file, one function each, and what must hold between them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    ops::{Range, RangeInclusive},
    path::{Path, PathBuf},
};

use sofie_ledgers::quorum::PACE;
use sofie_model::{Digest, LedgerId, Span, quorum::Group};
use toml::de::DeTable;
use url::Url;

use super::{
    Bitcoin, Config, ConfigError, DEFAULT_LISTEN, Ledger, LedgerKind, Limits, MAX_ENTRIES, Name, Node, Party,
    Peer, Platform, Policy, RpcUrl, Seat,
    calendar::{calendar, calendar_http, calendar_peers},
    fault::Fault,
    peer,
    scalar::{self, nearest},
    section::{Faults, Placed, Section},
    webhook,
};
use crate::api::PlatformKind;

/// Reads the whole file.
pub(super) fn read(text: &str, file: &Path) -> Result<Config, ConfigError> {
    let refused = |faults| ConfigError::Faults { file: file.to_owned(), faults };
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let at = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
        let fault = |error| Fault::at(text, at(error), format!("not TOML: {}", error.message().trim()));
        return Err(refused(errors.iter().map(fault).collect()));
    }
    let faults = Faults::new(text);
    let folder = file.parent().unwrap_or(Path::new(""));
    let config = sections(Section::root(&root, &faults), folder);
    let found = faults.into_sorted();
    if found.is_empty() { Ok(config) } else { Err(refused(found)) }
}

/// An entry that could not be read is left out, after its fault was noted.
fn sections(mut root: Section<'_, '_>, folder: &Path) -> Config {
    // Which one was judged before (form.rs).
    let _version = root.get("version", |_| Ok(()));
    let node = node(root.table("node", "[node]"), folder);
    let party_tables = root.tables("party");
    let told_parties = party_tables.len();
    let parties = each(party_tables, |section| party(section, folder, &node.node.data_dir));
    let ledger_tables = root.tables("ledger");
    let told_ledgers = ledger_tables.len();
    let ledgers = each(ledger_tables, |section| ledger(section, folder));
    let members = each(root.tables("member"), |section| seat(section, &node.operator));
    let platforms = each(root.tables("platform"), |section| platform(section, folder));
    let peers = each(root.tables("peer"), peer::read);
    let webhooks = each(root.tables("webhook"), webhook::read);
    let limits = limits(root.table("limits", "[limits]"));
    let names: BTreeSet<&str> = parties.iter().map(|party| party.value.name.as_str()).collect();

    if told_parties == 0 {
        root.fault(&(0..0), "no [[party]] that could own anything; add one with a name");
    }
    if told_ledgers == 0 {
        root.fault(&(0..0), "no [[ledger]] to record on; add one with an id and a kind");
    }
    unique(&root, &parties, "party", |party| party.name.to_string());
    unique(&root, &parties, "party key_file", |party| party.key_file.display().to_string());
    unique(&root, &ledgers, "ledger", |(ledger, _)| ledger.id.to_string());
    unique(&root, &platforms, "platform", |(platform, _)| platform.url.to_string());
    unique(&root, &peers, "peer", |peer| peer.name.to_string());
    unique(&root, &peers, "peer key", |peer| hex::encode(peer.key.as_bytes()));
    unique(&root, &webhooks, "webhook", |(webhook, _)| webhook.name.to_string());
    foreign_parties(&root, &peers, &names);
    calendar_peers(&root, &ledgers, &peers);
    if told_ledgers == ledgers.len() {
        standing(&root, &ledgers);
        seats(&root, &members, &ledgers);
    }
    // Under a party whose name was not read, "no such party" would be a second fault for the same mistake.
    if told_parties > 0 && told_parties == parties.len() {
        known_party(&root, &node.operator, "[node] operator", &names);
        for owner in platforms.iter().map(|platform| &platform.value.1) {
            known_party(&root, owner, "[[platform]] owner", &names);
        }
        for party in members.iter().map(|member| &member.value.1) {
            known_party(&root, party, "[[member]] party", &names);
        }
        for (key, named) in ledgers.iter().flat_map(|ledger| &ledger.value.1) {
            known_party(&root, named, &format!("[[ledger]] {key}"), &names);
        }
        for party in webhooks.iter().filter_map(|webhook| webhook.value.1.as_ref()) {
            known_party(&root, party, "[[webhook]] party", &names);
        }
        for peer in &peers {
            for name in peer.value.publish.iter().flatten() {
                let named = Placed { place: peer.place.clone(), value: name.clone() };
                known_party(&root, &named, "[[peer]] publish", &names);
            }
        }
    }
    root.finish();
    Config {
        node: node.node,
        parties: parties.into_iter().map(|party| party.value).collect(),
        ledgers: ledgers.into_iter().map(|ledger| ledger.value.0).collect(),
        members: members.into_iter().map(|member| member.value.0).collect(),
        platforms: platforms.into_iter().map(|platform| platform.value.0).collect(),
        peers: peers.into_iter().map(|peer| peer.value).collect(),
        webhooks: webhooks.into_iter().map(|webhook| webhook.value.0).collect(),
        limits,
        outdated: Vec::new(),
    }
}

/// Batches of records stand on an EVM ledger of the same file.
fn standing(root: &Section<'_, '_>, ledgers: &[ReadLedger]) {
    let evm = |kind: &LedgerKind| matches!(kind, LedgerKind::EvmEmbedded { .. } | LedgerKind::EvmRpc { .. });
    let all = ledgers.iter().map(|ledger| &ledger.value.0);
    let known: Vec<_> = all.filter(|ledger| evm(&ledger.kind)).map(|ledger| ledger.id.as_str()).collect();
    for ledger in ledgers {
        let LedgerKind::EvmRecords { on, .. } = &ledger.value.0.kind else { continue };
        if !known.contains(&on.as_str()) {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let what =
                format!("on: no [[ledger]] of an EVM chain has the id {:?}; there are {known}", on.as_str());
            root.fault(&ledger.place, &what);
        }
    }
}

/// A party's name and its account stand for one party, here or at one peer: a draft that names it means one node.
fn foreign_parties(root: &Section<'_, '_>, peers: &[Placed<Peer>], own: &BTreeSet<&str>) {
    let mut names: BTreeMap<&str, &str> = own.iter().map(|name| (*name, "this node")).collect();
    let mut accounts = BTreeMap::new();
    for peer in peers {
        for (name, account) in &peer.value.parties {
            let by = peer.value.name.as_str();
            if let Some(other) = names.insert(name.as_str(), by) {
                let what = format!(
                    "[peer.parties] {name}: {by} and {other} both have a party of this name; choose another here, it is \
                     your own word for it"
                );
                root.fault(&peer.place, &what);
            }
            if let Some(other) = accounts.insert(account, by) {
                let what = format!(
                    "[peer.parties] {name}: {by} and {other} both claim the account {account}; ask both whose it is"
                );
                root.fault(&peer.place, &what);
            }
        }
    }
}

/// `[node]`, and where its operator is named.
struct ReadNode {
    node: Node,
    operator: Placed<Name>,
}

fn node(mut section: Section<'_, '_>, folder: &Path) -> ReadNode {
    let default = |name: &str| Name::try_from(name.to_owned()).expect("the defaults below are names");
    let name = section.get_or("name", default("sofie"), scalar::parsed);
    let operator = section
        .get("operator", scalar::parsed)
        .unwrap_or_else(|| Placed { value: default("operator"), place: section.place() });
    let listen = section
        .get("listen", scalar::listen)
        .unwrap_or_else(|| Placed { value: DEFAULT_LISTEN, place: section.place() });
    let data_dir = section.get_or("data_dir", PathBuf::from("sofie-data"), scalar::parsed);
    let console = section.get_or("console", true, scalar::boolean);
    let log = section.get_or("log", "info".to_owned(), log_filter);
    let token_file: Option<Placed<PathBuf>> = section.get("token_file", scalar::parsed);
    let hosts = section.get_or("hosts", Vec::new(), |value| scalar::list(value, MAX_ENTRIES, host));
    let url = section.get("url", |value| peer::door(value, &["http", "https"]));
    open_to_others(&section, &listen, token_file.is_some());
    section.finish();
    let node = Node {
        name,
        operator: operator.value.clone(),
        listen: listen.value,
        data_dir: folder.join(data_dir),
        console,
        log,
        token_file: token_file.map(|file| folder.join(file.value)),
        hosts,
        url: url.map(|url| url.value),
    };
    ReadNode { node, operator }
}

/// Other machines may only reach a node that asks for a token.
fn open_to_others(section: &Section<'_, '_>, listen: &Placed<SocketAddr>, has_token: bool) {
    if !listen.value.ip().is_loopback() && !has_token {
        let what = format!(
            "listen: {} can be reached from other machines, so that anybody there could spend the parties' money; \
             set token_file, or listen on 127.0.0.1",
            listen.value
        );
        section.fault(&listen.place, &what);
    }
}

fn log_filter(value: &toml::de::DeValue<'_>) -> scalar::Read<String> {
    let text = scalar::text(value)?;
    match tracing_subscriber::EnvFilter::builder().parse(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(format!(
            "{text:?} is not a log filter such as \"info\" or \"info,sofie_node=debug\": {error}"
        )),
    }
}

fn host(value: &toml::de::DeValue<'_>) -> scalar::Read<String> {
    let text = scalar::text(value)?.to_ascii_lowercase();
    match url::Host::parse(&text) {
        Ok(host) if host.to_string() == text => Ok(text),
        _ => Err(format!("{text:?} is not a host name without port, such as \"node.example.org\"")),
    }
}

fn party(mut section: Section<'_, '_>, folder: &Path, data_dir: &Path) -> Option<Placed<Party>> {
    let place = section.place();
    let name = section.require("name", "\"renter\"", scalar::parsed::<Name>);
    let key_file: Option<Placed<PathBuf>> = section.get("key_file", scalar::parsed);
    section.finish();
    let name = name?;
    let key_file = match key_file {
        Some(file) => folder.join(file.value),
        None => data_dir.join("keys").join(format!("{}.key", name.value)),
    };
    Some(Placed { place, value: Party { name: name.value, key_file } })
}

/// The kinds of ledgers as the file writes them.
#[derive(Clone, Copy)]
enum Kind {
    EvmEmbedded,
    EvmRpc,
    EvmRecords,
    BitcoinRpc,
    Calendar,
    CalendarHttp,
    File,
    Custodian,
    Quorum,
}

const KINDS: [(&str, Kind); 9] = [
    ("evm-embedded", Kind::EvmEmbedded),
    ("evm-rpc", Kind::EvmRpc),
    ("evm-records", Kind::EvmRecords),
    ("bitcoin-rpc", Kind::BitcoinRpc),
    ("calendar", Kind::Calendar),
    ("calendar-http", Kind::CalendarHttp),
    ("file", Kind::File),
    ("custodian", Kind::Custodian),
    ("quorum", Kind::Quorum),
];

/// What a ledger of a kind does unless the file says otherwise.
struct Defaults {
    inclusion: Span,
    finalises: Span,
    poll: Span,
    skew: Span,
    fee_limit: u128,
}

impl Kind {
    const fn defaults(self) -> Defaults {
        let [inclusion, finalises, skew] = match self {
            Self::EvmEmbedded => [2, 0, 0],
            // Clients take blocks up to 15 s ahead of their own clock.
            Self::EvmRpc => [60, 900, 15],
            // Zero: as the ledger that it stands on.
            Self::EvmRecords => [0, 0, 15],
            // Its clock is the median of eleven blocks' times, which lie up to two hours ahead.
            Self::BitcoinRpc => [7_200, 7_200, 7_200],
            Self::Calendar => [2, 2, 0],
            // A restart of its owner's node included.
            Self::CalendarHttp => [60, 0, 2],
            Self::File => [2, 0, 0],
            // A restart of its database included.
            Self::Custodian => [60, 0, 2],
            // Some failed rounds; members' clocks may be apart by as much as they accept.
            Self::Quorum => [30, 0, 10],
        };
        let (poll, fee_limit) = match self {
            Self::EvmEmbedded => (20, ETHER / 100),
            Self::EvmRpc => (1000, ETHER / 100),
            Self::EvmRecords => (0, ETHER / 100),
            Self::BitcoinRpc => (10_000, 50_000),
            Self::Calendar | Self::File => (20, 0),
            Self::Custodian => (200, 0),
            Self::CalendarHttp => (100, 0),
            Self::Quorum => (100, 0),
        };
        Defaults {
            inclusion: Span::from_seconds(inclusion),
            finalises: Span::from_seconds(finalises),
            poll: Span::from_millis(poll),
            skew: Span::from_seconds(skew),
            fee_limit,
        }
    }
}

/// In wei.
const ETHER: u128 = 1_000_000_000_000_000_000;

/// A ledger, and the parties that it names, each with the key that does.
pub(super) type ReadLedger = Placed<(Ledger, Vec<Named>)>;
type Named = (&'static str, Placed<Name>);

fn ledger(mut section: Section<'_, '_>, folder: &Path) -> Option<ReadLedger> {
    let place = section.place();
    let id = section.require("id", "\"evm\"", scalar::parsed::<LedgerId>);
    let kind = section.require("kind", "\"evm-embedded\"", |value| scalar::word(value, &KINDS));
    // Without a kind nobody can tell which keys belong here: only the fault above is told.
    let kind = kind?.value;
    let default = kind.defaults();
    let long = Span::ZERO..=Span::from_seconds(7 * 86_400);
    let inclusion = section.get_or("inclusion", default.inclusion, |value| scalar::span(value, long.clone()));
    let finalises = section.get_or("finalises", default.finalises, |value| scalar::span(value, long.clone()));
    let skew = section.get_or("skew", default.skew, |value| scalar::span(value, long.clone()));
    let fee_limit = section.get_or("fee_limit", default.fee_limit, scalar::amount);
    let poll = section.get_or("poll", default.poll, |value| scalar::span(value, POLL));
    let mut named = Vec::new();
    let kind = match kind {
        Kind::EvmEmbedded => Some(evm_embedded(&mut section, &mut named)),
        Kind::EvmRpc => evm_rpc(&mut section, &mut named),
        Kind::EvmRecords => evm_records(&mut section),
        Kind::BitcoinRpc => bitcoin_rpc(&mut section, folder),
        Kind::Calendar => Some(calendar(&mut section, &place)),
        Kind::CalendarHttp => calendar_http(&mut section),
        Kind::File => Some(LedgerKind::File),
        Kind::Custodian => custodian(&mut section),
        Kind::Quorum => group(&mut section, &place),
    };
    section.finish();
    let ledger = Ledger { id: id?.value, kind: kind?, inclusion, finalises, poll, skew, fee_limit };
    Some(Placed { place, value: (ledger, named) })
}

/// No busy loop, and no node that looks asleep.
const POLL: RangeInclusive<Span> = Span::from_millis(1)..=Span::from_seconds(60);
/// EIP-155 leaves room above; a manifest and JSON carry 64 bits, TOML 63.
const CHAIN_IDS: RangeInclusive<u64> = 1..=i64::MAX as u64;

fn evm_embedded(section: &mut Section<'_, '_>, named: &mut Vec<Named>) -> LedgerKind {
    let chain_id = section.get_or("chain_id", 1337, |value| scalar::whole(value, CHAIN_IDS));
    let entries = section
        .table("genesis", "[[ledger]] genesis")
        .entries(|party, value| Ok((party.parse::<Name>()?, scalar::amount(value)?)));
    let mut genesis = BTreeMap::new();
    for Placed { value: (party, amount), place } in entries {
        named.push(("genesis", Placed { value: party.clone(), place }));
        genesis.insert(party, amount);
    }
    LedgerKind::EvmEmbedded { chain_id, genesis }
}

/// More accounts than this would hardly keep one node busier.
const MAX_LANES: usize = 64;

fn evm_rpc(section: &mut Section<'_, '_>, named: &mut Vec<Named>) -> Option<LedgerKind> {
    let url =
        section.require("url", "\"http://127.0.0.1:8545\"", |value| scalar::url(value, &["http", "https"]));
    let chain_id = section.require("chain_id", "31337", |value| scalar::whole(value, CHAIN_IDS));
    let finality = section.require("finality", "\"finalized\"", scalar::finality);
    let since = section.get_or("since", 0, |value| scalar::whole(value, HEIGHTS));
    let lanes = section.get("lanes", |value| scalar::list(value, MAX_LANES, scalar::parsed::<Name>));
    if let Some(Placed { value, place }) = &lanes {
        let party = |name: &Name| ("lanes", Placed { value: name.clone(), place: place.clone() });
        named.extend(value.iter().map(party));
    }
    Some(LedgerKind::EvmRpc {
        url: RpcUrl::new(url?.value),
        chain_id: chain_id?.value,
        finality: finality?.value,
        since,
        lanes: lanes.map(|lanes| lanes.value).unwrap_or_default(),
    })
}

/// From a batch as soon as something waits to one an hour.
const INTERVALS: RangeInclusive<Span> = Span::ZERO..=Span::from_seconds(3_600);

fn evm_records(section: &mut Section<'_, '_>) -> Option<LedgerKind> {
    let on = section.require("on", "\"evm\"", scalar::parsed::<LedgerId>);
    let second = Span::from_seconds(1);
    let interval = section.get_or("interval", second, |value| scalar::span(value, INTERVALS));
    Some(LedgerKind::EvmRecords { on: on?.value, interval })
}

const NETWORKS: [(&str, &str); 5] = [
    ("main", "main"),
    ("test", "test"),
    ("testnet4", "testnet4"),
    ("signet", "signet"),
    ("regtest", "regtest"),
];
/// No chain is higher for the next thousand years.
const HEIGHTS: RangeInclusive<u64> = 0..=100_000_000;

fn bitcoin_rpc(section: &mut Section<'_, '_>, folder: &Path) -> Option<LedgerKind> {
    let url = section.require("url", "\"http://127.0.0.1:8332\"", |value| scalar::url(value, &["http"]));
    let cookie: Option<Placed<PathBuf>> = section.get("cookie", scalar::parsed);
    let network = section.get_or("network", "main", |value| scalar::word(value, &NETWORKS));
    let since = section.get_or("since", 0, |value| scalar::whole(value, HEIGHTS));
    let finality = section.require("finality", "\"depth:6\"", scalar::depth);
    let url = url?;
    if cookie.is_none() && (url.value.username().is_empty() || url.value.password().is_none()) {
        section.fault(&url.place, "url: holds no user and password, and there is no cookie; add one of them");
    }
    Some(LedgerKind::BitcoinRpc(Bitcoin {
        url: RpcUrl::new(url.value),
        cookie: cookie.map(|file| folder.join(file.value)),
        network: network.into(),
        since,
        depth: finality?.value,
    }))
}

fn custodian(section: &mut Section<'_, '_>) -> Option<LedgerKind> {
    let url = section.require("url", "\"http://127.0.0.1:8600\"", |value| scalar::url(value, &["http"]));
    let example = "\"8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394\"";
    let key = section.require("key", example, scalar::parsed);
    Some(LedgerKind::Custodian { url: RpcUrl::new(url?.value), key: key?.value })
}

/// The keys of a group's members, each with its node's door.
fn group(section: &mut Section<'_, '_>, place: &Range<usize>) -> Option<LedgerKind> {
    let members = section.table("members", "[[ledger]] members").entries(|key, url| {
        Ok((key.parse::<Digest>().map_err(|error| error.to_string())?, peer::door(url, &["http"])?))
    });
    let members: BTreeMap<Digest, Url> = members.into_iter().map(|member| member.value).collect();
    match Group::new(members.keys().copied().collect()) {
        Ok(_) => Some(LedgerKind::Quorum { members }),
        Err(bad) => {
            let next = "write KEY = \"http://HOST:PORT\" for each under [ledger.members]";
            section.fault(place, &format!("members: {bad}; {next}"));
            None
        }
    }
}

/// A member that this node runs, and where its party is named.
type ReadSeat = Placed<(Seat, Placed<Name>)>;

fn seat(mut section: Section<'_, '_>, operator: &Placed<Name>) -> Option<ReadSeat> {
    let place = section.place();
    let ledger = section.require("ledger", "\"notaries\"", scalar::parsed::<LedgerId>);
    let party = section.get("party", scalar::parsed::<Name>).unwrap_or_else(|| operator.clone());
    let pace = section.get_or("pace", PACE, |value| scalar::span(value, PACES));
    let restored = section.get("restored", scalar::text);
    section.finish();
    let restored = restored.map(|word| word.value);
    let seat = Seat { ledger: ledger?.value, party: party.value.clone(), pace, restored };
    Some(Placed { place, value: (seat, party) })
}

/// Rounds that are no flood, and no sleep.
const PACES: RangeInclusive<Span> = Span::from_millis(50)..=Span::from_seconds(5);

/// Each member is of a group that is a ledger here, once.
fn seats(root: &Section<'_, '_>, seats: &[ReadSeat], ledgers: &[ReadLedger]) {
    for seat in seats {
        let id = &seat.value.0.ledger;
        let found = ledgers.iter().find(|ledger| ledger.value.0.id == *id);
        if !found.is_some_and(|ledger| matches!(ledger.value.0.kind, LedgerKind::Quorum { .. })) {
            let what = format!("[[member]] ledger: no [[ledger]] of kind \"quorum\" is named \"{id}\"");
            root.fault(&seat.place, &what);
        }
    }
    unique(root, seats, "member of ledger", |(seat, _)| seat.ledger.to_string());
}

/// A platform, and where its owner is named.
type ReadPlatform = Placed<(Platform, Placed<Name>)>;

fn platform(mut section: Section<'_, '_>, folder: &Path) -> Option<ReadPlatform> {
    const KINDS: [(&str, PlatformKind); 4] = {
        let [coap, mqtt, wot, onem2m] = PlatformKind::ALL;
        [(coap.as_str(), coap), (mqtt.as_str(), mqtt), (wot.as_str(), wot), (onem2m.as_str(), onem2m)]
    };
    let place = section.place();
    let owner = section.require("owner", "\"locker-co\"", scalar::parsed::<Name>);
    let kind = section.require("kind", "\"coap\"", |value| scalar::word(value, &KINDS));
    let example = match &kind {
        Some(Placed { value: PlatformKind::Mqtt, .. }) => "\"mqtt://127.0.0.1:1883\"",
        Some(Placed { value: PlatformKind::Wot, .. }) => "\"http://127.0.0.1:8080\"",
        Some(Placed { value: PlatformKind::Onem2m, .. }) => "\"http://127.0.0.1:8080/cse-in\"",
        _ => "\"coap://127.0.0.1:5683\"",
    };
    // Under an unknown kind the URL is not judged: one fault is enough.
    let possible = kind.as_ref().map_or(PlatformKind::ALL.to_vec(), |kind| vec![kind.value]);
    let schemes: Vec<&str> = possible.into_iter().map(|kind| kind.scheme().0).collect();
    let url = section.require("url", example, |value| scalar::url(value, &schemes));
    let originator = match &kind {
        Some(Placed { value: PlatformKind::Onem2m, .. }) => {
            section.require("originator", "\"Cmonitor\"", scalar::text)
        }
        _ => section.get("originator", scalar::text),
    };
    if let (Some(given), Some(kind)) = (&originator, &kind)
        && kind.value != PlatformKind::Onem2m
    {
        section.fault(&given.place, "originator: only a platform of kind \"onem2m\" has one; remove it");
    }
    let mapping: Option<Placed<PathBuf>> = section.get("mapping", scalar::parsed);
    let mut policy = section.table("policy", "[platform.policy]");
    let actions =
        policy.get_or("actions", Vec::new(), |value| scalar::list(value, MAX_ENTRIES, scalar::text));
    let writes = policy.get_or("writes", Vec::new(), |value| scalar::list(value, MAX_ENTRIES, scalar::text));
    policy.finish();
    section.finish();
    let owner = owner?;
    let platform = Platform {
        owner: owner.value.clone(),
        kind: kind?.value,
        url: url?.value,
        originator: originator.map(|placed| placed.value),
        mapping: mapping.map(|file| folder.join(file.value)),
        policy: Policy { actions, writes },
    };
    Some(Placed { place, value: (platform, owner) })
}

fn limits(mut section: Section<'_, '_>) -> Limits {
    let default = Limits::default();
    let timeout = Span::from_millis(100)..=Span::from_seconds(600);
    let mut span = |key, default| section.get_or(key, default, |value| scalar::span(value, timeout.clone()));
    let request_timeout = span("request_timeout", default.request_timeout);
    let header_timeout = span("header_timeout", default.header_timeout);
    let drain = span("drain", default.drain);
    let mut count = |key, default, max| section.get_or(key, default, |value| scalar::count(value, 1..=max));
    let limits = Limits {
        body_bytes: count("body_bytes", default.body_bytes, 16 << 20),
        requests: count("requests", default.requests, 10_000),
        connections: count("connections", default.connections, 100_000),
        streams: count("streams", default.streams, 10_000),
        request_timeout,
        header_timeout,
        drain,
    };
    section.finish();
    limits
}

fn each<'t, 's, T>(
    sections: Vec<Section<'t, 's>>,
    read: impl FnMut(Section<'t, 's>) -> Option<Placed<T>>,
) -> Vec<Placed<T>> {
    sections.into_iter().filter_map(read).collect()
}

fn unique<T>(root: &Section<'_, '_>, items: &[Placed<T>], what: &str, name: impl Fn(&T) -> String) {
    let mut seen = BTreeSet::new();
    for item in items {
        let name = name(&item.value);
        if !seen.insert(name.clone()) {
            root.fault(&item.place, &format!("a second {what} {name:?}; each must be there once"));
        }
    }
}

fn known_party(root: &Section<'_, '_>, named: &Placed<Name>, key: &str, names: &BTreeSet<&str>) {
    if names.contains(named.value.as_str()) {
        return;
    }
    let known: Vec<_> = names.iter().copied().collect();
    let hint = match nearest(named.value.as_str(), &known) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("known are {}; or add a [[party]] with that name", known.join(", ")),
    };
    root.fault(&named.place, &format!("{key}: no [[party]] is named {:?}; {hint}", named.value.as_str()));
}
