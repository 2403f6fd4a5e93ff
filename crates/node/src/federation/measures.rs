//! The runtime's own measures, beside those of the HTTP door.

use std::fmt::{Result, Write};

use sofie_adapters::port::Counters;
use sofie_directory::store::Directory;
use sofie_model::Span;

use crate::http::metrics::{Kind, family, sample};
use crate::runtime::Runtime;
use crate::slack::Slacks;
use crate::webhooks::Measured;

/// A counter of an adapter: its name, and where it is found.
type Counted = (&'static str, fn(&Counters) -> u64);

/// What an adapter counts.
const COUNTED: [Counted; 8] = [
    ("received", |c| c.received),
    ("oversize", |c| c.oversize),
    ("malformed", |c| c.malformed),
    ("duplicate", |c| c.duplicates),
    ("unbound", |c| c.unbound),
    ("dropped", |c| c.dropped),
    ("reconnect", |c| c.reconnects),
    ("retransmission", |c| c.retransmissions),
];

pub(super) fn write(runtime: &Runtime, out: &mut dyn Write) -> Result {
    let running = [
        ("sofie_transactions_running", "Transactions that have not ended.", runtime.transactions().running()),
        (
            "sofie_transactions_halted",
            "Transactions that have halted and wait for the operator.",
            runtime.transactions().halted(),
        ),
        ("sofie_contracts_running", "Contracts that have not ended.", runtime.contracts().running()),
        ("sofie_things", "Things in the directory.", runtime.platforms().directory(Directory::len)),
    ];
    for (name, help, value) in running {
        family(out, name, Kind::Gauge, help)?;
        sample(out, name, &[], value)?;
    }
    slacks(&runtime.all_slacks(), out)?;
    let name = "sofie_ledger_quarantined";
    family(out, name, Kind::Gauge, "1 for a ledger that answers nonsense: nothing is asked of it.")?;
    for id in runtime.ledgers().keys() {
        let quarantined = u8::from(runtime.executor().quarantined(id).is_some());
        sample(out, name, &[("ledger", id.as_str())], quarantined)?;
    }
    family(out, "sofie_audit_records_total", Kind::Counter, "Records in the audit log.")?;
    sample(out, "sofie_audit_records_total", &[], runtime.auditor().len())?;
    webhooks(runtime, out)?;
    let name = "sofie_adapter_messages_total";
    family(out, name, Kind::Counter, "What each platform's adapter has counted since it was opened.")?;
    for (platform, counters) in runtime.platforms().counters() {
        for (what, value) in COUNTED {
            sample(out, name, &[("platform", &platform), ("what", what)], value(&counters))?;
        }
    }
    Ok(())
}

fn slacks(slacks: &Slacks, out: &mut dyn Write) -> Result {
    let seconds = |span: Span| format!("{}.{:03}", span.as_millis() / 1000, span.as_millis() % 1000);
    let name = "sofie_slack_alarms";
    family(out, name, Kind::Gauge, "Legs with less time left than the node may need to act.")?;
    sample(out, name, &[], slacks.alarms)?;
    let name = "sofie_slack_seconds";
    family(
        out,
        name,
        Kind::Gauge,
        "The least time that any leg has left; no sample while none rests on time.",
    )?;
    if let Some(least) = slacks.least {
        sample(out, name, &[], seconds(least))?;
    }
    let name = "sofie_leg_slack_seconds";
    family(
        out,
        name,
        Kind::Gauge,
        "The time that a leg has left until what is due must be sent: the most urgent 64.",
    )?;
    for (transaction, leg, ledger, slack) in &slacks.urgent {
        let (transaction, leg) = (transaction.to_string(), leg.0.to_string());
        let labels = [
            ("transaction", transaction.as_str()),
            ("leg", &leg),
            ("ledger", ledger.as_str()),
            ("due", slack.due.as_str()),
        ];
        sample(out, name, &labels, seconds(slack.left))?;
    }
    Ok(())
}

fn webhooks(runtime: &Runtime, out: &mut dyn Write) -> Result {
    type Measure = (&'static str, Kind, &'static str, fn(&Measured) -> u64);
    const MEASURES: [Measure; 4] = [
        ("sofie_webhook_up", Kind::Gauge, "1 unless the receiver did not take its last event.", |w| {
            w.ok.into()
        }),
        (
            "sofie_webhook_behind",
            Kind::Gauge,
            "Records of the audit log that the receiver has not come to.",
            |w| w.behind,
        ),
        ("sofie_webhook_delivered_total", Kind::Counter, "Events that the receiver has taken.", |w| {
            w.delivered
        }),
        ("sofie_webhook_failures_total", Kind::Counter, "Tries that the receiver has not taken.", |w| {
            w.failed
        }),
    ];
    let measured = runtime.webhooks().measured();
    for (name, kind, help, value) in MEASURES {
        family(out, name, kind, help)?;
        for webhook in &measured {
            sample(out, name, &[("webhook", &webhook.name)], value(webhook))?;
        }
    }
    Ok(())
}
