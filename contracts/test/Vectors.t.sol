// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {Test} from "forge-std/Test.sol";
import {Motion} from "../src/IConsortium.sol";
import {Answer, BulkLeaf, Leaf, Proposal, Reseal} from "../src/Types.sol";
import {Change, Digests, Terms} from "./Digests.sol";

/// @notice The pinned files that Solidity and Rust both read, against the hashes with which all other
/// tests sign. The contract accepts those signatures, so the three agree.
contract VectorsTest is Test {
    string private _json;
    string private _at;
    uint256 private _seen;

    function _use(uint256 index, string memory name) private {
        string memory root = string.concat("[", vm.toString(index), "]");
        assertEq(vm.parseJsonString(_json, string.concat(root, ".name")), name, "order");
        _at = string.concat(root, ".message.");
        _seen = index;
    }

    function _check(bytes32 structHash) private {
        string memory root = string.concat("[", vm.toString(_seen), "]");
        vm.chainId(vm.parseJsonUint(_json, string.concat(root, ".domain.chainId")));
        bytes32 separator = Digests.domain(
            vm.parseJsonString(_json, string.concat(root, ".domain.name")),
            vm.parseJsonAddress(_json, string.concat(root, ".domain.verifyingContract"))
        );
        assertEq(structHash, vm.parseJsonBytes32(_json, string.concat(root, ".structHash")));
        assertEq(
            Digests.seal(separator, structHash),
            vm.parseJsonBytes32(_json, string.concat(root, ".digest"))
        );
    }

    function _a(string memory key) private view returns (address) {
        return vm.parseJsonAddress(_json, string.concat(_at, key));
    }

    function _u(string memory key) private view returns (uint256) {
        return vm.parseJsonUint(_json, string.concat(_at, key));
    }

    function _b(string memory key) private view returns (bytes32) {
        return vm.parseJsonBytes32(_json, string.concat(_at, key));
    }

    function _list(string memory key) private view returns (bytes32[] memory) {
        return vm.parseJsonBytes32Array(_json, string.concat(_at, key));
    }

    function _r() private view returns (uint32) {
        return uint32(_u("rotations"));
    }

    function _d() private view returns (uint48) {
        return uint48(_u("deadline"));
    }

    function _proposal(uint256 count) private view returns (bytes32) {
        Leaf[] memory leaves = new Leaf[](count);
        for (uint256 i; i < count; ++i) {
            string memory at_ = string.concat("leaves[", vm.toString(i), "].");
            leaves[i] = Leaf({
                header: _u(string.concat(at_, "store")) << 80 | _u(string.concat(at_, "kind")) << 72
                    | _u(string.concat(at_, "segment")) << 64 | _u(string.concat(at_, "number")),
                content: _b(string.concat(at_, "content")),
                commitment: _b(string.concat(at_, "commitment")),
                previous: _b(string.concat(at_, "previous"))
            });
        }
        return Digests.proposal(
            Proposal({
                patient: _a("patient"),
                author: _a("author"),
                count: uint16(_u("count")),
                deadline: _d(),
                policy: _b("policy"),
                leaves: Digests.leaves(leaves)
            }),
            _r()
        );
    }

    function _settlement() private view returns (bytes32) {
        return Digests.settlement(
            _a("patient"),
            _a("signer"),
            _r(),
            _b("proposal"),
            Answer({
                accepted: _u("accepted"),
                rejected: _u("rejected"),
                sequence: uint32(_u("sequence")),
                deadline: _d()
            })
        );
    }

    function _change() private view returns (bytes32) {
        return Digests.consentChange(
            Change({
                patient: _a("patient"),
                signer: _a("signer"),
                rotations: _r(),
                version: uint32(_u("version")),
                root: bytes28(vm.parseJsonBytes(_json, string.concat(_at, "root"))),
                revoked: _list("revoked"),
                granted: _list("granted"),
                deadline: _d()
            })
        );
    }

    function _reseal(uint256 count) private view returns (bytes32) {
        Reseal[] memory items = new Reseal[](count);
        for (uint256 i; i < count; ++i) {
            string memory at_ = string.concat("items[", vm.toString(i), "].");
            items[i] = Reseal({
                header: _u(string.concat(at_, "store")) << 80 | _u(string.concat(at_, "segment"))
                    << 64 | _u(string.concat(at_, "number")),
                content: _b(string.concat(at_, "content")),
                previous: _b(string.concat(at_, "previous"))
            });
        }
        return Digests.reseal(_a("patient"), _a("author"), _a("signer"), _r(), items, _d());
    }

    function test_digests_ofRecords() public {
        _json = vm.readFile("tests/vectors/eip712.json");
        _use(0, "proposal-one-leaf");
        _check(_proposal(1));
        _use(1, "proposal-three-leaves");
        _check(_proposal(3));
        _use(2, "settlement");
        _check(_settlement());
        _use(3, "settlement-by-delegate");
        _check(_settlement());
        _use(4, "withdrawal");
        _check(Digests.withdrawal(_a("patient"), _a("author"), _r(), _b("proposal"), _d()));
        _use(5, "cosignature");
        _check(Digests.cosignature(_a("cosigner"), _r(), _b("proposal"), _d()));
        _use(8, "reseal-one");
        _check(_reseal(1));
        _use(9, "reseal-two");
        _check(_reseal(2));
        _use(10, "bulk-anchor");
        _check(
            Digests.bulkAnchor(
                _a("author"),
                _r(),
                _b("root"),
                uint32(_u("count")),
                uint8(_u("store")),
                _b("manifest"),
                _d()
            )
        );
    }

    function test_digests_ofConsentsAndAccesses() public {
        _json = vm.readFile("tests/vectors/eip712.json");
        _use(6, "consent-change");
        _check(_change());
        _use(7, "consent-change-revoke-all");
        _check(_change());
        _use(11, "access");
        _check(
            Digests.access(
                _a("patient"),
                _a("grantee"),
                _r(),
                uint8(_u("purpose")),
                _b("consent"),
                vm.parseJsonUintArray(_json, string.concat(_at, "records")),
                _d()
            )
        );
        _use(12, "access-request");
        _check(
            Digests.accessRequest(
                _a("patient"),
                _a("organization"),
                _r(),
                uint32(_u("purposes")),
                uint8(_u("store")),
                _b("message"),
                _d()
            )
        );
    }

    function test_digests_ofControllersAndVotes() public {
        _json = vm.readFile("tests/vectors/eip712.json");
        _use(13, "rotation");
        _check(
            Digests.rotation(
                _a("id"), _a("controller"), uint32(_u("sequence")), uint32(_u("nonce")), _d()
            )
        );
        _use(14, "key-bundle");
        _check(
            Digests.keyBundle(
                _a("id"),
                _r(),
                _b("previous"),
                _b("bundle"),
                uint8(_u("store")),
                _b("content"),
                _d()
            )
        );
        _use(15, "guardian-change");
        _check(
            Digests.guardianChange(
                _a("id"), _r(), _b("commitment"), uint32(_u("delay")), uint32(_u("nonce")), _d()
            )
        );
        _use(16, "recovery");
        _check(
            Digests.recovery(
                _a("id"),
                _a("guardian"),
                uint32(_u("guardianRotations")),
                _a("controller"),
                vm.parseJsonBool(_json, string.concat(_at, "isFinal")),
                uint32(_u("nonce")),
                _d()
            )
        );
        _use(17, "cancellation");
        _check(Digests.cancellation(_a("id"), _r(), uint32(_u("nonce")), _d()));
        _use(18, "vote");
        _check(
            Digests.vote(
                Motion(_u("motion")),
                _a("organization"),
                uint32(_u("counter")),
                _a("voter"),
                _r(),
                _d()
            )
        );
        _use(21, "attestation");
        _check(Digests.attestation(_a("author"), _r(), _b("root"), uint48(_u("issued"))));
    }

    function test_leaves_ofConsentsAndDelegates() public {
        _json = vm.readFile("tests/vectors/leaves.json");
        for (uint256 i; i < 2; ++i) {
            _at = string.concat(".consents[", vm.toString(i), "].");
            Terms memory t = Terms({
                grantee: _a("grantee"),
                segments: _u("segments"),
                purposes: uint32(_u("purposes")),
                notBefore: uint48(_u("notBefore")),
                expiry: uint48(_u("expiry")),
                salt: _b("salt")
            });
            assertEq(Digests.consentLeaf(t), _b("leaf"), "consent");
            _at = string.concat(".delegates[", vm.toString(i), "].");
            assertEq(
                Digests.delegateLeaf(
                    _a("delegate"),
                    uint32(_u("powers")),
                    uint48(_u("notBefore")),
                    uint48(_u("expiry")),
                    _b("salt")
                ),
                _b("leaf"),
                "delegate"
            );
        }
    }

    function test_leaves_ofRecordsAndBulk() public {
        _json = vm.readFile("tests/vectors/leaves.json");
        for (uint256 i; i < 3; ++i) {
            _at = string.concat(".records[", vm.toString(i), "].");
            assertEq(
                Digests.record(
                    _a("patient"), _a("author"), uint8(_u("segment")), uint64(_u("number"))
                ),
                _b("record"),
                "record"
            );
        }
        for (uint256 i; i < 2; ++i) {
            _at = string.concat(".bulkLeaves[", vm.toString(i), "].");
            assertEq(
                Digests.bulkLeaf(
                    BulkLeaf({
                        patient: _a("patient"),
                        author: _a("author"),
                        header: _u("header"),
                        content: _b("content"),
                        commitment: _b("commitment")
                    })
                ),
                _b("leaf"),
                "bulk leaf"
            );
        }
    }

    function test_leaves_ofTrees() public {
        _json = vm.readFile("tests/vectors/leaves.json");
        for (uint256 i; i < 5; ++i) {
            _at = string.concat(".trees[", vm.toString(i), "].");
            bytes32[] memory leaves = _list("leaves");
            assertEq(Digests.rootOf(leaves), _b("root"), "root");
            for (uint256 j; j < leaves.length; ++j) {
                bytes32 node = leaves[j];
                bytes32[] memory proof = _list(string.concat("proofs[", vm.toString(j), "]"));
                for (uint256 l; l < proof.length; ++l) {
                    node = Digests.pair(node, proof[l]);
                }
                assertEq(node, _b("root"), "proof");
            }
        }
    }
}
