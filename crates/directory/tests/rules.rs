//! Each rule by a small case: a valid Thing Description, changed by a merge patch until one rule breaks.

use serde_json::{Value, json};
use sofie_directory::{Code, ThingDescription, patch};

fn lamp() -> Value {
    json!({
        "@context": "https://www.w3.org/2022/wot/td/v1.1",
        "id": "urn:dev:lamp", "title": "Lamp", "base": "https://lamp.example/",
        "securityDefinitions": {
            "psk": {"scheme": "psk"},
            "key": {"scheme": "apikey", "in": "uri", "name": "token"},
            "both": {"scheme": "combo", "allOf": ["psk", "key"]}
        },
        "security": "psk",
        "schemaDefinitions": {"fault": {"type": "string"}},
        "properties": {"on": {"type": "boolean", "forms": [{"href": "on"}]}},
        "actions": {"blink": {"input": {"type": "integer"}, "forms": [{"href": "blink"}]}},
        "events": {"hot": {"data": {"type": "number"}, "forms": [{"href": "hot", "subprotocol": "sse"}]}}
    })
}

fn patched(change: &Value) -> Value {
    let mut document = lamp();
    patch::merge(&mut document, change);
    document
}

/// Every broken rule as `code pointer`.
fn broken(document: Value) -> Vec<String> {
    let errors =
        ThingDescription::from_value(document).err().map(|errors| errors.problems).unwrap_or_default();
    errors.iter().map(|problem| format!("{} {}", problem.code, problem.pointer)).collect()
}

/// Runs a table of merge patches, each with the one problem that it makes; empty for none.
fn check(table: Vec<(Value, &str)>) {
    for (change, expected) in table {
        let expected: Vec<_> = Some(expected).filter(|expected| !expected.is_empty()).into_iter().collect();
        assert_eq!(broken(patched(&change)), expected, "{change}");
    }
}

fn on(change: Value) -> Value {
    json!({"properties": {"on": change}})
}

fn form(change: Value) -> Value {
    let mut form = json!({"href": "on"});
    patch::merge(&mut form, &change);
    on(json!({"forms": [form]}))
}

#[test]
fn the_lamp_is_valid() {
    check(vec![(json!({}), "")]);
}

#[test]
fn contexts_and_types() {
    let (new, old) = ("https://www.w3.org/2022/wot/td/v1.1", "https://www.w3.org/2019/wot/td/v1");
    check(vec![
        (json!({"@context": [new, {"x": "http://x.example/"}]}), ""),
        (json!({"@context": [old, new, "http://x.example/"]}), ""),
        (json!({"@context": old}), ""),
        (json!({"@context": [new, {"@language": "de"}]}), ""),
        (json!({"@context": [new, {"@language": "d"}]}), "language-tag /@context/1/@language"),
        (json!({"@context": [new, old]}), "context /@context"),
        (json!({"@context": [old, "http://x.example/", new]}), "context /@context"),
        (json!({"@context": ["http://x.example/", new]}), "context /@context"),
        (json!({"@context": "http://x.example/"}), "context /@context"),
        (json!({"@context": []}), "context /@context"),
        (json!({"@context": [new, 1]}), "wrong-type /@context/1"),
        (json!({"@context": [new, {"x": 1}]}), "wrong-type /@context/1/x"),
        (json!({"@context": null}), "missing /@context"),
        (json!({"@type": "tm:ThingModel"}), "thing-model /@type"),
        (json!({"@type": ["x", "tm:ThingModel"]}), "thing-model /@type/1"),
        (json!({"@type": 1}), "wrong-type /@type"),
    ]);
}

#[test]
fn terms_of_the_thing() {
    check(vec![
        (json!({"title": null}), "missing /title"),
        (json!({"title": "{{NAME}}"}), "placeholder /title"),
        (json!({"description": "one writes {{NAME}} in a model"}), ""),
        (json!({"titles": {"en": "Lamp", "zh-Hans": "灯"}}), ""),
        (json!({"titles": {"english!": "Lamp"}}), "language-tag /titles/english!"),
        (json!({"descriptions": {"en": 1}}), "wrong-type /descriptions/en"),
        (json!({"id": null}), ""),
        (json!({"id": "lamp"}), "uri /id"),
        (json!({"id": "urn:a b"}), "uri /id"),
        (json!({"id": format!("urn:{}", "x".repeat(300))}), "uri /id"),
        (json!({"base": "/relative"}), "uri /base"),
        (json!({"base": "http://{host}/"}), ""),
        (json!({"base": "http://{{HOST}}/"}), "placeholder /base"),
        (json!({"support": "mailto:lamp@example.com"}), ""),
        (json!({"support": "a b"}), "uri /support"),
        (json!({"created": "2024-02-29T10:00:00Z"}), ""),
        (json!({"created": "2023-02-29T10:00:00Z"}), "date-time /created"),
        (json!({"modified": "2024-02-29T10:00:00"}), "date-time /modified"),
        (json!({"version": {"instance": "1"}}), ""),
        (json!({"version": {"model": "1"}}), "missing /version/instance"),
        (json!({"version": {"instance": "1", "model": 1}}), "wrong-type /version/model"),
        (json!({"version": "1"}), "wrong-type /version"),
        (json!({"profile": []}), "empty /profile"),
        (json!({"x:other": {"y": [1]}}), ""),
        (json!({"schemaDefinitions": {}}), ""),
    ]);
}

