//! Thing Descriptions: no bytes make the reader panic; what it accepts it accepts again, and a refusal has a reason.
#![no_main]

use sofie_directory::ThingDescription;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match sofie_directory::parse(bytes) {
        Ok(description) => {
            let hash = description.hash();
            let again =
                ThingDescription::from_value(description.into_document()).expect("it was accepted once");
            assert_eq!(again.hash(), hash);
        }
        Err(errors) => assert!(!errors.to_string().is_empty()),
    }
});
