//! What a binding reads and refuses, and what it makes of a value.

use super::*;
use crate::port::Write;

fn door(kind: Kind, pointer: &str) -> PropertyBinding {
    PropertyBinding {
        source: "site/7/door".into(),
        format: Format::Json,
        pointer: pointer.into(),
        kind,
        unit: String::new(),
        scale: 0,
        time: None,
        last_will: None,
        write: None,
    }
}

fn binding(property: PropertyBinding) -> Binding {
    let thing = "urn:uuid:0e4bd4b3-5a4a-8f4e-9d5a-000000000001".parse().expect("a URI");
    Binding {
        things: vec![ThingBinding {
            thing,
            properties: [("p".to_owned(), property)].into(),
            actions: BTreeMap::new(),
        }],
    }
}

fn arrival(payload: &[u8]) -> Arrival<'_> {
    let at = Timestamp::from_seconds(1_000_000);
    Arrival {
        platform: "mqtt://h:1883",
        source: "site/7/door",
        payload,
        identity: b"1",
        told: None,
        at,
        retained: false,
    }
}

#[test]
fn a_part_of_a_payload_becomes_a_value() {
    for (kind, pointer, payload, expected) in [
        (Kind::Boolean, "/open", r#"{"open":true}"#, Value::Bool(true)),
        (Kind::Boolean, "/open", r#"{"open": false }"#, Value::Bool(false)),
        (Kind::Integer, "/a/0", r#"{"a":[-7]}"#, Value::Integer(-7)),
        (Kind::Number, "", "21.50", Value::Text("21.50".into())),
        (Kind::String, "", r#""\u0061b""#, Value::Text("ab".into())),
    ] {
        let message = binding(door(kind, pointer)).read(&arrival(payload.as_bytes())).expect("it is bound");
        assert_eq!(message.deviations, [], "{payload}");
        assert_eq!(message.observations[0].quantity.value, expected, "{payload}");
    }
}

#[test]
fn what_does_not_fit_is_a_deviation_and_keeps_its_bytes() {
    for (kind, pointer, payload) in [
        (Kind::Boolean, "/open", &br#"{"open":"true"}"#[..]),
        (Kind::Boolean, "/open", br#"{"open":1}"#),
        (Kind::Boolean, "/open", br#"{"open":false,"open":true}"#),
        (Kind::Boolean, "/open", b"{"),
        (Kind::Boolean, "/open", &[0xff, 0xfe]),
        (Kind::Integer, "", b"1.5"),
        (Kind::Integer, "", b"9223372036854775808"),
        (Kind::Number, "", b"\"1\""),
        (Kind::String, "", b"1"),
    ] {
        let message = binding(door(kind, pointer)).read(&arrival(payload)).expect("it is bound");
        assert_eq!((message.observations.len(), message.deviations.len()), (0, 1), "{payload:?}");
        assert_eq!(message.raw, payload);
    }
}

#[test]
fn unit_and_scale_are_the_owners_words() {
    let mut property = door(Kind::Number, "/t");
    (property.unit, property.scale) = ("Cel".into(), -1);
    let message = binding(property).read(&arrival(br#"{"t":215}"#)).expect("it is bound");
    let expected = Quantity { value: Value::Text("21.5".into()), unit: "Cel".into() };
    assert_eq!(message.observations[0].quantity, expected);
}

#[test]
fn a_device_tells_its_own_time_but_never_a_later_one_than_now() {
    for (format, payload, expected, notes) in [
        (TimeFormat::EpochMillis, r#"{"open":true,"at":999999500}"#, 999_999_500, 0),
        (TimeFormat::EpochSeconds, r#"{"open":true,"at":999999.5}"#, 999_999_500, 0),
        (TimeFormat::Rfc3339, r#"{"open":true,"at":"1970-01-12T13:46:39.500Z"}"#, 999_999_500, 0),
        (TimeFormat::Rfc3339, r#"{"open":true,"at":"1970-01-12T14:46:39.5+01:00"}"#, 999_999_500, 0),
        (TimeFormat::EpochMillis, r#"{"open":true,"at":1000001000}"#, 1_000_000_000, 0),
        (TimeFormat::EpochMillis, r#"{"open":true,"at":1000600000}"#, 1_000_000_000, 1),
    ] {
        let mut property = door(Kind::Boolean, "/open");
        property.time = Some(TimeField { pointer: "/at".into(), format });
        let message = binding(property).read(&arrival(payload.as_bytes())).expect("it is bound");
        assert_eq!(message.observations[0].observed_at, Timestamp::from_millis(expected), "{payload}");
        assert_eq!(message.deviations.len(), notes, "{payload}");
    }
    let mut property = door(Kind::Boolean, "/open");
    property.time = Some(TimeField { pointer: "/at".into(), format: TimeFormat::Rfc3339 });
    let message = binding(property).read(&arrival(br#"{"open":true,"at":"today"}"#)).expect("it is bound");
    assert!(message.observations.is_empty(), "a reading whose time cannot be read is no reading");
}

#[test]
fn the_same_message_twice_has_one_name_and_others_have_others() {
    let id = |property: &PropertyBinding, arrival: Arrival<'_>| {
        binding(property.clone()).read(&arrival).expect("it is bound").observations[0].message_id
    };
    let mut timed = door(Kind::Boolean, "/open");
    timed.time = Some(TimeField { pointer: "/at".into(), format: TimeFormat::EpochMillis });
    let first = arrival(br#"{"open":true,"at":5}"#);
    let later = Arrival { at: Timestamp::from_seconds(2_000_000), identity: b"2", ..first };
    assert_eq!(id(&timed, first), id(&timed, later), "delivered again");
    assert_ne!(id(&timed, first), id(&timed, Arrival { retained: true, ..first }), "kept by the broker");
    assert_ne!(id(&timed, first), id(&timed, Arrival { payload: br#"{"open":true,"at":6}"#, ..first }));
    assert_ne!(id(&timed, first), id(&timed, Arrival { platform: "mqtt://other:1883", ..first }));
    let untimed = door(Kind::Boolean, "/open");
    assert_ne!(id(&untimed, first), id(&untimed, later), "two readings that look alike");
}

#[test]
fn the_brokers_word_for_a_dead_device_is_no_reading() {
    let mut property = door(Kind::String, "");
    (property.format, property.last_will) = (Format::Text, Some("offline".into()));
    let message = binding(property.clone()).read(&arrival(b"offline")).expect("it is bound");
    assert_eq!((message.observations.len(), message.deviations.len()), (0, 1));
    let message = binding(property).read(&arrival(b"online")).expect("it is bound");
    assert_eq!(message.observations.len(), 1);
}

#[test]
fn the_guides_example_is_read() {
    let page = include_str!("../../../../docs/guide/mapping.md");
    let example = page.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let samples = page.split("```toml").nth(2).and_then(|rest| rest.split("```").next()).expect("samples");
    let mapping: Mapping = toml::from_str(&format!("{example}\n{samples}")).expect("the guide is right");
    mapping.check().expect("the guide is right");
    let tested = mapping.test();
    assert_eq!(tested.len(), 2);
    assert!(tested.iter().all(|one| one.faults.is_empty()), "{tested:?}");
    let thing = &mapping.things[0];
    assert_eq!(thing.properties["temperature"].scale, -1);
    assert_eq!(thing.actions["open"].method, ActionMethod::Post);
    assert!(thing.properties["open"].time.is_some());
}

#[test]
fn an_owners_file_is_read_strictly() {
    let text = r#"{"things":[{"thing":"urn:x:1","properties":{"t":{"source":"a/b","pointer":"/t","kind":"number","unit":"Cel","scale":-1}}}]}"#;
    let binding: Binding = serde_json::from_str(text).expect("it is one");
    let again = serde_json::to_string(&binding).expect("it can be written");
    assert_eq!(serde_json::from_str::<Binding>(&again).expect("it is one"), binding);
    assert!(serde_json::from_str::<Binding>(&text.replace("unit", "units")).is_err());
}

/// Writes through a binding of one property, and reads what it made.
fn write(property: &PropertyBinding, value: &Value) -> Result<Vec<u8>, String> {
    let binding = binding(property.clone());
    encode(&binding, "p", value, None)
}

fn encode(binding: &Binding, name: &str, value: &Value, unit: Option<&str>) -> Result<Vec<u8>, String> {
    let platform = Platform::new("a", "mqtt", "mqtt://h:1883").expect("a good address");
    let write = Write {
        thing: binding.things[0].thing.clone(),
        property: name.into(),
        value: value.clone(),
        unit: unit.map(Into::into),
        message: Digest::ZERO,
        capability: Vec::new(),
    };
    let encoded = binding.encode(&platform, &write).expect("it is bound");
    encoded.map(|(_, payload)| payload).map_err(|e| e.to_string())
}

fn read(property: &PropertyBinding, payload: &[u8]) -> Option<Value> {
    let message = binding(property.clone()).read(&arrival(payload)).expect("it is bound");
    message.observations.into_iter().next().map(|o| o.quantity.value)
}

fn writable(kind: Kind, pointer: &str, format: Format, scale: i8) -> PropertyBinding {
    let write = Some(WriteBinding { target: "site/7/door".into(), method: ActionMethod::Put });
    PropertyBinding { format, scale, write, ..door(kind, pointer) }
}

#[test]
fn what_is_written_is_what_the_device_would_have_said() {
    let text = |text: &str| Value::Text(text.into());
    for (kind, pointer, format, scale, payload) in [
        (Kind::Boolean, "", Format::Json, 0, "true"),
        (Kind::Boolean, "/a~1b/c~0d", Format::Json, 0, r#"{"a/b":{"c~d":false}}"#),
        (Kind::Integer, "", Format::Json, 3, "-7"),
        (Kind::Integer, "/n", Format::Json, 0, r#"{"n":9223372036854775807}"#),
        (Kind::Number, "/t", Format::Json, -1, r#"{"t":215}"#),
        (Kind::Number, "", Format::Text, 2, "0.125"),
        (Kind::Number, "", Format::Json, 0, "2.150e1"),
        (Kind::String, "/\"", Format::Json, 0, r#"{"\"":"\\ \"ä\""}"#),
        (Kind::String, "", Format::Text, 0, "a b"),
    ] {
        let property = writable(kind, pointer, format, scale);
        let value = read(&property, payload.as_bytes()).expect(payload);
        let written = write(&property, &value).expect(payload);
        assert_eq!(String::from_utf8_lossy(&written), payload);
    }
    let number = writable(Kind::Number, "", Format::Json, -1);
    assert_eq!(write(&number, &Value::Integer(3)), Ok(b"30".to_vec()));
    let mut other = writable(Kind::Boolean, "/state", Format::Json, 0);
    other.write = Some(WriteBinding { target: "site/7/door/set".into(), method: ActionMethod::Post });
    other.time = Some(TimeField { pointer: "/at".into(), format: TimeFormat::EpochMillis });
    assert_eq!(write(&other, &Value::Bool(true)), Ok(br#"{"state":true}"#.to_vec()), "a command of its own");
    assert_eq!(write(&writable(Kind::String, "", Format::Text, 0), &text("")), Ok(Vec::new()));
}

#[test]
fn what_cannot_be_rebuilt_is_refused_with_its_reason() {
    let text = |text: &str| Value::Text(text.into());
    let json = |kind, pointer| writable(kind, pointer, Format::Json, 0);
    let timed = PropertyBinding {
        time: Some(TimeField { pointer: "/at".into(), format: TimeFormat::EpochMillis }),
        ..json(Kind::Boolean, "/open")
    };
    let will =
        PropertyBinding { last_will: Some("offline".into()), ..writable(Kind::String, "", Format::Text, 0) };
    for (property, value, told) in [
        (PropertyBinding { write: None, ..json(Kind::Boolean, "") }, Value::Bool(true), "mapping.md"),
        (json(Kind::Boolean, ""), text("true"), "true or false"),
        (json(Kind::Integer, ""), text("1"), "a whole number"),
        (json(Kind::Number, ""), text("1,5"), "a decimal number"),
        (json(Kind::Number, ""), Value::Bool(true), "a decimal number"),
        (json(Kind::String, ""), Value::Integer(1), "a text"),
        (json(Kind::Number, "/a/0"), Value::Integer(1), "a place in a list"),
        (writable(Kind::Boolean, "/a", Format::Text, 0), Value::Bool(true), "no parts"),
        (writable(Kind::String, "", Format::Text, 0), text(" a"), "without spaces"),
        (writable(Kind::Number, "", Format::Json, -128), Value::Integer(1), "±127"),
        (timed, Value::Bool(true), "a time of the device"),
        (will, text("offline"), "last will"),
    ] {
        let refused = write(&property, &value).expect_err(told);
        assert!(refused.contains(told), "{refused}");
    }
    let property = PropertyBinding { unit: "Cel".into(), ..json(Kind::Number, "/t") };
    let mut one = binding(property.clone());
    assert_eq!(encode(&one, "p", &Value::Integer(1), Some("Cel")), Ok(br#"{"t":1}"#.to_vec()));
    let unit = encode(&one, "p", &Value::Integer(1), Some("K")).expect_err("another unit");
    assert!(unit.contains("its unit is Cel, not \"K\""), "{unit}");
    one.things[0].properties.insert("humidity".into(), json(Kind::Number, "/h"));
    let lost = encode(&one, "p", &Value::Integer(1), None).expect_err("the other would be lost");
    assert!(lost.contains("humidity"), "{lost}");
}

fn any_value() -> impl proptest::strategy::Strategy<Value = (Kind, Value)> {
    use proptest::prelude::*;
    prop_oneof![
        any::<bool>().prop_map(|v| (Kind::Boolean, Value::Bool(v))),
        any::<i32>().prop_map(|v| (Kind::Integer, Value::Integer(v.into()))),
        "-?(0|[1-9][0-9]{0,12})\\.[0-9]{0,8}[1-9]".prop_map(|v| (Kind::Number, Value::Text(v))),
        ".{0,24}".prop_map(|v| (Kind::String, Value::Text(v))),
    ]
}

proptest::proptest! {
    #[test]
    fn read_after_write_is_the_value_and_write_after_read_the_payload(
        (kind, value) in any_value(),
        pointer in "(/[a-z~/\"]{0,3}[a-z]){0,3}",
        text: bool,
        scale in -9_i8..=9,
    ) {
        let format = if text { Format::Text } else { Format::Json };
        let pointer = if text { String::new() } else { pointer.replace('~', "~0") };
        let property = writable(kind, &pointer, format, scale);
        let Ok(payload) = write(&property, &value) else {
            // Only spaces at the ends of a bare text are refused.
            proptest::prop_assert!(text && matches!(&value, Value::Text(v) if v.trim() != v));
            return Ok(());
        };
        proptest::prop_assert_eq!(read(&property, &payload), Some(value.clone()));
        proptest::prop_assert_eq!(write(&property, &value), Ok(payload));
    }

    #[test]
    fn no_payload_makes_it_panic(payload: Vec<u8>, pointer in "(/[a-z0-9~]{0,3}){0,3}") {
        for kind in [Kind::Boolean, Kind::Integer, Kind::Number, Kind::String] {
            let mut property = door(kind, &pointer);
            property.time = Some(TimeField { pointer: "/at".into(), format: TimeFormat::EpochSeconds });
            let message = binding(property).read(&arrival(&payload)).expect("it is bound");
            proptest::prop_assert!(message.observations.len() + message.deviations.len() >= 1);
        }
    }
}
