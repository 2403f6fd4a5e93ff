//! One TOML table while it is read: which keys were asked for, and what was wrong.

use std::{cell::RefCell, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    MAX_ENTRIES,
    fault::Fault,
    scalar::{Read, expected, nearest},
};

/// All faults of one file, gathered while its sections are read.
pub(super) struct Faults<'s> {
    source: &'s str,
    found: RefCell<Vec<Fault>>,
}

impl<'s> Faults<'s> {
    pub(super) fn new(source: &'s str) -> Self {
        Self { source, found: RefCell::default() }
    }

    /// Notes a fault at a place of the text.
    pub(super) fn add(&self, place: &Range<usize>, message: String) {
        self.found.borrow_mut().push(Fault::at(self.source, place.start, message));
    }

    /// All of them, in the order of the text.
    pub(super) fn into_sorted(self) -> Vec<Fault> {
        let mut found = self.found.into_inner();
        found.sort();
        found.dedup();
        found
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) place: Range<usize>,
}

/// A table. Each reading method takes the key as known; [`Section::finish`] reports the keys that nobody asked for.
pub(super) struct Section<'t, 's> {
    /// How people see it: `[node]`, `[[ledger]]`.
    title: String,
    table: Option<&'t DeTable<'t>>,
    place: Range<usize>,
    known: Vec<&'static str>,
    faults: &'t Faults<'s>,
}

impl<'t, 's> Section<'t, 's> {
    /// The whole file.
    pub(super) fn root(table: &'t Spanned<DeTable<'t>>, faults: &'t Faults<'s>) -> Self {
        Self { title: String::new(), table: Some(table.get_ref()), place: 0..0, known: Vec::new(), faults }
    }

    /// Where its head stands.
    pub(super) fn place(&self) -> Range<usize> {
        self.place.clone()
    }

    /// Notes that something is wrong with the section as a whole.
    pub(super) fn fault(&self, place: &Range<usize>, what: &str) {
        let blank = if self.title.is_empty() { "" } else { " " };
        self.faults.add(place, format!("{}{blank}{what}", self.title));
    }

    /// The value of `key`, if it is there and good; what is not good is noted.
    pub(super) fn get<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'_>) -> Read<T>,
    ) -> Option<Placed<T>> {
        self.known.push(key);
        let value = self.table?.get(key)?;
        match read(value.get_ref()) {
            Ok(read) => Some(Placed { value: read, place: value.span() }),
            Err(why) => {
                self.fault(&value.span(), &format!("{key}: {why}"));
                None
            }
        }
    }

    /// The value of `key`, or `default` when it is not there. (Or not good: then the file is refused anyhow.)
    pub(super) fn get_or<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&DeValue<'_>) -> Read<T>,
    ) -> T {
        self.get(key, read).map_or(default, |placed| placed.value)
    }

    /// The value of `key`, which must be there.
    pub(super) fn require<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&DeValue<'_>) -> Read<T>,
    ) -> Option<Placed<T>> {
        if !self.table.is_some_and(|table| table.contains_key(key)) {
            self.fault(&self.place, &format!("lacks {key:?}; write for example {key} = {example}"));
        }
        self.get(key, read)
    }

    /// A table inside this one; an absent one reads as an empty one.
    pub(super) fn table(&mut self, key: &'static str, title: &str) -> Section<'t, 's> {
        self.known.push(key);
        let value = self.table.and_then(|table| table.get(key));
        let table = value.and_then(|value| value.get_ref().as_table());
        if let (Some(value), None) = (value, table) {
            self.fault(&value.span(), &format!("{key}: {}", expected("a table", value.get_ref())));
        }
        let place = value.map_or_else(|| self.place.clone(), Spanned::span);
        Section { title: title.to_owned(), table, place, known: Vec::new(), faults: self.faults }
    }

    /// The tables of a `[[key]]` list.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Section<'t, 's>> {
        self.known.push(key);
        let Some(value) = self.table.and_then(|table| table.get(key)) else { return Vec::new() };
        let form = format!("a list of tables, each under [[{key}]]");
        let Some(items) = value.get_ref().as_array() else {
            self.fault(&value.span(), &format!("{key}: {}", expected(&form, value.get_ref())));
            return Vec::new();
        };
        if items.len() > MAX_ENTRIES {
            self.fault(
                &value.span(),
                &format!("{key}: {} entries; at most {MAX_ENTRIES} are allowed", items.len()),
            );
        }
        let mut sections = Vec::new();
        for item in items.iter().take(MAX_ENTRIES) {
            let Some(table) = item.get_ref().as_table() else {
                self.fault(&item.span(), &format!("{key}: {}", expected(&form, item.get_ref())));
                continue;
            };
            sections.push(Section {
                title: format!("[[{key}]]"),
                table: Some(table),
                place: item.span(),
                known: Vec::new(),
                faults: self.faults,
            });
        }
        sections
    }

    /// All entries of a table whose keys are free names.
    pub(super) fn entries<T>(mut self, read: impl Fn(&str, &DeValue<'_>) -> Read<T>) -> Vec<Placed<T>> {
        let mut entries = Vec::new();
        for (key, value) in self.table.take().into_iter().flatten() {
            match read(key.get_ref(), value.get_ref()) {
                Ok(read) => entries.push(Placed { value: read, place: key.span() }),
                Err(why) => self.fault(&value.span(), &format!("{}: {why}", key.get_ref())),
            }
        }
        entries
    }

    /// Reports the keys that nobody asked for, each with the nearest known one.
    pub(super) fn finish(self) {
        for (key, _) in self.table.into_iter().flatten() {
            if self.known.contains(&key.get_ref().as_ref()) {
                continue;
            }
            let what = if self.title.is_empty() { "no section or key" } else { "has no key" };
            let mut known = self.known.clone();
            known.sort_unstable();
            let hint = match nearest(key.get_ref(), &known) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("known are {}", known.join(", ")),
            };
            self.fault(&key.span(), &format!("{what} {:?}; {hint}", key.get_ref()));
        }
    }
}
