//! Listing and searching, page by page.

use super::Record;
use crate::discovery::Place;

/// The longest page.
pub const MAX_PAGE: usize = 100;

/// What to look for. An absent part matches everything; what is there must match all at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// A semantic type (`@type`) of the thing or of one of its affordances, in full.
    pub semantic_type: Option<String>,
    /// A part of a title or description, in any language and case.
    pub text: Option<String>,
    /// The full name of a property, action or event.
    pub affordance: Option<String>,
    /// The platform owner.
    pub owner: Option<String>,
}

/// One page of records.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<'d> {
    /// In the order of their ids.
    pub items: Vec<&'d Record>,
    /// How many match in all.
    pub total: usize,
    /// Where this page starts.
    pub offset: usize,
    /// How many it could hold.
    pub limit: usize,
}

impl Page<'_> {
    /// Where it stands.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { offset: self.offset, limit: self.limit, count: self.items.len(), total: self.total }
    }
}

pub(super) fn page<'d>(
    records: impl Iterator<Item = &'d Record>,
    query: &Query,
    offset: usize,
    limit: usize,
) -> Page<'d> {
    let limit = limit.clamp(1, MAX_PAGE);
    let text = query.text.as_ref().map(|text| text.to_lowercase());
    let mut page = Page { items: Vec::new(), total: 0, offset, limit };
    for record in records.filter(|record| matches(record, query, text.as_deref())) {
        if page.total >= offset && page.items.len() < limit {
            page.items.push(record);
        }
        page.total += 1;
    }
    page
}

fn matches(record: &Record, query: &Query, text: Option<&str>) -> bool {
    query.owner.as_ref().is_none_or(|owner| record.owner == *owner)
        && query.affordance.as_ref().is_none_or(|name| has_affordance(record, name))
        && query
            .semantic_type
            .as_ref()
            .is_none_or(|name| abouts(record).any(|about| about.types.contains(name)))
        && text.is_none_or(|text| abouts(record).any(|about| says(about, text)))
}

fn has_affordance(record: &Record, name: &str) -> bool {
    let thing = &record.thing;
    thing.properties.contains_key(name) || thing.actions.contains_key(name) || thing.events.contains_key(name)
}

/// What is said of the thing and of each of its affordances.
fn abouts(record: &Record) -> impl Iterator<Item = &crate::thing::About> {
    let thing = &record.thing;
    std::iter::once(&thing.about)
        .chain(thing.properties.values().map(|property| &property.schema.about))
        .chain(thing.actions.values().map(|action| &action.about))
        .chain(thing.events.values().map(|event| &event.about))
}

fn says(about: &crate::thing::About, text: &str) -> bool {
    let alone = about.title.iter().chain(&about.description);
    alone
        .chain(about.titles.values())
        .chain(about.descriptions.values())
        .any(|said| said.to_lowercase().contains(text))
}
