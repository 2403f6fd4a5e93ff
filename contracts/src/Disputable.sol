// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Lock, Testimony} from "./Testimony.sol";

/// @notice Whose word settles a lock, and who may overrule it for how long. A lock names it by `disputeOf` in place of an
/// evidence key.
struct Dispute {
    /// The key or panel whose attestation settles.
    address evidenceKey;
    /// Whose ruling overrules it: of neither party, and no evidence key.
    address arbiter;
    /// How long after an attestation was presented a ruling counts, in seconds.
    uint32 window;
}

/// @title Evidence that an arbiter may overrule
/// @notice The arbiter says one thing only: that this observation does not count. Its silence pays.
abstract contract Disputable is Testimony {
    /// @notice Another observation, or of another time, was presented.
    error NotPresented(bytes32 observation, uint64 observedAt);

    bytes32 private constant RULING_TYPE =
        keccak256("Ruling(bytes32 txid,uint16 leg,bytes32 observation,uint64 observedAt)");
    bytes32 private constant DISPUTE = keccak256("sofie.dispute.v1");

    /// @notice What an arbiter signs to overrule an observation.
    function rulingDigest(bytes32 txid, uint16 leg, bytes32 observation, uint64 observedAt)
        public
        view
        returns (bytes32)
    {
        return _typedDigest(keccak256(abi.encode(RULING_TYPE, txid, leg, observation, observedAt)));
    }

    /// @notice The account by which a lock names its evidence key, arbiter and window.
    function disputeOf(Dispute calldata dispute) public pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode(DISPUTE, dispute)))));
    }

    /// @dev Reverts unless the lock names this dispute, whose arbiter and evidence key are nobody's that has an interest.
    function _checkDispute(Lock calldata lock, Dispute calldata dispute) internal pure {
        address account = disputeOf(dispute);
        if (account != lock.evidenceKey) revert WrongSigner(lock.evidenceKey, account);
        address key = dispute.evidenceKey;
        address arbiter = dispute.arbiter;
        if (key == lock.payer || key == lock.payee) revert InterestedKey(key);
        if (arbiter == lock.payer || arbiter == lock.payee || arbiter == key) revert InterestedKey(arbiter);
    }

    /// @dev Which observation was presented, and until when a ruling counts: what a lock's word holds above its state.
    /// Of the observation's digest there is room for 184 bits.
    function _presented(bytes32 observation, uint64 observedAt, uint256 until) internal pure returns (uint256) {
        uint256 digest = uint256(keccak256(abi.encode(observation, observedAt)));
        return ((digest >> 72) << 64) | until;
    }
}
