//! The hash of a block, from its header.

use alloy::consensus::Header;
use alloy_primitives::{B256, Bytes, b256};
use alloy_rlp::{EMPTY_LIST_CODE, EMPTY_STRING_CODE, Header as Item};

/// The mix hash of every block of Besu's BFT consensus: "ctical byzantine fault tolerance".
const BFT_MIX_HASH: B256 =
    b256!("63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365");

/// Vanity, validators and vote: what a QBFT block's hash covers of its extra data.
const HASHED_ITEMS: usize = 3;

/// The hash by which the next block names this one.
///
/// Keccak-256 of the header, except in QBFT: there each validator may hold the same block with other seals
/// and from another round, so the hash is that of the header with round 0 and without seals. It covers all
/// else, so nobody who is not believed gains by it. The first block has no seals and is hashed as it is.
///
/// Source: Besu, `BftBlockHashing` and `QbftExtraDataCodec`.
pub(crate) fn block_hash(header: &Header) -> B256 {
    let bft = header.mix_hash == BFT_MIX_HASH && header.number != 0;
    match bft.then(|| without_seals(&header.extra_data)).flatten() {
        Some(extra_data) => Header { extra_data, ..header.clone() }.hash_slow(),
        None => header.hash_slow(),
    }
}

/// RLP `[vanity, validators, vote, round, seals]` with round 0 and no seals; `None` for anything else.
fn without_seals(mut extra: &[u8]) -> Option<Bytes> {
    let items = Item::decode_bytes(&mut extra, true).ok()?;
    let mut rest = items;
    for _ in 0..HASHED_ITEMS {
        let length = Item::decode(&mut rest).ok()?.payload_length;
        rest = rest.get(length..)?;
    }
    let hashed = items.get(..items.len() - rest.len())?;
    Item::decode_bytes(&mut rest, false).ok()?;
    Item::decode_bytes(&mut rest, true).ok()?;
    if !rest.is_empty() || !extra.is_empty() {
        return None;
    }
    let mut bytes = Vec::with_capacity(items.len());
    Item { list: true, payload_length: hashed.len() + 2 }.encode(&mut bytes);
    bytes.extend_from_slice(hashed);
    bytes.extend_from_slice(&[EMPTY_STRING_CODE, EMPTY_LIST_CODE]);
    Some(bytes.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
mod tests {
    use alloy::consensus::EMPTY_OMMER_ROOT_HASH;
    use alloy_primitives::{U256, hex};

    use super::*;

    /// Extra data with two validators, a vote, round 0xfedcba and four seals; ConsenSys, `qbft-tests`,
    /// `BftBlockHeaderHashTests`.
    const EXTRA: &str = "f90178a0000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\
        ea940000000000000000000000000000000000000001940000000000000000000000000000000000000002\
        d794000000000000000000000000000000000000000381ff8400fedcbaf9010c\
        b8412d98a30d2844aa05b4fcf3abcd333e195d4ad365726a7b9a5bc19744dcec0ad42d129ad2890b86c32a969a9b511d8c1c846f7eb694455bb29b7365ab260a188100\
        b8416e65e1097c802f12fe12048871f228fc394fb005cbf5c55225adbff7e82c94d352fc83967effa3a777a9d50e677108b732258c7ef6e1a3e8fc34919b90e0f34e00\
        b841b8462060df24936c7da7413fbf8ac706775d06ba052831075fd2059458ca91e971f35a7a90ec5225328fe25d6dec51de3a2d71e81a581ceb98acdafd5bcd12f801\
        b841be1cb71a2525013ae8ac676505597229265960b4d34654dc88249d1bc7e07a324f44b16542adad19bddade1785ac9687b656cbf64685a2e6e6b4f04d9aad23cd00";

    fn header() -> Header {
        let none = b256!("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421");
        Header {
            parent_hash: b256!("a7762d3307dbf2ae6a1ae1b09cf61c7603722b2379731b6b90409cdb8c8288a0"),
            ommers_hash: EMPTY_OMMER_ROOT_HASH,
            state_root: b256!("ca07595b82f908822971b7e848398e3395e59ee52565c7ef3603df1a1fa7bc80"),
            transactions_root: none,
            receipts_root: none,
            difficulty: U256::ONE,
            number: 1,
            gas_limit: 4_704_588,
            timestamp: 1_530_674_616,
            extra_data: hex::decode(EXTRA).unwrap().into(),
            mix_hash: BFT_MIX_HASH,
            ..Header::default()
        }
    }

    /// The header is theirs; the hashes were made with pyrlp by the rule of today's Besu. Their own hash
    /// is of an older rule, which left round and seals out of the list.
    #[test]
    fn a_qbft_block_is_hashed_without_round_and_seals() {
        let sealed = header();
        let hash = b256!("6c9fa1845957da70ab04f12c452e0d2b76065a50105e8f59098c8be808b91f6f");
        let plain = b256!("f40b4092506ac8406c97998d66f2b8b08a6a217fda42f6592ea81a4841021ea7");
        assert_eq!(block_hash(&sealed), hash);
        assert_eq!(sealed.hash_slow(), plain);

        let extra_data = without_seals(&sealed.extra_data).unwrap();
        assert_eq!(block_hash(&Header { extra_data, ..sealed.clone() }), hash);
        let other = |change: fn(&mut Header)| {
            let mut header = header();
            change(&mut header);
            block_hash(&header)
        };
        assert_eq!(other(|header| header.mix_hash = B256::ZERO), {
            Header { mix_hash: B256::ZERO, ..sealed.clone() }.hash_slow()
        });
        assert_eq!(other(|header| header.number = 0), Header { number: 0, ..sealed }.hash_slow());
        assert_ne!(other(|header| header.receipts_root = B256::ZERO), hash);
        assert_ne!(other(|header| header.parent_hash = B256::ZERO), hash);
    }

    /// Every byte before the round is covered, and what is not of this shape is hashed as it is.
    #[test]
    fn the_hash_covers_vanity_validators_and_vote() {
        let sealed = header();
        let hash = block_hash(&sealed);
        let round =
            hex::decode(EXTRA).unwrap().windows(5).position(|at| at == [0x84, 0, 0xfe, 0xdc, 0xba]);
        for at in 0..sealed.extra_data.len() {
            let mut extra = sealed.extra_data.to_vec();
            extra[at] ^= 1;
            let changed = block_hash(&Header { extra_data: extra.into(), ..sealed.clone() });
            // Lengths are covered too, since what they no longer fit is hashed whole.
            if at < round.unwrap() {
                assert_ne!(changed, hash, "byte {at}");
            }
        }
        for extra in [&[][..], &[0xc0], &[0xc5, 0x80, 0xc0, 0xc0, 0x80, 0xc0, 0x00], &[0xf9]] {
            assert_eq!(without_seals(extra), None, "{extra:02x?}");
        }
    }
}
