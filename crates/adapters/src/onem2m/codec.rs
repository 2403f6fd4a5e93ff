//! oneM2M's JSON (TS-0004, clause 8), pure: discovered addresses, resources, notifications; and the content instance that
//! is written.
//!
//! Values are taken as their text, so that no float comes near a number. Taken are the JSON serialization, short names,
//! and of a resource what an adapter needs. All of it is a stranger's data: each list and text has a bound.

use jiff::civil;
use sofie_model::Timestamp;

use crate::{binding::json, port::cut};

/// The longest representation that is taken, in bytes.
pub const MAX_DOCUMENT: usize = 1024 * 1024;
/// The longest content of one instance, in bytes.
pub const MAX_CONTENT: usize = 64 * 1024;
/// How many addresses of one discovery are taken.
pub const MAX_ADDRESSES: usize = 1024;
/// How many children of one resource are taken.
pub const MAX_CHILDREN: usize = 256;
/// The longest address.
const MAX_ADDRESS: usize = 1024;
/// The longest resource identifier.
const MAX_ID: usize = 256;

/// The response status codes (TS-0004, clause 6.6.3) on which this adapter decides.
pub mod code {
    /// Not found, or no instance yet.
    pub const NOT_FOUND: u16 = 4004;
    /// A resource of that name exists.
    pub const CONFLICT: u16 = 4105;
}

/// Resource types (TS-0004, clause 6.3.4.2.1) that this adapter asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// An application entity.
    Ae,
    /// A container of content instances.
    Container,
    /// A content instance.
    Instance,
    /// A subscription.
    Subscription,
    /// A container with attributes of its own, by a template of an information model (TS-0023).
    FlexContainer,
}

impl Type {
    /// Its number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Ae => 2,
            Self::Container => 3,
            Self::Instance => 4,
            Self::Subscription => 23,
            Self::FlexContainer => 28,
        }
    }
}

/// Why a representation is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Longer than a limit of ours.
    #[error("{what} of {got} bytes, at most {limit} are taken")]
    TooLong {
        /// `a representation` or `a content`.
        what: &'static str,
        /// What came.
        got: usize,
        /// What is taken.
        limit: usize,
    },
    /// Not the JSON that was expected.
    #[error("not {expected}, but {got}")]
    Unexpected {
        /// What was expected.
        expected: &'static str,
        /// What came, cut.
        got: String,
    },
}

/// A resource: what a reader needs of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The name of its type, with its namespace: `m2m:ae`, `cod:tempe`.
    pub kind: String,
    /// Its own attributes, in the order and the words of the sender. Children are among them.
    attributes: Vec<(String, String)>,
}

/// What a container held, or a flexContainer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Names this state of it: the instance's identifier; for a flexContainer with its last change.
    pub id: String,
    /// When the CSE took it, by the CSE's clock.
    pub told: Option<Timestamp>,
    /// The device's own bytes: the text of `con`; for a flexContainer the JSON object of its custom attributes.
    pub payload: Vec<u8>,
}

/// What a CSE sends to a subscriber (TS-0004, clause 7.5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notification {
    /// Asks whether the subscriber is there.
    Verification,
    /// The subscription was deleted.
    Deleted,
    /// A new content.
    Content(Content),
}

/// Attributes that belong to every kind of resource or to the CSE (TS-0004, clauses 9.3 and 7.4.37): none of them is a
/// device's own word.
const COMMON: [&str; 42] = [
    "ri", "rn", "pi", "ty", "ct", "lt", "et", "lbl", "acpi", "daci", "cr", "hld", "loc", "at", "aa", "ast",
    "cnd", "or", "cs", "st", "cbs", "cni", "mni", "mbs", "mia", "cnf", "nl", "ctm", "api", "apn", "aei",
    "rr", "srv", "poa", "csz", "dgt", "conr", "dcnt", "fcied", "mdn", "macp", "subi",
];

