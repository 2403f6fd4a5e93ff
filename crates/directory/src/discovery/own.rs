//! The directory's own Thing Description, served at `/.well-known/wot` (WoT Discovery, sections 6.3 and 7.3.2).

use serde_json::{Value, json};

use super::{LD_JSON, TD_JSON};
use crate::canonical::DISCOVERY_CONTEXT;
use crate::jsonpath::MAX_QUERY;
use crate::problem::Errors;
use crate::thing::{TD_1_1, ThingDescription};

/// Who may speak to the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Anyone who reaches it: loopback only.
    Open,
    /// Whoever has a bearer token.
    Bearer,
}

/// The directory's own description. `base` is the absolute URI of the server, such as `https://node.example/`; `id` a
/// URI that stays the same over restarts.
///
/// # Errors
/// [`Errors`] when `base` or `id` is not such a URI.
pub fn own_description(base: &str, id: &str, title: &str, door: Door) -> Result<ThingDescription, Errors> {
    let (name, scheme) = match door {
        Door::Open => ("open", json!({"scheme": "nosec"})),
        Door::Bearer => ("token", json!({"scheme": "bearer", "in": "header", "format": "opaque"})),
    };
    ThingDescription::from_value(json!({
        "@context": [TD_1_1, DISCOVERY_CONTEXT],
        "@type": "ThingDirectory",
        "id": id,
        "title": title,
        "base": base,
        "version": {"instance": env!("CARGO_PKG_VERSION")},
        "securityDefinitions": {name: scheme},
        "security": name,
        "properties": {"things": things()},
        "actions": actions(),
        "events": {
            "thingCreated": event("thing_created", "A thing was registered"),
            "thingUpdated": event("thing_updated", "A thing was replaced or patched"),
            "thingDeleted": event("thing_deleted", "A thing was deleted or has expired")
        }
    }))
}

/// The listing: a property, read page by page.
fn things() -> Value {
    json!({
        "title": "The registered things, page by page in the order of their ids",
        "type": "array",
        "items": {"type": "object"},
        "readOnly": true,
        "uriVariables": {
            "offset": {"title": "How many things come before the page", "type": "integer", "minimum": 0, "default": 0},
            "limit": {"title": "How many things the page holds at most", "type": "integer", "minimum": 1,
                "maximum": crate::store::MAX_PAGE},
            "format": {"title": "A plain list, or an object that says where it goes on", "type": "string",
                "enum": ["array", "collection"], "default": "array"}
        },
        "forms": [{
            "href": "/things{?offset,limit,format}", "contentType": LD_JSON, "htv:methodName": "GET",
            "response": {"contentType": LD_JSON}
        }]
    })
}

fn actions() -> Value {
    let one = json!({"id": {"title": "The thing's id", "type": "string", "format": "iri-reference"}});
    let thing = json!({"type": "object"});
    let form = |href: &str, method: &str, content: &str| json!([{"href": href, "htv:methodName": method, "contentType": content}]);
    json!({
        "createAnonymousThing": {
            "title": "Register a Thing Description without an id; the answer's Location tells the id it was given",
            "input": thing, "forms": form("/things", "POST", TD_JSON)
        },
        "createThing": {
            "title": "Register a Thing Description under its id, or replace it", "idempotent": true,
            "uriVariables": one, "input": thing, "forms": form("/things/{id}", "PUT", TD_JSON)
        },
        "retrieveThing": {
            "title": "One Thing Description", "safe": true, "idempotent": true,
            "uriVariables": one, "output": thing, "forms": form("/things/{id}", "GET", TD_JSON)
        },
        "updateThing": {
            "title": "Replace a Thing Description", "idempotent": true,
            "uriVariables": one, "input": thing, "forms": form("/things/{id}", "PUT", TD_JSON)
        },
        "partiallyUpdateThing": {
            "title": "Merge a part into a Thing Description (RFC 7396)",
            "uriVariables": one, "input": thing,
            "forms": form("/things/{id}", "PATCH", "application/merge-patch+json")
        },
        "deleteThing": {
            "title": "Forget a thing", "idempotent": true,
            "uriVariables": one, "forms": form("/things/{id}", "DELETE", TD_JSON)
        },
        "searchJSONPath": {
            "title": "Search the things by JSONPath (RFC 9535); $ is the list of all of them",
            "safe": true, "idempotent": true,
            "uriVariables": {"query": {"title": "A JSONPath query", "type": "string", "maxLength": MAX_QUERY}},
            "output": {"title": "Whole things, and parts of things", "type": "array"},
            "forms": form("/search/jsonpath{?query}", "GET", "application/json")
        }
    })
}

/// Server-sent events; a reader goes on where it stopped by `Last-Event-ID`.
fn event(name: &str, title: &str) -> Value {
    json!({
        "title": title,
        "data": {"type": "object", "properties": {"id": {"type": "string", "format": "iri-reference"}}},
        "forms": [{
            "op": "subscribeevent", "href": format!("/events/{name}"), "subprotocol": "sse",
            "contentType": "text/event-stream", "htv:methodName": "GET"
        }]
    })
}
