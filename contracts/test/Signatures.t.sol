// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {HealthLedger} from "../src/HealthLedger.sol";
import {ISignatures} from "../src/ISignatures.sol";
import {Signatures} from "../src/Signatures.sol";
import {Base} from "./Base.sol";
import {Digests} from "./Digests.sol";
import {OddWallet} from "./Wallets.sol";

/// @notice The check itself, beside a plain version of it.
contract SignaturesHarness is Signatures {
    function check(address controller, bytes32 digest, bytes calldata signature) external view {
        _requireSigned(controller, digest, signature);
    }

    /// @dev What the assembly of `_isValidErc1271` replaces: all that the wallet returns is copied.
    function plain(address controller, bytes32 digest, bytes calldata signature)
        external
        view
        returns (bool)
    {
        if (controller.code.length == 0) return false;
        (bool success, bytes memory answer) = controller.staticcall{gas: 500_000}(
            abi.encodeWithSelector(0x1626ba7e, digest, signature)
        );
        return success && answer.length >= 32 && bytes32(answer) == bytes32(bytes4(0x1626ba7e));
    }

    function _domainNameAndVersion()
        internal
        pure
        override
        returns (string memory name, string memory version)
    {
        return ("Galen", "1");
    }
}

contract SignaturesTest is Base {
    SignaturesHarness private _harness;
    bytes32 private constant DIGEST = keccak256("digest");

    function setUp() public override {
        super.setUp();
        _harness = new SignaturesHarness();
    }

    // Through the ledger: a withdrawal is the smallest call with a signature.

    function _withdrawal() private view returns (bytes32) {
        return Digests.withdrawal(patient.id, org[0].id, 0, keccak256("p"), LATER);
    }

    function _withdraw(bytes memory signature) private {
        ledger.withdraw(patient.id, org[0].id, keccak256("p"), LATER, signature);
    }

    function _expectInvalid() private {
        vm.expectRevert(
            abi.encodeWithSelector(
                ISignatures.SignatureInvalid.selector, org[0].id, _digest(_withdrawal())
            )
        );
    }

    function test_withdraw_takesBothForms() public {
        _withdraw(_sign(org[0].key, _withdrawal()));
        _withdraw(_signCompact(org[0].key, _withdrawal()));
    }

    function test_withdraw_RevertWhen_highS() public {
        bytes memory high = _signHigh(org[0].key, _withdrawal());
        (, bytes32 s,) = this.split(high);
        vm.expectRevert(abi.encodeWithSelector(ISignatures.SignatureHighS.selector, s));
        _withdraw(high);
    }

    function test_withdraw_RevertWhen_highSOfShortForm() public {
        // The twin's s needs the parity bit in its place: possible only while s < 2^255.
        bytes memory low = _sign(org[0].key, _withdrawal());
        (bytes32 r, bytes32 s, uint8 v) = this.split(low);
        bytes32 twin = bytes32(ORDER - uint256(s));
        if (uint256(twin) >> 255 != 0) {
            // The short form cannot carry it: read without its highest bit it is another value.
            _expectInvalid();
        } else {
            vm.expectRevert(abi.encodeWithSelector(ISignatures.SignatureHighS.selector, twin));
        }
        _withdraw(abi.encodePacked(r, uint256(twin) | uint256(28 - v) << 255));
    }

    function split(bytes calldata signature) external pure returns (bytes32, bytes32, uint8) {
        return (bytes32(signature), bytes32(signature[32:]), uint8(signature[64]));
    }

    function test_withdraw_RevertWhen_notController() public {
        vm.expectRevert(
            abi.encodeWithSelector(ISignatures.NotController.selector, org[0].id, other.id)
        );
        vm.prank(other.id);
        _withdraw("");
    }

    function test_withdraw_RevertWhen_anotherSigned() public {
        bytes memory signature = _sign(other.key, _withdrawal());
        _expectInvalid();
        _withdraw(signature);
    }

    function test_withdraw_RevertWhen_wrongLength() public {
        bytes memory signature = bytes.concat(_sign(org[0].key, _withdrawal()), hex"00");
        _expectInvalid();
        _withdraw(signature);
        _expectInvalid();
        _withdraw(hex"01");
    }

    function test_withdraw_RevertWhen_wrongChain() public {
        bytes memory signature = _sign(org[0].key, _withdrawal());
        vm.chainId(99);
        _expectInvalid();
        _withdraw(signature);
        // Made for the new chain it holds: the domain follows the chain.
        _withdraw(_sign(org[0].key, _withdrawal()));
    }

    function test_withdraw_RevertWhen_wrongContract() public {
        bytes memory signature = _sign(org[0].key, _withdrawal());
        ledger = new HealthLedger(_founders());
        _expectInvalid();
        _withdraw(signature);
    }

    function test_withdraw_RevertWhen_expired() public {
        bytes memory signature = _sign(org[0].key, _withdrawal());
        vm.warp(LATER);
        _withdraw(signature);
        vm.warp(LATER + 1);
        vm.expectRevert(abi.encodeWithSelector(ISignatures.DeadlinePassed.selector, LATER));
        _withdraw(signature);
    }

    function test_withdraw_takesCodeAccount() public {
        // An account with delegated code (EIP-7702) keeps its key.
        vm.etch(org[0].id, abi.encodePacked(hex"ef0100", wallet.id));
        _withdraw(_sign(org[0].key, _withdrawal()));
    }

    // The check itself.

    function test_check_oddWallets() public {
        for (uint256 kind; kind <= uint256(OddWallet.Kind.Long); ++kind) {
            address odd = address(new OddWallet(OddWallet.Kind(kind)));
            // 65 bytes that recover to somebody, so that an answer of the precompile stands around.
            bytes memory signature = _sign(other.key, DIGEST);
            bool valid = kind == uint256(OddWallet.Kind.Yes) || kind == uint256(OddWallet.Kind.Long);
            assertEq(_harness.plain(odd, DIGEST, signature), valid, "plain version");
            if (!valid) {
                vm.expectRevert(
                    abi.encodeWithSelector(ISignatures.SignatureInvalid.selector, odd, DIGEST)
                );
            }
            _harness.check(odd, DIGEST, signature);
        }
    }

    /// A wallet that returns as much as its gas buys costs the caller no more than its cap.
    function test_check_boundsTheAnswer() public {
        address bomb = address(new OddWallet(OddWallet.Kind.Bomb));
        uint256 before = gasleft();
        _harness.plain(bomb, DIGEST, hex"01");
        uint256 plain = before - gasleft();
        before = gasleft();
        try _harness.check(bomb, DIGEST, hex"01") {
            revert("the bomb is no signature");
        } catch {}
        uint256 bounded = before - gasleft();
        emit log_named_uint("plain", plain);
        emit log_named_uint("bounded", bounded);
        assertLt(bounded, 520_000, "the wallet's gas and little more");
        assertGt(plain, 700_000, "what the plain version pays");
    }

    function test_check_RevertWhen_zero() public {
        // What is no signature recovers to zero; nobody controls zero.
        bytes memory nothing = new bytes(65);
        vm.expectRevert(
            abi.encodeWithSelector(ISignatures.SignatureInvalid.selector, address(0), DIGEST)
        );
        _harness.check(address(0), DIGEST, nothing);
    }

    function test_check_RevertWhen_walletOwnersDoubledOrUnsorted() public {
        bytes memory a = _sign(owner[0].key, _withdrawal());
        bytes memory b = _sign(owner[1].key, _withdrawal());
        bytes32 digest = _digest(_withdrawal());
        _harness.check(wallet.id, digest, bytes.concat(a, b));
        bytes[3] memory wrong = [bytes.concat(a, a), bytes.concat(b, a), a];
        for (uint256 i; i < 3; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(ISignatures.SignatureInvalid.selector, wallet.id, digest)
            );
            _harness.check(wallet.id, digest, wrong[i]);
        }
    }

    function testFuzz_check_onlyTheKeysAccount(uint256 key, bytes32 digest, address claimed)
        public
    {
        key = bound(key, 1, ORDER - 1);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        bytes memory long = abi.encodePacked(r, s, v);
        _harness.check(vm.addr(key), digest, long);
        _harness.check(
            vm.addr(key), digest, abi.encodePacked(r, uint256(s) | uint256(v - 27) << 255)
        );
        if (claimed == vm.addr(key) || claimed.code.length != 0) return;
        vm.expectRevert(
            abi.encodeWithSelector(ISignatures.SignatureInvalid.selector, claimed, digest)
        );
        _harness.check(claimed, digest, long);
    }
}