/// The addresses that a discovery found, each as a path on the CSE. Those that are none are counted.
///
/// # Errors
/// [`CodecError`].
///
/// ```
/// use sofie_adapters::onem2m::codec::addresses;
///
/// let found = addresses(br#"{"m2m:uril":["cse-in/Sensor","cse-in/Sensor/temp"]}"#)?;
/// assert_eq!(found, (vec!["/cse-in/Sensor".to_owned(), "/cse-in/Sensor/temp".to_owned()], 0));
/// # Ok::<(), sofie_adapters::onem2m::codec::CodecError>(())
/// ```
pub fn addresses(bytes: &[u8]) -> Result<(Vec<String>, usize), CodecError> {
    let text = whole(bytes)?;
    let expected = "a list of addresses (m2m:uril)";
    let list = json::part(text, "/m2m:uril").map_err(|_| unexpected(expected, text))?;
    // A list of nothing may be written as null.
    let list: Option<Vec<String>> = serde_json::from_str(list).map_err(|_| unexpected(expected, text))?;
    let mut left_out = 0;
    let mut found = Vec::new();
    for address in list.unwrap_or_default() {
        match path(&address) {
            Some(path) if found.len() < MAX_ADDRESSES => found.push(path),
            _ => left_out += 1,
        }
    }
    Ok((found, left_out))
}

/// A structured address as the path of an HTTP request (TS-0009, clause 6.2.3). Names are of unreserved characters
/// (TS-0004, clause 6.3.3), so nothing is escaped, and what would need it is refused.
fn path(address: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    let steps = address.trim_start_matches('/');
    let prefix = match address.len() - steps.len() {
        0 => "/",
        1 => "/~/",
        2 => "/_/",
        _ => return None,
    };
    let fits = address.len() <= MAX_ADDRESS
        && steps.split('/').all(|step| !matches!(step, "" | "." | "..") && step.chars().all(plain));
    fits.then(|| format!("{prefix}{steps}"))
}

/// A resource alone.
///
/// # Errors
/// [`CodecError`].
pub fn resource(bytes: &[u8]) -> Result<Resource, CodecError> {
    one(whole(bytes)?)
}

/// The content instances below a container, oldest first, at most [`MAX_CHILDREN`]: an answer to a request for children.
///
/// # Errors
/// [`CodecError`].
pub fn instances(bytes: &[u8]) -> Result<Vec<Content>, CodecError> {
    let parent = resource(bytes)?;
    let Some(children) = parent.attribute("m2m:cin") else { return Ok(Vec::new()) };
    let expected = "a list of content instances (m2m:cin)";
    let texts: Vec<&serde_json::value::RawValue> =
        serde_json::from_str(children).map_err(|_| unexpected(expected, children))?;
    let mut found = Vec::new();
    for text in texts.into_iter().take(MAX_CHILDREN) {
        let attributes = attributes(text.get()).ok_or_else(|| unexpected(expected, text.get()))?;
        found.push(Resource { kind: "m2m:cin".into(), attributes }.content()?);
    }
    found.sort_by_key(|content| content.told);
    Ok(found)
}

/// A notification.
///
/// # Errors
/// [`CodecError`].
pub fn notification(bytes: &[u8]) -> Result<Notification, CodecError> {
    let text = whole(bytes)?;
    let expected = "a notification (m2m:sgn)";
    let notified = one(text).ok().filter(|one| one.kind == "m2m:sgn");
    let notified = notified.ok_or_else(|| unexpected(expected, text))?;
    if notified.attribute("vrq") == Some("true") {
        return Ok(Notification::Verification);
    }
    if notified.attribute("sud") == Some("true") {
        return Ok(Notification::Deleted);
    }
    let event = notified.attribute("nev").ok_or_else(|| unexpected(expected, text))?;
    let representation = json::part(event, "/rep").map_err(|_| unexpected(expected, text))?;
    one(representation)?.content().map(Notification::Content)
}

/// What a CSE says of a failure in words: the text of a `m2m:dbg` (TS-0004, clause 6.4.1), cut.
#[must_use]
pub fn debug(bytes: &[u8]) -> Option<String> {
    let words = json::part(whole(bytes).ok()?, "/m2m:dbg").ok()?;
    json::text(words).ok().map(|words| cut(&words))
}

/// The content instance with this text, as it is written.
#[must_use]
pub fn instance(text: &str) -> Vec<u8> {
    serde_json::json!({"m2m:cin": {"con": text}}).to_string().into_bytes()
}

/// The subscription to what comes to a container (`Instance`) or changes of it, as it is written. `name` is left out where
/// one is changed.
#[must_use]
pub fn subscription(name: Option<&str>, notify: &str, of: Type) -> Vec<u8> {
    // notificationEventType: 3 a child is made, 1 the resource is changed. notificationContentType: 1 all attributes.
    let event = if of == Type::Container { 3 } else { 1 };
    let mut terms = serde_json::json!({"nu": [notify], "enc": {"net": [event]}, "nct": 1});
    if let Some(name) = name {
        terms["rn"] = name.into();
    }
    serde_json::json!({"m2m:sub": terms}).to_string().into_bytes()
}

