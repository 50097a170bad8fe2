// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

/// @notice What is common to everything that is signed.
///
/// Every function that takes a signature can also be sent by the controller itself, with an empty
/// signature. Signatures are 65-byte ECDSA `r‖s‖v`, 64-byte ERC-2098, or whatever the controller's
/// ERC-1271 contract takes. A wrong chain, a wrong contract or any other changed field gives a
/// digest that the signer did not sign, hence `SignatureInvalid`.
interface ISignatures {
    /// @notice The signature is not one of `controller` over `digest`.
    /// @param controller The account that signs for the id today.
    /// @param digest The EIP-712 digest that had to be signed.
    error SignatureInvalid(address controller, bytes32 digest);

    /// @notice The signature is the malleable twin of a signature: its `s` lies in the upper half.
    error SignatureHighS(bytes32 s);

    /// @notice No signature was given and the sender does not control the id.
    error NotController(address id, address sender);

    /// @notice The deadline has passed.
    /// @param deadline Last Unix second at which the signature held.
    error DeadlinePassed(uint48 deadline);
}
