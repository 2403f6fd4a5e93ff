// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Decision} from "./Decision.sol";
import {Disputable, Dispute} from "./Disputable.sol";
import {Lock} from "./Testimony.sol";

/// @title Value that waits for a decision, and unless it is a transfer for evidence
/// @notice prepare → (COMMIT) apply_ → settle by evidence, or refund by time; or (ABORT) undo. A transfer is paid by
/// `apply_` itself. With a dispute window: apply_ → present the evidence → pay once the window is over, or overrule by the
/// arbiter's ruling within it; refund by time if nothing was presented. Only the payer prepares; anyone may do the rest, and the value goes to no one but the payee or the
/// payer. No owner, no upgrade. Before a decision nothing is paid back by time: after G anyone can record ABORT.
/// @dev A lock is named by its content and takes one storage slot, cleared when it is done; a txid that is decided takes
/// no new lock, so a lock is done once. State changes precede the one call that pays; after one that fails, only the
/// debt is written.
contract Escrow is Disputable {
    /// @notice The value is held.
    event Prepared(bytes32 indexed txid, uint16 indexed leg, bytes32 lockId);
    /// @notice COMMIT was applied: the lock is armed. Of a transfer: it was paid, unless `Owed` follows.
    event Applied(bytes32 indexed txid, uint16 indexed leg, bytes32 lockId);
    /// @notice The payee refused a transfer, or what stood undisputed: it waits for the payee, who may `collect` it.
    event Owed(bytes32 indexed txid, uint16 indexed leg, bytes32 lockId);
    /// @notice The payee took what it had refused.
    event Collected(bytes32 indexed txid, uint16 indexed leg, bytes32 lockId, address to);
    /// @notice The decision leaves this leg out: the payer was paid back.
    event Reverted(bytes32 indexed txid, uint16 indexed leg, bytes32 lockId);
    /// @notice No evidence came in time: the payer was paid back.
    event Refunded(bytes32 indexed txid, uint16 indexed leg, bytes32 lockId);
    /// @notice The evidence is there: from the second after `until` on the payee is paid, unless the arbiter overrules it.
    event Presented(
        bytes32 indexed txid,
        uint16 indexed leg,
        bytes32 lockId,
        bytes32 observation,
        uint64 observedAt,
        uint64 until
    );
    /// @notice The arbiter overruled the evidence: the payer was paid back.
    event Overruled(
        bytes32 indexed txid, uint16 indexed leg, bytes32 lockId, bytes32 observation, uint64 observedAt
    );
    /// @notice The evidence was there, and stood: the payee was paid.
    event Settled(
        bytes32 indexed txid, uint16 indexed leg, bytes32 lockId, bytes32 observation, uint64 observedAt
    );

    /// @notice The decision stands already: nothing more is locked for it.
    error AlreadyDecided(bytes32 txid, uint8 kind, uint64 decidedAt, uint64 included);
    /// @notice Only the payer locks the payer's value.
    error NotPayer(address payer, address sender);
    /// @notice The value sent is not the amount.
    error WrongValue(uint256 expected, uint256 got);
    /// @notice Only the payee collects what the payee is owed.
    error NotPayee(address payee, address sender);
    /// @notice The lock is 0 absent (never prepared, or done), 1 locked, 2 armed, 3 owed or 4 presented, and another state
    /// is expected.
    error WrongState(bytes32 lockId, uint8 expected, uint8 got);
    /// @notice No decision stands yet.
    error Undecided(bytes32 txid);
    /// @notice COMMIT includes this leg: it cannot be undone.
    error LegIncluded(bytes32 txid, uint16 leg);
    /// @notice ABORT, or a COMMIT without this leg: it cannot be applied.
    error LegNotIncluded(bytes32 txid, uint16 leg, uint8 kind);
    /// @notice The attestation says that the agreed predicate does not hold.
    error Unfulfilled();
    /// @notice The last second for this was `until`.
    error TooLate(uint256 until, uint256 blockTime);
    /// @notice The first second for this is `notBefore`.
    error TooEarly(uint256 notBefore, uint256 blockTime);
    /// @notice The receiver refuses the value, or was left too little gas to take it. Nothing has changed.
    error PayoutFailed(address to, uint256 amount);

    uint8 private constant ABSENT = 0;
    uint8 private constant LOCKED = 1;
    uint8 private constant ARMED = 2;
    uint8 private constant OWED = 3;
    uint8 private constant PRESENTED = 4;

    uint8 private constant NONE = 0;
    uint8 private constant COMMIT = 1;

    /// @dev What the payee of a transfer may spend on taking it: a wallet that is a contract needs a tenth. The rest stays
    /// with whoever applies, so that no payee can keep `apply_` from being done.
    uint256 private constant PAYOUT_GAS = 100_000;
    /// @dev With so much left, a call of PAYOUT_GAS gets all of it (EIP-150 keeps a 64th back) after its own 11,600.
    uint256 private constant PAYOUT_RESERVE = 120_000;

    /// @notice The contract whose decision these locks obey.
    Decision public immutable decision;

    /// @dev The state, and above its eight bits the time of the COMMIT that armed the lock; or, once evidence was presented,
    /// the last second of a ruling in 64 bits and which observation it was (`_presented`). Zero when absent.
    mapping(bytes32 lockId => uint256) private _words;

    constructor(Decision decision_) {
        decision = decision_;
    }

    /// @notice Locks the payer's value, sent along, until the decision.
    function prepare(Lock calldata lock) external payable {
        if (msg.sender != lock.payer) revert NotPayer(lock.payer, msg.sender);
        if (msg.value != lock.amount) revert WrongValue(lock.amount, msg.value);
        _checkKey(lock);
        bytes32 txid = lock.txid;
        (uint8 kind, uint64 decidedAt, uint64 included) = decision.decisionOf(txid);
        if (kind != NONE) revert AlreadyDecided(txid, kind, decidedAt, included);
        // Encoding checks every field's range: a lock that others could not name is not made.
        bytes32 lockId = lockIdOf(lock);
        uint256 word = _words[lockId];
        if (word != 0) revert WrongState(lockId, ABSENT, uint8(word));
        _words[lockId] = LOCKED;
        emit Prepared(txid, lock.leg, lockId);
    }

    /// @notice After a COMMIT that includes its leg: arms the lock, and pays nothing; or pays a transfer's payee. One who
    /// refuses is owed the value: the leg is applied all the same, and nobody waits for him.
    function apply_(Lock calldata lock) external {
        (bytes32 lockId,) = _lockIn(LOCKED, lock);
        (uint8 kind, uint64 decidedAt, bool includes) = _decided(lock);
        if (!includes) revert LegNotIncluded(lock.txid, lock.leg, kind);
        bool transfer = lock.evidenceKey == address(0);
        _words[lockId] = transfer ? ABSENT : ARMED | (uint256(decidedAt) << 8);
        emit Applied(lock.txid, lock.leg, lockId);
        if (transfer) _payOrOwe(lock, lockId);
    }

    /// @notice Pays what its payee had refused, to where the payee says.
    function collect(Lock calldata lock, address to) external {
        (bytes32 lockId,) = _lockIn(OWED, lock);
        if (msg.sender != lock.payee) revert NotPayee(lock.payee, msg.sender);
        _words[lockId] = ABSENT;
        emit Collected(lock.txid, lock.leg, lockId, to);
        _pay(to, lock.amount);
    }

    /// @notice Pays the payer back, after ABORT or a COMMIT without this leg.
    function undo(Lock calldata lock) external {
        (bytes32 lockId,) = _lockIn(LOCKED, lock);
        (,, bool includes) = _decided(lock);
        if (includes) revert LegIncluded(lock.txid, lock.leg);
        _words[lockId] = ABSENT;
        emit Reverted(lock.txid, lock.leg, lockId);
        _pay(lock.payer, lock.amount);
    }

    /// @notice Pays the payee, by the evidence key's or panel's attestation of what was seen between the decision and T_E.
    /// @param observation The salted digest of what was observed; of a panel, Keccak-256 of its words' digests.
    /// @param observedAt When the sensor saw it, in seconds; of a panel, the earliest time.
    /// @param signature The evidence key's, over `attestationDigest`: r ‖ s ‖ v. Or a panel's certificate.
    function settle(
        Lock calldata lock,
        bytes32 observation,
        bool fulfilled,
        uint64 observedAt,
        bytes calldata signature
    ) external {
        (bytes32 lockId, uint256 decidedAt) = _lockIn(ARMED, lock);
        _checkObserved(lock, decidedAt, fulfilled, observedAt);
        _checkInTime(_lastSubmission(lock));
        _checkWord(lock, lock.evidenceKey, address(0), observation, observedAt, signature);
        _words[lockId] = ABSENT;
        emit Settled(lock.txid, lock.leg, lockId, observation, observedAt);
        _pay(lock.payee, lock.amount);
    }

    /// @notice Puts an attestation on the ledger, of a lock with a dispute window: this starts the window, by the ledger's
    /// own clock, so that nobody keeps it secret until the window is over. Nothing is paid back by time any more.
    /// @dev So early that the window ends with the submissions.
    /// @param dispute What the lock's evidence key stands for.
    function present(
        Lock calldata lock,
        Dispute calldata dispute,
        bytes32 observation,
        bool fulfilled,
        uint64 observedAt,
        bytes calldata signature
    ) external {
        (bytes32 lockId, uint256 decidedAt) = _lockIn(ARMED, lock);
        _checkObserved(lock, decidedAt, fulfilled, observedAt);
        uint256 last = _lastSubmission(lock);
        _checkInTime(last > dispute.window ? last - dispute.window : 0);
        _checkDispute(lock, dispute);
        _checkWord(lock, dispute.evidenceKey, dispute.arbiter, observation, observedAt, signature);
        uint64 until = uint64(block.timestamp + dispute.window);
        _words[lockId] = PRESENTED | (_presented(observation, observedAt, until) << 8);
        emit Presented(lock.txid, lock.leg, lockId, observation, observedAt, until);
    }

    /// @notice Pays the payee for what was presented, once its window is over without a ruling. A payee who refuses is owed
    /// the value: the evidence stands, and nobody waits for him.
    function pay(Lock calldata lock, bytes32 observation, uint64 observedAt) external {
        (bytes32 lockId, uint256 until) = _presentedIn(lock, observation, observedAt);
        if (block.timestamp <= until) revert TooEarly(until + 1, block.timestamp);
        _words[lockId] = ABSENT;
        emit Settled(lock.txid, lock.leg, lockId, observation, observedAt);
        _payOrOwe(lock, lockId);
    }

    /// @notice Pays the payer back at once, by the arbiter's ruling within the window of what was presented.
    /// @param ruling The arbiter's signature over `rulingDigest`: r ‖ s ‖ v.
    function overrule(
        Lock calldata lock,
        Dispute calldata dispute,
        bytes32 observation,
        uint64 observedAt,
        bytes calldata ruling
    ) external {
        (bytes32 lockId, uint256 until) = _presentedIn(lock, observation, observedAt);
        _checkInTime(until);
        _checkDispute(lock, dispute);
        _checkSigner(dispute.arbiter, rulingDigest(lock.txid, lock.leg, observation, observedAt), ruling);
        _words[lockId] = ABSENT;
        emit Overruled(lock.txid, lock.leg, lockId, observation, observedAt);
        _pay(lock.payer, lock.amount);
    }

    /// @notice Pays the payer back, once no attestation can come any more.
    function refund(Lock calldata lock) external {
        (bytes32 lockId,) = _lockIn(ARMED, lock);
        uint256 until = _lastSubmission(lock);
        if (block.timestamp <= until) revert TooEarly(until + 1, block.timestamp);
        _words[lockId] = ABSENT;
        emit Refunded(lock.txid, lock.leg, lockId);
        _pay(lock.payer, lock.amount);
    }

    /// @notice Where a lock stands.
    /// @return state 0 absent (never prepared, or done), 1 locked, 2 armed, 3 owed, 4 presented.
    /// @return time Of an armed one, the COMMIT's that armed it; of a presented one, the last second of a ruling; else zero.
    function stateOf(bytes32 lockId) external view returns (uint8 state, uint64 time) {
        uint256 word = _words[lockId];
        return (uint8(word), uint64(word >> 8));
    }

    /// @notice The lock's name: Keccak-256 of its ABI encoding.
    function lockIdOf(Lock calldata lock) public pure returns (bytes32) {
        return keccak256(abi.encode(lock));
    }

    /// @dev The lock's id and what stands above its state, or a revert with the state that it is in. Hashes the calldata
    /// as it came: out of range, it names no lock that `prepare` made.
    function _lockIn(uint8 expected, Lock calldata lock) private view returns (bytes32 lockId, uint256 above) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            calldatacopy(free, lock, 256)
            lockId := keccak256(free, 256)
        }
        uint256 word = _words[lockId];
        if (uint8(word) != expected) revert WrongState(lockId, expected, uint8(word));
        above = word >> 8;
    }

    /// @dev The id of a lock of which this was presented, and the last second of a ruling.
    function _presentedIn(Lock calldata lock, bytes32 observation, uint64 observedAt)
        private
        view
        returns (bytes32 lockId, uint256 until)
    {
        uint256 above;
        (lockId, above) = _lockIn(PRESENTED, lock);
        until = uint64(above);
        if (above != _presented(observation, observedAt, until)) revert NotPresented(observation, observedAt);
    }

    /// @dev Only what is fulfilled counts, and was seen between the decision and T_E.
    function _checkObserved(Lock calldata lock, uint256 decidedAt, bool fulfilled, uint64 observedAt) private pure {
        if (!fulfilled) revert Unfulfilled();
        if (observedAt < decidedAt || observedAt > lock.evidenceDeadline) {
            revert ObservedOutside(observedAt, decidedAt, lock.evidenceDeadline);
        }
    }

    function _checkInTime(uint256 until) private view {
        if (block.timestamp > until) revert TooLate(until, block.timestamp);
    }

    /// @dev What D says of this leg, or a revert while it says nothing.
    function _decided(Lock calldata lock) private view returns (uint8 kind, uint64 decidedAt, bool includes) {
        uint64 included;
        (kind, decidedAt, included) = decision.decisionOf(lock.txid);
        if (kind == NONE) revert Undecided(lock.txid);
        // A leg past 63 is shifted out: no COMMIT includes it.
        includes = kind == COMMIT && (included >> lock.leg) & 1 == 1;
    }

    /// @dev In 256 bits: terms near the end of 64-bit time must not make a lock that neither settles nor refunds.
    function _lastSubmission(Lock calldata lock) private pure returns (uint256) {
        return uint256(lock.evidenceDeadline) + lock.submissionWindow;
    }

    /// @dev An evidence key is of neither party. Nobody's is that of a transfer, which waits for no time.
    function _checkKey(Lock calldata lock) private pure {
        address key = lock.evidenceKey;
        bool interested = key == address(0)
            ? lock.evidenceDeadline | lock.submissionWindow != 0
            : key == lock.payer || key == lock.payee;
        if (interested) revert InterestedKey(key);
    }

    /// @dev The last act of its caller.
    function _pay(address to, uint256 amount) private {
        if (!_send(gasleft(), to, amount)) revert PayoutFailed(to, amount);
    }

    /// @dev The last act of its caller. Whoever calls with too little gas cannot make a debt of a payment.
    function _payOrOwe(Lock calldata lock, bytes32 lockId) private {
        uint256 left = gasleft();
        if (_send(PAYOUT_GAS, lock.payee, lock.amount)) return;
        if (left < PAYOUT_RESERVE) revert PayoutFailed(lock.payee, lock.amount);
        // The call that failed has changed nothing, and no lock of a decided txid is made meanwhile.
        _words[lockId] = OWED;
        emit Owed(lock.txid, lock.leg, lockId);
    }

    /// @dev What the receiver answers is not copied.
    function _send(uint256 gasLimit, address to, uint256 amount) private returns (bool paid) {
        assembly ("memory-safe") {
            paid := call(gasLimit, to, amount, 0, 0, 0, 0)
        }
    }
}
