// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IRecords} from "./IRecords.sol";
import {IRegistrar} from "./IRegistrar.sol";
import {Signatures} from "./Signatures.sol";
import {Status} from "./Types.sol";

/// @title Slots of the ledger
/// @dev One slot per id and concern, for life; never one per record, consent or access.
///
/// | slot | bits | content |
/// |---|---|---|
/// | participant | 0..160 | controller; zero: the id itself |
/// | | 160..168 | status |
/// | | 168..200 | rotations |
/// | chart | 0..31 | sequence |
/// | | 31 | the id has rotated: look up its controller |
/// | | 32..72 | Unix second of the last access |
/// | | 72..256 | head |
/// | consents | 0..31 | version |
/// | | 31 | the id has rotated: look up its controller |
/// | | 32..256 | root |
abstract contract LedgerState is Signatures, IRegistrar {
    uint256 internal constant ROTATED = 1 << 31;
    uint256 internal constant COUNTER_MASK = ROTATED - 1;
    uint256 internal constant LAST_ACCESS_SHIFT = 32;
    uint256 internal constant LAST_ACCESS_MASK = 0xffffffffff << 32;
    uint256 internal constant HEAD_SHIFT = 72;

    /// @dev What the head folds in; each is followed by every field of the entry and the block time.
    uint256 internal constant ENTRY_SETTLEMENT = 1;
    uint256 internal constant ENTRY_ACCESS = 2;
    uint256 internal constant ENTRY_RESEAL = 3;
    uint256 internal constant ENTRY_ROTATION = 4;

    /// @dev In a struct, so that code can hold a reference and hash the mapping's key once.
    struct Slot {
        uint256 word;
    }

    mapping(address id => uint256 slot) internal _participants;
    mapping(address patient => Slot) internal _charts;
    mapping(address patient => Slot) internal _consents;

    /// @dev Controller by the participant slot.
    function _controllerIn(address id, uint256 slot) internal pure returns (address controller) {
        controller = address(uint160(slot));
        if (controller == address(0)) controller = id;
    }

    function _statusIn(uint256 slot) internal pure returns (Status) {
        return Status(uint8(slot >> 160));
    }

    /// @dev As `_statusIn(slot) == status`, without the range check of the conversion (50 gas).
    function _hasStatus(uint256 slot, Status status) internal pure returns (bool) {
        return uint8(slot >> 160) == uint8(status);
    }

    function _rotationsIn(uint256 slot) internal pure returns (uint32) {
        return uint32(slot >> 168);
    }

    /// @dev Participant slot as far as it concerns signatures, by a chart or consents slot that is
    /// loaded anyway: most ids never rotate, and the flag saves them a cold load (2,100 gas).
    function _signerSlot(address id, uint256 flagged) internal view returns (uint256) {
        return flagged & ROTATED == 0 ? 0 : _participants[id];
    }

    function _word(address id) internal pure returns (uint256) {
        return uint160(id);
    }

    function _activeParticipant(address organization) internal view returns (uint256 slot) {
        slot = _participants[organization];
        if (!_hasStatus(slot, Status.Active)) revert IRecords.NotActive(organization);
    }

    /// @dev The new head is the first 184 bits of the hash of the old one and an entry.
    function _foldInto(uint256 slot, bytes32 folded) internal pure returns (uint256) {
        return (uint256(folded) >> HEAD_SHIFT) << HEAD_SHIFT | slot & ((1 << HEAD_SHIFT) - 1);
    }

    /// @dev Hands an id over. Raises sequence and consent version, so that nothing signed before
    /// holds after.
    function _applyRotation(address id, address controller) internal {
        uint256 slot = _participants[id];
        uint32 rotations = _rotationsIn(slot) + 1;
        _participants[id] = uint160(controller) | slot & (0xff << 160) | uint256(rotations) << 168;

        uint256 consents_ = _consents[id].word;
        uint256 version = _increment(consents_);
        _consents[id].word = consents_ >> 32 << 32 | ROTATED | version;

        uint256 chart_ = _charts[id].word;
        uint256 sequence = _increment(chart_);
        bytes32 folded = keccak256(
            abi.encode(
                chart_ >> HEAD_SHIFT, ENTRY_ROTATION, controller, sequence, version, block.timestamp
            )
        );
        _charts[id].word = _foldInto(chart_ >> 32 << 32 | ROTATED | sequence, folded);
        emit Rotated(id, controller, uint32(sequence), uint32(version));
    }

    /// @dev The counter in the low 31 bits, plus one. Never wraps into the flag: 2^31 signed changes
    /// of one id cannot happen, but a wrapped counter would revive old signatures.
    function _increment(uint256 slot) internal pure returns (uint256 next) {
        next = (slot & COUNTER_MASK) + 1;
        assert(next <= COUNTER_MASK);
    }
}
