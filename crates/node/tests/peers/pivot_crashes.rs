//! Either node dies at every write of its journal and comes back on it: the swap ends as if nobody had.

use std::thread;

use sofie_model::Txid;
use sofie_node::journal::PauseAt;

use crate::market::{Life, Market, SWAPPED};
use crate::world::{PATIENCE, Who};

/// Longer than all the lives of a run on a busy machine.
const SECONDS: u64 = 600;
/// Runs beside each other.
const WAVE: u64 = 4;

struct Run {
    market: Market,
    lives: [Life; 2],
    died: bool,
}

impl Run {
    /// `whose` node (0 is Alice's) dies at this write of its first life.
    fn new(market: Market, whose: usize, write: u64) -> Self {
        let dies = |who: usize| (who == whose).then_some(PauseAt::Write(write));
        let lives = [
            market.life(&market.alice, &market.bob, dies(0)),
            market.life(&market.bob, &market.alice, dies(1)),
        ];
        Self { market, lives, died: false }
    }

    fn who(&self, place: usize) -> [&Who; 2] {
        let Market { alice, bob, .. } = &self.market;
        if place == 0 { [alice, bob] } else { [bob, alice] }
    }

    /// Starts again whoever has died.
    fn revive(&mut self) {
        for place in [0, 1] {
            if !self.lives[place].is_dead() {
                continue;
            }
            self.died = true;
            // The dead one lets its port and its journal go first.
            self.lives[place].end();
            let [who, peer] = self.who(place);
            self.lives[place] = self.market.life(who, peer, None);
        }
    }

    fn submit(&mut self) -> Txid {
        let since = std::time::Instant::now();
        loop {
            self.revive();
            match self.lives[0].submits(SECONDS) {
                Ok(txid) => return txid,
                Err(error) => assert!(since.elapsed() < PATIENCE, "{error:?}"),
            }
        }
    }

    /// Whether it died on its way.
    fn ends(mut self) -> bool {
        let txid = self.submit();
        let since = std::time::Instant::now();
        while !self.lives.iter().all(|life| !life.is_dead() && life.is_done(txid)) {
            self.revive();
            let kinds = || self.lives.iter().map(|life| life.kinds(txid)).collect::<Vec<_>>();
            assert!(since.elapsed() < PATIENCE, "{:?}", kinds());
            thread::sleep(std::time::Duration::from_millis(20));
        }
        self.market.ends(SWAPPED);
        self.died
    }
}

/// From the first write to one that is never made.
fn at_every_write(market: fn() -> Market, whose: usize) {
    for first in (1..).step_by(WAVE as usize) {
        let died: Vec<bool> = thread::scope(|scope| {
            let runs: Vec<_> = (first..first + WAVE)
                .map(|write| scope.spawn(move || Run::new(market(), whose, write).ends()))
                .collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        if died.contains(&false) {
            // Begun, intents of a lock and a decision, what was signed ahead, at least.
            assert!(first > 8, "it died only until write {first}");
            return;
        }
    }
}

#[test]
fn alices_node_dies_at_every_write_of_its_journal() {
    at_every_write(Market::new, 0);
}

#[test]
fn bobs_node_dies_at_every_write_of_its_journal() {
    at_every_write(Market::new, 1);
}

#[test]
fn the_claimants_node_of_a_single_hash_dies_at_every_write_of_its_journal() {
    at_every_write(Market::with_single_hash, 0);
}

#[test]
fn the_payers_node_of_a_single_hash_dies_at_every_write_of_its_journal() {
    at_every_write(Market::with_single_hash, 1);
}
