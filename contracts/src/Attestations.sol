// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Consents} from "./Consents.sol";
import {IAttestations} from "./IAttestations.sol";
import {Element} from "./Types.sol";

/// @title Attestations
/// @dev The interface holds the documentation; comments here say only why.
abstract contract Attestations is Consents, IAttestations {
    bytes32 internal constant ATTESTATION_TYPEHASH =
        keccak256("Attestation(address author,uint32 rotations,bytes32 root,uint48 issued)");
    bytes32 internal constant ELEMENT_TYPEHASH =
        keccak256("Element(bytes32 salt,uint64 label,uint64 parent,bytes32 content)");

    /// @inheritdoc IAttestations
    /// @dev The root is not asked for: the signature says which one it is.
    function requireElement(
        address author,
        uint48 issued,
        bytes calldata signature,
        Element calldata element,
        bytes32[] calldata proof
    ) external view {
        uint256 slot = _participants[author];
        bytes32 leaf = _leaf(
            keccak256(
                abi.encode(
                    ELEMENT_TYPEHASH, element.salt, element.label, element.parent, element.content
                )
            )
        );
        bytes32 structHash = keccak256(
            abi.encode(
                ATTESTATION_TYPEHASH, author, _rotationsIn(slot), _climb(leaf, proof), issued
            )
        );
        address controller = _controllerIn(author, slot);
        // Who only asks can ask in anybody's name, so that being the controller proves nothing here.
        if (signature.length == 0) revert SignatureInvalid(controller, structHash);
        _authorize(author, controller, structHash, signature);
    }
}