#[test]
fn security() {
    let scheme = |scheme: Value| json!({"securityDefinitions": {"s": scheme}});
    check(vec![
        (json!({"security": null}), "missing /security"),
        (json!({"security": []}), "empty /security"),
        (json!({"security": "none"}), "security-reference /security"),
        (json!({"security": ["psk", "none"]}), "security-reference /security/1"),
        (form(json!({"security": "none"})), "security-reference /properties/on/forms/0/security"),
        (form(json!({"security": []})), "empty /properties/on/forms/0/security"),
        (scheme(json!({"scheme": "best"})), "security-scheme /securityDefinitions/s/scheme"),
        (scheme(json!({"scheme": "ace:ACE"})), ""),
        (scheme(json!({})), "missing /securityDefinitions/s/scheme"),
        (scheme(json!({"scheme": "basic", "in": "uri"})), "security-scheme /securityDefinitions/s/in"),
        (scheme(json!({"scheme": "digest", "qop": "x"})), "security-scheme /securityDefinitions/s/qop"),
        (scheme(json!({"scheme": "auto", "name": "x"})), "security-scheme /securityDefinitions/s/name"),
        (scheme(json!({"scheme": "apikey", "in": "uri"})), "security-scheme /securityDefinitions/s/name"),
        (scheme(json!({"scheme": "apikey", "in": "body", "name": "/a/b"})), ""),
        (
            scheme(json!({"scheme": "apikey", "in": "body", "name": "a"})),
            "security-scheme /securityDefinitions/s/name",
        ),
        (
            scheme(json!({"scheme": "bearer", "authorization": "a b"})),
            "uri /securityDefinitions/s/authorization",
        ),
        (scheme(json!({"scheme": "combo"})), "security-scheme /securityDefinitions/s"),
        (scheme(json!({"scheme": "combo", "oneOf": ["psk", "key"]})), ""),
        (
            scheme(json!({"scheme": "combo", "oneOf": ["psk"]})),
            "security-scheme /securityDefinitions/s/oneOf",
        ),
        (
            scheme(json!({"scheme": "combo", "oneOf": ["psk", "key"], "allOf": ["psk", "key"]})),
            "security-scheme /securityDefinitions/s",
        ),
        (
            scheme(json!({"scheme": "combo", "allOf": ["psk", "none"]})),
            "security-reference /securityDefinitions/s",
        ),
        (scheme(json!({"scheme": "combo", "allOf": ["psk", "s"]})), "security-scheme /securityDefinitions/s"),
        (
            scheme(json!({"scheme": "oauth2", "flow": "code", "token": "http://a/"})),
            "security-scheme /securityDefinitions/s/authorization",
        ),
        (scheme(json!({"scheme": "oauth2", "flow": "client", "token": "http://a/", "scopes": "x"})), ""),
        (
            scheme(
                json!({"scheme": "oauth2", "flow": "client", "token": "http://a/", "authorization": "http://a/"}),
            ),
            "security-scheme /securityDefinitions/s/authorization",
        ),
        (scheme(json!({"scheme": "oauth2", "scopes": [1]})), "wrong-type /securityDefinitions/s/scopes/0"),
    ]);
}

