//! Links and the version of a thing (TD 1.1, sections 5.3.1.6 and 5.3.4.1).

use serde_json::{Map, Value};

use crate::node::Node;
use crate::problem::{Code, quote};
use crate::syntax;

/// A link to another resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Where it leads.
    pub href: String,
    /// Media type of what is there, a hint.
    pub media_type: Option<String>,
    /// Relation.
    pub rel: Option<String>,
    /// Whose relation, if not the thing's.
    pub anchor: Option<String>,
    /// Sizes of an icon.
    pub sizes: Option<String>,
    /// Languages of what is there.
    pub hreflang: Vec<String>,
    /// Terms of other vocabularies.
    pub extensions: Map<String, Value>,
}

/// Versions of the instance and of its model.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// This Thing Description's.
    pub instance: String,
    /// The underlying Thing Model's.
    pub model: Option<String>,
    /// Firmware and the like, by other vocabularies.
    pub extensions: Map<String, Value>,
}

impl Version {
    pub(super) fn read(thing: &Node<'_>) -> Option<Self> {
        let node = thing.get("version")?;
        node.object()?;
        let instance = node.require("instance").and_then(|instance| instance.filled());
        let model = node.get("model").and_then(|model| model.filled());
        Some(Self { instance: instance?, model, extensions: node.extensions(&["instance", "model"]) })
    }
}

/// `links`, with the one rule that spans them: at most one leads to the thing's model.
pub(super) fn read_all(thing: &Node<'_>) -> Vec<Link> {
    let Some(node) = thing.get("links") else { return Vec::new() };
    let types = std::cell::Cell::new(0);
    node.items(|item| {
        let link = Link::read(&item);
        if item.get("rel").is_some_and(|rel| rel.value == "type") {
            types.set(types.get() + 1);
            if types.get() == 2 {
                item.fail_at(
                    "rel",
                    Code::RelType,
                    "a second link with rel \"type\": a thing has one model, keep one",
                );
            }
        }
        link
    })
}

impl Link {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.object()?;
        let href = node.require("href").and_then(|_| node.reference_of("href"));
        let rel = node.get("rel").and_then(|rel| rel.filled());
        if rel.as_deref() == Some("tm:extends") {
            node.fail_at(
                "rel",
                Code::ThingModel,
                "\"tm:extends\" belongs to Thing Models: use \"type\" or leave it out",
            );
        }
        Some(Self {
            media_type: node.checked(
                "type",
                Code::MediaType,
                "a media type, such as text/html",
                syntax::is_media_type,
            ),
            anchor: node.reference_of("anchor"),
            sizes: Self::read_sizes(node, rel.as_deref()),
            hreflang: node
                .get("hreflang")
                .map(|tags| tags.one_or_many(|tag| language(&tag)))
                .unwrap_or_default(),
            extensions: node.extensions(&["href", "type", "rel", "anchor", "sizes", "hreflang"]),
            href: href?,
            rel,
        })
    }

    fn read_sizes(node: &Node<'_>, rel: Option<&str>) -> Option<String> {
        let member = node.get("sizes")?;
        if rel != Some("icon") {
            member.fail(Code::Link, "\"sizes\" is for links with rel \"icon\" only: leave it out");
            return None;
        }
        member.checked_text(Code::Link, "a list of sizes, such as 16x16", |text| {
            !text.is_empty() && text.split(' ').all(is_size)
        })
    }
}

fn is_size(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    text.split_once('x').is_some_and(|(width, height)| digits(width) && digits(height))
}

fn language(tag: &Node<'_>) -> Option<String> {
    let text = tag.text()?;
    if !syntax::is_language_tag(&text) {
        tag.fail(
            Code::LanguageTag,
            format!("{} is not a language tag (BCP 47), such as \"en\"", quote(&text)),
        );
    }
    Some(text)
}
