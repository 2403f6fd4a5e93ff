//! Descriptions that a servient may send, and what is made of them.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::binding::Format;

fn at(url: &str) -> Url {
    Url::parse(url).expect("a URL")
}

fn planned(td: &Value) -> Plan {
    plan(td.as_object().expect("an object"), &at("http://127.0.0.1:8080/lamp"))
}

/// A description with one property `on` that has this form.
fn with_form(form: &Value) -> Value {
    json!({
        "@context": "https://www.w3.org/2022/wot/td/v1.1", "title": "Lamp",
        "securityDefinitions": {"none": {"scheme": "nosec"}, "login": {"scheme": "basic", "in": "header"}},
        "security": "none",
        "properties": {"on": {"type": "boolean", "forms": [form]}},
    })
}

fn reason(td: &Value) -> String {
    let plan = planned(td);
    assert!(plan.properties.is_empty(), "{plan:?}");
    plan.left_out[0].reason.clone()
}

#[test]
fn addresses_are_laid_over_the_owners_platform_or_not_asked() {
    let overlaid = "http://192.0.2.2:8080/lamp/on";
    for (href, path, told) in [
        ("http://127.0.0.1:8080/lamp/on", "/lamp/on", None),
        ("on?unit=x#here", "/on?unit=x", None),
        ("/lamp/on", "/lamp/on", None),
        (overlaid, "/lamp/on", Some(overlaid)),
        ("http://u:hunter2@192.0.2.2:8080/x", "/x", Some("http://192.0.2.2:8080/x")),
        ("//192.0.2.2:9/lamp/on", "/lamp/on", Some("http://192.0.2.2:9/lamp/on")),
        ("http://[fd00::2]:8080/a/../b", "/b", Some("http://[fd00::2]:8080/b")),
    ] {
        let plan = planned(&with_form(&json!({"href": href})));
        let read = &plan.properties.first().unwrap_or_else(|| panic!("{href}: {plan:?}")).read;
        assert_eq!((read.path.as_str(), read.told.as_deref()), (path, told), "{href}");
    }
    for (href, why) in [
        ("http://169.254.169.254/latest/meta-data", "169.254.169.254"),
        ("http://192.0.2.2:9/lampshade", "192.0.2.2"),
        ("https://127.0.0.1:8080/lamp/on", "TLS"),
        ("coap://127.0.0.1/lamp/on", "coap"),
        ("file:///lamp", "file"),
        ("/lamp/on{?unit}", "uriVariables"),
        ("http://", "none"),
    ] {
        let reason = reason(&with_form(&json!({"href": href})));
        assert!(reason.contains(why), "{href}: {reason}");
    }
}

#[test]
fn a_base_counts_for_relative_addresses() {
    let mut td = with_form(&json!({"href": "on"}));
    td["base"] = "http://192.0.2.2:8080/lamp/properties/".into();
    assert_eq!(planned(&td).properties[0].read.path, "/lamp/properties/on");
    td["base"] = "http://192.0.2.2/elsewhere/".into();
    assert!(reason(&td).contains("192.0.2.2"));
    td["base"] = "http://{host}/".into();
    assert!(reason(&td).contains("base"));
}

#[test]
fn a_form_that_is_not_spoken_is_left_out_for_its_reason() {
    for (form, why) in [
        (json!({"href": "/on", "op": "writeproperty"}), "no form is for readproperty"),
        (json!({"href": "/on", "op": ["observeproperty"], "subprotocol": "longpoll"}), "no form is for"),
        (json!({"href": "/on", "subprotocol": "sse"}), "subprotocol is sse"),
        (json!({"href": "/on", "htv:methodName": "POST"}), "method is POST"),
        (json!({"href": "/on", "contentType": "application/cbor"}), "application/cbor"),
        (json!({"href": "/on", "contentCoding": "gzip"}), "gzip"),
        (json!({"href": "/on", "security": "nowhere"}), "nowhere"),
        (json!({"op": "readproperty"}), "no address"),
    ] {
        let reason = reason(&with_form(&form));
        assert!(reason.contains(why), "{form}: {reason}");
    }
}

