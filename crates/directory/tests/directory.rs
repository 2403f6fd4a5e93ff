//! The directory in scenarios: plan, persist, apply, replay.

use proptest::prelude::*;
use serde_json::{Value, json};
use sofie_directory::{
    Change, Code, Directory, DirectoryError, ThingDescription,
    canonical::DISCOVERY_CONTEXT,
    discovery::{self, Door, Filter, Format, ProblemBody, Resources},
    jsonpath::{JsonPath, TooMuch},
    patch,
    store::{EventKind, MAX_EVENTS, Query},
};
use sofie_model::{Span, ThingId, Timestamp};

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn id(text: &str) -> ThingId {
    text.parse().expect("a URI")
}

/// A small thing, changed by a merge patch.
fn thing(change: &Value) -> ThingDescription {
    let mut document = json!({
        "@context": "https://www.w3.org/2022/wot/td/v1.1", "title": "Lamp", "security": "n",
        "securityDefinitions": {"n": {"scheme": "nosec"}}
    });
    patch::merge(&mut document, change);
    ThingDescription::from_value(document).unwrap_or_else(|errors| panic!("{errors}"))
}

fn named(name: &str) -> ThingDescription {
    thing(&json!({"id": format!("urn:{name}")}))
}

/// A directory whose persisted changes are kept, as a node keeps them: as text.
#[derive(Default)]
struct Node {
    directory: Directory,
    journal: Vec<String>,
    events: Vec<String>,
}

impl Node {
    fn commit(&mut self, change: Change) -> Option<EventKind> {
        self.journal.push(serde_json::to_string(&change).expect("a change is written"));
        let told = self.directory.event_of(&change);
        self.events
            .extend(told.iter().map(|event| serde_json::to_string(event).expect("an event is written")));
        let event = self.directory.apply(change);
        assert_eq!(event, told, "it is told as what it was planned to be");
        event.map(|event| event.kind)
    }

    fn register(&mut self, thing: ThingDescription, owner: &str, now: Timestamp) -> Option<EventKind> {
        let change = self.directory.register(thing, owner, [9; 16], now).unwrap_or_else(|e| panic!("{e}"));
        self.commit(change)
    }

    fn replayed(&self) -> Directory {
        let mut directory = Directory::default();
        for line in &self.journal {
            directory.apply(serde_json::from_str(line).expect("a change is read"));
        }
        directory
    }

    /// From its records and events, without the changes that led to them.
    fn kept(&self) -> Directory {
        let newest = self.events.iter().rev().take(MAX_EVENTS);
        let events = newest.map(|line| serde_json::from_str(line).expect("an event is read")).collect();
        Directory::kept(self.directory.records().cloned(), events, 0)
    }

    /// What a restart finds is what is here.
    fn survives_a_restart(&self) {
        for again in [self.replayed(), self.kept()] {
            assert!(again.records().eq(self.directory.records()));
            assert_eq!(again.latest_event(), self.directory.latest_event());
            assert_eq!(again.next_expiry(), self.directory.next_expiry());
            let told = |directory: &Directory| {
                directory.events_after(0).map(|events| events.cloned().collect::<Vec<_>>())
            };
            assert_eq!(told(&again), told(&self.directory));
        }
    }
}

#[test]
fn a_thing_is_created_replaced_patched_and_deleted() {
    let mut node = Node::default();
    let lamp = id("urn:lamp");
    assert_eq!(node.register(named("lamp"), "lamp-co", at(1)), Some(EventKind::Created));
    let change =
        node.directory.put(&lamp, thing(&json!({"id": "urn:lamp", "title": "Two"})), "lamp-co", at(2));
    assert_eq!(node.commit(change.expect("valid")), Some(EventKind::Updated));
    let change = node.directory.patch(&lamp, &json!({"description": "bright", "title": "Three"}), at(3));
    assert_eq!(node.commit(change.expect("valid")), Some(EventKind::Updated));
    let record = node.directory.get(&lamp).expect("registered");
    assert_eq!((record.thing.title.as_str(), record.created, record.modified), ("Three", at(1), at(3)));
    assert_eq!(record.thing.about.description.as_deref(), Some("bright"));
    node.survives_a_restart();
    let change = node.directory.delete(&lamp, at(4)).expect("it is there");
    assert_eq!(node.commit(change.clone()), Some(EventKind::Deleted));
    assert_eq!(node.directory.apply(change), None, "a second removal is nothing");
    assert!(node.directory.is_empty());
    node.survives_a_restart();
}

