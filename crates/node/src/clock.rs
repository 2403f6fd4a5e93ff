//! The only place that reads the clock. Everything else takes time as an argument, or is given a [`Clock`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sofie_model::{Span, Timestamp};

/// How far the clock may be behind the journal before the node refuses to start: more than a step of NTP, less than
/// any deadline worth keeping.
pub const MAX_BEHIND: Span = Span::from_seconds(2);

/// The clock is behind what the node has already written: deadlines would be judged too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the clock is behind: it says {}, and the journal's last entry is of {}, {} later; set the clock (NTP), or wait",
    crate::api::At(*now), crate::api::At(*last), last.since(*now)
)]
pub struct ClockBehind {
    /// What the clock says.
    pub now: Timestamp,
    /// What the journal says.
    pub last: Timestamp,
}

/// The time of day. It may jump when somebody sets the clock: durations within the process are measured by
/// [`std::time::Instant`].
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The longest sleep without a look at the clock: a timer of the process stands still while the machine sleeps, and does
/// not see that somebody set the clock.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// Returns once it is `at` or later by the time of day.
pub async fn until(at: Timestamp) {
    Clock::system().until(at).await;
}

/// [`now`] for rooms that are given their clock.
#[must_use]
pub fn clock() -> sofie_ledgers::port::Clock {
    Arc::new(now)
}

/// The time as an executor, a drive and a journal see it: the time of day, or that of a simulated world. Clones are the
/// same clock.
#[derive(Clone)]
pub struct Clock(Arc<dyn Time>);

/// A clock and its timers.
pub trait Time: Send + Sync {
    /// What the clock says.
    fn now(&self) -> Timestamp;

    /// Ends after so long, by whatever the world's timers run on.
    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The machine's clock, and tokio's timers.
struct System;

impl Time for System {
    fn now(&self) -> Timestamp {
        now()
    }

    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(span))
    }
}

impl Clock {
    /// The time of day.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(System))
    }

    /// Another world's time.
    #[must_use]
    pub fn of(time: impl Time + 'static) -> Self {
        Self(Arc::new(time))
    }

    /// What it says.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.now()
    }

    /// Returns after so long.
    pub async fn sleep(&self, span: Duration) {
        self.0.sleep(span).await;
    }

    /// Returns once it says `at` or later.
    pub async fn until(&self, at: Timestamp) {
        loop {
            let left = Duration::from(at.since(self.now()));
            if left.is_zero() {
                return;
            }
            self.sleep(left.min(LONGEST_SLEEP)).await;
        }
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clock({} ms)", self.now().as_millis())
    }
}

/// Refuses a clock that is behind the journal's last entry by more than [`MAX_BEHIND`].
///
/// ```
/// use sofie_model::Timestamp;
/// use sofie_node::clock::check;
/// let last = Timestamp::from_seconds(1_764_022_700);
/// assert!(check(Timestamp::from_seconds(1_764_022_698), last).is_ok());
/// assert_eq!(
///     check(Timestamp::from_seconds(1_764_022_640), last).unwrap_err().to_string(),
///     "the clock is behind: it says 2025-11-24T22:17:20.000Z, and the journal's last entry is of \
///      2025-11-24T22:18:20.000Z, 60 s later; set the clock (NTP), or wait"
/// );
/// ```
///
/// # Errors
/// [`ClockBehind`].
pub fn check(now: Timestamp, last: Timestamp) -> Result<(), ClockBehind> {
    if last.since(now) > MAX_BEHIND { Err(ClockBehind { now, last }) } else { Ok(()) }
}
