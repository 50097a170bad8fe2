// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {EfficientHashLib} from "solady/utils/EfficientHashLib.sol";
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
    function logAccess(
        uint256 record,
        address patient,
        uint256 terms,
        uint256 segments,
        bytes32 salt,
        bytes32[] calldata proof
    ) external {
        uint256 participant_ = _participants[msg.sender];
        // Not the id itself once it has rotated: a key that was handed over or stolen is powerless.
        if (_controllerIn(msg.sender, participant_) != msg.sender) {
            revert NotController(msg.sender, msg.sender);
        }
        bytes32 consent = _consentLeaf(msg.sender, segments, terms, salt);
        _requireConsent(patient, msg.sender, participant_, terms, consent, proof);
        Slot storage chart_ = _charts[patient];
        uint256 slot = chart_.word;
        bytes32 id = _consentedRecord(patient, segments, record, 0);
        chart_.word = _stamp(_logOne(slot, patient, msg.sender, id, consent, uint16(terms)));
    }

    /// @inheritdoc IAccessLog
    function logAccessBySig(Access calldata access, uint48 deadline, bytes calldata signature)
        external
    {
        _requireNotPast(deadline);
        address grantee = access.grantee;
        uint256 participant_ = _participants[grantee];
        uint256 terms = access.terms;
        bytes32 consent = _consentLeaf(grantee, access.segments, terms, access.salt);
        bytes32 structHash = keccak256(
            abi.encode(
                ACCESS_TYPEHASH,
                access.patient,
                grantee,
                _rotationsIn(participant_),
                uint8(terms),
                consent,
                keccak256(abi.encodePacked(access.records)),
                deadline
            )
        );
        _authorize(grantee, _controllerIn(grantee, participant_), structHash, signature);
        _requireConsent(access.patient, grantee, participant_, terms, consent, access.proof);
        // Purpose and network stand where `terms` has them.
        uint256 how = uint16(terms);
        if (signature.length != 0) how |= uint256(deadline) << 16;
        _logAll(access, grantee, consent, how);
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

    function _logAll(Access calldata access, address grantee, bytes32 consent, uint256 how)
        private
    {
        address patient = access.patient;
        uint256[] calldata records = access.records;
        if (records.length == 0) revert AccessEmpty();
        uint256 segments = access.segments;
        Slot storage chart_ = _charts[patient];
        uint256 slot = chart_.word;
        for (uint256 i; i < records.length; ++i) {
            bytes32 record = _consentedRecord(patient, segments, records[i], i);
            slot = _logOne(slot, patient, grantee, record, consent, how);
        }
        chart_.word = _stamp(slot);
    }

    /// @dev Announces one access and folds it in.
    function _logOne(
        uint256 slot,
        address patient,
        address grantee,
        bytes32 record,
        bytes32 consent,
        uint256 how
    ) private returns (uint256) {
        emit Accessed(patient, grantee, record, consent, how);
        bytes32 folded = EfficientHashLib.hash(
            slot >> HEAD_SHIFT,
            ENTRY_ACCESS,
            _word(grantee),
            uint256(record),
            uint256(consent),
            how,
            block.timestamp
        );
        return _foldInto(slot, folded);
    }

    function _stamp(uint256 slot) private view returns (uint256) {
        return slot & ~LAST_ACCESS_MASK | uint256(uint40(block.timestamp)) << LAST_ACCESS_SHIFT;
    }

    function _requireConsent(
        address patient,
        address grantee,
        uint256 participant_,
        uint256 terms,
        bytes32 consent,
        bytes32[] calldata proof
    ) private view {
        if (terms & TERMS_UNUSED != 0) revert TermsMalformed(terms);
        if (
            _hasStatus(participant_, Status.Suspended) || terms & NETWORK != 0
                && !_hasStatus(participant_, Status.Active)
        ) revert GranteeNotInStanding(grantee);
        if (!_isLive(patient, consent, proof)) revert ConsentNotFound(consent);
        if (block.timestamp < uint48(terms >> 16) || block.timestamp >= uint48(terms >> 64)) {
            revert ConsentNotInForce(uint48(terms >> 16), uint48(terms >> 64));
        }
        if (terms >> 112 >> uint8(terms) & 1 == 0) revert PurposeNotConsented(uint8(terms));
    }

    function _consentLeaf(address grantee, uint256 segments, uint256 terms, bytes32 salt)
        private
        pure
        returns (bytes32)
    {
        return _leaf(
            EfficientHashLib.hash(
                uint256(CONSENT_TYPEHASH),
                terms & NETWORK != 0 ? 0 : _word(grantee),
                segments,
                uint32(terms >> 112),
                uint48(terms >> 16),
                uint48(terms >> 64),
                uint256(salt)
            )
        );
    }

    /// @dev The record id of the word at `i`, if the consent covers its segment.
    function _consentedRecord(address patient, uint256 segments, uint256 word, uint256 i)
        private
        pure
        returns (bytes32)
    {
        if (word >> 72 & 0xffffff != 0) revert RecordMalformed(i);
        uint8 segment = uint8(word >> 64);
        if (segments >> segment & 1 == 0) revert SegmentNotConsented(segment);
        return EfficientHashLib.hash(_word(patient), word >> 96, segment, uint64(word));
    }
}