#[test]
fn a_plan_alone_changes_nothing() {
    let directory = Directory::default();
    directory.register(named("lamp"), "lamp-co", [0; 16], at(1)).expect("valid");
    assert!(directory.is_empty());
    assert_eq!(directory.latest_event(), 0);
}

#[test]
fn an_anonymous_thing_gets_the_local_id_of_the_callers_randomness() {
    let mut node = Node::default();
    let change = node.directory.register(thing(&json!({})), "lamp-co", [0xff; 16], at(1)).expect("valid");
    let local = id("urn:uuid:ffffffff-ffff-4fff-bfff-ffffffffffff");
    node.commit(change);
    let record = node.directory.get(&local).expect("under its local id");
    assert_eq!(record.thing.document()["id"], local.as_str());
}

#[test]
fn what_is_refused_says_why() {
    let mut node = Node::default();
    node.register(named("lamp"), "lamp-co", at(1));
    let (directory, lamp, none) = (&node.directory, id("urn:lamp"), id("urn:none"));
    let not_found = DirectoryError::NotFound { id: none.clone() };
    assert_eq!(directory.delete(&none, at(2)), Err(not_found.clone()));
    assert_eq!(directory.patch(&none, &json!({}), at(2)), Err(not_found));
    let other_id = |got: &str| DirectoryError::OtherId { id: lamp.clone(), got: got.into() };
    assert_eq!(directory.put(&lamp, named("other"), "lamp-co", at(2)), Err(other_id("urn:other")));
    assert_eq!(directory.put(&lamp, thing(&json!({})), "lamp-co", at(2)), Err(other_id("")));
    assert_eq!(directory.patch(&lamp, &json!({"id": "urn:other"}), at(2)), Err(other_id("urn:other")));
    assert_eq!(directory.patch(&lamp, &json!({"id": null}), at(2)), Err(other_id("")));
    let other_owner = DirectoryError::OtherOwner { id: lamp.clone(), owner: "lamp-co".into() };
    assert_eq!(directory.put(&lamp, named("lamp"), "thief", at(2)), Err(other_owner));
    assert_eq!(directory.register(named("x"), "", [0; 16], at(2)), Err(DirectoryError::BadOwner { got: 0 }));
    for (change, code) in [
        (json!({"title": null}), Code::Missing),
        (json!({"registration": {"ttl": -1}}), Code::Registration),
        (json!({"registration": {"ttl": "1"}}), Code::WrongType),
        (json!({"registration": {"expires": "tomorrow"}}), Code::Registration),
        (json!({"registration": {"expires": "1970-01-01T00:00:01Z"}}), Code::Registration),
        (json!({"registration": 1}), Code::WrongType),
        (json!([]), Code::WrongType),
    ] {
        match directory.patch(&lamp, &change, at(2)) {
            Err(DirectoryError::Invalid(errors)) => assert_eq!(errors.problems[0].code, code, "{change}"),
            other => panic!("{change}: {other:?}"),
        }
    }
}

#[test]
fn patches_cannot_grow_a_thing_past_the_limits_of_a_document() {
    let mut node = Node::default();
    node.register(named("lamp"), "o", at(1));
    let patch = |name: &str| json!({name: "x".repeat(700_000)});
    let change = node.directory.patch(&id("urn:lamp"), &patch("x:a"), at(2)).expect("below a megabyte");
    node.commit(change);
    match node.directory.patch(&id("urn:lamp"), &patch("x:b"), at(3)) {
        Err(DirectoryError::Invalid(errors)) => assert_eq!(errors.problems[0].code, Code::TooLong),
        other => panic!("{other:?}"),
    }
}

