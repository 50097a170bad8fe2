// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {Vm} from "forge-std/Vm.sol";
import {Access, Answer, Leaf, Proposal, Reseal} from "../src/Types.sol";
import {Base} from "./Base.sol";
import {Change, Digests} from "./Digests.sol";

/// @notice Whole transactions in steady state against the budget of the design: 21,000, calldata and
/// execution. Slots are written once before, and cooled, so that each call finds them cold and non-zero.
contract GasTest is Base {
    function setUp() public override {
        super.setUp();
        // The patient has settled, changed consents and been read before: no slot is new.
        Leaf[] memory leaves = _leaves(1);
        Proposal memory p = _proposal(leaves, 0);
        _settle(p, _answer(1, 0));
        _setConsents(_one(Digests.consentLeaf(_terms())));
        _logOne(_terms(), new bytes32[](0));
    }

    function test_gas_propose() public {
        uint256 one = _propose(1, false);
        uint256 two = _propose(2, false);
        uint256 many = _propose(256, false);
        _within(39_000, "propose 1, 64 bytes", _propose(1, true));
        _within(39_200, "propose 1, 65 bytes", one);
        _within(4300, "propose next", two - one);
        _within(4300, "propose next of 256", (many - one) / 255);
    }

    function test_gas_settle() public {
        _within(46_500, "settle 65", _settleGas(patient.id, patient.key, 1, false));
        _within(46_500, "settle 64", _settleGas(patient.id, patient.key, 1, true));
        _within(46_700, "settle 256 64", _settleGas(patient.id, patient.key, 256, true));
        _within(64_000, "settle first 65", _settleGas(other.id, other.key, 1, false));
    }

    function test_gas_settleFirstCompact() public {
        _within(64_000, "settle first 64", _settleGas(other.id, other.key, 1, true));
    }

    function test_gas_changeConsents() public {
        uint256 one = _change(1, false);
        _within(38_500, "consents 65", one);
        _within(800, "consents next", _change(2, false) - one);
        _within(1300, "consents next of 100", (_change(100, false) - one) / 99);
        _within(38_500, "consents 64", _change(1, true));
    }

    function test_gas_logAccess() public {
        bytes32[] memory leaves = new bytes32[](8);
        for (uint256 i; i < 7; ++i) {
            leaves[i] = keccak256(abi.encode(i));
        }
        leaves[7] = Digests.consentLeaf(_terms());
        _setConsents(leaves);
        Access memory access = _access(_terms(), Digests.proof(leaves, 7));
        _within(
            39_500,
            "access",
            _measure(
                grantee.id,
                abi.encodeCall(
                    ledger.logAccess,
                    (
                        access.records[0],
                        patient.id,
                        access.terms,
                        access.segments,
                        access.salt,
                        access.proof
                    )
                )
            )
        );
        bytes32 digest =
            Digests.access(patient.id, grantee.id, 0, 1, leaves[7], access.records, LATER);
        _within(
            48_000,
            "access by sig 64",
            _measure(
                relayer,
                abi.encodeCall(
                    ledger.logAccessBySig, (access, LATER, _signCompact(grantee.key, digest))
                )
            )
        );
        access.records = new uint256[](2);
        access.records[0] = _recordWord(org[0].id, 3, 1);
        access.records[1] = _recordWord(org[0].id, 3, 2);
        _within(
            47_000,
            "access of 2",
            _measure(grantee.id, abi.encodeCall(ledger.logAccessBySig, (access, LATER, "")))
        );
    }

    function test_gas_reseal() public {
        _within(37_500, "reseal patient 65", _reseal(false, false));
        _within(37_500, "reseal patient 64", _reseal(false, true));
        _within(40_000, "reseal author 65", _reseal(true, false));
    }

    function test_gas_anchorBulk() public {
        _within(
            27_200,
            "bulk",
            _measure(
                org[0].id,
                abi.encodeCall(ledger.anchorBulk, (keccak256("root"), 4000, keccak256("manifest")))
            )
        );
    }

    function _reseal(bool byAuthor, bool compact) private returns (uint256) {
        Reseal[] memory items = _reseals(keccak256("b"), keccak256("a"));
        Person memory by = byAuthor ? org[0] : patient;
        bytes32 digest = Digests.reseal(patient.id, org[0].id, by.id, 0, items, LATER);
        return _measure(
            relayer,
            abi.encodeCall(
                ledger.reseal,
                (
                    patient.id,
                    org[0].id,
                    _header(0, 0, 3, 1) | uint256(byAuthor ? 1 : 0) << 88 | uint256(LATER) << 96,
                    items[0].content,
                    items[0].previous,
                    compact ? _signCompact(by.key, digest) : _sign(by.key, digest)
                )
            )
        );
    }

    function _change(uint256 count, bool compact) private returns (uint256) {
        bytes32[] memory granted = new bytes32[](count);
        for (uint256 i; i < count; ++i) {
            granted[i] = keccak256(abi.encode(i));
        }
        Change memory c = _change(keccak256(abi.encode(count)), new bytes32[](0), granted);
        bytes32 digest = Digests.consentChange(c);
        return _measure(
            relayer,
            abi.encodeCall(
                ledger.changeConsents,
                (_pack(c), compact ? _signCompact(patient.key, digest) : _sign(patient.key, digest))
            )
        );
    }

    function _propose(uint256 count, bool compact) private returns (uint256) {
        Leaf[] memory leaves = _leaves(count);
        bytes32 id = _id(_proposal(leaves, 0));
        return _measure(
            relayer,
            abi.encodeCall(
                ledger.propose,
                (
                    patient.id,
                    org[0].id,
                    0,
                    LATER,
                    leaves,
                    compact ? _signCompact(org[0].key, id) : _sign(org[0].key, id)
                )
            )
        );
    }

    function _settleGas(address who, uint256 key, uint256 count, bool compact)
        private
        returns (uint256)
    {
        Proposal memory p = _proposal(_leaves(count), 0);
        p.patient = who;
        bytes32 id = _id(p);
        Answer memory a = _answer(count == 1 ? 1 : type(uint256).max, 0);
        (a.sequence,,) = ledger.chart(who);
        bytes32 s = Digests.settlement(who, who, 0, id, a);
        return _measure(
            relayer,
            abi.encodeCall(
                ledger.settle,
                (
                    p,
                    compact ? _signCompact(org[0].key, id) : _sign(org[0].key, id),
                    a,
                    compact ? _signCompact(key, s) : _sign(key, s)
                )
            )
        );
    }

    function _within(uint256 budget, string memory name, uint256 gas) private {
        emit log_named_uint(name, gas);
        assertLe(gas, budget, name);
    }

    /// @dev The gas that a transaction with this calldata uses, by a call into cold storage.
    function _measure(address from, bytes memory data) private returns (uint256 gas) {
        uint256 nonZero;
        for (uint256 i; i < data.length; ++i) {
            if (data[i] != 0) ++nonZero;
        }
        uint256 zero = data.length - nonZero;
        vm.cool(address(ledger));
        vm.prank(from, from);
        (bool ok, bytes memory answer) = address(ledger).call(data);
        if (!ok) {
            assembly {
                revert(add(answer, 32), mload(answer))
            }
        }
        gas = uint256(vm.lastCallGas().gasTotalUsed);
        uint256 intrinsic = 21_000 + 16 * nonZero + 4 * zero;
        uint256 floor = 21_000 + 10 * (zero + 4 * nonZero);
        gas += intrinsic;
        if (gas < floor) gas = floor;
    }
}
