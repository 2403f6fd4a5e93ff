//! Worlds in which each node acts for participants of its own, and those who cheat are at none.

use sofie_model::Account;

use super::super::dice::Dice;
use super::super::keys::{PEOPLE, account};
use super::Scenario;

impl Scenario {
    /// Whether the account's owner is at no node.
    pub(in super::super) fn is_outside(&self, who: Account) -> bool {
        self.outside.iter().any(|one| account(*one) == who)
    }

    /// Whether each node waits, before a secret is released, for what the others sign ahead: all of them do, where nobody
    /// who takes part is at no node.
    pub(in super::super) fn awaits_words(&self) -> bool {
        self.split && self.outside.is_empty()
    }

    /// Whether the account's key is at this node.
    pub(in super::super) fn holds(&self, node: usize, who: Account) -> bool {
        self.nodes[node].acts_for.iter().any(|one| account(*one) == who)
    }
}

/// Makes so many worlds of a hundred such ones: at most one node a participant, and one or two who cheat together, or
/// none.
pub(super) fn split(world: &mut Scenario, chance: u64, dice: &mut Dice) {
    if !dice.percent(chance) {
        return;
    }
    world.split = true;
    world.hostile |= dice.percent(40);
    if world.hostile {
        let first = u8::try_from(dice.below(u64::from(PEOPLE))).unwrap_or(0);
        world.outside.push(first);
        if dice.percent(30) {
            world.outside.push((first + 1) % PEOPLE);
        }
    }
    let honest: Vec<u8> = (0..PEOPLE).filter(|who| !world.outside.contains(who)).collect();
    world.nodes.truncate(honest.len());
    let nodes = world.nodes.len();
    for (n, node) in world.nodes.iter_mut().enumerate() {
        let here = honest.iter().enumerate().filter(|(place, _)| place % nodes == n);
        node.acts_for = here.map(|(_, who)| *who).collect();
    }
}
