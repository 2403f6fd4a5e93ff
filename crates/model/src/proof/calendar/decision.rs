//! When a log holds the decision: what a reader who has the manifest checks of an entry (docs/specs/inter-ledger.md,
//! "A log that decides"), and of a quorum's certificate ([`check_rules`]). The rules are those of `contracts/src/Decision.sol`; of the valid entries of one transaction
//! the first counts.
//!
//! A log has no sender whom it knows. So where the contract looks at who calls, a log wants a signature.

use crate::{
    Account, Decision, Digest, Manifest, Signature, Timestamp,
    contract::{abort_digest, commit_digest},
    manifest::Participant,
};

/// Checks a decision that a log took `at`. `signatures` is the guard's for COMMIT (needed after T_D only), and for ABORT
/// before G its author's, or one of each participant in their order.
///
/// ```
/// use sofie_model::{Account, Decision, Manifest, Timestamp, proof::calendar::decision};
/// fn anyone_aborts_after_g(manifest: &Manifest, at: Timestamp) -> bool {
///     let abort = Decision::Abort { by: Account::ZERO };
///     decision::check(manifest, &abort, &[], at).is_ok() == (at.as_seconds() > manifest.grace_end().as_seconds())
/// }
/// ```
///
/// # Errors
/// What is against it, for a person. What is against a COMMIT once is against it at any later time, too.
pub fn check(
    manifest: &Manifest,
    decision: &Decision,
    signatures: &[Signature],
    at: Timestamp,
) -> Result<(), String> {
    let site = &manifest.decision;
    ensure((site.chain_id, site.contract) == (0, Account::ZERO), || {
        "the manifest's decision is a contract's or a group's, and no log's".into()
    })?;
    check_rules(manifest, decision, signatures, at)
}

/// The rules alone, whichever D the manifest names.
///
/// # Errors
/// As [`check`].
pub fn check_rules(
    manifest: &Manifest,
    decision: &Decision,
    signatures: &[Signature],
    at: Timestamp,
) -> Result<(), String> {
    match decision {
        Decision::Commit { included, evidence_root, preimages } => {
            ensure(manifest.quorum().allows(*included), || {
                format!("the rule does not allow a COMMIT of legs {included:b}")
            })?;
            check_preimages(&manifest.participants, preimages)?;
            check_commit_time(manifest, (*included, *evidence_root), signatures, at)
        }
        Decision::Abort { by } => check_abort(manifest, *by, signatures, at),
    }
}

fn check_preimages(participants: &[Participant], preimages: &[Digest]) -> Result<(), String> {
    let (expected, got) = (participants.len(), preimages.len());
    ensure(got == expected, || format!("{expected} preimages are expected, got {got}"))?;
    let opens =
        |(one, preimage): (&Participant, &Digest)| Digest::sha256(preimage.as_bytes()) == one.hashlock;
    let wrong = participants.iter().zip(preimages).position(|pair| !opens(pair));
    wrong.map_or(Ok(()), |index| Err(format!("preimage {index} does not open its hashlock")))
}

/// Until T_D by whoever has the preimages, until G with the guard's signature. In whole seconds, as contracts count.
fn check_commit_time(
    manifest: &Manifest,
    (included, evidence_root): (u64, Digest),
    signatures: &[Signature],
    at: Timestamp,
) -> Result<(), String> {
    ensure(signatures.len() <= 1, || "a COMMIT has the guard's signature at the most".into())?;
    if at.as_seconds() <= manifest.deadline.as_seconds() {
        return Ok(());
    }
    let until = manifest.grace_end().as_seconds();
    ensure(at.as_seconds() <= until, || format!("the last second of a COMMIT was {until}"))?;
    let digest = commit_digest(manifest, included, evidence_root);
    let signed = signatures.first().is_some_and(|one| one.signer(digest) == Ok(manifest.guard));
    ensure(signed, || format!("after the deadline the guard {} must sign", manifest.guard))
}

