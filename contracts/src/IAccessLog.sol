// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {Access} from "./Types.sol";

/// @notice Reads, checked against the patient's consents and stamped with their time.
interface IAccessLog {
    /// @notice An access names no record.
    error AccessEmpty();

    /// @notice A word that names a record has a bit that means nothing.
    error RecordMalformed(uint256 index);

    /// @notice The terms of an access have a bit that means nothing.
    error TermsMalformed(uint256 terms);

    /// @notice The consent is not in the patient's consent tree.
    error ConsentNotFound(bytes32 leaf);

    /// @notice The consent does not hold now.
    error ConsentNotInForce(uint48 notBefore, uint48 expiry);

    /// @notice The consent does not cover the segment of a record.
    error SegmentNotConsented(uint8 segment);

    /// @notice The consent does not cover the purpose.
    error PurposeNotConsented(uint8 purpose);

    /// @notice The grantee is suspended, or uses a grantee-zero consent without being active.
    error GranteeNotInStanding(address grantee);

    /// @notice A grantee read, or is about to read, a record.
    /// @param consent Leaf of the consent that covers the read.
    /// @param how Bits 0..8: number of the purpose of use. Bit 8: the consent names no grantee; with
    /// an emergency purpose this is break-glass. Bits 16..64: zero if the grantee sent the call
    /// itself, otherwise the deadline that it signed, and two events that agree in all fields count
    /// once.
    event Accessed(
        address indexed patient,
        address indexed grantee,
        bytes32 indexed record,
        bytes32 consent,
        uint256 how
    );

    /// @notice An organization asks a patient for consent.
    /// @param purposes Bit n stands for purpose of use n.
    /// @param store 0 if `message` is a Swarm address, 1 if it is the digest of a CID.
    /// @param message Where the request lies, sealed to the patient; zero for none.
    event AccessRequested(
        address indexed patient,
        address indexed organization,
        uint32 purposes,
        uint8 store,
        bytes32 message,
        uint48 deadline
    );

    /// @notice Logs the read of one record. The sender is the grantee: an id that has rotated uses
    /// `logAccessBySig`.
    /// @dev The dispatcher compares selectors one by one, lowest first: with its arguments in this
    /// order the most frequent call has the second lowest, which saves 460 gas.
    /// @param record Bits 0..64: number. 64..72: segment. 96..256: author. Rest zero.
    /// @param terms As in `Access`.
    /// @param segments That the consent covers: bit n stands for segment n.
    /// @param salt Of the consent.
    /// @param proof From the consent's leaf to the patient's consent root.
    function logAccess(
        uint256 record,
        address patient,
        uint256 terms,
        uint256 segments,
        bytes32 salt,
        bytes32[] calldata proof
    ) external;

    /// @notice Logs reads of one patient's records, by the signature of the grantee's controller, or
    /// sent by it with an empty signature.
    function logAccessBySig(Access calldata access, uint48 deadline, bytes calldata signature)
        external;

    /// @notice Asks a patient for consent, as an active organization.
    /// @param deadline Last Unix second at which the signature holds.
    function requestAccess(
        address patient,
        address organization,
        uint32 purposes,
        uint8 store,
        bytes32 message,
        uint48 deadline,
        bytes calldata signature
    ) external;
}