#[test]
fn things_expire_and_a_patch_renews_their_ttl() {
    let mut node = Node::default();
    let lasting = |name: &str, registration: Value| {
        thing(&json!({"id": format!("urn:{name}"), "registration": registration}))
    };
    node.register(lasting("a", json!({"ttl": 10})), "o", at(100));
    node.register(lasting("b", json!({"expires": "1970-01-01T00:01:45Z"})), "o", at(100));
    node.register(
        lasting("c", json!({"ttl": 2.5, "expires": "2030-01-01T00:00:00Z", "created": "x"})),
        "o",
        at(100),
    );
    node.register(named("d"), "o", at(100));
    let expiries: Vec<_> = node.directory.records().map(|record| record.expires).collect();
    let ttl_wins = at(100) + Span::from_millis(2500);
    assert_eq!(expiries, [Some(at(110)), Some(at(105)), Some(ttl_wins), None]);
    assert!(node.directory.records().all(|record| record.thing.document().get("registration").is_none()));
    assert_eq!(node.directory.expired(at(102), 10), []);
    let change = node.directory.patch(&id("urn:c"), &json!({"title": "renewed"}), at(104)).expect("valid");
    node.commit(change);
    let change =
        node.directory.patch(&id("urn:a"), &json!({"registration": {"ttl": null}}), at(104)).expect("valid");
    node.commit(change);
    assert_eq!(node.directory.next_expiry(), Some(at(105)));
    node.survives_a_restart();
    assert_eq!(node.directory.expired(at(200), 1).len(), 1, "no more than asked for");
    let due = node.directory.expired(at(200), 10);
    let gone = |name: &str| Change::Removed { id: id(name), at: at(200), expired: true };
    assert_eq!(due, [gone("urn:b"), gone("urn:c")]);
    for change in due {
        node.commit(change);
    }
    assert_eq!(
        node.directory.records().map(|record| record.id.as_str()).collect::<Vec<_>>(),
        ["urn:a", "urn:d"]
    );
    assert_eq!(node.directory.next_expiry(), None);
    node.survives_a_restart();
}

#[test]
fn a_search_finds_by_type_text_affordance_and_owner() {
    let mut node = Node::default();
    let form = json!([{"href": "coap://x/y"}]);
    node.register(
        thing(&json!({"id": "urn:lock", "title": "Smart Locker", "@type": ["sosa:Actuator"],
            "actions": {"open": {"title": "Open the Door", "@type": "iot:Open", "forms": form}}})),
        "locker-co",
        at(1),
    );
    node.register(
        thing(&json!({"id": "urn:sensor", "title": "Eye", "titles": {"de": "Türwächter"}, "@type": "sosa:Sensor",
            "properties": {"open": {"type": "boolean", "forms": form}}})),
        "sensor-co",
        at(1),
    );
    let query = |key: &str, value: &str| {
        let value = Some(value.to_owned());
        match key {
            "type" => Query { semantic_type: value, ..Query::default() },
            "text" => Query { text: value, ..Query::default() },
            "affordance" => Query { affordance: value, ..Query::default() },
            _ => Query { owner: value, ..Query::default() },
        }
    };
    for (key, value, expected) in [
        ("type", "sosa:Sensor", vec!["urn:sensor"]),
        ("type", "iot:Open", vec!["urn:lock"]),
        ("type", "sosa", vec![]),
        ("text", "LOCKER", vec!["urn:lock"]),
        ("text", "the door", vec!["urn:lock"]),
        ("text", "TÜR", vec!["urn:sensor"]),
        ("affordance", "open", vec!["urn:lock", "urn:sensor"]),
        ("owner", "sensor-co", vec!["urn:sensor"]),
        ("owner", "sensor", vec![]),
    ] {
        let page = node.directory.search(&query(key, value), 0, 10);
        let found: Vec<_> = page.items.iter().map(|record| record.id.as_str()).collect();
        assert_eq!((found, page.total), (expected.clone(), expected.len()), "{key} {value}");
    }
    let both = Query { affordance: Some("open".into()), owner: Some("locker-co".into()), ..Query::default() };
    assert_eq!(node.directory.search(&both, 0, 10).total, 1);
}

