//! `sofie directory verify`: whether a node's directory serves what it has anchored, and has dropped nothing. What the node
//! says is believed only as far as the log that anchors it holds it.

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;
use sofie_audit::directory::{Compared, Seen, Verdict, compare};
use sofie_directory::canonical;
use sofie_model::map::anchor::{Anchored, Entries, MAX_ENTRIES, Standing, key};
use sofie_model::map::{Entry, MapProof, Shown};
use sofie_model::{Digest, ThingId};
use sofie_node::api::At;

use super::nouns::keep;
use super::verify;
use crate::cli::{DirectoryVerb, Node};
use crate::client::{Client, url_segment};
use crate::failure::Failure;
use crate::input;
use crate::output::{self, Format};

/// As many as a page of the directory has.
const PAGE: usize = 100;
/// More things than a directory has are not read.
const MAX_THINGS: usize = sofie_directory::store::MAX_THINGS;
/// A change is anchored within a second or so: what differs is looked at again before it is called a lie.
const LOOKS: u32 = 5;
const BETWEEN: std::time::Duration = std::time::Duration::from_secs(1);
/// The longest file of what was seen.
const MAX_SEEN: usize = 16 * 1024;

pub(crate) async fn run(verb: DirectoryVerb, node: &Node) -> Result<ExitCode, Failure> {
    let DirectoryVerb::Verify { things, anchors, seen } = verb;
    let anchors = anchors.as_deref().map(verify::anchors).transpose()?;
    let client = Client::of(node)?;
    let mut look = 1;
    let found = loop {
        let anchored = Shows::of(&client).await?;
        let pinned = match &anchors {
            None => None,
            Some(anchors) => Some(anchors.check(&anchored.standing.anchor).map_err(lie)?),
        };
        let remembered = remembered(seen.as_deref(), &anchored)?;
        let compared = match things.as_slice() {
            [] => whole(&client, &anchored).await?,
            some => each(&client, &anchored, some).await?,
        };
        let settled = compared.as_ref().is_some_and(|all| all.iter().all(|one| one.verdict.is_true()));
        if let Some(compared) = compared.filter(|_| settled || look == LOOKS) {
            break Found { anchored, pinned, remembered, compared };
        }
        if look == LOOKS {
            return Err(lie("its directory changes faster than it can be read"));
        }
        look += 1;
        tokio::time::sleep(BETWEEN).await;
    };
    if let (Some(file), Some(remembered)) = (&seen, &found.remembered) {
        let text = serde_json::to_vec_pretty(remembered).expect("texts and numbers are JSON");
        keep(file, &text)?;
    }
    found.print(node.output.output);
    let is_true = found.compared.iter().all(|one| one.verdict.is_true());
    Ok(if is_true { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the node shows does not hold.
fn lie(why: impl Into<Box<dyn std::error::Error>>) -> Failure {
    Failure::refused("believe the directory", why, "keep what it showed, and ask its operator")
}

/// The newest anchored state.
struct Shows {
    anchored: Anchored,
    standing: Standing,
}

impl Shows {
    async fn of(client: &Client) -> Result<Self, Failure> {
        let bytes = client.bytes("/api/v1/directory/anchored").await?;
        let anchored = Anchored::from_bytes(&bytes).map_err(lie)?;
        let standing = anchored.verify().map_err(lie)?;
        Ok(Self { anchored, standing })
    }
}

/// What is to be remembered, if it may follow on what was.
fn remembered(file: Option<&Path>, shows: &Shows) -> Result<Option<Seen>, Failure> {
    let Some(file) = file else { return Ok(None) };
    let now = Seen::of(&shows.anchored, &shows.standing);
    let now = now.ok_or_else(|| lie("its state stands on no log"))?;
    if file.exists() {
        let text = input::text(file, MAX_SEEN, "name a file that an earlier run wrote")?;
        let before: Seen = serde_json::from_str(&text).map_err(|e| {
            Failure::usage(&format!("read {}", file.display()), e, "name a file that an earlier run wrote")
        })?;
        before.goes_on(&now).map_err(lie)?;
    }
    Ok(Some(now))
}

/// Compares the whole list; nothing where it changed while it was read.
async fn whole(client: &Client, shows: &Shows) -> Result<Option<Vec<Compared>>, Failure> {
    let Some(listed) = listed(client).await? else { return Ok(None) };
    let state = &shows.anchored.state;
    let entries = listed.iter().map(|(id, digest)| Entry { key: key(id), value: *digest });
    let mut entries: Vec<_> = entries.collect();
    entries.sort_unstable();
    // The list alone says it: what it lacks or changes would lead to another root.
    if state.is_of(&entries) {
        return Ok(Some(compare(&listed, &entries)));
    }
    let Some(entries) = anchored_entries(client, state.number).await? else { return Ok(None) };
    if !state.is_of(&entries) {
        return Err(lie("the entries that it shows are not those under its anchored root"));
    }
    Ok(Some(compare(&listed, &entries)))
}

/// All things with their digests; nothing where the list changed meanwhile.
async fn listed(client: &Client) -> Result<Option<Vec<(ThingId, Digest)>>, Failure> {
    let (mut all, mut state) = (Vec::new(), None);
    loop {
        let (page, etag): (Vec<Value>, _) =
            client.page(&format!("/things?offset={}&limit={PAGE}", all.len())).await?;
        if state.get_or_insert_with(|| etag.clone()) != &etag {
            return Ok(None);
        }
        let last = page.len() < PAGE;
        for thing in &page {
            let id = thing["id"].as_str().and_then(|id| id.parse().ok());
            let id = id.ok_or_else(|| lie("a thing of its list has no id"))?;
            all.push((id, canonical::hash(thing)));
        }
        if last {
            return Ok(Some(all));
        }
        if all.len() > MAX_THINGS {
            return Err(lie(format!("it lists more than {MAX_THINGS} things")));
        }
    }
}

/// All entries of the state with this number; nothing where another is anchored meanwhile.
async fn anchored_entries(client: &Client, number: u64) -> Result<Option<Vec<Entry>>, Failure> {
    let mut all: Vec<Entry> = Vec::new();
    loop {
        let after = all.last().map(|last| format!("?after={}", last.key)).unwrap_or_default();
        let bytes = client.bytes(&format!("/api/v1/directory/entries{after}")).await?;
        let page = Entries::from_bytes(&bytes).map_err(lie)?;
        if page.number != number {
            return Ok(None);
        }
        let last = page.entries.len() < MAX_ENTRIES;
        all.extend(page.entries);
        if last {
            return Ok(Some(all));
        }
        if all.len() > MAX_THINGS {
            return Err(lie(format!("it anchors more than {MAX_THINGS} things")));
        }
    }
}

/// Compares these things, each by a proof of its own.
async fn each(client: &Client, shows: &Shows, things: &[ThingId]) -> Result<Option<Vec<Compared>>, Failure> {
    let mut compared = Vec::new();
    for id in things {
        let segment = url_segment(id.as_str());
        let bytes = client.bytes(&format!("/api/v1/directory/proofs/{segment}")).await?;
        let proof = MapProof::from_bytes(&bytes).map_err(lie)?;
        let key = key(id);
        let anchored = match proof.shows(&key, &shows.anchored.state.root) {
            Ok(Shown::Present(digest)) => Some(digest),
            Ok(Shown::Absent) => None,
            // Another state may be anchored meanwhile.
            Err(error) if Shows::of(client).await?.anchored.state == shows.anchored.state => {
                return Err(lie(error));
            }
            Err(_) => return Ok(None),
        };
        let served: Option<Value> = client.get_if_there(&format!("/things/{segment}")).await?;
        let served = served.as_ref().map(canonical::hash);
        compared.push(Compared { id: Some(id.clone()), key, verdict: Verdict::of(served, anchored) });
    }
    Ok(Some(compared))
}

/// What came of it.
struct Found {
    anchored: Shows,
    pinned: Option<String>,
    remembered: Option<Seen>,
    compared: Vec<Compared>,
}

impl Found {
    fn print(&self, format: Format) {
        let Shows { anchored, standing } = &self.anchored;
        let state = &anchored.state;
        if format == Format::Json {
            output::json(&Told {
                directory: &state.directory,
                number: state.number,
                count: state.count,
                root: state.root,
                at: At(standing.at),
                anchor: &standing.anchor,
                pinned: self.pinned.is_some(),
                honest: self.compared.iter().all(|one| one.verdict.is_true()),
                things: &self.compared,
            });
            return;
        }
        let name =
            |one: &Compared| one.id.as_ref().map_or_else(|| format!("key {}", one.key), ToString::to_string);
        let rows: Vec<_> =
            self.compared.iter().map(|one| vec![name(one), one.verdict.as_str().to_owned()]).collect();
        output::table(&["THING", "VERDICT"], &rows);
        output::line(&format!(
            "state {} of {}: {} things, noted on {} at {}",
            state.number,
            state.directory,
            state.count,
            anchored.ledger,
            At(standing.at)
        ));
        output::line(&match &self.pinned {
            Some(held) => format!("rests on {held}"),
            None => "consistent, the log's key is not pinned: --anchors FILE".to_owned(),
        });
    }
}

#[derive(Serialize)]
struct Told<'a> {
    directory: &'a ThingId,
    number: u64,
    count: u64,
    root: Digest,
    at: At,
    anchor: &'a sofie_model::Anchor,
    pinned: bool,
    honest: bool,
    things: &'a [Compared],
}
