// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {Vm} from "forge-std/Vm.sol";
import {IAccessLog} from "../src/IAccessLog.sol";
import {IRecords} from "../src/IRecords.sol";
import {ISignatures} from "../src/ISignatures.sol";
import {Access, Status} from "../src/Types.sol";
import {Base} from "./Base.sol";
import {Digests, Terms} from "./Digests.sol";

contract AccessLogTest is Base {
    bytes32[] private _none;

    function _grant(Terms memory t) private returns (bytes32 leaf) {
        leaf = Digests.consentLeaf(t);
        _setConsents(_one(leaf));
    }

    function test_logAccess_stampsAndFolds() public {
        Terms memory t = _terms();
        bytes32 leaf = _grant(t);
        // Twice, so that the second time of access has bits that the first has not.
        for (uint256 i; i < 2; ++i) {
            vm.warp(block.timestamp + 12_345);
            (uint32 sequence,, bytes23 head) = ledger.chart(patient.id);
            bytes32 record = Digests.record(patient.id, org[0].id, 3, 1);
            vm.expectEmit(address(ledger));
            emit IAccessLog.Accessed(patient.id, grantee.id, record, leaf, 1);
            _logOne(t, _none);
            (uint32 after_, uint40 lastAccess, bytes23 newHead) = ledger.chart(patient.id);
            assertEq(after_, sequence, "an access voids no pending signature");
            assertEq(lastAccess, block.timestamp, "time of the last access");
            bytes memory entry =
                abi.encode(uint256(uint184(head)), 2, grantee.id, record, leaf, 1, block.timestamp);
            assertEq(newHead, bytes23(keccak256(entry)), "head");
        }
    }

    function test_logAccessBySig_everyWay() public {
        for (uint256 i; i <= uint256(Way.Wallet); ++i) {
            Person memory who = _actor(grantee, Way(i));
            Terms memory t = _terms();
            t.grantee = who.id;
            bytes32 leaf = _grant(t);
            Access memory access = _access(t, _none);
            access.grantee = who.id;
            access.records = new uint256[](2);
            access.records[0] = _recordWord(org[0].id, 3, 1);
            access.records[1] = _recordWord(org[1].id, 3, 1);
            bytes32 hash = Digests.access(patient.id, who.id, 0, 1, leaf, access.records, LATER);
            bytes memory signature = _by(who, Way(i), hash);
            uint256 how = Way(i) == Way.Direct ? 1 : 1 | uint256(LATER) << 16;
            for (uint256 j; j < 2; ++j) {
                vm.expectEmit(address(ledger));
                emit IAccessLog.Accessed(
                    patient.id, who.id, Digests.record(patient.id, org[j].id, 3, 1), leaf, how
                );
            }
            ledger.logAccessBySig(access, LATER, signature);
        }
    }

    function test_logAccess_byNetwork() public {
        Terms memory t = _terms();
        t.grantee = address(0);
        bytes32 leaf = _grant(t);
        vm.expectEmit(address(ledger));
        emit IAccessLog.Accessed(
            patient.id, org[1].id, Digests.record(patient.id, org[0].id, 3, 1), leaf, 1 | 1 << 8
        );
        _logOneAs(org[1].id, t, _none);
    }

    function test_logAccess_RevertWhen_networkAndNotActive() public {
        Terms memory t = _terms();
        t.grantee = address(0);
        _grant(t);
        vm.expectRevert(
            abi.encodeWithSelector(IAccessLog.GranteeNotInStanding.selector, grantee.id)
        );
        _logOne(t, _none);
    }

    /// Under a consent for every organization nobody reads as the id zero.
    function test_logAccessBySig_RevertWhen_granteeIsZero() public {
        Terms memory t = _terms();
        t.grantee = address(0);
        _grant(t);
        Access memory access = _access(t, _none);
        access.grantee = address(0);
        access.terms &= ~uint256(1 << 8);
        vm.expectPartialRevert(ISignatures.SignatureInvalid.selector);
        ledger.logAccessBySig(access, LATER, new bytes(65));
    }

    function test_logAccess_RevertWhen_suspended() public {
        Terms memory t = _terms();
        t.grantee = org[1].id;
        _grant(t);
        _setStatus(org[1].id, Status.Suspended);
        vm.expectRevert(abi.encodeWithSelector(IAccessLog.GranteeNotInStanding.selector, org[1].id));
        _logOneAs(org[1].id, t, _none);
        _setStatus(org[1].id, Status.Removed);
        _logOneAs(org[1].id, t, _none);
    }

    function test_logAccess_RevertWhen_notGranted() public {
        bytes32 leaf = Digests.consentLeaf(_terms());
        vm.expectRevert(abi.encodeWithSelector(IAccessLog.ConsentNotFound.selector, leaf));
        _logOne(_terms(), _none);
        _grant(_terms());
        Terms memory t = _terms();
        t.grantee = other.id;
        leaf = Digests.consentLeaf(t);
        vm.expectRevert(abi.encodeWithSelector(IAccessLog.ConsentNotFound.selector, leaf));
        _logOneAs(other.id, t, _none);
    }

    function test_logAccess_RevertWhen_revoked() public {
        bytes32 leaf = _grant(_terms());
        _logOne(_terms(), _none);
        _setConsents(_none);
        vm.expectRevert(abi.encodeWithSelector(IAccessLog.ConsentNotFound.selector, leaf));
        _logOne(_terms(), _none);
    }

    function test_logAccess_RevertWhen_termsMalformed() public {
        _grant(_terms());
        uint256 terms = _packTerms(1, _terms());
        uint256[4] memory bits = [uint256(1 << 9), 1 << 15, 1 << 144, 1 << 255];
        for (uint256 i; i < bits.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(IAccessLog.TermsMalformed.selector, terms | bits[i])
            );
            vm.prank(grantee.id);
            ledger.logAccess(
                _recordWord(org[0].id, 3, 1),
                patient.id,
                terms | bits[i],
                _terms().segments,
                _terms().salt,
                _none
            );
        }
    }

    function test_logAccess_RevertWhen_anotherSegment() public {
        _grant(_terms());
        Access memory access = _access(_terms(), _none);
        access.records[0] = _recordWord(org[0].id, 4, 1);
        vm.expectRevert(abi.encodeWithSelector(IAccessLog.SegmentNotConsented.selector, 4));
        vm.prank(grantee.id);
        ledger.logAccessBySig(access, LATER, "");
    }

    function test_logAccess_RevertWhen_anotherPurpose() public {
        _grant(_terms());
        for (uint256 purpose = 2; purpose < 256; purpose += 31) {
            Access memory access = _access(_terms(), _none);
            access.terms = _packTerms(purpose, _terms());
            vm.expectRevert(
                abi.encodeWithSelector(IAccessLog.PurposeNotConsented.selector, purpose)
            );
            vm.prank(grantee.id);
            ledger.logAccessBySig(access, LATER, "");
        }
    }

    function test_logAccessBySig_RevertWhen_recordMalformed() public {
        _grant(_terms());
        Access memory access = _access(_terms(), _none);
        access.records[0] |= 1 << 72;
        vm.expectRevert(abi.encodeWithSelector(IAccessLog.RecordMalformed.selector, 0));
        vm.prank(grantee.id);
        ledger.logAccessBySig(access, LATER, "");
    }

    function test_logAccessBySig_RevertWhen_empty() public {
        _grant(_terms());
        Access memory access = _access(_terms(), _none);
        access.records = new uint256[](0);
        vm.expectRevert(IAccessLog.AccessEmpty.selector);
        vm.prank(grantee.id);
        ledger.logAccessBySig(access, LATER, "");
    }

    function test_logAccessBySig_RevertWhen_expired() public {
        _grant(_terms());
        Access memory access = _access(_terms(), _none);
        vm.warp(LATER + 1);
        vm.expectRevert(abi.encodeWithSelector(ISignatures.DeadlinePassed.selector, LATER));
        ledger.logAccessBySig(access, LATER, "");
    }

    /// A key that was rotated away reads nothing more; the controller of today does.
    function test_logAccess_RevertWhen_rotated() public {
        _grant(_terms());
        _rotateDirect(grantee, wallet);
        vm.expectRevert(
            abi.encodeWithSelector(ISignatures.NotController.selector, grantee.id, grantee.id)
        );
        _logOne(_terms(), _none);
        Access memory access = _access(_terms(), _none);
        vm.prank(wallet.id);
        ledger.logAccessBySig(access, LATER, "");
    }

    function testFuzz_logAccess_onlyInForce(uint48 notBefore, uint48 expiry, uint48 time) public {
        time = uint48(bound(time, 1, type(uint40).max));
        Terms memory t = _terms();
        t.notBefore = notBefore;
        t.expiry = expiry;
        _grant(t);
        vm.warp(time);
        if (time < notBefore || time >= expiry) {
            vm.expectRevert(
                abi.encodeWithSelector(IAccessLog.ConsentNotInForce.selector, notBefore, expiry)
            );
        }
        _logOne(t, _none);
    }

    /// The last second before the end counts, the first second of it does not; and so the beginning.
    function test_logAccess_edges() public {
        Terms memory t = _terms();
        _grant(t);
        vm.warp(t.notBefore);
        _logOne(t, _none);
        vm.warp(t.expiry - 1);
        _logOne(t, _none);
        for (uint256 i; i < 2; ++i) {
            vm.warp(i == 0 ? t.notBefore - 1 : t.expiry);
            vm.expectPartialRevert(IAccessLog.ConsentNotInForce.selector);
            _logOne(t, _none);
        }
    }

    function testFuzz_logAccess_masks(
        uint256 segments,
        uint32 purposes,
        uint8 segment,
        uint8 purpose
    ) public {
        Terms memory t = _terms();
        t.segments = segments;
        t.purposes = purposes;
        _grant(t);
        Access memory access = _access(t, _none);
        access.terms = _packTerms(purpose, t);
        access.records[0] = _recordWord(org[0].id, segment, 1);
        bool covered = segments >> segment & 1 == 1 && purpose < 32 && purposes >> purpose & 1 == 1;
        if (!covered) vm.expectRevert();
        vm.prank(grantee.id);
        ledger.logAccessBySig(access, LATER, "");
    }

    /// Every leaf of a random tree proves itself; no proof proves another leaf.
    function testFuzz_logAccess_randomTrees(uint256 seed, uint256 count, uint256 index) public {
        count = bound(count, 2, 33);
        index = bound(index, 0, count - 1);
        bytes32[] memory leaves = new bytes32[](count);
        for (uint256 i; i < count; ++i) {
            leaves[i] = keccak256(abi.encode(seed, i));
        }
        leaves[index] = Digests.consentLeaf(_terms());
        _setConsents(leaves);
        bytes32[] memory proof = Digests.proof(leaves, index);
        _logOne(_terms(), proof);
        uint256 flip = uint256(keccak256(abi.encode(seed))) % proof.length;
        proof[flip] ^= bytes32(uint256(1) << (seed % 256));
        vm.expectRevert(abi.encodeWithSelector(IAccessLog.ConsentNotFound.selector, leaves[index]));
        _logOne(_terms(), proof);
    }

    /// The head is the fold of what the events say, and of nothing else.
    function test_chart_headIsTheFoldOfEvents() public {
        _grant(_terms());
        vm.recordLogs();
        _settle(_proposal(_leaves(2), 0), _answer(1, 2));
        _logOne(_terms(), _none);
        vm.prank(patient.id);
        ledger.reseal(
            patient.id,
            org[0].id,
            _header(0, 0, 3, 1) | uint256(LATER) << 96,
            keccak256("new"),
            keccak256("old"),
            ""
        );
        _rotateDirect(patient, other);
        bytes23 head;
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i; i < logs.length; ++i) {
            head = _fold(head, logs[i]);
        }
        (,, bytes23 held) = ledger.chart(patient.id);
        assertEq(held, head, "head");
        assertTrue(head != 0, "something was folded");
    }

    function _fold(bytes23 head, Vm.Log memory log) private view returns (bytes23) {
        uint256 old = uint256(uint184(head));
        bytes32 topic = log.topics[0];
        bytes memory entry;
        if (topic == IRecords.Settled.selector) {
            entry = bytes.concat(
                abi.encode(old, 1, log.topics[2], log.topics[3]),
                log.data,
                abi.encode(block.timestamp)
            );
        } else if (topic == IAccessLog.Accessed.selector) {
            entry = bytes.concat(
                abi.encode(old, 2, log.topics[2], log.topics[3]),
                log.data,
                abi.encode(block.timestamp)
            );
        } else if (topic == IRecords.Resealed.selector) {
            entry = bytes.concat(
                abi.encode(old, 3, log.topics[2]), log.data, abi.encode(block.timestamp)
            );
        } else if (topic == keccak256("Rotated(address,address,uint32,uint32)")) {
            entry = bytes.concat(
                abi.encode(old, 4, log.topics[2]), log.data, abi.encode(block.timestamp)
            );
        } else {
            return head;
        }
        return bytes23(keccak256(entry));
    }

    // ---------------------------------------------------------------- requests

    function _request(address from, uint8 store, bytes memory signature) private {
        ledger.requestAccess(patient.id, from, 2, store, keccak256("m"), LATER, signature);
    }

    function test_requestAccess_everyWay() public {
        for (uint256 i; i <= uint256(Way.Wallet); ++i) {
            if (Way(i) == Way.Wallet) _walletNetwork();
            Person memory from = _actor(org[0], Way(i));
            bytes memory signature = _by(
                from,
                Way(i),
                Digests.accessRequest(patient.id, from.id, 0, 2, 1, keccak256("m"), LATER)
            );
            vm.expectEmit(address(ledger));
            emit IAccessLog.AccessRequested(patient.id, from.id, 2, 1, keccak256("m"), LATER);
            _request(from.id, 1, signature);
        }
    }

    function test_requestAccess_RevertWhen_notActive() public {
        vm.expectRevert(abi.encodeWithSelector(IRecords.NotActive.selector, other.id));
        vm.prank(other.id);
        _request(other.id, 0, "");
    }

    function test_requestAccess_RevertWhen_storeUnknown() public {
        vm.expectRevert(abi.encodeWithSelector(IRecords.StoreUnknown.selector, 2));
        vm.prank(org[0].id);
        _request(org[0].id, 2, "");
    }
}
