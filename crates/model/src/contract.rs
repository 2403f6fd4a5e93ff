//! The contracts as Rust sees them: their ABI, and the pure arithmetic that both sides share.
//!
//! Written by hand to match `contracts/src/*.sol`; a test compares every selector and topic with the compiled artefacts.
//! What calls or deploys a contract is not here: `sofie-ledgers` holds the bytecode and the transport.

use alloy_primitives::{Address, B256, Bytes, hex, keccak256};
use alloy_sol_types::{SolValue, sol};

use crate::attestation::typed_digest;
use crate::manifest::{EscrowTerms, Terms as LegTerms, TransferTerms};
use crate::{Account, Digest, LegId, Manifest, Txid};

sol! {
    /// Who must reveal a preimage before COMMIT, and may abort.
    #[derive(Debug, PartialEq, Eq)]
    struct Participant {
        address account;
        bytes32 hashlock;
    }

    /// What D checks by itself: with the chain and the contract, the preimage of a txid. Times in seconds.
    #[derive(Debug, PartialEq, Eq)]
    struct Terms {
        bytes32 body;
        uint64 required;
        uint64 optional;
        uint16 atLeast;
        uint64 deadline;
        uint64 graceEnd;
        address guard;
        Participant[] participants;
    }

    /// An escrow leg's value and its conditions. Times in seconds.
    #[derive(Debug, PartialEq, Eq)]
    struct Lock {
        bytes32 txid;
        uint16 leg;
        address payer;
        address payee;
        uint128 amount;
        address evidenceKey;
        uint64 evidenceDeadline;
        uint64 submissionWindow;
    }

    /// Whose word settles an escrow, and who may overrule it for how long. Times in seconds.
    #[derive(Debug, PartialEq, Eq)]
    struct Dispute {
        address evidenceKey;
        address arbiter;
        uint32 window;
    }

    /// The decision ledger's contract.
    #[derive(Debug, PartialEq, Eq)]
    interface Decision {
        event Committed(bytes32 indexed txid, uint64 included, bytes32 evidenceRoot, bytes32[] preimages);
        event Aborted(bytes32 indexed txid, address by);

        error AlreadyDecided(bytes32 txid, uint8 kind, uint64 decidedAt, uint64 included);
        error TooLate(uint256 until, uint256 blockTime);
        error TooEarly(uint256 notBefore, uint256 blockTime);
        error WrongLegs(uint64 included, uint64 required, uint64 optional, uint16 atLeast);
        error WrongCount(uint256 expected, uint256 got);
        error WrongPreimage(uint256 index);
        error WrongSigner(address expected, address got);
        error BadSignature();
        error NotParticipant(address sender);

        function commit(Terms calldata terms, uint64 included, bytes32 evidenceRoot, bytes32[] calldata preimages, bytes calldata guardSignature) external;
        function abort(Terms calldata terms, bytes[] calldata signatures) external;
        function decisionOf(bytes32 txid) external view returns (uint8 kind, uint64 decidedAt, uint64 included);
        function txidOf(Terms calldata terms) external view returns (bytes32);
        function commitDigest(bytes32 txid, uint64 included, bytes32 evidenceRoot) external view returns (bytes32);
        function abortDigest(bytes32 txid) external view returns (bytes32);
    }

    /// The escrow contract.
    #[derive(Debug, PartialEq, Eq)]
    interface Escrow {
        event Prepared(bytes32 indexed txid, uint16 indexed leg, bytes32 lockId);
        event Applied(bytes32 indexed txid, uint16 indexed leg, bytes32 lockId);
        event Owed(bytes32 indexed txid, uint16 indexed leg, bytes32 lockId);
        event Collected(bytes32 indexed txid, uint16 indexed leg, bytes32 lockId, address to);
        event Reverted(bytes32 indexed txid, uint16 indexed leg, bytes32 lockId);
        event Refunded(bytes32 indexed txid, uint16 indexed leg, bytes32 lockId);
        event Settled(bytes32 indexed txid, uint16 indexed leg, bytes32 lockId, bytes32 observation, uint64 observedAt);
        event Presented(bytes32 indexed txid, uint16 indexed leg, bytes32 lockId, bytes32 observation, uint64 observedAt, uint64 until);
        event Overruled(bytes32 indexed txid, uint16 indexed leg, bytes32 lockId, bytes32 observation, uint64 observedAt);

        error AlreadyDecided(bytes32 txid, uint8 kind, uint64 decidedAt, uint64 included);
        error NotPayer(address payer, address sender);
        error WrongValue(uint256 expected, uint256 got);
        error NotPayee(address payee, address sender);
        error InterestedKey(address evidenceKey);
        error BadPanel();
        error WrongSum(bytes32 observation, uint64 observedAt);
        error NotPresented(bytes32 observation, uint64 observedAt);
        error WrongState(bytes32 lockId, uint8 expected, uint8 got);
        error Undecided(bytes32 txid);
        error LegIncluded(bytes32 txid, uint16 leg);
        error LegNotIncluded(bytes32 txid, uint16 leg, uint8 kind);
        error Unfulfilled();
        error ObservedOutside(uint256 observedAt, uint256 from, uint256 until);
        error TooLate(uint256 until, uint256 blockTime);
        error TooEarly(uint256 notBefore, uint256 blockTime);
        error WrongSigner(address expected, address got);
        error BadSignature();
        error PayoutFailed(address to, uint256 amount);

        function prepare(Lock calldata lock) external payable;
        function apply_(Lock calldata lock) external;
        function collect(Lock calldata lock, address to) external;
        function undo(Lock calldata lock) external;
        function settle(Lock calldata lock, bytes32 observation, bool fulfilled, uint64 observedAt, bytes calldata signature) external;
        function present(Lock calldata lock, Dispute calldata dispute, bytes32 observation, bool fulfilled, uint64 observedAt, bytes calldata signature) external;
        function pay(Lock calldata lock, bytes32 observation, uint64 observedAt) external;
        function overrule(Lock calldata lock, Dispute calldata dispute, bytes32 observation, uint64 observedAt, bytes calldata ruling) external;
        function refund(Lock calldata lock) external;
        function decision() external view returns (address);
        function lockIdOf(Lock calldata lock) external pure returns (bytes32);
        function stateOf(bytes32 lockId) external view returns (uint8 state, uint64 time);
        function panelOf(bytes calldata panel) external pure returns (address);
        function disputeOf(Dispute calldata dispute) external pure returns (address);
        function rulingDigest(bytes32 txid, uint16 leg, bytes32 observation, uint64 observedAt) external view returns (bytes32);
        function attestationDigest(bytes32 txid, uint16 leg, bytes32 observation, bool fulfilled, uint64 observedAt) external view returns (bytes32);
    }

    /// The contract that takes batches of records.
    #[derive(Debug, PartialEq, Eq)]
    interface Notary {
        event Recorded(bytes32 indexed root, uint64 first, uint32 count);

        error WrongCount(uint32 most, uint32 got);

        function record(bytes32 root, uint32 count) external returns (uint64 first);
        function total() external view returns (uint64);
        function MAX_COUNT() external view returns (uint32);
    }

    /// What the guard signs to allow a COMMIT between T_D and G.
    struct Commit {
        bytes32 txid;
        uint64 included;
        bytes32 evidenceRoot;
    }

    /// What every participant signs to abort before G under a guard.
    struct Abort {
        bytes32 txid;
    }

    /// What the evidence key signs ([`crate::Attestation`]).
    struct Attestation {
        bytes32 txid;
        uint16 leg;
        bytes32 observation;
        bool fulfilled;
        uint64 observedAt;
    }

    /// What an arbiter signs ([`crate::Ruling`]).
    struct Ruling {
        bytes32 txid;
        uint16 leg;
        bytes32 observation;
        uint64 observedAt;
    }
}