/// After G by anyone. Before, with every participant's signature, or without a guard with its author's.
fn check_abort(
    manifest: &Manifest,
    by: Account,
    signatures: &[Signature],
    at: Timestamp,
) -> Result<(), String> {
    let participants = &manifest.participants;
    ensure(signatures.len() <= participants.len(), || "more signatures than participants".into())?;
    if at.as_seconds() > manifest.grace_end().as_seconds() {
        return Ok(());
    }
    let digest = abort_digest(manifest);
    let signed = |account: Account, one: &Signature| one.signer(digest) == Ok(account);
    let all = signatures.len() == participants.len()
        && participants.iter().zip(signatures).all(|(one, signature)| signed(one.account, signature));
    let alone = manifest.guard == Account::ZERO
        && participants.iter().any(|one| one.account == by)
        && matches!(signatures, [one] if signed(by, one));
    ensure(all || alone, || {
        let first = manifest.grace_end().as_seconds() + 1;
        let who = if manifest.guard == Account::ZERO { "one" } else { "every" };
        format!("before second {first} an ABORT needs the signature of {who} participant")
    })
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

#[cfg(test)]
mod tests {
    use k256::ecdsa::SigningKey;

    use super::*;
    use crate::{Class, Finality, Leg, Rule, Span, Terms, manifest::DecisionSite};

    const DEADLINE: u64 = 100;
    const GRACE: u64 = 50;

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_slice(&[byte; 32]).unwrap()
    }

    fn account(byte: u8) -> Account {
        Account::from(key(byte).verifying_key())
    }

    fn secret(byte: u8) -> Digest {
        Digest([byte; 32])
    }

    /// Two participants (keys 1 and 2), a required and an optional leg; with a guard (key 3) it has a grace.
    fn manifest(guarded: bool) -> Manifest {
        let leg = |required| Leg {
            ledger: "calendar".parse().unwrap(),
            class: Class::Record,
            finality: Finality::Instant,
            required,
            terms: Terms::Record(secret(u8::from(required))),
            fee_limit: 0,
        };
        let participant =
            |byte| Participant { account: account(byte), hashlock: Digest::sha256(&[byte; 32]) };
        Manifest {
            version: 1,
            legs: vec![leg(true), leg(false)],
            rule: Rule::AtLeast(1),
            decision: DecisionSite {
                ledger: "calendar".parse().unwrap(),
                chain_id: 0,
                contract: Account::ZERO,
                finality: Finality::Instant,
                fee_limit: 0,
            },
            deadline: Timestamp::from_seconds(DEADLINE),
            grace: if guarded { Span::from_seconds(GRACE) } else { Span::ZERO },
            guard: if guarded { account(3) } else { Account::ZERO },
            participants: vec![participant(1), participant(2)],
            nonce: Digest::ZERO,
        }
    }

    fn commit(included: u64, preimages: &[u8]) -> Decision {
        let preimages = preimages.iter().map(|byte| secret(*byte)).collect();
        Decision::Commit { included, evidence_root: secret(9), preimages }
    }

    #[track_caller]
    fn assert_valid(
        manifest: &Manifest,
        decision: &Decision,
        signatures: &[Signature],
        at: u64,
        valid: bool,
    ) {
        // The last millisecond of a second is still that second.
        let at = Timestamp::from_millis(at * 1000 + 999);
        let checked = check(manifest, decision, signatures, at);
        assert_eq!(checked.is_ok(), valid, "{checked:?}");
    }

    #[test]
    fn a_commit_needs_the_rule_every_preimage_and_the_time() {
        let manifest = manifest(false);
        for (included, preimages, at, valid) in [
            (0b01, &[1, 2][..], DEADLINE, true),
            (0b11, &[1, 2], 0, true),
            (0b10, &[1, 2], 0, false),
            (0b101, &[1, 2], 0, false),
            (0b01, &[2, 1], 0, false),
            (0b01, &[1], 0, false),
            (0b01, &[1, 2, 3], 0, false),
            (0b01, &[1, 2], DEADLINE + 1, false),
        ] {
            assert_valid(&manifest, &commit(included, preimages), &[], at, valid);
        }
        let mut other = manifest;
        other.decision.chain_id = 1;
        assert_valid(&other, &commit(0b01, &[1, 2]), &[], 0, false);
    }

    #[test]
    fn after_the_deadline_the_guard_signs_this_commit() {
        let manifest = manifest(true);
        let digest = |included| commit_digest(&manifest, included, secret(9));
        let (guard, other) = (Signature::by(&key(3), digest(1)), Signature::by(&key(1), digest(1)));
        let another = Signature::by(&key(3), digest(0b11));
        let decision = commit(0b01, &[1, 2]);
        for (signatures, at, valid) in [
            (&[][..], DEADLINE, true),
            (&[guard], DEADLINE, true),
            (&[], DEADLINE + 1, false),
            (&[guard], DEADLINE + 1, true),
            (&[guard], DEADLINE + GRACE, true),
            (&[guard], DEADLINE + GRACE + 1, false),
            (&[other], DEADLINE + 1, false),
            (&[another], DEADLINE + 1, false),
            (&[guard, guard], DEADLINE + 1, false),
        ] {
            assert_valid(&manifest, &decision, signatures, at, valid);
        }
    }

    #[test]
    fn an_abort_is_signed_or_late() {
        for guarded in [false, true] {
            let manifest = manifest(guarded);
            let end = if guarded { DEADLINE + GRACE } else { DEADLINE };
            let by = |byte| Signature::by(&key(byte), abort_digest(&manifest));
            let (both, alone) = ([by(1), by(2)], [by(1)]);
            let abort = |byte| Decision::Abort { by: account(byte) };
            for (who, signatures, at, valid) in [
                (1, &both[..], 0, true),
                (1, &alone, 0, !guarded),
                (2, &alone, 0, false),
                (1, &[by(2), by(1)], 0, false),
                (3, &[by(3)], 0, false),
                (1, &[], end, false),
                (7, &[], end + 1, true),
                (1, &[by(1); 3], end + 1, false),
            ] {
                assert_valid(&manifest, &abort(who), signatures, at, valid);
            }
        }
    }
}
