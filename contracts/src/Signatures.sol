// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "solady/utils/EIP712.sol";
import {ISignatures} from "./ISignatures.sol";

/// @title Signature checks
/// @dev The interface holds the documentation; comments here say only why.
abstract contract Signatures is ISignatures, EIP712 {
    /// @dev Half the order of secp256k1, rounded down (EIP-2).
    uint256 private constant HALF_ORDER =
        0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    /// @dev An ERC-1271 wallet gets this much gas, so that none can burn a relayer's whole budget.
    uint256 private constant ERC1271_GAS = 500_000;

    /// @dev Selector of `isValidSignature(bytes32,bytes)`, and its answer if the signature is valid.
    bytes4 private constant ERC1271_MAGIC = 0x1626ba7e;

    /// @dev A direct call needs no signature; everything else is judged by `_requireSigned`.
    function _authorize(address id, address controller, bytes32 structHash, bytes calldata signature)
        internal
        view
    {
        if (signature.length != 0) {
            _requireSigned(controller, _hashTypedData(structHash), signature);
        } else if (msg.sender != controller) {
            revert NotController(id, msg.sender);
        }
    }

    /// @dev ecrecover first: an account with delegated code (EIP-7702) keeps its own key, and most
    /// signers are accounts. `s` of the upper half is looked at last, since an ERC-1271 wallet may
    /// give 64 or 65 bytes any meaning.
    function _requireSigned(address controller, bytes32 digest, bytes calldata signature)
        internal
        view
    {
        bytes32 r;
        bytes32 s;
        uint8 v;
        if (signature.length == 65) {
            r = bytes32(signature[0:32]);
            s = bytes32(signature[32:64]);
            v = uint8(signature[64]);
        } else if (signature.length == 64) {
            r = bytes32(signature[0:32]);
            bytes32 vs = bytes32(signature[32:64]);
            s = bytes32(uint256(vs) & (type(uint256).max >> 1));
            v = 27 + uint8(uint256(vs) >> 255);
        }
        bool high = uint256(s) > HALF_ORDER;
        if (v != 0 && !high) {
            address recovered = ecrecover(digest, v, r, s);
            // ecrecover answers zero for what is no signature: nobody signs for the id zero, which
            // stands for every active organization in consents.
            if (recovered == controller && recovered != address(0)) return;
        }
        if (_isValidErc1271(controller, digest, signature)) return;
        if (high) revert SignatureHighS(s);
        revert SignatureInvalid(controller, digest);
    }

    function _requireNotPast(uint48 deadline) internal view {
        if (block.timestamp > deadline) revert DeadlinePassed(deadline);
    }

    function _isValidErc1271(address signer, bytes32 digest, bytes calldata signature)
        private
        view
        returns (bool)
    {
        if (signer.code.length == 0) return false;
        bytes memory question = abi.encodeWithSelector(ERC1271_MAGIC, digest, signature);
        bytes32 answer;
        bool answered;
        // At most one word of the answer is copied: a high-level call copies all that a hostile wallet
        // returns, 450 KB within its gas, and pays once more what the wallet paid.
        assembly ("memory-safe") {
            answered := and(
                staticcall(ERC1271_GAS, signer, add(question, 0x20), mload(question), 0x00, 0x20),
                gt(returndatasize(), 0x1f)
            )
            answer := mload(0x00)
        }
        return answered && answer == bytes32(ERC1271_MAGIC);
    }
}
