// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {Vm} from "forge-std/Vm.sol";
import {IAccessLog} from "../src/IAccessLog.sol";
import {Motion} from "../src/IConsortium.sol";
import {IRecords} from "../src/IRecords.sol";
import {IRegistrar} from "../src/IRegistrar.sol";
import {Answer, Leaf, Proposal, Status} from "../src/Types.sol";
import {Base} from "./Base.sol";
import {Change, Digests, Terms} from "./Digests.sol";

/// @notice Acts as the people of a small network, rightly and wrongly, and keeps its own books.
contract Handler is Base {
    bytes23 public ghostHead;
    uint32 public ghostSequence;
    uint32 public ghostVersion;
    uint32 public ghostRotations;
    bool public strangerMoved;
    uint256 public settled;
    uint256 public accesses;
    Person private _holder;
    bytes32[] private _none;

    function start() external {
        Base.setUp();
        _holder = patient;
    }

    function target() external view returns (address, address, address) {
        return (address(ledger), patient.id, address(consortium));
    }

    /// @dev Folds every event of the patient's chart that the call wrote, as a reader would.
    modifier folds() {
        vm.recordLogs();
        _;
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i; i < logs.length; ++i) {
            bytes32 topic = logs[i].topics[0];
            bytes memory entry;
            if (topic == IRecords.Settled.selector) {
                entry = abi.encode(1, logs[i].topics[2], logs[i].topics[3]);
            } else if (topic == IAccessLog.Accessed.selector) {
                entry = abi.encode(2, logs[i].topics[2], logs[i].topics[3]);
            } else if (topic == IRecords.Resealed.selector) {
                entry = abi.encode(3, logs[i].topics[2]);
            } else if (topic == IRegistrar.Rotated.selector) {
                entry = abi.encode(4, logs[i].topics[2]);
            } else {
                continue;
            }
            ghostHead = bytes23(
                keccak256(
                    bytes.concat(
                        abi.encode(uint256(uint184(ghostHead))),
                        entry,
                        logs[i].data,
                        abi.encode(vm.getBlockTimestamp())
                    )
                )
            );
        }
    }

    function settle(uint256 accepted, uint8 count, bool rightSequence) external folds {
        Leaf[] memory leaves = _leaves(bound(count, 1, 4));
        Proposal memory p = _proposal(leaves, 0);
        p.deadline = type(uint48).max;
        accepted &= (1 << leaves.length) - 1;
        Answer memory a = _answer(accepted, ~accepted & ((1 << leaves.length) - 1));
        a.deadline = type(uint48).max;
        if (!rightSequence) a.sequence += 1;
        bytes memory byAuthor = _sign(org[0].key, _id(p));
        bytes memory byPatient = _sign(_holder.key, _settlement(p, a, patient.id));
        try ledger.settle(p, byAuthor, a, byPatient) {
            ++ghostSequence;
            ++settled;
            if (!rightSequence) strangerMoved = true;
        } catch {
            if (rightSequence && _active(org[0].id)) revert("a right settlement was refused");
        }
    }

    function change(bytes32 root, bool all) external folds {
        Change memory c = _change(all ? bytes32(0) : root, _none, all ? _none : _one(root));
        c.granted = _one(Digests.consentLeaf(_terms()));
        c.root = all ? bytes28(0) : bytes28(c.granted[0]);
        c.deadline = type(uint48).max;
        ledger.changeConsents(_pack(c), _sign(_holder.key, Digests.consentChange(c)));
        ++ghostVersion;
    }

    function access() external folds {
        Terms memory t = _terms();
        (bytes28 root,) = ledger.consents(patient.id);
        bool granted = root == bytes28(Digests.consentLeaf(t)) && block.timestamp < t.expiry;
        vm.prank(grantee.id);
        try ledger.logAccess(
            _recordWord(org[0].id, 3, 1), patient.id, _packTerms(1, t), t.segments, t.salt, _none
        ) {
            ++accesses;
            if (!granted) strangerMoved = true;
        } catch {
            if (granted) revert("a granted access was refused");
        }
    }

    function reseal(bytes32 content) external folds {
        vm.prank(_holder.id);
        ledger.reseal(
            patient.id,
            org[0].id,
            _header(0, 0, 3, 1) | uint256(type(uint48).max) << 96,
            content,
            0,
            ""
        );
    }

    function rotate(uint256 key) external folds {
        Person memory to = key % 3 == 0 ? patient : _person(vm.toString(key % 5));
        (uint32 sequence,,) = ledger.chart(patient.id);
        uint48 deadline = type(uint48).max;
        bytes32 hash = Digests.rotation(patient.id, to.id, sequence, 0, deadline);
        ledger.rotate(
            patient.id, to.id, sequence, deadline, _sign(_holder.key, hash), _sign(to.key, hash)
        );
        _holder = to;
        ++ghostSequence;
        ++ghostVersion;
        ++ghostRotations;
    }

    function govern(uint8 motion, uint8 who) external folds {
        Motion m = Motion(motion % 4);
        address on = who % 4 == 3 ? other.id : org[who % 3].id;
        (, uint32 epoch) = consortium.state();
        (, uint32 own,) = consortium.member(on);
        uint32 counter = m == Motion.Suspend ? own : epoch;
        address[] memory voters = new address[](2);
        bytes[] memory signatures = new bytes[](2);
        (voters[0], voters[1]) = (org[0].id, org[1].id);
        bytes32 domain = Digests.domain("Galen Consortium", address(consortium));
        for (uint256 i; i < 2; ++i) {
            (uint8 v, bytes32 r, bytes32 s) = vm.sign(
                org[i].key,
                Digests.seal(domain, Digests.vote(m, on, counter, org[i].id, 0, type(uint48).max))
            );
            signatures[i] = abi.encodePacked(r, s, v);
        }
        try consortium.decide(m, on, counter, type(uint48).max, voters, signatures) {} catch {}
    }

    function finish(uint8 who) external folds {
        try consortium.finishAdmission(who % 4 == 3 ? other.id : org[who % 3].id) {} catch {}
    }

    /// @dev A stranger tries everything that changes the patient's slots, with rubbish and with a
    /// signature of its own.
    function stranger(uint256 kind, bytes32 word) external folds {
        (uint32 sequence, uint40 time, bytes23 head) = ledger.chart(patient.id);
        (bytes28 root, uint32 version) = ledger.consents(patient.id);
        Change memory c = _change(word, _none, _one(word));
        c.deadline = type(uint48).max;
        bytes memory bySelf = _sign(grantee.key, Digests.consentChange(c));
        bytes32 hash = Digests.rotation(patient.id, grantee.id, sequence, 0, type(uint48).max);
        bytes memory byRotation = _sign(grantee.key, hash);
        vm.startPrank(grantee.id);
        bool moved;
        if (kind % 4 == 0) {
            try ledger.changeConsents(_pack(c), "") {
                moved = true;
            } catch {}
        } else if (kind % 4 == 1) {
            try ledger.changeConsents(_pack(c), bySelf) {
                moved = true;
            } catch {}
        } else if (kind % 4 == 2) {
            try ledger.rotate(patient.id, grantee.id, sequence, type(uint48).max, byRotation, "") {
                moved = true;
            } catch {}
        } else {
            try ledger.setStatus(patient.id, Status.Active) {
                moved = true;
            } catch {}
        }
        vm.stopPrank();
        (uint32 sequence2, uint40 time2, bytes23 head2) = ledger.chart(patient.id);
        (bytes28 root2, uint32 version2) = ledger.consents(patient.id);
        if (
            moved || sequence != sequence2 || time != time2 || head != head2 || root != root2
                || version != version2
        ) strangerMoved = true;
    }

    function membersAgree() external view returns (bool) {
        (uint16 members,) = consortium.state();
        uint256 counted;
        for (uint256 i; i < 4; ++i) {
            address id = i == 3 ? other.id : org[i].id;
            (bool isMember,,) = consortium.member(id);
            if (isMember) ++counted;
            if (_active(id) && !isMember) return false;
        }
        return counted == members && members != 0;
    }

    function pass(uint16 time) external {
        vm.warp(block.timestamp + time);
    }

    function _active(address id) private view returns (bool) {
        (, Status status,) = ledger.participant(id);
        return status == Status.Active;
    }
}

