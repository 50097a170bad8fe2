// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {Test} from "forge-std/Test.sol";
import {Consortium} from "../../src/Consortium.sol";
import {HealthLedger} from "../../src/HealthLedger.sol";
import {Motion} from "../../src/IConsortium.sol";
import {Answer, ConsentChange, Delegation, Policy, Proposal, Status} from "../../src/Types.sol";

/// @notice Proved for all arguments, not tried for some. Parameters are symbolic; the recovered signer
/// of a signature is any address, so what is proved holds for every signature.
contract LedgerHalmos is Test {
    HealthLedger private _ledger;
    address private constant AUTHOR = address(0xA0701);

    function setUp() public {
        address[] memory founders = new address[](1);
        founders[0] = AUTHOR;
        _ledger = new HealthLedger(founders);
    }

    function _change(address patient, bytes32 state, uint48 deadline, bytes32 leaf)
        private
        pure
        returns (ConsentChange memory change)
    {
        change.patient = patient;
        change.state = state;
        change.limits = deadline;
        change.leaves = new bytes32[](1);
        change.leaves[0] = leaf;
    }

    function _slots(address patient) private view returns (bytes32) {
        (uint32 sequence, uint40 time, bytes23 head) = _ledger.chart(patient);
        (bytes28 root, uint32 version) = _ledger.consents(patient);
        (address controller,, uint32 rotations) = _ledger.participant(patient);
        return
            bytes32(
                keccak256(abi.encode(sequence, time, head, root, version, controller, rotations))
            );
    }

    /// Without a signature only the patient's controller changes its consents.
    function check_changeConsents_onlyController(
        address caller,
        address patient,
        bytes32 state,
        uint48 deadline,
        bytes32 leaf
    ) public {
        vm.assume(caller != patient);
        ConsentChange memory change = _change(patient, state, deadline, leaf);
        vm.prank(caller);
        (bool ok,) = address(_ledger).call(abi.encodeCall(_ledger.changeConsents, (change, "")));
        assert(!ok);
    }

    /// Nor does somebody who calls itself a delegate: there is no leaf, for no proof of two hashes.
    function check_changeConsentsAsDelegate_onlyLiveLeaf(
        address caller,
        address patient,
        uint32 powers,
        bytes32 salt,
        bytes32 state,
        bytes32 leaf
    ) public {
        Delegation memory delegation;
        delegation.delegate = caller;
        delegation.powers = powers;
        delegation.expiry = type(uint48).max;
        delegation.salt = salt;
        ConsentChange memory change = _change(patient, state, type(uint48).max, leaf);
        vm.prank(caller);
        (bool ok,) = address(_ledger)
            .call(abi.encodeCall(_ledger.changeConsentsAsDelegate, (change, delegation, "")));
        assert(!ok);
    }

    /// Whatever the signature: the call that changed the consents once does not do it again.
    function check_changeConsents_neverTwice(
        address caller,
        address patient,
        bytes32 state,
        uint48 deadline,
        bytes32 leaf,
        bytes32 r,
        bytes32 vs
    ) public {
        ConsentChange memory change = _change(patient, state, deadline, leaf);
        bytes memory data =
            abi.encodeCall(_ledger.changeConsents, (change, abi.encodePacked(r, vs)));
        vm.prank(caller);
        (bool first,) = address(_ledger).call(data);
        vm.assume(first);
        (, uint32 version) = _ledger.consents(patient);
        assert(version == uint32(uint256(state)) + 1);
        vm.prank(caller);
        (bool second,) = address(_ledger).call(data);
        assert(!second);
    }

    function _settlement(address patient, uint256 accepted, uint256 rejected, uint32 sequence)
        private
        pure
        returns (Proposal memory p, Answer memory a)
    {
        p.patient = patient;
        p.author = AUTHOR;
        p.count = 256;
        p.deadline = type(uint48).max;
        a.accepted = accepted;
        a.rejected = rejected;
        a.sequence = sequence;
        a.deadline = type(uint48).max;
    }

    /// Whatever the signatures: the call that settled once does not settle again.
    function check_settle_neverTwice(
        address patient,
        uint256 accepted,
        uint256 rejected,
        uint32 sequence,
        bytes32 r,
        bytes32 vs
    ) public {
        (Proposal memory p, Answer memory a) = _settlement(patient, accepted, rejected, sequence);
        bytes memory data = abi.encodeCall(_ledger.settle, (p, "", a, abi.encodePacked(r, vs)));
        vm.prank(AUTHOR);
        (bool first,) = address(_ledger).call(data);
        vm.assume(first);
        vm.prank(AUTHOR);
        (bool second,) = address(_ledger).call(data);
        assert(!second);
    }

    /// One caller without signatures is never both sides, unless patient and author are one id.
    function check_settle_needsBothSides(
        address caller,
        address patient,
        uint256 accepted,
        uint256 rejected,
        uint32 sequence,
        bytes32 leaves
    ) public {
        vm.assume(patient != AUTHOR);
        (Proposal memory p, Answer memory a) = _settlement(patient, accepted, rejected, sequence);
        p.leaves = leaves;
        vm.prank(caller);
        (bool ok,) = address(_ledger).call(abi.encodeCall(_ledger.settle, (p, "", a, "")));
        assert(!ok);
    }

    /// The author's call settles nothing without a signature of the patient, nor the other way round.
    function check_settleWith_needsBothSides(
        bool byAuthor,
        address patient,
        uint256 accepted,
        uint32 sequence
    ) public {
        vm.assume(patient != AUTHOR);
        (Proposal memory p, Answer memory a) = _settlement(patient, accepted, 0, sequence);
        Policy memory policy;
        Delegation memory delegation;
        vm.prank(byAuthor ? AUTHOR : patient);
        (bool ok,) = address(_ledger)
            .call(abi.encodeCall(_ledger.settleWith, (p, "", a, "", policy, delegation)));
        assert(!ok);
    }

    /// Nobody but the consortium sets a status, and even it moves nothing else of anybody.
    function check_setStatus_touchesNoPatientState(
        address caller,
        address organization,
        uint8 status,
        address patient
    ) public {
        vm.assume(status < 4);
        bytes32 before = _slots(patient);
        (, Status statusBefore,) = _ledger.participant(patient);
        vm.prank(caller);
        (bool ok,) =
            address(_ledger).call(abi.encodeCall(_ledger.setStatus, (organization, Status(status))));
        (, Status statusAfter,) = _ledger.participant(patient);
        assert(_slots(patient) == before);
        assert(!ok || caller == _ledger.consortium());
        assert(statusAfter == statusBefore || ok && organization == patient);
    }
}

