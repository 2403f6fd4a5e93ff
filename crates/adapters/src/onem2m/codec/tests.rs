use super::*;

fn content(id: &str, told: &str, payload: &str) -> Content {
    Content { id: id.into(), told: time(told), payload: payload.into() }
}

#[test]
fn a_time_is_utc_with_or_without_a_fraction() {
    for (written, expected) in [
        ("20261129T115344,873350", Some(1_795_953_224_873)),
        ("20261129T115344", Some(1_795_953_224_000)),
        ("20261129T115344.5", Some(1_795_953_224_500)),
        ("19700101T000000", Some(0)),
        ("19691231T235959", None),
        ("20261329T115344", None),
        ("20261129T115344,", None),
        ("20261129T115344,x", None),
        ("2026-11-29T11:53:44Z", None),
        ("+0261129T115344", None),
        ("", None),
    ] {
        assert_eq!(time(written).map(Timestamp::as_millis), expected, "{written}");
    }
}

#[test]
fn a_content_is_what_the_device_wrote() {
    for (written, payload) in [
        (r#""21.50""#, "21.50"),
        ("21.50", "21.50"),
        ("true", "true"),
        (r#""{\"t\":21.50}""#, r#"{"t":21.50}"#),
        (r#"{"t":21.50}"#, r#"{"t":21.50}"#),
    ] {
        let bytes = format!(r#"{{"m2m:cin":{{"con":{written},"ri":"c1","ct":"20261129T115344"}}}}"#);
        let got = resource(bytes.as_bytes()).and_then(|one| one.content());
        assert_eq!(got, Ok(content("c1", "20261129T115344", payload)), "{written}");
    }
}

#[test]
fn a_flex_container_shows_its_own_attributes_alone() {
    let bytes = br#"{"cod:tempe": {"rn":"flex","cnd":"org.onem2m.common.moduleclass.temperature","curT0":21.50,"ri":"f1",
        "ty":28,"ct":"20261129T115443","lt":"20261129T115500","m2m:sub":[{"ri":"s"}],"unit":"C"}}"#;
    let flex = resource(bytes).expect("it is one");
    assert_eq!(
        (flex.kind.as_str(), flex.text("cnd").as_deref()),
        ("cod:tempe", Some("org.onem2m.common.moduleclass.temperature"))
    );
    let expected = content("f1 20261129T115500", "20261129T115500", r#"{"curT0":21.50,"unit":"C"}"#);
    assert_eq!(flex.content(), Ok(expected));
}

#[test]
fn addresses_become_paths_and_nothing_else() {
    let list = br#"{"m2m:uril":["cse-in/a","/id-in/cse-in/b","//sp.example/id-in/c","a b","../x","a//b","/a?b","x#y",""]}"#;
    let paths = ["/cse-in/a", "/~/id-in/cse-in/b", "/_/sp.example/id-in/c"].map(str::to_owned);
    assert_eq!(addresses(list), Ok((paths.to_vec(), 6)));
    assert_eq!(addresses(br#"{"m2m:uril":null}"#), Ok((Vec::new(), 0)));
    assert!(addresses(br#"{"m2m:uril":"cse-in/a"}"#).is_err());
}

#[test]
fn a_notification_verifies_ends_or_tells() {
    for (bytes, expected) in [
        (r#"{"m2m:sgn":{"vrq":true,"sur":"/id-in/s"}}"#, Some(Notification::Verification)),
        (r#"{"m2m:sgn":{"sud":true,"sur":"/id-in/s"}}"#, Some(Notification::Deleted)),
        (
            r#"{"m2m:sgn":{"nev":{"rep":{"m2m:cin":{"ri":"c1","con":"1","ct":"20261129T115344"}},"net":3},"sur":"/id-in/s"}}"#,
            Some(Notification::Content(content("c1", "20261129T115344", "1"))),
        ),
        (r#"{"m2m:sgn":{"nev":{"net":3},"sur":"/id-in/s"}}"#, None),
        (r#"{"m2m:sgn":{"nev":{"rep":{"m2m:cnt":{"ri":"c1"}}}}}"#, None),
        (r#"{"m2m:cin":{"vrq":true}}"#, None),
        ("[]", None),
    ] {
        assert_eq!(notification(bytes.as_bytes()).ok(), expected, "{bytes}");
    }
}

#[test]
fn children_come_oldest_first() {
    let bytes = br#"{"m2m:cnt":{"m2m:cin":[
        {"ri":"c2","con":"2","ct":"20261129T115345"},{"ri":"c1","con":"1","ct":"20261129T115344"}]}}"#;
    let both = vec![content("c1", "20261129T115344", "1"), content("c2", "20261129T115345", "2")];
    assert_eq!(instances(bytes), Ok(both));
    assert_eq!(instances(br#"{"m2m:cnt":{"ri":"c"}}"#), Ok(Vec::new()));
}

#[test]
fn what_is_too_long_or_named_twice_is_refused() {
    let long = format!(r#"{{"m2m:cin":{{"ri":"c","con":"{}"}}}}"#, "x".repeat(MAX_CONTENT + 1));
    let refused = resource(long.as_bytes()).and_then(|one| one.content());
    assert!(matches!(refused, Err(CodecError::TooLong { what: "a content", .. })), "{refused:?}");
    assert!(resource(&vec![b' '; MAX_DOCUMENT + 1]).is_err());
    assert!(resource(br#"{"m2m:cin":{"ri":"c","ri":"d","con":"1"}}"#).is_err());
}

#[test]
fn what_is_written_is_read() {
    let written = instance("{\"a\": \"\u{e9}\"}");
    let read = resource(&written).expect("it is one");
    assert_eq!(read.text("con").as_deref(), Some("{\"a\": \"\u{e9}\"}"));
    let written = subscription(Some("sofie-1"), "http://127.0.0.1:1/x", Type::Container);
    let read = resource(&written).expect("it is one");
    assert_eq!((read.kind.as_str(), read.attribute("enc")), ("m2m:sub", Some(r#"{"net":[3]}"#)));
}

proptest::proptest! {
    #[test]
    fn nothing_makes_it_panic(bytes: Vec<u8>, text in "[{}\":\\[\\]a-z0-9:m,T]{0,60}") {
        for bytes in [bytes.as_slice(), text.as_bytes()] {
            let _ = (addresses(bytes), notification(bytes), instances(bytes));
            let _ = resource(bytes).and_then(|one| one.content());
        }
        let _ = time(&text);
    }
}
