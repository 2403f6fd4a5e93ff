//! What goes wrong in the swap, and when.

use serde_json::json;
use sofie_model::{Span, Timestamp};
use sofie_node::api::{At, Transaction};
use tokio::sync::OwnedMutexGuard;

use super::super::node::{Node, Step};
use super::super::report::{Outcome, ReportStep};
use super::super::teller::Teller;
use super::world::World;
use super::{call, is, on, timelock};
use crate::cli::{Fault, Try};
use crate::failure::Failure;

/// How long before T_p a sleeping node is started again: what a claim needs, and a start.
const EARLY: Span = Span::from_seconds(14);
/// How long after T_p a node that comes late is started again.
const LATE: Span = Span::from_seconds(2);

/// One fault; it acts once.
pub(super) struct Faults {
    fault: Option<Fault>,
    acted: bool,
    /// While it is there, Bitcoin makes no block: its lock, the last one, is not final before the moment has come.
    waits: Option<OwnedMutexGuard<()>>,
}

/// Where the node is to be killed.
pub(super) fn pause(args: &Try) -> Step {
    match (args.kill_at_write, args.fault) {
        (Some(count), _) => Some(format!("write:{count}")),
        // The intent to commit is on the disk, D has not seen it yet.
        (None, Some(Fault::Crash)) => Some("intent:commit".into()),
        // COMMIT is final, the claim is on the disk, Bitcoin has not seen it yet.
        (None, Some(Fault::Sleep | Fault::LateClaim)) => Some("intent:apply 1".into()),
        _ => None,
    }
}

/// Whether a story may end so. A lock that a reorganisation undid is made again while there is time; when there is none
/// left, it is all undone.
pub(super) const fn keeps(fault: Option<Fault>, outcome: Outcome) -> bool {
    match fault {
        Some(Fault::BitcoinDown) => matches!(outcome, Outcome::Aborted),
        Some(Fault::ReorgEvm | Fault::ReorgBitcoin) => {
            matches!(outcome, Outcome::Committed | Outcome::Aborted)
        }
        _ => matches!(outcome, Outcome::Committed),
    }
}

impl Faults {
    pub(super) const fn new(fault: Option<Fault>) -> Self {
        Self { fault, acted: false, waits: None }
    }

    /// Before the transaction begins.
    pub(super) async fn before(&mut self, world: &mut World, teller: &mut Teller) -> Result<(), Failure> {
        match self.fault {
            Some(Fault::BitcoinDown) => {
                world.bitcoind.kill().await;
                teller.step(on("bitcoin", "bitcoin-down", "bitcoind is killed before anything is prepared"));
            }
            Some(Fault::ReorgEvm | Fault::ReorgBitcoin) => self.waits = Some(world.bitcoind.hold().await),
            _ => {}
        }
        Ok(())
    }

    /// Looks whether its moment has come.
    pub(super) async fn act(
        &mut self,
        one: &Transaction,
        node: &mut Node,
        world: &mut World,
        teller: &mut Teller,
    ) -> Result<(), Failure> {
        if self.acted {
            return Ok(());
        }
        let undecided = one.decision.is_none();
        let step = match self.fault {
            Some(Fault::BitcoinDown) if !undecided => {
                world.bitcoind.start_again().await?;
                on("bitcoin", "bitcoin-up", "bitcoind runs again: what became of its leg is asked there")
            }
            Some(Fault::ReorgEvm) if is(one, "ethereum", "prepared") => {
                let depth = reorganise(&world.ethereum, lock(one, "ethereum")).await?;
                self.waits = None;
                let told = format!("the newest {depth} blocks are undone, with Alice's lock");
                on("ethereum", "reorganised", told)
            }
            // While D does not answer, nobody can see that it holds no decision, and no secret is released.
            Some(Fault::ReorgBitcoin) if self.waits.is_some() && is(one, "ethereum", "prepared") => {
                world.stop_ethereum().await?;
                self.waits = None;
                teller.step(on("ethereum", "silent", "no answer until Bitcoin has undone its lock"));
                return Ok(());
            }
            Some(Fault::ReorgBitcoin) if is(one, "bitcoin", "prepared") => {
                let depth = world.bitcoind.reorganise(lock(one, "bitcoin")).await?;
                world.resume_ethereum().await?;
                on("bitcoin", "reorganised", format!("the newest {depth} blocks are undone, with Bob's lock"))
            }
            Some(fault @ (Fault::Sleep | Fault::LateClaim)) => match timelock(one) {
                Some(At(timelock)) => {
                    let until = wakes(fault, timelock);
                    node.sleep_until(until);
                    let told = format!(
                        "if the node dies, nobody starts it before {}; T_p is {}",
                        At(until),
                        At(timelock)
                    );
                    ReportStep::own("asleep", told)
                }
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        self.acted = true;
        teller.step(step);
        Ok(())
    }
}

/// Undoes the development chain's block at `from` and all above it. How many that were.
async fn reorganise(url: &str, from: u64) -> Result<u64, Failure> {
    // No block comes between the question and what follows from its answer.
    call(url, "evm_setIntervalMining", json!([0])).await?;
    let head = call(url, "eth_blockNumber", json!([])).await?;
    let head = u64::from_str_radix(head.as_str().unwrap_or("0x0").trim_start_matches("0x"), 16);
    let depth = (head.unwrap_or(0) + 1).saturating_sub(from);
    call(url, "anvil_reorg", json!([depth, []])).await?;
    call(url, "evm_setIntervalMining", json!([1])).await?;
    Ok(depth)
}

/// The height at which a leg's lock stands.
fn lock(one: &Transaction, ledger: &str) -> u64 {
    let leg = one.legs.iter().find(|leg| leg.ledger.as_str() == ledger);
    leg.and_then(|leg| leg.evidence.last()).map_or(0, |evidence| evidence.position.height)
}

fn wakes(fault: Fault, timelock: Timestamp) -> Timestamp {
    match fault {
        Fault::LateClaim => timelock + LATE,
        _ => Timestamp::from_millis(timelock.as_millis().saturating_sub(EARLY.as_millis())),
    }
}
