//! The small grammars inside a Thing Description: URIs and their templates, language tags, dates, media types.

use fluent_uri::{Iri, IriRef, Uri};

/// True for a URI of RFC 3986 (absolute, ASCII).
pub(crate) fn is_uri(text: &str) -> bool {
    Uri::parse(text).is_ok()
}

/// True for an IRI of RFC 3987 (absolute).
pub(crate) fn is_iri(text: &str) -> bool {
    Iri::parse(text).is_ok()
}

/// True for an absolute or relative reference (RFC 3987): what TD 1.1 calls `anyURI`.
pub(crate) fn is_reference(text: &str) -> bool {
    IriRef::parse(text).is_ok()
}

/// A `{{NAME}}` of a Thing Model (TD 1.1, section 10.3.3).
pub(crate) fn placeholder(text: &str) -> Option<&str> {
    let start = text.find("{{")?;
    let end = text[start..].find("}}")? + start;
    (end > start + 2).then(|| &text[start..end + 2])
}

/// The variables of a URI template (RFC 6570, all four levels).
///
/// # Errors
/// A phrase that says what is wrong.
pub(crate) fn template_variables(text: &str) -> Result<Vec<&str>, &'static str> {
    let mut variables = Vec::new();
    let (mut as_letter, mut as_digit) = (String::new(), String::new());
    let mut rest = text;
    while let Some(open) = rest.find(['{', '}']) {
        if rest.as_bytes()[open] == b'}' {
            return Err("a '}' without its '{'");
        }
        let literal = &rest[..open];
        let close = rest[open..].find('}').ok_or("a '{' without its '}'")? + open;
        expression(&rest[open + 1..close], &mut variables)?;
        rest = &rest[close + 1..];
        // An expression may stand where only letters (a scheme) or only digits (a port) are allowed.
        as_letter.extend([literal, "x"]);
        as_digit.extend([literal, "1"]);
    }
    as_letter.push_str(rest);
    as_digit.push_str(rest);
    if is_reference(&as_letter) || is_reference(&as_digit) {
        Ok(variables)
    } else {
        Err("it is not a URI reference once its variables are filled in")
    }
}

/// RFC 6570, section 2.2 to 2.4: `[operator] varspec *("," varspec)`.
fn expression<'t>(text: &'t str, variables: &mut Vec<&'t str>) -> Result<(), &'static str> {
    let list = text.strip_prefix(['+', '#', '.', '/', ';', '?', '&']).unwrap_or(text);
    for spec in list.split(',') {
        let name = match spec.split_once(':') {
            Some((name, length)) => {
                let good = (1..=4).contains(&length.len())
                    && !length.starts_with('0')
                    && length.bytes().all(|b| b.is_ascii_digit());
                if !good {
                    return Err("a prefix length that is not 1 to 9999");
                }
                name
            }
            None => spec.strip_suffix('*').unwrap_or(spec),
        };
        if !is_variable(name) {
            return Err("a variable name that is empty or has other than letters, digits, '_', '.' and %XX");
        }
        variables.push(name);
    }
    Ok(())
}

/// RFC 6570, section 2.3: `varname`.
fn is_variable(name: &str) -> bool {
    name.split('.').all(|part| {
        let mut bytes = part.bytes();
        let mut any = false;
        while let Some(b) = bytes.next() {
            any = true;
            let good = match b {
                b'%' => [bytes.next(), bytes.next()].iter().all(|b| b.is_some_and(|b| b.is_ascii_hexdigit())),
                b => b.is_ascii_alphanumeric() || b == b'_',
            };
            if !good {
                return false;
            }
        }
        any
    })
}

/// Grandfathered tags of RFC 5646, section 2.1, that the regular grammar does not cover.
const IRREGULAR: [&str; 26] = [
    "en-GB-oed",
    "i-ami",
    "i-bnn",
    "i-default",
    "i-enochian",
    "i-hak",
    "i-klingon",
    "i-lux",
    "i-mingo",
    "i-navajo",
    "i-pwn",
    "i-tao",
    "i-tay",
    "i-tsu",
    "sgn-BE-FR",
    "sgn-BE-NL",
    "sgn-CH-DE",
    "art-lojban",
    "cel-gaulish",
    "no-bok",
    "no-nyn",
    "zh-guoyu",
    "zh-hakka",
    "zh-min",
    "zh-min-nan",
    "zh-xiang",
];