#[test]
fn forms() {
    let at = |rest: &str| format!("{rest} /properties/on/forms/0");
    let table = vec![
        (json!({"href": null}), at("missing") + "/href"),
        (json!({"href": "a b"}), at("uri") + "/href"),
        (json!({"href": "http://{{HOST}}/"}), at("placeholder") + "/href"),
        (json!({"op": "readproperty"}), String::new()),
        (json!({"op": []}), at("empty") + "/op"),
        (json!({"op": "readProperty"}), at("operation") + "/op"),
        (json!({"op": ["readproperty", "invokeaction"]}), at("operation") + "/op/1"),
        (json!({"contentType": "text/plain; charset=utf-8"}), String::new()),
        (json!({"contentType": "text"}), at("media-type") + "/contentType"),
        (json!({"subprotocol": 1}), at("wrong-type") + "/subprotocol"),
        (json!({"scopes": [1]}), at("wrong-type") + "/scopes/0"),
        (json!({"response": {}}), at("missing") + "/response/contentType"),
        (json!({"response": {"contentType": "image/png"}}), String::new()),
        (json!({"additionalResponses": [{"schema": "fault", "success": false}]}), String::new()),
        (
            json!({"additionalResponses": [{"schema": "none"}]}),
            at("schema-reference") + "/additionalResponses/0/schema",
        ),
        (json!({"additionalResponses": {"schema": "fault"}}), at("wrong-type") + "/additionalResponses"),
        (json!({"htv:methodName": "GET"}), String::new()),
    ];
    check(table.iter().map(|(change, expected)| (form(change.clone()), expected.as_str())).collect());
    check(vec![
        (json!({"forms": [{"href": "all"}]}), "missing /forms/0/op"),
        (json!({"forms": [{"href": "all", "op": "readallproperties"}]}), ""),
        (json!({"forms": [{"href": "all", "op": "readproperty"}]}), "operation /forms/0/op"),
        (json!({"forms": []}), "empty /forms"),
        (on(json!({"forms": null})), "missing /properties/on/forms"),
        (on(json!({"forms": []})), "empty /properties/on/forms"),
        (
            json!({"actions": {"blink": {"forms": [{"href": "b", "op": "subscribeevent"}]}}}),
            "operation /actions/blink/forms/0/op",
        ),
        (json!({"actions": {"blink": {"forms": [{"href": "b", "op": "cancelaction"}]}}}), ""),
        (
            json!({"events": {"hot": {"forms": [{"href": "b", "op": "invokeaction"}]}}}),
            "operation /events/hot/forms/0/op",
        ),
    ]);
}

#[test]
fn templates_and_their_variables() {
    let variable = |kind: &str| json!({"p": {"type": kind}});
    let with = |href: &str, own: Value, all: Value| json!({"uriVariables": all, "properties": {"on": {"uriVariables": own, "forms": [{"href": href}]}}});
    let key = |href: &str| form(json!({"href": href, "security": "both"}));
    check(vec![
        (with("on{?p}", variable("integer"), json!(null)), ""),
        (with("on{?p}", json!(null), variable("string")), ""),
        (with("on{?p}", json!(null), json!(null)), "uri-variable /properties/on/forms/0/href"),
        (with("on{?p", variable("integer"), json!(null)), "uri-template /properties/on/forms/0/href"),
        (with("on", variable("object"), json!(null)), "uri-variable /properties/on/uriVariables/p/type"),
        (with("on", json!(null), variable("array")), "uri-variable /uriVariables/p/type"),
        (key("on{?token}"), ""),
        (key("on"), "uri-variable /properties/on/forms/0/href"),
        (json!({"uriVariables": {"token": {"type": "string"}}}), "uri-variable /uriVariables/token"),
    ]);
}

#[test]
fn what_read_only_and_write_only_rule_out() {
    let op = |flag: &str, op: &str| on(json!({flag: true, "forms": [{"href": "on", "op": op}]}));
    check(vec![
        (op("readOnly", "readproperty"), ""),
        (op("readOnly", "writeproperty"), "read-write /properties/on/forms/0/op"),
        (op("writeOnly", "writeproperty"), ""),
        (op("writeOnly", "readproperty"), "read-write /properties/on/forms/0/op"),
        (op("writeOnly", "observeproperty"), "read-write /properties/on/forms/0/op"),
        (on(json!({"readOnly": true, "writeOnly": true})), "read-write /properties/on/writeOnly"),
    ]);
    let read_only = ThingDescription::from_value(patched(&on(json!({"readOnly": true})))).expect("valid");
    assert_eq!(read_only.properties["on"].forms[0].operations, [sofie_directory::Operation::ReadProperty]);
}

