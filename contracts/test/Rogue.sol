// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title A party that misbehaves when it is paid. For tests only
/// @notice Sends what it is told to send; when it receives value it answers by its mode, and may call back first.
contract Rogue {
    /// @notice What it does with value: 0 takes it, 1 refuses it, 2 answers with a megabyte, 3 calls back, 4 burns all
    /// the gas that it is given.
    uint8 public mode;
    /// @notice Keccak-256 of what the last call back answered: the whole costs more gas to keep than it may have.
    bytes32 public answer;
    /// @notice Whether the last call back succeeded.
    bool public entered;

    address private _target;
    bytes private _data;

    /// @notice Sets how it answers value from now on.
    function behave(uint8 mode_, address target, bytes calldata data) external {
        mode = mode_;
        _target = target;
        _data = data;
    }

    /// @notice Calls `target` in this contract's name, with the value sent along, and passes a revert on.
    function act(address target, bytes calldata data) external payable {
        (bool ok, bytes memory result) = target.call{value: msg.value}(data);
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(result, 32), mload(result))
            }
        }
    }

    /// @notice Spends about so much gas.
    function spend(uint256 amount) external view {
        uint256 until = gasleft() - amount;
        while (gasleft() > until) {}
    }

    receive() external payable {
        if (mode == 1) revert("no, thanks");
        if (mode == 2) {
            assembly ("memory-safe") {
                return(0, 1000000)
            }
        }
        if (mode == 4) {
            assembly ("memory-safe") {
                invalid()
            }
        }
        if (mode == 3) {
            (bool ok, bytes memory result) = _target.call(_data);
            (entered, answer) = (ok, keccak256(result));
        }
    }
}
