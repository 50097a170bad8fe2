// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Consents} from "./Consents.sol";
import {IAccessLog} from "./IAccessLog.sol";
import {IRecords} from "./IRecords.sol";
import {Access, Status} from "./Types.sol";

/// @title Access log
/// @dev The interface holds the documentation; comments here say only why.
abstract contract AccessLog is Consents, IAccessLog {
    bytes32 internal constant ACCESS_TYPEHASH = keccak256(
        "Access(address patient,address grantee,uint32 rotations,uint8 purpose,bytes32 consent,uint256[] records,uint48 deadline)"
    );
    bytes32 internal constant ACCESS_REQUEST_TYPEHASH = keccak256(
        "AccessRequest(address patient,address organization,uint32 rotations,uint32 purposes,uint8 store,bytes32 message,uint48 deadline)"
    );

    /// @inheritdoc IAccessLog
    function logAccess(Access calldata access) external {
        uint256 slot = _participants[access.grantee];
        if (msg.sender != access.grantee && msg.sender != _controllerIn(access.grantee, slot)) {
            revert NotController(access.grantee, msg.sender);
        }
        _logAccess(access, slot, _consentLeaf(access.terms, access.grantee), 0);
    }

    /// @inheritdoc IAccessLog
    function logAccessBySig(Access calldata access, uint48 deadline, bytes calldata signature)
        external
    {
        _requireNotPast(deadline);
        uint256 slot = _participants[access.grantee];
        bytes32 consent = _consentLeaf(access.terms, access.grantee);
        bytes32 structHash = keccak256(
            abi.encode(
                ACCESS_TYPEHASH,
                access.patient,
                access.grantee,
                _rotationsIn(slot),
                access.purpose,
                consent,
                keccak256(abi.encodePacked(access.records)),
                deadline
            )
        );
        _authorize(access.grantee, _controllerIn(access.grantee, slot), structHash, signature);
        _logAccess(access, slot, consent, deadline);
    }

    /// @inheritdoc IAccessLog
    function requestAccess(
        address patient,
        address organization,
        uint32 purposes,
        uint8 store,
        bytes32 message,
        uint48 deadline,
        bytes calldata signature
    ) external {
        _requireNotPast(deadline);
        if (store > 1) revert IRecords.StoreUnknown(store);
        uint256 slot = _activeParticipant(organization);
        bytes32 structHash = keccak256(
            abi.encode(
                ACCESS_REQUEST_TYPEHASH,
                patient,
                organization,
                _rotationsIn(slot),
                purposes,
                store,
                message,
                deadline
            )
        );
        _authorize(organization, _controllerIn(organization, slot), structHash, signature);
        emit AccessRequested(patient, organization, purposes, store, message, deadline);
    }

    function _logAccess(Access calldata access, uint256 participant_, bytes32 consent, uint48 deadline)
        private
    {
        _requireConsent(access, participant_, consent);
        if (access.records.length == 0) revert AccessEmpty();
        uint256 slot = _charts[access.patient];
        for (uint256 i; i < access.records.length; ++i) {
            bytes32 record = _consentedRecord(access, i);
            bytes32 folded = keccak256(
                abi.encode(
                    slot >> HEAD_SHIFT,
                    ENTRY_ACCESS,
                    access.grantee,
                    record,
                    consent,
                    access.purpose,
                    access.terms.network,
                    deadline,
                    block.timestamp
                )
            );
            slot = _foldInto(slot, folded);
            emit Accessed(
                access.patient,
                access.grantee,
                record,
                consent,
                access.purpose,
                access.terms.network,
                deadline
            );
        }
        _charts[access.patient] =
            slot & ~uint256(type(uint40).max << 32) | uint256(uint40(block.timestamp)) << 32;
    }

    function _requireConsent(Access calldata access, uint256 participant_, bytes32 consent)
        private
        view
    {
        Status status = _statusIn(participant_);
        if (
            status == Status.Suspended || access.terms.network && status != Status.Active
        ) revert GranteeNotInStanding(access.grantee);
        if (!_isLive(access.patient, consent, access.proof)) revert ConsentNotFound(consent);
        if (
            block.timestamp < access.terms.notBefore || block.timestamp >= access.terms.expiry
        ) revert ConsentNotInForce(access.terms.notBefore, access.terms.expiry);
        if (access.terms.purposes >> access.purpose & 1 == 0) {
            revert PurposeNotConsented(access.purpose);
        }
    }

    /// @dev The record id of a word, if the consent covers its segment.
    function _consentedRecord(Access calldata access, uint256 i) private pure returns (bytes32) {
        uint256 word = access.records[i];
        if (word >> 72 & 0xffffff != 0) revert RecordMalformed(i);
        uint8 segment = uint8(word >> 64);
        if (access.terms.segments >> segment & 1 == 0) revert SegmentNotConsented(segment);
        return keccak256(abi.encode(access.patient, address(uint160(word >> 96)), segment, uint64(word)));
    }
}
