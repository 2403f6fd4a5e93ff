//! One question to a node for everybody who wants to know the same at the same time.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use super::super::chain::ChainError;

/// A question that many ask at once. Nobody gets the answer to a question that was put before the own call began, so that it
/// says nothing else than a question of one's own would have said.
#[derive(Debug)]
pub(super) struct Fresh<T> {
    /// How many have asked.
    asked: AtomicU64,
    answered: Mutex<Answered<T>>,
}

/// The newest answer, and for how many of those who asked it is new enough. A failure is an answer, too: else all who wait
/// would wait for the node's time limit one after the other.
#[derive(Debug)]
struct Answered<T> {
    up_to: u64,
    answer: Result<T, ChainError>,
}

impl<T> Default for Fresh<T> {
    fn default() -> Self {
        let none = ChainError::Away("nothing has been asked".into());
        Self { asked: AtomicU64::new(0), answered: Mutex::new(Answered { up_to: 0, answer: Err(none) }) }
    }
}

impl<T: Clone> Fresh<T> {
    /// The answer to a question that was put after this call began: by `ask`, or by another caller's.
    pub(super) async fn get<F>(&self, ask: impl FnOnce() -> F) -> Result<T, ChainError>
    where
        F: Future<Output = Result<T, ChainError>>,
    {
        let own = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut answered = self.answered.lock().await;
        if answered.up_to < own {
            let up_to = self.asked.load(Ordering::SeqCst);
            *answered = Answered { answer: ask().await, up_to };
        }
        answered.answer.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    /// A node that answers how often it was asked, when it is let.
    struct Node {
        times: AtomicU64,
        began: Semaphore,
        may_answer: Semaphore,
    }

    impl Node {
        fn new() -> Self {
            let none = || Semaphore::new(0);
            Self { times: AtomicU64::new(0), began: none(), may_answer: none() }
        }

        async fn ask(&self) -> Result<u64, ChainError> {
            let time = self.times.fetch_add(1, Ordering::SeqCst) + 1;
            self.began.add_permits(1);
            self.may_answer.acquire().await.unwrap().forget();
            if time == 3 { Err(ChainError::Away("third".into())) } else { Ok(time) }
        }
    }

    #[tokio::test]
    async fn who_asks_meanwhile_shares_the_next_answer_and_never_an_older_one() {
        let (fresh, node) = (Arc::new(Fresh::default()), Arc::new(Node::new()));
        let ask = || {
            let (fresh, node) = (Arc::clone(&fresh), Arc::clone(&node));
            tokio::spawn(async move { fresh.get(|| node.ask()).await })
        };
        let first = ask();
        node.began.acquire().await.unwrap().forget();
        let later: Vec<_> = (0..5).map(|_| ask()).collect();
        while fresh.asked.load(Ordering::SeqCst) < 6 {
            tokio::task::yield_now().await;
        }
        node.may_answer.add_permits(2);
        assert_eq!(first.await.unwrap(), Ok(1));
        for one in later {
            assert_eq!(one.await.unwrap(), Ok(2));
        }
        // A failure is everybody's, and the next one asks anew. One that is given up leaves no trace.
        node.may_answer.add_permits(1);
        assert!(ask().await.unwrap().is_err());
        let given_up = ask();
        node.began.acquire_many(3).await.unwrap().forget();
        given_up.abort();
        assert!(given_up.await.unwrap_err().is_cancelled());
        node.may_answer.add_permits(1);
        assert_eq!(ask().await.unwrap(), Ok(5));
    }
}
