//! Virtual time. Timers stand in one queue; when every task of a world waits, the next one fires and the clock jumps.
//!
//! The runtime says when it is idle (`Builder::on_thread_park`): no time of its own is spent, and one timer fires at a
//! time, in the order (instant, when it was set), so that a world is the same run every time.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sofie_model::Timestamp;
use sofie_node::clock::Time;

/// When every world begins: a whole second.
pub(super) const DAWN: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// A world's timers. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Wheel(Arc<Mutex<Timers>>);

#[derive(Debug, Default)]
struct Timers {
    /// Milliseconds since [`DAWN`].
    now: u64,
    set: u64,
    fired: u64,
    waiting: BTreeMap<(u64, u64), Option<Waker>>,
}

impl Wheel {
    /// Milliseconds since the world began.
    pub(super) fn millis(&self) -> u64 {
        self.timers().now
    }

    /// The true time, which nobody in the world knows.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_millis(DAWN.as_millis() + self.millis())
    }

    /// How many timers have fired.
    pub(super) fn fired(&self) -> u64 {
        self.timers().fired
    }

    /// Ends after so many milliseconds.
    pub(super) fn sleep(&self, millis: u64) -> Sleep {
        let mut timers = self.timers();
        let key = (timers.now + millis, timers.set);
        timers.set += 1;
        timers.waiting.insert(key, None);
        drop(timers);
        Sleep { wheel: self.clone(), key }
    }

    /// Fires the next timer: called when nothing else can happen.
    pub(super) fn advance(&self) {
        let mut timers = self.timers();
        let Some(((at, _), waker)) = timers.waiting.pop_first() else { return };
        timers.now = timers.now.max(at);
        timers.fired += 1;
        drop(timers);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn timers(&self) -> MutexGuard<'_, Timers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A timer.
#[derive(Debug)]
pub(super) struct Sleep {
    wheel: Wheel,
    key: (u64, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.wheel.timers().waiting.get_mut(&self.key) {
            Some(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.wheel.timers().waiting.remove(&self.key);
    }
}

/// A clock in the world that is off by so many milliseconds.
#[derive(Debug, Clone)]
pub(super) struct Skewed {
    pub(super) wheel: Wheel,
    pub(super) skew: i64,
}

impl Time for Skewed {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.wheel.now().as_millis().saturating_add_signed(self.skew))
    }

    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX / 2);
        Box::pin(self.wheel.sleep(millis.max(1)))
    }
}
