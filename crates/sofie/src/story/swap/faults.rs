//! What goes wrong in the swap, and when.

use serde_json::json;
use sofie_model::{Span, Timestamp};
use sofie_node::api::{At, Transaction};

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

/// A chain that undid a final lock after the secrets were out holds it again in another block than the one that COMMIT's
/// evidence root names: nothing is lost, but that root cannot be proven.
pub(super) const fn may_lack_proof(fault: Option<Fault>) -> bool {
    matches!(fault, Some(Fault::ReorgEvm | Fault::ReorgBitcoin))
}

impl Faults {
    pub(super) const fn new(fault: Option<Fault>) -> Self {
        Self { fault, acted: false }
    }

    /// Before the transaction begins.
    pub(super) async fn before(&mut self, world: &mut World, teller: &mut Teller) -> Result<(), Failure> {
        if self.fault == Some(Fault::BitcoinDown) {
            world.bitcoind.kill().await;
            teller.step(on("bitcoin", "bitcoin-down", "bitcoind is killed before anything is prepared"));
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
            Some(Fault::ReorgEvm) if undecided && is(one, "ethereum", "prepared") => {
                let head = call(&world.ethereum, "eth_blockNumber", json!([])).await?;
                let head = u64::from_str_radix(head.as_str().unwrap_or("0x0").trim_start_matches("0x"), 16);
                let depth = (head.unwrap_or(0) + 1).saturating_sub(lock(one, "ethereum"));
                call(&world.ethereum, "anvil_reorg", json!([depth, []])).await?;
                on(
                    "ethereum",
                    "reorganised",
                    format!("the newest {depth} blocks are undone, with Alice's lock"),
                )
            }
            Some(Fault::ReorgBitcoin) if undecided && is(one, "bitcoin", "prepared") => {
                let depth = world.bitcoind.reorganise(lock(one, "bitcoin")).await?;
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
