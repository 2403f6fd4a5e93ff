//! The parser under fire: it never panics, and what it accepts it accepts again, unchanged.

use proptest::prelude::*;
use serde_json::Value;
use sofie_directory::{json, parse};

const LAMP: &str = r#"{"@context":["https://www.w3.org/2022/wot/td/v1.1",{"x":"http://x.example/"}],"id":"urn:dev:lamp",
"title":"Lamp","securityDefinitions":{"k":{"scheme":"apikey","in":"uri","name":"t"},"n":{"scheme":"nosec"}},"security":["n"],
"links":[{"rel":"icon","href":"i","sizes":"1x1"}],"x:any":[1e3,-0.0,18446744073709551615,"\u00e9",null],
"properties":{"on":{"type":"integer","enum":[1,2],"minimum":1,"multipleOf":0.5,"uriVariables":{"p":{"type":"string"}},
"forms":[{"href":"/on{?p,t}","security":"k","op":["readproperty"]}]}}}"#;

/// Any JSON value, with names and texts that a Thing Description has.
fn values() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "@context",
        "title",
        "security",
        "securityDefinitions",
        "properties",
        "forms",
        "href",
        "op",
        "type",
        "enum",
        "{a",
        "{{b}}",
        "urn:a",
        "é",
        "https://www.w3.org/2022/wot/td/v1.1",
        "",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL).prop_map(Value::from),
        word.clone().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..6).prop_map(|members| {
                Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn a_damaged_text_is_read_or_refused(at in 0..LAMP.len(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = LAMP.as_bytes().to_vec();
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        if let Ok(thing) = parse(&bytes) {
            let again = serde_json::to_vec(thing.document()).expect("a JSON value is written");
            let again = parse(&again);
            prop_assert_eq!(again.as_ref().map(|again| again.hash()), Ok(thing.hash()));
            prop_assert_eq!(again, Ok(thing));
        }
    }

    #[test]
    fn any_json_is_read_as_serde_json_reads_it(value in values()) {
        let bytes = serde_json::to_vec(&value).expect("a JSON value is written");
        let ours = json::read(&bytes, json::Limits::THING);
        prop_assert_eq!(ours.ok(), serde_json::from_slice::<Value>(&bytes).ok());
        if let Err(errors) = sofie_directory::ThingDescription::from_value(value) {
            prop_assert!(!errors.problems.is_empty());
        }
    }

    #[test]
    fn the_canonical_text_is_the_same_value_and_canonical(value in values()) {
        let text = sofie_directory::canonical::text(&value);
        let again: Value = serde_json::from_str(&text).expect("canonical text is JSON");
        prop_assert_eq!(sofie_directory::canonical::text(&again), text);
    }
}

#[test]
fn the_lamp_of_these_tests_is_valid_and_comes_back_as_it_was() {
    let thing = parse(LAMP.as_bytes()).unwrap_or_else(|errors| panic!("{errors}"));
    let plain: Value = serde_json::from_str(LAMP).expect("JSON");
    assert_eq!(thing.document(), &plain);
    assert_eq!(thing.extensions["x:any"], plain["x:any"]);
    let stored = serde_json::to_string(&thing).expect("a document is written");
    assert_eq!(serde_json::from_str::<sofie_directory::ThingDescription>(&stored).expect("and read"), thing);
}
