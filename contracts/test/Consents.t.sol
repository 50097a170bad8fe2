// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {IConsents} from "../src/IConsents.sol";
import {ISignatures} from "../src/ISignatures.sol";
import {ConsentChange, Delegation} from "../src/Types.sol";
import {Base} from "./Base.sol";
import {Change, Digests} from "./Digests.sol";

contract ConsentsTest is Base {
    bytes32 private constant A = keccak256("leaf a");
    bytes32 private constant B = keccak256("leaf b");

    function _grant() private view returns (Change memory) {
        return _change(A, new bytes32[](0), _one(A));
    }

    function test_changeConsents_everyWay() public {
        for (uint256 i; i <= uint256(Way.Wallet); ++i) {
            Person memory who = _actor(patient, Way(i));
            (, uint32 version) = ledger.consents(who.id);
            bytes32[] memory granted = new bytes32[](2);
            granted[0] = A;
            granted[1] = B;
            Change memory c = Change({
                patient: who.id,
                signer: who.id,
                rotations: 0,
                version: version,
                root: bytes28(keccak256("root")),
                revoked: _one(keccak256("old")),
                granted: granted,
                deadline: LATER
            });
            ConsentChange memory packed = _pack(c);
            bytes memory signature = _by(who, Way(i), Digests.consentChange(c));
            vm.expectEmit(address(ledger));
            emit IConsents.ConsentsChanged(
                who.id, bytes32(c.root) | bytes32(uint256(version + 1)), 1, packed.leaves
            );
            ledger.changeConsents(packed, signature);
            (bytes28 root, uint32 next) = ledger.consents(who.id);
            assertEq(root, c.root, "root");
            assertEq(next, version + 1, "version");
        }
    }

    function test_changeConsents_RevertWhen_replayed() public {
        Change memory c = _grant();
        bytes memory signature = _sign(patient.key, Digests.consentChange(c));
        ledger.changeConsents(_pack(c), signature);
        vm.expectRevert(abi.encodeWithSelector(IConsents.ConsentVersionStale.selector, 0, 1));
        ledger.changeConsents(_pack(c), signature);
    }

    /// After revoke-all the root is zero again, as it was before the first grant.
    function test_changeConsents_RevertWhen_replayedAfterRevokeAll() public {
        Change memory c = _grant();
        bytes memory signature = _sign(patient.key, Digests.consentChange(c));
        ledger.changeConsents(_pack(c), signature);
        _setConsents(new bytes32[](0));
        (bytes28 root, uint32 version) = ledger.consents(patient.id);
        assertEq(root, bytes28(0), "nothing is live");
        assertEq(version, 2, "version");
        vm.expectRevert(abi.encodeWithSelector(IConsents.ConsentVersionStale.selector, 0, 2));
        ledger.changeConsents(_pack(c), signature);
        c.version = 2;
        _expectInvalid(patient.id, Digests.consentChange(c));
        ledger.changeConsents(_pack(c), signature);
    }

    function test_changeConsents_RevertWhen_rotated() public {
        Change memory c = _grant();
        c.version = 1; // what the version will be after the rotation
        bytes memory signature = _sign(patient.key, Digests.consentChange(c));
        _rotateDirect(patient, wallet);
        c.rotations = 1;
        _expectInvalid(wallet.id, Digests.consentChange(c));
        ledger.changeConsents(_pack(c), signature);
        // The wallet that controls the id now does.
        ledger.changeConsents(_pack(c), _signWallet(Digests.consentChange(c)));
        // And back again: still nothing of before.
        _rotate(patient.id, wallet, patient);
        c.version = 3;
        c.rotations = 0;
        signature = _sign(patient.key, Digests.consentChange(c));
        c.rotations = 2;
        _expectInvalid(patient.id, Digests.consentChange(c));
        ledger.changeConsents(_pack(c), signature);
    }

    function test_changeConsents_RevertWhen_outOfOrder() public {
        Change memory c = _grant();
        c.version = 7;
        bytes memory signature = _sign(patient.key, Digests.consentChange(c));
        vm.expectRevert(abi.encodeWithSelector(IConsents.ConsentVersionStale.selector, 7, 0));
        ledger.changeConsents(_pack(c), signature);
    }

    function test_changeConsents_RevertWhen_leavesMovedBetweenRevokedAndGranted() public {
        Change memory c = _change(A, _one(B), _one(A));
        bytes memory signature = _sign(patient.key, Digests.consentChange(c));
        ConsentChange memory packed = _pack(c);
        packed.limits = uint256(LATER) | 2 << 48;
        bytes32[] memory both = new bytes32[](2);
        (both[0], both[1]) = (B, A);
        c.revoked = both;
        c.granted = new bytes32[](0);
        _expectInvalid(patient.id, Digests.consentChange(c));
        ledger.changeConsents(packed, signature);
    }

    function test_changeConsents_RevertWhen_leavesMiscounted() public {
        ConsentChange memory packed = _pack(_grant());
        packed.limits |= 2 << 48;
        vm.expectRevert(abi.encodeWithSelector(IConsents.ConsentLeavesMiscounted.selector, 2, 1));
        vm.prank(patient.id);
        ledger.changeConsents(packed, "");
        packed.limits = uint256(LATER) | 1 << 255;
        vm.expectPartialRevert(IConsents.ConsentLeavesMiscounted.selector);
        ledger.changeConsents(packed, "");
    }

    function test_changeConsents_RevertWhen_unchanged() public {
        ConsentChange memory packed = _pack(_change(0, new bytes32[](0), new bytes32[](0)));
        vm.expectRevert(IConsents.ConsentUnchanged.selector);
        vm.prank(patient.id);
        ledger.changeConsents(packed, "");
    }

    function test_changeConsents_RevertWhen_expired() public {
        ConsentChange memory packed = _pack(_grant());
        vm.warp(LATER + 1);
        vm.expectRevert(abi.encodeWithSelector(ISignatures.DeadlinePassed.selector, LATER));
        vm.prank(patient.id);
        ledger.changeConsents(packed, "");
    }

    function test_changeConsents_RevertWhen_stranger() public {
        ConsentChange memory packed = _pack(_grant());
        vm.expectRevert(
            abi.encodeWithSelector(ISignatures.NotController.selector, patient.id, other.id)
        );
        vm.prank(other.id);
        ledger.changeConsents(packed, "");
    }

    // ---------------------------------------------------------------- delegates

    function _delegate(address who, uint32 powers) private returns (Delegation memory d) {
        d.delegate = who;
        d.powers = powers;
        d.notBefore = START;
        d.expiry = START + 1 hours;
        d.salt = keccak256("salt");
        _setConsents(
            _one(Digests.delegateLeaf(who, powers, START, START + 1 hours, keccak256("salt")))
        );
    }

    function test_changeConsentsAsDelegate_everyWay() public {
        for (uint256 i; i <= uint256(Way.Wallet); ++i) {
            Person memory who = _actor(other, Way(i));
            Delegation memory d = _delegate(who.id, 2);
            Change memory c = _grant();
            c.signer = who.id;
            ConsentChange memory packed = _pack(c);
            bytes memory signature = _by(who, Way(i), Digests.consentChange(c));
            ledger.changeConsentsAsDelegate(packed, d, signature);
            (bytes28 root,) = ledger.consents(patient.id);
            assertEq(root, bytes28(A), "root");
        }
    }

    /// The leaf of the delegation is gone with the change that it signed.
    function test_changeConsentsAsDelegate_RevertWhen_revoked() public {
        Delegation memory d = _delegate(other.id, 2);
        _setConsents(_one(A));
        ConsentChange memory packed = _pack(_change(B, new bytes32[](0), _one(B)));
        vm.expectPartialRevert(IConsents.DelegationNotFound.selector);
        vm.prank(other.id);
        ledger.changeConsentsAsDelegate(packed, d, "");
    }

    function test_changeConsentsAsDelegate_RevertWhen_notInForce() public {
        Delegation memory d = _delegate(other.id, 2);
        ConsentChange memory packed = _pack(_grant());
        vm.warp(START + 1 hours);
        vm.expectRevert(
            abi.encodeWithSelector(IConsents.DelegationNotInForce.selector, START, START + 1 hours)
        );
        vm.prank(other.id);
        ledger.changeConsentsAsDelegate(packed, d, "");
    }

    function test_changeConsentsAsDelegate_RevertWhen_lacksPower() public {
        Delegation memory d = _delegate(other.id, 5);
        ConsentChange memory packed = _pack(_grant());
        vm.expectRevert(abi.encodeWithSelector(IConsents.DelegationLacksPower.selector, 5, 1));
        vm.prank(other.id);
        ledger.changeConsentsAsDelegate(packed, d, "");
    }

    /// A leaf for the delegate zero would be signed for by whatever recovers to nobody.
    function test_changeConsentsAsDelegate_RevertWhen_zero() public {
        Delegation memory d = _delegate(address(0), 2);
        Change memory c = _grant();
        c.signer = address(0);
        _expectInvalid(address(0), Digests.consentChange(c));
        ledger.changeConsentsAsDelegate(_pack(c), d, new bytes(65));
    }

    function _expectInvalid(address controller, bytes32 structHash) private {
        vm.expectRevert(
            abi.encodeWithSelector(
                ISignatures.SignatureInvalid.selector, controller, _digest(structHash)
            )
        );
    }
}
