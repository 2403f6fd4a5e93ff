//! The entry points of `fuzz/`, run for a moment from a fixed seed: valid examples, changed at random. It needs neither
//! cargo-fuzz nor a nightly compiler; it finds what is shallow. `SOFIE_FUZZ_SEED` and `SOFIE_FUZZ_ROUNDS` change the run.

use sofie_adapters::{coap, mqtt, onem2m, wot};
use sofie_directory::jsonpath::JsonPath;

/// How many inputs each parser gets.
const ROUNDS: u64 = 20_000;
const LONGEST: usize = 4096;

struct Target {
    name: &'static str,
    seeds: &'static [&'static [u8]],
    run: fn(&[u8]),
}

const TARGETS: &[Target] = &[
    Target {
        name: "coap_codec",
        seeds: &[
            b"\x41\x01\x7d\x35\x20\xbbtemperature",
            b"\x61\x45\x7d\x35\x20\xc1\x32\xffhello",
            b"\x44\x02\x00\x01abcd\xb4lock\x11\x32\xff{\"open_for_s\":600}",
            b"\x60\x45\x00\x01\xe1\x07\x01\x05\xd1\x0a\x08",
        ],
        run: |bytes| {
            if let Ok(message) = coap::codec::decode(bytes)
                && let Ok(written) = coap::codec::encode(&message)
            {
                assert_eq!(coap::codec::decode(&written), Ok(message));
            }
        },
    },
    Target {
        name: "link_format",
        seeds: &[
            br#"</lock>;if="core.a";rt="lock";ct=50;title="Locker 7";obs,</info>;ct=0"#,
            b"<http://h/a%20b>;rel=\"x y\";title*=UTF-8''%e2%82%ac,</t>;sz=12",
        ],
        run: |bytes| {
            let Ok(text) = std::str::from_utf8(bytes) else { return };
            if let Ok(links) = coap::link_format::parse(text) {
                let written = links.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
                if written.len() <= coap::link_format::MAX_DOCUMENT {
                    assert_eq!(coap::link_format::parse(&written), Ok(links));
                }
            }
        },
    },
    Target {
        name: "mqtt_codec",
        seeds: &[b"\x30\x06\x00\x03a/bx", b"\x3b\x08\x00\x03a/b\x00\x0ax", b"\x34\x07\x00\x02\xc3\xa4\x00\x01y"],
        run: |bytes| {
            if let Ok(message) = mqtt::codec::decode(bytes) {
                let written = mqtt::codec::encode(&message).expect("what was read can be written");
                assert_eq!(mqtt::codec::decode(&written), Ok(message));
            }
        },
    },
    Target {
        name: "wot_events",
        seeds: &[b"data: true\n\n", b": hello\r\ndata: a\r\ndata: b\r\nid: 1\r\n\r\n", b"data\r\rretry: 10\n\n"],
        run: |bytes| {
            let Ok(whole) = wot::events::Events::default().feed(bytes) else { return };
            let mut events = wot::events::Events::default();
            let pieces = bytes.chunks(3).flat_map(|piece| events.feed(piece).expect("the whole was read"));
            assert_eq!(pieces.collect::<Vec<_>>(), whole);
        },
    },
    Target {
        name: "wot_codec",
        seeds: &[
            br#"{"@context":"https://www.w3.org/2022/wot/td/v1.1","title":"T","base":"http://192.0.2.2:8080/lamp/","securityDefinitions":{"n":{"scheme":"nosec"}},"security":"n","properties":{"p":{"type":"object","properties":{"q":{"type":"number"}},"forms":[{"href":"p","op":["readproperty"]},{"href":"p/next","op":"observeproperty","subprotocol":"longpoll"}]}},"actions":{"go":{"forms":[{"href":"//x/go"}]}},"events":{"e":{}}}"#,
            br#"["http://192.0.2.2:8080/lamp","/x"]"#,
        ],
        run: |bytes| {
            let at = "http://127.0.0.1:8080/lamp".parse().expect("a URL");
            if let Ok(wot::codec::Document::Thing(td)) = wot::codec::read(bytes) {
                let plan = wot::codec::plan(&td, &at);
                assert!(plan.properties.iter().all(|property| property.read.path.starts_with('/')));
            }
        },
    },
    Target {
        name: "onem2m_codec",
        seeds: &[
            br#"{"m2m:uril":["cse-in/Sensor","/id-in/x","//sp.example/id-in/c"]}"#,
            br#"{"m2m:sgn":{"nev":{"rep":{"m2m:cin":{"ri":"c1","con":"{\"t\":1}","ct":"20261129T115344,873350"}},"net":3},"sur":"/id-in/s"}}"#,
            br#"{"cod:tempe":{"ri":"f","cnd":"org.onem2m.common.moduleclass.temperature","curT0":21.50,"lt":"20261129T115344"}}"#,
            br#"{"m2m:cnt":{"m2m:cin":[{"ri":"c2","con":2,"ct":"20261129T115345"},{"ri":"c1","con":"1"}]}}"#,
        ],
        run: |bytes| {
            if let Ok((paths, _)) = onem2m::codec::addresses(bytes) {
                assert!(paths.iter().all(|path| path.starts_with('/')));
            }
            let _ = (onem2m::codec::instances(bytes), onem2m::codec::notification(bytes));
            if let Ok(content) = onem2m::codec::resource(bytes).and_then(|one| one.content()) {
                assert!(!content.id.is_empty());
            }
        },
    },
    Target {
        name: "td_parse",
        seeds: &[
            br#"{"@context":"https://www.w3.org/2022/wot/td/v1.1","title":"T","securityDefinitions":{"n":{"scheme":"nosec"}},"security":"n","properties":{"p":{"type":"number","enum":[1],"forms":[{"href":"coap://h/p","op":["readproperty"]}]}}}"#,
        ],
        run: |bytes| drop(sofie_directory::parse(bytes)),
    },
    Target {
        name: "jsonpath",
        seeds: &[
            b"$[?@.a=='x' && (length(@.b)>=2 || !match(@['a'], \"x.*\"))]..b[0,-1,1:9:2,*]",
            b"$..[?count(@..*) < 3 || value($[0].a) != null || search(@.a,'\\u0078')]",
        ],
        run: |bytes| {
            let Ok(text) = std::str::from_utf8(bytes) else { return };
            let Ok(query) = JsonPath::read(text) else { return };
            let things = [serde_json::json!({"a": [1, "x", {"b": null}], "b": {"a": "xy"}})];
            let _ = query.find(&things.iter().collect::<Vec<_>>());
        },
    },
    Target {
        name: "receipt_decode",
        seeds: &[b"\x82\x80\x80", b"\x83\x01\x58\x20", b"\x9f\xff"],
        run: |bytes| {
            if let Ok(receipt) = sofie_audit::Receipt::from_bytes(bytes) {
                assert_eq!(receipt.to_bytes(), bytes);
            }
        },
    },
];