#[test]
fn the_first_form_that_is_spoken_is_taken() {
    let mut td = with_form(&json!({"href": "/cbor", "contentType": "application/cbor"}));
    let forms = td["properties"]["on"]["forms"].as_array_mut().expect("forms");
    forms.push(json!({"href": "/text", "contentType": "text/plain; charset=utf-8", "op": ["readproperty"]}));
    forms.push(json!({"href": "/json", "contentType": "application/senml+json"}));
    forms.push(json!({"href": "/sse", "op": "observeproperty", "subprotocol": "sse"}));
    forms.push(
        json!({"href": "/wait", "op": ["observeproperty", "unobserveproperty"], "subprotocol": "longpoll"}),
    );
    let on = &planned(&td).properties[0];
    assert_eq!((on.read.path.as_str(), on.read.format), ("/text", Format::Text));
    let told = on.poll.as_ref().map(|poll| (poll.path.as_str(), poll.sse));
    assert_eq!(told, Some(("/sse", true)), "a stream before a long poll");
}

#[test]
fn credentials_are_named_and_silence_is_not_nosec() {
    let mut td = with_form(&json!({"href": "/on", "security": ["login"]}));
    assert_eq!(planned(&td).properties[0].read.needs.as_deref(), Some("basic"));
    td["properties"]["on"]["forms"][0] = json!({"href": "/on"});
    let stated = planned(&td);
    assert_eq!(stated.properties[0].read.needs, None);
    assert_eq!(stated.security.expect("it is stated").1, ["none"]);
    td.as_object_mut().expect("an object").remove("security");
    assert_eq!(planned(&td).security, None, "definitions alone state nothing");
    td["security"] = json!(["none", "nowhere"]);
    assert_eq!(planned(&td).security, None);
    assert!(reason(&td).contains("nowhere"));
}

#[test]
fn schemas_become_scalars_and_the_rest_is_named() {
    let forms = json!([{"href": "/x"}]);
    let td = json!({
        "@context": ["https://www.w3.org/2022/wot/td/v1.1", {"x": "urn:x"}],
        "properties": {
            "a": {"type": "object", "forms": forms, "properties": {
                "b": {"type": "number", "unit": "Cel"}, "c/d": {"type": "string", "unit": "two words"}, "e": {"type": "array"},
            }},
            "a_b": {"type": "integer", "forms": forms},
            "list": {"type": "array", "forms": forms},
            "odd": {"oneOf": [{"type": "integer"}], "forms": forms},
            "secret": {"type": "string", "writeOnly": true, "forms": forms},
            "\u{7}": {"type": "string", "forms": forms},
            "none": 7,
        },
        "actions": {
            "go": {"forms": [{"href": "/go", "htv:methodName": "PUT"}], "input": {"type": "object", "required": ["speed"],
                "properties": {"speed": {"type": "number", "maximum": 3, "x:odd": {}}}, "enum": [1], "minimum": "no"}},
            "later": {"forms": [{"href": "/later"}], "synchronous": false},
        },
        "events": {"beep": {"forms": [{"href": "/beep"}]}},
    });
    let plan = planned(&td);
    let parts = plan.properties.iter().flat_map(|property| &property.parts);
    let parts: Vec<_> =
        parts.map(|p| (p.name.as_str(), p.pointer.as_str(), p.kind, p.unit.as_str())).collect();
    assert_eq!(
        parts,
        [
            ("a_b", "/b", Kind::Number, "Cel"),
            ("a_c_d", "/c~1d", Kind::String, ""),
            ("a_b_2", "", Kind::Integer, "")
        ]
    );
    assert_eq!(plan.actions[0].method, ActionMethod::Put);
    let narrowed = json!({"type": "object", "required": ["speed"], "properties": {"speed": {"type": "number", "maximum": 3}}});
    assert_eq!(plan.actions[0].input, narrowed);
    let left: Vec<_> = plan.left_out.iter().map(|one| format!("{} {}", one.kind, one.name)).collect();
    for expected in [
        "property a_e",
        "property list",
        "property odd",
        "property secret",
        "property \u{fffd}",
        "property none",
        "action later",
        "event beep",
    ] {
        assert!(left.iter().any(|one| one == expected), "{expected} is not in {left:?}");
    }
    // An object that can be read, and not written by one of its members.
    let written = plan.left_out.iter().find(|one| one.name == "a").expect("it does not say readOnly");
    assert!(written.reason.starts_with("writing: "), "{written:?}");
    assert_eq!(left.len(), 9, "{left:?}");
    let writable: Vec<_> = plan.properties.iter().filter(|one| one.write.is_some()).collect();
    assert!(matches!(writable.as_slice(), [one] if one.name == "a_b"), "{writable:?}");
}

