//! What is said at the door of a shared calendar: one encoding only, and no answer is believed that the log's key did not sign.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sofie_model::calendar::{Answer, LogKey, MAX_ANSWER, MAX_REQUEST, Request};
use sofie_model::canonical;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(log) = text.parse::<LogKey>()
    {
        assert_eq!(log.to_string(), text);
    }
    if let Ok(request) = canonical::decode::<Request>(bytes, MAX_REQUEST) {
        assert_eq!(canonical::encode(&request), bytes);
    }
    let Ok(answer) = canonical::decode::<Answer>(bytes, MAX_ANSWER) else { return };
    assert_eq!(canonical::encode(&answer), bytes);
    // The verifier key of golang.org/x/mod/sumdb/note's documentation.
    let log: LogKey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().expect("a key");
    assert!(answer.head(&log, &log.beginning()).is_err());
});
