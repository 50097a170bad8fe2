// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {ISignatures} from "../src/ISignatures.sol";
import {Element} from "../src/Types.sol";
import {Base} from "./Base.sol";
import {Digests} from "./Digests.sol";

/// @notice Documents signed by parts.
contract AttestationsTest is Base {
    /// @dev A tree of four elements: their leaves, one proof, and the root.
    function _tree(uint256 seed, uint256 index)
        private
        pure
        returns (Element memory shown, bytes32[] memory proof, bytes32 root)
    {
        bytes32[4] memory leaves;
        for (uint256 i; i < 4; ++i) {
            Element memory e = _element(seed, i);
            if (i == index) shown = e;
            leaves[i] = Digests.element(e);
        }
        proof = new bytes32[](2);
        proof[0] = leaves[index ^ 1];
        proof[1] =
            index < 2 ? Digests.pair(leaves[2], leaves[3]) : Digests.pair(leaves[0], leaves[1]);
        root = Digests.pair(Digests.pair(leaves[0], leaves[1]), Digests.pair(leaves[2], leaves[3]));
    }

    function _element(uint256 seed, uint256 i) private pure returns (Element memory) {
        return Element({
            salt: keccak256(abi.encode("salt", seed, i)),
            label: uint64(uint256(keccak256(abi.encode("label", seed, i)))),
            parent: uint64(i),
            content: keccak256(abi.encode("content", seed, i))
        });
    }

    function _refuses(
        address author,
        uint48 issued,
        bytes memory signature,
        Element memory shown,
        bytes32[] memory proof
    ) private view {
        try ledger.requireElement(author, issued, signature, shown, proof) {
            revert("accepted");
        } catch (bytes memory reason) {
            bytes4 selector = bytes4(reason);
            assertTrue(
                selector == ISignatures.SignatureInvalid.selector
                    || selector == ISignatures.SignatureHighS.selector
            );
        }
    }

    function testFuzz_requireElement_ofEachWayToSign(
        uint256 seed,
        uint8 index,
        uint8 way,
        uint48 issued
    ) public view {
        (Element memory shown, bytes32[] memory proof, bytes32 root) = _tree(seed, index % 4);
        Person memory author = way % 3 == 2 ? wallet : other;
        bytes32 digest = Digests.attestation(author.id, 0, root, issued);
        bytes memory signature = way % 3 == 0
            ? _sign(author.key, digest)
            : way % 3 == 1 ? _signCompact(author.key, digest) : _signWallet(digest);
        ledger.requireElement(author.id, issued, signature, shown, proof);
    }

    function testFuzz_requireElement_nothingElse(uint256 seed, uint8 index, uint8 what, uint256 bit)
        public
        view
    {
        (Element memory shown, bytes32[] memory proof, bytes32 root) = _tree(seed, index % 4);
        bytes memory signature = _sign(other.key, Digests.attestation(other.id, 0, root, START));
        address author = other.id;
        uint48 issued = START;
        uint256 change = what % 8;
        if (change == 0) shown.salt ^= bytes32(1 << (bit % 256));
        if (change == 1) shown.label ^= uint64(1 << (bit % 64));
        if (change == 2) shown.parent ^= uint64(1 << (bit % 64));
        if (change == 3) shown.content ^= bytes32(1 << (bit % 256));
        if (change == 4) proof[bit % 2] ^= bytes32(1 << (bit % 256));
        if (change == 5) issued ^= uint48(1 << (bit % 48));
        if (change == 6) author = org[0].id;
        if (change == 7) {
            (uint256 i, uint8 mask) = (bit % 65, uint8(1 << (bit % 8)));
            signature[i] = signature[i] ^ bytes1(mask);
        }
        _refuses(author, issued, signature, shown, proof);
    }

    function test_requireElement_notByAnInnerNode() public view {
        (Element memory shown, bytes32[] memory proof, bytes32 root) = _tree(1, 0);
        bytes memory signature = _sign(other.key, Digests.attestation(other.id, 0, root, START));
        ledger.requireElement(other.id, START, signature, shown, proof);
        bytes32[] memory shorter = new bytes32[](1);
        shorter[0] = proof[1];
        _refuses(other.id, START, signature, shown, shorter);
    }

    function test_requireElement_byTheKeyOfNow() public {
        (Element memory shown, bytes32[] memory proof, bytes32 root) = _tree(2, 3);
        bytes memory before = _sign(other.key, Digests.attestation(other.id, 0, root, START));
        _rotateDirect(other, grantee);
        _refuses(other.id, START, before, shown, proof);
        bytes memory afterwards = _sign(grantee.key, Digests.attestation(other.id, 1, root, START));
        ledger.requireElement(other.id, START, afterwards, shown, proof);
    }

    function test_requireElement_refusesHighSAndNothing() public {
        (Element memory shown, bytes32[] memory proof, bytes32 root) = _tree(3, 1);
        bytes memory high = _signHigh(other.key, Digests.attestation(other.id, 0, root, START));
        _refuses(other.id, START, high, shown, proof);
        _refuses(other.id, START, "", shown, proof);
        vm.startPrank(other.id);
        _refuses(other.id, START, "", shown, proof);
        vm.stopPrank();
        _refuses(address(0), START, high, shown, proof);
        _refuses(address(0), START, "", shown, proof);
    }
}
