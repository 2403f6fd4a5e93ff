// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title An append-only log of batches of records
/// @notice A batch is the root of a Merkle tree (RFC 9162, section 2.1) over its records, and their number. The records
/// themselves stay with whoever sends them: a record is proven by its path to the root, and by the event that logged
/// it. Each record has a number of its own, counted over all batches by whomever, and that is the log's order. There is
/// no owner, no upgrade and no value in it; nothing is ever undone.
contract Notary {
    /// @notice The `count` records under `root` have the numbers from `first` on.
    event Recorded(bytes32 indexed root, uint64 first, uint32 count);

    /// @notice A batch holds 1 to `most` records.
    error WrongCount(uint32 most, uint32 got);

    /// @notice The most records of a batch: a path to its root has 16 hashes at most.
    uint32 public constant MAX_COUNT = 65536;

    /// @notice How many records there are: the number that the next one gets.
    uint64 public total;

    /// @notice Appends a batch. The same root again is another batch; the first that holds a record counts.
    /// @param root Not checked here, and neither is the count: a path proves a record only under both.
    /// @return first The number of the batch's first record.
    function record(bytes32 root, uint32 count) external returns (uint64 first) {
        if (count == 0 || count > MAX_COUNT) revert WrongCount(MAX_COUNT, count);
        first = total;
        total = first + count;
        emit Recorded(root, first, count);
    }
}