/// What is hashed before a [`Dispute`], so that its account is no other's.
const DISPUTE_DOMAIN: &[u8] = b"sofie.dispute.v1";

/// The deterministic deployment proxy: the same contract at the same address on every chain that holds it.
pub const DEPLOYER: Account = Account(hex!("4e59b44847b379578588920ca78fbf26c0b4956c"));

/// Where [`DEPLOYER`] puts the compiled `contracts/src/Notary.sol`: one address on every chain. No manifest names it, so that
/// a proof of records rests on it; a test compares it with the artefact.
pub const NOTARY: Account = Account(hex!("1c2142b5084ed3191216a74e3828c5464fe199da"));

/// What stands at [`DEPLOYER`]: it creates what it is sent after a salt (CREATE2), and answers with the address. The
/// embedded chain's genesis holds it.
pub const DEPLOYER_CODE: [u8; 69] = hex!(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe0"
    "3601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3"
);

/// `decisionOf(…).kind`: nothing stands yet.
pub const UNDECIDED: u8 = 0;
/// `decisionOf(…).kind`: COMMIT stands.
pub const COMMITTED: u8 = 1;
/// `decisionOf(…).kind`: ABORT stands.
pub const ABORTED: u8 = 2;

/// `stateOf(…).state`: never prepared, or done.
pub const ABSENT: u8 = 0;
/// `stateOf(…).state`: the value is held, the decision open or not yet applied.
pub const LOCKED: u8 = 1;
/// `stateOf(…).state`: COMMIT was applied; evidence settles, time refunds.
pub const ARMED: u8 = 2;
/// `stateOf(…).state`: the payee refused what is its own, and may collect it.
pub const OWED: u8 = 3;
/// `stateOf(…).state`: evidence was presented; a ruling pays back until the window is over, then the payee is paid.
pub const PRESENTED: u8 = 4;

