//! Thing Descriptions of servients: no bytes make the reader panic, and nothing that is planned leads to another host.
#![no_main]

use sofie_adapters::wot::codec::{Document, Entry, plan, read};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let at = "http://127.0.0.1:8080/lamp".parse().expect("a URL");
    let things = match read(bytes) {
        Ok(Document::Thing(td)) => vec![Entry::Thing(td)],
        Ok(Document::List(entries)) => entries,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    for thing in things {
        let Entry::Thing(td) = thing else { continue };
        let plan = plan(&td, &at);
        let reads = plan.properties.iter().flat_map(|property| std::iter::once(&property.read).chain(&property.poll).chain(&property.write));
        for target in reads.chain(plan.actions.iter().map(|action| &action.target)) {
            // A path, and so on the platform that is asked.
            assert!(target.path.starts_with('/'), "{target:?}");
        }
    }
});