contract LedgerInvariants is Base {
    Handler private _handler;

    function setUp() public override {
        _handler = new Handler();
        _handler.start();
        bytes4[] memory selectors = new bytes4[](9);
        selectors[0] = Handler.settle.selector;
        selectors[1] = Handler.change.selector;
        selectors[2] = Handler.access.selector;
        selectors[3] = Handler.reseal.selector;
        selectors[4] = Handler.rotate.selector;
        selectors[5] = Handler.govern.selector;
        selectors[6] = Handler.finish.selector;
        selectors[7] = Handler.stranger.selector;
        selectors[8] = Handler.pass.selector;
        targetSelector(FuzzSelector({addr: address(_handler), selectors: selectors}));
        targetContract(address(_handler));
    }

    function _chart() private view returns (uint32 sequence, bytes23 head) {
        (address at_, address id,) = _handler.target();
        (sequence,, head) = IRegistrar(at_).chart(id);
    }

    /// One for each settlement and each rotation; nothing else moves it.
    function invariant_sequenceCountsSettlementsAndRotations() public view {
        (uint32 sequence,) = _chart();
        assertEq(sequence, _handler.ghostSequence());
    }

    function invariant_headIsTheFoldOfEvents() public view {
        (, bytes23 head) = _chart();
        assertEq(head, _handler.ghostHead());
    }

    function invariant_versionCountsChangesAndRotations() public view {
        (address at_, address id,) = _handler.target();
        (bool ok, bytes memory answer) =
            at_.staticcall(abi.encodeWithSignature("consents(address)", id));
        assertTrue(ok);
        (, uint32 version) = abi.decode(answer, (bytes28, uint32));
        assertEq(version, _handler.ghostVersion());
    }

    function invariant_rotationsAreCounted() public view {
        (address at_, address id,) = _handler.target();
        (, Status status, uint32 rotations) = IRegistrar(at_).participant(id);
        assertEq(rotations, _handler.ghostRotations());
        assertEq(uint256(status), 0, "the consortium never touched the patient");
    }

    /// The consortium never counts wrongly, is never empty, and only its members are active.
    function invariant_membersAreCounted() public view {
        assertTrue(_handler.membersAgree());
    }

    function invariant_strangersMoveNothing() public view {
        assertFalse(_handler.strangerMoved());
    }
}
