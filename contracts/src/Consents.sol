// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

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
        uint256 slot = _consents[change.patient];
        _changeConsents(change, slot, change.patient, _signerSlot(change.patient, slot), signature);
    }

    /// @inheritdoc IConsents
    function changeConsentsAsDelegate(
        ConsentChange calldata change,
        Delegation calldata delegation,
        bytes calldata signature
    ) external {
        uint256 slot = _consents[change.patient];
        uint256 delegate = _delegateSlot(change.patient, delegation, POWER_CONSENT);
        _changeConsents(change, slot, delegation.delegate, delegate, signature);
    }

    /// @inheritdoc IConsents
    function consents(address patient) external view returns (bytes28 root, uint32 version) {
        uint256 slot = _consents[patient];
        return (bytes28(uint224(slot >> 32)), uint32(slot & COUNTER_MASK));
    }

    function _changeConsents(
        ConsentChange calldata change,
        uint256 slot,
        address signer,
        uint256 signerSlot,
        bytes calldata signature
    ) private {
        uint256 limits = change.limits;
        _requireNotPast(uint48(limits));
        uint256 revoked = limits >> 48;
        if (revoked > change.leaves.length) {
            revert ConsentLeavesMiscounted(revoked, change.leaves.length);
        }
        uint256 root = uint256(change.state) >> 32;
        uint32 version = uint32(uint256(change.state));
        if (version != slot & COUNTER_MASK) {
            revert ConsentVersionStale(version, uint32(slot & COUNTER_MASK));
        }
        if (change.leaves.length == 0 && root == slot >> 32) revert ConsentUnchanged();
        bytes32 structHash = keccak256(
            abi.encode(
                CONSENT_CHANGE_TYPEHASH,
                change.patient,
                signer,
                _rotationsIn(signerSlot),
                version,
                root << 32,
                keccak256(abi.encodePacked(change.leaves[:revoked])),
                keccak256(abi.encodePacked(change.leaves[revoked:])),
                uint48(limits)
            )
        );
        _authorize(signer, _controllerIn(signer, signerSlot), structHash, signature);
        uint256 state = root << 32 | _increment(slot);
        _consents[change.patient] = state | slot & ROTATED;
        emit ConsentsChanged(change.patient, bytes32(state), revoked, change.leaves);
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
        if (_statusIn(slot) == Status.Suspended) revert DelegateSuspended(delegation.delegate);
    }

    /// @dev Whether a leaf is under the patient's consent root.
    function _isLive(address patient, bytes32 leaf, bytes32[] calldata proof)
        internal
        view
        returns (bool)
    {
        uint256 root = _consents[patient] >> 32;
        return root != 0 && uint256(_climb(leaf, proof)) >> 32 == root;
    }

    /// @dev A leaf is a hash of 32 bytes and a node one of 64, so neither passes for the other.
    function _leaf(bytes32 structHash) internal pure returns (bytes32) {
        return keccak256(abi.encode(structHash));
    }

    /// @dev Root of the tree that a leaf and a proof imply.
    function _climb(bytes32 node, bytes32[] calldata proof) internal pure returns (bytes32) {
        for (uint256 i; i < proof.length; ++i) {
            bytes32 sibling = proof[i];
            node = node <= sibling
                ? keccak256(abi.encode(node, sibling))
                : keccak256(abi.encode(sibling, node));
        }
        return node;
    }
}
