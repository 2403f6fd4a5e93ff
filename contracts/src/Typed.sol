// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Signatures over typed structured data (EIP-712)
/// @notice The domain {name "SOFIE", version "1", chain id, contract} and the recovery of a signer.
/// @dev Left out: contract accounts as signers (EIP-1271) and compact signatures (EIP-2098).
abstract contract Typed {
    /// @notice The signature is of another key than the one that counts here.
    error WrongSigner(address expected, address got);
    /// @notice Not 65 bytes r ‖ s ‖ v with v 27 or 28 and s in the lower half (EIP-2), or of no key at all.
    error BadSignature();

    bytes32 private constant DOMAIN_TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant NAME = keccak256("SOFIE");
    bytes32 private constant VERSION = keccak256("1");
    /// @dev Half the order of secp256k1, rounded down.
    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    uint256 private immutable _birthChain = block.chainid;
    bytes32 private immutable _birthDomain = _buildDomain();

    /// @dev The digest that is signed for a struct's hash on this chain, now. A fork that took another chain id
    /// takes another domain.
    function _typedDigest(bytes32 structHash) internal view returns (bytes32) {
        bytes32 domain = block.chainid == _birthChain ? _birthDomain : _buildDomain();
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    /// @dev Reverts unless `expected` signed `digest`. `expected` must not be the zero address.
    function _checkSigner(address expected, bytes32 digest, bytes calldata signature) internal pure {
        if (signature.length != 65) revert BadSignature();
        bytes32 r;
        uint256 s;
        uint8 v;
        assembly ("memory-safe") {
            r := calldataload(signature.offset)
            s := calldataload(add(signature.offset, 32))
            v := byte(0, calldataload(add(signature.offset, 64)))
        }
        if (s > HALF_ORDER) revert BadSignature();
        // The precompile answers zero for any v but 27 and 28, and for an r or s that no signature has.
        address got = ecrecover(digest, v, r, bytes32(s));
        if (got == address(0)) revert BadSignature();
        if (got != expected) revert WrongSigner(expected, got);
    }

    function _buildDomain() private view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPE, NAME, VERSION, block.chainid, address(this)));
    }
}
