// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {Consortium} from "../src/Consortium.sol";
import {HealthLedger} from "../src/HealthLedger.sol";
import {IConsortium, Motion} from "../src/IConsortium.sol";
import {ISignatures} from "../src/ISignatures.sol";
import {Status} from "../src/Types.sol";
import {Base} from "./Base.sol";
import {Digests} from "./Digests.sol";

contract ConsortiumTest is Base {
    uint48 private constant FAR = START + 3650 days;
    uint48 private constant WAIT = 2 days;

    function _voteDigest(Motion motion, address target, uint32 counter, Person memory voter)
        private
        view
        returns (bytes32)
    {
        bytes32 hash = Digests.vote(motion, target, counter, voter.id, _rotations(voter.id), FAR);
        return Digests.seal(Digests.domain("Galen Consortium", address(consortium)), hash);
    }

    function _vote(Motion motion, address target, uint32 counter, Person memory voter)
        private
        view
        returns (bytes memory)
    {
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(voter.key, _voteDigest(motion, target, counter, voter));
        return abi.encodePacked(r, s, v);
    }

    /// @dev The members named by the bits of `mask` vote.
    function decide(Motion motion, address target, uint32 counter, uint256 mask) external {
        uint256 count = (mask & 1) + (mask >> 1 & 1) + (mask >> 2 & 1);
        address[] memory voters = new address[](count);
        bytes[] memory signatures = new bytes[](count);
        uint256 at_;
        for (uint256 i; i < 3; ++i) {
            if (mask >> i & 1 == 0) continue;
            voters[at_] = org[i].id;
            signatures[at_++] = _vote(motion, target, counter, org[i]);
        }
        consortium.decide(motion, target, counter, FAR, voters, signatures);
    }

    function _epoch() private view returns (uint32 epoch) {
        (, epoch) = consortium.state();
    }

    function _members() private view returns (uint16 members) {
        (members,) = consortium.state();
    }

    function _status(address id) private view returns (Status status) {
        (, status,) = ledger.participant(id);
    }

    function _pass(Motion motion, address target) private {
        uint32 counter = _epoch();
        if (motion == Motion.Suspend) (, counter,) = consortium.member(target);
        uint256 mask;
        uint256 count;
        uint256 needed = consortium.votesNeeded(motion);
        for (uint256 i; i < 3 && count < needed; ++i) {
            (bool isMember,,) = consortium.member(org[i].id);
            if (!isMember || _status(org[i].id) != Status.Active) continue;
            mask |= 1 << i;
            ++count;
        }
        this.decide(motion, target, counter, mask);
    }

    function _expectNotApplying(Motion motion, address target) private {
        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.MotionDoesNotApply.selector, motion, target)
        );
        this.decide(motion, target, 0, 7);
    }

    // ---------------------------------------------------------------- admission

    function test_decide_admitsAfterTheWait() public {
        vm.expectEmit(address(consortium));
        emit IConsortium.EpochRaised(1, 3);
        vm.expectEmit(address(consortium));
        emit IConsortium.MotionPassed(Motion.Admit, other.id, 0, START + WAIT);
        this.decide(Motion.Admit, other.id, 0, 3);
        assertEq(uint256(_status(other.id)), uint256(Status.None), "waits");
        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.AdmissionNotReady.selector, START + WAIT)
        );
        consortium.finishAdmission(other.id);
        vm.warp(START + WAIT);
        vm.expectEmit(address(consortium));
        emit IConsortium.AdmissionFinished(other.id, 1);
        consortium.finishAdmission(other.id);
        assertEq(uint256(_status(other.id)), uint256(Status.Active), "active");
        (uint16 members, uint32 epoch) = consortium.state();
        assertEq(members, 4, "members");
        assertEq(epoch, 2, "epoch");
        assertEq(consortium.votesNeeded(Motion.Admit), 3, "two thirds of four");
        assertEq(consortium.votesNeeded(Motion.Suspend), 3, "more than half of four");
    }

    function test_decide_takesWalletAndSendingVoter() public {
        _walletNetwork();
        address[] memory voters = new address[](1);
        voters[0] = wallet.id;
        bytes[] memory signatures = new bytes[](1);
        vm.prank(wallet.id);
        consortium.decide(Motion.Admit, other.id, 0, FAR, voters, signatures);
        bytes32 digest = _voteDigest(Motion.Admit, grantee.id, 1, wallet);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(owner[0].key, digest);
        signatures[0] = abi.encodePacked(r, s, v);
        (v, r, s) = vm.sign(owner[1].key, digest);
        signatures[0] = bytes.concat(signatures[0], abi.encodePacked(r, s, v));
        consortium.decide(Motion.Admit, grantee.id, 1, FAR, voters, signatures);
    }

    function test_finishAdmission_RevertWhen_endedByRemoval() public {
        _pass(Motion.Admit, other.id);
        _pass(Motion.Remove, other.id);
        vm.warp(START + WAIT);
        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.MotionDoesNotApply.selector, Motion.Admit, other.id)
        );
        consortium.finishAdmission(other.id);
        assertEq(_members(), 3, "members");
    }

    function test_finishAdmission_RevertWhen_full() public {
        // All of them are wallets that say yes: what is tested is the count.
        address[] memory voters = new address[](171);
        bytes[] memory signatures = new bytes[](171);
        for (uint256 i; i < 171; ++i) {
            voters[i] = address(uint160(0x1000 + i));
            signatures[i] = hex"01";
            vm.etch(voters[i], hex"631626ba7e60e01b5f5260205ff3");
        }
        address[] memory founders = new address[](256);
        for (uint256 i; i < 256; ++i) {
            founders[i] = address(uint160(0x1000 + i));
        }
        ledger = new HealthLedger(founders);
        consortium = Consortium(ledger.consortium());
        consortium.decide(Motion.Admit, other.id, 0, FAR, voters, signatures);
        vm.warp(START + WAIT);
        vm.expectRevert(IConsortium.ConsortiumFull.selector);
        consortium.finishAdmission(other.id);
    }

    // ---------------------------------------------------------------- suspension and removal

    function test_decide_suspendsAtOnceAndReadmitsAfterTheWait() public {
        _pass(Motion.Suspend, org[2].id);
        assertEq(uint256(_status(org[2].id)), uint256(Status.Suspended), "at once");
        assertEq(_epoch(), 0, "a suspension voids no other votes");
        assertEq(_members(), 3, "still counted");
        assertEq(consortium.votesNeeded(Motion.Readmit), 2, "threshold");
        this.decide(Motion.Readmit, org[2].id, 0, 3);
        vm.warp(START + WAIT);
        consortium.finishAdmission(org[2].id);
        assertEq(uint256(_status(org[2].id)), uint256(Status.Active), "active again");
        assertEq(_members(), 3, "not counted twice");
        // Votes for the first suspension are of no use for a second.
        vm.expectRevert(abi.encodeWithSelector(IConsortium.VotesStale.selector, 0, 2));
        this.decide(Motion.Suspend, org[2].id, 0, 3);
    }

    function test_decide_suspendsAgainWhileReadmissionWaits() public {
        _pass(Motion.Suspend, org[2].id);
        this.decide(Motion.Readmit, org[2].id, 0, 3);
        this.decide(Motion.Suspend, org[2].id, 1, 3);
        vm.warp(START + WAIT);
        vm.expectPartialRevert(IConsortium.MotionDoesNotApply.selector);
        consortium.finishAdmission(org[2].id);
    }

    function test_decide_removesAtOnce() public {
        _pass(Motion.Remove, org[2].id);
        assertEq(uint256(_status(org[2].id)), uint256(Status.Removed), "removed");
        assertEq(_members(), 2, "members");
        vm.expectRevert(abi.encodeWithSelector(IConsortium.VotesStale.selector, 0, 1));
        this.decide(Motion.Admit, other.id, 0, 3);
        // It can come back like a newcomer.
        _pass(Motion.Admit, org[2].id);
        vm.warp(START + WAIT);
        consortium.finishAdmission(org[2].id);
        assertEq(_members(), 3, "members");
    }

    function test_decide_RevertWhen_lastMember() public {
        _pass(Motion.Remove, org[2].id);
        _pass(Motion.Remove, org[1].id);
        uint32 epoch = _epoch();
        vm.expectRevert(IConsortium.LastMember.selector);
        this.decide(Motion.Remove, org[0].id, epoch, 1);
    }

    function test_decide_RevertWhen_tooFewMembersToSuspend() public {
        _pass(Motion.Remove, org[2].id);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.TooFewMembers.selector, 2));
        this.decide(Motion.Suspend, org[1].id, 0, 3);
    }

    function test_decide_RevertWhen_motionDoesNotApply() public {
        _expectNotApplying(Motion.Admit, org[1].id);
        _expectNotApplying(Motion.Admit, address(0));
        _expectNotApplying(Motion.Readmit, org[1].id);
        _expectNotApplying(Motion.Readmit, other.id);
        _expectNotApplying(Motion.Suspend, other.id);
        _expectNotApplying(Motion.Remove, other.id);
        _pass(Motion.Suspend, org[2].id);
        _expectNotApplying(Motion.Suspend, org[2].id);
        _pass(Motion.Admit, other.id);
        _expectNotApplying(Motion.Admit, other.id);
        vm.expectRevert(
            abi.encodeWithSelector(
                IConsortium.MotionDoesNotApply.selector, Motion.Admit, grantee.id
            )
        );
        consortium.finishAdmission(grantee.id);
    }

    // ---------------------------------------------------------------- votes

    function test_decide_RevertWhen_votesMissing() public {
        vm.expectRevert(abi.encodeWithSelector(IConsortium.VotesMissing.selector, 1, 2));
        this.decide(Motion.Admit, other.id, 0, 1);
        // A suspended member counts and cannot vote.
        _pass(Motion.Suspend, org[2].id);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.NotEntitled.selector, org[2].id));
        this.decide(Motion.Admit, other.id, 0, 6);
    }

    function test_decide_RevertWhen_notMember() public {
        address[] memory voters = new address[](2);
        (voters[0], voters[1]) =
            org[0].id < other.id ? (org[0].id, other.id) : (other.id, org[0].id);
        bytes[] memory signatures = new bytes[](2);
        signatures[voters[0] == org[0].id ? 0 : 1] = _vote(Motion.Admit, grantee.id, 0, org[0]);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.NotEntitled.selector, other.id));
        consortium.decide(Motion.Admit, grantee.id, 0, FAR, voters, signatures);
    }

    function test_decide_RevertWhen_votersUnsortedOrDoubled() public {
        address[] memory voters = new address[](2);
        bytes[] memory signatures = new bytes[](2);
        for (uint256 i; i < 2; ++i) {
            voters[0] = org[1].id;
            voters[1] = org[1 - i].id;
            signatures[0] = _vote(Motion.Admit, other.id, 0, org[1]);
            signatures[1] = _vote(Motion.Admit, other.id, 0, org[1 - i]);
            vm.expectRevert(
                abi.encodeWithSelector(IConsortium.VotersUnsorted.selector, voters[0], voters[1])
            );
            consortium.decide(Motion.Admit, other.id, 0, FAR, voters, signatures);
        }
    }

    function test_decide_RevertWhen_miscounted() public {
        vm.expectRevert(abi.encodeWithSelector(IConsortium.VotesMiscounted.selector, 1, 2));
        consortium.decide(Motion.Admit, other.id, 0, FAR, new address[](2), new bytes[](1));
    }

    function test_decide_RevertWhen_replayed() public {
        this.decide(Motion.Admit, other.id, 0, 3);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.VotesStale.selector, 0, 1));
        this.decide(Motion.Admit, grantee.id, 0, 3);
    }

    function test_decide_RevertWhen_expired() public {
        vm.warp(uint256(FAR) + 1);
        vm.expectRevert(abi.encodeWithSelector(ISignatures.DeadlinePassed.selector, FAR));
        this.decide(Motion.Admit, other.id, 0, 3);
    }

    function test_decide_RevertWhen_votedForAnother() public {
        address[] memory voters = new address[](2);
        (voters[0], voters[1]) = (org[0].id, org[1].id);
        bytes[] memory signatures = new bytes[](2);
        signatures[0] = _vote(Motion.Admit, grantee.id, 0, org[0]);
        signatures[1] = _vote(Motion.Admit, grantee.id, 0, org[1]);
        vm.expectRevert(
            abi.encodeWithSelector(
                ISignatures.SignatureInvalid.selector,
                org[0].id,
                _voteDigest(Motion.Admit, other.id, 0, org[0])
            )
        );
        consortium.decide(Motion.Admit, other.id, 0, FAR, voters, signatures);
    }

    function test_decide_RevertWhen_voterRotatedThereAndBack() public {
        address[] memory voters = new address[](2);
        (voters[0], voters[1]) = (org[0].id, org[1].id);
        bytes[] memory signatures = new bytes[](2);
        signatures[0] = _vote(Motion.Admit, other.id, 0, org[0]);
        signatures[1] = _vote(Motion.Admit, other.id, 0, org[1]);
        _rotateDirect(org[0], grantee);
        _rotate(org[0].id, grantee, org[0]);
        vm.expectPartialRevert(ISignatures.SignatureInvalid.selector);
        consortium.decide(Motion.Admit, other.id, 0, FAR, voters, signatures);
    }

    // ---------------------------------------------------------------- deployment

    function test_constructor_RevertWhen_foundersInvalid() public {
        vm.expectRevert(abi.encodeWithSelector(IConsortium.FoundersInvalid.selector, 0));
        new Consortium(new address[](0));
        vm.expectRevert(abi.encodeWithSelector(IConsortium.FoundersInvalid.selector, 257));
        new Consortium(new address[](257));
        address[] memory founders = _founders();
        founders[2] = founders[1];
        vm.expectRevert(abi.encodeWithSelector(IConsortium.FoundersInvalid.selector, 2));
        new Consortium(founders);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.FoundersInvalid.selector, 0));
        new Consortium(new address[](1));
    }

    function test_constructor_makesFoundersActive() public view {
        for (uint256 i; i < 3; ++i) {
            (bool isMember,,) = consortium.member(org[i].id);
            assertTrue(isMember, "member");
            assertEq(uint256(_status(org[i].id)), uint256(Status.Active), "active");
        }
        assertEq(address(consortium.ledger()), address(ledger), "ledger");
    }

    /// Same code, salt and founders: the same address, on every chain.
    function test_constructor_addressIsTheSameTwice() public {
        bytes memory code = bytes.concat(type(HealthLedger).creationCode, abi.encode(_founders()));
        address expected = vm.computeCreate2Address(keccak256("salt"), keccak256(code));
        uint256 snapshot = vm.snapshotState();
        for (uint256 i; i < 2; ++i) {
            vm.chainId(i + 1);
            assertEq(_deploy(code), expected, "address");
            address found = HealthLedger(expected).consortium();
            assertEq(found, vm.computeCreateAddress(expected, 1), "consortium");
            vm.revertToState(snapshot);
        }
        address[] memory others = new address[](1);
        others[0] = org[0].id;
        code = bytes.concat(type(HealthLedger).creationCode, abi.encode(others));
        assertTrue(_deploy(code) != expected, "founders decide the address too");
    }

    function _deploy(bytes memory code) private returns (address) {
        (bool ok, bytes memory at_) = CREATE2_FACTORY.call(bytes.concat(keccak256("salt"), code));
        assertTrue(ok, "deployed");
        return address(bytes20(at_));
    }

    function test_eip712Domain_answers() public view {
        _checkDomain(address(ledger), "Galen");
        _checkDomain(address(consortium), "Galen Consortium");
    }

    function _checkDomain(address target, string memory expected) private view {
        (
            bytes1 fields,
            string memory name,
            string memory version,
            uint256 chainId,
            address verifier,
            bytes32 salt,
            uint256[] memory extensions
        ) = HealthLedger(target).eip712Domain();
        assertEq(fields, hex"0f", "fields");
        assertEq(name, expected, "name");
        assertEq(version, "1", "version");
        assertEq(chainId, block.chainid, "chain id");
        assertEq(verifier, target, "contract");
        assertEq(salt, bytes32(0), "salt");
        assertEq(extensions.length, 0, "extensions");
    }

    function test_size_withinLimit() public view {
        assertLe(address(ledger).code.length, 24_576, "EIP-170");
    }
}
