//! `[[ledger]]` of kind `calendar`, which other nodes may use, and `calendar-http`: that of another node.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use sofie_model::calendar::LogKey;
use sofie_model::proof::calendar::{MAX_WITNESSES, WitnessKey};
use url::Url;

use super::{
    CalendarHttp, LedgerKind, MAX_ENTRIES, Name, Peer, peer, scalar,
    section::{Placed, Section},
    tables::ReadLedger,
};

pub(super) fn calendar(section: &mut Section<'_, '_>, place: &Range<usize>) -> LedgerKind {
    let read_only = section.get_or("read_only", false, scalar::boolean);
    let decides = section.get_or("decides", false, scalar::boolean);
    let quorum = section.get("quorum", |value| scalar::whole(value, 1..=MAX_WITNESSES as u64));
    let witnesses = section.table("witnesses", "[[ledger]] witnesses").entries(|key, url| {
        let witness = key.parse::<WitnessKey>().map_err(|error| error.to_string())?;
        Ok((witness, scalar::url(url, &["http"])?))
    });
    let witnesses: BTreeMap<WitnessKey, Url> = witnesses.into_iter().map(|one| one.value).collect();
    let count = witnesses.len();
    if count > MAX_WITNESSES {
        section.fault(place, &format!("witnesses: {count}, at most {MAX_WITNESSES} are asked"));
    }
    let next = "write NAME+ID+KEY = \"http://HOST:PORT\" for each under [ledger.witnesses]";
    let quorum = quorum_of(section, quorum, count, next);
    let peers = section.get("peers", |value| scalar::list(value, MAX_ENTRIES, scalar::parsed::<Name>));
    let peers = peers.map(|peers| peers.value).unwrap_or_default();
    let peer_entries =
        section.get_or("peer_entries", PEER_ENTRIES, |value| scalar::whole(value, 1..=MAX_PEER_ENTRIES));
    LedgerKind::Calendar { read_only, decides, witnesses, quorum, peers, peer_entries }
}

/// What a peer may append unless the file says otherwise: a fortieth of what one log holds.
const PEER_ENTRIES: u64 = 100_000;
/// A log holds no more.
const MAX_PEER_ENTRIES: u64 = 1 << 22;

pub(super) fn calendar_http(section: &mut Section<'_, '_>) -> Option<LedgerKind> {
    let url = section.require("url", "\"http://127.0.0.1:8421\"", |value| peer::door(value, &["http"]));
    let example = "\"name+id+key, as GET /api/v1/ledgers of the owner's node shows it\"";
    let log = section.require("log", example, scalar::parsed::<LogKey>);
    let decides = section.get_or("decides", false, scalar::boolean);
    let witnesses = section
        .get("witnesses", |value| scalar::list(value, MAX_WITNESSES, scalar::parsed::<WitnessKey>))
        .map(|witnesses| witnesses.value.into_iter().collect::<BTreeSet<_>>())
        .unwrap_or_default();
    let quorum = section.get("quorum", |value| scalar::whole(value, 1..=MAX_WITNESSES as u64));
    let quorum = quorum_of(section, quorum, witnesses.len(), "write each as \"name+id+key\" in witnesses");
    Some(LedgerKind::CalendarHttp(CalendarHttp {
        url: url?.value,
        log: log?.value,
        decides,
        witnesses: witnesses.into_iter().collect(),
        quorum,
    }))
}

/// How many of `count` witnesses must sign: all of them, unless the file says otherwise.
fn quorum_of(section: &Section<'_, '_>, quorum: Option<Placed<u64>>, count: usize, next: &str) -> usize {
    let Some(Placed { value, place }) = quorum else { return count };
    let quorum = usize::try_from(value).unwrap_or(usize::MAX);
    if quorum > count {
        section.fault(&place, &format!("quorum: {quorum} of {count} witnesses; {next}"));
    }
    quorum
}

/// Who uses a calendar is a peer whose key is pinned.
pub(super) fn calendar_peers(root: &Section<'_, '_>, ledgers: &[ReadLedger], peers: &[Placed<Peer>]) {
    let known: Vec<_> = peers.iter().map(|peer| peer.value.name.as_str()).collect();
    for ledger in ledgers {
        let LedgerKind::Calendar { peers: named, .. } = &ledger.value.0.kind else { continue };
        for name in named.iter().filter(|name| !known.contains(&name.as_str())) {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let what = format!("peers: no [[peer]] is named {:?}; there are {known}", name.as_str());
            root.fault(&ledger.place, &what);
        }
    }
}
