//! What each call costs, as a receipt says it: with the 21,000 of every transaction and its calldata, less refunds.
//! The committed snapshot is compared to the unit; `SOFIE_UPDATE=1` writes it anew.

use std::fmt::Write as _;

use sofie_model::{
    Account, Digest,
    attestation::typed_digest,
    contract::{self, Escrow, Notary, word},
    manifest::Participant,
};

use crate::{
    chain::Chain,
    dispute, panel,
    world::{
        AMOUNT, DEADLINE, DECIDED_AT, LAST_SUBMISSION, Moved, World, contracts_folder, creation,
        evidence_root,
    },
};

/// Two participants' COMMIT, and a lock, stay under this.
const CEILING: u64 = 60_000;
/// A transfer that is paid with its decision checked stays under this.
const CLAIM_CEILING: u64 = 45_000;

/// A record of a batch of [`RECORDS`] stays under this.
const RECORD_CEILING: u64 = 10;
const RECORDS: u32 = 10_000;

/// Name and gas, in the order of a transaction's life.
type Bill = Vec<(String, u64)>;

fn deployments() -> Bill {
    let mut chain = Chain::new(0);
    let deployer = contract::address(contract::DEPLOYER);
    let mut gas = |creation: &[u8]| {
        let sent =
            chain.transact(alloy_primitives::Address::ZERO, deployer, 0, contract::deployment(creation));
        sent.expect("deploys").gas
    };
    let decision = gas(&creation("Decision"));
    let address = contract::decision_address(&creation("Decision"));
    let escrow = gas(&contract::escrow_creation(&creation("Escrow"), address));
    let notary = gas(&creation("Notary"));
    [("Decision", decision), ("Escrow", escrow), ("Notary", notary)]
        .map(|(name, gas)| (format!("{name} (deployment)"), gas))
        .into()
}

/// COMMIT by this many participants.
fn commit_of(count: u8) -> u64 {
    let mut world = World::new();
    world.secrets = (0..count).map(|one| Digest::sha256(&[one])).collect();
    world.manifest.participants = (world.secrets.iter())
        .map(|secret| Participant {
            account: Account(Digest::sha256(secret.as_bytes()).0[12..].try_into().expect("20 bytes")),
            hashlock: Digest::sha256(secret.as_bytes()),
        })
        .collect();
    world.chain.time = DECIDED_AT;
    let call = world.committing(0b11);
    world.commit(&call).expect("commits").gas
}

fn commit_by_guard() -> u64 {
    let mut world = World::guarded();
    world.chain.time = DEADLINE + 1;
    let mut call = world.committing(0b11);
    let message =
        contract::Commit { txid: word(world.txid()), included: 0b11, evidenceRoot: word(evidence_root()) };
    call.guardSignature = world.guard.sign(typed_digest(&message, world.chain.id, world.decision));
    world.commit(&call).expect("commits").gas
}

fn decisions() -> Bill {
    let mut bill: Bill = [1, 2, 4, 16]
        .into_iter()
        .map(|count| (format!("Decision.commit, participants: {count}"), commit_of(count)))
        .collect();
    bill.push(("Decision.commit, with the guard's signature".into(), commit_by_guard()));
    let mut world = World::new();
    let by = world.renter.account;
    bill.push(("Decision.abort, by a participant".into(), world.abort(by, vec![]).expect("aborts").gas));
    let mut world = World::guarded();
    let digest = typed_digest(&contract::Abort { txid: word(world.txid()) }, world.chain.id, world.decision);
    let signatures = vec![world.renter.sign(digest), world.locker.sign(digest)];
    let by = world.stranger.account;
    bill.push((
        "Decision.abort, with every signature".into(),
        world.abort(by, signatures).expect("aborts").gas,
    ));
    let mut world = World::new();
    world.chain.time = DEADLINE + 1;
    let by = world.stranger.account;
    bill.push(("Decision.abort, by anyone after G".into(), world.abort(by, vec![]).expect("aborts").gas));
    bill
}