/// @notice Stands for the ledger and notices any call of the consortium that is not of its business.
contract LedgerSpy {
    Consortium public immutable consortium;
    bool public overstepped;

    constructor(address[] memory founders) {
        consortium = new Consortium(founders);
    }

    function participant(address id) external pure returns (address, Status, uint32) {
        return (id, Status.Active, 0);
    }

    function setStatus(address, Status) external view {
        assert(msg.sender == address(consortium));
    }

    fallback() external {
        overstepped = true;
    }
}

contract ConsortiumHalmos is Test {
    LedgerSpy private _spy;
    address private constant FOUNDER = address(0xF00);

    function setUp() public {
        address[] memory founders = new address[](1);
        founders[0] = FOUNDER;
        _spy = new LedgerSpy(founders);
    }

    /// Whatever is decided, the ledger is asked for a standing or told one, and nothing else.
    function check_decide_setsNothingButStatus(
        uint8 motion,
        address organization,
        uint32 counter,
        uint48 deadline
    ) public {
        vm.assume(motion < 4);
        address[] memory voters = new address[](1);
        voters[0] = FOUNDER;
        // Asked for before the prank, which holds for one call.
        address consortium = address(_spy.consortium());
        vm.prank(FOUNDER);
        (bool ok,) = consortium.call(
            abi.encodeCall(
                Consortium.decide,
                (Motion(motion), organization, counter, deadline, voters, new bytes[](1))
            )
        );
        ok;
        (uint16 members,) = _spy.consortium().state();
        assert(members == 1);
        assert(!_spy.overstepped());
    }

    /// Without the founder's voice nothing passes.
    function check_decide_needsVotes(
        address caller,
        uint8 motion,
        address organization,
        uint32 counter,
        uint48 deadline
    ) public {
        vm.assume(motion < 4);
        vm.assume(caller != FOUNDER);
        address[] memory voters = new address[](1);
        voters[0] = caller;
        address consortium = address(_spy.consortium());
        vm.prank(caller);
        (bool ok,) = consortium.call(
            abi.encodeCall(
                Consortium.decide,
                (Motion(motion), organization, counter, deadline, voters, new bytes[](1))
            )
        );
        assert(!ok);
    }
}
