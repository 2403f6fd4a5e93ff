//! The story of the locker: a renter pays to have it opened; another company's sensor proves that it was.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use sofie_model::{Attestation, Digest, LegId, SignedAttestation, Timestamp};
use sofie_node::api::{
    Balances as HeldNow, BringEvidence, Contract, Fees, JoinPlatform, Platform, PlatformKind,
};
use sofie_node::config::Name;
use sofie_node::keys::PartyKeys;
use sofie_testkit::devices::door::{Door, Mode};

use super::node::{Node, Running, Step};
use super::process::Process;
use super::report::{Balances, Outcome, Report, ReportStep};
use super::setup::{self, Setup};
use super::teller::Teller;
use super::{funding, receipt, report};
use crate::cli::{Fault, Try};
use crate::client::{Client, url_segment};
use crate::failure::Failure;

/// In the smallest unit of the value ledger.
const PRICE: u128 = 1_000_000_000_000;
/// Ten minutes.
const OPEN_FOR_S: u64 = 600;

/// The devices: they end with this.
struct Devices {
    _processes: Vec<Process>,
    locker: String,
    broker: String,
}

/// Runs the story. The node still runs when this returns.
pub(crate) async fn run(args: &Try, aloud: bool) -> Result<(Report, Running), Failure> {
    let home = tempfile::Builder::new().prefix("sofie-try-").tempdir();
    let home =
        home.map_err(|e| Failure::lacking("make the story's folder", e, "free some space, or set TMPDIR"))?;
    let setup = setup::write(home.path(), args.config.as_deref())?;
    let chains = funding::prepare(&setup.config, home.path()).await?;
    let mut teller = Teller::new(aloud);
    let devices = start_devices(home.path(), args.fault).await?;
    teller.step(ReportStep::own(
        "devices",
        format!("a locker at {}, a door sensor at {}", devices.locker, devices.broker),
    ));
    let mut node = Node::start(home.path(), pause(args)).await?;
    let things = join(&mut node, &devices, &mut teller).await?;
    if args.fault == Some(Fault::LedgerDown) {
        setup::make_read_only(home.path(), &setup.record)?;
        node = node.restart().await?;
        teller.step(ReportStep::own("ledger-down", format!("{} takes no entries any more", setup.record)));
    }
    let (before, from) = held(&mut node, &setup).await?;
    let contract = rent(&mut node, &setup, &things).await?;
    let contract = follow(&mut node, &setup, args.fault, contract, &mut teller).await?;
    let (after, to) = held(&mut node, &setup).await?;
    let fees: Fees = {
        let path = format!("/api/v1/ledgers/{}/fees?from={}&to={to}", setup.value, from + 1);
        node.ask(async |client: Client| client.get(&path).await).await?
    };
    let balances = with_fees(before, after, fees.fees.0);
    let path = format!("/api/v1/contracts/{}/receipt", contract.id);
    let id = contract.id.to_string();
    let files = receipt::take(&mut node, &args.receipt_dir, &path, &id, &setup.config, &mut teller).await?;
    teller.done();
    let outcome = Outcome::from(contract.state);
    let expected = match args.fault {
        None | Some(Fault::Crash) => Outcome::Committed,
        Some(Fault::DoorStuck | Fault::ForgedSensor) => Outcome::Refunded,
        Some(_) => Outcome::Aborted,
    };
    let report = Report {
        outcome,
        reason: contract.reason,
        transaction: contract.id.to_string(),
        label: contract.label,
        receipt: files.receipt.display().to_string(),
        anchors: files.anchors.display().to_string(),
        verify: files.command(),
        verified: files.verdict,
        console: node.console(),
        steps: teller.steps,
        balances,
        least_slack_ms: None,
        restarts: node.restarts,
        as_promised: outcome == expected && files.good,
    };
    Ok((report, Running::new(node, (chains, devices, home))))
}

/// Which faults belong to this story.
pub(crate) const fn has(fault: Fault) -> bool {
    matches!(fault, Fault::DoorStuck | Fault::LedgerDown | Fault::Crash | Fault::ForgedSensor)
}

fn pause(args: &Try) -> Step {
    match (args.kill_at_write, args.fault) {
        (Some(count), _) => Some(format!("write:{count}")),
        // The intent to commit is on the disk, D has not seen it yet.
        (None, Some(Fault::Crash)) => Some("intent:commit".into()),
        _ => None,
    }
}

