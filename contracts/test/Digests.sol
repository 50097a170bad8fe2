// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {Motion} from "../src/IConsortium.sol";
import {Answer, BulkLeaf, Element, Leaf, Proposal, Reseal} from "../src/Types.sol";

/// @notice What a consent says, before packing.
struct Terms {
    address grantee;
    uint256 segments;
    uint32 purposes;
    uint48 notBefore;
    uint48 expiry;
    bytes32 salt;
}

/// @notice What a patient signs to change consents, before packing.
struct Change {
    address patient;
    address signer;
    uint32 rotations;
    uint32 version;
    bytes28 root;
    bytes32[] revoked;
    bytes32[] granted;
    uint48 deadline;
}

/// @notice Everything that is signed, hashed once more from the documentation and not by the code
/// under test, so that a mistake in a type string or in the order of fields shows.
library Digests {
    function domain(string memory name, address verifier) internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256(bytes(name)),
                keccak256("1"),
                block.chainid,
                verifier
            )
        );
    }

    function seal(bytes32 separator, bytes32 structHash) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", separator, structHash));
    }

    // ---------------------------------------------------------------- records

    function leaf(Leaf memory l) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256(
                    "Leaf(uint8 kind,uint8 segment,uint64 number,uint8 store,bytes32 content,bytes32 commitment,bytes32 previous)"
                ),
                uint256(uint8(l.header >> 72)),
                uint256(uint8(l.header >> 64)),
                uint256(uint64(l.header)),
                uint256(uint8(l.header >> 80)),
                l.content,
                l.commitment,
                l.previous
            )
        );
    }

    function leaves(Leaf[] memory list) internal pure returns (bytes32) {
        bytes memory all;
        for (uint256 i; i < list.length; ++i) {
            all = bytes.concat(all, leaf(list[i]));
        }
        return keccak256(all);
    }

    function proposal(Proposal memory p, uint32 rotations) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256(
                    "Proposal(address patient,address author,uint32 rotations,uint16 count,uint48 deadline,bytes32 policy,Leaf[] leaves)Leaf(uint8 kind,uint8 segment,uint64 number,uint8 store,bytes32 content,bytes32 commitment,bytes32 previous)"
                ),
                p.patient,
                p.author,
                rotations,
                p.count,
                p.deadline,
                p.policy,
                p.leaves
            )
        );
    }

    function settlement(
        address patient,
        address signer,
        uint32 rotations,
        bytes32 id,
        Answer memory a
    ) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256(
                    "Settlement(address patient,address signer,uint32 rotations,uint32 sequence,bytes32 proposal,uint256 accepted,uint256 rejected,uint48 deadline)"
                ),
                patient,
                signer,
                rotations,
                a.sequence,
                id,
                a.accepted,
                a.rejected,
                a.deadline
            )
        );
    }

    function withdrawal(
        address patient,
        address author,
        uint32 rotations,
        bytes32 id,
        uint48 deadline
    ) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256(
                    "Withdrawal(address patient,address author,uint32 rotations,bytes32 proposal,uint48 deadline)"
                ),
                patient,
                author,
                rotations,
                id,
                deadline
            )
        );
    }

    function attestation(address author, uint32 rotations, bytes32 root, uint48 issued)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                keccak256(
                    "Attestation(address author,uint32 rotations,bytes32 root,uint48 issued)"
                ),
                author,
                rotations,
                root,
                issued
            )
        );
    }

    /// @dev The leaf of an element of a document.
    function element(Element memory e) internal pure returns (bytes32) {
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256("Element(bytes32 salt,uint64 label,uint64 parent,bytes32 content)"),
                e.salt,
                e.label,
                e.parent,
                e.content
            )
        );
        return keccak256(abi.encode(structHash));
    }

    function cosignature(address cosigner, uint32 rotations, bytes32 id, uint48 deadline)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                keccak256(
                    "Cosignature(address cosigner,uint32 rotations,bytes32 proposal,uint48 deadline)"
                ),
                cosigner,
                rotations,
                id,
                deadline
            )
        );
    }

    function reseal(
        address patient,
        address author,
        address signer,
        uint32 rotations,
        Reseal[] memory items,
        uint48 deadline
    ) internal pure returns (bytes32) {
        bytes memory all;
        for (uint256 i; i < items.length; ++i) {
            all = bytes.concat(
                all,
                keccak256(
                    abi.encode(
                        keccak256(
                            "Resealed(uint8 segment,uint64 number,uint8 store,bytes32 content,bytes32 previous)"
                        ),
                        uint256(uint8(items[i].header >> 64)),
                        uint256(uint64(items[i].header)),
                        uint256(uint8(items[i].header >> 80)),
                        items[i].content,
                        items[i].previous
                    )
                )
            );
        }
        return keccak256(
            abi.encode(
                keccak256(
                    "Reseal(address patient,address author,address signer,uint32 rotations,Resealed[] items,uint48 deadline)Resealed(uint8 segment,uint64 number,uint8 store,bytes32 content,bytes32 previous)"
                ),
                patient,
                author,
                signer,
                rotations,
                keccak256(all),
                deadline
            )
        );
    }

    function bulkAnchor(
        address author,
        uint32 rotations,
        bytes32 root,
        uint32 count,
        uint8 store,
        bytes32 manifest,
        uint48 deadline
    ) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256(
                    "BulkAnchor(address author,uint32 rotations,bytes32 root,uint32 count,uint8 store,bytes32 manifest,uint48 deadline)"
                ),
                author,
                rotations,
                root,
                count,
                store,
                manifest,
                deadline
            )
        );
    }

    function bulkLeaf(BulkLeaf memory l) internal pure returns (bytes32) {
        return double(
            keccak256(
                abi.encode(
                    keccak256(
                        "BulkLeaf(address patient,address author,uint8 kind,uint8 segment,uint64 number,uint8 store,bytes32 content,bytes32 commitment)"
                    ),
                    l.patient,
                    l.author,
                    uint256(uint8(l.header >> 72)),
                    uint256(uint8(l.header >> 64)),
                    uint256(uint64(l.header)),
                    uint256(uint8(l.header >> 80)),
                    l.content,
                    l.commitment
                )
            )
        );
    }

    function record(address patient, address author, uint8 segment, uint64 number)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(patient, author, segment, number));
    }

    // ---------------------------------------------------------------- consents and accesses

    function consentChange(Change memory c) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256(
                    "ConsentChange(address patient,address signer,uint32 rotations,uint32 version,bytes28 root,bytes32[] revoked,bytes32[] granted,uint48 deadline)"
                ),
                c.patient,
                c.signer,
                c.rotations,
                c.version,
                c.root,
                keccak256(abi.encodePacked(c.revoked)),
                keccak256(abi.encodePacked(c.granted)),
                c.deadline
            )
        );
    }

    function consentLeaf(Terms memory t) internal pure returns (bytes32) {
        return double(
            keccak256(
                abi.encode(
                    keccak256(
                        "Consent(address grantee,uint256 segments,uint32 purposes,uint48 notBefore,uint48 expiry,bytes32 salt)"
                    ),
                    t.grantee,
                    t.segments,
                    t.purposes,
                    t.notBefore,
                    t.expiry,
                    t.salt
                )
            )
        );
    }

    function delegateLeaf(
        address delegate,
        uint32 powers,
        uint48 notBefore,
        uint48 expiry,
        bytes32 salt
    ) internal pure returns (bytes32) {
        return double(
            keccak256(
                abi.encode(
                    keccak256(
                        "Delegate(address delegate,uint32 powers,uint48 notBefore,uint48 expiry,bytes32 salt)"
                    ),
                    delegate,
                    powers,
                    notBefore,
                    expiry,
                    salt
                )
            )
        );
    }

    function access(
        address patient,
        address grantee,
        uint32 rotations,
        uint8 purpose,
        bytes32 consent,
        uint256[] memory records,
        uint48 deadline
    ) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256(
                    "Access(address patient,address grantee,uint32 rotations,uint8 purpose,bytes32 consent,uint256[] records,uint48 deadline)"
                ),
                patient,
                grantee,
                rotations,
                purpose,
                consent,
                keccak256(abi.encodePacked(records)),
                deadline
            )
        );
    }

    function accessRequest(
        address patient,
        address organization,
        uint32 rotations,
        uint32 purposes,
        uint8 store,
        bytes32 message,
        uint48 deadline
    ) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256(
                    "AccessRequest(address patient,address organization,uint32 rotations,uint32 purposes,uint8 store,bytes32 message,uint48 deadline)"
                ),
                patient,
                organization,
                rotations,
                purposes,
                store,
                message,
                deadline
            )
        );
    }

    // ---------------------------------------------------------------- controllers and guardians

    function rotation(
        address id,
        address controller,
        uint32 sequence,
        uint32 nonce,
        uint48 deadline
    ) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256(
                    "Rotation(address id,address controller,uint32 sequence,uint32 nonce,uint48 deadline)"
                ),
                id,
                controller,
                sequence,
                nonce,
                deadline
            )
        );
    }

    function keyBundle(
        address id,
        uint32 rotations,
        bytes32 previous,
        bytes32 bundle,
        uint8 store,
        bytes32 content,
        uint48 deadline
    ) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256(
                    "KeyBundle(address id,uint32 rotations,bytes32 previous,bytes32 bundle,uint8 store,bytes32 content,uint48 deadline)"
                ),
                id,
                rotations,
                previous,
                bundle,
                store,
                content,
                deadline
            )
        );
    }

    function guardianChange(
        address id,
        uint32 rotations,
        bytes32 commitment,
        uint32 delay,
        uint32 nonce,
        uint48 deadline
    ) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256(
                    "GuardianChange(address id,uint32 rotations,bytes32 commitment,uint32 delay,uint32 nonce,uint48 deadline)"
                ),
                id,
                rotations,
                commitment,
                delay,
                nonce,
                deadline
            )
        );
    }

    function recovery(
        address id,
        address guardian,
        uint32 guardianRotations,
        address controller,
        bool isFinal,
        uint32 nonce,
        uint48 deadline
    ) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256(
                    "Recovery(address id,address guardian,uint32 guardianRotations,address controller,bool isFinal,uint32 nonce,uint48 deadline)"
                ),
                id,
                guardian,
                guardianRotations,
                controller,
                isFinal,
                nonce,
                deadline
            )
        );
    }

    function cancellation(address id, uint32 rotations, uint32 nonce, uint48 deadline)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                keccak256("Cancellation(address id,uint32 rotations,uint32 nonce,uint48 deadline)"),
                id,
                rotations,
                nonce,
                deadline
            )
        );
    }

    function vote(
        Motion motion,
        address organization,
        uint32 counter,
        address voter,
        uint32 rotations,
        uint48 deadline
    ) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256(
                    "Vote(uint8 motion,address organization,uint32 counter,address voter,uint32 rotations,uint48 deadline)"
                ),
                motion,
                organization,
                counter,
                voter,
                rotations,
                deadline
            )
        );
    }

    // ---------------------------------------------------------------- trees

    function double(bytes32 structHash) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(structHash));
    }

    function pair(bytes32 a, bytes32 b) internal pure returns (bytes32) {
        return a < b ? keccak256(abi.encodePacked(a, b)) : keccak256(abi.encodePacked(b, a));
    }

    /// @dev Root of a tree over leaves in the given order; the last node of an odd level moves up.
    function rootOf(bytes32[] memory level) internal pure returns (bytes32) {
        if (level.length == 0) return 0;
        while (level.length > 1) level = _up(level);
        return level[0];
    }

    function proof(bytes32[] memory level, uint256 index)
        internal
        pure
        returns (bytes32[] memory out)
    {
        while (level.length > 1) {
            if (index ^ 1 < level.length) out = append(out, level[index ^ 1]);
            level = _up(level);
            index /= 2;
        }
    }

    function append(bytes32[] memory list, bytes32 item)
        internal
        pure
        returns (bytes32[] memory out)
    {
        out = new bytes32[](list.length + 1);
        for (uint256 i; i < list.length; ++i) {
            out[i] = list[i];
        }
        out[list.length] = item;
    }

    function sort(bytes32[] memory list) internal pure returns (bytes32[] memory) {
        for (uint256 i = 1; i < list.length; ++i) {
            for (uint256 j = i; j > 0 && list[j - 1] > list[j]; --j) {
                (list[j - 1], list[j]) = (list[j], list[j - 1]);
            }
        }
        return list;
    }

    function _up(bytes32[] memory level) private pure returns (bytes32[] memory next) {
        next = new bytes32[]((level.length + 1) / 2);
        for (uint256 i; i < next.length; ++i) {
            next[i] = 2 * i + 1 < level.length ? pair(level[2 * i], level[2 * i + 1]) : level[2 * i];
        }
    }
}
