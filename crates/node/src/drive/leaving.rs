//! Whether what an effect does may have left the node. Until then it is dropped when nobody wants it any more; from then on it
//! is followed to its end.

use std::future;
use std::sync::{Arc, Mutex, MutexGuard};

/// Shared by an effect and its drive. At the start, nothing has left.
#[derive(Debug, Clone, Default)]
pub struct Leaving(Arc<Mutex<Stage>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    /// Nothing has left.
    #[default]
    Home,
    /// It leaves, or has left.
    Out {
        /// Whether its machine still asks for it.
        wanted: bool,
    },
    /// Nothing has left, and nothing will.
    Dropped,
}

impl Leaving {
    /// From here on it may leave. One that nobody wants any more waits here until its drive ends it.
    pub async fn go(&self) {
        let goes = {
            let mut stage = self.stage();
            if *stage == Stage::Home {
                *stage = Stage::Out { wanted: true };
            }
            matches!(*stage, Stage::Out { .. })
        };
        if !goes {
            future::pending().await
        }
    }

    /// What left can have no effect any more, or nothing has left: the next [`go`](Self::go) is a new question.
    pub fn back(&self) {
        let mut stage = self.stage();
        *stage = match *stage {
            Stage::Out { wanted: false } | Stage::Dropped => Stage::Dropped,
            Stage::Out { wanted: true } | Stage::Home => Stage::Home,
        };
    }

    /// Told whether the machine wants it; answers whether it goes on. One that does not will do nothing more.
    pub(super) fn goes_on(&self, wanted: bool) -> bool {
        let mut stage = self.stage();
        *stage = match *stage {
            Stage::Home if wanted => Stage::Home,
            Stage::Home | Stage::Dropped => Stage::Dropped,
            Stage::Out { .. } => Stage::Out { wanted },
        };
        *stage != Stage::Dropped
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn goes(leaving: &Leaving) -> bool {
        let ready = pin!(leaving.go()).poll(&mut Context::from_waker(Waker::noop()));
        ready == Poll::Ready(())
    }

    #[test]
    fn what_has_not_left_is_dropped_for_good_once_nobody_wants_it() {
        let leaving = Leaving::default();
        assert!(leaving.goes_on(true));
        assert!(!leaving.goes_on(false));
        assert!(!goes(&leaving), "it leaves although it was dropped");
        leaving.back();
        assert!(!leaving.goes_on(true), "what was dropped is begun anew, not taken up");
    }

    #[test]
    fn what_has_left_is_followed_and_is_not_begun_again_once_it_is_back() {
        let leaving = Leaving::default();
        assert!(goes(&leaving) && goes(&leaving));
        assert!(leaving.goes_on(false), "what has left is followed to its end");
        leaving.back();
        assert!(!goes(&leaving) && !leaving.goes_on(true));
    }

    #[test]
    fn what_is_wanted_again_while_it_is_out_may_leave_again() {
        let leaving = Leaving::default();
        assert!(goes(&leaving) && leaving.goes_on(false) && leaving.goes_on(true));
        leaving.back();
        assert!(goes(&leaving));
    }
}
