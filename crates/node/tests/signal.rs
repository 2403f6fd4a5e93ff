//! The process is asked to stop, by the system's own means.

use std::process::Command;

use sofie_node::http::stop_signal;

/// Alone in its process: a signal is for all of it.
#[tokio::test]
async fn both_signals_stop() {
    for name in ["TERM", "INT"] {
        let stop = stop_signal().expect("a handler can be set");
        let sent = Command::new("kill").args([format!("-{name}"), std::process::id().to_string()]).status();
        assert!(sent.expect("kill is there").success());
        stop.await;
    }
}
