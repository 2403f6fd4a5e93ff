//! Others finish a leg whose keys they do not hold.

use sofie_ledgers::{Ledger, LedgerError, Presigned, Spend};
use sofie_model::{Class, Fact};

use crate::parties::{CLAIMANT, OPERATOR, PAYER, open, profile};
use crate::swap::{LEG, Scenario, carry_out, started};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_claims_with_the_claimants_word_and_refunds_with_the_payers() {
    let Some((node, payer)) = started(&[PAYER], 3).await else { return };
    let of = async |party| open(&node, &[party], profile(&[Class::Hashlock])).await.unwrap();
    let (claimant, stranger) = (of(CLAIMANT).await, of(OPERATOR).await);
    let theirs = stranger.hashlocks().unwrap();
    for (nonce, spend) in [(1, Spend::Claim), (2, Spend::Refund)] {
        let scenario = Scenario::new(&payer, nonce).await;
        let manifest = &scenario.manifest;
        let signer = if spend == Spend::Claim { &claimant } else { &payer };
        let (other, operation) = match spend {
            Spend::Claim => (&payer, scenario.claim()),
            Spend::Refund => (&claimant, scenario.refund()),
        };
        // Nothing to sign yet, and nothing to be finished.
        let early = signer.hashlocks().unwrap().presign(manifest, LEG, spend).await;
        assert!(matches!(early, Err(LedgerError::Transient { .. })), "{early:?}");
        carry_out(&node, &payer, &scenario.prepare()).await;
        assert!(matches!(stranger.intend(&operation).await, Err(LedgerError::Transient { .. })));
        let foreign = other.hashlocks().unwrap().presign(manifest, LEG, spend).await;
        assert!(matches!(foreign, Err(LedgerError::Refused { .. })), "{foreign:?}");

        let signed = signer.hashlocks().unwrap().presign(manifest, LEG, spend).await.unwrap();
        assert!(signed.bytes.len() <= sofie_ledgers::port::MAX_PRESIGNED_BYTES);
        let wrong = if spend == Spend::Claim { Spend::Refund } else { Spend::Claim };
        for bad in damaged(&signed).chain([Presigned { spend: wrong, ..signed.clone() }]) {
            let answer = theirs.accept(manifest, LEG, &bad).await;
            assert!(matches!(answer, Err(LedgerError::Refused { .. })), "{answer:?}");
        }
        theirs.accept(manifest, LEG, &signed).await.unwrap();
        if spend == Spend::Refund {
            node.pass(scenario.timelock + 1).await;
        }
        let evidence = carry_out(&node, &stranger, &operation).await;
        let expected = match spend {
            Spend::Claim => Fact::Applied(manifest.txid(), LEG),
            Spend::Refund => Fact::Reverted(manifest.txid(), LEG),
        };
        assert_eq!(evidence.fact, expected);
    }
}

/// The same with one byte changed, for some of the bytes; and nothing, and too much.
fn damaged(signed: &Presigned) -> impl Iterator<Item = Presigned> {
    let changed = |at: usize| {
        let mut bytes = signed.bytes.clone();
        bytes[at] ^= 1;
        bytes
    };
    let some = (0..signed.bytes.len()).step_by(7).map(changed);
    let all: Vec<Vec<u8>> =
        some.chain([vec![], vec![0; 5_000], [signed.bytes.as_slice(), &[0]].concat()]).collect();
    let spend = signed.spend;
    all.into_iter().map(move |bytes| Presigned { spend, bytes })
}
