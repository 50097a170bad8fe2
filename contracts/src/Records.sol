// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {EfficientHashLib} from "solady/utils/EfficientHashLib.sol";
import {Consents} from "./Consents.sol";
import {IRecords} from "./IRecords.sol";
import {Answer, BulkLeaf, Delegation, Leaf, Policy, Proposal, Reseal, Status} from "./Types.sol";

/// @title Records
/// @dev The interface holds the documentation; comments here say only why.
abstract contract Records is Consents, IRecords {
    using EfficientHashLib for bytes32[];

    bytes32 internal constant LEAF_TYPEHASH = keccak256(
        "Leaf(uint8 kind,uint8 segment,uint64 number,uint8 store,bytes32 content,bytes32 commitment,bytes32 previous)"
    );
    bytes32 internal constant PROPOSAL_TYPEHASH = keccak256(
        "Proposal(address patient,address author,uint32 rotations,uint16 count,uint48 deadline,bytes32 policy,Leaf[] leaves)Leaf(uint8 kind,uint8 segment,uint64 number,uint8 store,bytes32 content,bytes32 commitment,bytes32 previous)"
    );
    bytes32 internal constant WITHDRAWAL_TYPEHASH = keccak256(
        "Withdrawal(address patient,address author,uint32 rotations,bytes32 proposal,uint48 deadline)"
    );
    bytes32 internal constant SETTLEMENT_TYPEHASH = keccak256(
        "Settlement(address patient,address signer,uint32 rotations,uint32 sequence,bytes32 proposal,uint256 accepted,uint256 rejected,uint48 deadline)"
    );
    bytes32 internal constant COSIGNATURE_TYPEHASH = keccak256(
        "Cosignature(address cosigner,uint32 rotations,bytes32 proposal,uint48 deadline)"
    );
    bytes32 internal constant RESEALED_TYPEHASH = keccak256(
        "Resealed(uint8 segment,uint64 number,uint8 store,bytes32 content,bytes32 previous)"
    );
    bytes32 internal constant RESEAL_TYPEHASH = keccak256(
        "Reseal(address patient,address author,address signer,uint32 rotations,Resealed[] items,uint48 deadline)Resealed(uint8 segment,uint64 number,uint8 store,bytes32 content,bytes32 previous)"
    );
    bytes32 internal constant BULK_ANCHOR_TYPEHASH = keccak256(
        "BulkAnchor(address author,uint32 rotations,bytes32 root,uint32 count,uint8 store,bytes32 manifest,uint48 deadline)"
    );
    bytes32 internal constant BULK_LEAF_TYPEHASH = keccak256(
        "BulkLeaf(address patient,address author,uint8 kind,uint8 segment,uint64 number,uint8 store,bytes32 content,bytes32 commitment)"
    );
    uint256 internal constant MAX_LEAVES = 256;

    /// @dev In the header of a single reseal: the author signs.
    uint256 private constant BY_AUTHOR = 1 << 88;
    uint256 private constant RESEAL_UNUSED =
        ~(((1 << 48) - 1 << 96) | BY_AUTHOR | 1 << 80 | (1 << 72) - 1);

    /// @inheritdoc IRecords
    function propose(
        address patient,
        address author,
        bytes32 policy,
        uint48 deadline,
        Leaf[] calldata leaves,
        bytes calldata signature
    ) external returns (bytes32 proposal) {
        _requireNotPast(deadline);
        uint256 slot = _activeParticipant(author);
        if (leaves.length == 0 || leaves.length > MAX_LEAVES) {
            revert LeafCountInvalid(leaves.length);
        }
        uint32 rotations = _rotationsIn(slot);
        proposal = EfficientHashLib.hash(
            uint256(PROPOSAL_TYPEHASH),
            _word(patient),
            _word(author),
            rotations,
            leaves.length,
            deadline,
            uint256(policy),
            uint256(_hashLeaves(leaves))
        );
        _authorize(author, _controllerIn(author, slot), proposal, signature);
        uint256 limits = uint256(deadline) | uint256(rotations) << 48;
        emit Proposed(patient, author, proposal, limits, policy, leaves, signature);
    }

    /// @inheritdoc IRecords
    function withdraw(
        address patient,
        address author,
        bytes32 proposal,
        uint48 deadline,
        bytes calldata signature
    ) external {
        _requireNotPast(deadline);
        uint256 slot = _participants[author];
        bytes32 structHash = keccak256(
            abi.encode(WITHDRAWAL_TYPEHASH, patient, author, _rotationsIn(slot), proposal, deadline)
        );
        _authorize(author, _controllerIn(author, slot), structHash, signature);
        emit Withdrawn(patient, author, proposal);
    }

    /// @inheritdoc IRecords
    function settle(
        Proposal calldata proposal,
        bytes calldata authorSignature,
        Answer calldata answer,
        bytes calldata patientSignature
    ) external {
        if (proposal.policy != 0) {
            revert PolicyMismatch(proposal.policy, 0);
        }
        bytes32 id = _authorizeProposal(proposal, authorSignature);
        address patient = proposal.patient;
        Slot storage chart_ = _charts[patient];
        uint256 word = chart_.word;
        uint256 signer = _signerSlot(patient, word);
        chart_.word = _settle(proposal, id, word, answer, patient, signer, patientSignature);
    }

    /// @inheritdoc IRecords
    function settleWith(
        Proposal calldata proposal,
        bytes calldata authorSignature,
        Answer calldata answer,
        bytes calldata patientSignature,
        Policy calldata policy,
        Delegation calldata delegation
    ) external {
        bytes32 id = _authorizeProposal(proposal, authorSignature);
        Slot storage chart_ = _charts[proposal.patient];
        uint256 word = chart_.word;
        address signer = delegation.delegate;
        uint256 slot;
        if (signer == address(0)) {
            signer = proposal.patient;
            slot = _signerSlot(signer, word);
        } else {
            // One party cannot give both sides.
            if (signer == proposal.author) revert DelegateIsAuthor(signer);
            slot = _delegateSlot(proposal.patient, delegation, POWER_SETTLE);
        }
        _requirePolicy(proposal, id, signer, policy);
        chart_.word = _settle(proposal, id, word, answer, signer, slot, patientSignature);
    }

    /// @inheritdoc IRecords
    function reseal(
        address patient,
        address author,
        uint256 header,
        bytes32 content,
        bytes32 previous,
        bytes calldata signature
    ) external {
        if (header & RESEAL_UNUSED != 0) revert ResealMalformed(0);
        uint48 deadline = uint48(header >> 96);
        _requireNotPast(deadline);
        Slot storage chart_ = _charts[patient];
        uint256 word = chart_.word;
        (address signer, uint256 slot) = _resealer(patient, author, header & BY_AUTHOR != 0, word);
        bytes32 item = EfficientHashLib.hash(
            uint256(RESEALED_TYPEHASH),
            uint8(header >> 64),
            uint64(header),
            header >> 80 & 1,
            uint256(content),
            uint256(previous)
        );
        bytes32 structHash = EfficientHashLib.hash(
            uint256(RESEAL_TYPEHASH),
            _word(patient),
            _word(author),
            _word(signer),
            _rotationsIn(slot),
            uint256(EfficientHashLib.hash(item)),
            deadline
        );
        _authorize(signer, _controllerIn(signer, slot), structHash, signature);
        chart_.word = _resealOne(word, patient, author, signer, header, content, previous);
    }

    /// @inheritdoc IRecords
    function resealMany(
        address patient,
        address author,
        bool byAuthor,
        Reseal[] calldata items,
        uint48 deadline,
        bytes calldata signature
    ) external {
        (address signer, uint256 slot) = _resealer(patient, author, byAuthor, _charts[patient].word);
        bytes32 structHash =
            _hashReseal(patient, author, signer, _rotationsIn(slot), items, deadline);
        _authorize(signer, _controllerIn(signer, slot), structHash, signature);
        _reseal(patient, author, signer, items, deadline);
    }

    /// @inheritdoc IRecords
    function resealAsDelegate(
        address patient,
        address author,
        Reseal[] calldata items,
        uint48 deadline,
        Delegation calldata delegation,
        bytes calldata signature
    ) external {
        address signer = delegation.delegate;
        uint256 slot = _delegateSlot(patient, delegation, POWER_RESEAL);
        bytes32 structHash =
            _hashReseal(patient, author, signer, _rotationsIn(slot), items, deadline);
        _authorize(signer, _controllerIn(signer, slot), structHash, signature);
        _reseal(patient, author, signer, items, deadline);
    }

    /// @inheritdoc IRecords
    function anchorBulk(bytes32 root, uint256 header, bytes32 manifest) external {
        uint256 slot = _activeParticipant(msg.sender);
        if (_controllerIn(msg.sender, slot) != msg.sender) {
            revert NotController(msg.sender, msg.sender);
        }
        _anchorBulk(msg.sender, root, header, manifest);
    }

    /// @inheritdoc IRecords
    function anchorBulkBySig(
        address author,
        bytes32 root,
        uint256 header,
        bytes32 manifest,
        uint48 deadline,
        bytes calldata signature
    ) external {
        _requireNotPast(deadline);
        uint256 slot = _activeParticipant(author);
        bytes32 structHash = keccak256(
            abi.encode(
                BULK_ANCHOR_TYPEHASH,
                author,
                _rotationsIn(slot),
                root,
                uint32(header),
                uint8(header >> 32),
                manifest,
                deadline
            )
        );
        _authorize(author, _controllerIn(author, slot), structHash, signature);
        _anchorBulk(author, root, header, manifest);
    }

    /// @inheritdoc IRecords
    function provesBulk(bytes32 root, BulkLeaf calldata leaf, bytes32[] calldata proof)
        external
        pure
        returns (bool)
    {
        uint256 header = leaf.header;
        bytes32 structHash = keccak256(
            abi.encode(
                BULK_LEAF_TYPEHASH,
                leaf.patient,
                leaf.author,
                uint8(header >> 72),
                uint8(header >> 64),
                uint64(header),
                uint8(header >> 80),
                leaf.content,
                leaf.commitment
            )
        );
        return header >> 88 == 0 && _climb(_leaf(structHash), proof) == root;
    }

    /// @dev The author's side of a settlement.
    function _authorizeProposal(Proposal calldata proposal, bytes calldata signature)
        private
        view
        returns (bytes32 id)
    {
        uint48 deadline = proposal.deadline;
        _requireNotPast(deadline);
        uint256 count = proposal.count;
        if (count == 0 || count > MAX_LEAVES) revert LeafCountInvalid(count);
        address author = proposal.author;
        uint256 slot = _activeParticipant(author);
        id = EfficientHashLib.hash(
            uint256(PROPOSAL_TYPEHASH),
            _word(proposal.patient),
            _word(author),
            _rotationsIn(slot),
            count,
            deadline,
            uint256(proposal.policy),
            uint256(proposal.leaves)
        );
        _authorize(author, _controllerIn(author, slot), id, signature);
    }

    /// @dev The patient's side, and the effects.
    /// @return The patient's chart slot after the settlement.
    function _settle(
        Proposal calldata proposal,
        bytes32 id,
        uint256 slot,
        Answer calldata answer,
        address signer,
        uint256 signerSlot,
        bytes calldata signature
    ) private returns (uint256) {
        uint48 deadline = answer.deadline;
        _requireNotPast(deadline);
        uint256 current = slot & COUNTER_MASK;
        if (answer.sequence != current) revert SequenceStale(answer.sequence, uint32(current));
        uint256 accepted = answer.accepted;
        uint256 rejected = answer.rejected;
        _requireMasks(accepted, rejected, proposal.count);
        address patient = proposal.patient;
        bytes32 structHash = EfficientHashLib.hash(
            uint256(SETTLEMENT_TYPEHASH),
            _word(patient),
            _word(signer),
            _rotationsIn(signerSlot),
            current,
            uint256(id),
            accepted,
            rejected,
            deadline
        );
        _authorize(signer, _controllerIn(signer, signerSlot), structHash, signature);
        uint256 sequence = _increment(slot);
        uint256 by = uint160(signer) | sequence << 160;
        address author = proposal.author;
        emit Settled(patient, author, id, accepted, rejected, by);
        bytes32 folded = EfficientHashLib.hash(
            slot >> HEAD_SHIFT,
            ENTRY_SETTLEMENT,
            _word(author),
            uint256(id),
            accepted,
            rejected,
            by,
            block.timestamp
        );
        return _foldInto(slot & ~COUNTER_MASK | sequence, folded);
    }

    function _requireMasks(uint256 accepted, uint256 rejected, uint256 count) private pure {
        if (accepted & rejected != 0) revert MasksOverlap(accepted & rejected);
        uint256 mask = accepted | rejected;
        // A shift by 256 gives zero: a full proposal has no bit outside.
        if (mask >> count != 0) revert MaskExceedsCount(mask, count);
    }

    /// @dev `signer` answers for the patient.
    function _requirePolicy(
        Proposal calldata proposal,
        bytes32 id,
        address signer,
        Policy calldata policy
    ) private {
        uint256 count = policy.cosigners.length;
        if (proposal.policy == 0 && count == 0) return;
        bytes32 shown = keccak256(abi.encode(policy.threshold, policy.cosigners));
        if (shown != proposal.policy) revert PolicyMismatch(proposal.policy, shown);
        if (policy.threshold == 0 || policy.threshold > count) {
            revert PolicyThresholdInvalid(policy.threshold, count);
        }
        if (policy.signatures.length != count) {
            revert CosignaturesMiscounted(policy.signatures.length, count);
        }
        uint256 signed;
        address before;
        for (uint256 i; i < count; ++i) {
            address cosigner = policy.cosigners[i];
            if (cosigner <= before) revert CosignersUnsorted(before, cosigner);
            before = cosigner;
            if (cosigner == proposal.patient || cosigner == proposal.author || cosigner == signer) {
                revert CosignerIsParty(cosigner);
            }
            if (_cosigned(proposal, id, cosigner, policy.signatures[i])) {
                ++signed;
                emit Cosigned(id, cosigner);
            }
        }
        if (signed < policy.threshold) revert CosignersMissing(signed, policy.threshold);
    }

    /// @dev An empty signature counts only for who sends the call.
    function _cosigned(
        Proposal calldata proposal,
        bytes32 id,
        address cosigner,
        bytes calldata signature
    ) private view returns (bool) {
        uint256 slot = _participants[cosigner];
        address controller = _controllerIn(cosigner, slot);
        if (signature.length == 0 && msg.sender != controller) return false;
        if (_hasStatus(slot, Status.Suspended)) revert CosignerSuspended(cosigner);
        bytes32 structHash = keccak256(
            abi.encode(COSIGNATURE_TYPEHASH, cosigner, _rotationsIn(slot), id, proposal.deadline)
        );
        _authorize(cosigner, controller, structHash, signature);
        return true;
    }

    /// @dev Who signs a reseal, and its participant slot as far as signatures need it.
    function _resealer(address patient, address author, bool byAuthor, uint256 chart_)
        private
        view
        returns (address signer, uint256 slot)
    {
        return byAuthor
            ? (author, _activeParticipant(author))
            : (patient, _signerSlot(patient, chart_));
    }

    function _reseal(
        address patient,
        address author,
        address signer,
        Reseal[] calldata items,
        uint48 deadline
    ) private {
        _requireNotPast(deadline);
        if (items.length == 0) revert ResealEmpty();
        Slot storage chart_ = _charts[patient];
        uint256 slot = chart_.word;
        for (uint256 i; i < items.length; ++i) {
            Reseal calldata item = items[i];
            // Only number, segment and a store of 0 or 1.
            if (item.header >> 81 != 0 || uint8(item.header >> 72) != 0) revert ResealMalformed(i);
            slot =
                _resealOne(slot, patient, author, signer, item.header, item.content, item.previous);
        }
        chart_.word = slot;
    }

    /// @dev Announces one reseal and folds it in.
    function _resealOne(
        uint256 slot,
        address patient,
        address author,
        address signer,
        uint256 header,
        bytes32 content,
        bytes32 previous
    ) private returns (uint256) {
        bytes32 record = EfficientHashLib.hash(
            _word(patient), _word(author), uint8(header >> 64), uint64(header)
        );
        uint256 by = uint160(signer) | (header >> 80 & 1) << 160;
        emit Resealed(patient, record, by, content, previous);
        bytes32 folded = EfficientHashLib.hash(
            slot >> HEAD_SHIFT,
            ENTRY_RESEAL,
            uint256(record),
            by,
            uint256(content),
            uint256(previous),
            block.timestamp
        );
        return _foldInto(slot, folded);
    }

    function _anchorBulk(address author, bytes32 root, uint256 header, bytes32 manifest) private {
        // Only a count and a store of 0 or 1.
        if (header >> 33 != 0) revert BulkMalformed(header);
        emit BulkAnchored(author, root, header, manifest);
    }

    function _hashLeaves(Leaf[] calldata leaves) private pure returns (bytes32) {
        bytes32[] memory hashes = EfficientHashLib.malloc(leaves.length);
        for (uint256 i; i < leaves.length; ++i) {
            Leaf calldata leaf = leaves[i];
            uint256 header = leaf.header;
            uint256 kind = uint8(header >> 72);
            // A store of 0 or 1, a known kind, and a predecessor exactly if there is one to follow.
            if (header >> 81 != 0 || kind > 2 || (kind == 0) != (leaf.previous == 0)) {
                revert LeafMalformed(i);
            }
            bytes32 structHash = EfficientHashLib.hash(
                uint256(LEAF_TYPEHASH),
                kind,
                uint8(header >> 64),
                uint64(header),
                header >> 80,
                uint256(leaf.content),
                uint256(leaf.commitment),
                uint256(leaf.previous)
            );
            hashes.set(i, structHash);
        }
        return EfficientHashLib.hash(hashes);
    }

    function _hashReseal(
        address patient,
        address author,
        address signer,
        uint32 rotations,
        Reseal[] calldata items,
        uint48 deadline
    ) private pure returns (bytes32) {
        bytes32[] memory hashes = EfficientHashLib.malloc(items.length);
        for (uint256 i; i < items.length; ++i) {
            Reseal calldata item = items[i];
            bytes32 structHash = EfficientHashLib.hash(
                uint256(RESEALED_TYPEHASH),
                uint8(item.header >> 64),
                uint64(item.header),
                uint8(item.header >> 80),
                uint256(item.content),
                uint256(item.previous)
            );
            hashes.set(i, structHash);
        }
        return keccak256(
            abi.encode(
                RESEAL_TYPEHASH,
                patient,
                author,
                signer,
                rotations,
                EfficientHashLib.hash(hashes),
                deadline
            )
        );
    }
}
