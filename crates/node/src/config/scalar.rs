//! Single values: from TOML to a checked type, or to the sentence that says what was expected.

use std::{fmt, net::SocketAddr, ops::RangeInclusive, str::FromStr};

use serde::{Deserialize, Serialize};
use sofie_model::{Finality, Span};
use toml::de::DeValue;
use url::Url;

/// What a value was read as, or the sentence that follows "section key: ".
pub(super) type Read<T> = Result<T, String>;

/// The name of a node or a party.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The rule, for people.
    pub const RULE: &str = "1 to 32 of a-z, 0-9 and '-', a letter first";

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let first = text.starts_with(|c: char| c.is_ascii_lowercase());
        if first && text.len() <= 32 && text.bytes().all(letters) {
            Ok(Self(text))
        } else {
            Err(format!("{:?} is not a name: {}", shortened(&text), Self::RULE))
        }
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.to_owned().try_into()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The URL of an Ethereum node. It may hold a secret (a user's password, a key in the path): what is printed of it is
/// scheme, host and port alone.
#[derive(Clone, PartialEq, Eq)]
pub struct RpcUrl(Url);

impl RpcUrl {
    /// Wraps a URL.
    #[must_use]
    pub const fn new(url: Url) -> Self {
        Self(url)
    }

    /// The whole URL, to connect to.
    #[must_use]
    pub const fn reveal(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for RpcUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or_default())?;
        self.0.port().map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Debug for RpcUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text, not empty.
pub(super) fn text(value: &DeValue<'_>) -> Read<String> {
    match value.as_str() {
        Some("") => Err("must not be empty".to_owned()),
        Some(text) => Ok(text.to_owned()),
        None => Err(expected("a text in quotes", value)),
    }
}

/// A text that a type can be parsed from.
pub(super) fn parsed<T: FromStr>(value: &DeValue<'_>) -> Read<T>
where
    T::Err: fmt::Display,
{
    text(value)?.parse().map_err(|error: T::Err| error.to_string())
}

/// `true` or `false`.
pub(super) fn boolean(value: &DeValue<'_>) -> Read<bool> {
    value.as_bool().ok_or_else(|| expected("true or false", value))
}

/// A whole number in a range.
pub(super) fn whole(value: &DeValue<'_>, range: RangeInclusive<u64>) -> Read<u64> {
    let number = integer(value).ok_or_else(|| expected("a whole number", value))?;
    match u64::try_from(number) {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("{number} is not between {} and {}", range.start(), range.end())),
    }
}

/// As [`whole`], for sizes and counts.
pub(super) fn count(value: &DeValue<'_>, range: RangeInclusive<u32>) -> Read<usize> {
    let number = whole(value, u64::from(*range.start())..=u64::from(*range.end()))?;
    usize::try_from(number).map_err(|_| format!("{number} is too large"))
}

/// Money in the smallest unit: a whole number, or digits in quotes where TOML's 64 bits do not suffice.
pub(super) fn amount(value: &DeValue<'_>) -> Read<u128> {
    let digits = match integer(value) {
        Some(number) => number.to_string(),
        None => value.as_str().map(str::to_owned).ok_or_else(|| expected("an amount", value))?,
    };
    digits.parse::<crate::api::Amount>().map(|amount| amount.0).map_err(|error| error.to_string())
}

/// A span: `"250ms"`, `"2s"`, `"5m"`, `"1h"`.
pub(super) fn span(value: &DeValue<'_>, range: RangeInclusive<Span>) -> Read<Span> {
    const FORM: &str = "a span of time such as \"250ms\", \"2s\", \"5m\" or \"1h\"";
    let text = value.as_str().ok_or_else(|| expected(FORM, value))?;
    let span = span_of(text).ok_or_else(|| format!("{:?} is not {FORM}", shortened(text)))?;
    if range.contains(&span) {
        Ok(span)
    } else {
        Err(format!("{span} is not between {} and {}", range.start(), range.end()))
    }
}

/// The span that a text says, as `250ms`, `2s`, `5m` or `1h`.
pub(crate) fn span_of(text: &str) -> Option<Span> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim_start() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(unit).map(Span::from_millis)
}

/// `instant`, `finalized`, `safe` or `depth:N`.
pub(super) fn finality(value: &DeValue<'_>) -> Read<Finality> {
    finality_of(&text(value)?)
}

/// `depth:N` alone, for a chain that has nothing else.
pub(super) fn depth(value: &DeValue<'_>) -> Read<u32> {
    match finality(value)? {
        Finality::Depth(depth) => Ok(depth),
        _ => Err("expected \"depth:N\": nothing else is final on this chain".to_owned()),
    }
}

/// The finality that a text says.
pub(crate) fn finality_of(text: &str) -> Read<Finality> {
    let depth = text.strip_prefix("depth:").and_then(|n| n.parse::<u32>().ok()).filter(|n| *n <= MAX_DEPTH);
    match (text, depth) {
        ("instant", _) => Ok(Finality::Instant),
        ("finalized", _) => Ok(Finality::Tag),
        ("safe", _) => Ok(Finality::Safe),
        (_, Some(depth)) => Ok(Finality::Depth(depth)),
        _ => Err(format!(
            "{:?} is not \"instant\", \"finalized\", \"safe\" or \"depth:N\" with N up to {MAX_DEPTH}",
            shortened(text)
        )),
    }
}

/// More blocks than any ledger waits for.
const MAX_DEPTH: u32 = 100_000;

/// An absolute URL with one of these schemes, and a host.
pub(super) fn url(value: &DeValue<'_>, schemes: &[&str]) -> Read<Url> {
    let text = text(value)?;
    // The text is not repeated: an RPC URL may hold a secret.
    let url: Url = text.parse().map_err(|error| format!("is not a URL: {error}"))?;
    if !schemes.contains(&url.scheme()) {
        return Err(format!("the scheme is {:?}; expected {}", url.scheme(), one_of(schemes)));
    }
    match url.host_str() {
        Some(host) if !host.is_empty() => Ok(url),
        _ => Err("the URL names no host".to_owned()),
    }
}

/// An address and a port.
pub(super) fn listen(value: &DeValue<'_>) -> Read<SocketAddr> {
    let text = text(value)?;
    text.parse().map_err(|_| {
        format!(
            "{:?} is not an address and a port such as \"127.0.0.1:8420\" or \"[::1]:8420\"",
            shortened(&text)
        )
    })
}

/// One of a fixed set of words.
pub(super) fn word<T: Copy>(value: &DeValue<'_>, words: &[(&str, T)]) -> Read<T> {
    let text = text(value)?;
    let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning).ok_or_else(|| {
        let hint = nearest(&text, &known).map_or(String::new(), |word| format!("; did you mean {word:?}?"));
        format!("{:?} is not one of {}{hint}", shortened(&text), known.join(", "))
    })
}

/// A list, each item read by `read`.
pub(super) fn list<T>(
    value: &DeValue<'_>,
    limit: usize,
    mut read: impl FnMut(&DeValue<'_>) -> Read<T>,
) -> Read<Vec<T>> {
    let items = value.as_array().ok_or_else(|| expected("a list in brackets", value))?;
    if items.len() > limit {
        return Err(format!("has {} items; at most {limit} are allowed", items.len()));
    }
    items
        .iter()
        .enumerate()
        .map(|(i, item)| read(item.get_ref()).map_err(|why| format!("item {}: {why}", i + 1)))
        .collect()
}

/// The known word nearest to `word`, if one is near enough to be meant.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(3) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

/// "expected a text in quotes, found an integer".
pub(super) fn expected(what: &str, got: &DeValue<'_>) -> String {
    format!("expected {what}, found {}", kind(got))
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn integer(value: &DeValue<'_>) -> Option<i128> {
    let integer = value.as_integer()?;
    i128::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn one_of(words: &[&str]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" or ")
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}