/// A time of oneM2M (TS-0004, clause 6.3.3, `m2m:timestamp`): basic ISO 8601 in UTC, with or without a fraction.
#[must_use]
pub fn time(written: &str) -> Option<Timestamp> {
    let (whole, fraction) = written.split_once([',', '.']).unwrap_or((written, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (date, clock) = whole.split_once('T')?;
    if !(date.len() == 8 && clock.len() == 6 && digits(date) && digits(clock) && digits(fraction)) {
        return None;
    }
    let at = civil::DateTime::strptime("%Y%m%dT%H%M%S", whole).ok()?;
    let seconds = jiff::tz::Offset::UTC.to_timestamp(at).ok()?.as_second();
    let millis: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    Some(Timestamp::from_millis(u64::try_from(seconds).ok()?.checked_mul(1_000)?.checked_add(millis)?))
}

impl Resource {
    /// The JSON text of an attribute.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// An attribute that is a text, cut to 256 characters.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.attribute(name).and_then(|value| json::text(value).ok()).map(|text| cut(&text))
    }

    /// What it holds.
    ///
    /// # Errors
    /// [`CodecError`]: it is neither a content instance nor a flexContainer, or lacks what names its content.
    pub fn content(&self) -> Result<Content, CodecError> {
        let identifier = self.text("ri").filter(|id| !id.is_empty() && id.len() <= MAX_ID);
        let identifier =
            identifier.ok_or_else(|| unexpected("a resource with an identifier (ri)", &self.kind))?;
        let (payload, id, at) = if self.kind == "m2m:cin" {
            let content = self.attribute("con").ok_or_else(|| unexpected("a content (con)", &self.kind))?;
            let payload = json::text(content).unwrap_or_else(|_| content.to_owned());
            (payload, identifier, "ct")
        } else if self.attribute("cnd").is_some() {
            let changed = self.text("lt").unwrap_or_default();
            (self.customs(), format!("{identifier} {changed}"), "lt")
        } else {
            return Err(unexpected("a content instance or a flexContainer", &self.kind));
        };
        if payload.len() > MAX_CONTENT {
            return Err(CodecError::TooLong { what: "a content", got: payload.len(), limit: MAX_CONTENT });
        }
        let told = self.text(at).and_then(|written| time(&written));
        Ok(Content { id, told, payload: payload.into_bytes() })
    }

    /// The attributes of a flexContainer that its information model gave it, as a JSON object.
    fn customs(&self) -> String {
        let own = |name: &str| !name.contains(':') && !COMMON.contains(&name);
        let members = self.attributes.iter().filter(|(name, _)| own(name));
        let written =
            members.map(|(name, value)| format!("{}:{value}", serde_json::Value::from(name.as_str())));
        format!("{{{}}}", written.collect::<Vec<_>>().join(","))
    }
}

fn whole(bytes: &[u8]) -> Result<&str, CodecError> {
    if bytes.len() > MAX_DOCUMENT {
        return Err(CodecError::TooLong { what: "a representation", got: bytes.len(), limit: MAX_DOCUMENT });
    }
    std::str::from_utf8(bytes).map_err(|_| unexpected("UTF-8", &String::from_utf8_lossy(bytes)))
}

/// An object with one member, which names its type.
fn one(text: &str) -> Result<Resource, CodecError> {
    let expected = "one resource";
    let members = json::members(text).ok_or_else(|| unexpected(expected, text))?;
    let [(kind, inner)] = &members[..] else { return Err(unexpected(expected, text)) };
    let attributes = attributes(inner).ok_or_else(|| unexpected(expected, text))?;
    Ok(Resource { kind: cut(kind), attributes })
}

fn attributes(text: &str) -> Option<Vec<(String, String)>> {
    let members = json::members(text)?;
    Some(members.into_iter().map(|(name, value)| (name, value.trim().to_owned())).collect())
}

fn unexpected(expected: &'static str, got: &str) -> CodecError {
    CodecError::Unexpected { expected, got: cut(got) }
}

#[cfg(test)]
mod tests;