#[test]
fn only_descriptions_and_lists_of_them_are_read() {
    let td = with_form(&json!({"href": "/on"})).to_string();
    assert!(matches!(read(td.as_bytes()), Ok(Document::Thing(_))));
    assert!(
        matches!(read(format!("[{td}, \"/lamp\"]").as_bytes()), Ok(Document::List(two)) if two.len() == 2)
    );
    assert_eq!(read(b"[]"), Ok(Document::List(Vec::new())));
    for (document, expected) in [
        (&b"{\"title\":\"no context\"}"[..], "neither"),
        (b"\"http://h/\"", "neither"),
        (b"[7]", "neither"),
        (b"<html>", "not JSON"),
        (b"", "not JSON"),
    ] {
        let error = read(document).expect_err("it is none").to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn limits_hold() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(matches!(read(deep(MAX_DEPTH + 1).as_bytes()), Err(CodecError::TooMuch { what: "a depth", .. })));
    assert!(matches!(read(deep(10_000).as_bytes()), Err(CodecError::NotJson(_))));
    let long = vec![b' '; MAX_DOCUMENT + 1];
    assert!(matches!(read(&long), Err(CodecError::TooMuch { what: "a length", .. })));
    let many = json!(vec!["/x"; MAX_ENTRIES + 1]).to_string();
    assert!(matches!(read(many.as_bytes()), Ok(Document::List(entries)) if entries.len() == MAX_ENTRIES));
    let mut td = with_form(&json!({"href": "/on"}));
    let one = td["properties"]["on"].clone();
    let all: Map<String, Value> = (0..=MAX_AFFORDANCES).map(|n| (format!("p{n}"), one.clone())).collect();
    td["properties"] = all.into();
    let plan = planned(&td);
    assert_eq!((plan.properties.len(), plan.left_out.len()), (MAX_AFFORDANCES, 1));
}

/// JSON of a description's own words, in any order and place.
fn json_of_words() -> impl Strategy<Value = Value> {
    const WORDS: [&str; 24] = [
        "@context",
        "https://www.w3.org/2022/wot/td/v1.1",
        "properties",
        "actions",
        "events",
        "forms",
        "href",
        "op",
        "readproperty",
        "observeproperty",
        "type",
        "object",
        "integer",
        "security",
        "securityDefinitions",
        "scheme",
        "basic",
        "base",
        "http://192.0.2.2:8080/lamp",
        "//x",
        "subprotocol",
        "longpoll",
        "input",
        "{?x}",
    ];
    let word = prop::sample::select(WORDS.to_vec());
    let leaf = prop_oneof![
        word.clone().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null)
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        let member = (word.clone().prop_map(str::to_owned), inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            prop::collection::vec(member, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let _ = read(&bytes);
    }

    /// Whatever is planned is asked on the owner's own platform.
    #[test]
    fn no_description_leads_elsewhere(td in json_of_words(), forms in json_of_words(), href in ".{0,40}") {
        let at = at("http://127.0.0.1:8080/lamp");
        let form = json!({"href": href});
        let td = json!({
            "base": td["base"], "security": td["security"], "securityDefinitions": td["securityDefinitions"],
            "properties": {"p": {"type": "integer", "forms": [form, forms]}, "q": td},
            "actions": {"a": {"forms": [forms, form]}},
        });
        let plan = plan(td.as_object().expect("an object"), &at);
        let reads = plan.properties.iter().flat_map(|p| std::iter::once(&p.read).chain(&p.poll).chain(&p.write));
        for target in reads.chain(plan.actions.iter().map(|action| &action.target)) {
            prop_assert!(target.path.starts_with('/'), "{target:?}");
            let asked = Url::parse(&format!("http://127.0.0.1:8080{}", target.path)).expect("a URL");
            prop_assert_eq!((asked.host_str(), asked.port()), (Some("127.0.0.1"), Some(8080)));
        }
    }
}
