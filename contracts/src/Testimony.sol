// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Typed} from "./Typed.sol";

/// @notice A leg's value and its conditions. Times are in seconds. Without an evidence key, a deadline and a window it is
/// a transfer: the decision alone pays the payee.
struct Lock {
    bytes32 txid;
    /// The leg's place in the manifest.
    uint16 leg;
    /// Who locks, and is refunded.
    address payer;
    /// Who is paid once the evidence is there; of a transfer, once COMMIT stands.
    address payee;
    /// In the chain's smallest unit.
    uint128 amount;
    /// The only key or panel whose attestation settles, or a dispute that names it; zero for a transfer.
    address evidenceKey;
    /// T_E: no later observation counts. Zero for a transfer.
    uint64 evidenceDeadline;
    /// How long after T_E an attestation may still be brought. Zero for a transfer.
    uint64 submissionWindow;
}

/// @title Whose word settles an escrow
/// @notice One key's, or that of k out of a panel of n keys. Each member of a panel attests what its own sensor saw; a
/// lock names the panel by `panelOf` in place of a key. The panel's certificate is, without any padding:
/// k (1 byte) ‖ n (1) ‖ n keys in ascending order (20 each) ‖ k words in their keys' order, each
/// the key's place (1) ‖ observation (32) ‖ observedAt (8) ‖ r ‖ s ‖ v (65).
/// @dev Exactly k words: more would give one settlement many encodings. 65 bytes are never a certificate, which has 148
/// at the least.
abstract contract Testimony is Typed {
    /// @notice Neither the payer nor the payee may attest or overrule, and no arbiter attests; and where nobody does, there is
    /// no deadline and no window.
    error InterestedKey(address evidenceKey);
    /// @notice Only observations from the decision until T_E count.
    error ObservedOutside(uint256 observedAt, uint256 from, uint256 until);
    /// @notice Not the certificate of a panel of 2 to 16 keys: a length, a threshold or an order is wrong.
    error BadPanel();
    /// @notice The panel's words come to this observation and time, and another was said.
    error WrongSum(bytes32 observation, uint64 observedAt);

    bytes32 private constant ATTESTATION_TYPE =
        keccak256("Attestation(bytes32 txid,uint16 leg,bytes32 observation,bool fulfilled,uint64 observedAt)");
    bytes32 private constant PANEL = keccak256("sofie.panel.v1");
    uint256 private constant MAX_KEYS = 16;
    uint256 private constant HEAD = 2;
    uint256 private constant KEY = 20;
    uint256 private constant WORD = 106;

    /// @notice What an evidence key signs.
    function attestationDigest(bytes32 txid, uint16 leg, bytes32 observation, bool fulfilled, uint64 observedAt)
        public
        view
        returns (bytes32)
    {
        return _typedDigest(
            keccak256(abi.encode(ATTESTATION_TYPE, txid, leg, observation, fulfilled, observedAt))
        );
    }

    /// @notice The account by which a lock names a panel.
    /// @param panel The first part of its certificates: k ‖ n ‖ the keys.
    function panelOf(bytes calldata panel) public pure returns (address) {
        return address(uint160(uint256(keccak256(bytes.concat(PANEL, panel)))));
    }

    /// @dev Reverts unless `key`, of a panel or not, says that the agreed predicate held. The caller checks that
    /// `observedAt` counts; that no word of a panel is later than T_E, and that the lock's arbiter, if there is one, is not
    /// among its keys, is checked here.
    function _checkWord(
        Lock calldata lock,
        address key,
        address arbiter,
        bytes32 observation,
        uint64 observedAt,
        bytes calldata signature
    ) internal view {
        if (signature.length == 65) {
            bytes32 digest = attestationDigest(lock.txid, lock.leg, observation, true, observedAt);
            _checkSigner(key, digest, signature);
            return;
        }
        bytes calldata keys = _keysOf(lock, key, arbiter, signature);
        (bytes32 sum, uint64 earliest) = _checkWords(lock, keys, signature[HEAD + keys.length:]);
        if (sum != observation || earliest != observedAt) revert WrongSum(sum, earliest);
    }

    /// @dev The keys of a certificate that has the right form and is of this panel.
    function _keysOf(Lock calldata lock, address expected, address arbiter, bytes calldata certificate)
        private
        pure
        returns (bytes calldata keys)
    {
        if (certificate.length < HEAD) revert BadPanel();
        uint256 threshold = uint8(certificate[0]);
        uint256 count = uint8(certificate[1]);
        bool sound = count > 1 && count <= MAX_KEYS && threshold > 0 && threshold <= count;
        uint256 end = HEAD + KEY * count;
        if (!sound || certificate.length != end + WORD * threshold) revert BadPanel();
        address panel = panelOf(certificate[:end]);
        if (panel != expected) revert WrongSigner(expected, panel);
        keys = certificate[HEAD:end];
        address last = address(0);
        for (uint256 place = 0; place < count; ++place) {
            address key = _keyAt(keys, place);
            if (key <= last) revert BadPanel();
            if (key == lock.payer || key == lock.payee || key == arbiter) revert InterestedKey(key);
            last = key;
        }
    }

    /// @dev Checks each word of a certificate against its key; what they come to together.
    function _checkWords(Lock calldata lock, bytes calldata keys, bytes calldata words)
        private
        view
        returns (bytes32 sum, uint64 earliest)
    {
        bytes32[] memory observations = new bytes32[](words.length / WORD);
        uint256 least = 0;
        earliest = type(uint64).max;
        for (uint256 i = 0; i < observations.length; ++i) {
            bytes calldata word = words[WORD * i:WORD * (i + 1)];
            uint256 place = uint8(word[0]);
            if (place < least || KEY * place >= keys.length) revert BadPanel();
            least = place + 1;
            observations[i] = bytes32(word[1:33]);
            uint64 seen = uint64(bytes8(word[33:41]));
            if (seen > lock.evidenceDeadline) revert ObservedOutside(seen, 0, lock.evidenceDeadline);
            if (seen < earliest) earliest = seen;
            bytes32 digest = attestationDigest(lock.txid, lock.leg, observations[i], true, seen);
            _checkSigner(_keyAt(keys, place), digest, word[41:]);
        }
        sum = keccak256(abi.encodePacked(observations));
    }

    function _keyAt(bytes calldata keys, uint256 place) private pure returns (address) {
        return address(bytes20(keys[KEY * place:KEY * (place + 1)]));
    }
}
