// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

/// @notice Standing of an id in the network.
enum Status {
    None, // never admitted: a patient, a clinician, any account
    Active, // signs records, asks for access, reads under grantee-zero consents
    Suspended, // does none of that, and reads nothing
    Removed // as None, but was a member
}

/// @notice One version of a record, packed for calldata and logs.
/// @dev Signed as `Leaf(uint8 kind,uint8 segment,uint64 number,uint8 store,bytes32 content,bytes32
/// commitment,bytes32 previous)`, whose struct hash names the version.
struct Leaf {
    uint256 header; // bits 0..64 number, 64..72 segment, 72..80 kind, 80..88 store, rest zero
    bytes32 content; // Swarm address of the sealed content, or the digest of its CID if store is 1
    bytes32 commitment; // salted commitment to the plaintext
    bytes32 previous; // version that this one follows; zero for a new record
}

/// @notice A proposal without its leaves: all that a settlement needs.
struct Proposal {
    address patient;
    address author; // active organization that signs
    uint16 count; // leaves, 1 to 256
    uint48 deadline; // last Unix second at which the author's signature holds
    bytes32 policy; // hash of a `Policy`, or zero for no cosigners
    bytes32 leaves; // keccak256 of the struct hashes of all leaves, as EIP-712 encodes an array
}

/// @notice The patient's answer to a proposal. A leaf in neither mask stays unconfirmed.
struct Answer {
    uint256 accepted; // bit n stands for leaf n
    uint256 rejected; // disjoint from `accepted`
    uint32 sequence; // the chart's sequence before this settlement
    uint48 deadline; // last Unix second at which the patient's signature holds
}

/// @notice Who must sign beside author and patient.
struct Policy {
    uint8 threshold; // how many must sign, 1 to the number of cosigners
    address[] cosigners; // strictly ascending, without patient and author
    bytes[] signatures; // one for each cosigner; empty if it did not sign, or if it sends the call
}

/// @notice A delegate's opening of its leaf in the patient's consent tree.
struct Delegation {
    address delegate; // who signs in the patient's place; zero if nobody does
    uint32 powers; // bit 0 settle, 1 change consents, 2 reseal
    uint48 notBefore; // first Unix second at which the delegation holds
    uint48 expiry; // first Unix second at which it no longer holds
    bytes32 salt;
    bytes32[] proof; // from the leaf to the patient's consent root
}

/// @notice A change of a patient's consents.
struct ConsentChange {
    address patient;
    bytes32 state; // first 28 bytes of the new root (zero for no consent), then the version before
    uint256 limits; // bits 0..48 deadline, 48..80 how many of the leaves are revoked, rest zero
    bytes32[] leaves; // first those that leave the tree, then those that enter it
}

/// @notice Reads of one patient's records under one consent, with the opening of the consent.
///
/// | bits of `terms` | content |
/// |---|---|
/// | 0..8 | number of the purpose of use for which is read |
/// | 8 | the consent is for every active organization: its leaf has grantee zero |
/// | 16..64 | first Unix second at which the consent holds |
/// | 64..112 | first Unix second at which it no longer holds |
/// | 112..144 | purposes that the consent covers: bit n stands for purpose of use n |
///
/// All other bits are zero.
struct Access {
    address patient;
    address grantee; // who reads
    uint256 segments; // that the consent covers: bit n stands for segment n
    uint256 terms;
    bytes32 salt;
    bytes32[] proof; // from the consent's leaf to the patient's consent root
    uint256[] records; // each: bits 0..64 number, 64..72 segment, 96..256 author
}

/// @notice New content for a record whose plaintext did not change.
struct Reseal {
    uint256 header; // bits 0..64 number, 64..72 segment, 80..88 store of the new content
    bytes32 content; // the new content
    bytes32 previous; // the content that it replaces
}

/// @notice One leaf of a bulk anchor.
struct BulkLeaf {
    address patient;
    address author;
    uint256 header; // as in `Leaf`
    bytes32 content;
    bytes32 commitment;
}

/// @notice One element of a document that is signed by parts: what is shown or hidden as a whole.
struct Element {
    bytes32 salt;
    uint64 label; // unlike that of any other element of the document
    uint64 parent; // label of the element that must be shown with it; 0: none
    bytes32 content; // hash of its paths and values
}

/// @notice The opening of a guardian commitment.
struct GuardianSet {
    address[] guardians; // strictly ascending
    uint8 threshold; // how many start a recovery that the controller can cancel
    uint8 finalThreshold; // how many start one that nobody can cancel
    bytes32 salt;
}

/// @notice What waits for its delay to pass.
enum PendingKind {
    None,
    Rotation, // asked for by the controller
    GuardianChange, // asked for by the controller
    Recovery, // asked for by the first quorum
    FinalRecovery // asked for by the second quorum
}
