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
    bytes32 internal constant CONSENT_TYPEHASH = keccak256(
        "Consent(address grantee,uint256 segments,uint32 purposes,uint48 notBefore,uint48 expiry,bytes32 salt)"
    );

    /// @dev In the terms of an access: the consent is for every active organization.
    uint256 private constant NETWORK = 1 << 8;
    uint256 private constant TERMS_UNUSED = ~uint256((1 << 144) - 1) | 0x7f << 9;

    bytes32 internal constant ACCESS_REQUEST_TYPEHASH = keccak256(
        "AccessRequest(address patient,address organization,uint32 rotations,uint32 purposes,uint8 store,bytes32 message,uint48 deadline)"
    );

    /// @inheritdoc IAccessLog
    function logAccess(Access calldata access) external {
        uint256 slot = _participants[access.grantee];
        // Not the id itself once it has rotated: a key that was handed over or stolen is powerless.
        if (msg.sender != _controllerIn(access.grantee, slot)) {
            revert NotController(access.grantee, msg.sender);
        }
        _logAccess(access, slot, _consentLeaf(access), 0);
    }

    /// @inheritdoc IAccessLog
    function logAccessBySig(Access calldata access, uint48 deadline, bytes calldata signature)
        external
    {
        _requireNotPast(deadline);
        uint256 slot = _participants[access.grantee];
        bytes32 consent = _consentLeaf(access);
        bytes32 structHash = keccak256(
            abi.encode(
                ACCESS_TYPEHASH,
                access.patient,
                access.grantee,
                _rotationsIn(slot),
                uint8(access.terms),
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
        // Purpose and network stand where `terms` has them.
        uint256 how = uint16(access.terms) | uint256(deadline) << 16;
        for (uint256 i; i < access.records.length; ++i) {
            bytes32 record = _consentedRecord(access, i);
            bytes32 folded = keccak256(
                abi.encode(
                    slot >> HEAD_SHIFT,
                    ENTRY_ACCESS,
                    access.grantee,
                    record,
                    consent,
                    how,
                    block.timestamp
                )
            );
            slot = _foldInto(slot, folded);
            emit Accessed(access.patient, access.grantee, record, consent, how);
        }
        _charts[access.patient] =
            slot & ~LAST_ACCESS_MASK | uint256(uint40(block.timestamp)) << LAST_ACCESS_SHIFT;
    }

    function _requireConsent(Access calldata access, uint256 participant_, bytes32 consent)
        private
        view
    {
        Status status = _statusIn(participant_);
        uint256 terms = access.terms;
        if (terms & TERMS_UNUSED != 0) revert TermsMalformed(terms);
        if (
            status == Status.Suspended || terms & NETWORK != 0 && status != Status.Active
        ) revert GranteeNotInStanding(access.grantee);
        if (!_isLive(access.patient, consent, access.proof)) revert ConsentNotFound(consent);
        if (block.timestamp < uint48(terms >> 16) || block.timestamp >= uint48(terms >> 64)) {
            revert ConsentNotInForce(uint48(terms >> 16), uint48(terms >> 64));
        }
        if (uint32(terms >> 112) >> uint8(terms) & 1 == 0) revert PurposeNotConsented(uint8(terms));
    }

    function _consentLeaf(Access calldata access) private pure returns (bytes32) {
        uint256 terms = access.terms;
        return _leaf(
            keccak256(
                abi.encode(
                    CONSENT_TYPEHASH,
                    terms & NETWORK != 0 ? address(0) : access.grantee,
                    access.segments,
                    uint32(terms >> 112),
                    uint48(terms >> 16),
                    uint48(terms >> 64),
                    access.salt
                )
            )
        );
    }

    /// @dev The record id of a word, if the consent covers its segment.
    function _consentedRecord(Access calldata access, uint256 i) private pure returns (bytes32) {
        uint256 word = access.records[i];
        if (word >> 72 & 0xffffff != 0) revert RecordMalformed(i);
        uint8 segment = uint8(word >> 64);
        if (access.segments >> segment & 1 == 0) revert SegmentNotConsented(segment);
        return keccak256(abi.encode(access.patient, address(uint160(word >> 96)), segment, uint64(word)));
    }
}
