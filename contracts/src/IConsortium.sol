// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {ISignatures} from "./ISignatures.sol";
import {Status} from "./Types.sol";

/// @notice What members vote on.
enum Motion {
    Admit, // a newcomer becomes a member after the wait
    Readmit, // a suspended member becomes active after the wait
    Suspend, // an active member stops being active, at once
    Remove // a member stops being one, at once; or a waiting admission ends
}

/// @notice The members of the network decide who is one. This contract can set the standing of
/// organizations in the ledger and nothing else.
///
/// Votes are collected off chain and sent in one call. Thresholds count all members, suspended ones
/// too, who cannot vote: two thirds to admit, readmit or remove, more than half to suspend.
interface IConsortium is ISignatures {
    /// @notice Between 1 and 256 founders, strictly ascending and not zero.
    error FoundersInvalid(uint256 index);

    /// @notice The motion does not fit the organization's standing.
    error MotionDoesNotApply(Motion motion, address organization);

    /// @notice The votes were given under another count: the epoch, or the target's own for a
    /// suspension.
    error VotesStale(uint32 counter, uint32 current);

    /// @notice Voters are not strictly ascending.
    error VotersUnsorted(address before, address voter);

    /// @notice Not one signature for each voter.
    error VotesMiscounted(uint256 signatures, uint256 voters);

    /// @notice Only an active member votes.
    error NotEntitled(address voter);

    /// @notice Too few votes.
    error VotesMissing(uint256 votes, uint256 needed);

    /// @notice Fewer than three members cannot suspend one of them.
    error TooFewMembers(uint256 members);

    /// @notice The last member cannot be removed.
    error LastMember();

    /// @notice The wait has not passed.
    /// @param readyAt First Unix second at which it has.
    error AdmissionNotReady(uint48 readyAt);

    /// @notice No more members fit.
    error ConsortiumFull();

    /// @notice A motion passed. For an admission, `readyAt` is the first Unix second at which it can
    /// be finished; otherwise it is zero and the standing changed at once.
    event MotionPassed(
        Motion indexed motion, address indexed organization, uint32 counter, uint48 readyAt
    );

    /// @notice An organization became an active member after its wait.
    /// @param counter Its own counter, for votes to suspend it.
    event AdmissionFinished(address indexed organization, uint32 counter);

    /// @notice The epoch rose: votes collected before do not count.
    event EpochRaised(uint32 epoch, uint16 members);

    /// @notice Carries out a motion that enough members voted for.
    /// @param counter The epoch; for `Suspend`, the target's own counter.
    /// @param deadline Last Unix second at which the votes hold.
    /// @param voters Members that voted, strictly ascending.
    /// @param signatures Of each voter's controller over `Vote`; empty for the one that sends the
    /// call.
    function decide(
        Motion motion,
        address organization,
        uint32 counter,
        uint48 deadline,
        address[] calldata voters,
        bytes[] calldata signatures
    ) external;

    /// @notice Makes an admission effective after its wait. Anyone may send it.
    function finishAdmission(address organization) external;

    /// @notice State of a member or candidate.
    /// @return isMember Whether it counts for thresholds.
    /// @return counter Its own counter, for votes to suspend it.
    /// @return readyAt First Unix second at which a waiting admission can be finished; zero if none.
    function member(address organization)
        external
        view
        returns (bool isMember, uint32 counter, uint48 readyAt);

    /// @notice How many members there are, and the epoch of votes.
    /// @return members Suspended ones too.
    /// @return epoch Raised by every motion but a suspension.
    function state() external view returns (uint16 members, uint32 epoch);

    /// @notice How many votes a motion needs now.
    function votesNeeded(Motion motion) external view returns (uint256);
}
