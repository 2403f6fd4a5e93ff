//! Batches of records: numbers without a gap, whoever sends them, and refusals that leave no trace.

use alloy_primitives::B256;
use proptest::prelude::*;
use sofie_model::contract::{Notary, Notary::NotaryErrors};
use sofie_model::proof::batch::{Batch, MAX_COUNT};
use sofie_model::{Account, Digest, Timestamp, contract};

use crate::chain::{Chain, Done};
use crate::world::creation;

struct Book {
    chain: Chain,
    notary: Account,
}

impl Book {
    fn new() -> Self {
        let mut chain = Chain::new(1_800_000_000);
        let notary = chain.deploy(&creation("Notary"));
        Self { chain, notary }
    }

    fn record(&mut self, by: u8, root: B256, count: u32) -> Result<Done, NotaryErrors> {
        self.chain.send(Account([by; 20]), self.notary, 0, &Notary::recordCall { root, count })
    }

    fn total(&mut self) -> u64 {
        self.chain.view(self.notary, &Notary::totalCall {})
    }
}

#[test]
fn the_contract_and_the_proof_have_one_limit() {
    let mut book = Book::new();
    assert_eq!(book.chain.view(book.notary, &Notary::MAX_COUNTCall {}), MAX_COUNT);
    for count in [0, MAX_COUNT + 1, u32::MAX] {
        let refused = book.record(1, B256::ZERO, count).map(drop);
        let expected = Notary::WrongCount { most: MAX_COUNT, got: count };
        assert_eq!(refused, Err(NotaryErrors::WrongCount(expected)));
    }
    assert_eq!(book.total(), 0);
    book.record(1, B256::ZERO, MAX_COUNT).unwrap();
    assert_eq!(book.total(), u64::from(MAX_COUNT));
}

#[test]
fn it_takes_no_money() {
    let mut book = Book::new();
    let sender = Account([1; 20]);
    book.chain.fund(sender, 5);
    let call = alloy_sol_types::SolCall::abi_encode(&Notary::recordCall { root: B256::ZERO, count: 1 });
    let [from, to] = [sender, book.notary].map(contract::address);
    assert!(book.chain.transact(from, to, 1, call.into()).is_err());
    assert_eq!((book.chain.balance(sender), book.total()), (5, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any sequence of calls by anyone, the same root again among them: what the model reads of each event follows the
    /// one before, and what was refused took no number.
    #[test]
    fn numbers_have_no_gap(calls in prop::collection::vec(
        (1_u8..4, 0_u8..3, prop_oneof![8 => 1..=MAX_COUNT, 1 => Just(0), 1 => MAX_COUNT + 1..]), 1..24,
    )) {
        let (mut book, mut next) = (Book::new(), 0);
        for (by, root, count) in calls {
            let root = B256::repeat_byte(root);
            match book.record(by, root, count) {
                Ok(done) => {
                    prop_assert!((1..=MAX_COUNT).contains(&count));
                    let [mut log] = <[_; 1]>::try_from(done.logs).expect("one event");
                    // The model knows the contract by where the deployer puts it, which is here, too.
                    prop_assert_eq!(log.address, contract::address(book.notary));
                    let at = Timestamp::from_seconds(7);
                    let batch = Batch { root: Digest(root.0), count, first: next, height: 3, at };
                    prop_assert_eq!(Batch::read(&log, 3, at), Ok(batch));
                    log.address = contract::address(Account([9; 20]));
                    prop_assert!(Batch::read(&log, 3, at).is_err());
                    next += u64::from(count);
                }
                Err(NotaryErrors::WrongCount(_)) => prop_assert!(count == 0 || count > MAX_COUNT),
            }
            prop_assert_eq!(book.total(), next);
        }
    }
}
