//! HTTP Message Signatures (RFC 9421) with Ed25519 (section 3.3.6): what is signed, written and read. Pure: no I/O, no
//! clock, no keys of its own. What a node demands of a signature is the business of [`super::envelope`].
//!
//! Structured fields (RFC 9651) are parsed by `sfv`, and only their one canonical form is taken: a field that is written
//! otherwise, a second signature, an unknown parameter or a component twice is refused. Of the derived components
//! (section 2.2) there are `@method`, `@authority`, `@path` and `@status`; of the components' parameters (section 2.1)
//! `req` and `key`. Left out: other algorithms, `@query` and `@target-uri` (a node's paths have no query, and a proxy
//! may change the scheme), `sf`, `bs`, `tr` and `name`, fields that come more than once, and negotiation by
//! `Accept-Signature`.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sfv::{BareItem, Dictionary, FieldType, InnerList, Item, Key, ListEntry, Parser};

/// The longest `Signature-Input` or `Signature` field, in bytes.
pub const MAX_FIELD: usize = 2_048;
/// The most components that a signature may cover.
pub const MAX_COMPONENTS: usize = 16;

/// Why a signature says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The field is not there, or there more than once.
    #[error("the message has no {field} field, or more than one")]
    Field {
        /// Its name, in lower case.
        field: String,
    },
    /// The field breaks a rule.
    #[error("{field}: {why}")]
    Malformed {
        /// Its name, in lower case.
        field: &'static str,
        /// What was expected.
        why: String,
    },
    /// A covered component cannot be had of this message.
    #[error("the component {component} is not one that is signed here: {why}")]
    Component {
        /// As it is written in `Signature-Input`.
        component: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The key did not make this signature over this message.
    #[error("the signature is not of this key and this message")]
    Wrong,
}

/// Field names in lower case, and their values.
pub type Fields<'a> = &'a [(&'a str, &'a str)];

/// What of a request can be signed.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// Its method.
    pub method: &'a str,
    /// Host and port in lower case, without the scheme's default port (section 2.2.3).
    pub authority: &'a str,
    /// The absolute path (section 2.2.6).
    pub path: &'a str,
    /// Its fields.
    pub fields: Fields<'a>,
}

/// A message that is signed.
#[derive(Debug, Clone, Copy)]
pub enum Message<'a> {
    /// A request.
    Request(Head<'a>),
    /// A response.
    Response {
        /// Its status.
        status: u16,
        /// Its fields.
        fields: Fields<'a>,
        /// What it answers; components with `req` are taken from there (section 2.4).
        to: Head<'a>,
    },
}

/// The parameters of a signature (section 2.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params {
    /// When it was made, in seconds since 1970.
    pub created: Option<i64>,
    /// From when on it says nothing any more.
    pub expires: Option<i64>,
    /// Makes two otherwise equal signatures two.
    pub nonce: Option<String>,
    /// The algorithm's registered name.
    pub alg: Option<String>,
    /// Names the key.
    pub keyid: Option<String>,
    /// What the signature is for.
    pub tag: Option<String>,
}

/// A signature as it was sent; whether it is right is not known before [`Sent::verify`].
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    list: InnerList,
    params: Params,
    signature: Signature,
}

const INPUT: &str = "signature-input";
const SIGNATURE: &str = "signature";

/// Signs `message`: the values of the fields `Signature-Input` and `Signature`, with one signature called `label`.
/// `components` are written as in `Signature-Input`: `"@method"`, `"content-digest"`, `"@path";req`.
///
/// # Errors
/// [`Fault`] for a component that this message does not have.
pub fn sign(
    message: &Message<'_>,
    label: &str,
    components: &[&str],
    params: &Params,
    key: &SigningKey,
) -> Result<(String, String), Fault> {
    let items = components.iter().map(|text| component(text)).collect::<Result<_, _>>()?;
    let list = InnerList::with_params(items, written(params)?);
    let signature = key.sign(base(message, &list)?.as_bytes());
    let input = dictionary(label, ListEntry::InnerList(list), INPUT)?;
    let bytes = Item::new(BareItem::ByteSequence(signature.to_bytes().to_vec()));
    Ok((input, dictionary(label, ListEntry::Item(bytes), SIGNATURE)?))
}