fn escrows() -> Bill {
    let mut world = World::new();
    let prepare = world.prepare().expect("prepares").gas;
    world.chain.time = DECIDED_AT;
    world.commit(&world.committing(0b11)).expect("commits");
    let apply = world.apply().expect("applies").gas;
    let call = world.settling(world.attestation(DECIDED_AT + 10));
    let settle = world.settle(&call).expect("settles").gas;

    let mut world = World::new();
    world.arm();
    world.chain.time = LAST_SUBMISSION + 1;
    let refund = world.refund().expect("refunds").gas;

    let mut world = World::new();
    world.prepare().expect("prepares");
    world.abort(world.renter.account, vec![]).expect("aborts");
    let undo = world.undo().expect("undoes").gas;
    [("prepare", prepare), ("apply_", apply), ("undo", undo), ("settle", settle), ("refund", refund)]
        .map(|(name, gas)| (format!("Escrow.{name}"), gas))
        .into()
}

/// A settlement by k of n owners of sensors.
fn panels() -> Bill {
    let bill = [(2, 3), (16, 16)].map(|(threshold, owners)| {
        (format!("Escrow.settle, {threshold} of {owners}"), panel::settled_by(threshold, owners).gas)
    });
    bill.into()
}

/// An escrow whose evidence may be overruled; the other calls cost as without an arbiter.
fn disputes() -> Bill {
    dispute::bill().map(|(name, gas)| (format!("Escrow.{name}, with an arbiter"), gas)).into()
}

/// A transfer's life; its payee exists already.
fn transfers() -> Bill {
    let lock = |world: &mut World| {
        let call = Escrow::prepareCall { lock: world.transfer() };
        let done: Moved = world.chain.send(world.renter.account, world.escrow, AMOUNT, &call);
        done.expect("prepares").gas
    };
    let mut world = World::new();
    let prepare = lock(&mut world);
    world.commit(&world.committing(0b11)).expect("commits");
    let call = Escrow::apply_Call { lock: world.transfer() };
    let paid: Moved = world.chain.send(world.stranger.account, world.escrow, 0, &call);

    let mut world = World::new();
    lock(&mut world);
    world.abort(world.renter.account, vec![]).expect("aborts");
    let call = Escrow::undoCall { lock: world.transfer() };
    let undone: Moved = world.chain.send(world.stranger.account, world.escrow, 0, &call);
    [("prepare", prepare), ("apply_", paid.expect("pays").gas), ("undo", undone.expect("undoes").gas)]
        .map(|(name, gas)| (format!("Escrow.{name}, a transfer"), gas))
        .into()
}

/// The first batch of all fills the contract's one slot; every later one changes it. How many records there are is of
/// no account.
fn batches() -> Bill {
    let mut chain = Chain::new(0);
    let notary = chain.deploy(&creation("Notary"));
    let mut gas = |count: u32| {
        let call = Notary::recordCall { root: word(evidence_root()), count };
        let done: Result<_, Notary::NotaryErrors> = chain.send(Account([1; 20]), notary, 0, &call);
        done.expect("records").gas
    };
    let bill = [("the first batch", gas(1)), ("1 record", gas(1)), ("10000 records", gas(RECORDS))];
    bill.map(|(name, gas)| (format!("Notary.record, {name}"), gas)).into()
}

#[test]
fn each_call_costs_what_the_snapshot_says() {
    let bill = [deployments(), decisions(), escrows(), panels(), disputes(), transfers(), batches()].concat();
    let mut measured = String::new();
    for (name, gas) in &bill {
        writeln!(measured, "{name:<45}{gas:>9}").expect("a string takes all");
    }
    let path = contracts_folder().join("gas-snapshot.txt");
    if std::env::var_os("SOFIE_UPDATE").is_some() {
        std::fs::write(&path, &measured).expect("writes the snapshot");
    }
    let committed = std::fs::read_to_string(&path).expect("contracts/gas-snapshot.txt");
    assert_eq!(
        measured.lines().collect::<Vec<_>>(),
        committed.lines().collect::<Vec<_>>(),
        "set SOFIE_UPDATE=1 when the change is meant"
    );
    let ceilings = [
        ("Decision.commit, participants: 2", CEILING),
        ("Escrow.prepare", CEILING),
        ("Escrow.prepare, a transfer", CEILING),
        ("Escrow.apply_, a transfer", CLAIM_CEILING),
        ("Notary.record, 10000 records", RECORD_CEILING * u64::from(RECORDS)),
    ];
    for (name, ceiling) in ceilings {
        let (_, gas) = bill.iter().find(|(other, _)| other == name).expect("measured");
        assert!(*gas < ceiling, "{name} costs {gas} gas, less than {ceiling} is aimed at");
    }
}
