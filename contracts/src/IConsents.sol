// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {ConsentChange, Delegation} from "./Types.sol";

/// @notice What patients let others read: one Merkle root of all live consents per pseudonym.
///
/// A leaf is `keccak256(keccak256(abi.encode(TYPE_HASH, terms…)))`; nodes hash the smaller child
/// first; the contract keeps the first 28 bytes of the root. It does not see the tree: that the root
/// is the root of the leaves announced so far is the patient's to sign and the readers' to check.
interface IConsents {
    /// @notice The signature was made for another version of the consents.
    error ConsentVersionStale(uint32 version, uint32 current);

    /// @notice More leaves are said to be revoked than the change has.
    error ConsentLeavesMiscounted(uint256 revoked, uint256 leaves);

    /// @notice The change names no leaf and keeps the root.
    error ConsentUnchanged();

    /// @notice The delegate's leaf is not in the patient's consent tree.
    error DelegationNotFound(bytes32 leaf);

    /// @notice The delegation does not hold now.
    error DelegationNotInForce(uint48 notBefore, uint48 expiry);

    /// @notice The delegation does not give this power.
    error DelegationLacksPower(uint32 powers, uint8 power);

    /// @notice The delegate is a suspended member of the network.
    error DelegateSuspended(address delegate);

    /// @notice The consents of a patient changed.
    /// @param state First 28 bytes of the new root, then 4 bytes of version after the change. A root
    /// of zero revokes everything, leaves named or not.
    /// @param revoked How many of the leaves, from the first, left the tree. The others entered it.
    event ConsentsChanged(
        address indexed patient, bytes32 state, uint256 revoked, bytes32[] leaves
    );

    /// @notice Replaces the patient's consent root.
    /// @dev Signed as `ConsentChange` by the patient's controller.
    function changeConsents(ConsentChange calldata change, bytes calldata signature) external;

    /// @notice As `changeConsents`, signed by a delegate. Whoever may change consents can also name
    /// further delegates, since the contract does not see what a leaf says.
    function changeConsentsAsDelegate(
        ConsentChange calldata change,
        Delegation calldata delegation,
        bytes calldata signature
    ) external;

    /// @notice The consents of a patient.
    /// @return root First 28 bytes of the Merkle root; zero if there are none.
    /// @return version Changes and rotations so far.
    function consents(address patient) external view returns (bytes28 root, uint32 version);
}
