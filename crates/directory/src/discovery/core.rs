//! `/.well-known/core` of a directory (RFC 6690; WoT Discovery, section 6.4): a link to its own description, and one to
//! each thing's, narrowed by one attribute as RFC 6690, section 4.1, has it, and paged as RFC 9176, section 6.2, names it.

use crate::store::Record;

/// Media type of links.
pub const LINK_FORMAT: &str = "application/link-format";
/// How many links a page has: no more than a small device reads.
pub const MAX_LINKS: usize = 100;
/// The Content-Format of a Thing Description (`application/td+json`).
const TD_FORMAT: &str = "432";

/// What of all links is asked for: those that have `value` as `name`, or as one of its words where it is a list of words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    name: String,
    value: String,
    /// The value may go on.
    open: bool,
}

impl Filter {
    /// Of a query's one pair, decoded: `rt=wot.thing`, `href=/things/urn:*`.
    #[must_use]
    pub fn new(name: &str, value: &str) -> Self {
        let (value, open) = value.strip_suffix('*').map_or((value, false), |start| (start, true));
        Self { name: name.to_owned(), value: value.to_owned(), open }
    }

    fn takes(&self, link: &Link) -> bool {
        let fits = |text: &str| if self.open { text.starts_with(&self.value) } else { text == self.value };
        match self.name.as_str() {
            "href" => fits(&link.href),
            "rt" => fits(link.rt),
            "ct" => fits(TD_FORMAT),
            "title" => link.title.as_deref().is_some_and(fits),
            _ => false,
        }
    }
}

struct Link {
    href: String,
    rt: &'static str,
    title: Option<String>,
}

impl Link {
    fn text(&self) -> String {
        let title = self.title.as_ref().map(|title| {
            let plain: String = title.chars().filter(|c| !c.is_control()).collect();
            format!(";title=\"{}\"", plain.replace('\\', "\\\\").replace('"', "\\\""))
        });
        format!("<{}>;rt=\"{}\";ct={TD_FORMAT}{}", self.href, self.rt, title.unwrap_or_default())
    }
}

/// A page of links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resources {
    /// The document; empty where no link is asked for.
    pub text: String,
    /// Whether another page comes.
    pub more: bool,
}

/// The `page`th page, from 0, of at most `count` links, and never more than [`MAX_LINKS`].
pub fn resources<'r>(
    records: impl Iterator<Item = &'r Record>,
    filter: Option<&Filter>,
    page: usize,
    count: usize,
) -> Resources {
    let count = count.clamp(1, MAX_LINKS);
    let own = Link { href: "/.well-known/wot".into(), rt: "wot.directory", title: None };
    let things = records.map(|record| Link {
        href: format!("/things/{}", path_segment(record.id.as_str())),
        rt: "wot.thing",
        title: record.thing.about.title.clone(),
    });
    let all = std::iter::once(own).chain(things);
    let mut asked = all.filter(|link| filter.is_none_or(|filter| filter.takes(link)));
    let mut asked = asked.by_ref().skip(page.saturating_mul(count));
    let links: Vec<String> = asked.by_ref().take(count).map(|link| link.text()).collect();
    Resources { text: links.join(","), more: asked.next().is_some() }
}

/// A path segment (RFC 3986, section 3.3): what is not unreserved, `:` or `@` is percent-encoded.
#[must_use]
pub fn path_segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
