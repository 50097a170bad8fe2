// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {Status} from "./Types.sol";

/// @notice Who signs for an id, which keys it published, and its standing in the network.
///
/// An id is an address. Its controller is itself until it rotates or is recovered. Nobody registers.
interface IRegistrar {
    /// @notice Only the consortium contract may set a status.
    error NotConsortium(address sender);

    /// @notice Zero can control nothing.
    error ControllerIsZero();

    /// @notice The signature was made for another state of the chart.
    /// @param sequence The sequence that was signed.
    /// @param current The sequence that the chart has.
    error SequenceStale(uint32 sequence, uint32 current);

    /// @notice Another account signs for the id from now on.
    /// @param sequence The chart's sequence after the rotation. Nothing signed before it holds.
    /// @param consentVersion The consent version after the rotation; the root did not change.
    event Rotated(
        address indexed id, address indexed controller, uint32 sequence, uint32 consentVersion
    );

    /// @notice An id published a key bundle. Readers ignore a bundle that does not extend the
    /// current one.
    /// @param bundle keccak256 of the bundle.
    /// @param previous The bundle before it; zero for the first.
    /// @param store 0 if `content` is a Swarm address, 1 if it is the digest of a CID.
    /// @param content Where the bundle lies.
    event KeysPublished(
        address indexed id, bytes32 indexed bundle, bytes32 previous, uint8 store, bytes32 content
    );

    /// @notice The consortium set the standing of an organization.
    event StatusChanged(address indexed organization, Status status);

    /// @notice Hands an id to another controller, or starts the wait if the id has guardians.
    /// @dev The new controller signs the same `Rotation`, so that no id is handed to a key that
    /// nobody has. Either of the two may send the call with an empty signature.
    /// @param sequence The chart's sequence before the rotation.
    /// @param deadline Last Unix second at which both signatures hold.
    function rotate(
        address id,
        address controller,
        uint32 sequence,
        uint48 deadline,
        bytes calldata signature,
        bytes calldata acceptance
    ) external;

    /// @notice Publishes a key bundle for an id. Arguments as in `KeysPublished`.
    function publishKeys(
        address id,
        bytes32 previous,
        bytes32 bundle,
        uint8 store,
        bytes32 content,
        uint48 deadline,
        bytes calldata signature
    ) external;

    /// @notice Sets the standing of an organization. Only the consortium calls this.
    function setStatus(address organization, Status status) external;

    /// @notice The contract that sets the standing of organizations.
    function consortium() external view returns (address);

    /// @notice Who signs for an id, its standing, and how often it has rotated.
    /// @return controller The id itself until it rotates.
    /// @return status Standing in the network.
    /// @return rotations Is signed along wherever no other slot changes.
    function participant(address id)
        external
        view
        returns (address controller, Status status, uint32 rotations);

    /// @notice The chart of a pseudonym.
    /// @return sequence Settlements and rotations so far.
    /// @return lastAccess Unix second of the last access; zero if there was none.
    /// @return head Rolling hash of every settlement, access, reseal and rotation.
    function chart(address patient)
        external
        view
        returns (uint32 sequence, uint40 lastAccess, bytes23 head);
}