/// True for a well-formed language tag (BCP 47: RFC 5646, section 2.1). Subtags are not looked up.
pub(crate) fn is_language_tag(tag: &str) -> bool {
    if IRREGULAR.contains(&tag) {
        return true;
    }
    if !tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return false;
    }
    let subtags: Vec<&str> = tag.split('-').collect();
    let mut at = 0;
    if !private_use(&subtags, &mut at) {
        if !language(&subtags, &mut at) {
            return false;
        }
        take(&subtags, &mut at, |s| s.len() == 4 && alphabetic(s)); // script
        take(&subtags, &mut at, |s| (s.len() == 2 && alphabetic(s)) || (s.len() == 3 && numeric(s))); // region
        let variant = |s: &str| {
            (5..=8).contains(&s.len()) || (s.len() == 4 && s.starts_with(|c: char| c.is_ascii_digit()))
        };
        while take(&subtags, &mut at, variant) {}
        while subtags.get(at).is_some_and(|s| s.len() == 1 && !s.eq_ignore_ascii_case("x")) {
            at += 1;
            if !take(&subtags, &mut at, |s| (2..=8).contains(&s.len())) {
                return false;
            }
            while take(&subtags, &mut at, |s| (2..=8).contains(&s.len())) {}
        }
        private_use(&subtags, &mut at);
    }
    at == subtags.len()
}

fn alphabetic(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphabetic())
}

