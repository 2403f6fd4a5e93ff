//! What a servient tells of itself (W3C WoT Discovery): a Thing Description or a list at the address that the owner gave,
//! else at the well-known one. Only reads, and only on the owner's own platform.

use std::{collections::BTreeMap, sync::PoisonError};

use serde_json::{Map, Value};
use sofie_model::ThingId;
use url::Url;

use super::{
    codec::{self, Document, Entry, LeftOut, MAX_DOCUMENT, Target},
    describe::Told,
    endpoint::{Endpoint, PATIENCE},
    forms::laid_over,
};
use crate::{
    port::{AdapterError, cut},
    tally::one_more,
};

/// W3C WoT Discovery, section 6.1.1.
const WELL_KNOWN: &str = "/.well-known/wot";
const TD_TYPES: &str = "application/td+json, application/json";
/// How many things of a servient are described.
const MAX_DESCRIBED: usize = 64;
/// How many affordances a refusal names.
const MAX_NAMED: usize = 4;

/// Where a source tells of its changes.
#[derive(Clone)]
pub(super) enum Changes {
    /// It is asked for the next one at this path (`longpoll`).
    Next(String),
    /// A stream of server-sent events at this path (`sse`).
    Stream(String),
}

/// What the descriptions say and a binding does not hold.
#[derive(Clone, Default)]
pub(super) struct Learned {
    /// How a source tells of its changes.
    pub(super) polls: BTreeMap<String, Changes>,
    /// The scheme whose credentials are missing, by thing and affordance.
    pub(super) locked: BTreeMap<(ThingId, String), String>,
}