/// What D's contract takes for this manifest: [`Manifest::txid`] is `txidOf` of it.
#[must_use]
pub fn terms(manifest: &Manifest) -> Terms {
    let quorum = manifest.quorum();
    Terms {
        body: word(manifest.body()),
        required: quorum.required,
        optional: quorum.optional,
        atLeast: quorum.at_least,
        deadline: manifest.deadline.as_seconds(),
        graceEnd: manifest.grace_end().as_seconds(),
        guard: address(manifest.guard),
        participants: (manifest.participants.iter())
            .map(|one| Participant { account: address(one.account), hashlock: word(one.hashlock) })
            .collect(),
    }
}

/// What the escrow contract takes for this leg.
#[must_use]
pub fn lock(txid: Txid, leg: LegId, terms: &EscrowTerms) -> Lock {
    Lock {
        txid: word(txid.0),
        leg: leg.0,
        payer: address(terms.payer),
        payee: address(terms.payee),
        amount: terms.amount,
        evidenceKey: address(evidence_account(terms)),
        evidenceDeadline: terms.evidence_deadline.as_seconds(),
        submissionWindow: terms.submission_window.as_seconds(),
    }
}

/// Whom a lock of these terms names as its evidence key: with a dispute, the account that stands for key, arbiter and
/// window together.
#[must_use]
pub fn evidence_account(terms: &EscrowTerms) -> Account {
    dispute(terms).map_or(terms.evidence_key, |dispute| dispute_account(&dispute))
}

/// What the escrow contract takes besides the lock, of a leg with a dispute window.
#[must_use]
pub fn dispute(terms: &EscrowTerms) -> Option<Dispute> {
    terms.dispute.map(|dispute| Dispute {
        evidenceKey: address(terms.evidence_key),
        arbiter: address(dispute.arbiter),
        // No manifest that was checked has a longer one.
        window: u32::try_from(dispute.window.as_seconds()).unwrap_or(u32::MAX),
    })
}

/// The account by which a lock names a dispute: the last 20 bytes of the Keccak-256 over Keccak-256("sofie.dispute.v1") and
/// the dispute's three ABI words.
#[must_use]
pub fn dispute_account(dispute: &Dispute) -> Account {
    let hash = keccak256((keccak256(DISPUTE_DOMAIN), dispute.clone()).abi_encode());
    Account(hash.0[12..].try_into().expect("32 less 12 are 20"))
}

