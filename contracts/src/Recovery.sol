// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IRecovery} from "./IRecovery.sol";
import {Registrar} from "./Registrar.sol";
import {GuardianSet, PendingKind, Status} from "./Types.sol";

/// @title Recovery
/// @dev The interface holds the documentation; comments here say only why.
abstract contract Recovery is Registrar, IRecovery {
    struct Guardianship {
        bytes32 commitment;
        uint32 delay;
        uint32 nonce;
        uint48 lastCancelled;
    }

    struct Pending {
        PendingKind kind;
        uint48 readyAt;
        address controller;
        uint32 delay;
        bytes32 commitment;
    }

    bytes32 internal constant GUARDIAN_CHANGE_TYPEHASH = keccak256(
        "GuardianChange(address id,uint32 rotations,bytes32 commitment,uint32 delay,uint32 nonce,uint48 deadline)"
    );
    bytes32 internal constant RECOVERY_TYPEHASH = keccak256(
        "Recovery(address id,address guardian,uint32 guardianRotations,address controller,bool isFinal,uint32 nonce,uint48 deadline)"
    );
    bytes32 internal constant CANCELLATION_TYPEHASH =
        keccak256("Cancellation(address id,uint32 rotations,uint32 nonce,uint48 deadline)");
    uint32 internal constant MIN_DELAY = 3 days;

    /// @dev Shorter than the time between two cancellations, so that a thief of the controller's key
    /// cannot cancel for ever.
    uint32 internal constant MAX_DELAY = 21 days;
    uint48 internal constant CANCEL_INTERVAL = 30 days;

    mapping(address id => Guardianship) private _guardianships;
    mapping(address id => Pending) private _pending;

    /// @inheritdoc IRecovery
    function setGuardians(
        address id,
        bytes32 commitment,
        uint32 delay,
        uint32 nonce,
        uint48 deadline,
        bytes calldata signature
    ) external {
        _requireNotPast(deadline);
        if (commitment == 0 ? delay != 0 : delay < MIN_DELAY || delay > MAX_DELAY) {
            revert DelayOutOfRange(delay);
        }
        Guardianship storage current = _guardianships[id];
        if (nonce != current.nonce) revert GuardianNonceStale(nonce, current.nonce);
        uint256 slot = _participants[id];
        bytes32 structHash = keccak256(
            abi.encode(
                GUARDIAN_CHANGE_TYPEHASH, id, _rotationsIn(slot), commitment, delay, nonce, deadline
            )
        );
        _authorize(id, _controllerIn(id, slot), structHash, signature);
        if (current.commitment == 0) {
            _applyGuardians(id, commitment, delay);
        } else {
            _start(id, PendingKind.GuardianChange, address(0), commitment, delay);
        }
    }

    /// @inheritdoc IRecovery
    function startRecovery(
        address id,
        address controller,
        bool isFinal,
        uint48 deadline,
        GuardianSet calldata set,
        bytes[] calldata signatures
    ) external {
        _requireNotPast(deadline);
        if (controller == address(0)) revert ControllerIsZero();
        bytes32 expected = _guardianships[id].commitment;
        if (expected == 0) revert GuardiansNotSet(id);
        bytes32 shown =
            keccak256(abi.encode(set.guardians, set.threshold, set.finalThreshold, set.salt));
        if (shown != expected) revert GuardiansMismatch(expected, shown);
        _requireQuorum(id, controller, isFinal, deadline, set, signatures);
        _start(
            id,
            isFinal ? PendingKind.FinalRecovery : PendingKind.Recovery,
            controller,
            bytes32(0),
            0
        );
    }

    /// @inheritdoc IRecovery
    function cancelPending(address id, uint32 nonce, uint48 deadline, bytes calldata signature)
        external
    {
        _requireNotPast(deadline);
        Guardianship storage current = _guardianships[id];
        PendingKind kind = _pending[id].kind;
        if (kind == PendingKind.None) revert NothingPending(id);
        if (kind == PendingKind.FinalRecovery) revert NotCancellable();
        if (nonce != current.nonce) revert GuardianNonceStale(nonce, current.nonce);
        uint256 slot = _participants[id];
        bytes32 structHash =
            keccak256(abi.encode(CANCELLATION_TYPEHASH, id, _rotationsIn(slot), nonce, deadline));
        _authorize(id, _controllerIn(id, slot), structHash, signature);
        if (kind == PendingKind.Recovery) {
            uint48 last = current.lastCancelled;
            if (last != 0 && block.timestamp < last + CANCEL_INTERVAL) {
                revert CancelledRecently(last);
            }
            current.lastCancelled = uint48(block.timestamp);
        }
        delete _pending[id];
        emit PendingCancelled(id, kind, ++current.nonce);
    }

    /// @inheritdoc IRecovery
    function finishPending(address id) external {
        Pending memory waiting = _pending[id];
        if (waiting.kind == PendingKind.None) revert NothingPending(id);
        if (block.timestamp < waiting.readyAt) revert NotReady(waiting.readyAt);
        delete _pending[id];
        emit PendingFinished(id, waiting.kind, ++_guardianships[id].nonce);
        if (waiting.kind == PendingKind.GuardianChange) {
            _applyGuardians(id, waiting.commitment, waiting.delay);
        } else {
            _applyRotation(id, waiting.controller);
        }
    }

    /// @inheritdoc IRecovery
    function guardianship(address id)
        external
        view
        returns (bytes32 commitment, uint32 delay, uint32 nonce, uint48 lastCancelled)
    {
        Guardianship memory current = _guardianships[id];
        return (current.commitment, current.delay, current.nonce, current.lastCancelled);
    }

    /// @inheritdoc IRecovery
    function pending(address id)
        external
        view
        returns (
            PendingKind kind,
            address controller,
            bytes32 commitment,
            uint32 delay,
            uint48 readyAt
        )
    {
        Pending memory waiting = _pending[id];
        return
            (waiting.kind, waiting.controller, waiting.commitment, waiting.delay, waiting.readyAt);
    }

    function _guardianNonce(address id) internal view override returns (uint32) {
        return _guardianships[id].nonce;
    }

    function _startDelayedRotation(address id, address controller)
        internal
        override
        returns (bool)
    {
        if (_guardianships[id].commitment == 0) return false;
        _start(id, PendingKind.Rotation, controller, bytes32(0), 0);
        return true;
    }

    /// @dev What the controller asks for cannot replace a recovery, and only a final recovery
    /// replaces a final recovery.
    function _start(
        address id,
        PendingKind kind,
        address controller,
        bytes32 commitment,
        uint32 delay
    ) private {
        PendingKind waiting = _pending[id].kind;
        if (waiting >= PendingKind.Recovery && kind < waiting) revert RecoveryPending(waiting);
        Guardianship storage current = _guardianships[id];
        uint48 readyAt = uint48(block.timestamp) + current.delay;
        _pending[id] = Pending(kind, readyAt, controller, delay, commitment);
        emit PendingStarted(id, kind, controller, commitment, delay, readyAt, ++current.nonce);
    }

    function _applyGuardians(address id, bytes32 commitment, uint32 delay) private {
        Guardianship storage current = _guardianships[id];
        current.commitment = commitment;
        current.delay = delay;
        emit GuardiansChanged(id, commitment, delay, ++current.nonce);
    }

    function _requireQuorum(
        address id,
        address controller,
        bool isFinal,
        uint48 deadline,
        GuardianSet calldata set,
        bytes[] calldata signatures
    ) private view {
        uint256 threshold = isFinal ? set.finalThreshold : set.threshold;
        uint32 nonce = _guardianships[id].nonce;
        uint256 count = set.guardians.length;
        if (signatures.length != count) {
            revert GuardianSignaturesMiscounted(signatures.length, count);
        }
        uint256 signed;
        address before;
        for (uint256 i; i < count; ++i) {
            address guardian = set.guardians[i];
            if (guardian <= before) revert GuardiansUnsorted(before, guardian);
            before = guardian;
            uint256 slot = _participants[guardian];
            address signer = _controllerIn(guardian, slot);
            if (signatures[i].length == 0 && msg.sender != signer) continue;
            bytes32 structHash = keccak256(
                abi.encode(
                    RECOVERY_TYPEHASH,
                    id,
                    guardian,
                    _rotationsIn(slot),
                    controller,
                    isFinal,
                    nonce,
                    deadline
                )
            );
            _authorize(guardian, signer, structHash, signatures[i]);
            ++signed;
        }
        if (threshold == 0 || signed < threshold) revert GuardiansMissing(signed, threshold);
    }
}
