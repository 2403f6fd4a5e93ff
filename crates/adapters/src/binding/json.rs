//! A part of a JSON text (RFC 8259) by its JSON Pointer (RFC 6901), untouched. Duplicate member names are refused: two
//! readers of the same bytes must not see two values.

use std::{collections::BTreeSet, fmt};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// How deep a pointer may reach.
const MAX_STEPS: usize = 16;
/// How many members or elements one level may have.
const MAX_MEMBERS: usize = 4096;

/// The text of the part that `pointer` names; `Err` says what was expected.
pub(crate) fn part<'a>(text: &'a str, pointer: &str) -> Result<&'a str, String> {
    let mut here: &RawValue = serde_json::from_str(text).map_err(|_| "one JSON value".to_owned())?;
    if pointer.is_empty() {
        return Ok(here.get().trim());
    }
    let steps = pointer.strip_prefix('/').ok_or("a pointer that starts with /")?.split('/');
    for (depth, step) in steps.enumerate() {
        if depth == MAX_STEPS {
            return Err(format!("a pointer of at most {MAX_STEPS} steps"));
        }
        let step = step.replace("~1", "/").replace("~0", "~");
        let missing = || format!("a member {step:?}");
        here = if here.get().starts_with('{') {
            let Members(members) = serde_json::from_str(here.get()).map_err(|e| e.to_string())?;
            members.into_iter().find(|(name, _)| *name == step).ok_or_else(missing)?.1
        } else {
            let elements: Vec<&RawValue> = serde_json::from_str(here.get()).map_err(|_| missing())?;
            let index = index(&step).ok_or_else(missing)?;
            elements.get(index).copied().ok_or_else(missing)?
        };
    }
    Ok(here.get().trim())
}

/// RFC 6901, section 4: digits without a leading zero.
fn index(step: &str) -> Option<usize> {
    let plain = step.bytes().all(|b| b.is_ascii_digit()) && (step == "0" || !step.starts_with('0'));
    if plain { step.parse().ok() } else { None }
}

/// The text that a JSON string means.
pub(crate) fn text(part: &str) -> Result<String, String> {
    serde_json::from_str(part).map_err(|_| "a JSON string".to_owned())
}

/// The members of an object, in order, each name once.
pub(crate) fn members(text: &str) -> Option<Vec<(String, &str)>> {
    let Members(members) = serde_json::from_str(text).ok()?;
    Some(members.into_iter().map(|(name, value)| (name, value.get())).collect())
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut names, mut members) = (BTreeSet::new(), Vec::new());
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    if members.len() == MAX_MEMBERS {
                        return Err(serde::de::Error::custom("an object of fewer members"));
                    }
                    if !names.insert(name.clone()) {
                        return Err(serde::de::Error::custom(format!("one member {name:?}, not two")));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
                Err(serde::de::Error::custom("an object, not an array"))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pointers_of_rfc_6901_section_5() {
        let document =
            r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}"#;
        for (pointer, expected) in [
            ("", document),
            ("/foo", r#"["bar","baz"]"#),
            ("/foo/0", r#""bar""#),
            ("/", "0"),
            ("/a~1b", "1"),
            ("/c%d", "2"),
            ("/e^f", "3"),
            ("/g|h", "4"),
            ("/i\\j", "5"),
            ("/k\"l", "6"),
            ("/ ", "7"),
            ("/m~0n", "8"),
        ] {
            assert_eq!(part(document, pointer), Ok(expected), "{pointer}");
        }
        for pointer in ["foo", "/foo/2", "/foo/00", "/foo/-", "/nothing", "/foo/0/x"] {
            assert!(part(document, pointer).is_err(), "{pointer}");
        }
    }

    #[test]
    fn a_name_that_comes_twice_is_refused() {
        assert!(part(r#"{"open":false,"open":true}"#, "/open").is_err());
        assert!(part(r#"{"open":false,"\u006fpen":true}"#, "/open").is_err());
    }
}