/// xorshift64*: enough to shake parsers, and the same everywhere.
struct Luck(u64);

impl Luck {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % (limit.max(1) as u64)).expect("it is below a usize")
    }
}

/// One to eight changes: a bit, a byte, an insertion, a removal, a piece doubled, a cut.
fn change(bytes: &mut Vec<u8>, luck: &mut Luck) {
    const TELLING: [u8; 12] = [0, 1, 0x0d, 0x0e, 0x0f, 0x7f, 0x80, 0xd0, 0xe0, 0xff, b'"', b'\\'];
    for _ in 0..=luck.below(8) {
        let at = luck.below(bytes.len());
        match luck.below(6) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << luck.below(8),
            1 if !bytes.is_empty() => bytes[at] = TELLING[luck.below(TELLING.len())],
            2 if !bytes.is_empty() => drop(bytes.remove(at)),
            3 if bytes.len() < LONGEST / 2 => {
                let piece = bytes[at..].to_vec();
                bytes.extend(piece);
            }
            4 => bytes.truncate(at),
            _ => bytes.insert(at, luck.next() as u8),
        }
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn parsers_stand_a_short_seeded_run() {
    let (seed, rounds) = (number("SOFIE_FUZZ_SEED", 42), number("SOFIE_FUZZ_ROUNDS", ROUNDS));
    for target in TARGETS {
        println!("{}: seed {seed}, {rounds} rounds", target.name);
        let mut luck = Luck(seed.max(1));
        for _ in 0..rounds {
            let mut bytes = target.seeds[luck.below(target.seeds.len())].to_vec();
            change(&mut bytes, &mut luck);
            (target.run)(&bytes);
        }
    }
}

#[test]
fn the_changes_reach_both_sides_of_each_parser() {
    // Else the run above would only ever try what is refused, or what is taken.
    let mut luck = Luck(7);
    for (name, seeds, takes) in [
        ("coap_codec", TARGETS[0].seeds, (|b| coap::codec::decode(b).is_ok()) as fn(&[u8]) -> bool),
        ("mqtt_codec", TARGETS[2].seeds, |b| mqtt::codec::decode(b).is_ok()),
    ] {
        let mut taken = 0;
        for _ in 0..2_000 {
            let mut bytes = seeds[luck.below(seeds.len())].to_vec();
            change(&mut bytes, &mut luck);
            taken += u32::from(takes(&bytes));
        }
        assert!((20..1_980).contains(&taken), "{name}: {taken} of 2000 were taken");
    }
}
