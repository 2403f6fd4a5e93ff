//! The kinds of tales that the tests begin with, and what the node recorded of each.

use super::*;

impl Tale {
    pub fn new(story: Story) -> Self {
        Self {
            story,
            nonce: 0,
            price: PRICE,
            prepared_on_chain_at: 2,
            prepared_in_log_at: 3,
            decided_at: 5,
            included: 0b11,
            preimages: vec![secret(0x51), secret(0x52)],
            root: None,
            aborted_by: account(&renter()),
            second_decision: false,
            applied_on_chain_at: Some(6),
            applied_in_log_at: Some(7),
            entered: None,
            told_at: 8,
            observed_at: 10,
            retained: false,
            value: Value::Text("open".into()),
            observed_thing: sensor(),
            attestor: sensor_co(),
            attest: |_| {},
            noted_at: Some(12),
            settled_at: 14,
            settled_for: None,
            refunded_at: EVIDENCE_DEADLINE + WINDOW + 1,
            both_ways: false,
            things_noted_at: Some(1),
            records: records(story),
            two_nodes: false,
            dispute: None,
            overruled_at: (story == Story::Overruled).then_some(14),
            agreed_dispute: None,
            bound_to: None,
            shown: Vec::new(),
            paid_for: [0, 1],
            tell: |_, _| {},
            of_panel: |_| {},
            staked: false,
            of_stake: |_| {},
            returned_at: STAKE_UNTIL + WINDOW + 1,
        }
    }

    /// A settled one, of which the owner has his stake back.
    pub fn kept() -> Self {
        Self { staked: true, included: 0b11, ..Self::between_nodes() }
    }

    /// The door was still shut when it was due: the renter has his money back, and the stake.
    pub fn missed() -> Self {
        Self {
            story: Story::Penalised,
            records: records(Story::Penalised),
            value: Value::Text("shut".into()),
            observed_at: EVIDENCE_DEADLINE + 10,
            settled_at: EVIDENCE_DEADLINE + 15,
            attest: |said| said.leg = LegId(1),
            ..Self::kept()
        }
    }

    /// A settled one of three sensors, of which two must attest.
    pub fn of_panel(two_nodes: bool) -> Self {
        let tale = if two_nodes { Self::between_nodes() } else { Self::settled() };
        Self { shown: vec![0, 1], ..tale }
    }

    pub fn settled() -> Self {
        Self::new(Story::Settled)
    }

    pub fn refunded() -> Self {
        Self::new(Story::Refunded)
    }

    pub fn aborted() -> Self {
        Self::new(Story::Aborted)
    }

    /// One with an arbiter, who has ten seconds.
    pub fn disputable(story: Story) -> Self {
        let paid = if story == Story::Settled { 23 } else { 14 };
        let mut tale = Self { dispute: Some((10, Some(12))), settled_at: paid, ..Self::new(story) };
        if let Some(last) = tale.records.last_mut().filter(|_| story == Story::Settled) {
            *last = ("settled", paid);
        }
        tale
    }

    /// A settled one between two nodes.
    pub fn between_nodes() -> Self {
        Self { two_nodes: true, included: 0b1, noted_at: None, ..Self::settled() }
    }
}

fn records(story: Story) -> Vec<(&'static str, u64)> {
    let mut records = vec![("offered", 1), ("accepted", 1), ("prepared", 2), ("decided", 5)];
    if story == Story::Aborted {
        return records;
    }
    records.extend([("applied", 6), ("capability-issued", 8), ("actuated", 8)]);
    match story {
        Story::Overruled => records.extend([("observed", 10), ("attested", 11), ("overruled", 14)]),
        Story::Settled => {
            records.extend([("observed", 10), ("attested", 11), ("noted", 12), ("settled", 14)])
        }
        _ => records.push(("refunded", EVIDENCE_DEADLINE + WINDOW + 1)),
    }
    records
}
