// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "solady/utils/ECDSA.sol";
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
    function _authorize(
        address id,
        address controller,
        bytes32 structHash,
        bytes calldata signature
    ) internal view {
        if (signature.length != 0) {
            _requireSigned(controller, _hashTypedData(structHash), signature);
        } else if (msg.sender != controller) {
            revert NotController(id, msg.sender);
        }
    }

    /// @dev ecrecover first: an account with delegated code (EIP-7702) keeps its own key, and most
    /// signers are accounts. Zero is what is recovered from no signature, and signs nothing: it
    /// stands for every active organization in consents.
    function _requireSigned(address controller, bytes32 digest, bytes calldata signature)
        internal
        view
    {
        address recovered = ECDSA.tryRecoverCalldata(digest, signature);
        if (recovered == controller && recovered != address(0)) {
            bytes32 s = bytes32(signature[32:]);
            // The short form (ERC-2098) keeps the parity in the highest bit.
            if (signature.length == 64) s = s << 1 >> 1;
            if (uint256(s) > HALF_ORDER) revert SignatureHighS(s);
        } else if (!_isValidErc1271(controller, digest, signature)) {
            revert SignatureInvalid(controller, digest);
        }
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
            answered := staticcall(
                ERC1271_GAS,
                signer,
                add(question, 0x20),
                mload(question),
                0x00,
                0x20
            )
            // A shorter answer leaves what stood there before.
            answered := and(answered, gt(returndatasize(), 0x1f))
            answer := mload(0x00)
        }
        return answered && answer == bytes32(ERC1271_MAGIC);
    }
}