async fn start_devices(folder: &Path, fault: Option<Fault>) -> Result<Devices, Failure> {
    let door = folder.join("door.json");
    let stuck = matches!(fault, Some(Fault::DoorStuck | Fault::ForgedSensor));
    let mode = if stuck { Mode::Stuck } else { Mode::Normal };
    Door::create(&door, mode)
        .map_err(|e| Failure::lacking("hang the door", e, "free some space, or set TMPDIR"))?;
    let door = door.display().to_string();
    let address = |told: Value| told["listening"].as_str().unwrap_or_default().to_owned();
    let mut broker = Process::start("broker", &["device", "broker"], folder)?;
    let broker_at = address(broker.told().await?);
    let mut locker = Process::start("locker", &["device", "locker", "--door", &door], folder)?;
    let locker_at = address(locker.told().await?);
    let args = ["device", "door-sensor", "--door", &door, "--broker", &broker_at];
    let mut sensor = Process::start("door-sensor", &args, folder)?;
    let _: Value = sensor.told().await?;
    let (locker_url, broker_url) = (format!("coap://{locker_at}"), format!("mqtt://{broker_at}"));
    Ok(Devices { _processes: vec![broker, locker, sensor], locker: locker_url, broker: broker_url })
}

/// The two things that the story needs, as introspection found them.
struct Things {
    locker: String,
    action: String,
    sensor: String,
    property: String,
}

async fn join(node: &mut Node, devices: &Devices, teller: &mut Teller) -> Result<Things, Failure> {
    let platforms = [
        ("locker-co", PlatformKind::Coap, &devices.locker),
        ("sensor-co", PlatformKind::Mqtt, &devices.broker),
    ];
    let mut descriptions = Vec::new();
    for (owner, kind, url) in platforms {
        let asked = JoinPlatform {
            owner: owner.into(),
            kind,
            url: url.clone(),
            allow: allowed(kind),
            allow_writes: Vec::new(),
            originator: None,
        };
        let joined: Platform = node.ask(async |client: Client| join_once(&client, &asked).await).await?;
        for thing in &joined.things {
            let path = format!("/things/{}", url_segment(thing.as_str()));
            let description: Value = node.ask(async |client: Client| client.get(&path).await).await?;
            teller.step(ReportStep::own(
                "joined",
                format!("{owner}: {thing} is described, registered, anchored"),
            ));
            descriptions.push((owner, description));
        }
    }
    find(&descriptions)
}

/// The owner's policy: inferred control is offered only where the owner says so.
fn allowed(kind: PlatformKind) -> Vec<String> {
    if kind == PlatformKind::Coap { vec![ACTION.to_owned()] } else { Vec::new() }
}

/// The name that introspection gives to the locker's actuator.
const ACTION: &str = "lock";

/// Joining again after a crash finds what was joined before it.
async fn join_once(client: &Client, asked: &JoinPlatform) -> Result<Platform, Failure> {
    let known: Vec<Platform> = client.get("/api/v1/platforms").await?;
    match known.into_iter().find(|platform| platform.url == asked.url) {
        Some(platform) => Ok(platform),
        None => client.post("/api/v1/platforms", asked).await,
    }
}

fn find(descriptions: &[(&str, Value)]) -> Result<Things, Failure> {
    let of = |owner: &str, kind: &str, name: Option<&str>| {
        descriptions.iter().filter(|(by, _)| *by == owner).find_map(|(_, thing)| {
            let affordances = thing[kind].as_object()?;
            let found = affordances.keys().find(|known| name.is_none_or(|name| name == *known))?;
            Some((thing["id"].as_str()?.to_owned(), found.clone()))
        })
    };
    let lacks = |what: &str| {
        Failure::refused(
            "find what the story needs",
            format!("introspection found no {what}"),
            "see the node's log",
        )
    };
    let (locker, action) =
        of("locker-co", "actions", Some(ACTION)).ok_or_else(|| lacks("action of the locker"))?;
    let (sensor, property) =
        of("sensor-co", "properties", Some("open")).ok_or_else(|| lacks("property of the sensor"))?;
    Ok(Things { locker, action, sensor, property })
}