impl Sent {
    /// Reads the one signature of `message`, which must be called `label`.
    ///
    /// # Errors
    /// [`Fault`] names the field and what it breaks.
    pub fn read(message: &Message<'_>, label: &str) -> Result<Self, Fault> {
        let fields = match message {
            Message::Request(head) => head.fields,
            Message::Response { fields, .. } => fields,
        };
        let ListEntry::InnerList(list) = only_member(fields, INPUT, label)? else {
            return Err(malformed(INPUT, "not a list of components"));
        };
        let ListEntry::Item(item) = only_member(fields, SIGNATURE, label)? else {
            return Err(malformed(SIGNATURE, "not a byte sequence"));
        };
        let bytes = item.bare_item.as_byte_sequence().filter(|_| item.params.is_empty());
        let signature = bytes.and_then(|bytes| Signature::from_slice(bytes).ok());
        let signature = signature.ok_or_else(|| malformed(SIGNATURE, "not the 64 bytes of Ed25519"))?;
        if list.items.len() > MAX_COMPONENTS {
            return Err(malformed(INPUT, "too many components"));
        }
        Ok(Self { params: read_params(&list)?, list, signature })
    }

    /// Its parameters.
    #[must_use]
    pub const fn params(&self) -> &Params {
        &self.params
    }

    /// What it covers, each written as in `Signature-Input`.
    #[must_use]
    pub fn components(&self) -> Vec<String> {
        self.list.items.iter().map(FieldType::serialize).collect()
    }

    /// Whether `key` made it over `message`.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn verify(&self, message: &Message<'_>, key: &VerifyingKey) -> Result<(), Fault> {
        let base = base(message, &self.list)?;
        // Strict: no key of small order, which would sign everything.
        key.verify_strict(base.as_bytes(), &self.signature).map_err(|_| Fault::Wrong)
    }
}

/// The signature base (section 2.5).
fn base(message: &Message<'_>, list: &InnerList) -> Result<String, Fault> {
    let mut base = String::new();
    for (index, item) in list.items.iter().enumerate() {
        if list.items[..index].contains(item) {
            return Err(no_component(item, "it is covered twice"));
        }
        let value = message.value(item)?;
        base.push_str(&format!("{}: {value}\n", item.serialize()));
    }
    let params = vec![ListEntry::InnerList(list.clone())].serialize();
    let params = params.ok_or_else(|| malformed(INPUT, "an empty list"))?;
    base.push_str(&format!("\"@signature-params\": {params}"));
    Ok(base)
}

impl<'a> Message<'a> {
    /// The value of one component (section 2.1 and 2.2).
    fn value(&self, item: &Item) -> Result<String, Fault> {
        let name = item.bare_item.as_string().map(|name| name.as_str());
        let name = name.ok_or_else(|| no_component(item, "its name is not a string"))?;
        let of_request = flag(item)?;
        let head = match self {
            Self::Request(head) if !of_request => Some(head),
            Self::Response { to, .. } if of_request => Some(to),
            Self::Request(_) => return Err(no_component(item, "a request answers no request")),
            Self::Response { .. } => None,
        };
        let derived = match (name, head, self) {
            ("@method", Some(head), _) => head.method,
            ("@authority", Some(head), _) => head.authority,
            ("@path", Some(head), _) => head.path,
            ("@status", None, Self::Response { status, .. }) => return Ok(status.to_string()),
            (name, ..) if name.starts_with('@') => {
                return Err(no_component(item, "this message has none of that name"));
            }
            _ => return field(item, self.fields(head), name),
        };
        if item.params.contains_key("key") {
            return Err(no_component(item, "it is not a dictionary"));
        }
        Ok(derived.to_owned())
    }

    fn fields(&self, head: Option<&Head<'a>>) -> Fields<'a> {
        match (head, self) {
            (Some(head), _) | (None, Self::Request(head)) => head.fields,
            (None, Self::Response { fields, .. }) => fields,
        }
    }
}

/// Whether the component is the request's (`req`); no parameter is there that is not known.
fn flag(item: &Item) -> Result<bool, Fault> {
    let known = item.params.iter().all(|(name, value)| match name.as_str() {
        "req" => value.as_boolean() == Some(true),
        "key" => value.as_string().is_some(),
        _ => false,
    });
    if !known {
        return Err(no_component(item, "its parameters are not known"));
    }
    Ok(item.params.contains_key("req"))
}

/// A field, or with `key` the member of a dictionary field (section 2.1.2).
fn field(item: &Item, fields: Fields<'_>, name: &str) -> Result<String, Fault> {
    let value = only(fields, name)?;
    let Some(key) = item.params.get("key").and_then(|key| key.as_string()) else {
        return Ok(value.trim().to_owned());
    };
    let absent = || no_component(item, "the field has no such member");
    let members: Dictionary = Parser::new(value).parse().map_err(|_| absent())?;
    match members.get(key.as_str()) {
        Some(ListEntry::Item(member)) => Ok(member.serialize()),
        Some(ListEntry::InnerList(_)) | None => Err(absent()),
    }
}

/// The value of a field that comes once.
pub(super) fn only<'a>(fields: Fields<'a>, name: &str) -> Result<&'a str, Fault> {
    let mut values = fields.iter().filter(|(field, _)| *field == name);
    match (values.next(), values.next()) {
        (Some((_, value)), None) => Ok(value),
        _ => Err(Fault::Field { field: name.to_owned() }),
    }
}