/// What the escrow contract takes for a transfer: a lock that no evidence key, deadline or window conditions.
#[must_use]
pub fn transfer_lock(txid: Txid, leg: LegId, terms: &TransferTerms) -> Lock {
    Lock {
        txid: word(txid.0),
        leg: leg.0,
        payer: address(terms.payer),
        payee: address(terms.payee),
        amount: terms.amount,
        evidenceKey: Address::ZERO,
        evidenceDeadline: 0,
        submissionWindow: 0,
    }
}

/// What the escrow contract takes for this leg of `manifest`; `None` when no contract holds it.
#[must_use]
pub fn lock_of(manifest: &Manifest, leg: LegId) -> Option<Lock> {
    lock_under(manifest.txid(), manifest, leg)
}

/// [`lock_of`] a manifest whose name is known already.
pub(crate) fn lock_under(txid: Txid, manifest: &Manifest, leg: LegId) -> Option<Lock> {
    match &manifest.leg(leg)?.terms {
        LegTerms::Escrow(terms) => Some(lock(txid, leg, terms)),
        LegTerms::Transfer(terms) => Some(transfer_lock(txid, leg, terms)),
        LegTerms::Hashlock(_) | LegTerms::Record(_) => None,
    }
}

/// What the guard signs to allow this COMMIT between T_D and G (EIP-712, in the domain of D's chain and contract).
#[must_use]
pub fn commit_digest(manifest: &Manifest, included: u64, evidence_root: Digest) -> Digest {
    let (txid, evidence_root) = (word(manifest.txid().0), word(evidence_root));
    let message = Commit { txid, included, evidenceRoot: evidence_root };
    typed_digest(&message, manifest.decision.chain_id, manifest.decision.contract)
}

/// What every participant signs to abort before G under a guard (EIP-712, in the same domain).
#[must_use]
pub fn abort_digest(manifest: &Manifest) -> Digest {
    let message = Abort { txid: word(manifest.txid().0) };
    typed_digest(&message, manifest.decision.chain_id, manifest.decision.contract)
}

/// The lock's name in the escrow contract and its events: Keccak-256 of its ABI encoding.
#[must_use]
pub fn lock_id(lock: &Lock) -> Digest {
    Digest(keccak256(lock.abi_encode()).0)
}

/// Where [`DEPLOYER`] puts a contract with this creation code (constructor arguments included) under salt 0
/// (EIP-1014).
///
/// ```
/// use sofie_model::contract;
/// // The proxy answers the same address to everyone who sends it the same bytes.
/// assert_eq!(contract::create2(&[0]), contract::create2(&[0]));
/// assert_ne!(contract::create2(&[0]), contract::create2(&[1]));
/// ```
#[must_use]
pub fn create2(creation: &[u8]) -> Account {
    Account(address(DEPLOYER).create2(B256::ZERO, keccak256(creation)).into_array())
}

/// What to send to [`DEPLOYER`] so that it creates this contract: the salt 0, then the creation code.
#[must_use]
pub fn deployment(creation: &[u8]) -> Bytes {
    [B256::ZERO.as_slice(), creation].concat().into()
}

/// The escrow's creation code with its constructor's argument: the decision contract that it reads.
#[must_use]
pub fn escrow_creation(bytecode: &[u8], decision: Account) -> Bytes {
    [bytecode, &address(decision).abi_encode()].concat().into()
}

/// Where the decision contract of this creation bytecode stands on every chain.
#[must_use]
pub fn decision_address(bytecode: &[u8]) -> Account {
    create2(bytecode)
}

/// Where the escrow contract of this creation bytecode stands on every chain, when it reads `decision`.
#[must_use]
pub fn escrow_address(bytecode: &[u8], decision: Account) -> Account {
    create2(&escrow_creation(bytecode, decision))
}

/// An account as the ABI has it.
#[must_use]
pub fn address(account: Account) -> Address {
    Address::new(account.0)
}

/// A digest as the ABI has it.
#[must_use]
pub fn word(digest: Digest) -> B256 {
    B256::new(digest.0)
}
