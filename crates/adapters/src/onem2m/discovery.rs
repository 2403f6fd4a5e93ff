//! What stands on a CSE (TS-0004, clause 7.3.3.17: discovery), and what each container holds now. Only reads.

use std::collections::BTreeMap;

use super::{
    codec::{self, CodecError, Content, MAX_ADDRESSES, Resource, Type},
    endpoint::Endpoint,
};
use crate::port::{AdapterError, cut};

/// How many things of a CSE are described.
const MAX_THINGS: usize = 256;
/// How many containers are read.
const MAX_SOURCES: usize = 512;

/// A thing in the making: an application entity, or a container that belongs to none.
pub(super) struct Told {
    /// Its path.
    pub(super) path: String,
    /// What the CSE says of the application entity.
    pub(super) entity: Option<Resource>,
    /// What has content.
    pub(super) sources: Vec<Source>,
    /// What has none, and why: by its path.
    pub(super) lacking: Vec<(String, String)>,
}

/// A container or flexContainer with what it holds.
pub(super) struct Source {
    /// The path that is read: a container's `la`, or the flexContainer.
    pub(super) path: String,
    /// Its name below the thing.
    pub(super) name: String,
    /// What it is, in words.
    pub(super) words: String,
    /// Its attributes are typed by an information model.
    pub(super) modelled: bool,
    pub(super) content: Content,
}

impl Endpoint {
    /// All that this originator may discover.
    pub(super) async fn tell(&self) -> Result<Vec<Told>, AdapterError> {
        let entities = self.discover(Type::Ae).await?;
        let mut things: BTreeMap<String, Told> = BTreeMap::new();
        for path in entities.iter().take(MAX_THINGS) {
            things.insert(path.clone(), Told::new(path));
        }
        let containers = self.discover(Type::Container).await?.into_iter().map(|path| (path, false));
        let flexible = self.discover(Type::FlexContainer).await?.into_iter().map(|path| (path, true));
        let mut found: Vec<(String, bool)> = containers.chain(flexible).collect();
        found.sort();
        if entities.len() > MAX_THINGS || found.len() > MAX_SOURCES {
            tracing::warn!(platform = %self.platform.url, "a CSE has more than {MAX_THINGS} entities or {MAX_SOURCES} containers; the rest is left out");
            found.truncate(MAX_SOURCES);
        }
        for (path, flexible) in found {
            let owner = owner(&path, &things).unwrap_or_else(|| path.clone());
            if things.len() >= MAX_THINGS && !things.contains_key(&owner) {
                continue;
            }
            let name = path[owner.len()..].trim_start_matches('/');
            let name = if name.is_empty() { last(&path) } else { name }.to_owned();
            let sourced = self.source(&path, name, flexible).await?;
            let thing = things.entry(owner.clone()).or_insert_with(|| Told::new(&owner));
            match sourced {
                Ok(source) => thing.sources.push(source),
                Err(why) => thing.lacking.push((path, why)),
            }
        }
        for thing in things.values_mut().filter(|thing| entities.contains(&thing.path)) {
            thing.entity = match self.retrieve(&thing.path).await? {
                Ok(bytes) => codec::resource(&bytes).ok(),
                Err(_) => None,
            };
        }
        Ok(things.into_values().collect())
    }

    async fn discover(&self, of: Type) -> Result<Vec<String>, AdapterError> {
        let query = format!("{}?fu=1&drt=1&ty={}&lim={MAX_ADDRESSES}", self.base, of.number());
        let bytes = match self.retrieve(&query).await? {
            Ok(bytes) => bytes,
            Err(why) => {
                let next = "give the address of the CSE's base, http://host:port/name, and an originator that may discover";
                return Err(self.platform.permanent(format!("{} answers: {why}", self.base), next));
            }
        };
        let next = "give the address of a oneM2M CSE's base: http://host:port/name";
        let (found, left_out) =
            codec::addresses(&bytes).map_err(|error| self.nonsense(&self.base, &error, next))?;
        if left_out > 0 {
            tracing::warn!(platform = %self.platform.url, left_out, "addresses that are none, or too many, are left out");
        }
        Ok(found)
    }

    /// What a container holds; the inner `Err` says why nothing can be said of it.
    async fn source(
        &self,
        path: &str,
        name: String,
        flexible: bool,
    ) -> Result<Result<Source, String>, AdapterError> {
        let read = if flexible { path.to_owned() } else { format!("{path}/la") };
        let bytes = match self.retrieve(&read).await? {
            Ok(bytes) => bytes,
            Err(_) if !flexible => return Ok(Err("it holds no content instance yet".into())),
            Err(why) => return Ok(Err(why)),
        };
        let described = || -> Result<Source, CodecError> {
            let resource = codec::resource(&bytes)?;
            let words = match resource.text("cnd") {
                Some(model) => format!("flexContainer {path} of {model}"),
                None => format!("container {path}, 1 content instance"),
            };
            Ok(Source { path: read.clone(), name, words, modelled: flexible, content: resource.content()? })
        };
        Ok(described().map_err(|error| {
            self.malformed();
            cut(&error.to_string())
        }))
    }
}

impl Told {
    fn new(path: &str) -> Self {
        Self { path: path.into(), entity: None, sources: Vec::new(), lacking: Vec::new() }
    }
}

/// The nearest thing above `path`.
fn owner(path: &str, things: &BTreeMap<String, Told>) -> Option<String> {
    let mut above = path;
    while let Some((parent, _)) = above.rsplit_once('/') {
        if things.contains_key(parent) {
            return Some(parent.to_owned());
        }
        above = parent;
    }
    None
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
