//! What samples tell: the parts of a payload, their kinds, and where it tells its time. Nothing that a single sample
//! contradicts is claimed.

use std::collections::BTreeMap;

use sofie_model::Timestamp;

use crate::binding::{Format, Kind, TimeField, TimeFormat, json};

/// How many properties one source may get.
pub(crate) const MAX_PROPERTIES: usize = 64;
const MAX_DEPTH: usize = 3;
/// Member names that devices use for the time of a reading.
const TIME_NAMES: [&str; 9] =
    ["at", "time", "timestamp", "ts", "date", "observed_at", "observedAt", "datetime", "TimeInstant"];
/// 2001 to 2255: a number outside is no time in seconds.
const PLAUSIBLE_SECONDS: std::ops::Range<u64> = 1_000_000_000..9_000_000_000;

/// What the payloads of one source have in common.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) format: Format,
    /// By name: the pointer and the kind.
    pub(crate) parts: BTreeMap<String, (String, Kind)>,
    pub(crate) time: Option<TimeField>,
}

/// The shape of these payloads; the whole, where it is no object, is called `whole`. `None` for bytes that are no text.
pub(crate) fn shape<'a>(payloads: impl IntoIterator<Item = &'a [u8]>, whole: &str) -> Option<Shape> {
    let texts: Vec<&str> = payloads.into_iter().map(std::str::from_utf8).collect::<Result<_, _>>().ok()?;
    if texts.is_empty() {
        return None;
    }
    let parsed: Option<Vec<_>> = texts.iter().map(|text| leaves(text)).collect();
    let Some(parsed) = parsed else {
        let parts = [(name_of(whole), (String::new(), Kind::String))].into();
        return Some(Shape { format: Format::Text, parts, time: None });
    };
    let time = TIME_NAMES.iter().find_map(|name| time_field(&format!("/{name}"), &texts));
    let mut kinds: BTreeMap<String, Option<Kind>> = BTreeMap::new();
    for (pointer, kind) in parsed.into_iter().flatten() {
        let agreed = kinds.entry(pointer).or_insert(Some(kind));
        *agreed = agreed.and_then(|known| both(known, kind));
    }
    let mut parts = BTreeMap::new();
    for (pointer, kind) in kinds {
        let is_time = time.as_ref().is_some_and(|time| time.pointer == pointer);
        let Some(kind) = kind.filter(|_| !is_time && parts.len() < MAX_PROPERTIES) else { continue };
        let name = free_name(&parts, if pointer.is_empty() { whole } else { &pointer });
        parts.insert(name, (pointer, kind));
    }
    Some(Shape { format: Format::Json, parts, time })
}

const fn both(a: Kind, b: Kind) -> Option<Kind> {
    match (a, b) {
        (Kind::Boolean, Kind::Boolean) => Some(Kind::Boolean),
        (Kind::Integer, Kind::Integer) => Some(Kind::Integer),
        (Kind::Integer | Kind::Number, Kind::Integer | Kind::Number) => Some(Kind::Number),
        (Kind::String, Kind::String) => Some(Kind::String),
        _ => None,
    }
}

/// Pointers to the scalars of a JSON text, objects opened up to [`MAX_DEPTH`]; arrays and null are left out.
fn leaves(text: &str) -> Option<Vec<(String, Kind)>> {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), json::part(text, "").ok()?, 0)];
    while let Some((pointer, part, depth)) = open.pop() {
        match part.bytes().next() {
            Some(b'{') if depth < MAX_DEPTH => {
                for (name, value) in json::members(part)? {
                    if open.len() + found.len() < 4 * MAX_PROPERTIES {
                        let step = name.replace('~', "~0").replace('/', "~1");
                        open.push((format!("{pointer}/{step}"), value, depth + 1));
                    }
                }
            }
            Some(b't' | b'f') => found.push((pointer, Kind::Boolean)),
            Some(b'"') => found.push((pointer, Kind::String)),
            Some(b'-' | b'0'..=b'9') if part.parse::<i64>().is_ok() => found.push((pointer, Kind::Integer)),
            Some(b'-' | b'0'..=b'9') => found.push((pointer, Kind::Number)),
            _ => {}
        }
    }
    Some(found)
}

