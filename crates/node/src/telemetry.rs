//! Structured logs: one JSON object a line, to stderr; stdout belongs to the data.
//!
//! Fields carry names, ids, counts and errors; never keys, tokens, request bodies or query strings. A request's lines
//! carry its `request_id`, which the answer's `x-request-id` header names too.

use tracing_subscriber::{EnvFilter, filter::ParseError, fmt::MakeWriter};

/// Overrides the configured filter.
pub const FILTER_VARIABLE: &str = "SOFIE_LOG";

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error(
        "{source_name}: {filter:?} is not a log filter such as \"info\" or \"info,sofie_node=debug\": {error}"
    )]
    Filter {
        /// `SOFIE_LOG`, or `[node] log`.
        source_name: &'static str,
        /// What it holds.
        filter: String,
        /// What is wrong with it.
        error: ParseError,
    },
    /// Somebody else in this process has set up logs before.
    #[error("logs are set up already in this process")]
    Twice,
}

/// Starts logging to stderr, for the rest of the process: by [`FILTER_VARIABLE`] if it is set, else by `configured`.
///
/// # Errors
/// [`TelemetryError`].
pub fn start(configured: &str) -> Result<(), TelemetryError> {
    let variable = std::env::var(FILTER_VARIABLE).ok().filter(|text| !text.is_empty());
    let filter = match &variable {
        Some(text) => filter(FILTER_VARIABLE, text)?,
        None => filter("[node] log", configured)?,
    };
    tracing::subscriber::set_global_default(subscriber(filter, std::io::stderr))
        .map_err(|_| TelemetryError::Twice)
}

fn filter(source_name: &'static str, text: &str) -> Result<EnvFilter, TelemetryError> {
    let wrong = |error| TelemetryError::Filter { source_name, filter: text.to_owned(), error };
    EnvFilter::builder().parse(text).map_err(wrong)
}

fn subscriber<W>(filter: EnvFilter, writer: W) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(writer)
        .finish()
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_json_with_span_and_fields() {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = subscriber(filter("test", "info").unwrap(), move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            let _guard = tracing::info_span!("request", request_id = "r-1").entered();
            tracing::info!(status = 200, "answered");
            tracing::debug!("too fine to be told");
        });
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len(), 1, "{text}");
        assert_eq!(lines[0]["message"], "answered");
        assert_eq!(lines[0]["status"], 200);
        assert_eq!(lines[0]["span"]["request_id"], "r-1");
    }

    #[test]
    fn a_bad_filter_is_named() {
        let error = filter(FILTER_VARIABLE, "sofie_node=loud").unwrap_err().to_string();
        assert!(error.starts_with("SOFIE_LOG: \"sofie_node=loud\" is not a log filter"), "{error}");
    }
}
