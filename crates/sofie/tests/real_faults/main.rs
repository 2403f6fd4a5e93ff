//! A node whose real ledgers fail it, and that is killed: ether on anvil against bitcoin on a bitcoind, recorded in the node's
//! own calendar, on all three or on none. What moved is counted to the unit, at the ledgers' own doors.

#[path = "../common/bitcoin.rs"]
mod bitcoin;
mod books;
#[path = "../common/mod.rs"]
mod common;
mod crashes;
mod proxies;

use std::time::Instant;

use bitcoin::Bitcoin;
use common::company::{Company, PATIENCE, PAUSE, endow, ethereum, leg};
use serde_json::{Value, json};
use sofie_peers::Anvil;

/// Seconds until T_D: a start of the node more than once lies before it.
const DEADLINE: u64 = 120;

/// A node that acts for both: Alice has ether, Bob is to have bitcoin.
async fn node(chain: &Anvil) -> Company {
    let company = Company::new("alice", &["bob"], chain).await;
    endow(chain, &company.others[0].1).await;
    company
}

/// Its ledgers, the chains asked at these addresses.
fn ledgers(chain: &str, bitcoin: &Bitcoin, at: &str) -> String {
    let (chain, bitcoin) = (ethereum(chain), bitcoin.ledger(at));
    format!("{chain}skew = \"1s\"\n{bitcoin}\n[[ledger]]\nid = \"calendar\"\nkind = \"calendar\"\n")
}

/// What Alice pays in wei, and Bob in satoshi.
#[derive(Debug)]
struct Swap {
    name: &'static str,
    ether: u128,
    satoshi: u64,
}

impl Swap {
    fn draft(&self, company: &Company) -> String {
        let legs = [
            leg("ethereum", "transfer", "alice", "bob", self.ether),
            leg("bitcoin", "hashlock", "bob", "alice", self.satoshi.into()),
            json!({ "ledger": "calendar", "kind": "record", "payload": { "swap": self.name } }),
        ];
        company.written(self.name, DEADLINE, &legs)
    }

    /// Submits it until it is taken, under one key; gives the id.
    fn submit(&self, company: &Company) -> String {
        let (draft, since) = (self.draft(company), Instant::now());
        loop {
            let (code, told, said) = company.tx(&["submit", &draft, "--key", self.name, "-o", "json"]);
            match serde_json::from_str::<Value>(&told) {
                Ok(shown) if code == 0 => return shown["id"].as_str().expect("an id").to_owned(),
                _ => assert!(since.elapsed() < PATIENCE, "{} is not taken: {told}{said}", self.name),
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Waits for its end. Whether it took place, which every leg then agrees with.
    fn ended(&self, company: &Company, id: &str) -> bool {
        let done = company.until(id, "done", |shown| shown["phase"] == "done");
        let committed = done["decision"] == "commit";
        let states = done["legs"].as_array().expect("legs").iter().map(|leg| &leg["state"]);
        let closed = |state: &Value| match committed {
            true => state == "applied",
            false => state == "reverted" || state == "refused",
        };
        assert!(states.clone().all(closed), "{}: {done:#}", self.name);
        committed
    }
}
