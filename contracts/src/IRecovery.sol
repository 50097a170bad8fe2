// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {GuardianSet, PendingKind} from "./Types.sol";

/// @notice Guardians: a hidden set of accounts that can hand an id to a new controller after a delay.
///
/// With guardians set, a rotation and a change of guardians wait as long as a recovery does, so that
/// a thief of the controller's key cannot outrun the guardians. One action waits at a time. A
/// recovery replaces what the controller asked for, a final recovery replaces everything.
interface IRecovery {
    /// @notice The delay is too short or too long.
    error DelayOutOfRange(uint32 delay);

    /// @notice The signature was made for another state of the guardianship.
    error GuardianNonceStale(uint32 nonce, uint32 current);

    /// @notice The id has no guardians.
    error GuardiansNotSet(address id);

    /// @notice The set shown is not the one that was committed to.
    error GuardiansMismatch(bytes32 expected, bytes32 shown);

    /// @notice Guardians are not strictly ascending.
    error GuardiansUnsorted(address before, address guardian);

    /// @notice Not one signature, or none, for each guardian.
    error GuardianSignaturesMiscounted(uint256 signatures, uint256 guardians);

    /// @notice Too few guardians signed, or the committed threshold is zero.
    error GuardiansMissing(uint256 signed, uint256 threshold);

    /// @notice A recovery waits, and what the controller asks for cannot replace it.
    error RecoveryPending(PendingKind pending);

    /// @notice Nothing waits.
    error NothingPending(address id);

    /// @notice The second quorum asked for it: nobody can cancel it.
    error NotCancellable();

    /// @notice The controller cancelled a recovery less than 30 days ago.
    error CancelledRecently(uint48 cancelledAt);

    /// @notice The delay has not passed.
    /// @param readyAt First Unix second at which it has.
    error NotReady(uint48 readyAt);

    /// @notice The guardians of an id changed.
    /// @param commitment Hash of a `GuardianSet`; zero for none.
    /// @param delay Seconds that recoveries, rotations and changes of guardians wait.
    event GuardiansChanged(address indexed id, bytes32 commitment, uint32 delay, uint32 nonce);

    /// @notice Something waits for its delay to pass.
    /// @param controller The controller to be; zero for a change of guardians.
    /// @param readyAt First Unix second at which it can be finished.
    event PendingStarted(
        address indexed id,
        PendingKind indexed kind,
        address controller,
        bytes32 commitment,
        uint32 delay,
        uint48 readyAt,
        uint32 nonce
    );

    /// @notice What waited took effect.
    event PendingFinished(address indexed id, PendingKind indexed kind, uint32 nonce);

    /// @notice The controller cancelled what waited.
    event PendingCancelled(address indexed id, PendingKind indexed kind, uint32 nonce);

    /// @notice Sets, changes or (with a zero commitment) removes the guardians of an id. Immediate if
    /// there are none.
    /// @param commitment `keccak256(abi.encode(guardians, threshold, finalThreshold, salt))`.
    /// @param delay Seconds, 3 to 21 days; zero if the commitment is zero.
    /// @param nonce The guardianship's nonce before this change.
    function setGuardians(
        address id,
        bytes32 commitment,
        uint32 delay,
        uint32 nonce,
        uint48 deadline,
        bytes calldata signature
    ) external;

    /// @notice Starts a recovery by a quorum of guardians.
    /// @param isFinal Whether the second quorum signs, for a recovery that nobody can cancel.
    /// @param signatures One for each guardian; empty if it did not sign, or if it sends the call.
    function startRecovery(
        address id,
        address controller,
        bool isFinal,
        uint48 deadline,
        GuardianSet calldata set,
        bytes[] calldata signatures
    ) external;

    /// @notice Cancels what waits, as the controller. A recovery can be cancelled once in 30 days.
    function cancelPending(address id, uint32 nonce, uint48 deadline, bytes calldata signature)
        external;

    /// @notice Does what has waited long enough. Anyone may send it.
    function finishPending(address id) external;

    /// @notice The guardianship of an id.
    /// @return commitment Zero if there are no guardians.
    /// @return delay Seconds.
    /// @return nonce Raised by everything that guardians or controller start, cancel or finish.
    /// @return lastCancelled Unix second of the last cancelled recovery; zero if there was none.
    function guardianship(address id)
        external
        view
        returns (bytes32 commitment, uint32 delay, uint32 nonce, uint48 lastCancelled);

    /// @notice What waits for an id.
    /// @return kind None if nothing waits.
    /// @return controller The controller to be; zero for a change of guardians.
    /// @return commitment The guardians to be, for a change of guardians.
    /// @return delay The delay to be, for a change of guardians.
    /// @return readyAt First Unix second at which it can be finished.
    function pending(address id)
        external
        view
        returns (
            PendingKind kind,
            address controller,
            bytes32 commitment,
            uint32 delay,
            uint48 readyAt
        );
}