/// The only member of a dictionary field in its canonical form.
fn only_member(fields: Fields<'_>, name: &'static str, label: &str) -> Result<ListEntry, Fault> {
    let text = only(fields, name)?;
    if text.len() > MAX_FIELD {
        return Err(malformed(name, &format!("{} bytes; at most {MAX_FIELD} are read", text.len())));
    }
    let members: Dictionary = Parser::new(text).parse().map_err(|why| malformed(name, &why.to_string()))?;
    if members.serialize().as_deref() != Some(text) {
        return Err(malformed(name, "not in its canonical form (RFC 9651, section 4.1)"));
    }
    let mut members = members.into_iter();
    match (members.next(), members.next()) {
        (Some((found, member)), None) if found.as_str() == label => Ok(member),
        _ => Err(malformed(name, &format!("expected one signature, called {label}"))),
    }
}

fn component(text: &str) -> Result<Item, Fault> {
    Parser::new(text).parse().map_err(|_| Fault::Component { component: text.into(), why: "not an item" })
}

fn dictionary(label: &str, entry: ListEntry, field: &'static str) -> Result<String, Fault> {
    let label = Key::from_string(label.to_owned()).map_err(|_| malformed(field, "not a label"))?;
    let written = Dictionary::from_iter([(label, entry)]).serialize();
    written.ok_or_else(|| malformed(field, "nothing to write"))
}

/// The parameters in the order in which they are written here.
fn written(params: &Params) -> Result<sfv::Parameters, Fault> {
    let integer = |value: i64| {
        let integer = sfv::Integer::try_from(value);
        integer.map(BareItem::Integer).map_err(|_| malformed(INPUT, "a time past the year 9999"))
    };
    let string = |value: &str| {
        let string = sfv::String::from_string(value.to_owned());
        string.map(BareItem::String).map_err(|_| malformed(INPUT, "a parameter that is not ASCII"))
    };
    let times = [("created", params.created), ("expires", params.expires)];
    let texts =
        [("nonce", &params.nonce), ("alg", &params.alg), ("keyid", &params.keyid), ("tag", &params.tag)];
    let times = times.into_iter().filter_map(|(name, value)| Some((name, integer(value?))));
    let texts = texts.into_iter().filter_map(|(name, value)| Some((name, string(value.as_ref()?))));
    let key = |name: &str| Key::from_string(name.to_owned()).expect("the names above are keys");
    times.chain(texts).map(|(name, value)| Ok((key(name), value?))).collect()
}

fn read_params(list: &InnerList) -> Result<Params, Fault> {
    let mut params = Params::default();
    for (name, value) in &list.params {
        let integer = || value.as_integer().map(i64::from);
        let string = || value.as_string().map(|text| text.as_str().to_owned());
        let taken = match name.as_str() {
            "created" => integer().map(|value| params.created = Some(value)),
            "expires" => integer().map(|value| params.expires = Some(value)),
            "nonce" => string().map(|value| params.nonce = Some(value)),
            "alg" => string().map(|value| params.alg = Some(value)),
            "keyid" => string().map(|value| params.keyid = Some(value)),
            "tag" => string().map(|value| params.tag = Some(value)),
            _ => None,
        };
        taken.ok_or_else(|| {
            malformed(INPUT, &format!("the parameter {name} is not known, or not of its type"))
        })?;
    }
    Ok(params)
}

fn malformed(field: &'static str, why: &str) -> Fault {
    Fault::Malformed { field, why: why.to_owned() }
}

fn no_component(item: &Item, why: &'static str) -> Fault {
    Fault::Component { component: item.serialize(), why }
}

#[cfg(test)]
mod tests;
