//! The story's node: a child process that is killed and started again where the story says so.

use std::path::{Path, PathBuf};

use sofie_model::Timestamp;

use crate::client::Client;
use crate::commands::up::Told;
use crate::failure::Failure;

use super::process::Process;

/// Where the node is to be killed.
pub(crate) type Step = Option<String>;

/// A story's node, and all that runs beside it until the story is over.
pub(crate) struct Running {
    node: Node,
    _beside: Box<dyn std::any::Any>,
}

impl Running {
    pub(crate) fn new(node: Node, beside: impl std::any::Any) -> Self {
        Self { node, _beside: Box::new(beside) }
    }

    pub(crate) fn console(&self) -> String {
        self.node.console()
    }

    pub(crate) async fn stop(self) {
        self.node.stop().await;
    }
}

/// A node under supervision.
#[derive(Debug)]
pub(crate) struct Node {
    /// When it is killed next, nobody starts it again before this.
    asleep: Option<Timestamp>,
    process: Process,
    folder: PathBuf,
    base: String,
    client: Client,
    pub(crate) restarts: u32,
}

impl Node {
    /// Starts a node on the configuration in `folder`; it will stand still at `pause`, and then be killed.
    pub(crate) async fn start(folder: &Path, pause: Step) -> Result<Self, Failure> {
        let mut restarts = 0;
        let mut pause = pause;
        loop {
            let mut process = spawn(folder, pause.take())?;
            match process.told().await? {
                Told::Ready(base) => {
                    let client = Client::new(&base, None)?;
                    let folder = folder.to_owned();
                    return Ok(Self { asleep: None, process, folder, base, client, restarts });
                }
                Told::Paused(_) => {
                    process.kill().await;
                    restarts += 1;
                }
            }
        }
    }

    /// Asks the node something. If it stands still meanwhile, it is killed, started again, and asked again: `ask` must
    /// be harmless when it is repeated.
    pub(crate) async fn ask<T>(
        &mut self,
        mut ask: impl AsyncFnMut(Client) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        loop {
            let client = self.client.clone();
            tokio::select! {
                answer = ask(client) => return answer,
                told = self.process.told::<Told>() => match told? {
                    Told::Paused(_) => self.kill_and_restart().await?,
                    Told::Ready(base) => self.base = base,
                },
            }
        }
    }

    /// Stops the node in order and starts it again, on what its configuration says now.
    pub(crate) async fn restart(self) -> Result<Self, Failure> {
        let Self { process, folder, restarts, .. } = self;
        process.stop().await;
        let node = Self::start(&folder, None).await?;
        Ok(Self { restarts, ..node })
    }

    /// Ends the node in order.
    pub(crate) async fn stop(self) {
        self.process.stop().await;
    }

    /// Where its console is.
    pub(crate) fn console(&self) -> String {
        format!("{}/console/", self.base)
    }

    /// When it is killed next, it stays down until then.
    pub(crate) fn sleep_until(&mut self, at: Timestamp) {
        self.asleep = Some(at);
    }

    async fn kill_and_restart(&mut self) -> Result<(), Failure> {
        self.process.kill().await;
        if let Some(at) = self.asleep.take() {
            tokio::time::sleep(at.since(sofie_node::clock::now()).into()).await;
        }
        let node = Self::start(&self.folder, None).await?;
        let restarts = self.restarts + 1 + node.restarts;
        *self = Self { restarts, ..node };
        Ok(())
    }
}

fn spawn(folder: &Path, pause: Step) -> Result<Process, Failure> {
    let config = folder.join("sofie.toml").display().to_string();
    let mut args = vec!["up", "-o", "json", "-c", &config];
    if let Some(step) = &pause {
        args.extend(["--pause-at", step]);
    }
    Process::start("node", &args, folder)
}
