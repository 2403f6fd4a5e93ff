//! Versions of sofie.toml: what an older one calls otherwise is read all the same, and told with the line and its new name.
//!
//! The text is changed where it stands, so that comments and order stay; what `sofie up` reads of an older file is what
//! `sofie migrate` writes.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::{fault::Fault, scalar};

/// The version that this program writes. A file that says none has the first.
pub const VERSION: u64 = 2;

/// A key of every table of a list that has another name since a version.
struct Renamed {
    since: u64,
    list: &'static str,
    from: &'static str,
    to: &'static str,
}

/// All of them, the oldest first.
const RENAMED: [Renamed; 1] = [
    // It names a party, as [[member]] party does; key is a key elsewhere.
    Renamed { since: 2, list: "webhook", from: "key", to: "party" },
];

/// A configuration's text, and what of it is of an older version.
#[derive(Debug)]
pub(crate) struct Versioned<'t> {
    text: &'t str,
    /// The version that it says.
    pub(crate) version: u64,
    /// Where that stands.
    stated: Option<Range<usize>>,
    renames: Vec<(Range<usize>, &'static str)>,
    /// What is called otherwise now.
    pub(crate) outdated: Vec<Fault>,
}

impl<'t> Versioned<'t> {
    /// Looks at a text; one that is no TOML has nothing to be changed.
    ///
    /// # Errors
    /// A version that is newer than [`VERSION`], or none at all.
    pub(crate) fn of(text: &'t str) -> Result<Self, Fault> {
        let mut found = Self { text, version: 1, stated: None, renames: Vec::new(), outdated: Vec::new() };
        let (root, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            return Ok(found);
        }
        if let Some(stated) = root.get_ref().get("version") {
            let at = |what: String| Fault::at(text, stated.span().start, format!("version: {what}"));
            found.version = scalar::whole(stated.get_ref(), 1..=u64::MAX).map_err(at)?;
            found.stated = Some(stated.span());
            if found.version > VERSION {
                return Err(at(newer(found.version)));
            }
        }
        let older = |renamed: &&Renamed| renamed.since > found.version;
        for renamed in RENAMED.iter().filter(older).collect::<Vec<_>>() {
            found.rename(root.get_ref(), renamed);
        }
        Ok(found)
    }

    fn rename(&mut self, root: &DeTable<'_>, renamed: &Renamed) {
        let tables = root.get(renamed.list).and_then(|list| list.get_ref().as_array());
        for table in tables.into_iter().flatten().filter_map(|item| DeValue::as_table(item.get_ref())) {
            let Some((key, _)) = table.get_key_value(renamed.from) else { continue };
            if table.contains_key(renamed.to) {
                continue; // Both: the older one is refused as unknown.
            }
            let Renamed { since, list, from, to } = renamed;
            let what = format!(
                "[[{list}]] {from}: is called {to} since version {since}; `sofie migrate` renames it"
            );
            self.outdated.push(Fault::at(self.text, key.span().start, what));
            self.renames.push((key.span(), to));
        }
    }

    /// The text in this program's version, without saying so: lines are as before.
    pub(crate) fn modern(&self) -> String {
        self.edited(&[])
    }

    /// The text in this program's version.
    pub(crate) fn written(&self) -> String {
        match &self.stated {
            Some(place) => self.edited(&[(place.clone(), &VERSION.to_string())]),
            None => format!("version = {VERSION}\n{}", self.modern()),
        }
    }

    fn edited(&self, more: &[(Range<usize>, &str)]) -> String {
        let mut edits: Vec<(Range<usize>, &str)> = more.to_vec();
        edits.extend(self.renames.iter().cloned());
        edits.sort_by_key(|(place, _)| std::cmp::Reverse(place.start));
        let mut text = self.text.to_owned();
        edits.into_iter().for_each(|(place, word)| text.replace_range(place, word));
        text
    }
}

fn newer(version: u64) -> String {
    format!(
        "{version} is newer than {VERSION}, the newest that this program reads; start the program that this file was \
         written for"
    )
}
