// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {Element} from "./Types.sol";

/// @title Attestations
/// @notice Documents that are signed by parts. The elements of a document are leaves of a salted tree, and
/// one signature stands for the roots of up to 256 documents:
///
///     Attestation(address author,uint32 rotations,bytes32 root,uint48 issued)
///
/// A leaf is the hash of the struct hash of `Element`, a node the hash of two nodes, the lower first. What
/// an element's content is made of is written in docs/protocol.md. Nothing of it is ever sent here: who
/// shows a part of a document has the contract's word for it without a transaction.
interface IAttestations {
    /// @notice Returns if a clinician or an organization has signed a document that has this element, and
    /// reverts with `SignatureInvalid` or `SignatureHighS` if not. Judged by the key that the author has
    /// now: after a rotation what it signed before is for readers of the history to judge. That the author
    /// is a member is for `participant` to say.
    /// @param issued When it was signed, in the author's word.
    /// @param signature Of the author's controller: 65 or 64 bytes, or for an ERC-1271 wallet.
    /// @param proof From the element's leaf to the signed root.
    function requireElement(
        address author,
        uint48 issued,
        bytes calldata signature,
        Element calldata element,
        bytes32[] calldata proof
    ) external view;
}