async fn rent(node: &mut Node, setup: &Setup, things: &Things) -> Result<Contract, Failure> {
    let [decision, evidence, window] = setup.times;
    let asked = json!({
        "renter": "renter", "thing": things.locker, "action": things.action, "input": { "open_for_s": OPEN_FOR_S },
        "price": PRICE.to_string(), "open_for_s": OPEN_FOR_S,
        "ledger": setup.value, "record_ledger": setup.record,
        "evidence": { "thing": things.sensor, "property": things.property, "equals": true },
        "decision_within_s": decision, "evidence_within_s": evidence, "submission_window_s": window,
    });
    node.ask(async |client: Client| {
        // Asked again after a crash, the journal may hold it already.
        let known: Vec<Contract> = client.get("/api/v1/contracts").await?;
        match known.into_iter().next() {
            Some(contract) => Ok(contract),
            None => client.post("/api/v1/contracts", &asked).await,
        }
    })
    .await
}

async fn follow(
    node: &mut Node,
    setup: &Setup,
    fault: Option<Fault>,
    contract: Contract,
    teller: &mut Teller,
) -> Result<Contract, Failure> {
    let id = contract.id.to_string();
    let mut seen = 0;
    let mut forged = fault != Some(Fault::ForgedSensor);
    let (sender, mut steps) = tokio::sync::mpsc::unbounded_channel();
    loop {
        let sender = sender.clone();
        let after = seen;
        let ended = {
            let following = node.ask(async |client: Client| {
                let sender = sender.clone();
                client.follow(&id, after, move |step| drop(sender.send(step))).await
            });
            tokio::pin!(following);
            loop {
                tokio::select! {
                    biased;
                    Some(step) = steps.recv() => {
                        let step: sofie_node::api::Step = step;
                        // After a crash some come again.
                        if step.seq > seen {
                            seen = step.seq;
                            let actuated = step.name == "actuated";
                            teller.step(step.into());
                            if actuated && !forged {
                                break None;
                            }
                        }
                    }
                    ended = &mut following => break Some(ended?),
                }
            }
        };
        match ended {
            None => {
                forged = true;
                forge(node, setup.chain_id, &id).await?;
            }
            Some(true) => break,
            // The node went away in the middle: it is asked again.
            Some(false) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    while let Ok(step) = steps.try_recv() {
        if step.seq > seen {
            seen = step.seq;
            teller.step(step.into());
        }
    }
    let path = format!("/api/v1/contracts/{id}");
    node.ask(async |client: Client| client.get(&path).await).await
}

/// Somebody signs what the sensor has not seen, with a key of their own, and brings it to the node.
async fn forge(node: &mut Node, chain_id: u64, id: &str) -> Result<(), Failure> {
    let name = Name::try_from("mallory".to_owned()).map_err(|e| Failure::refused("forge", e, ""))?;
    let mallory = PartyKeys::generate(&name).map_err(|e| Failure::lacking("make a forger's key", e, ""))?;
    let forged = forgery(chain_id, id, &mallory)?;
    let path = format!("/api/v1/contracts/{id}/evidence");
    let refused = node.ask(async |client: Client| client.post::<Value>(&path, &forged).await).await;
    match refused {
        Err(failure) if failure.code() == 1 => Ok(()),
        Err(failure) => Err(failure),
        Ok(_) => Err(Failure::refused("see the forgery refused", "the node took it", "tell the maintainers")),
    }
}

fn forgery(chain_id: u64, id: &str, mallory: &PartyKeys) -> Result<BringEvidence, Failure> {
    let txid = id.parse().map_err(|e| Failure::refused("forge", e, ""))?;
    let attestation = Attestation {
        chain_id,
        contract: sofie_ledgers::evm::contracts::ESCROW.address,
        txid,
        leg: LegId(0),
        observation: Digest::sha256(b"open"),
        fulfilled: true,
        observed_at: Timestamp::from_seconds(sofie_node::clock::now().as_seconds()),
    };
    let attestation: SignedAttestation = attestation.sign(mallory.secp256k1());
    Ok(BringEvidence { attestation, reading: None })
}

/// What the parties hold, and at which height.
async fn held(node: &mut Node, setup: &Setup) -> Result<(report::Held, u64), Failure> {
    let path = format!("/api/v1/ledgers/{}/balances", setup.value);
    let now: HeldNow = node.ask(async |client: Client| client.get(&path).await).await?;
    let parties = now.balances.iter().map(|(party, amount)| (party.clone(), amount.0)).collect();
    Ok((report::Held::from([(setup.value.clone(), parties)]), now.height))
}

/// Fees are a party of their own, so that everything adds up. What the escrow holds at the end belongs to nobody yet.
fn with_fees(mut before: report::Held, mut after: report::Held, fees: u128) -> Balances {
    for held in before.values_mut() {
        held.insert("fees".into(), 0);
    }
    for held in after.values_mut() {
        held.insert("fees".into(), fees);
    }
    Balances { before, after }
}
