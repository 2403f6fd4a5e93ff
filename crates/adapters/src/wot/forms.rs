//! Choosing a form (W3C TD 1.1, section 5.3.4.2): by operation, protocol, media type and security; and laying its address
//! onto the owner's own platform.
//!
//! Only the authority that the owner named is ever asked. An address elsewhere is taken for another name of it only where
//! its port is the same, or its path lies below that of the description: a servient on a loopback or behind an address
//! translation writes the addresses of its other interfaces. All that is taken of it is path and query.

use serde_json::{Map, Value};
use url::Url;

use crate::{
    binding::{ActionMethod, Format},
    port::cut,
};

/// How many forms of one affordance are looked at.
const MAX_FORMS: usize = 64;
/// The longest address.
const MAX_HREF: usize = 2048;

/// What a form is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Read,
    Write,
    /// Observe by a stream of server-sent events.
    Stream,
    /// Observe by long poll.
    Observe,
    Invoke,
}

impl Operation {
    /// The word of TD 1.1, section 5.3.4.2.
    const fn word(self) -> &'static str {
        match self {
            Self::Read => "readproperty",
            Self::Write => "writeproperty",
            Self::Stream | Self::Observe => "observeproperty",
            Self::Invoke => "invokeaction",
        }
    }

    /// Whether a form that names no operation is for this one (section 5.4).
    const fn is_default(self) -> bool {
        matches!(self, Self::Read | Self::Write | Self::Invoke)
    }
}

/// Where on the owner's platform something is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Path and query: it starts with `/`.
    pub path: String,
    /// The address that the description gives, where that is another host's.
    pub told: Option<String>,
    /// How payloads are written.
    pub format: Format,
    /// How an action or a write is asked for.
    pub method: Option<ActionMethod>,
    /// It answers with a stream of server-sent events.
    pub sse: bool,
    /// The form's own security, where it differs from the thing's.
    pub security: Option<Vec<String>>,
    /// The credentials that are missing: the scheme's name.
    pub needs: Option<String>,
}

/// What a description says of all its forms.
pub(super) struct Servient<'a> {
    td: &'a Map<String, Value>,
    at: &'a Url,
    base: Result<Url, String>,
}

impl<'a> Servient<'a> {
    pub(super) fn new(td: &'a Map<String, Value>, at: &'a Url) -> Self {
        let base = match td.get("base") {
            None => Ok(at.clone()),
            Some(Value::String(base)) if base.len() <= MAX_HREF && !base.contains('{') => {
                at.join(base).map_err(|e| format!("the description's base is no address: {e}"))
            }
            Some(_) => Err("the description's base is no address without variables".into()),
        };
        Self { td, at, base }
    }

    /// The definitions that are objects, and the names of those that hold; none where the description names none, or one
    /// that it does not define.
    pub(super) fn security(&self) -> Option<(Map<String, Value>, Vec<String>)> {
        let mut definitions = self.definitions()?.clone();
        definitions.retain(|_, definition| definition.get("scheme").is_some_and(Value::is_string));
        let names = words(self.td.get("security")?)?;
        let known = !names.is_empty() && names.iter().all(|name| definitions.contains_key(name));
        known.then_some((definitions, names))
    }

    fn definitions(&self) -> Option<&Map<String, Value>> {
        self.td.get("securityDefinitions").and_then(Value::as_object)
    }

    /// The first form of `affordance` that this adapter speaks; else the first reason why one is not spoken.
    pub(super) fn choose(
        &self,
        affordance: &Map<String, Value>,
        operation: Operation,
    ) -> Result<Target, String> {
        let forms = affordance.get("forms").and_then(Value::as_array).into_iter().flatten();
        let mut reason = None;
        for form in forms.take(MAX_FORMS).filter_map(Value::as_object) {
            match self.target(form, operation) {
                Some(Ok(target)) => return Ok(target),
                Some(Err(why)) => reason = reason.or(Some(why)),
                None => {}
            }
        }
        Err(reason.unwrap_or_else(|| format!("no form is for {}", operation.word())))
    }

    /// Whether a form of `affordance` is for this operation, be it spoken or not.
    pub(super) fn offers(&self, affordance: &Map<String, Value>, operation: Operation) -> bool {
        let forms = affordance.get("forms").and_then(Value::as_array).into_iter().flatten();
        forms.take(MAX_FORMS).filter_map(Value::as_object).any(|form| is_for(form, operation))
    }

    /// `None` for a form that is for something else.
    fn target(&self, form: &Map<String, Value>, operation: Operation) -> Option<Result<Target, String>> {
        is_for(form, operation).then(|| self.spoken(form, operation))
    }

