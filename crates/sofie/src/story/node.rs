//! The story's node: a child process that is killed and started again where the story says so.

use std::path::{Path, PathBuf};

use crate::client::Client;
use crate::commands::up::Told;
use crate::failure::Failure;

use super::process::Process;

/// Where the node is to be killed.
pub(crate) type Step = Option<String>;

/// A node under supervision.
#[derive(Debug)]
pub(crate) struct Node {
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
                    return Ok(Self { process, folder: folder.to_owned(), base, client, restarts });
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

    async fn kill_and_restart(&mut self) -> Result<(), Failure> {
        self.process.kill().await;
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
