// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {Answer, BulkLeaf, Delegation, Leaf, Policy, Proposal, Reseal} from "./Types.sol";

/// @notice Proposals by organizations, answers by patients, new content after accesses, bulk anchors.
///
/// A record is `keccak256(abi.encode(patient, author, segment, number))` and never changes any of the
/// four. Nobody alone can change an accepted record. What a proposal, a withdrawal and a successor
/// mean for readers is in `docs/protocol.md`, section "Reader rules".
interface IRecords {
    /// @notice Only an active organization may do this.
    error NotActive(address organization);

    /// @notice A proposal has 1 to 256 leaves.
    error LeafCountInvalid(uint256 count);

    /// @notice A leaf's header has a bit that means nothing, or its kind and predecessor disagree.
    error LeafMalformed(uint256 index);

    /// @notice The two masks overlap.
    error MasksOverlap(uint256 both);

    /// @notice A mask names a leaf that the proposal does not have.
    error MaskExceedsCount(uint256 mask, uint256 count);

    /// @notice The policy shown is not the one that the author signed.
    error PolicyMismatch(bytes32 expected, bytes32 shown);

    /// @notice The threshold is zero or more than the number of cosigners.
    error PolicyThresholdInvalid(uint256 threshold, uint256 cosigners);

    /// @notice Cosigners are not strictly ascending.
    error CosignersUnsorted(address before, address cosigner);

    /// @notice The author cannot answer for the patient.
    error DelegateIsAuthor(address delegate);

    /// @notice Patient, author and the patient's delegate cannot cosign.
    error CosignerIsParty(address cosigner);

    /// @notice Not one signature, or none, for each cosigner.
    error CosignaturesMiscounted(uint256 signatures, uint256 cosigners);

    /// @notice A suspended member cannot cosign.
    error CosignerSuspended(address cosigner);

    /// @notice Too few cosigners signed.
    error CosignersMissing(uint256 signed, uint256 threshold);

    /// @notice A reseal names no record.
    error ResealEmpty();

    /// @notice The header of a bulk anchor has a bit that means nothing.
    error BulkMalformed(uint256 header);

    /// @notice The header of a reseal has a bit that means nothing.
    error ResealMalformed(uint256 index);

    /// @notice A store is 0 (Swarm) or 1 (IPFS).
    error StoreUnknown(uint8 store);

    /// @notice An author proposed versions of records.
    /// @param proposal EIP-712 struct hash of the proposal.
    /// @param limits Bits 0..48: deadline. Bits 48..80: how often the author had rotated, which is
    /// part of the proposal.
    /// @param signature The author's; empty if the author sent the call itself.
    event Proposed(
        address indexed patient,
        address indexed author,
        bytes32 indexed proposal,
        uint256 limits,
        bytes32 policy,
        Leaf[] leaves,
        bytes signature
    );

    /// @notice The author took a proposal back. Settlements after this do not count.
    event Withdrawn(address indexed patient, address indexed author, bytes32 indexed proposal);

    /// @notice The patient answered a proposal, and author and cosigners had signed it.
    /// @param by Bits 0..160: the patient, or the delegate that signed in the patient's place. Bits
    /// 160..192: the chart's sequence after the settlement.
    event Settled(
        address indexed patient,
        address indexed author,
        bytes32 indexed proposal,
        uint256 accepted,
        uint256 rejected,
        uint256 by
    );

    /// @notice A cosigner signed a proposal that is settled in the same call.
    event Cosigned(bytes32 indexed proposal, address indexed cosigner);

    /// @notice A record's content was sealed anew. Counts if it names the current content and opens
    /// to the commitment.
    /// @param by Bits 0..160: the patient, the author, or the patient's delegate, who signed. Bits
    /// 160..168: 0 if `content` is a Swarm address, 1 if it is the digest of a CID.
    event Resealed(
        address indexed patient,
        bytes32 indexed record,
        uint256 by,
        bytes32 content,
        bytes32 previous
    );

    /// @notice An organization anchored many leaves of many patients under one root.
    /// @param header Bits 0..32: leaves under the root, as the author says. Bits 32..40: store of the
    /// manifest.
    /// @param manifest Where the encrypted manifest lies.
    event BulkAnchored(address indexed author, bytes32 root, uint256 header, bytes32 manifest);

    /// @notice Announces a proposal that an active organization signed.
    /// @param policy Hash of a `Policy`: `keccak256(abi.encode(threshold, cosigners))`; zero for none.
    /// @param deadline Last Unix second at which the author's signature holds, settlement included.
    /// @return proposal EIP-712 struct hash of the proposal.
    function propose(
        address patient,
        address author,
        bytes32 policy,
        uint48 deadline,
        Leaf[] calldata leaves,
        bytes calldata signature
    ) external returns (bytes32 proposal);

    /// @notice Takes a proposal back. An organization may do so in any standing.
    function withdraw(
        address patient,
        address author,
        bytes32 proposal,
        uint48 deadline,
        bytes calldata signature
    ) external;

    /// @notice Settles a proposal without cosigners by the signatures of author and patient.
    function settle(
        Proposal calldata proposal,
        bytes calldata authorSignature,
        Answer calldata answer,
        bytes calldata patientSignature
    ) external;

    /// @notice Settles a proposal that needs cosigners, or that a delegate answers.
    /// @param policy The opening of the proposal's policy; empty if it has none.
    /// @param delegation The delegate's opening; its `delegate` is zero if the patient signs.
    function settleWith(
        Proposal calldata proposal,
        bytes calldata authorSignature,
        Answer calldata answer,
        bytes calldata patientSignature,
        Policy calldata policy,
        Delegation calldata delegation
    ) external;

    /// @notice Announces new content for one record.
    /// @param header Bits 0..64: number. 64..72: segment. 80..88: store of the new content. 88: the
    /// (active) author signs rather than the patient. 96..144: deadline. Rest zero.
    /// @param content The new content.
    /// @param previous The content that it replaces.
    /// @param signature Over a `Reseal` of one item.
    function reseal(
        address patient,
        address author,
        uint256 header,
        bytes32 content,
        bytes32 previous,
        bytes calldata signature
    ) external;

    /// @notice Announces new content for records of one patient and one author.
    /// @param byAuthor Whether the (active) author signs rather than the patient.
    function resealMany(
        address patient,
        address author,
        bool byAuthor,
        Reseal[] calldata items,
        uint48 deadline,
        bytes calldata signature
    ) external;

    /// @notice As `resealMany`, signed by the patient's delegate.
    function resealAsDelegate(
        address patient,
        address author,
        Reseal[] calldata items,
        uint48 deadline,
        Delegation calldata delegation,
        bytes calldata signature
    ) external;

    /// @notice Anchors many leaves of many patients under one root. The sender is the author: an id
    /// that has rotated uses `anchorBulkBySig`.
    /// @param header Bits 0..32: leaves under the root. 32..40: store of the manifest. Rest zero.
    function anchorBulk(bytes32 root, uint256 header, bytes32 manifest) external;

    /// @notice As `anchorBulk`, by signature or sent by the author's controller.
    function anchorBulkBySig(
        address author,
        bytes32 root,
        uint256 header,
        bytes32 manifest,
        uint48 deadline,
        bytes calldata signature
    ) external;

    /// @notice Whether a leaf lies under a bulk root. That the root was anchored is its event's to say.
    function provesBulk(bytes32 root, BulkLeaf calldata leaf, bytes32[] calldata proof)
        external
        pure
        returns (bool);
}