    fn spoken(&self, form: &Map<String, Value>, operation: Operation) -> Result<Target, String> {
        let text = |term: &str| form.get(term).and_then(Value::as_str);
        match (operation, text("subprotocol")) {
            (Operation::Stream, Some("sse"))
            | (Operation::Observe, Some("longpoll"))
            | (Operation::Read | Operation::Write | Operation::Invoke, None) => {}
            (_, other) => return Err(format!("its subprotocol is {}", cut(other.unwrap_or("none")))),
        }
        let method = match (operation, text("htv:methodName")) {
            (Operation::Invoke, None) | (Operation::Invoke | Operation::Write, Some("POST")) => {
                Some(ActionMethod::Post)
            }
            (Operation::Write, None) | (Operation::Invoke | Operation::Write, Some("PUT")) => {
                Some(ActionMethod::Put)
            }
            (Operation::Read | Operation::Stream | Operation::Observe, None | Some("GET")) => None,
            (_, other) => return Err(format!("its method is {}", cut(other.unwrap_or_default()))),
        };
        if let Some(coding) = text("contentCoding") {
            return Err(format!("its content is coded as {}", cut(coding)));
        }
        // Some write there what the events hold, others what the stream is.
        let streams = operation == Operation::Stream && text("contentType") == Some("text/event-stream");
        let media_type = text("contentType").filter(|_| !streams);
        let format = format(media_type.unwrap_or("application/json"))?;
        let (path, told) = self.place(text("href").ok_or("a form has no address")?)?;
        let security = form.get("security").and_then(words);
        let needs = self.needs(security.as_deref())?;
        let sse = operation == Operation::Stream;
        Ok(Target { path, told, format, method, sse, security, needs })
    }

    /// Path and query of an address on the owner's platform, and the address itself where it names another host.
    fn place(&self, href: &str) -> Result<(String, Option<String>), String> {
        if href.len() > MAX_HREF {
            return Err(format!("its address is longer than {MAX_HREF} bytes"));
        }
        if href.contains('{') {
            return Err("its address has variables (uriVariables), whose values nobody has said".into());
        }
        let base = self.base.as_ref().map_err(Clone::clone)?;
        let told = base.join(href).map_err(|e| format!("its address is none: {e}"))?;
        laid_over(self.at, &told)
    }

    /// The first of these schemes, or of the thing's, that needs credentials.
    fn needs(&self, form: Option<&[String]>) -> Result<Option<String>, String> {
        let all = self.td.get("security").and_then(words);
        let names = form.or(all.as_deref()).unwrap_or_default();
        for name in names {
            let definition = self.definitions().and_then(|all| all.get(name));
            let scheme = definition.and_then(|one| one.get("scheme")).and_then(Value::as_str);
            let scheme = scheme.ok_or_else(|| format!("its security {:?} is not defined", cut(name)))?;
            if !matches!(scheme, "nosec" | "auto") {
                return Ok(Some(cut(scheme)));
            }
        }
        Ok(None)
    }
}

fn is_for(form: &Map<String, Value>, operation: Operation) -> bool {
    match form.get("op") {
        None => operation.is_default(),
        Some(op) => words(op).is_some_and(|ops| ops.iter().any(|word| word == operation.word())),
    }
}

/// Path and query of `told` on the platform of `at`, if `told` is a name of that platform.
pub(super) fn laid_over(at: &Url, told: &Url) -> Result<(String, Option<String>), String> {
    match told.scheme() {
        "http" => {}
        "https" => return Err("its address is https, and this adapter has no TLS yet".into()),
        other => return Err(format!("its address is one of {}, this adapter speaks http", cut(other))),
    }
    let same_port = told.port_or_known_default() == at.port_or_known_default();
    let own = told.host() == at.host() && same_port;
    if !own && !same_port && !lies_below(told.path(), at.path()) {
        let host = told.host_str().unwrap_or_default();
        return Err(format!(
            "its address is on {}, which is not the platform that the owner named",
            cut(host)
        ));
    }
    let query = told.query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = format!("{}{query}", told.path());
    // Without a user's name and password.
    let elsewhere = || {
        let port = told.port_or_known_default().unwrap_or_default();
        cut(&format!("http://{}:{port}{path}", told.host_str().unwrap_or_default()))
    };
    let told = (!own).then(elsewhere);
    Ok((path, told))
}

fn lies_below(path: &str, of: &str) -> bool {
    let of = of.trim_end_matches('/');
    !of.is_empty() && path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// RFC 6838: the type and its structured suffix; parameters say nothing here.
fn format(media_type: &str) -> Result<Format, String> {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "text/plain" => Ok(Format::Text),
        "application/json" => Ok(Format::Json),
        json if json.starts_with("application/") && json.ends_with("+json") => Ok(Format::Json),
        other => Err(format!("it is written as {}", cut(other))),
    }
}

/// One word or a list of them.
fn words(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(word) => Some(vec![word.clone()]),
        Value::Array(words) => words.iter().map(|word| word.as_str().map(Into::into)).collect(),
        _ => None,
    }
}
