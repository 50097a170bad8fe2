// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IConsortium, Motion} from "./IConsortium.sol";
import {IRegistrar} from "./IRegistrar.sol";
import {Signatures} from "./Signatures.sol";
import {Status} from "./Types.sol";

/// @title Consortium
/// @dev The interface holds the documentation; comments here say only why.
contract Consortium is Signatures, IConsortium {
    struct Member {
        bool isMember;
        uint32 counter;
        uint48 readyAt;
    }

    bytes32 public constant VOTE_TYPEHASH = keccak256(
        "Vote(uint8 motion,address organization,uint32 counter,address voter,uint32 rotations,uint48 deadline)"
    );

    /// @notice Seconds that an admission waits, so that members and patients see it coming.
    uint48 public constant ADMISSION_WAIT = 2 days;
    uint256 private constant MAX_MEMBERS = 256;

    /// @notice The ledger whose organizations this contract admits. It made this contract.
    IRegistrar public immutable ledger;

    uint16 private _members;
    uint32 private _epoch;
    mapping(address organization => Member) private _member;

    constructor(address[] memory founders) {
        if (founders.length == 0 || founders.length > MAX_MEMBERS) {
            revert FoundersInvalid(founders.length);
        }
        ledger = IRegistrar(msg.sender);
        address before;
        for (uint256 i; i < founders.length; ++i) {
            if (founders[i] <= before) revert FoundersInvalid(i);
            before = founders[i];
            _member[before].isMember = true;
        }
        _members = uint16(founders.length);
    }

    /// @inheritdoc IConsortium
    function decide(
        Motion motion,
        address organization,
        uint32 counter,
        uint48 deadline,
        address[] calldata voters,
        bytes[] calldata signatures
    ) external {
        _requireNotPast(deadline);
        _requireApplies(motion, organization);
        Member storage target = _member[organization];
        uint32 current = motion == Motion.Suspend ? target.counter : _epoch;
        if (counter != current) revert VotesStale(counter, current);
        _requireVotes(motion, organization, counter, deadline, voters, signatures);

        uint48 readyAt;
        Status status;
        if (motion == Motion.Admit || motion == Motion.Readmit) {
            readyAt = uint48(block.timestamp) + ADMISSION_WAIT;
            target.readyAt = readyAt;
        } else {
            target.readyAt = 0;
            if (motion == Motion.Suspend) {
                ++target.counter;
                status = Status.Suspended;
            } else if (target.isMember) {
                target.isMember = false;
                --_members;
                status = Status.Removed;
            }
        }
        // A suspension is bound to its target, so that votes on others are not voided by it.
        if (motion != Motion.Suspend) _raiseEpoch();
        emit MotionPassed(motion, organization, counter, readyAt);
        if (status != Status.None) ledger.setStatus(organization, status);
    }

    /// @inheritdoc IConsortium
    function finishAdmission(address organization) external {
        Member storage target = _member[organization];
        uint48 readyAt = target.readyAt;
        if (readyAt == 0) revert MotionDoesNotApply(Motion.Admit, organization);
        if (block.timestamp < readyAt) revert AdmissionNotReady(readyAt);
        target.readyAt = 0;
        if (!target.isMember) {
            if (_members == MAX_MEMBERS) revert ConsortiumFull();
            target.isMember = true;
            ++_members;
        }
        emit AdmissionFinished(organization, ++target.counter);
        _raiseEpoch();
        ledger.setStatus(organization, Status.Active);
    }

    /// @inheritdoc IConsortium
    function member(address organization)
        external
        view
        returns (bool isMember, uint32 counter, uint48 readyAt)
    {
        Member memory target = _member[organization];
        return (target.isMember, target.counter, target.readyAt);
    }

    /// @inheritdoc IConsortium
    function state() external view returns (uint16 members, uint32 epoch) {
        return (_members, _epoch);
    }

    /// @inheritdoc IConsortium
    function votesNeeded(Motion motion) public view returns (uint256) {
        uint256 members = _members;
        return motion == Motion.Suspend ? members / 2 + 1 : (2 * members + 2) / 3;
    }

    function _requireApplies(Motion motion, address organization) private view {
        Member memory target = _member[organization];
        (, Status status,) = ledger.participant(organization);
        bool applies;
        if (motion == Motion.Admit) {
            applies = !target.isMember && target.readyAt == 0 && organization != address(0);
        } else if (motion == Motion.Readmit) {
            applies = target.isMember && status == Status.Suspended && target.readyAt == 0;
        } else if (motion == Motion.Suspend) {
            if (_members < 3) revert TooFewMembers(_members);
            // A suspended member that waits for readmission can be suspended again, which ends the wait.
            applies = target.isMember && (status == Status.Active || target.readyAt != 0);
        } else {
            // Without members nobody could vote, and no vote would be needed.
            if (target.isMember && _members == 1) revert LastMember();
            applies = target.isMember || target.readyAt != 0;
        }
        if (!applies) revert MotionDoesNotApply(motion, organization);
    }

    function _requireVotes(
        Motion motion,
        address organization,
        uint32 counter,
        uint48 deadline,
        address[] calldata voters,
        bytes[] calldata signatures
    ) private view {
        if (signatures.length != voters.length) {
            revert VotesMiscounted(signatures.length, voters.length);
        }
        uint256 needed = votesNeeded(motion);
        if (voters.length < needed) revert VotesMissing(voters.length, needed);
        address before;
        for (uint256 i; i < voters.length; ++i) {
            address voter = voters[i];
            if (voter <= before) revert VotersUnsorted(before, voter);
            before = voter;
            (address controller, Status status, uint32 rotations) = ledger.participant(voter);
            if (!_member[voter].isMember || status != Status.Active) revert NotEntitled(voter);
            bytes32 structHash = keccak256(
                abi.encode(VOTE_TYPEHASH, motion, organization, counter, voter, rotations, deadline)
            );
            _authorize(voter, controller, structHash, signatures[i]);
        }
    }

    function _raiseEpoch() private {
        emit EpochRaised(++_epoch, _members);
    }

    function _domainNameAndVersion()
        internal
        pure
        override
        returns (string memory name, string memory version)
    {
        return ("Galen Consortium", "1");
    }
}
