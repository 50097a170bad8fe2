// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {IRecords} from "../src/IRecords.sol";
import {IRecovery} from "../src/IRecovery.sol";
import {IRegistrar} from "../src/IRegistrar.sol";
import {ISignatures} from "../src/ISignatures.sol";
import {GuardianSet, PendingKind, Status} from "../src/Types.sol";
import {Base} from "./Base.sol";
import {Digests} from "./Digests.sol";

contract RecoveryTest is Base {
    uint32 private constant DELAY = 7 days;

    /// @dev Three guardians, ascending; the wallet is one of them.
    GuardianSet private _set;
    uint48 private constant FAR = START + 3650 days;

    function setUp() public override {
        super.setUp();
        address[] memory g = new address[](3);
        (g[0], g[1], g[2]) = (owner[0].id, owner[1].id, owner[2].id);
        _set = GuardianSet({
            guardians: g, threshold: 2, finalThreshold: 3, salt: keccak256("guardians")
        });
    }

    // ---------------------------------------------------------------- rotate and publishKeys

    function test_rotate_everyWay() public {
        for (uint256 i; i <= uint256(Way.Wallet); ++i) {
            uint256 snapshot = vm.snapshotState();
            Person memory from = _actor(patient, Way(i));
            bytes32 hash = Digests.rotation(from.id, other.id, 0, 0, LATER);
            bytes memory acceptance = _sign(other.key, hash);
            bytes memory signature = _by(from, Way(i), hash);
            vm.expectEmit(address(ledger));
            emit IRegistrar.Rotated(from.id, other.id, 1, 1);
            ledger.rotate(from.id, other.id, 0, LATER, signature, acceptance);
            (address controller, Status status, uint32 rotations) = ledger.participant(from.id);
            assertEq(controller, other.id, "controller");
            assertEq(uint256(status), 0, "status");
            assertEq(rotations, 1, "rotations");
            (uint32 sequence,, bytes23 head) = ledger.chart(from.id);
            assertEq(sequence, 1, "sequence");
            assertEq(
                head, bytes23(keccak256(abi.encode(0, 4, other.id, 1, 1, block.timestamp))), "head"
            );
            vm.revertToState(snapshot);
        }
    }

    function test_rotate_keepsStatusAndConsents() public {
        _setConsents(_one(keccak256("leaf")));
        _rotateDirect(patient, wallet);
        (bytes28 root, uint32 version) = ledger.consents(patient.id);
        assertEq(root, bytes28(keccak256("leaf")), "root");
        assertEq(version, 2, "version");
        _rotateDirect(org[0], other);
        (, Status status,) = ledger.participant(org[0].id);
        assertEq(uint256(status), uint256(Status.Active), "status");
    }

    function test_rotate_RevertWhen_notAccepted() public {
        bytes32 hash = Digests.rotation(patient.id, other.id, 0, 0, LATER);
        bytes memory signature = _sign(patient.key, hash);
        _expectInvalid(other.id, hash);
        ledger.rotate(patient.id, other.id, 0, LATER, signature, signature);
        vm.expectRevert(
            abi.encodeWithSelector(ISignatures.NotController.selector, other.id, patient.id)
        );
        vm.prank(patient.id);
        ledger.rotate(patient.id, other.id, 0, LATER, "", "");
    }

    function test_rotate_RevertWhen_replayed() public {
        bytes32 hash = Digests.rotation(patient.id, other.id, 0, 0, LATER);
        bytes memory signature = _sign(patient.key, hash);
        bytes memory acceptance = _sign(other.key, hash);
        ledger.rotate(patient.id, other.id, 0, LATER, signature, acceptance);
        vm.expectRevert(abi.encodeWithSelector(IRegistrar.SequenceStale.selector, 0, 1));
        ledger.rotate(patient.id, other.id, 0, LATER, signature, acceptance);
    }

    function test_rotate_RevertWhen_controllerIsZero() public {
        vm.expectRevert(IRegistrar.ControllerIsZero.selector);
        vm.prank(patient.id);
        ledger.rotate(patient.id, address(0), 0, LATER, "", "");
    }

    function test_rotate_RevertWhen_expired() public {
        vm.warp(LATER + 1);
        vm.expectRevert(abi.encodeWithSelector(ISignatures.DeadlinePassed.selector, LATER));
        ledger.rotate(patient.id, other.id, 0, LATER, "", "");
    }

    function test_publishKeys_everyWay() public {
        for (uint256 i; i <= uint256(Way.Wallet); ++i) {
            Person memory who = _actor(patient, Way(i));
            bytes32 hash = Digests.keyBundle(
                who.id, 0, keccak256("a"), keccak256("b"), 1, keccak256("c"), LATER
            );
            bytes memory signature = _by(who, Way(i), hash);
            vm.expectEmit(address(ledger));
            emit IRegistrar.KeysPublished(who.id, keccak256("b"), keccak256("a"), 1, keccak256("c"));
            ledger.publishKeys(
                who.id, keccak256("a"), keccak256("b"), 1, keccak256("c"), LATER, signature
            );
        }
    }

    function test_publishKeys_RevertWhen_storeUnknown() public {
        vm.expectRevert(abi.encodeWithSelector(IRecords.StoreUnknown.selector, 2));
        vm.prank(patient.id);
        ledger.publishKeys(patient.id, 0, 0, 2, 0, LATER, "");
    }

    function test_publishKeys_RevertWhen_rotatedThereAndBack() public {
        bytes memory signature =
            _sign(patient.key, Digests.keyBundle(patient.id, 0, 0, 0, 0, 0, LATER));
        _rotateDirect(patient, other);
        _rotate(patient.id, other, patient);
        _expectInvalid(patient.id, Digests.keyBundle(patient.id, 2, 0, 0, 0, 0, LATER));
        ledger.publishKeys(patient.id, 0, 0, 0, 0, LATER, signature);
    }

    function test_setStatus_RevertWhen_notConsortium() public {
        vm.expectRevert(abi.encodeWithSelector(IRegistrar.NotConsortium.selector, org[0].id));
        vm.prank(org[0].id);
        ledger.setStatus(org[0].id, Status.Active);
    }

    // ---------------------------------------------------------------- guardians

    function _commitment() private view returns (bytes32) {
        return keccak256(abi.encode(_set.guardians, _set.threshold, _set.finalThreshold, _set.salt));
    }

    function _nonce() private view returns (uint32 nonce) {
        (,, nonce,) = ledger.guardianship(patient.id);
    }

    function _guard() private {
        uint32 nonce = _nonce();
        bytes32 commitment = _commitment();
        vm.prank(patient.id);
        ledger.setGuardians(patient.id, commitment, DELAY, nonce, FAR, "");
    }

    function _recoveryHash(Person memory guardian, bool isFinal) private view returns (bytes32) {
        return Digests.recovery(
            patient.id, guardian.id, _rotations(guardian.id), other.id, isFinal, _nonce(), FAR
        );
    }

    /// @dev Signatures of the first `count` guardians.
    function _quorum(uint256 count, bool isFinal) private view returns (bytes[] memory list) {
        list = new bytes[](3);
        for (uint256 i; i < count; ++i) {
            list[i] = _sign(owner[i].key, _recoveryHash(owner[i], isFinal));
        }
    }

    function start(bool isFinal, uint256 count) external {
        ledger.startRecovery(patient.id, other.id, isFinal, FAR, _set, _quorum(count, isFinal));
    }

    function _cancel() private {
        uint32 nonce = _nonce();
        vm.prank(patient.id);
        ledger.cancelPending(patient.id, nonce, FAR, "");
    }

    function _kind() private view returns (PendingKind kind) {
        (kind,,,,) = ledger.pending(patient.id);
    }

    function test_setGuardians_everyWay() public {
        for (uint256 i; i <= uint256(Way.Wallet); ++i) {
            uint256 snapshot = vm.snapshotState();
            Person memory who = _actor(patient, Way(i));
            bytes32 hash = Digests.guardianChange(who.id, 0, keccak256("g"), DELAY, 0, LATER);
            bytes memory signature = _by(who, Way(i), hash);
            vm.expectEmit(address(ledger));
            emit IRecovery.GuardiansChanged(who.id, keccak256("g"), DELAY, 1);
            ledger.setGuardians(who.id, keccak256("g"), DELAY, 0, LATER, signature);
            (bytes32 commitment, uint32 delay, uint32 nonce, uint48 cancelled) =
                ledger.guardianship(who.id);
            assertEq(commitment, keccak256("g"), "commitment");
            assertEq(delay, DELAY, "delay");
            assertEq(nonce, 1, "nonce");
            assertEq(cancelled, 0, "cancelled");
            vm.revertToState(snapshot);
        }
    }

    function test_setGuardians_RevertWhen_delayOutOfRange() public {
        uint32[3] memory delays = [uint32(0), 3 days - 1, 21 days + 1];
        for (uint256 i; i < 3; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IRecovery.DelayOutOfRange.selector, delays[i]));
            vm.prank(patient.id);
            ledger.setGuardians(patient.id, keccak256("g"), delays[i], 0, LATER, "");
        }
        vm.expectRevert(abi.encodeWithSelector(IRecovery.DelayOutOfRange.selector, DELAY));
        vm.prank(patient.id);
        ledger.setGuardians(patient.id, 0, DELAY, 0, LATER, "");
    }

    function test_setGuardians_RevertWhen_nonceStale() public {
        _guard();
        vm.expectRevert(abi.encodeWithSelector(IRecovery.GuardianNonceStale.selector, 0, 1));
        vm.prank(patient.id);
        ledger.setGuardians(patient.id, keccak256("g"), DELAY, 0, FAR, "");
    }

    function test_setGuardians_RevertWhen_rotatedThereAndBack() public {
        bytes memory signature = _sign(
            patient.key, Digests.guardianChange(patient.id, 0, keccak256("g"), DELAY, 0, FAR)
        );
        _rotateDirect(patient, other);
        _rotate(patient.id, other, patient);
        _expectInvalid(
            patient.id, Digests.guardianChange(patient.id, 2, keccak256("g"), DELAY, 0, FAR)
        );
        ledger.setGuardians(patient.id, keccak256("g"), DELAY, 0, FAR, signature);
    }

    function test_setGuardians_waitsOnceThereAreSome() public {
        _guard();
        vm.prank(patient.id);
        ledger.setGuardians(patient.id, 0, 0, 1, FAR, "");
        (bytes32 commitment,,,) = ledger.guardianship(patient.id);
        assertEq(commitment, _commitment(), "not yet");
        vm.expectRevert(abi.encodeWithSelector(IRecovery.NotReady.selector, START + DELAY));
        ledger.finishPending(patient.id);
        vm.warp(START + DELAY);
        vm.expectEmit(address(ledger));
        emit IRecovery.PendingFinished(patient.id, PendingKind.GuardianChange, 3);
        vm.expectEmit(address(ledger));
        emit IRecovery.GuardiansChanged(patient.id, 0, 0, 4);
        ledger.finishPending(patient.id);
    }

    function test_rotate_waitsWithGuardians() public {
        _guard();
        bytes32 hash = Digests.rotation(patient.id, other.id, 0, 1, FAR);
        bytes memory signature = _sign(patient.key, hash);
        bytes memory acceptance = _sign(other.key, hash);
        vm.expectEmit(address(ledger));
        emit IRecovery.PendingStarted(
            patient.id, PendingKind.Rotation, other.id, 0, 0, START + DELAY, 2
        );
        ledger.rotate(patient.id, other.id, 0, FAR, signature, acceptance);
        (address controller,,) = ledger.participant(patient.id);
        assertEq(controller, patient.id, "not yet");
        // Cancelled, it cannot be started again by the same signatures.
        _cancel();
        _expectInvalid(patient.id, Digests.rotation(patient.id, other.id, 0, 3, FAR));
        ledger.rotate(patient.id, other.id, 0, FAR, signature, acceptance);
        hash = Digests.rotation(patient.id, other.id, 0, 3, FAR);
        ledger.rotate(
            patient.id, other.id, 0, FAR, _sign(patient.key, hash), _sign(other.key, hash)
        );
        vm.warp(START + DELAY);
        ledger.finishPending(patient.id);
        (controller,,) = ledger.participant(patient.id);
        assertEq(controller, other.id, "handed over");
    }

    // ---------------------------------------------------------------- recovery

    function test_startRecovery_handsOverAfterTheDelay() public {
        _guard();
        vm.expectEmit(address(ledger));
        emit IRecovery.PendingStarted(
            patient.id, PendingKind.Recovery, other.id, 0, 0, START + DELAY, 2
        );
        this.start(false, 2);
        vm.warp(START + DELAY - 1);
        vm.expectRevert(abi.encodeWithSelector(IRecovery.NotReady.selector, START + DELAY));
        ledger.finishPending(patient.id);
        vm.warp(START + DELAY);
        vm.expectEmit(address(ledger));
        emit IRecovery.PendingFinished(patient.id, PendingKind.Recovery, 3);
        ledger.finishPending(patient.id);
        (address controller,, uint32 rotations) = ledger.participant(patient.id);
        assertEq(controller, other.id, "controller");
        assertEq(rotations, 1, "rotations");
        vm.expectRevert(abi.encodeWithSelector(IRecovery.NothingPending.selector, patient.id));
        ledger.finishPending(patient.id);
    }

    function test_startRecovery_takesWalletAndSendingGuardian() public {
        address[] memory g = new address[](2);
        (g[0], g[1]) = wallet.id < owner[0].id ? (wallet.id, owner[0].id) : (owner[0].id, wallet.id);
        _set = GuardianSet({guardians: g, threshold: 2, finalThreshold: 2, salt: 0});
        _guard();
        bytes[] memory signatures = new bytes[](2);
        bytes memory byWallet = _signWallet(_recoveryHash(wallet, false));
        signatures[g[0] == wallet.id ? 0 : 1] = byWallet;
        vm.prank(owner[0].id);
        ledger.startRecovery(patient.id, other.id, false, FAR, _set, signatures);
    }

    function test_startRecovery_RevertWhen_guardiansNotSet() public {
        vm.expectRevert(abi.encodeWithSelector(IRecovery.GuardiansNotSet.selector, patient.id));
        ledger.startRecovery(patient.id, other.id, false, FAR, _set, new bytes[](3));
    }

    function test_startRecovery_RevertWhen_controllerIsZero() public {
        vm.expectRevert(IRegistrar.ControllerIsZero.selector);
        ledger.startRecovery(patient.id, address(0), false, FAR, _set, new bytes[](3));
    }

    function test_startRecovery_RevertWhen_guardiansMismatch() public {
        _guard();
        bytes32 expected = _commitment();
        _set.threshold = 1;
        vm.expectRevert(
            abi.encodeWithSelector(IRecovery.GuardiansMismatch.selector, expected, _commitment())
        );
        ledger.startRecovery(patient.id, other.id, false, FAR, _set, new bytes[](3));
    }

    function test_startRecovery_RevertWhen_guardiansUnsortedOrDoubled() public {
        for (uint256 i; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            _set.guardians[1] = i == 0 ? owner[0].id : address(1);
            _guard();
            vm.expectRevert(
                abi.encodeWithSelector(
                    IRecovery.GuardiansUnsorted.selector, _set.guardians[0], _set.guardians[1]
                )
            );
            ledger.startRecovery(patient.id, other.id, false, FAR, _set, new bytes[](3));
            vm.revertToState(snapshot);
        }
    }

    function test_startRecovery_RevertWhen_miscounted() public {
        _guard();
        vm.expectRevert(
            abi.encodeWithSelector(IRecovery.GuardianSignaturesMiscounted.selector, 2, 3)
        );
        ledger.startRecovery(patient.id, other.id, false, FAR, _set, new bytes[](2));
    }

    function test_startRecovery_RevertWhen_guardiansMissing() public {
        _guard();
        vm.expectRevert(abi.encodeWithSelector(IRecovery.GuardiansMissing.selector, 1, 2));
        this.start(false, 1);
        vm.expectRevert(abi.encodeWithSelector(IRecovery.GuardiansMissing.selector, 2, 3));
        this.start(true, 2);
    }

    function test_startRecovery_RevertWhen_thresholdIsZero() public {
        _set.threshold = 0;
        _guard();
        vm.expectRevert(abi.encodeWithSelector(IRecovery.GuardiansMissing.selector, 0, 0));
        this.start(false, 0);
    }

    function test_startRecovery_RevertWhen_signedForTheOtherQuorum() public {
        _guard();
        bytes[] memory signatures = _quorum(3, false);
        _expectInvalid(owner[0].id, _recoveryHash(owner[0], true));
        ledger.startRecovery(patient.id, other.id, true, FAR, _set, signatures);
    }

    /// One key behind two guardians signs twice or counts once.
    function test_startRecovery_RevertWhen_oneSignatureForTwoGuardians() public {
        _guard();
        _rotateDirect(owner[1], owner[0]);
        bytes[] memory signatures = _quorum(1, false);
        signatures[1] = signatures[0];
        _expectInvalid(owner[0].id, _recoveryHash(owner[1], false));
        ledger.startRecovery(patient.id, other.id, false, FAR, _set, signatures);
    }

    function test_startRecovery_RevertWhen_replayedAfterCancel() public {
        _guard();
        bytes[] memory signatures = _quorum(2, false);
        ledger.startRecovery(patient.id, other.id, false, FAR, _set, signatures);
        _cancel();
        _expectInvalid(owner[0].id, _recoveryHash(owner[0], false));
        ledger.startRecovery(patient.id, other.id, false, FAR, _set, signatures);
    }

    function test_startRecovery_RevertWhen_guardianRotatedThereAndBack() public {
        _guard();
        bytes[] memory signatures = _quorum(2, false);
        _rotateDirect(owner[0], grantee);
        _rotate(owner[0].id, grantee, owner[0]);
        _expectInvalid(owner[0].id, _recoveryHash(owner[0], false));
        ledger.startRecovery(patient.id, other.id, false, FAR, _set, signatures);
    }

    // ---------------------------------------------------------------- cancelling

    function test_cancelPending_everyWay() public {
        for (uint256 i; i < uint256(Way.Wallet); ++i) {
            uint256 snapshot = vm.snapshotState();
            _guard();
            this.start(false, 2);
            bytes memory signature =
                _by(patient, Way(i), Digests.cancellation(patient.id, 0, 2, FAR));
            vm.expectEmit(address(ledger));
            emit IRecovery.PendingCancelled(patient.id, PendingKind.Recovery, 3);
            ledger.cancelPending(patient.id, 2, FAR, signature);
            assertEq(uint256(_kind()), 0, "nothing waits");
            vm.revertToState(snapshot);
        }
    }

    /// A thief of the controller's key cancels once; the guardians come through the second time.
    function test_cancelPending_onceIn30Days() public {
        _guard();
        this.start(false, 2);
        _cancel();
        vm.warp(START + 29 days);
        this.start(false, 2);
        uint32 nonce = _nonce();
        vm.expectRevert(abi.encodeWithSelector(IRecovery.CancelledRecently.selector, START));
        vm.prank(patient.id);
        ledger.cancelPending(patient.id, nonce, FAR, "");
        vm.warp(START + 30 days);
        _cancel();
        this.start(false, 2);
        vm.warp(START + 30 days + DELAY);
        ledger.finishPending(patient.id);
        (address controller,,) = ledger.participant(patient.id);
        assertEq(controller, other.id, "recovered");
    }

    function test_cancelPending_RevertWhen_final() public {
        _guard();
        this.start(true, 3);
        uint32 nonce = _nonce();
        vm.expectRevert(IRecovery.NotCancellable.selector);
        vm.prank(patient.id);
        ledger.cancelPending(patient.id, nonce, FAR, "");
    }

    function test_cancelPending_RevertWhen_nothingPending() public {
        vm.expectRevert(abi.encodeWithSelector(IRecovery.NothingPending.selector, patient.id));
        vm.prank(patient.id);
        ledger.cancelPending(patient.id, 0, FAR, "");
    }

    function test_cancelPending_RevertWhen_nonceStale() public {
        _guard();
        this.start(false, 2);
        vm.expectRevert(abi.encodeWithSelector(IRecovery.GuardianNonceStale.selector, 1, 2));
        vm.prank(patient.id);
        ledger.cancelPending(patient.id, 1, FAR, "");
    }

    function test_setGuardians_RevertWhen_recoveryPending() public {
        _guard();
        this.start(false, 2);
        vm.expectRevert(
            abi.encodeWithSelector(IRecovery.RecoveryPending.selector, PendingKind.Recovery)
        );
        vm.prank(patient.id);
        ledger.setGuardians(patient.id, 0, 0, 2, FAR, "");
    }

    function test_startRecovery_replacesWhatTheControllerAskedFor() public {
        _guard();
        vm.prank(patient.id);
        ledger.setGuardians(patient.id, 0, 0, 1, FAR, "");
        this.start(false, 2);
        assertEq(uint256(_kind()), uint256(PendingKind.Recovery), "replaced");
        this.start(true, 3);
        assertEq(uint256(_kind()), uint256(PendingKind.FinalRecovery), "final");
        vm.expectRevert(
            abi.encodeWithSelector(IRecovery.RecoveryPending.selector, PendingKind.FinalRecovery)
        );
        this.start(false, 2);
    }

    function _expectInvalid(address controller, bytes32 structHash) private {
        vm.expectRevert(
            abi.encodeWithSelector(
                ISignatures.SignatureInvalid.selector, controller, _digest(structHash)
            )
        );
    }
}