fn numeric(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

fn take(subtags: &[&str], at: &mut usize, fits: impl Fn(&str) -> bool) -> bool {
    let taken = subtags.get(*at).is_some_and(|s| fits(s));
    *at += usize::from(taken);
    taken
}

/// `language`: two or three letters with up to three extended subtags of three letters, or four to eight letters.
fn language(subtags: &[&str], at: &mut usize) -> bool {
    if take(subtags, at, |s| (2..=3).contains(&s.len()) && alphabetic(s)) {
        for _ in 0..3 {
            take(subtags, at, |s| s.len() == 3 && alphabetic(s));
        }
        return true;
    }
    take(subtags, at, |s| (4..=8).contains(&s.len()) && alphabetic(s))
}

/// `x` and at least one subtag of one to eight; the schema's pattern wants the `x` in lower case.
fn private_use(subtags: &[&str], at: &mut usize) -> bool {
    if subtags.get(*at) != Some(&"x") || subtags.len() == *at + 1 {
        return false;
    }
    let good = subtags[*at + 1..].iter().all(|s| (1..=8).contains(&s.len()));
    if good {
        *at = subtags.len();
    }
    good
}

/// The instant that an RFC 3339 date-time names, in milliseconds since 1970; `None` when it is not one. A second 60 is
/// refused: POSIX time has none.
pub(crate) fn date_time(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let fits = |pattern: &[u8], part: &[u8]| {
        pattern.len() == part.len()
            && pattern.iter().zip(part).all(|(p, b)| if *p == b'd' { b.is_ascii_digit() } else { p == b })
    };
    if !fits(shape, bytes.get(..shape.len())?) || &text[17..19] > "59" {
        return None;
    }
    let mut zone = &text[shape.len()..];
    if let Some(fraction) = zone.strip_prefix('.') {
        let end = fraction.find(|c: char| !c.is_ascii_digit())?;
        if !(1..=9).contains(&end) {
            return None;
        }
        zone = &fraction[end..];
    }
    let offset = zone.strip_prefix(['+', '-']).is_some_and(|offset| {
        fits(b"dd:dd", offset.as_bytes()) && &offset[..2] <= "23" && &offset[3..] <= "59"
    });
    if zone != "Z" && !offset {
        return None;
    }
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

/// True for `type/subtype` with parameters (RFC 6838, section 4.2; RFC 9110, section 8.3.1).
pub(crate) fn is_media_type(text: &str) -> bool {
    let mut parts = split_parameters(text).into_iter();
    let essence = parts.next().unwrap_or_default().trim();
    let named = essence.split_once('/').is_some_and(|(kind, sub)| is_token(kind) && is_token(sub));
    named
        && parts.all(|parameter| {
            parameter.trim().split_once('=').is_some_and(|(name, value)| {
                let quoted = value.len() >= 2 && value.starts_with('"') && value.ends_with('"');
                is_token(name) && (is_token(value) || quoted)
            })
        })
}

/// At each `;` that does not stand in quotes.
fn split_parameters(text: &str) -> Vec<&str> {
    let mut quoted = false;
    text.split(|c| {
        quoted ^= c == '"';
        c == ';' && !quoted
    })
    .collect()
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn language_tags() {
        for tag in [
            "en",
            "de-DE",
            "zh-Hant",
            "zh-cmn-Hans-CN",
            "sl-rozaj-biske",
            "de-CH-1901",
            "az-Latn",
            "x-a",
            "en-US-u-islamcal",
            "en-a-bbb-x-a",
            "i-klingon",
            "es-419",
            "abcd",
            "en-x-a-b",
        ] {
            assert!(is_language_tag(tag), "{tag}");
        }
        for tag in [
            "",
            "e",
            "en_US",
            "en-",
            "-en",
            "en--us",
            "abcdefghi",
            "en-u",
            "x",
            "en-x",
            "deutsch!",
            "1-de",
            "en-GB-US",
            "@language",
        ] {
            assert!(!is_language_tag(tag), "{tag}");
        }
    }

    #[test]
    fn date_times() {
        for (text, millis) in [
            ("1970-01-01T00:00:01Z", Some(1000)),
            ("2018-11-14T19:10:23.824+00:00", Some(1_542_222_623_824)),
            ("2018-11-14T19:10:23.824-01:00", Some(1_542_226_223_824)),
            ("1969-12-31T23:59:59Z", Some(-1000)),
            ("2018-11-14T19:10:23", None),
            ("2018-11-14 19:10:23Z", None),
            ("2018-02-30T19:10:23Z", None),
            ("2018-02-20T24:00:00Z", None),
            ("2018-02-20T23:59:60Z", None),
            ("2018-02-20T23:59:59.Z", None),
            ("2018-02-20T23:59:59+1:00", None),
            ("2018-02-20T23:59:59é", None),
            ("20180220T235959Z", None),
        ] {
            assert_eq!(date_time(text), millis, "{text}");
        }
    }

    #[test]
    fn templates() {
        for (text, expected) in [
            ("coap://h/{p}/{d}/toggle/{?a,b}", Ok(vec!["p", "d", "a", "b"])),
            ("/things{?offset,limit}", Ok(vec!["offset", "limit"])),
            ("http://h:{port}/x{+path:3}{&list*}", Ok(vec!["port", "path", "list"])),
            ("{scheme}://h/", Ok(vec!["scheme"])),
            ("plain", Ok(vec![])),
            ("a}b", Err("a '}' without its '{'")),
            ("a{b", Err("a '{' without its '}'")),
            ("a b{c}", Err("it is not a URI reference once its variables are filled in")),
            ("{a:0}", Err("a prefix length that is not 1 to 9999")),
        ] {
            assert_eq!(template_variables(text), expected, "{text}");
        }
        for text in ["{}", "{a,}", "{a b}", "{?}", "{a.}", "{%4}", "{{a}}", "{=a}"] {
            assert!(template_variables(text).is_err(), "{text}");
        }
    }

    #[test]
    fn media_types() {
        for text in
            ["application/json", "text/plain; charset=UTF-8", "a/b;c=\"d;e\"", "application/vnd.x+cbor"]
        {
            assert!(is_media_type(text), "{text}");
        }
        for text in ["", "json", "a/", "/b", "a/b;", "a/b; c", "a b/c", "a/b;c=\"", "a/b/c"] {
            assert!(!is_media_type(text), "{text}");
        }
    }

    #[test]
    fn placeholders() {
        assert_eq!(placeholder("http://{{HOST}}/x"), Some("{{HOST}}"));
        for text in ["{x}", "{{", "}}{{", "{{}}"] {
            assert_eq!(placeholder(text), None, "{text}");
        }
    }
}
