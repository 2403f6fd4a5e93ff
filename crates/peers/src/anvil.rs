//! Anvil, a real Ethereum node, for one test: on a free port of this machine, ended with the test.

use std::fmt::Display;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// A bound on waiting, not a measure.
const PATIENCE: Duration = Duration::from_secs(120);

/// A chain that is nobody else's. Its id is [`Anvil::CHAIN`].
#[derive(Debug)]
pub struct Anvil {
    process: Child,
    /// Where it answers, by HTTP.
    pub url: String,
    http: reqwest::Client,
}

impl Anvil {
    /// Anvil's own chain id.
    pub const CHAIN: u64 = 31_337;

    /// One that makes a block a second and finalises the one before the last. `None` where anvil is left out.
    ///
    /// # Panics
    /// Where it is missing, or does not start.
    #[must_use]
    #[track_caller]
    pub fn start() -> Option<Self> {
        Self::start_with(&["--block-time", "1", "--slots-in-an-epoch", "1"])
    }

    /// One with these arguments of its own.
    ///
    /// # Panics
    /// As [`Anvil::start`].
    #[must_use]
    #[track_caller]
    pub fn start_with(arguments: &[&str]) -> Option<Self> {
        let mut command = Command::new(crate::program("anvil")?);
        command.args(["--host", "127.0.0.1", "--port", "0"]).args(arguments);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("anvil starts");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        let listening = lines.find_map(|line| line.strip_prefix("Listening on ").map(str::to_owned));
        // Anvil must never wait for somebody to read what it prints.
        std::thread::spawn(move || lines.for_each(drop));
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        Some(Self { process, url: format!("http://{}", listening.expect("it listens")), http })
    }

    /// A call by JSON-RPC.
    ///
    /// # Errors
    /// That it does not answer, or answers with an error.
    pub async fn asked(&self, method: &str, params: Value) -> Result<Value, String> {
        let question = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let told = |error: reqwest::Error| format!("{method}: {error}");
        let answer = self.http.post(&self.url).json(&question).send().await.map_err(told)?;
        let mut answer: Value = answer.json().await.map_err(told)?;
        match answer.get("error") {
            Some(error) => Err(format!("{method}: {error}")),
            None => Ok(answer["result"].take()),
        }
    }

    /// The same, of which nothing but an answer is expected.
    ///
    /// # Panics
    /// Where [`Anvil::asked`] is an error.
    pub async fn ask(&self, method: &str, params: Value) -> Value {
        self.asked(method, params).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// What an account holds in the newest block, in wei.
    ///
    /// # Panics
    /// Where that is no number.
    pub async fn balance(&self, account: impl Display) -> u128 {
        let held = self.ask("eth_getBalance", json!([account.to_string(), "latest"])).await;
        let digits = held.as_str().and_then(|held| held.strip_prefix("0x")).expect("a quantity");
        u128::from_str_radix(digits, 16).expect("it fits")
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
