//! Measures in the Prometheus text exposition format, version 0.0.4: the door's own, and the helper with which the
//! runtime adds its own ([`crate::api::Federation::write_metrics`]).

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Write},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use super::state::{Door, Shared};

/// What kind of measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size; see the door's own for how its lines look.
    Histogram,
}

/// Writes the two lines that head a family of measures. Once a family, before its samples.
///
/// ```
/// use sofie_node::http::metrics::{Kind, family, sample};
/// let mut out = String::new();
/// family(&mut out, "sofie_contracts", Kind::Gauge, "Contracts by state.")?;
/// sample(&mut out, "sofie_contracts", &[("state", "settled")], 3)?;
/// assert_eq!(
///     out,
///     "# HELP sofie_contracts Contracts by state.\n# TYPE sofie_contracts gauge\nsofie_contracts{state=\"settled\"} 3\n"
/// );
/// # Ok::<(), std::fmt::Error>(())
/// ```
///
/// # Errors
/// When `out` refuses.
pub fn family(out: &mut dyn Write, name: &str, kind: Kind, help: &str) -> fmt::Result {
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let help = help.replace('\\', r"\\").replace('\n', r"\n");
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

/// Writes one sample.
///
/// # Errors
/// When `out` refuses.
pub fn sample(out: &mut dyn Write, name: &str, labels: &[(&str, &str)], value: impl Display) -> fmt::Result {
    out.write_str(name)?;
    for (i, (label, text)) in labels.iter().enumerate() {
        let text = text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
        write!(out, "{}{label}=\"{text}\"", if i == 0 { '{' } else { ',' })?;
    }
    writeln!(out, "{} {value}", if labels.is_empty() { "" } else { "}" })
}

/// Upper bounds of the duration's buckets, in milliseconds.
const BUCKETS: [u64; 8] = [1, 5, 20, 100, 500, 2_000, 10_000, 30_000];

/// What the door has counted. Its size is bounded: methods, routes and statuses are fixed sets.
#[derive(Debug, Default)]
pub(super) struct Measures {
    requests: Mutex<BTreeMap<(&'static str, String, u16), u64>>,
    durations: [AtomicU64; BUCKETS.len()],
    duration_count: AtomicU64,
    duration_micros: AtomicU64,
    bodies_refused: AtomicU64,
}

impl Measures {
    /// One request was answered. `route` is the route's pattern, never the path.
    pub(super) fn answered(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *requests.entry((method, route.to_owned(), status)).or_default() += 1;
        drop(requests);
        let bucket = BUCKETS.iter().position(|bound| took.as_micros() <= u128::from(*bound) * 1000);
        if let Some(bucket) = bucket {
            self.durations[bucket].fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.duration_micros.fetch_add(micros, Ordering::Relaxed);
        self.duration_count.fetch_add(1, Ordering::Relaxed);
    }

    /// A body was over its limit.
    pub(super) fn body_refused(&self) {
        self.bodies_refused.fetch_add(1, Ordering::Relaxed);
    }

    fn write(&self, out: &mut dyn Write) -> fmt::Result {
        family(out, "sofie_http_requests_total", Kind::Counter, "Requests answered.")?;
        for ((method, route, status), count) in
            &*self.requests.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        {
            let status = status.to_string();
            let labels = [("method", *method), ("route", route), ("status", &status)];
            sample(out, "sofie_http_requests_total", &labels, count)?;
        }
        family(
            out,
            "sofie_http_bodies_refused_total",
            Kind::Counter,
            "Request bodies refused because they are over the limit.",
        )?;
        let refused = self.bodies_refused.load(Ordering::Relaxed);
        sample(out, "sofie_http_bodies_refused_total", &[], refused)?;
        self.write_durations(out)
    }

    fn write_durations(&self, out: &mut dyn Write) -> fmt::Result {
        const NAME: &str = "sofie_http_request_duration_seconds";
        family(out, NAME, Kind::Histogram, "How long the head of an answer took.")?;
        let count = self.duration_count.load(Ordering::Relaxed);
        let mut below = 0;
        for (bound, bucket) in BUCKETS.iter().zip(&self.durations) {
            below += bucket.load(Ordering::Relaxed);
            let bound = seconds(bound * 1000);
            sample(out, &format!("{NAME}_bucket"), &[("le", &bound)], below)?;
        }
        sample(out, &format!("{NAME}_bucket"), &[("le", "+Inf")], count.max(below))?;
        let sum = seconds(self.duration_micros.load(Ordering::Relaxed));
        sample(out, &format!("{NAME}_sum"), &[], sum)?;
        sample(out, &format!("{NAME}_count"), &[], count.max(below))
    }
}

fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// `GET /metrics`
#[utoipa::path(
    get, path = "/metrics", tag = "node", operation_id = "metrics",
    summary = "Measures in the Prometheus text format",
    responses((status = 200, description = "The measures", content_type = "text/plain", body = String))
)]
pub(super) async fn metrics(State(door): State<Shared>) -> Response {
    let mut text = String::new();
    // Writing to a String does not fail; a runtime that fails by itself is told in place of its measures.
    if write_all(&door, &mut text).is_err() {
        text.push_str("# the runtime's measures could not be written\n");
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

fn write_all(door: &Door, out: &mut String) -> fmt::Result {
    family(out, "sofie_build_info", Kind::Gauge, "Always 1; its label is the product's version.")?;
    sample(out, "sofie_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1)?;
    door.measures.write(out)?;
    family(out, "sofie_http_streams", Kind::Gauge, "Event streams that are open.")?;
    sample(out, "sofie_http_streams", &[], door.open_streams())?;
    door.federation.write_metrics(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut out = String::new();
        sample(&mut out, "a", &[("b", "x\"y\\z\n"), ("c", "")], 1.5).unwrap();
        assert_eq!(out, "a{b=\"x\\\"y\\\\z\\n\",c=\"\"} 1.5\n");
    }

    #[test]
    fn a_histogram_counts_every_request_once() {
        let measures = Measures::default();
        for millis in [0, 1, 3, 99, 100, 101, 40_000] {
            measures.answered("GET", "/x", 200, Duration::from_millis(millis));
        }
        let mut out = String::new();
        measures.write(&mut out).unwrap();
        for line in [
            "sofie_http_requests_total{method=\"GET\",route=\"/x\",status=\"200\"} 7",
            "sofie_http_request_duration_seconds_bucket{le=\"0.001000\"} 2",
            "sofie_http_request_duration_seconds_bucket{le=\"0.100000\"} 5",
            "sofie_http_request_duration_seconds_bucket{le=\"30.000000\"} 6",
            "sofie_http_request_duration_seconds_bucket{le=\"+Inf\"} 7",
            "sofie_http_request_duration_seconds_sum 40.304000",
            "sofie_http_request_duration_seconds_count 7",
        ] {
            assert!(out.lines().any(|found| found == line), "{line} is missing in\n{out}");
        }
    }
}
