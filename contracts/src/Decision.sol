// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Typed} from "./Typed.sol";

/// @notice Who must reveal a preimage before COMMIT, and may abort.
struct Participant {
    address account;
    /// SHA-256 of a secret of exactly 32 bytes.
    bytes32 hashlock;
}

/// @notice What the decision contract checks by itself. With the chain and this contract it makes the txid. Times are
/// in seconds.
struct Terms {
    /// SHA-256 of the manifest's canonical encoding.
    bytes32 body;
    /// Bit i: a COMMIT must include leg i.
    uint64 required;
    /// Bit i: a COMMIT may include leg i.
    uint64 optional;
    /// How many legs a COMMIT includes at least.
    uint16 atLeast;
    /// T_D, the last second of a COMMIT without the guard's signature.
    uint64 deadline;
    /// G, the last second of any COMMIT.
    uint64 graceEnd;
    /// The pivot's payer or its watcher; zero when no leg rests on time.
    address guard;
    Participant[] participants;
}

/// @title The one decision of an inter-ledger transaction
/// @notice Holds COMMIT or ABORT for each txid: the first valid record stands for ever. There is no owner, no upgrade
/// and no value in it. Terms need no registration: they are the txid's preimage, and whoever decides brings them.
contract Decision is Typed {
    /// @notice COMMIT stands for these legs, with every participant's secret.
    event Committed(bytes32 indexed txid, uint64 included, bytes32 evidenceRoot, bytes32[] preimages);
    /// @notice ABORT stands.
    event Aborted(bytes32 indexed txid, address by);

    /// @notice A decision stands already: this one.
    error AlreadyDecided(bytes32 txid, uint8 kind, uint64 decidedAt, uint64 included);
    /// @notice The last second for this was `until`.
    error TooLate(uint256 until, uint256 blockTime);
    /// @notice The first second for this is `notBefore`.
    error TooEarly(uint256 notBefore, uint256 blockTime);
    /// @notice The rule of the terms does not allow a COMMIT of these legs.
    error WrongLegs(uint64 included, uint64 required, uint64 optional, uint16 atLeast);
    /// @notice One preimage, or one signature, for each participant is expected.
    error WrongCount(uint256 expected, uint256 got);
    /// @notice This participant's hashlock is not the SHA-256 of the preimage that was given.
    error WrongPreimage(uint256 index);
    /// @notice Only a participant may abort before G.
    error NotParticipant(address sender);

    struct Record {
        uint8 kind;
        uint64 decidedAt;
        uint64 included;
    }

    uint8 private constant COMMIT = 1;
    uint8 private constant ABORT = 2;

    /// @dev "sofie.txid.v1", padded with zeroes.
    bytes32 private constant TXID_DOMAIN = "sofie.txid.v1";
    bytes32 private constant COMMIT_TYPE = keccak256("Commit(bytes32 txid,uint64 included,bytes32 evidenceRoot)");
    bytes32 private constant ABORT_TYPE = keccak256("Abort(bytes32 txid)");

    mapping(bytes32 txid => Record) private _records;

    /// @notice Records COMMIT. Anyone may bring it who holds every preimage: until T_D, and until G with the guard's
    /// signature over `commitDigest`.
    /// @param included Bit i: leg i takes effect.
    /// @param evidenceRoot What the committer saw prepared. Not checked here: its readers hold the evidence.
    /// @param preimages In the order of the participants.
    /// @param guardSignature Ignored until T_D.
    function commit(
        Terms calldata terms,
        uint64 included,
        bytes32 evidenceRoot,
        bytes32[] calldata preimages,
        bytes calldata guardSignature
    ) external {
        bytes32 txid = _undecided(terms);
        _checkLegs(terms, included);
        _checkPreimages(terms.participants, preimages);
        _checkCommitTime(terms, txid, included, evidenceRoot, guardSignature);
        _records[txid] = Record(COMMIT, uint64(block.timestamp), included);
        emit Committed(txid, included, evidenceRoot, preimages);
    }

    /// @notice Records ABORT. After G anyone may. Before, a participant without a guard at once, or anyone who brings
    /// every participant's signature over `abortDigest`.
    /// @param signatures Empty, or one for each participant in their order. Ignored after G.
    function abort(Terms calldata terms, bytes[] calldata signatures) external {
        bytes32 txid = _undecided(terms);
        if (block.timestamp <= terms.graceEnd) _checkEarlyAbort(terms, txid, signatures);
        _records[txid] = Record(ABORT, uint64(block.timestamp), 0);
        emit Aborted(txid, msg.sender);
    }

    /// @notice What stands.
    /// @return kind 0 none, 1 COMMIT, 2 ABORT.
    /// @return decidedAt The block's time when it was recorded.
    /// @return included Bit i: leg i takes effect. Zero unless COMMIT.
    function decisionOf(bytes32 txid) external view returns (uint8 kind, uint64 decidedAt, uint64 included) {
        Record memory record = _records[txid];
        return (record.kind, record.decidedAt, record.included);
    }

    /// @notice The name of the transaction with these terms, on this chain and with this contract as its D: SHA-256
    /// over 32-byte words, as in the inter-ledger specification.
    function txidOf(Terms calldata terms) public view returns (bytes32) {
        Participant[] calldata participants = terms.participants;
        bytes calldata tail;
        // A participant's ABI encoding, account and hashlock as words, is what the txid takes.
        assembly ("memory-safe") {
            tail.offset := participants.offset
            tail.length := shl(6, participants.length)
        }
        bytes memory head = abi.encode(
            TXID_DOMAIN,
            terms.body,
            block.chainid,
            address(this),
            terms.required,
            terms.optional,
            terms.atLeast,
            terms.deadline,
            terms.graceEnd,
            terms.guard
        );
        return sha256(bytes.concat(head, tail));
    }

    /// @notice What the guard signs to allow this COMMIT between T_D and G.
    function commitDigest(bytes32 txid, uint64 included, bytes32 evidenceRoot) public view returns (bytes32) {
        return _typedDigest(keccak256(abi.encode(COMMIT_TYPE, txid, included, evidenceRoot)));
    }

    /// @notice What every participant signs to abort before G.
    function abortDigest(bytes32 txid) public view returns (bytes32) {
        return _typedDigest(keccak256(abi.encode(ABORT_TYPE, txid)));
    }

    /// @dev The txid, or a revert with the decision that stands.
    function _undecided(Terms calldata terms) private view returns (bytes32 txid) {
        txid = txidOf(terms);
        Record memory record = _records[txid];
        if (record.kind != 0) revert AlreadyDecided(txid, record.kind, record.decidedAt, record.included);
    }

    /// @dev Whoever holds every preimage must not choose only the legs that pay him.
    function _checkLegs(Terms calldata terms, uint64 included) private pure {
        uint64 required = terms.required;
        uint64 optional = terms.optional;
        uint16 atLeast = terms.atLeast;
        bool allowed = included & required == required && included & ~(required | optional) == 0
            && _count(included) >= atLeast;
        if (!allowed) revert WrongLegs(included, required, optional, atLeast);
    }

    /// @dev How many bits are set: counted in pairs, nibbles, bytes, then summed into one byte.
    function _count(uint64 mask) private pure returns (uint256 bits) {
        unchecked {
            bits = mask;
            bits -= (bits >> 1) & 0x5555555555555555;
            bits = (bits & 0x3333333333333333) + ((bits >> 2) & 0x3333333333333333);
            bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0f;
            bits = ((bits * 0x0101010101010101) >> 56) & 0xff;
        }
    }

    function _checkPreimages(Participant[] calldata participants, bytes32[] calldata preimages) private pure {
        uint256 count = participants.length;
        if (preimages.length != count) revert WrongCount(count, preimages.length);
        for (uint256 i; i < count; ++i) {
            if (sha256(abi.encode(preimages[i])) != participants[i].hashlock) revert WrongPreimage(i);
        }
    }

    function _checkCommitTime(
        Terms calldata terms,
        bytes32 txid,
        uint64 included,
        bytes32 evidenceRoot,
        bytes calldata guardSignature
    ) private view {
        if (block.timestamp <= terms.deadline) return;
        address guard = terms.guard;
        uint256 until = guard == address(0) ? terms.deadline : terms.graceEnd;
        if (block.timestamp > until) revert TooLate(until, block.timestamp);
        _checkSigner(guard, commitDigest(txid, included, evidenceRoot), guardSignature);
    }

    function _checkEarlyAbort(Terms calldata terms, bytes32 txid, bytes[] calldata signatures) private view {
        Participant[] calldata participants = terms.participants;
        uint256 count = participants.length;
        if (signatures.length == 0) {
            if (terms.guard != address(0)) revert TooEarly(uint256(terms.graceEnd) + 1, block.timestamp);
            for (uint256 i; i < count; ++i) {
                if (participants[i].account == msg.sender) return;
            }
            revert NotParticipant(msg.sender);
        }
        if (signatures.length != count) revert WrongCount(count, signatures.length);
        bytes32 digest = abortDigest(txid);
        for (uint256 i; i < count; ++i) {
            _checkSigner(participants[i].account, digest, signatures[i]);
        }
    }
}
