// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {Test} from "forge-std/Test.sol";
import {Consortium} from "../src/Consortium.sol";
import {HealthLedger} from "../src/HealthLedger.sol";
import {
    Access,
    Answer,
    ConsentChange,
    Delegation,
    Leaf,
    Policy,
    Proposal,
    Reseal,
    Status
} from "../src/Types.sol";
import {Change, Digests, Terms} from "./Digests.sol";
import {MultiSigWallet} from "./Wallets.sol";

/// @notice A ledger with three organizations, a patient and the people around them.
abstract contract Base is Test {
    struct Person {
        address id;
        uint256 key;
    }

    uint48 internal constant START = 1_800_000_000;
    uint48 internal constant LATER = START + 1 days;
    uint256 internal constant ORDER =
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;

    HealthLedger internal ledger;
    Consortium internal consortium;

    /// @dev Three founding organizations, ascending by address.
    Person[3] internal org;
    Person internal patient;
    Person internal grantee;
    Person internal other;
    address internal relayer = makeAddr("relayer");

    /// @dev A 2-of-3 wallet and its owners, ascending.
    Person internal wallet;
    Person[3] internal owner;

    function setUp() public virtual {
        vm.warp(START);
        org[0] = _person("org 0");
        org[1] = _person("org 1");
        org[2] = _person("org 2");
        _sort(org);
        owner[0] = _person("owner 0");
        owner[1] = _person("owner 1");
        owner[2] = _person("owner 2");
        _sort(owner);
        wallet.id = address(new MultiSigWallet([owner[0].id, owner[1].id, owner[2].id]));
        patient = _person("patient");
        grantee = _person("grantee");
        other = _person("other");
        ledger = new HealthLedger(_founders());
        consortium = Consortium(ledger.consortium());
    }

    function _founders() internal view returns (address[] memory founders) {
        founders = new address[](3);
        for (uint256 i; i < 3; ++i) {
            founders[i] = org[i].id;
        }
    }

    function _person(string memory name) internal returns (Person memory p) {
        (p.id, p.key) = makeAddrAndKey(name);
    }

    function _sort(Person[3] storage people) private {
        for (uint256 i; i < 2; ++i) {
            for (uint256 j; j < 2 - i; ++j) {
                if (people[j].id > people[j + 1].id) {
                    Person memory p = people[j];
                    people[j] = people[j + 1];
                    people[j + 1] = p;
                }
            }
        }
    }

    // ---------------------------------------------------------------- signing

    function _digest(bytes32 structHash) internal view returns (bytes32) {
        return Digests.seal(Digests.domain("Galen", address(ledger)), structHash);
    }

    /// @dev 65 bytes.
    function _sign(uint256 key, bytes32 structHash) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, _digest(structHash));
        return abi.encodePacked(r, s, v);
    }

    /// @dev 64 bytes, ERC-2098.
    function _signCompact(uint256 key, bytes32 structHash) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, _digest(structHash));
        return abi.encodePacked(r, uint256(s) | uint256(v - 27) << 255);
    }

    /// @dev How the holder of an id speaks.
    enum Way {
        Direct, // sends the call
        Long, // 65-byte signature, relayed
        Compact, // 64-byte signature, relayed
        Wallet // two of three owners of an ERC-1271 wallet, relayed
    }

    /// @dev Who acts in a way: the person itself, or the wallet.
    function _actor(Person memory p, Way way) internal view returns (Person memory) {
        return way == Way.Wallet ? wallet : p;
    }

    /// @dev The signature of `p`. If it sends the call itself, that is prepared: call at once.
    function _by(Person memory p, Way way, bytes32 structHash) internal returns (bytes memory) {
        if (way == Way.Direct) {
            vm.prank(p.id);
            return "";
        }
        vm.prank(relayer);
        if (way == Way.Wallet) return _signWallet(structHash);
        return way == Way.Long ? _sign(p.key, structHash) : _signCompact(p.key, structHash);
    }

    function _signWallet(bytes32 structHash) internal view returns (bytes memory) {
        return bytes.concat(_sign(owner[0].key, structHash), _sign(owner[2].key, structHash));
    }

    /// @dev Makes the wallet the only member of a new ledger.
    function _walletNetwork() internal {
        address[] memory founders = new address[](1);
        founders[0] = wallet.id;
        ledger = new HealthLedger(founders);
        consortium = Consortium(ledger.consortium());
    }

    /// @dev The malleable twin.
    function _signHigh(uint256 key, bytes32 structHash) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, _digest(structHash));
        return abi.encodePacked(r, ORDER - uint256(s), v == 27 ? uint8(28) : uint8(27));
    }

    // ---------------------------------------------------------------- ids

    function _setStatus(address organization, Status status) internal {
        vm.prank(address(consortium));
        ledger.setStatus(organization, status);
    }

    /// @dev Hands `from.id`, which controls itself, to `to`, at once.
    function _rotateDirect(Person memory from, Person memory to) internal {
        _rotate(from.id, from, to);
    }

    /// @dev Hands `id` from one controller to another, both by signature.
    function _rotate(address id, Person memory from, Person memory to) internal {
        (uint32 sequence,,) = ledger.chart(id);
        (,, uint32 nonce,) = ledger.guardianship(id);
        bytes32 hash = Digests.rotation(id, to.id, sequence, nonce, LATER);
        ledger.rotate(id, to.id, sequence, LATER, _signature(from, hash), _signature(to, hash));
    }

    /// @dev 65 bytes, or two of the wallet's owners.
    function _signature(Person memory p, bytes32 structHash) internal view returns (bytes memory) {
        return p.key == 0 ? _signWallet(structHash) : _sign(p.key, structHash);
    }

    // ---------------------------------------------------------------- records

    function _header(uint256 store, uint256 kind, uint256 segment, uint256 number)
        internal
        pure
        returns (uint256)
    {
        return store << 80 | kind << 72 | segment << 64 | number;
    }

    function _leaf(uint256 number) internal pure returns (Leaf memory) {
        return Leaf({
            header: _header(0, 0, 3, number),
            content: keccak256(abi.encode("content", number)),
            commitment: keccak256(abi.encode("commitment", number)),
            previous: 0
        });
    }

    function _leaves(uint256 count) internal pure returns (Leaf[] memory leaves) {
        leaves = new Leaf[](count);
        for (uint256 i; i < count; ++i) {
            leaves[i] = _leaf(i + 1);
        }
    }

    function _proposal(Leaf[] memory leaves, bytes32 policy)
        internal
        view
        returns (Proposal memory)
    {
        return Proposal({
            patient: patient.id,
            author: org[0].id,
            count: uint16(leaves.length),
            deadline: LATER,
            policy: policy,
            leaves: Digests.leaves(leaves)
        });
    }

    function _rotations(address id) internal view returns (uint32 rotations) {
        (,, rotations) = ledger.participant(id);
    }

    function _id(Proposal memory p) internal view returns (bytes32) {
        return Digests.proposal(p, _rotations(p.author));
    }

    function _answer(uint256 accepted, uint256 rejected) internal view returns (Answer memory) {
        (uint32 sequence,,) = ledger.chart(patient.id);
        return Answer({accepted: accepted, rejected: rejected, sequence: sequence, deadline: LATER});
    }

    function _settlement(Proposal memory p, Answer memory a, address signer)
        internal
        view
        returns (bytes32)
    {
        return Digests.settlement(p.patient, signer, _rotations(signer), _id(p), a);
    }

    /// @dev Settles `p`, everything relayed.
    function _settle(Proposal memory p, Answer memory a) internal {
        ledger.settle(
            p, _sign(org[0].key, _id(p)), a, _sign(patient.key, _settlement(p, a, patient.id))
        );
    }

    function _noPolicy() internal pure returns (Policy memory policy) {}

    function _noDelegation() internal pure returns (Delegation memory delegation) {}

    // ---------------------------------------------------------------- consents

    function _terms() internal view returns (Terms memory) {
        return Terms({
            grantee: grantee.id,
            segments: 1 << 3,
            purposes: 1 << 1,
            notBefore: START,
            expiry: START + 30 days,
            salt: keccak256("salt")
        });
    }

    /// @dev A change by the patient itself; `_pack` gives what the contract takes.
    function _change(bytes32 root, bytes32[] memory revoked, bytes32[] memory granted)
        internal
        view
        returns (Change memory)
    {
        (, uint32 version) = ledger.consents(patient.id);
        return Change({
            patient: patient.id,
            signer: patient.id,
            rotations: _rotations(patient.id),
            version: version,
            root: bytes28(root),
            revoked: revoked,
            granted: granted,
            deadline: LATER
        });
    }

    function _pack(Change memory c) internal pure returns (ConsentChange memory) {
        bytes32[] memory leaves = new bytes32[](c.revoked.length + c.granted.length);
        for (uint256 i; i < leaves.length; ++i) {
            leaves[i] = i < c.revoked.length ? c.revoked[i] : c.granted[i - c.revoked.length];
        }
        return ConsentChange({
            patient: c.patient,
            state: bytes32(c.root) | bytes32(uint256(c.version)),
            limits: uint256(c.deadline) | c.revoked.length << 48,
            leaves: leaves
        });
    }

    /// @dev Puts exactly these leaves into the patient's tree, by the patient's own call.
    function _setConsents(bytes32[] memory leaves) internal {
        ConsentChange memory change =
            _pack(_change(Digests.rootOf(leaves), new bytes32[](0), leaves));
        vm.prank(patient.id);
        ledger.changeConsents(change, "");
    }

    function _one(bytes32 leaf) internal pure returns (bytes32[] memory list) {
        list = new bytes32[](1);
        list[0] = leaf;
    }

    function _recordWord(address author, uint256 segment, uint256 number)
        internal
        pure
        returns (uint256)
    {
        return uint256(uint160(author)) << 96 | segment << 64 | number;
    }

    /// @dev A read of record 1 in segment 3, of the first organization, by the grantee.
    function _access(Terms memory t, bytes32[] memory proof)
        internal
        view
        returns (Access memory access)
    {
        access.patient = patient.id;
        access.grantee = grantee.id;
        access.segments = t.segments;
        access.terms = _packTerms(1, t);
        access.salt = t.salt;
        access.proof = proof;
        access.records = new uint256[](1);
        access.records[0] = _recordWord(org[0].id, 3, 1);
    }

    /// @dev The grantee reads record 1 in segment 3 of the first organization.
    function _logOne(Terms memory t, bytes32[] memory proof) internal {
        _logOneAs(grantee.id, t, proof);
    }

    function _logOneAs(address from, Terms memory t, bytes32[] memory proof) internal {
        vm.prank(from);
        ledger.logAccess(
            _recordWord(org[0].id, 3, 1), patient.id, _packTerms(1, t), t.segments, t.salt, proof
        );
    }

    function _packTerms(uint256 purpose, Terms memory t) internal pure returns (uint256) {
        return purpose | uint256(t.grantee == address(0) ? 1 : 0) << 8 | uint256(t.notBefore) << 16
            | uint256(t.expiry) << 64 | uint256(t.purposes) << 112;
    }

    function _reseals(bytes32 content, bytes32 previous)
        internal
        pure
        returns (Reseal[] memory items)
    {
        items = new Reseal[](1);
        items[0] = Reseal({header: _header(0, 0, 3, 1), content: content, previous: previous});
    }
}
