// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IRecords} from "./IRecords.sol";
import {IRegistrar} from "./IRegistrar.sol";
import {LedgerState} from "./LedgerState.sol";
import {PendingKind, Status} from "./Types.sol";

/// @title Registrar
/// @dev The interface holds the documentation; comments here say only why.
abstract contract Registrar is LedgerState {
    bytes32 internal constant ROTATION_TYPEHASH = keccak256(
        "Rotation(address id,address controller,uint32 sequence,uint32 nonce,uint48 deadline)"
    );
    bytes32 internal constant KEY_BUNDLE_TYPEHASH = keccak256(
        "KeyBundle(address id,uint32 rotations,bytes32 previous,bytes32 bundle,uint8 store,bytes32 content,uint48 deadline)"
    );

    /// @inheritdoc IRegistrar
    address public immutable override consortium;

    constructor(address consortium_) {
        consortium = consortium_;
    }

    /// @inheritdoc IRegistrar
    function rotate(
        address id,
        address controller,
        uint32 sequence,
        uint48 deadline,
        bytes calldata signature,
        bytes calldata acceptance
    ) external {
        if (controller == address(0)) revert ControllerIsZero();
        _requireNotPast(deadline);
        uint32 current = uint32(_charts[id].word & COUNTER_MASK);
        if (sequence != current) revert SequenceStale(sequence, current);
        bytes32 structHash = keccak256(
            abi.encode(ROTATION_TYPEHASH, id, controller, sequence, _guardianNonce(id), deadline)
        );
        _authorize(id, _controllerIn(id, _participants[id]), structHash, signature);
        _authorize(controller, controller, structHash, acceptance);
        if (!_startDelayedRotation(id, controller)) _applyRotation(id, controller);
    }

    /// @inheritdoc IRegistrar
    function publishKeys(
        address id,
        bytes32 previous,
        bytes32 bundle,
        uint8 store,
        bytes32 content,
        uint48 deadline,
        bytes calldata signature
    ) external {
        _requireNotPast(deadline);
        if (store > 1) revert IRecords.StoreUnknown(store);
        uint256 slot = _participants[id];
        bytes32 structHash = keccak256(
            abi.encode(
                KEY_BUNDLE_TYPEHASH,
                id,
                _rotationsIn(slot),
                previous,
                bundle,
                store,
                content,
                deadline
            )
        );
        _authorize(id, _controllerIn(id, slot), structHash, signature);
        emit KeysPublished(id, bundle, previous, store, content);
    }

    /// @inheritdoc IRegistrar
    function setStatus(address organization, Status status) external {
        if (msg.sender != consortium) revert NotConsortium(msg.sender);
        uint256 slot = _participants[organization];
        _participants[organization] = slot & ~uint256(0xff << 160) | uint256(status) << 160;
        emit StatusChanged(organization, status);
    }

    /// @inheritdoc IRegistrar
    function participant(address id)
        external
        view
        returns (address controller, Status status, uint32 rotations)
    {
        uint256 slot = _participants[id];
        return (_controllerIn(id, slot), _statusIn(slot), _rotationsIn(slot));
    }

    /// @inheritdoc IRegistrar
    function chart(address patient)
        external
        view
        returns (uint32 sequence, uint40 lastAccess, bytes23 head)
    {
        uint256 slot = _charts[patient].word;
        return
            (uint32(slot & COUNTER_MASK), uint40(slot >> 32), bytes23(uint184(slot >> HEAD_SHIFT)));
    }

    /// @dev Raised by everything that waits or is cancelled, so that a rotation that was started and
    /// cancelled cannot be started again by the same signatures.
    function _guardianNonce(address id) internal view virtual returns (uint32);

    /// @dev `Recovery` makes a rotation wait if the id has guardians.
    /// @return Whether it waits.
    function _startDelayedRotation(address id, address controller) internal virtual returns (bool);
}