#[test]
fn pages_cover_the_list_and_link_to_each_other() {
    let mut node = Node::default();
    for index in 0..25 {
        node.register(named(&format!("n{index:02}")), "o", at(1));
    }
    let (mut offset, mut seen) = (Some(0), Vec::new());
    while let Some(from) = offset {
        let page = node.directory.search(&Query::default(), from, 10);
        seen.extend(page.items.iter().map(|record| record.id.to_string()));
        let links = discovery::links(page.place(), "/things", Format::Array, node.directory.latest_event());
        assert_eq!(links[0], "</things>; rel=\"canonical\"; etag=\"25\"");
        offset = page.place().next();
        assert_eq!(
            links.get(1),
            offset.map(|next| format!("</things?offset={next}&limit=10>; rel=\"next\"")).as_ref()
        );
    }
    assert_eq!(seen, (0..25).map(|index| format!("urn:n{index:02}")).collect::<Vec<_>>());
    let beyond = node.directory.search(&Query::default(), 99, 10);
    assert_eq!((beyond.items.len(), beyond.total, beyond.place().next()), (0, 25, None));
    assert_eq!(node.directory.search(&Query::default(), 0, 0).items.len(), 1, "a page holds one at least");
    let page = node.directory.search(&Query::default(), 10, 10);
    let members = || page.items.iter().map(|record| discovery::enriched(record, at(2))).collect();
    let body = discovery::listing(members(), page.place(), "/things", Format::Collection);
    assert_eq!(body["@id"], "/things?offset=10&limit=10&format=collection");
    assert_eq!(
        (&body["next"], &body["total"]),
        (&json!("/things?offset=20&limit=10&format=collection"), &json!(25))
    );
    assert_eq!(body["members"], discovery::listing(members(), page.place(), "/things", Format::Array));
}

/// The query's answer, by the things' names.
fn found(node: &Node, query: &str) -> Result<Value, TooMuch> {
    let query = JsonPath::read(query).unwrap_or_else(|bad| panic!("{query}: {bad}"));
    let text = discovery::found(&node.directory.snapshot(), &query, at(2))?;
    Ok(serde_json::from_str(&text).unwrap_or_else(|e| panic!("{text}: {e}")))
}

#[test]
fn a_search_answers_with_whole_things_as_they_are_served_and_with_parts() {
    let mut node = Node::default();
    for name in ["a", "b", "c"] {
        let change = json!({"id": format!("urn:{name}"), "title": name.to_uppercase(), "x:n": name.len()});
        node.register(thing(&change), "o", at(1));
    }
    let served: Vec<_> = node.directory.records().map(|record| discovery::enriched(record, at(2))).collect();
    for (query, expected) in [
        ("$", json!([served])),
        ("$[?@.title == 'B']", json!([served[1]])),
        ("$[0,-1]", json!([served[0], served[2]])),
        ("$[1:].id", json!(["urn:b", "urn:c"])),
        ("$[?length($) == 3].title", json!(["A", "B", "C"])),
        ("$[?$ == $][?@ == 1]", json!([1, 1, 1])),
        ("$[?@ == $]", json!([])),
        ("$..nothing", json!([])),
        ("$[0]['title','title']", json!(["A", "A"])),
    ] {
        assert_eq!(found(&node, query), Ok(expected), "{query}");
    }
}

#[test]
fn a_search_that_costs_too_much_is_refused_and_not_cut_short() {
    let mut node = Node::default();
    let text = "x".repeat(900_000);
    let deep = (0..30).fold(json!(1), |deep, _| json!([deep]));
    for index in 0..10 {
        let change = json!({"id": format!("urn:{index}"), "x:text": text, "x:deep": deep});
        node.register(thing(&change), "o", at(1));
    }
    assert_eq!(found(&node, "$"), Err(TooMuch::Answer));
    assert_eq!(found(&node, "$..['x:text']"), Err(TooMuch::Answer));
    assert_eq!(found(&node, "$[0]['x:text']").map(|found| found[0] == text), Ok(true));
    // Each bracket doubles what is selected.
    let twice = "[*,*]".repeat(20);
    assert_eq!(found(&node, &format!("${twice}")), Err(TooMuch::Nodes));
    let inside = format!("$[?{}]", ["$..*"; 8].map(|all| format!("count({all}) == 0")).join(" || "));
    assert!(found(&node, &inside).is_ok());
    let nested = "$..[?count($..[?count($..[?count($..*) == 0]) == 0]) == 0]";
    assert_eq!(found(&node, nested), Err(TooMuch::Steps));
    let slow = format!("$..[?search('{}', 'x*x*x*x*y')]", "x".repeat(900));
    assert!(found(&node, &slow).is_ok());
    // A thing's own patterns are read, too: each costs as much as a hundred thousand values.
    let patterns: Vec<_> = (0..200).map(|n| format!("a{{{n}}}")).collect();
    node.register(thing(&json!({"id": "urn:patterns", "x:all": patterns})), "o", at(1));
    assert_eq!(found(&node, "$[?@.id == 'urn:patterns']['x:all'][?match('a', @)]"), Err(TooMuch::Steps));
}

