//! The one text of a JSON value: JSON Canonicalization Scheme (RFC 8785), and the digest of a Thing Description.
//!
//! Numbers are IEEE 754 doubles, as section 3.2.2.3 says: two integers past 2^53 that are the same double have the same
//! text here, as they are the same number to most readers of JSON.

use std::{cmp::Ordering, fmt::Write as _};

use serde_json::{Number, Value};
use sofie_model::Digest;

/// The context that a directory adds to what it serves (W3C WoT Discovery, section 7.3.1).
pub const DISCOVERY_CONTEXT: &str = "https://www.w3.org/2022/wot/discovery";
/// The domain of [`hash`].
pub const HASH_DOMAIN: &str = "sofie.thing-description.v1";

/// The canonical text of `value`.
///
/// ```
/// use sofie_directory::canonical::text;
/// let value = serde_json::json!({"b": 1e3, "a": "\u{20ac}"});
/// assert_eq!(text(&value), r#"{"a":"€","b":1000}"#);
/// ```
#[must_use]
pub fn text(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

/// The digest of a Thing Description that ledgers anchor: [`Digest::of`] with [`HASH_DOMAIN`] over the canonical text
/// of the document without what a directory adds to it, so that whoever fetches the enriched document from any
/// directory finds the same digest: the top-level `registration` is left out, and so is [`DISCOVERY_CONTEXT`] in
/// `@context`; a list of one context counts as that context.
#[must_use]
pub fn hash(thing: &Value) -> Digest {
    Digest::of(HASH_DOMAIN, &[text(&bare(thing)).as_bytes()])
}

/// The document without what a directory adds.
fn bare(thing: &Value) -> Value {
    let mut bare = thing.clone();
    if let Value::Object(members) = &mut bare {
        members.remove("registration");
        if let Some(Value::Array(contexts)) = members.get_mut("@context") {
            contexts.retain(|context| context != DISCOVERY_CONTEXT);
            if contexts.len() == 1 {
                let only = contexts.remove(0);
                members.insert("@context".into(), only);
            }
        }
    }
    bare
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => write_number(number, out),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            // Section 3.2.3: sorted by UTF-16 code units.
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by(|(a, _), (b, _)| by_utf16(a, b));
            out.push('{');
            for (index, (name, member)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(name, out);
                out.push(':');
                write(member, out);
            }
            out.push('}');
        }
    }
}

fn by_utf16(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

/// Section 3.2.2.2.
fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => {
                write!(out, "\\u{:04x}", u32::from(c)).expect("writing to a String does not fail");
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Section 3.2.2.3: `Number::toString` of ECMA-262. The digits are the shortest that read back as the same double.
fn write_number(number: &Number, out: &mut String) {
    let value = number.as_f64().unwrap_or(0.0); // as_f64 is None only under a feature that this workspace does not use
    if value == 0.0 {
        return out.push('0');
    }
    if value < 0.0 {
        out.push('-');
    }
    // serde_json writes the shortest digits, and of two as near the even one, as ECMA-262 wants; `{:e}` takes the upper.
    let shortest = Number::from_f64(value.abs()).map(|number| number.to_string()).unwrap_or_default();
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent: i32 = exponent.parse().expect("a double's exponent is a small integer");
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0');
    let leading = all.len() - digits.len();
    let point = exponent + places(whole.len()) - places(leading);
    out.push_str(&layout(digits.trim_end_matches('0'), point));
}

fn places(count: usize) -> i32 {
    i32::try_from(count).expect("a double is written in fewer than 400 digits")
}

/// ECMA-262, Number::toString, steps 5 to 10: `digits` with the point after `point` of them.
fn layout(digits: &str, point: i32) -> String {
    let count = places(digits.len());
    let zeroes = |n: i32| "0".repeat(usize::try_from(n).unwrap_or(0));
    if count <= point && point <= 21 {
        return format!("{digits}{}", zeroes(point - count));
    }
    if 0 < point && point <= 21 {
        let (whole, fraction) = digits.split_at(usize::try_from(point).expect("positive"));
        return format!("{whole}.{fraction}");
    }
    if -6 < point && point <= 0 {
        return format!("0.{}{digits}", zeroes(-point));
    }
    let sign = if point > 0 { '+' } else { '-' };
    let exponent = (point - 1).abs();
    match digits.split_at(1) {
        (first, "") => format!("{first}e{sign}{exponent}"),
        (first, rest) => format!("{first}.{rest}e{sign}{exponent}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// RFC 8785, appendix B: IEEE 754 bits and the text they become.
    #[test]
    fn numbers_of_rfc_8785_appendix_b() {
        for (bits, expected) in [
            (0x0000_0000_0000_0000_u64, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0x41b3_de43_5555_5554, "333333333.33333325"),
            (0x41b3_de43_5555_5555, "333333333.3333333"),
            (0x41b3_de43_5555_5556, "333333333.3333334"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ] {
            assert_eq!(text(&json!(f64::from_bits(bits))), expected, "{bits:016x}");
        }
    }

    /// RFC 8785, section 3.2.2.
    #[test]
    fn the_example_of_rfc_8785_section_3_2_2() {
        let input = r#"{
            "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]
        }"#;
        let value: Value = serde_json::from_str(input).expect("the RFC's text is JSON");
        let expected = concat!(
            r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"#,
            r#""string":"€$\u000f\nA'B\"\\\\\"/"}"#
        );
        assert_eq!(text(&value), expected);
    }

    /// RFC 8785, section 3.2.3: the order of names.
    #[test]
    fn names_are_sorted_by_utf_16_code_units() {
        let value = json!({
            "\u{20ac}": "Euro Sign", "\r": "Carriage Return", "\u{fb33}": "Hebrew Letter Dalet With Dagesh",
            "1": "One", "\u{1f600}": "Emoji: Grinning Face", "\u{80}": "Control",
            "\u{f6}": "Latin Small Letter O With Diaeresis"
        });
        let text = text(&value);
        let order = ["Carriage", "One", "Control", "Latin", "Euro", "Emoji", "Hebrew"];
        let places: Vec<_> = order.iter().map(|word| text.find(word).expect("present")).collect();
        assert!(places.is_sorted(), "{text}");
    }

    #[test]
    fn the_digest_forgets_what_a_directory_adds_and_nothing_else() {
        let plain = json!({"@context": "https://www.w3.org/2022/wot/td/v1.1", "title": "t"});
        let enriched = json!({
            "title": "t", "registration": {"created": "2024-01-01T00:00:00.000Z"},
            "@context": ["https://www.w3.org/2022/wot/td/v1.1", DISCOVERY_CONTEXT]
        });
        assert_eq!(hash(&plain), hash(&enriched));
        assert_ne!(
            hash(&plain),
            hash(&json!({"@context": "https://www.w3.org/2022/wot/td/v1.1", "title": "T"}))
        );
    }
}
