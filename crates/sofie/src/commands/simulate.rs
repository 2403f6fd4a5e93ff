//! `sofie simulate`: whole worlds from seeds, in which no promise may break; and broken protocols, which must.

use std::process::ExitCode;
use std::time::Instant;

use serde_json::{Value, json};
use sofie_testkit::simulation::{self, Mutant, Outcome, Sweep};

use crate::cli::{MutantName, Simulate};
use crate::failure::Failure;
use crate::output::{self, Format};

/// So many worlds are run, unless more or fewer are asked for.
const WORLDS: u64 = 100;
/// So many at most until a broken protocol is found out: the rarest needs 900.
const SEARCHED: u64 = 2_000;

pub(crate) fn run(args: &Simulate) -> Result<ExitCode, Failure> {
    let mutant = match args.mutant {
        Some(MutantName::List) => {
            list(args.output.output);
            return Ok(ExitCode::SUCCESS);
        }
        Some(MutantName::One(mutant)) => Some(mutant),
        None => None,
    };
    // Worlds are threads of their own: this one belongs to the runtime.
    tokio::task::block_in_place(|| match args.seed {
        Some(seed) => one(args, seed, mutant),
        None => many(args, mutant),
    })
}

fn list(format: Format) {
    match format {
        Format::Json => {
            let all = Mutant::ALL.iter().map(|one| json!({ "name": one.name(), "breaks": one.breaks() }));
            output::json(&all.collect::<Vec<_>>());
        }
        Format::Text => {
            let rows = Mutant::ALL.iter().map(|one| vec![one.name().to_owned(), one.breaks().to_owned()]);
            output::table(&["MUTANT", "BREAKS"], &rows.collect::<Vec<_>>());
        }
    }
}

fn one(args: &Simulate, seed: u64, mutant: Option<Mutant>) -> Result<ExitCode, Failure> {
    let world = std::thread::scope(|scope| scope.spawn(|| simulation::run(seed, mutant, args.trace)).join());
    let world = world
        .map_err(|_| {
            Failure::refused("run the world", "it broke off", "this is a fault of the simulation: report it")
        })?
        .map_err(unrun)?;
    match args.output.output {
        Format::Json => output::json(&outcome(&world)),
        Format::Text => {
            world.trace.iter().for_each(|line| output::line(line));
            output::line(&format!("seed {seed}  {} steps, {} s", world.steps, world.lasted / 1_000));
            output::line(&format!("rests on  {}", world.labels.join(", ")));
            output::line(&happened(world.tally));
            if world.beyond {
                output::line(
                    "beyond    a ledger breaks its declared finality: from then on P3, P4 and the sums are judged",
                );
            }
            if world.asleep {
                output::line(
                    "asleep    executors are away for longer than was declared: the pivot may part from D",
                );
            }
        }
    }
    verdict(&[world], mutant)
}

fn many(args: &Simulate, mutant: Option<Mutant>) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    let seeds = args.seeds.unwrap_or(if mutant.is_some() { SEARCHED } else { WORLDS });
    let end = args.from.saturating_add(seeds);
    let sweep = simulation::sweep(args.from..end, mutant).map_err(unrun)?;
    let spent = began.elapsed().as_secs_f64();
    if output::person_is_there() {
        let pace = sweep.worlds as f64 / spent;
        output::say(&format!("{} worlds in {spent:.1} s, {pace:.0} a second", sweep.worlds));
    }
    match args.output.output {
        Format::Json => output::json(&summary(args.from, &sweep)),
        Format::Text => {
            output::line(&format!("worlds    {} from seed {}", sweep.worlds, args.from));
            let labels = sweep.labels.iter().map(|(label, count)| format!("{count} {label}"));
            output::line(&format!("rest on   {}", labels.collect::<Vec<_>>().join(", ")));
            output::line(&happened(sweep.tally));
            output::line(&format!(
                "beyond    {} worlds with a ledger that breaks its declared finality: {} transactions halted",
                sweep.beyond, sweep.tally.halted
            ));
            output::line(&format!(
                "asleep    {} worlds whose executors are away for longer than was declared: {} pivots parted from D",
                sweep.asleep, sweep.tally.parted
            ));
        }
    }
    if let (Some(mutant), None) = (mutant, &sweep.found) {
        let why = format!("{seeds} worlds from seed {} break no promise", args.from);
        let next =
            format!("try more: `sofie simulate --mutant {mutant} --seeds {}`", seeds.saturating_mul(10));
        return Err(Failure::lacking(&format!("find {mutant} out"), why, &next));
    }
    verdict(sweep.found.as_slice(), mutant)
}

fn happened(tally: simulation::Tally) -> String {
    let simulation::Tally { crashes, undone, committed, aborted, claimed, refunded, .. } = tally;
    format!(
        "happened  {committed} committed, {aborted} aborted, {claimed} claimed, {refunded} refunded, \
         {crashes} crashes, {undone} blocks undone"
    )
}

fn unrun(error: std::io::Error) -> Failure {
    Failure::lacking("run a world", error, "free some memory, or raise the limit of open files")
}

/// Exit 1 with the seed and how to see it again, or 0.
fn verdict(worlds: &[Outcome], mutant: Option<Mutant>) -> Result<ExitCode, Failure> {
    let found = worlds.iter().find_map(|one| Some((one, one.violation.as_ref()?)));
    let Some((world, violation)) = found else {
        output::say("no promise is broken");
        return Ok(ExitCode::SUCCESS);
    };
    let seconds = violation.at as f64 / 1_000.0;
    let why =
        format!("seed {} breaks {} at {seconds:.3} s: {}", world.seed, violation.promise, violation.what);
    let flag = mutant.map(|one| format!(" --mutant {one}")).unwrap_or_default();
    let again = format!("see it with `sofie simulate --seed {} --trace{flag}`", world.seed);
    Err(Failure::refused("keep every promise", why, &again))
}

fn found(world: &Outcome) -> Value {
    let Some(violation) = &world.violation else { return Value::Null };
    let (promise, at, what) = (violation.promise, violation.at, &violation.what);
    json!({ "seed": world.seed, "promise": promise, "at_ms": at, "what": what })
}

fn counts(tally: simulation::Tally) -> Value {
    let simulation::Tally { crashes, undone, committed, aborted, claimed, refunded, parted, halted } = tally;
    json!({
        "committed": committed,
        "aborted": aborted,
        "claimed": claimed,
        "refunded": refunded,
        "parted": parted,
        "halted": halted,
        "crashes": crashes,
        "blocks_undone": undone,
    })
}

fn outcome(world: &Outcome) -> Value {
    json!({
        "seed": world.seed,
        "steps": world.steps,
        "lasted_ms": world.lasted,
        "labels": world.labels,
        "beyond": world.beyond,
        "asleep": world.asleep,
        "happened": counts(world.tally),
        "violation": found(world),
        "trace": world.trace,
    })
}

fn summary(from: u64, sweep: &Sweep) -> Value {
    json!({
        "from": from,
        "worlds": sweep.worlds,
        "labels": sweep.labels,
        "beyond": sweep.beyond,
        "asleep": sweep.asleep,
        "happened": counts(sweep.tally),
        "violation": sweep.found.as_ref().map_or(Value::Null, found),
    })
}