#[test]
fn links_to_things_are_narrowed_and_paged() {
    let mut node = Node::default();
    for (name, title) in [("a", "A \"lamp\""), ("b/c d", "back\\slash\n"), ("z", "Z")] {
        let escaped = name.replace(' ', "%20");
        node.register(thing(&json!({"id": format!("urn:{escaped}"), "title": title})), "o", at(1));
    }
    let links = |pair: Option<(&str, &str)>, page, count| {
        let filter = pair.map(|(name, value)| Filter::new(name, value));
        let Resources { text, more } =
            discovery::resources(node.directory.records(), filter.as_ref(), page, count);
        (text, more)
    };
    let own = r#"</.well-known/wot>;rt="wot.directory";ct=432"#;
    let things = [
        r#"</things/urn:a>;rt="wot.thing";ct=432;title="A \"lamp\"""#,
        r#"</things/urn:b%2Fc%2520d>;rt="wot.thing";ct=432;title="back\\slash""#,
        r#"</things/urn:z>;rt="wot.thing";ct=432;title="Z""#,
    ];
    assert_eq!(links(None, 0, 9), (format!("{own},{}", things.join(",")), false));
    assert_eq!(links(None, 0, 1), (own.to_owned(), true));
    assert_eq!(links(None, 3, 1), (things[2].to_owned(), false));
    assert_eq!(links(None, usize::MAX, 2), (String::new(), false));
    for (name, value, expected) in [
        ("rt", "wot.directory", own.to_owned()),
        ("rt", "wot.*", format!("{own},{}", things.join(","))),
        ("rt", "wot.thin", String::new()),
        ("href", "/things/urn:z", things[2].to_owned()),
        ("href", "/things/urn:b*", things[1].to_owned()),
        ("ct", "432", format!("{own},{}", things.join(","))),
        ("ct", "40", String::new()),
        ("title", "Z", things[2].to_owned()),
        ("if", "*", String::new()),
    ] {
        assert_eq!(links(Some((name, value)), 0, 100), (expected, false), "{name}={value}");
    }
}

#[test]
fn what_is_served_is_enriched_valid_and_of_the_same_digest() {
    let mut node = Node::default();
    let given = thing(&json!({"id": "urn:lamp", "registration": {"ttl": 60}}));
    let hash = given.hash();
    node.register(given, "o", at(1));
    let record = node.directory.get(&id("urn:lamp")).expect("registered");
    assert_eq!(record.thing.hash(), hash);
    let served = discovery::enriched(record, at(5));
    assert_eq!(served["@context"], json!(["https://www.w3.org/2022/wot/td/v1.1", DISCOVERY_CONTEXT]));
    let expected = json!({
        "created": "1970-01-01T00:00:01.000Z", "modified": "1970-01-01T00:00:01.000Z",
        "retrieved": "1970-01-01T00:00:05.000Z", "expires": "1970-01-01T00:01:01.000Z", "ttl": 60
    });
    assert_eq!(served["registration"], expected);
    let again = ThingDescription::from_value(served).expect("what is served is valid");
    assert_eq!(again.hash(), hash);
}

#[test]
fn events_are_numbered_bounded_and_tell_when_they_are_lost() {
    let mut node = Node::default();
    for index in 0..MAX_EVENTS + 5 {
        node.register(thing(&json!({"id": "urn:lamp", "title": format!("{index}")})), "o", at(1));
    }
    let latest = node.directory.latest_event();
    let seqs = |after| {
        node.directory.events_after(after).map(|events| events.map(|event| event.seq).collect::<Vec<_>>())
    };
    assert_eq!(seqs(latest - 2), Ok(vec![latest - 1, latest]));
    assert_eq!(seqs(latest), Ok(vec![]));
    assert_eq!(seqs(5).map(|all| all.len()), Ok(MAX_EVENTS));
    let lost = seqs(4).expect_err("the first five are gone");
    assert_eq!((lost.oldest, lost.newest), (6, latest));
    assert!(seqs(latest + 1).is_err(), "a number that was never given");
    let event = node.directory.events_after(latest - 1).expect("kept").next().expect("one").clone();
    let text = json!({"seq": latest, "kind": "thing_updated", "id": "urn:lamp", "at": 1000});
    assert_eq!(serde_json::to_value(&event).expect("an event is written"), text);
}

