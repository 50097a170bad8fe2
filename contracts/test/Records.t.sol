// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {IConsents} from "../src/IConsents.sol";
import {IRecords} from "../src/IRecords.sol";
import {IRegistrar} from "../src/IRegistrar.sol";
import {ISignatures} from "../src/ISignatures.sol";
import {
    Answer,
    BulkLeaf,
    Delegation,
    Leaf,
    Policy,
    Proposal,
    Reseal,
    Status
} from "../src/Types.sol";
import {Base} from "./Base.sol";
import {Digests} from "./Digests.sol";

contract RecordsTest is Base {
    bytes32 private constant ROOT = keccak256("root");
    bytes32 private constant MANIFEST = keccak256("manifest");

    // ---------------------------------------------------------------- propose

    function test_propose_everyWay() public {
        for (uint256 i; i <= uint256(Way.Wallet); ++i) {
            Way way = Way(i);
            Person memory author = _actor(org[0], way);
            if (way == Way.Wallet) _walletNetwork();
            Leaf[] memory leaves = _leaves(3);
            Proposal memory p = _proposal(leaves, keccak256("policy"));
            p.author = author.id;
            bytes32 id = Digests.proposal(p, 0);
            bytes memory signature = _by(author, way, id);
            vm.expectEmit(address(ledger));
            emit IRecords.Proposed(
                patient.id, author.id, id, uint256(LATER), keccak256("policy"), leaves, signature
            );
            assertEq(
                ledger.propose(
                    patient.id, author.id, keccak256("policy"), LATER, leaves, signature
                ),
                id,
                "id"
            );
        }
    }

    function test_propose_carriesRotations() public {
        _rotateDirect(org[0], other);
        Leaf[] memory leaves = _leaves(1);
        bytes32 id = _id(_proposal(leaves, 0));
        bytes memory signature = _sign(other.key, id);
        vm.expectEmit(address(ledger));
        emit IRecords.Proposed(
            patient.id, org[0].id, id, uint256(LATER) | 1 << 48, 0, leaves, signature
        );
        ledger.propose(patient.id, org[0].id, 0, LATER, leaves, signature);
    }

    function test_propose_RevertWhen_notActive() public {
        vm.expectRevert(abi.encodeWithSelector(IRecords.NotActive.selector, other.id));
        vm.prank(other.id);
        ledger.propose(patient.id, other.id, 0, LATER, _leaves(1), "");
        _setStatus(org[0].id, Status.Suspended);
        vm.expectRevert(abi.encodeWithSelector(IRecords.NotActive.selector, org[0].id));
        vm.prank(org[0].id);
        ledger.propose(patient.id, org[0].id, 0, LATER, _leaves(1), "");
    }

    function test_propose_RevertWhen_leafCountInvalid() public {
        vm.expectRevert(abi.encodeWithSelector(IRecords.LeafCountInvalid.selector, 0));
        ledger.propose(patient.id, org[0].id, 0, LATER, _leaves(0), "");
        vm.expectRevert(abi.encodeWithSelector(IRecords.LeafCountInvalid.selector, 257));
        ledger.propose(patient.id, org[0].id, 0, LATER, _leaves(257), "");
        vm.prank(org[0].id);
        ledger.propose(patient.id, org[0].id, 0, LATER, _leaves(256), "");
    }

    function test_propose_RevertWhen_leafMalformed() public {
        for (uint256 i; i < 7; ++i) {
            Leaf[] memory leaves = _leaves(2);
            if (i == 0) leaves[1].header |= 1 << 81; // store 2
            if (i == 1) leaves[1].header |= 1 << 88;
            if (i == 2) leaves[1].header |= 1 << 255;
            if (i == 3) leaves[1].header |= 3 << 72; // kind 3
            if (i == 4) leaves[1].header |= 1 << 72; // an amendment of nothing
            if (i == 5) leaves[1].previous = bytes32(uint256(1)); // a new record after another
            if (i == 6) leaves[1].header |= 2 << 72; // a retraction of nothing
            vm.expectRevert(abi.encodeWithSelector(IRecords.LeafMalformed.selector, 1));
            vm.prank(org[0].id);
            ledger.propose(patient.id, org[0].id, 0, LATER, leaves, "");
        }
    }

    function test_propose_RevertWhen_expired() public {
        vm.warp(LATER + 1);
        vm.expectRevert(abi.encodeWithSelector(ISignatures.DeadlinePassed.selector, LATER));
        vm.prank(org[0].id);
        ledger.propose(patient.id, org[0].id, 0, LATER, _leaves(1), "");
    }

    function test_propose_RevertWhen_anotherRecordsPreimage() public {
        Leaf[] memory leaves = _leaves(1);
        bytes memory signature = _sign(org[0].key, _id(_proposal(leaves, 0)));
        for (uint256 i; i < 3; ++i) {
            Leaf[] memory changed = _leaves(1);
            if (i == 0) changed[0].header += 1; // number
            if (i == 1) changed[0].header ^= 1 << 64; // segment
            bytes32 id = Digests.proposal(
                Proposal({
                    patient: i == 2 ? other.id : patient.id,
                    author: org[0].id,
                    count: 1,
                    deadline: LATER,
                    policy: 0,
                    leaves: Digests.leaves(changed)
                }),
                0
            );
            vm.expectRevert(
                abi.encodeWithSelector(
                    ISignatures.SignatureInvalid.selector, org[0].id, _digest(id)
                )
            );
            ledger.propose(i == 2 ? other.id : patient.id, org[0].id, 0, LATER, changed, signature);
        }
    }

    function testFuzz_propose_packsHeaders(uint8 kind, uint8 segment, uint64 number, uint8 store)
        public
    {
        kind = uint8(bound(kind, 0, 2));
        store = uint8(bound(store, 0, 1));
        Leaf[] memory leaves = _leaves(1);
        leaves[0].header = _header(store, kind, segment, number);
        if (kind != 0) leaves[0].previous = keccak256("previous");
        bytes32 id = _id(_proposal(leaves, 0));
        assertEq(
            ledger.propose(patient.id, org[0].id, 0, LATER, leaves, _sign(org[0].key, id)),
            id,
            "the hash from unpacked fields"
        );
    }

    // ---------------------------------------------------------------- withdraw

    function test_withdraw_everyWay() public {
        for (uint256 i; i <= uint256(Way.Wallet); ++i) {
            Person memory author = _actor(org[0], Way(i));
            bytes memory signature = _by(
                author, Way(i), Digests.withdrawal(patient.id, author.id, 0, keccak256("p"), LATER)
            );
            vm.expectEmit(address(ledger));
            emit IRecords.Withdrawn(patient.id, author.id, keccak256("p"));
            ledger.withdraw(patient.id, author.id, keccak256("p"), LATER, signature);
        }
    }

    // ---------------------------------------------------------------- settle

    function test_settle_everyWay() public {
        for (uint256 i; i <= uint256(Way.Wallet); ++i) {
            Way way = Way(i);
            Person memory who = _actor(patient, way);
            Proposal memory p = _proposal(_leaves(3), 0);
            p.patient = who.id;
            bytes32 id = _id(p);
            (uint32 sequence,, bytes23 head) = ledger.chart(who.id);
            Answer memory a =
                Answer({accepted: 5, rejected: 2, sequence: sequence, deadline: LATER});
            bytes memory byAuthor = _sign(org[0].key, id);
            bytes memory byPatient = _by(who, way, Digests.settlement(who.id, who.id, 0, id, a));
            uint256 by = uint160(who.id) | uint256(sequence + 1) << 160;
            vm.expectEmit(address(ledger));
            emit IRecords.Settled(who.id, org[0].id, id, 5, 2, by);
            ledger.settle(p, byAuthor, a, byPatient);
            (uint32 next, uint40 lastAccess, bytes23 newHead) = ledger.chart(who.id);
            assertEq(next, sequence + 1, "sequence");
            assertEq(lastAccess, 0, "no access");
            assertEq(
                newHead,
                bytes23(
                    keccak256(
                        abi.encode(
                            uint256(uint184(head)), 1, org[0].id, id, 5, 2, by, block.timestamp
                        )
                    )
                ),
                "head"
            );
        }
    }

    function test_settle_byAuthorsCall() public {
        Proposal memory p = _proposal(_leaves(1), 0);
        Answer memory a = _answer(1, 0);
        bytes memory byPatient = _sign(patient.key, _settlement(p, a, patient.id));
        vm.prank(org[0].id);
        ledger.settle(p, "", a, byPatient);
    }

    function test_settle_byWalletAuthor() public {
        _walletNetwork();
        Proposal memory p = _proposal(_leaves(1), 0);
        p.author = wallet.id;
        Answer memory a = _answer(1, 0);
        ledger.settle(p, _signWallet(_id(p)), a, _sign(patient.key, _settlement(p, a, patient.id)));
    }

    function test_settle_takesFullMasks() public {
        Proposal memory p = _proposal(_leaves(256), 0);
        _settle(p, _answer(type(uint256).max, 0));
        _settle(p, _answer(0, type(uint256).max));
        _settle(p, _answer(1 << 255, 1));
    }

    function test_settle_RevertWhen_replayed() public {
        Proposal memory p = _proposal(_leaves(1), 0);
        Answer memory a = _answer(1, 0);
        bytes memory byAuthor = _sign(org[0].key, _id(p));
        bytes memory byPatient = _sign(patient.key, _settlement(p, a, patient.id));
        ledger.settle(p, byAuthor, a, byPatient);
        vm.expectRevert(abi.encodeWithSelector(IRegistrar.SequenceStale.selector, 0, 1));
        ledger.settle(p, byAuthor, a, byPatient);
        // With the sequence changed to fit, the signature does not.
        a.sequence = 1;
        _expectInvalid(patient.id, _settlement(p, a, patient.id));
        ledger.settle(p, byAuthor, a, byPatient);
    }

    function test_settle_RevertWhen_outOfOrder() public {
        Proposal memory p = _proposal(_leaves(1), 0);
        Answer memory a = _answer(1, 0);
        a.sequence = 1;
        bytes memory byAuthor = _sign(org[0].key, _id(p));
        bytes memory byPatient = _sign(patient.key, _settlement(p, a, patient.id));
        vm.expectRevert(abi.encodeWithSelector(IRegistrar.SequenceStale.selector, 1, 0));
        ledger.settle(p, byAuthor, a, byPatient);
        _settle(p, _answer(1, 0));
        // Its turn has come.
        ledger.settle(p, byAuthor, a, byPatient);
    }

    function test_settle_RevertWhen_rotated() public {
        Proposal memory p = _proposal(_leaves(1), 0);
        Answer memory a = _answer(1, 0);
        bytes memory byAuthor = _sign(org[0].key, _id(p));
        bytes memory byPatient = _sign(patient.key, _settlement(p, a, patient.id));
        _rotateDirect(patient, other);
        vm.expectRevert(abi.encodeWithSelector(IRegistrar.SequenceStale.selector, 0, 1));
        ledger.settle(p, byAuthor, a, byPatient);
        a = _answer(1, 0);
        _expectInvalid(other.id, _settlement(p, a, patient.id));
        ledger.settle(p, byAuthor, a, byPatient);
        // The controller of today settles.
        ledger.settle(p, byAuthor, a, _sign(other.key, _settlement(p, a, patient.id)));
    }

    /// Handing an id away and taking it back does not revive what was signed before.
    function test_settle_RevertWhen_authorRotatedThereAndBack() public {
        Proposal memory p = _proposal(_leaves(1), 0);
        Answer memory a = _answer(1, 0);
        bytes memory byAuthor = _sign(org[0].key, _id(p));
        bytes memory byPatient = _sign(patient.key, _settlement(p, a, patient.id));
        _rotateDirect(org[0], other);
        _rotate(org[0].id, other, org[0]);
        _expectInvalid(org[0].id, _id(p));
        ledger.settle(p, byAuthor, a, byPatient);
    }

    function test_settle_RevertWhen_patientRotatedThereAndBack() public {
        Proposal memory p = _proposal(_leaves(1), 0);
        // Signed for the sequence that the chart will have after both rotations.
        Answer memory a = _answer(1, 0);
        a.sequence = 2;
        bytes memory byPatient = _sign(patient.key, _settlement(p, a, patient.id));
        bytes memory byAuthor = _sign(org[0].key, _id(p));
        _rotateDirect(patient, other);
        _rotate(patient.id, other, patient);
        _expectInvalid(patient.id, _settlement(p, a, patient.id));
        ledger.settle(p, byAuthor, a, byPatient);
    }

    function test_settle_RevertWhen_authorDidNotSign() public {
        Proposal memory p = _proposal(_leaves(1), 0);
        Answer memory a = _answer(1, 0);
        bytes memory byPatient = _sign(patient.key, _settlement(p, a, patient.id));
        bytes memory byOther = _sign(patient.key, _id(p));
        _expectInvalid(org[0].id, _id(p));
        ledger.settle(p, byOther, a, byPatient);
        vm.expectRevert(
            abi.encodeWithSelector(ISignatures.NotController.selector, org[0].id, patient.id)
        );
        vm.prank(patient.id);
        ledger.settle(p, "", a, "");
    }

    function test_settle_RevertWhen_patientDidNotSign() public {
        Proposal memory p = _proposal(_leaves(1), 0);
        Answer memory a = _answer(1, 0);
        bytes memory byAuthor = _sign(org[0].key, _id(p));
        vm.expectRevert(
            abi.encodeWithSelector(ISignatures.NotController.selector, patient.id, org[0].id)
        );
        vm.prank(org[0].id);
        ledger.settle(p, byAuthor, a, "");
        // The author's signature over the settlement is not the patient's.
        bytes memory wrong = _sign(org[0].key, _settlement(p, a, patient.id));
        _expectInvalid(patient.id, _settlement(p, a, patient.id));
        ledger.settle(p, byAuthor, a, wrong);
    }

    function test_settle_RevertWhen_masksOverlap() public {
        vm.expectRevert(abi.encodeWithSelector(IRecords.MasksOverlap.selector, 2));
        this.settleMasks(_proposal(_leaves(3), 0), 3, 6);
    }

    function test_settle_RevertWhen_maskExceedsCount() public {
        vm.expectRevert(abi.encodeWithSelector(IRecords.MaskExceedsCount.selector, 15, 3));
        this.settleMasks(_proposal(_leaves(3), 0), 7, 8);
        uint256 high = 1 << 255;
        vm.expectRevert(abi.encodeWithSelector(IRecords.MaskExceedsCount.selector, high, 255));
        this.settleMasks(_proposal(_leaves(255), 0), high, 0);
    }

    function test_settle_RevertWhen_countInvalid() public {
        Proposal memory p = _proposal(_leaves(1), 0);
        p.count = 0;
        vm.expectRevert(abi.encodeWithSelector(IRecords.LeafCountInvalid.selector, 0));
        this.settleMasks(p, 0, 0);
        p.count = 257;
        vm.expectRevert(abi.encodeWithSelector(IRecords.LeafCountInvalid.selector, 257));
        this.settleMasks(p, 0, 0);
    }

    function test_settle_RevertWhen_expired() public {
        Proposal memory p = _proposal(_leaves(1), 0);
        Answer memory a = _answer(1, 0);
        p.deadline = START - 1;
        vm.expectRevert(abi.encodeWithSelector(ISignatures.DeadlinePassed.selector, START - 1));
        this.settle(p, a);
        p.deadline = LATER;
        a.deadline = START - 1;
        vm.expectRevert(abi.encodeWithSelector(ISignatures.DeadlinePassed.selector, START - 1));
        this.settle(p, a);
    }

    function test_settle_RevertWhen_authorNotActive() public {
        _setStatus(org[0].id, Status.Suspended);
        vm.expectRevert(abi.encodeWithSelector(IRecords.NotActive.selector, org[0].id));
        this.settleMasks(_proposal(_leaves(1), 0), 1, 0);
    }

    function test_settle_RevertWhen_policyIsLeftOut() public {
        vm.expectRevert(
            abi.encodeWithSelector(IRecords.PolicyMismatch.selector, keccak256("policy"), 0)
        );
        this.settleMasks(_proposal(_leaves(1), keccak256("policy")), 1, 0);
    }

    function testFuzz_settle_masks(uint256 accepted, uint256 rejected, uint16 count) public {
        count = uint16(bound(count, 1, 256));
        Proposal memory p = _proposal(_leaves(1), 0);
        p.count = count;
        uint256 within = count == 256 ? type(uint256).max : (1 << count) - 1;
        Answer memory a = _answer(accepted, rejected);
        bytes memory byAuthor = _sign(org[0].key, _id(p));
        bytes memory byPatient = _sign(patient.key, _settlement(p, a, patient.id));
        bool valid = accepted & rejected == 0 && (accepted | rejected) & ~within == 0;
        if (!valid) vm.expectRevert();
        ledger.settle(p, byAuthor, a, byPatient);
    }

    function settle(Proposal memory p, Answer memory a) external {
        _settle(p, a);
    }

    function settleMasks(Proposal memory p, uint256 accepted, uint256 rejected) external {
        _settle(p, _answer(accepted, rejected));
    }

    // ---------------------------------------------------------------- settleWith: cosigners

    function _policy(uint8 threshold) private view returns (Policy memory policy) {
        policy.threshold = threshold;
        policy.cosigners = new address[](2);
        (policy.cosigners[0], policy.cosigners[1]) =
            org[1].id < other.id ? (org[1].id, other.id) : (other.id, org[1].id);
        policy.signatures = new bytes[](2);
    }

    function _hash(Policy memory policy) private pure returns (bytes32) {
        return keccak256(abi.encode(policy.threshold, policy.cosigners));
    }

    function _cosign(Policy memory policy, Proposal memory p, Person memory who)
        private
        view
        returns (Policy memory)
    {
        for (uint256 i; i < policy.cosigners.length; ++i) {
            if (policy.cosigners[i] != who.id) continue;
            bytes32 hash = Digests.cosignature(who.id, _rotations(who.id), _id(p), p.deadline);
            policy.signatures[i] = who.key == 0 ? _signWallet(hash) : _sign(who.key, hash);
        }
        return policy;
    }

    function settleWith(Proposal memory p, Policy memory policy) external {
        Answer memory a = _answer(1, 0);
        ledger.settleWith(
            p,
            _sign(org[0].key, _id(p)),
            a,
            _sign(patient.key, _settlement(p, a, patient.id)),
            policy,
            _noDelegation()
        );
    }

    function test_settleWith_takesEnoughCosigners() public {
        Policy memory policy = _policy(2);
        Proposal memory p = _proposal(_leaves(1), _hash(policy));
        policy = _cosign(_cosign(policy, p, org[1]), p, other);
        vm.expectEmit(address(ledger));
        emit IRecords.Cosigned(_id(p), policy.cosigners[0]);
        vm.expectEmit(address(ledger));
        emit IRecords.Cosigned(_id(p), policy.cosigners[1]);
        this.settleWith(p, policy);
    }

    function test_settleWith_takesNoPolicy() public {
        this.settleWith(_proposal(_leaves(1), 0), _noPolicy());
    }

    function test_settleWith_takesSendingCosigner() public {
        Policy memory policy = _policy(1);
        Proposal memory p = _proposal(_leaves(1), _hash(policy));
        Answer memory a = _answer(1, 0);
        bytes memory byAuthor = _sign(org[0].key, _id(p));
        bytes memory byPatient = _sign(patient.key, _settlement(p, a, patient.id));
        vm.prank(other.id);
        ledger.settleWith(p, byAuthor, a, byPatient, policy, _noDelegation());
    }

    function test_settleWith_takesWalletCosigner() public {
        Policy memory policy;
        policy.threshold = 1;
        policy.cosigners = new address[](1);
        policy.cosigners[0] = wallet.id;
        policy.signatures = new bytes[](1);
        Proposal memory p = _proposal(_leaves(1), _hash(policy));
        this.settleWith(p, _cosign(policy, p, wallet));
    }

    function test_settleWith_RevertWhen_cosignersMissing() public {
        Policy memory policy = _policy(2);
        Proposal memory p = _proposal(_leaves(1), _hash(policy));
        policy = _cosign(policy, p, org[1]);
        vm.expectRevert(abi.encodeWithSelector(IRecords.CosignersMissing.selector, 1, 2));
        this.settleWith(p, policy);
    }

    function test_settleWith_RevertWhen_cosignatureOfAnotherProposal() public {
        Policy memory policy = _policy(1);
        Proposal memory p = _proposal(_leaves(1), _hash(policy));
        policy = _cosign(policy, p, other);
        p = _proposal(_leaves(2), _hash(policy));
        _expectInvalid(other.id, Digests.cosignature(other.id, 0, _id(p), LATER));
        this.settleWith(p, policy);
    }

    function test_settleWith_RevertWhen_cosignerRotatedThereAndBack() public {
        Policy memory policy = _policy(1);
        Proposal memory p = _proposal(_leaves(1), _hash(policy));
        policy = _cosign(policy, p, other);
        _rotateDirect(other, grantee);
        _rotate(other.id, grantee, other);
        _expectInvalid(other.id, Digests.cosignature(other.id, 2, _id(p), LATER));
        this.settleWith(p, policy);
    }

    function test_settleWith_RevertWhen_policyMismatch() public {
        Policy memory policy = _policy(2);
        bytes32 signed = _hash(policy);
        policy.threshold = 1;
        vm.expectRevert(
            abi.encodeWithSelector(IRecords.PolicyMismatch.selector, signed, _hash(policy))
        );
        this.settleWith(_proposal(_leaves(1), signed), policy);
        vm.expectRevert(abi.encodeWithSelector(IRecords.PolicyMismatch.selector, 0, _hash(policy)));
        this.settleWith(_proposal(_leaves(1), 0), policy);
    }

    function test_settleWith_RevertWhen_thresholdInvalid() public {
        for (uint8 threshold; threshold <= 3; threshold += 3) {
            Policy memory policy = _policy(threshold);
            Proposal memory p = _proposal(_leaves(1), _hash(policy));
            vm.expectRevert(
                abi.encodeWithSelector(IRecords.PolicyThresholdInvalid.selector, threshold, 2)
            );
            this.settleWith(p, policy);
        }
    }

    function test_settleWith_RevertWhen_cosignersUnsortedOrDoubled() public {
        Policy memory policy = _policy(1);
        (policy.cosigners[0], policy.cosigners[1]) = (policy.cosigners[1], policy.cosigners[0]);
        _expectUnsorted(policy);
        policy.cosigners[1] = policy.cosigners[0];
        _expectUnsorted(policy);
    }

    function _expectUnsorted(Policy memory policy) private {
        Proposal memory p = _proposal(_leaves(1), _hash(policy));
        vm.expectRevert(
            abi.encodeWithSelector(
                IRecords.CosignersUnsorted.selector, policy.cosigners[0], policy.cosigners[1]
            )
        );
        this.settleWith(p, policy);
    }

    function test_settleWith_RevertWhen_cosignerIsParty() public {
        address[2] memory parties = [patient.id, org[0].id];
        for (uint256 i; i < 2; ++i) {
            Policy memory policy;
            policy.threshold = 1;
            policy.cosigners = new address[](1);
            policy.cosigners[0] = parties[i];
            policy.signatures = new bytes[](1);
            Proposal memory p = _proposal(_leaves(1), _hash(policy));
            vm.expectRevert(abi.encodeWithSelector(IRecords.CosignerIsParty.selector, parties[i]));
            this.settleWith(p, policy);
        }
    }

    function test_settleWith_RevertWhen_cosignaturesMiscounted() public {
        Policy memory policy = _policy(1);
        policy.signatures = new bytes[](1);
        Proposal memory p = _proposal(_leaves(1), _hash(policy));
        vm.expectRevert(abi.encodeWithSelector(IRecords.CosignaturesMiscounted.selector, 1, 2));
        this.settleWith(p, policy);
    }

    function test_settleWith_RevertWhen_cosignerSuspended() public {
        Policy memory policy = _policy(1);
        Proposal memory p = _proposal(_leaves(1), _hash(policy));
        policy = _cosign(policy, p, org[1]);
        _setStatus(org[1].id, Status.Suspended);
        vm.expectRevert(abi.encodeWithSelector(IRecords.CosignerSuspended.selector, org[1].id));
        this.settleWith(p, policy);
    }

    // ---------------------------------------------------------------- settleWith: delegates

    function _delegation(address delegate, uint32 powers)
        private
        returns (Delegation memory delegation)
    {
        delegation.delegate = delegate;
        delegation.powers = powers;
        delegation.notBefore = START;
        delegation.expiry = START + 2 days;
        delegation.salt = keccak256("salt");
        bytes32[] memory leaves = new bytes32[](2);
        leaves[0] = keccak256("another leaf");
        leaves[1] = Digests.delegateLeaf(delegate, powers, START, START + 2 days, keccak256("salt"));
        delegation.proof = Digests.proof(leaves, 1);
        _setConsents(leaves);
    }

    function settleAs(Person memory who, Way way, Delegation memory delegation) external {
        Proposal memory p = _proposal(_leaves(1), 0);
        p.deadline = LATER + 10 days;
        Answer memory a = _answer(1, 0);
        a.deadline = LATER + 10 days;
        bytes memory byAuthor = _sign(org[0].key, _id(p));
        bytes memory byDelegate = _by(who, way, _settlement(p, a, who.id));
        ledger.settleWith(p, byAuthor, a, byDelegate, _noPolicy(), delegation);
    }

    function test_settleWith_byDelegateEveryWay() public {
        for (uint256 i; i <= uint256(Way.Wallet); ++i) {
            Person memory who = _actor(other, Way(i));
            Delegation memory delegation = _delegation(who.id, 1);
            this.settleAs(who, Way(i), delegation);
            (uint32 sequence,,) = ledger.chart(patient.id);
            assertEq(sequence, i + 1, "settled");
        }
    }

    function test_settleWith_RevertWhen_delegationLacksPower() public {
        Delegation memory delegation = _delegation(other.id, 6);
        vm.expectRevert(abi.encodeWithSelector(IConsents.DelegationLacksPower.selector, 6, 0));
        this.settleAs(other, Way.Long, delegation);
    }

    function test_settleWith_RevertWhen_delegationNotInForce() public {
        Delegation memory delegation = _delegation(other.id, 1);
        bytes memory expected =
            abi.encodeWithSelector(IConsents.DelegationNotInForce.selector, START, START + 2 days);
        vm.warp(START - 1);
        vm.expectRevert(expected);
        this.settleAs(other, Way.Long, delegation);
        vm.warp(START + 2 days);
        vm.expectRevert(expected);
        this.settleAs(other, Way.Long, delegation);
        vm.warp(START + 2 days - 1);
        this.settleAs(other, Way.Long, delegation);
    }

    function test_settleWith_RevertWhen_delegationRevoked() public {
        Delegation memory delegation = _delegation(other.id, 1);
        _setConsents(_one(keccak256("another leaf")));
        vm.expectPartialRevert(IConsents.DelegationNotFound.selector);
        this.settleAs(other, Way.Long, delegation);
        _setConsents(new bytes32[](0));
        delegation.proof = new bytes32[](0);
        vm.expectPartialRevert(IConsents.DelegationNotFound.selector);
        this.settleAs(other, Way.Long, delegation);
    }

    function test_settleWith_RevertWhen_delegateSuspended() public {
        Delegation memory delegation = _delegation(org[1].id, 1);
        _setStatus(org[1].id, Status.Suspended);
        vm.expectRevert(abi.encodeWithSelector(IConsents.DelegateSuspended.selector, org[1].id));
        this.settleAs(org[1], Way.Long, delegation);
    }

    function test_settleWith_RevertWhen_delegateIsAuthor() public {
        Delegation memory delegation = _delegation(org[0].id, 1);
        vm.expectRevert(abi.encodeWithSelector(IRecords.DelegateIsAuthor.selector, org[0].id));
        this.settleAs(org[0], Way.Long, delegation);
    }

    function test_settleWith_RevertWhen_delegateCosigns() public {
        Delegation memory delegation = _delegation(other.id, 1);
        Policy memory policy = _policy(1);
        Proposal memory p = _proposal(_leaves(1), _hash(policy));
        policy = _cosign(policy, p, other);
        Answer memory a = _answer(1, 0);
        bytes memory byAuthor = _sign(org[0].key, _id(p));
        bytes memory byDelegate = _sign(other.key, _settlement(p, a, other.id));
        vm.expectRevert(abi.encodeWithSelector(IRecords.CosignerIsParty.selector, other.id));
        ledger.settleWith(p, byAuthor, a, byDelegate, policy, delegation);
    }

    function test_settleWith_RevertWhen_delegateRotatedThereAndBack() public {
        Delegation memory delegation = _delegation(other.id, 1);
        Proposal memory p = _proposal(_leaves(1), 0);
        Answer memory a = _answer(1, 0);
        bytes memory byAuthor = _sign(org[0].key, _id(p));
        bytes memory byDelegate = _sign(other.key, _settlement(p, a, other.id));
        _rotateDirect(other, grantee);
        _rotate(other.id, grantee, other);
        _expectInvalid(other.id, _settlement(p, a, other.id));
        ledger.settleWith(p, byAuthor, a, byDelegate, _noPolicy(), delegation);
    }

    /// A patient's signature is not a delegate's, even with the same controller.
    function test_settleWith_RevertWhen_signedForAnotherSigner() public {
        Delegation memory delegation = _delegation(other.id, 1);
        Proposal memory p = _proposal(_leaves(1), 0);
        Answer memory a = _answer(1, 0);
        bytes memory byAuthor = _sign(org[0].key, _id(p));
        bytes memory byDelegate = _sign(other.key, _settlement(p, a, patient.id));
        _expectInvalid(other.id, _settlement(p, a, other.id));
        ledger.settleWith(p, byAuthor, a, byDelegate, _noPolicy(), delegation);
    }

    // ---------------------------------------------------------------- reseal

    function _single(uint256 flags) private pure returns (uint256) {
        return _header(1, 0, 3, 1) | flags | uint256(LATER) << 96;
    }

    function test_reseal_everyWay() public {
        for (uint256 i; i <= uint256(Way.Wallet); ++i) {
            Person memory who = _actor(patient, Way(i));
            _resealOnce(who, Way(i), who, org[0].id, 0);
        }
        _resealOnce(patient, Way.Long, org[0], org[0].id, 1 << 88);
        _walletNetwork();
        _resealOnce(patient, Way.Wallet, wallet, wallet.id, 1 << 88);
    }

    function _resealOnce(
        Person memory of_,
        Way way,
        Person memory signer,
        address author,
        uint256 flags
    ) private {
        Reseal[] memory items = new Reseal[](1);
        items[0] = Reseal({
            header: _header(1, 0, 3, 1), content: keccak256("new"), previous: keccak256("old")
        });
        (uint32 sequence,, bytes23 head) = ledger.chart(of_.id);
        bytes32 record = Digests.record(of_.id, author, 3, 1);
        uint256 by = uint160(signer.id) | 1 << 160;
        bytes memory signature =
            _by(signer, way, Digests.reseal(of_.id, author, signer.id, 0, items, LATER));
        vm.expectEmit(address(ledger));
        emit IRecords.Resealed(of_.id, record, by, keccak256("new"), keccak256("old"));
        ledger.reseal(of_.id, author, _single(flags), keccak256("new"), keccak256("old"), signature);
        (uint32 after_,, bytes23 newHead) = ledger.chart(of_.id);
        assertEq(after_, sequence, "a reseal voids no pending signature");
        assertEq(
            newHead,
            bytes23(
                keccak256(
                    abi.encode(
                        uint256(uint184(head)),
                        3,
                        record,
                        by,
                        keccak256("new"),
                        keccak256("old"),
                        block.timestamp
                    )
                )
            ),
            "head"
        );
    }

    function test_reseal_byRotatedPatient() public {
        _rotateDirect(patient, wallet);
        Reseal[] memory items = _reseals(keccak256("new"), keccak256("old"));
        items[0].header = _header(1, 0, 3, 1);
        bytes32 hash = Digests.reseal(patient.id, org[0].id, patient.id, 1, items, LATER);
        ledger.reseal(
            patient.id, org[0].id, _single(0), keccak256("new"), keccak256("old"), _signWallet(hash)
        );
    }

    function test_reseal_RevertWhen_malformed() public {
        uint256[5] memory bits = [uint256(1 << 72), 1 << 81, 1 << 89, 1 << 95, 1 << 144];
        for (uint256 i; i < bits.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IRecords.ResealMalformed.selector, 0));
            vm.prank(patient.id);
            ledger.reseal(patient.id, org[0].id, _single(bits[i]), 0, 0, "");
        }
    }

    function test_reseal_RevertWhen_expired() public {
        vm.warp(LATER + 1);
        vm.expectRevert(abi.encodeWithSelector(ISignatures.DeadlinePassed.selector, LATER));
        vm.prank(patient.id);
        ledger.reseal(patient.id, org[0].id, _single(0), 0, 0, "");
    }

    function test_reseal_RevertWhen_authorNotActive() public {
        _setStatus(org[0].id, Status.Removed);
        vm.expectRevert(abi.encodeWithSelector(IRecords.NotActive.selector, org[0].id));
        vm.prank(org[0].id);
        ledger.reseal(patient.id, org[0].id, _single(1 << 88), 0, 0, "");
    }

    function test_reseal_RevertWhen_stranger() public {
        vm.expectRevert(
            abi.encodeWithSelector(ISignatures.NotController.selector, patient.id, other.id)
        );
        vm.prank(other.id);
        ledger.reseal(patient.id, org[0].id, _single(0), 0, 0, "");
    }

    function test_resealMany_everyWay() public {
        for (uint256 i; i <= uint256(Way.Wallet); ++i) {
            Person memory who = _actor(patient, Way(i));
            Reseal[] memory items = _twoReseals();
            bytes memory signature =
                _by(who, Way(i), Digests.reseal(who.id, org[0].id, who.id, 0, items, LATER));
            ledger.resealMany(who.id, org[0].id, false, items, LATER, signature);
        }
        bytes32 hash = Digests.reseal(patient.id, org[0].id, org[0].id, 0, _twoReseals(), LATER);
        ledger.resealMany(
            patient.id, org[0].id, true, _twoReseals(), LATER, _sign(org[0].key, hash)
        );
    }

    /// One call for one record and a call for many announce and fold the same.
    function test_resealMany_agreesWithReseal() public {
        Reseal[] memory items = _reseals(keccak256("new"), keccak256("old"));
        uint256 snapshot = vm.snapshotState();
        vm.prank(patient.id);
        ledger.resealMany(patient.id, org[0].id, false, items, LATER, "");
        (,, bytes23 many) = ledger.chart(patient.id);
        vm.revertToState(snapshot);
        vm.prank(patient.id);
        ledger.reseal(
            patient.id,
            org[0].id,
            items[0].header | uint256(LATER) << 96,
            items[0].content,
            items[0].previous,
            ""
        );
        (,, bytes23 one) = ledger.chart(patient.id);
        assertEq(one, many, "head");
    }

    function _twoReseals() private pure returns (Reseal[] memory items) {
        items = new Reseal[](2);
        items[0] = _reseals(keccak256("new"), keccak256("old"))[0];
        items[1] = _reseals(keccak256("new"), keccak256("old"))[0];
        items[1].header += 1;
    }

    function test_resealMany_RevertWhen_empty() public {
        vm.expectRevert(IRecords.ResealEmpty.selector);
        vm.prank(patient.id);
        ledger.resealMany(patient.id, org[0].id, false, new Reseal[](0), LATER, "");
    }

    function test_resealMany_RevertWhen_malformed() public {
        Reseal[] memory items = _twoReseals();
        items[1].header |= 1 << 88;
        vm.expectRevert(abi.encodeWithSelector(IRecords.ResealMalformed.selector, 1));
        vm.prank(patient.id);
        ledger.resealMany(patient.id, org[0].id, false, items, LATER, "");
    }

    function test_resealAsDelegate_everyWay() public {
        for (uint256 i; i <= uint256(Way.Wallet); ++i) {
            Person memory who = _actor(other, Way(i));
            Delegation memory delegation = _delegation(who.id, 4);
            Reseal[] memory items = _twoReseals();
            bytes memory signature =
                _by(who, Way(i), Digests.reseal(patient.id, org[0].id, who.id, 0, items, LATER));
            ledger.resealAsDelegate(patient.id, org[0].id, items, LATER, delegation, signature);
        }
    }

    function test_resealAsDelegate_RevertWhen_delegationLacksPower() public {
        Delegation memory delegation = _delegation(other.id, 3);
        vm.expectRevert(abi.encodeWithSelector(IConsents.DelegationLacksPower.selector, 3, 2));
        vm.prank(other.id);
        ledger.resealAsDelegate(patient.id, org[0].id, _twoReseals(), LATER, delegation, "");
    }

    // ---------------------------------------------------------------- bulk

    function test_anchorBulk_everyWay() public {
        vm.expectEmit(address(ledger));
        emit IRecords.BulkAnchored(org[0].id, ROOT, 1 << 32 | 7, MANIFEST);
        vm.prank(org[0].id);
        ledger.anchorBulk(ROOT, 1 << 32 | 7, MANIFEST);
        for (uint256 i; i <= uint256(Way.Wallet); ++i) {
            if (Way(i) == Way.Wallet) _walletNetwork();
            Person memory author = _actor(org[0], Way(i));
            bytes memory signature =
                _by(author, Way(i), Digests.bulkAnchor(author.id, 0, ROOT, 7, 1, MANIFEST, LATER));
            vm.expectEmit(address(ledger));
            emit IRecords.BulkAnchored(author.id, ROOT, 1 << 32 | 7, MANIFEST);
            ledger.anchorBulkBySig(author.id, ROOT, 1 << 32 | 7, MANIFEST, LATER, signature);
        }
    }

    function test_anchorBulk_RevertWhen_rotated() public {
        _rotateDirect(org[0], other);
        vm.expectRevert(
            abi.encodeWithSelector(ISignatures.NotController.selector, org[0].id, org[0].id)
        );
        vm.prank(org[0].id);
        ledger.anchorBulk(ROOT, 7, MANIFEST);
        vm.prank(other.id);
        ledger.anchorBulkBySig(org[0].id, ROOT, 7, MANIFEST, LATER, "");
    }

    function test_anchorBulk_RevertWhen_malformed() public {
        vm.expectRevert(abi.encodeWithSelector(IRecords.BulkMalformed.selector, 2 << 32));
        vm.prank(org[0].id);
        ledger.anchorBulk(ROOT, 2 << 32, MANIFEST);
    }

    function test_anchorBulk_RevertWhen_notActive() public {
        vm.expectRevert(abi.encodeWithSelector(IRecords.NotActive.selector, other.id));
        vm.prank(other.id);
        ledger.anchorBulk(ROOT, 7, MANIFEST);
    }

    function testFuzz_provesBulk_randomTrees(uint256 seed, uint256 count, uint256 index)
        public
        view
    {
        count = bound(count, 1, 40);
        index = bound(index, 0, count - 1);
        BulkLeaf[] memory all = new BulkLeaf[](count);
        bytes32[] memory hashes = new bytes32[](count);
        for (uint256 i; i < count; ++i) {
            all[i] = BulkLeaf({
                patient: address(uint160(uint256(keccak256(abi.encode(seed, i))))),
                author: org[0].id,
                header: _header(i & 1, i % 3, i, i),
                content: keccak256(abi.encode(i)),
                commitment: keccak256(abi.encode(seed))
            });
            hashes[i] = Digests.bulkLeaf(all[i]);
        }
        bytes32 root = Digests.rootOf(hashes);
        bytes32[] memory proof = Digests.proof(hashes, index);
        assertTrue(ledger.provesBulk(root, all[index], proof), "its own proof");
        if (count > 1) {
            assertFalse(ledger.provesBulk(root, all[(index + 1) % count], proof), "another leaf");
            assertFalse(ledger.provesBulk(root, all[index], new bytes32[](0)), "no proof");
        }
        all[index].header |= 1 << 88;
        assertFalse(ledger.provesBulk(root, all[index], proof), "a bit that means nothing");
    }

    /// Two nodes of the tree are not a leaf: leaves are hashed twice, nodes are 64 bytes.
    function test_provesBulk_refusesNodes() public view {
        bytes32[] memory hashes = new bytes32[](2);
        BulkLeaf memory leaf;
        leaf.patient = patient.id;
        hashes[0] = Digests.bulkLeaf(leaf);
        hashes[1] = keccak256("sibling");
        assertFalse(ledger.provesBulk(hashes[0], leaf, _one(hashes[1])), "not the root");
        assertTrue(ledger.provesBulk(hashes[0], leaf, new bytes32[](0)), "a tree of one");
    }

    // ---------------------------------------------------------------- helpers

    function _expectInvalid(address controller, bytes32 structHash) private {
        vm.expectRevert(
            abi.encodeWithSelector(
                ISignatures.SignatureInvalid.selector, controller, _digest(structHash)
            )
        );
    }
}