/// A time that all samples tell at `pointer`.
fn time_field(pointer: &str, texts: &[&str]) -> Option<TimeField> {
    [TimeFormat::Rfc3339, TimeFormat::EpochMillis, TimeFormat::EpochSeconds].into_iter().find_map(|format| {
        let field = TimeField { pointer: pointer.into(), format };
        let plausible = |at: Timestamp| PLAUSIBLE_SECONDS.contains(&at.as_seconds());
        texts.iter().all(|text| field.read(text).is_ok_and(plausible)).then_some(field)
    })
}

/// A name for a Thing Description: the last steps of a pointer or path, with nothing but letters, digits, `_` and `-`.
pub(crate) fn name_of(path: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let name: String = path.trim_matches('/').chars().take(64).map(plain).collect();
    if name.is_empty() { "value".into() } else { name }
}

pub(crate) fn free_name<V>(taken: &BTreeMap<String, V>, path: &str) -> String {
    let name = name_of(path);
    let numbered = (2..).map(|n| format!("{name}_{n}"));
    std::iter::once(name.clone()).chain(numbered).find(|n| !taken.contains_key(n)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(payloads: &[&str]) -> Option<Shape> {
        shape(payloads.iter().map(|p| p.as_bytes()), "whole")
    }

    fn parts(payloads: &[&str]) -> Vec<(String, String, Kind)> {
        let shape = of(payloads).expect("they are texts");
        shape.parts.into_iter().map(|(name, (pointer, kind))| (name, pointer, kind)).collect()
    }

    #[test]
    fn samples_agree_on_their_parts() {
        let found = parts(&[r#"{"open":false,"n":1,"b":{"v":3}}"#, r#"{"open":true,"n":1.5}"#]);
        let expected =
            [("b_v", "/b/v", Kind::Integer), ("n", "/n", Kind::Number), ("open", "/open", Kind::Boolean)];
        assert_eq!(found, expected.map(|(n, p, k)| (n.to_owned(), p.to_owned(), k)));
        assert_eq!(parts(&["21.5"]), [("whole".into(), String::new(), Kind::Number)]);
        assert_eq!(of(&["on"]).expect("a text").format, Format::Text);
    }

    #[test]
    fn what_one_sample_contradicts_is_not_claimed() {
        assert_eq!(parts(&[r#"{"a":1}"#, r#"{"a":"1"}"#]), []);
        assert_eq!(shape([&[0xff_u8][..]], "whole"), None);
        assert_eq!(
            of(&[r#"{"a":1,"a":2}"#]).expect("a text").format,
            Format::Text,
            "two members of one name"
        );
    }

    #[test]
    fn a_time_is_recognised_only_when_all_samples_tell_one() {
        for (payloads, expected) in [
            (&[r#"{"at":1764022698123}"#][..], Some(TimeFormat::EpochMillis)),
            (&[r#"{"at":1764022698}"#], Some(TimeFormat::EpochSeconds)),
            (&[r#"{"at":"2025-11-24T22:18:18Z"}"#], Some(TimeFormat::Rfc3339)),
            (&[r#"{"at":1764022698123}"#, r#"{"at":12}"#], None),
            (&[r#"{"at":"noon"}"#], None),
        ] {
            let time = of(payloads).expect("texts").time.map(|time| time.format);
            assert_eq!(time, expected, "{payloads:?}");
        }
    }

    #[test]
    fn two_pointers_never_share_a_name() {
        let found = parts(&[r#"{"a b":1,"a.b":2}"#]);
        assert_eq!(found.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(), ["a_b", "a_b_2"]);
    }

    proptest::proptest! {
        #[test]
        fn no_payloads_make_it_panic(payloads: Vec<Vec<u8>>, texts in proptest::collection::vec("[{}\":a0,~/]{0,20}", 0..4)) {
            let all = payloads.iter().map(Vec::as_slice).chain(texts.iter().map(String::as_bytes));
            let _ = shape(all, "");
        }
    }
}
