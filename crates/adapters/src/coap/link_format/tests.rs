//! The link format (RFC 6690): what is read, what is refused, and where.

use super::*;

/// RFC 6690, section 5.
#[test]
fn the_examples_of_the_rfc() {
    let links = parse(
        "</sensors>;ct=40;title=\"Sensor Index\",</sensors/temp>;rt=\"temperature-c\";if=\"sensor\",\
         </sensors/light>;rt=\"light-lux\";if=\"sensor\",\
         <http://www.example.com/sensors/t123>;anchor=\"/sensors/temp\";rel=\"describedby\",\
         </t>;anchor=\"/sensors/temp\";rel=\"alternate\"",
    )
    .expect("the RFC prints it");
    assert_eq!(links.len(), 5);
    assert_eq!((links[0].target.as_str(), links[0].value("title")), ("/sensors", Some("Sensor Index")));
    assert_eq!(links[0].content_formats(), [40]);
    assert_eq!(links[1].words("rt").collect::<Vec<_>>(), ["temperature-c"]);
    assert_eq!(links[3].target, "http://www.example.com/sensors/t123");

    let links = parse("</firmware/v2.1>;rt=\"firmware\";sz=262144").expect("the RFC prints it");
    assert_eq!(links[0].size(), Some(262_144));
    let links =
        parse("</x>;ct=\"0 50\";obs;if=\"core.a core.s\";title*=UTF-8''%e2%82%ac").expect("it is one");
    assert_eq!(links[0].content_formats(), [0, 50]);
    assert!(links[0].has("obs") && !links[0].has("ob"));
    assert_eq!(links[0].value("title*"), Some("UTF-8''%e2%82%ac"));
    assert_eq!(parse(""), Ok(vec![]));
}

#[test]
fn the_first_broken_place_is_named() {
    for (text, at) in [
        ("</a>,", 5),
        ("</a>;", 5),
        ("</a>;=", 5),
        ("</a>;b=", 7),
        ("</a>;b=\"c", 9),
        ("</a>;b=\"c\\\"", 11),
        ("</a>;b=\"\n\"", 8),
        ("</a", 3),
        ("/a>", 0),
        ("<>", 1),
        ("<//>", 1),
        ("<a>", 1),
        ("</%4>", 2),
        ("</%4g>", 2),
        ("</ä>", 2),
        ("</a>;ä", 5),
        ("</a>;b=ä", 7),
        ("</a>x", 4),
        ("</a>;rt=1;rt=2", 14),
    ] {
        assert_eq!(parse(text).expect_err(text).at, at, "{text}");
    }
}

#[test]
fn more_than_the_limits_is_refused() {
    let links = |n: usize| vec!["</a>"; n].join(",");
    assert_eq!(parse(&links(MAX_LINKS)).expect("at the limit").len(), MAX_LINKS);
    assert!(parse(&links(MAX_LINKS + 1)).is_err());
    assert!(parse(&format!("</a>{}", ";b".repeat(MAX_ATTRIBUTES))).is_ok());
    assert!(parse(&format!("</a>{}", ";b".repeat(MAX_ATTRIBUTES + 1))).is_err());
    assert!(parse(&format!("</{}>", "a".repeat(MAX_DOCUMENT))).is_err());
}

/// The corpus is one strict parser's view (corpora/README.md): it also refuses what RFC 6690 and RFC 8288 allow.
#[test]
fn the_vectors_of_leshan() {
    const ALLOWED_BY_THE_RFCS: [&str; 12] = [
        "<file:///etc/hosts>",
        "</hosts?query>",
        "</hosts#hash>",
        "</>; param=123",
        "</> ;param=123",
        "</>;param =123",
        "</>;param= 123",
        "</>;param=123 ",
        "</>, </>",
        "</> ,</>",
        " </>,</>",
        "</>,</> ",
    ];
    let Some(corpora) = std::env::var_os("SOFIE_CORPORA") else {
        println!("skipped: SOFIE_CORPORA is not set, the link-format vectors are not read");
        return;
    };
    let file = std::path::Path::new(&corpora).join("link-format/leshan-vectors.json");
    let text = std::fs::read_to_string(&file).expect("SOFIE_CORPORA holds link-format/leshan-vectors.json");
    let vectors: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let list = |name: &str| -> Vec<String> { serde_json::from_value(vectors[name].clone()).expect("texts") };
    for text in list("valid") {
        assert!(parse(&text).is_ok(), "{text}: {:?}", parse(&text));
    }
    for text in list("invalid") {
        assert_eq!(parse(&text).is_ok(), ALLOWED_BY_THE_RFCS.contains(&text.as_str()), "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[</>;,=\"\\\\ a-z%0-9*äß]{0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn what_is_written_is_read_back(
        targets in proptest::collection::vec("/[a-z0-9/]{0,10}", 1..5),
        name in "[a-z]{3,8}",
        value in proptest::option::of("[ -~ä€]{0,20}"),
    ) {
        let attributes = vec![Attribute { name, value }];
        let links: Vec<_> = targets
            .into_iter()
            .filter(|target| !target.starts_with("//"))
            .map(|target| Link { target, attributes: attributes.clone() })
            .collect();
        let text = links.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        proptest::prop_assert_eq!(parse(&text), Ok(links));
    }
}
