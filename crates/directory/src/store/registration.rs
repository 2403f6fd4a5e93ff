//! `registration` (WoT Discovery, section 7.3.1): what a registrant asks for, and what the directory says about it.

use serde_json::{Map, Value, json};
use sofie_model::{Span, Timestamp};

use super::Record;
use crate::node::Node;
use crate::problem::{Code, Errors, Report};
use crate::syntax;

/// The longest `ttl`: a hundred years.
const MAX_TTL: u64 = 100 * 366 * 24 * 3600;

/// How long a registration holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Lifetime {
    pub(super) ttl: Option<Span>,
    pub(super) expires: Option<Timestamp>,
}

/// Reads `ttl` (seconds from now) and `expires`; `ttl` wins. `created`, `modified` and `retrieved` are the directory's
/// own words and are passed over.
pub(super) fn read(asked: Option<&Value>, now: Timestamp) -> Result<Lifetime, Errors> {
    let Some(asked) = asked else { return Ok(Lifetime::default()) };
    let report = Report::default();
    let document = json!({ "registration": asked });
    let lifetime = {
        let root = Node::root(&document, &report);
        root.get("registration").map(|node| read_lifetime(&node, now)).unwrap_or_default()
    };
    report.finish()?;
    Ok(lifetime)
}

fn read_lifetime(node: &Node<'_>, now: Timestamp) -> Lifetime {
    if node.object().is_none() {
        return Lifetime::default();
    }
    let ttl = node.number_of("ttl").and_then(|seconds| {
        #[expect(clippy::cast_precision_loss, reason = "a hundred years of seconds are below 2^53")]
        if !(0.0..=MAX_TTL as f64).contains(&seconds) {
            node.fail_at("ttl", Code::Registration, "a ttl is 0 seconds to 100 years: correct it");
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the range was checked above"
        )]
        Some(Span::from_millis((seconds * 1000.0) as u64))
    });
    let is_date = |text: &str| syntax::date_time(text).is_some();
    let what = "a date and time with its zone (RFC 3339)";
    let until = node.checked("expires", Code::Registration, what, is_date);
    let until = until.as_deref().and_then(syntax::date_time).map(|millis| u64::try_from(millis).unwrap_or(0));
    if ttl.is_none() && until.is_some_and(|until| until <= now.as_millis()) {
        node.fail_at("expires", Code::Registration, "this time is over: give a later one, or leave it out");
    }
    Lifetime { ttl, expires: ttl.map(|ttl| now + ttl).or(until.map(Timestamp::from_millis)) }
}

/// What the registrant of `record` asked for, so that a patch can change it.
pub(super) fn asked(record: &Record) -> Value {
    let mut asked = Map::new();
    match (record.ttl, record.expires) {
        (Some(ttl), _) => drop(asked.insert("ttl".into(), seconds(ttl))),
        (None, Some(expires)) => drop(asked.insert("expires".into(), date(expires).into())),
        (None, None) => {}
    }
    Value::Object(asked)
}

/// `registration` as the directory serves it.
pub(crate) fn served(record: &Record, now: Timestamp) -> Value {
    let mut served = json!({
        "created": date(record.created), "modified": date(record.modified), "retrieved": date(now)
    });
    if let Some(expires) = record.expires {
        served["expires"] = date(expires).into();
    }
    if let Some(ttl) = record.ttl {
        served["ttl"] = seconds(ttl);
    }
    served
}

fn seconds(span: Span) -> Value {
    if span.is_whole_seconds() { span.as_seconds().into() } else { (span.as_millis() as f64 / 1000.0).into() }
}

/// RFC 3339 in UTC with milliseconds. Past the year 9999 it stays there.
pub(crate) fn date(at: Timestamp) -> String {
    let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    let instant = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    format!("{instant:.3}")
}
