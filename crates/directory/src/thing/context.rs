//! `@context` and `@type` (TD 1.1, section 5.3.1.1).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::node::{Node, kind};
use crate::problem::{Code, quote};
use crate::syntax;

/// The context of TD 1.1.
pub const TD_1_1: &str = "https://www.w3.org/2022/wot/td/v1.1";
/// The context of TD 1.0, which may stand before, so that older consumers read on, or alone.
pub const TD_1_0: &str = "https://www.w3.org/2019/wot/td/v1";

/// One entry of `@context`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Context {
    /// A vocabulary.
    Uri(String),
    /// Prefixes, `@language` and the like.
    Terms(BTreeMap<String, String>),
}

pub(super) fn read(thing: &Node<'_>) -> Vec<Context> {
    let Some(node) = thing.require("@context") else { return Vec::new() };
    let contexts = node.one_or_many(|entry| match entry.value {
        Value::String(_) => entry
            .checked_text(Code::Uri, "a URI reference (RFC 3986)", syntax::is_reference)
            .map(Context::Uri),
        Value::Object(_) => Some(Context::Terms(terms(&entry))),
        other => {
            entry.fail(
                Code::WrongType,
                format!("{} stands where a URI or an object of prefixes belongs", kind(other)),
            );
            None
        }
    });
    check_order(&node);
    contexts
}

fn terms(node: &Node<'_>) -> BTreeMap<String, String> {
    let mut terms = BTreeMap::new();
    for name in node.value.as_object().into_iter().flat_map(|members| members.keys()) {
        if let Some(text) = node.text_of(name) {
            if name == "@language" && !syntax::is_language_tag(&text) {
                let message = format!("{} is not a language tag (BCP 47), such as \"en\"", quote(&text));
                node.fail_at(name, Code::LanguageTag, message);
            }
            terms.insert(name.clone(), text);
        }
    }
    terms
}

/// TD 1.1 first; or TD 1.0 first, and then TD 1.1, if it is there, second.
fn check_order(node: &Node<'_>) {
    let alone = std::slice::from_ref(node.value);
    let entries = node.value.as_array().map_or(alone, Vec::as_slice);
    let place = |uri| entries.iter().position(|entry| entry == uri);
    let message = match (place(TD_1_1), place(TD_1_0)) {
        (Some(0), None) | (Some(1), Some(0)) | (None, Some(0)) => return,
        (None, None) => format!("no context of a Thing Description: put {TD_1_1:?} first"),
        (Some(_), Some(_)) => format!("with both contexts, {TD_1_0:?} stands first and {TD_1_1:?} second"),
        (Some(_), None) | (None, Some(_)) => "the context of the Thing Description stands first".to_owned(),
    };
    node.fail(Code::Context, message);
}

/// `@type`: one or many names, none of them that of a Thing Model.
pub(super) fn types(node: &Node<'_>) -> Vec<String> {
    let Some(member) = node.get("@type") else { return Vec::new() };
    member.one_or_many(|item| {
        let name = item.text()?;
        if name == "tm:ThingModel" {
            let message = "this is a Thing Model: derive a Thing Description from it and register that";
            item.fail(Code::ThingModel, message);
        }
        Some(name)
    })
}
