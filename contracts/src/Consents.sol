// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {EfficientHashLib} from "solady/utils/EfficientHashLib.sol";
import {IConsents} from "./IConsents.sol";
import {LedgerState} from "./LedgerState.sol";
import {ConsentChange, Delegation, Status} from "./Types.sol";

/// @title Consents
/// @dev The interface holds the documentation; comments here say only why.
abstract contract Consents is LedgerState, IConsents {
    bytes32 internal constant CONSENT_CHANGE_TYPEHASH = keccak256(
        "ConsentChange(address patient,address signer,uint32 rotations,uint32 version,bytes28 root,bytes32[] revoked,bytes32[] granted,uint48 deadline)"
    );
    bytes32 internal constant DELEGATE_TYPEHASH = keccak256(
        "Delegate(address delegate,uint32 powers,uint48 notBefore,uint48 expiry,bytes32 salt)"
    );
    uint8 internal constant POWER_SETTLE = 0;
    uint8 internal constant POWER_CONSENT = 1;
    uint8 internal constant POWER_RESEAL = 2;

    /// @inheritdoc IConsents
    function changeConsents(ConsentChange calldata change, bytes calldata signature) external {
        address patient = change.patient;
        Slot storage slot = _consents[patient];
        uint256 word = slot.word;
        slot.word =
            _changeConsents(change, patient, word, patient, _signerSlot(patient, word), signature);
    }

    /// @inheritdoc IConsents
    function changeConsentsAsDelegate(
        ConsentChange calldata change,
        Delegation calldata delegation,
        bytes calldata signature
    ) external {
        address patient = change.patient;
        uint256 delegate = _delegateSlot(patient, delegation, POWER_CONSENT);
        Slot storage slot = _consents[patient];
        slot.word =
            _changeConsents(change, patient, slot.word, delegation.delegate, delegate, signature);
    }

    /// @inheritdoc IConsents
    function consents(address patient) external view returns (bytes28 root, uint32 version) {
        uint256 slot = _consents[patient].word;
        return (bytes28(uint224(slot >> 32)), uint32(slot & COUNTER_MASK));
    }

    /// @return The patient's consents slot after the change.
    function _changeConsents(
        ConsentChange calldata change,
        address patient,
        uint256 slot,
        address signer,
        uint256 signerSlot,
        bytes calldata signature
    ) private returns (uint256) {
        uint256 limits = change.limits;
        _requireNotPast(uint48(limits));
        uint256 root = uint256(change.state) >> 32;
        uint32 version = uint32(uint256(change.state));
        if (version != slot & COUNTER_MASK) {
            revert ConsentVersionStale(version, uint32(slot & COUNTER_MASK));
        }
        bytes32[] calldata leaves = change.leaves;
        uint256 revoked = limits >> 48;
        if (revoked > leaves.length) revert ConsentLeavesMiscounted(revoked, leaves.length);
        if (leaves.length == 0 && root == slot >> 32) revert ConsentUnchanged();
        bytes32 structHash = EfficientHashLib.hash(
            uint256(CONSENT_CHANGE_TYPEHASH),
            _word(patient),
            _word(signer),
            _rotationsIn(signerSlot),
            version,
            root << 32,
            uint256(keccak256(abi.encodePacked(leaves[:revoked]))),
            uint256(keccak256(abi.encodePacked(leaves[revoked:]))),
            uint48(limits)
        );
        _authorize(signer, _controllerIn(signer, signerSlot), structHash, signature);
        uint256 state = root << 32 | _increment(slot);
        emit ConsentsChanged(patient, bytes32(state), revoked, leaves);
        return state | slot & ROTATED;
    }

    /// @dev Participant slot of a delegate whose leaf is live, in force and has the power.
    function _delegateSlot(address patient, Delegation calldata delegation, uint8 power)
        internal
        view
        returns (uint256 slot)
    {
        bytes32 leaf = _leaf(
            keccak256(
                abi.encode(
                    DELEGATE_TYPEHASH,
                    delegation.delegate,
                    delegation.powers,
                    delegation.notBefore,
                    delegation.expiry,
                    delegation.salt
                )
            )
        );
        if (!_isLive(patient, leaf, delegation.proof)) revert DelegationNotFound(leaf);
        if (block.timestamp < delegation.notBefore || block.timestamp >= delegation.expiry) {
            revert DelegationNotInForce(delegation.notBefore, delegation.expiry);
        }
        if (delegation.powers >> power & 1 == 0) {
            revert DelegationLacksPower(delegation.powers, power);
        }
        slot = _participants[delegation.delegate];
        if (_hasStatus(slot, Status.Suspended)) revert DelegateSuspended(delegation.delegate);
    }

    /// @dev Whether a leaf is under the patient's consent root.
    function _isLive(address patient, bytes32 leaf, bytes32[] calldata proof)
        internal
        view
        returns (bool)
    {
        uint256 root = _consents[patient].word >> 32;
        return root != 0 && uint256(_climb(leaf, proof)) >> 32 == root;
    }

    /// @dev A leaf is a hash of 32 bytes and a node one of 64, so neither passes for the other.
    function _leaf(bytes32 structHash) internal pure returns (bytes32) {
        return EfficientHashLib.hash(structHash);
    }

    /// @dev Root of the tree that a leaf and a proof imply.
    function _climb(bytes32 node, bytes32[] calldata proof) internal pure returns (bytes32) {
        for (uint256 i; i < proof.length; ++i) {
            bytes32 sibling = proof[i];
            node = node <= sibling
                ? EfficientHashLib.hash(node, sibling)
                : EfficientHashLib.hash(sibling, node);
        }
        return node;
    }
}