impl Endpoint {
    pub(super) fn learned(&self) -> Option<Learned> {
        self.learned.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All that the servient tells of itself, each description read and planned.
    pub(super) async fn tell(&self) -> Result<Vec<Told>, AdapterError> {
        let start = self.platform.url.path();
        let starts = if start == "/" { vec![start, WELL_KNOWN] } else { vec![start] };
        let (mut told, mut refusal, mut listed) = (Vec::new(), None, false);
        for path in starts {
            match self.document(path).await {
                Ok(document) => {
                    listed = true;
                    self.follow(path, document, &mut told).await?;
                }
                Err(error @ AdapterError::Transient { .. }) => return Err(error),
                Err(error) => refusal = refusal.or(Some(error)),
            }
            if !told.is_empty() {
                break;
            }
        }
        if let Some(refusal) = refusal.filter(|_| !listed) {
            return Err(refusal);
        }
        self.learn(&told);
        Ok(told)
    }

    async fn document(&self, path: &str) -> Result<Document, AdapterError> {
        let document = self.get(path, TD_TYPES, MAX_DOCUMENT, PATIENCE).await?;
        codec::read(&document).map_err(|error| {
            one_more(&self.tally.malformed);
            let next = "give the address of a Thing Description, or of a servient that lists its own";
            self.platform.permanent(format!("{} is {error}", cut(path)), next)
        })
    }

    /// Plans what stands in a list, and reads what it points to on this platform.
    async fn follow(&self, path: &str, document: Document, told: &mut Vec<Told>) -> Result<(), AdapterError> {
        let entries = match document {
            Document::Thing(td) => {
                told.extend(self.plan(path.into(), path, &td));
                return Ok(());
            }
            Document::List(entries) => entries,
        };
        for entry in entries {
            if told.len() == MAX_DESCRIBED {
                tracing::warn!(platform = %self.platform.url, "a servient has more than {MAX_DESCRIBED} things; the rest is left out");
                return Ok(());
            }
            let found = match entry {
                Entry::Thing(td) => {
                    let name = td.get("id").or_else(|| td.get("title")).and_then(Value::as_str);
                    self.plan(format!("{path}#{}", cut(name.unwrap_or_default())), path, &td)
                }
                Entry::At(address) => match self.at(path, &address) {
                    Ok(own) if told.iter().all(|known| known.path != own) => self.one(&own).await?,
                    Ok(_) => None,
                    Err(reason) => {
                        tracing::warn!(platform = %self.platform.url, address = cut(&address), reason, "a listed thing is left out");
                        None
                    }
                },
            };
            told.extend(found.filter(|found| told.iter().all(|known| known.path != found.path)));
        }
        Ok(())
    }

    /// The path of a listed address, if it is on this platform.
    fn at(&self, path: &str, address: &str) -> Result<String, String> {
        let list = self.url(path)?;
        let address = list.join(address).map_err(|e| e.to_string())?;
        laid_over(&list, &address).map(|(path, _)| path)
    }

    /// The thing that is described at a path; `None`, with a warning, where there is none.
    async fn one(&self, path: &str) -> Result<Option<Told>, AdapterError> {
        match self.document(path).await {
            Ok(Document::Thing(td)) => return Ok(self.plan(path.into(), path, &td)),
            Ok(Document::List(_)) => tracing::warn!(path, "a listed thing is a list, and left out"),
            Err(error @ AdapterError::Transient { .. }) => return Err(error),
            Err(error) => tracing::warn!(%error, "a listed thing is left out"),
        }
        Ok(None)
    }

    fn plan(&self, name: String, path: &str, td: &Map<String, Value>) -> Option<Told> {
        let plan = codec::plan(td, &self.url(path).ok()?);
        for one in &plan.left_out {
            tracing::info!(platform = %self.platform.url, thing = plan.title, ?one, "an affordance cannot be used");
        }
        Some(Told { path: name, plan })
    }

    fn url(&self, path: &str) -> Result<Url, String> {
        Url::parse(&format!("{}{path}", self.authority)).map_err(|e| e.to_string())
    }

    /// Those of which something can be used.
    ///
    /// # Errors
    /// [`AdapterError::Permanent`] that names what is left out, where nothing can be used of any.
    pub(super) fn usable<'a>(&self, told: &'a [Told]) -> Result<Vec<&'a Told>, AdapterError> {
        let useful = |one: &&Told| !one.plan.properties.is_empty() || !one.plan.actions.is_empty();
        let usable: Vec<&Told> = told.iter().filter(useful).collect();
        let left_out: Vec<&LeftOut> = told.iter().flat_map(|one| &one.plan.left_out).collect();
        if !usable.is_empty() || left_out.is_empty() {
            return Ok(usable);
        }
        let first = left_out
            .iter()
            .take(MAX_NAMED)
            .map(|LeftOut { kind, name, reason }| format!("{kind} {}: {reason}", cut(name)));
        let more = left_out.len().saturating_sub(MAX_NAMED);
        let more = (more > 0).then(|| format!("and {more} more"));
        let named: Vec<String> = first.chain(more).collect();
        let reason = format!("nothing that it describes can be used: {}", named.join("; "));
        Err(self.platform.permanent(reason, "have its owner describe it otherwise, or join another thing"))
    }

    fn learn(&self, told: &[Told]) {
        let mut learned = Learned::default();
        for one in told {
            let polls = one.plan.properties.iter().filter(|property| property.read.needs.is_none());
            let polls =
                polls.filter_map(|property| Some((property.read.path.clone(), property.poll.as_ref()?)));
            let changes = |poll: &Target| match poll.sse {
                true => Changes::Stream(poll.path.clone()),
                false => Changes::Next(poll.path.clone()),
            };
            let open = polls.filter(|(_, poll)| poll.needs.is_none());
            learned.polls.extend(open.map(|(at, poll)| (at, changes(poll))));
            let locked = one.locked(&self.authority).into_iter();
            learned.locked.extend(locked.map(|locked| ((locked.thing, locked.name), locked.scheme)));
        }
        *self.learned.write().unwrap_or_else(PoisonError::into_inner) = Some(learned);
    }
}
