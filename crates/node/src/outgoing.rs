//! Requests that the node makes by HTTP to addresses of its configuration: other nodes and webhooks. Bounded in time, by
//! no proxy, and no redirect is followed: what was signed for one address goes to no other.

use std::time::Duration;

use reqwest::redirect::Policy;

/// How long one exchange may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(3);

/// A client with these bounds.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(CONNECT)
        .timeout(TIMEOUT)
        .build()
        .expect("without TLS and proxies nothing of the system is needed")
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