#[test]
fn the_directory_describes_itself() {
    for (door, scheme) in [(Door::Open, "nosec"), (Door::Bearer, "bearer")] {
        let own =
            discovery::own_description("http://127.0.0.1:8080/", "urn:sofie:directory", "Directory", door)
                .unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(own.about.types, ["ThingDirectory"]);
        assert_eq!(own.resolve("/things").as_deref(), Some("http://127.0.0.1:8080/things"));
        let name = &own.security[0];
        assert_eq!(own.document()["securityDefinitions"][name]["scheme"], scheme);
    }
    let errors = discovery::own_description("/x", "urn:sofie:directory", "Directory", Door::Open)
        .expect_err("relative");
    assert_eq!(errors.problems[0].pointer, "/base");
}

#[test]
fn problems_have_a_status_a_kind_and_a_next_step() {
    let errors = ThingDescription::from_value(json!({})).expect_err("nothing in it");
    let body = serde_json::to_value(ProblemBody::from(&DirectoryError::from(errors))).expect("it is written");
    assert_eq!((&body["status"], &body["type"]), (&json!(400), &json!("urn:sofie:problem:invalid")));
    assert_eq!(body["validationErrors"][0]["field"], "/@context");
    let missing = ProblemBody::from(&DirectoryError::NotFound { id: id("urn:none") });
    assert_eq!((missing.status, missing.validation_errors.len()), (404, 0));
    assert!(missing.detail.contains("urn:none") && !missing.next.is_empty());
}

/// One step of a random life.
#[derive(Debug, Clone)]
enum Act {
    Put(u8, Option<u64>),
    Patch(u8, u64),
    Delete(u8),
    Expire,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        (0..5_u8, prop::option::of(0..20_u64)).prop_map(|(name, ttl)| Act::Put(name, ttl)),
        (0..5_u8, 0..20_u64).prop_map(|(name, ttl)| Act::Patch(name, ttl)),
        (0..5_u8).prop_map(Act::Delete),
        Just(Act::Expire),
    ];
    prop::collection::vec(act, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens, a replay of the journal is the same directory, and nothing expired is left over.
    #[test]
    fn any_life_survives_a_restart(acts in acts()) {
        let mut node = Node::default();
        for (now, act) in acts.into_iter().enumerate() {
            let now = at(now as u64);
            match act {
                Act::Put(name, ttl) => {
                    let registration = ttl.map(|ttl| json!({"ttl": ttl}));
                    let thing = thing(&json!({"id": format!("urn:{name}"), "registration": registration}));
                    node.register(thing, "o", now);
                }
                Act::Patch(name, ttl) => {
                    let change = json!({"registration": {"ttl": ttl}});
                    if let Ok(change) = node.directory.patch(&id(&format!("urn:{name}")), &change, now) {
                        node.commit(change);
                    }
                }
                Act::Delete(name) => {
                    if let Ok(change) = node.directory.delete(&id(&format!("urn:{name}")), now) {
                        node.commit(change);
                    }
                }
                Act::Expire => {
                    for change in node.directory.expired(now, 100) {
                        node.commit(change);
                    }
                    prop_assert!(node.directory.records().all(|record| record.expires.is_none_or(|at| at > now)));
                }
            }
            let earliest = node.directory.records().filter_map(|record| record.expires).min();
            prop_assert_eq!(node.directory.next_expiry(), earliest);
        }
        node.survives_a_restart();
    }
}

#[test]
fn a_directory_whose_events_were_not_kept_goes_on_after_a_number() {
    let mut node = Node::default();
    node.register(named("lamp"), "lamp-co", at(1));
    let mut again = Directory::kept(node.directory.records().cloned(), Vec::new(), 7);
    assert!(again.events_after(3).is_err(), "what is gone is said to be gone");
    assert_eq!(again.events_after(7).expect("nothing has happened since").count(), 0);
    let change = again.delete(&id("urn:lamp"), at(2)).expect("it is there");
    assert_eq!(again.apply(change).map(|event| event.seq), Some(8));
}