#[test]
fn data_schemas() {
    let input = |schema: Value| json!({"actions": {"blink": {"input": schema}}});
    let at = "/actions/blink/input";
    let table = vec![
        (json!({"type": "float"}), format!("data-type {at}/type")),
        (json!({"enum": [1, 2]}), String::new()),
        (json!({"enum": []}), format!("empty {at}/enum")),
        (json!({"enum": [1, 1.0]}), format!("enum-duplicate {at}/enum/1")),
        (
            json!({"enum": [{"a": 1, "b": 2}, {"b": 2, "a": 1}], "type": "object"}),
            format!("enum-duplicate {at}/enum/1"),
        ),
        (json!({"enum": [1, "2"]}), format!("enum-type {at}/enum/1")),
        (json!({"const": "1"}), format!("enum-type {at}/const")),
        (json!({"minimum": 1, "maximum": 1}), String::new()),
        (json!({"minimum": 2, "maximum": 1}), format!("range {at}/minimum")),
        (json!({"exclusiveMinimum": 2, "exclusiveMaximum": 1}), format!("range {at}/exclusiveMinimum")),
        (json!({"minItems": 2, "maxItems": 1}), format!("range {at}/minItems")),
        (json!({"minLength": 2, "maxLength": 1}), format!("range {at}/minLength")),
        (json!({"minItems": 2.0}), String::new()),
        (json!({"minItems": 2.5}), format!("wrong-type {at}/minItems")),
        (json!({"minLength": -1}), format!("wrong-type {at}/minLength")),
        (json!({"multipleOf": 0.5}), String::new()),
        (json!({"multipleOf": 0}), format!("multiple-of {at}/multipleOf")),
        (json!({"items": [{"type": "x"}]}), format!("data-type {at}/items/0/type")),
        (json!({"items": {"type": "x"}}), format!("data-type {at}/items/type")),
        (json!({"oneOf": [{"oneOf": [{"type": "x"}]}]}), format!("data-type {at}/oneOf/0/oneOf/0/type")),
        (json!({"properties": {"a/b": {"type": "x"}}}), format!("data-type {at}/properties/a~1b/type")),
        (json!({"required": "a"}), format!("wrong-type {at}/required")),
        (json!({"readOnly": "yes"}), format!("wrong-type {at}/readOnly")),
        (json!({"tm:ref": "#/x"}), format!("thing-model {at}/tm:ref")),
    ];
    check(table.iter().map(|(change, expected)| (input(change.clone()), expected.as_str())).collect());
}

#[test]
fn links() {
    let link = |change: Value| {
        let mut link = json!({"href": "https://lamp.example/manual"});
        patch::merge(&mut link, &change);
        json!({"links": [link]})
    };
    let model = json!({"rel": "type", "href": "https://lamp.example/model"});
    check(vec![
        (link(json!({"rel": "icon", "sizes": "16x16 32x32"})), ""),
        (link(json!({"rel": "icon", "sizes": "big"})), "link /links/0/sizes"),
        (link(json!({"sizes": "16x16"})), "link /links/0/sizes"),
        (link(json!({"rel": "tm:extends"})), "thing-model /links/0/rel"),
        (link(json!({"hreflang": ["en", "de-CH"]})), ""),
        (link(json!({"hreflang": "e"})), "language-tag /links/0/hreflang"),
        (link(json!({"type": "html"})), "media-type /links/0/type"),
        (link(json!({"href": null})), "missing /links/0/href"),
        (json!({"links": [model]}), ""),
        (json!({"links": [model, model, model]}), "rel-type /links/1/rel"),
    ]);
}

#[test]
fn all_that_is_wrong_is_said_up_to_a_limit() {
    let several = patched(&json!({"title": null, "security": "x", "properties": {"on": {"type": "y"}}}));
    assert_eq!(
        broken(several),
        ["missing /title", "security-reference /security", "data-type /properties/on/type"]
    );
    let undefined = patched(&json!({"securityDefinitions": null}));
    assert_eq!(broken(undefined), ["missing /securityDefinitions", "security-reference /security"]);
    let many = patched(&json!({"links": vec![json!({}); 100]}));
    let errors = ThingDescription::from_value(many).expect_err("a hundred links without href");
    assert_eq!((errors.problems.len(), errors.left_out), (64, 36));
    assert!(errors.problems.iter().all(|problem| problem.code == Code::Missing));
    assert_eq!(broken(json!(null)), ["wrong-type "]);
}

#[test]
fn the_number_of_schemes_is_limited() {
    let schemes: serde_json::Map<_, _> = (0..sofie_directory::thing::MAX_SCHEMES)
        .map(|n| (format!("s{n}"), json!({"scheme": "psk"})))
        .collect();
    assert_eq!(
        broken(patched(&json!({"securityDefinitions": schemes}))),
        ["too-many-values /securityDefinitions"]
    );
    let parts: Vec<_> = (0..=sofie_directory::thing::MAX_SCHEMES).map(|_| "psk").collect();
    let combo = json!({"securityDefinitions": {"s": {"scheme": "combo", "allOf": parts}}});
    assert_eq!(broken(patched(&combo)), ["security-scheme /securityDefinitions/s/allOf"]);
}

#[test]
fn references_resolve_against_the_base() {
    let thing = ThingDescription::from_value(lamp()).expect("valid");
    assert_eq!(thing.resolve("on").as_deref(), Some("https://lamp.example/on"));
    assert_eq!(thing.resolve("coap://x/y").as_deref(), Some("coap://x/y"));
    assert_eq!(thing.resolve("a b"), None);
    let baseless = ThingDescription::from_value(patched(&json!({"base": null}))).expect("valid");
    assert_eq!(baseless.resolve("on"), None);
}
