//! Keccak on several states at once: the same permutation in each 64-bit lane of a vector register.
//!
//! Two kernels, of eight states (AVX-512F) and of four (AVX2), chosen at run time, and a portable one.
//! A binary Merkle tree hashes inputs of exactly one block, 64 bytes for a pair of nodes and 40 for the
//! root with its span, so that no kernel has to know of anything but the permutation.
//!
//! The unsafe code of this crate is here and only here. It does two things, both of which the compiler
//! cannot see to be sound:
//!
//! - it calls functions that need instructions which not every processor has: only with a [`Lanes`] in
//!   hand, and one of these is made only where [`Lanes::available`] found the instructions;
//! - it takes a register for an array of words and back: types of the same size without invalid bit
//!   patterns, asserted when this is compiled.
#![allow(unsafe_code, reason = "see the documentation of the module")]

use std::sync::OnceLock;

use tiny_keccak::keccakf;

use super::chunk::{CHUNK_LEN, chunk_address_with};

/// Bytes of a node.
pub(super) const NODE_LEN: usize = 32;
/// Bytes of two neighbours.
pub(super) const PAIR_LEN: usize = 2 * NODE_LEN;
/// Most states that a kernel permutes at once.
pub(super) const MAX_LANES: usize = 8;

/// Rate of Keccak-256 in 64-bit words; the last of them takes the end of the padding.
const RATE_WORDS: usize = 17;

/// How many states are permuted at once, and with which instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lanes(Kernel);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Default for Lanes {
    fn default() -> Self {
        Self::best()
    }
}

impl Lanes {
    /// What this processor does best.
    pub(super) fn best() -> Self {
        static BEST: OnceLock<Lanes> = OnceLock::new();
        *BEST.get_or_init(|| *Self::available().last().expect("the portable one is always there"))
    }

    /// What this processor can do, slowest first.
    pub(super) fn available() -> Vec<Self> {
        let mut found = vec![Self(Kernel::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                found.push(Self(Kernel::Avx2));
            }
            if is_x86_feature_detected!("avx512f") {
                found.push(Self(Kernel::Avx512));
            }
        }
        found
    }

    #[cfg(feature = "bench")]
    pub(super) const fn name(self) -> &'static str {
        match self.0 {
            Kernel::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => "AVX-512",
        }
    }

    /// Hashes each block of `WORDS` words in `blocks` to a node in `nodes`, by legacy Keccak-256
    /// (padding 0x01, as on Ethereum).
    ///
    /// # Panics
    ///
    /// If the two do not have the same number of blocks and nodes.
    pub(super) fn hash<const WORDS: usize>(self, blocks: &[u8], nodes: &mut [u8]) {
        let (words, rest) = blocks.as_chunks::<8>();
        let (nodes, odd) = nodes.as_chunks_mut::<NODE_LEN>();
        let fits = rest.is_empty() && odd.is_empty() && words.len() == WORDS * nodes.len();
        assert!(fits, "one node for each block");
        match self.0 {
            Kernel::Portable => portable::<WORDS>(words, nodes),
            // SAFETY: `available` found the instructions on this processor.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => unsafe { x86::hash_4::<WORDS>(words, nodes) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => unsafe { x86::hash_8::<WORDS>(words, nodes) },
        }
    }

    /// Addresses of full leaves, as `keccak256(span ‖ root)` has them.
    pub(super) fn leaves(
        self,
        leaves: &[[u8; CHUNK_LEN]; MAX_LANES],
        addresses: &mut [[u8; NODE_LEN]; MAX_LANES],
    ) {
        match self.0 {
            Kernel::Portable => {
                for (leaf, address) in leaves.iter().zip(addresses) {
                    *address = chunk_address_with(self, CHUNK_LEN as u64, leaf).0;
                }
            }
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => {
                let (leaves, addresses) =
                    (leaves.as_chunks::<4>().0, addresses.as_chunks_mut::<4>().0);
                for (leaves, addresses) in leaves.iter().zip(addresses) {
                    // SAFETY: as above.
                    unsafe { x86::leaves_4(leaves, addresses) }
                }
            }
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => unsafe { x86::leaves_8(leaves, addresses) },
        }
    }
}

fn portable<const WORDS: usize>(words: &[[u8; 8]], nodes: &mut [[u8; NODE_LEN]]) {
    for (block, node) in words.chunks_exact(WORDS).zip(nodes) {
        let mut state = [0; 25];
        for (lane, word) in state.iter_mut().zip(block) {
            *lane = u64::from_le_bytes(*word);
        }
        state[WORDS] = 0x01;
        state[RATE_WORDS - 1] = 1 << 63;
        keccakf(&mut state);
        for (bytes, lane) in node.as_chunks_mut::<8>().0.iter_mut().zip(state) {
            *bytes = lane.to_le_bytes();
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::{arch::x86_64::*, mem::transmute};

    use super::{NODE_LEN, PAIR_LEN, RATE_WORDS, portable};
    use crate::swarm::chunk::CHUNK_LEN;

    /// Round constants of iota (FIPS 202, section 3.2.5).
    const ROUNDS: [u64; 24] = [
        0x0000_0000_0000_0001,
        0x0000_0000_0000_8082,
        0x8000_0000_0000_808a,
        0x8000_0000_8000_8000,
        0x0000_0000_0000_808b,
        0x0000_0000_8000_0001,
        0x8000_0000_8000_8081,
        0x8000_0000_0000_8009,
        0x0000_0000_0000_008a,
        0x0000_0000_0000_0088,
        0x0000_0000_8000_8009,
        0x0000_0000_8000_000a,
        0x0000_0000_8000_808b,
        0x8000_0000_0000_008b,
        0x8000_0000_0000_8089,
        0x8000_0000_0000_8003,
        0x8000_0000_0000_8002,
        0x8000_0000_0000_0080,
        0x0000_0000_0000_800a,
        0x8000_0000_8000_000a,
        0x8000_0000_8000_8081,
        0x8000_0000_0000_8080,
        0x0000_0000_8000_0001,
        0x8000_0000_8000_8008,
    ];

    /// A whole kernel out of the few instructions that differ.
    macro_rules! kernel {
        (
            $hash:ident, $leaves:ident, $keccak:ident, $permute:ident, $features:literal,
            $register:ty, $lanes:literal,
            $columns:ident, $splat:ident, $xor:ident, $xor3:ident, $turn:ident, $chi:ident
        ) => {
            /// Hashes blocks of `WORDS` words, as many at once as a register has lanes.
            #[target_feature(enable = $features)]
            pub(super) fn $hash<const WORDS: usize>(
                words: &[[u8; 8]],
                nodes: &mut [[u8; NODE_LEN]],
            ) {
                let mut blocks = words.chunks_exact(WORDS * $lanes);
                let mut parents = nodes.chunks_exact_mut($lanes);
                for (blocks, parents) in (&mut blocks).zip(&mut parents) {
                    let mut block = [$splat(0); WORDS];
                    for (at, lane) in block.iter_mut().enumerate() {
                        let mut column = [0; $lanes];
                        for (word, block) in column.iter_mut().zip(blocks.chunks_exact(WORDS)) {
                            *word = u64::from_le_bytes(block[at]);
                        }
                        // SAFETY: an array of words and a register have the same size, and each bit
                        // pattern of one is a value of the other.
                        *lane = unsafe { transmute::<[u64; $lanes], $register>(column) };
                    }
                    put($keccak(&block), parents);
                }
                let (words, nodes) = (blocks.remainder(), parents.into_remainder());
                if nodes.len() < 2 {
                    return portable::<WORDS>(words, nodes);
                }
                // One permutation for the rest, whatever its empty lanes hold, is faster than one each.
                let mut block = [[0; 8]; 8 * $lanes];
                let mut node = [[0; NODE_LEN]; $lanes];
                block[..words.len()].copy_from_slice(words);
                $hash::<WORDS>(&block[..WORDS * $lanes], &mut node);
                nodes.copy_from_slice(&node[..nodes.len()]);
            }

            /// The addresses of as many full leaves as a register has lanes. Each lane holds the tree of
            /// one leaf, so that what one level gives is what the next one takes, register by register.
            #[target_feature(enable = $features)]
            pub(super) fn $leaves(
                leaves: &[[u8; CHUNK_LEN]; $lanes],
                addresses: &mut [[u8; NODE_LEN]; $lanes],
            ) {
                let mut nodes = [[$splat(0); NODE_LEN / 8]; CHUNK_LEN / PAIR_LEN];
                for (at, node) in nodes.iter_mut().enumerate() {
                    *node = $keccak(&$columns(leaves, at));
                }
                let mut count = nodes.len();
                while count > 1 {
                    count /= 2;
                    for at in 0..count {
                        let ([a, b, c, d], [e, f, g, h]) = (nodes[2 * at], nodes[2 * at + 1]);
                        nodes[at] = $keccak(&[a, b, c, d, e, f, g, h]);
                    }
                }
                let [a, b, c, d] = nodes[0];
                put($keccak(&[$splat(CHUNK_LEN as i64), a, b, c, d]), addresses);
            }

            /// Keccak-256 of one block in every lane.
            #[target_feature(enable = $features)]
            #[inline]
            fn $keccak<const WORDS: usize>(block: &[$register; WORDS]) -> [$register; 4] {
                let mut state = [$splat(0); 25];
                state[..WORDS].copy_from_slice(block);
                state[WORDS] = $splat(0x01);
                state[RATE_WORDS - 1] = $splat(i64::MIN);
                $permute(&mut state);
                [state[0], state[1], state[2], state[3]]
            }

            /// Keccak-f[1600] (FIPS 202, section 3.3) in every lane.
            ///
            /// Spelled out: a loop that stays a loop, or a call, would take its registers from memory.
            #[target_feature(enable = $features)]
            #[inline]
            fn $permute(state: &mut [$register; 25]) {
                let mut a = *state;
                for round in ROUNDS {
                    let c0 = $xor3($xor3(a[0], a[5], a[10]), a[15], a[20]);
                    let c1 = $xor3($xor3(a[1], a[6], a[11]), a[16], a[21]);
                    let c2 = $xor3($xor3(a[2], a[7], a[12]), a[17], a[22]);
                    let c3 = $xor3($xor3(a[3], a[8], a[13]), a[18], a[23]);
                    let c4 = $xor3($xor3(a[4], a[9], a[14]), a[19], a[24]);
                    let d0 = $xor(c4, $turn!(1, c1));
                    let d1 = $xor(c0, $turn!(1, c2));
                    let d2 = $xor(c1, $turn!(1, c3));
                    let d3 = $xor(c2, $turn!(1, c4));
                    let d4 = $xor(c3, $turn!(1, c0));
                    // Theta, rho and pi, in the order in which chi takes them.
                    let b = [
                        $xor(a[0], d0),
                        $turn!(44, $xor(a[6], d1)),
                        $turn!(43, $xor(a[12], d2)),
                        $turn!(21, $xor(a[18], d3)),
                        $turn!(14, $xor(a[24], d4)),
                        $turn!(28, $xor(a[3], d3)),
                        $turn!(20, $xor(a[9], d4)),
                        $turn!(3, $xor(a[10], d0)),
                        $turn!(45, $xor(a[16], d1)),
                        $turn!(61, $xor(a[22], d2)),
                        $turn!(1, $xor(a[1], d1)),
                        $turn!(6, $xor(a[7], d2)),
                        $turn!(25, $xor(a[13], d3)),
                        $turn!(8, $xor(a[19], d4)),
                        $turn!(18, $xor(a[20], d0)),
                        $turn!(27, $xor(a[4], d4)),
                        $turn!(36, $xor(a[5], d0)),
                        $turn!(10, $xor(a[11], d1)),
                        $turn!(15, $xor(a[17], d2)),
                        $turn!(56, $xor(a[23], d3)),
                        $turn!(62, $xor(a[2], d2)),
                        $turn!(55, $xor(a[8], d3)),
                        $turn!(39, $xor(a[14], d4)),
                        $turn!(41, $xor(a[15], d0)),
                        $turn!(2, $xor(a[21], d1)),
                    ];
                    a[0] = $chi(b[0], b[1], b[2]);
                    a[1] = $chi(b[1], b[2], b[3]);
                    a[2] = $chi(b[2], b[3], b[4]);
                    a[3] = $chi(b[3], b[4], b[0]);
                    a[4] = $chi(b[4], b[0], b[1]);
                    a[5] = $chi(b[5], b[6], b[7]);
                    a[6] = $chi(b[6], b[7], b[8]);
                    a[7] = $chi(b[7], b[8], b[9]);
                    a[8] = $chi(b[8], b[9], b[5]);
                    a[9] = $chi(b[9], b[5], b[6]);
                    a[10] = $chi(b[10], b[11], b[12]);
                    a[11] = $chi(b[11], b[12], b[13]);
                    a[12] = $chi(b[12], b[13], b[14]);
                    a[13] = $chi(b[13], b[14], b[10]);
                    a[14] = $chi(b[14], b[10], b[11]);
                    a[15] = $chi(b[15], b[16], b[17]);
                    a[16] = $chi(b[16], b[17], b[18]);
                    a[17] = $chi(b[17], b[18], b[19]);
                    a[18] = $chi(b[18], b[19], b[15]);
                    a[19] = $chi(b[19], b[15], b[16]);
                    a[20] = $chi(b[20], b[21], b[22]);
                    a[21] = $chi(b[21], b[22], b[23]);
                    a[22] = $chi(b[22], b[23], b[24]);
                    a[23] = $chi(b[23], b[24], b[20]);
                    a[24] = $chi(b[24], b[20], b[21]);
                    a[0] = $xor(a[0], $splat(round.cast_signed()));
                }
                *state = a;
            }
        };
    }

    /// Four words in every lane to as many nodes as there are lanes.
    fn put<Register: Words<LANES>, const LANES: usize>(
        words: [Register; 4],
        nodes: &mut [[u8; NODE_LEN]],
    ) {
        for (at, word) in words.into_iter().enumerate() {
            for (node, word) in nodes.iter_mut().zip(word.words()) {
                node.as_chunks_mut::<8>().0[at] = word.to_le_bytes();
            }
        }
    }

    /// A register, seen as the words in its lanes.
    trait Words<const LANES: usize> {
        fn words(self) -> [u64; LANES];
    }

    impl Words<8> for __m512i {
        fn words(self) -> [u64; 8] {
            // SAFETY: both have 64 bytes, and each bit pattern of one is a value of the other.
            unsafe { transmute(self) }
        }
    }

    impl Words<4> for __m256i {
        fn words(self) -> [u64; 4] {
            // SAFETY: both have 32 bytes, and each bit pattern of one is a value of the other.
            unsafe { transmute(self) }
        }
    }

    macro_rules! turn_8 {
        ($by:literal, $value:expr) => {
            _mm512_rol_epi64::<$by>($value)
        };
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn xor3_8(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
        _mm512_ternarylogic_epi64::<0x96>(a, b, c)
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn chi_8(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
        _mm512_ternarylogic_epi64::<0xd2>(a, b, c)
    }

    /// Word by word what the blocks `at` of eight leaves hold: a square of eight by eight words on its
    /// other side.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn columns_8(leaves: &[[u8; CHUNK_LEN]; 8], at: usize) -> [__m512i; 8] {
        let [a, b, c, d, e, f, g, h] = leaves;
        let (a, b, c, d) = (row_8(a, at), row_8(b, at), row_8(c, at), row_8(d, at));
        let (e, f, g, h) = (row_8(e, at), row_8(f, at), row_8(g, at), row_8(h, at));
        let [w0, w2, w4, w6] = quarters_8([
            _mm512_unpacklo_epi64(a, b),
            _mm512_unpacklo_epi64(c, d),
            _mm512_unpacklo_epi64(e, f),
            _mm512_unpacklo_epi64(g, h),
        ]);
        let [w1, w3, w5, w7] = quarters_8([
            _mm512_unpackhi_epi64(a, b),
            _mm512_unpackhi_epi64(c, d),
            _mm512_unpackhi_epi64(e, f),
            _mm512_unpackhi_epi64(g, h),
        ]);
        [w0, w1, w2, w3, w4, w5, w6, w7]
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn row_8(leaf: &[u8; CHUNK_LEN], at: usize) -> __m512i {
        let block = leaf.as_chunks::<PAIR_LEN>().0[at];
        // SAFETY: a block and a register have the same size, and each bit pattern of one is a value of
        // the other.
        unsafe { transmute::<[u8; PAIR_LEN], __m512i>(block) }
    }

    /// A square of four by four quarters of registers on its other side.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn quarters_8([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
        let (even, odd) = (_mm512_shuffle_i64x2::<0x88>(a, b), _mm512_shuffle_i64x2::<0xdd>(a, b));
        let (even_2, odd_2) =
            (_mm512_shuffle_i64x2::<0x88>(c, d), _mm512_shuffle_i64x2::<0xdd>(c, d));
        [
            _mm512_shuffle_i64x2::<0x88>(even, even_2),
            _mm512_shuffle_i64x2::<0x88>(odd, odd_2),
            _mm512_shuffle_i64x2::<0xdd>(even, even_2),
            _mm512_shuffle_i64x2::<0xdd>(odd, odd_2),
        ]
    }

    kernel!(
        hash_8,
        leaves_8,
        keccak_8,
        permute_8,
        "avx512f",
        __m512i,
        8,
        columns_8,
        _mm512_set1_epi64,
        _mm512_xor_si512,
        xor3_8,
        turn_8,
        chi_8
    );

    macro_rules! turn_4 {
        ($by:literal, $value:expr) => {{
            let value = $value;
            _mm256_or_si256(
                _mm256_slli_epi64::<$by>(value),
                _mm256_srli_epi64::<{ 64 - $by }>(value),
            )
        }};
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn xor3_4(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
        _mm256_xor_si256(_mm256_xor_si256(a, b), c)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn chi_4(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
        _mm256_xor_si256(a, _mm256_andnot_si256(b, c))
    }

    /// Word by word what the blocks `at` of four leaves hold.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn columns_4(leaves: &[[u8; CHUNK_LEN]; 4], at: usize) -> [__m256i; 8] {
        let [a, b, c, d] = leaves;
        let ([a, e], [b, f]) = (row_4(a, at), row_4(b, at));
        let ([c, g], [d, h]) = (row_4(c, at), row_4(d, at));
        let [w0, w1, w2, w3] = square_4([a, b, c, d]);
        let [w4, w5, w6, w7] = square_4([e, f, g, h]);
        [w0, w1, w2, w3, w4, w5, w6, w7]
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn row_4(leaf: &[u8; CHUNK_LEN], at: usize) -> [__m256i; 2] {
        let block = leaf.as_chunks::<PAIR_LEN>().0[at];
        // SAFETY: a block and two registers have the same size, and each bit pattern of one is a value
        // of the other.
        unsafe { transmute::<[u8; PAIR_LEN], [__m256i; 2]>(block) }
    }

    /// A square of four by four words on its other side.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn square_4([a, b, c, d]: [__m256i; 4]) -> [__m256i; 4] {
        let (even, odd) = (_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
        let (even_2, odd_2) = (_mm256_unpacklo_epi64(c, d), _mm256_unpackhi_epi64(c, d));
        [
            _mm256_permute2x128_si256::<0x20>(even, even_2),
            _mm256_permute2x128_si256::<0x20>(odd, odd_2),
            _mm256_permute2x128_si256::<0x31>(even, even_2),
            _mm256_permute2x128_si256::<0x31>(odd, odd_2),
        ]
    }

    kernel!(
        hash_4,
        leaves_4,
        keccak_4,
        permute_4,
        "avx2",
        __m256i,
        4,
        columns_4,
        _mm256_set1_epi64x,
        _mm256_xor_si256,
        xor3_4,
        turn_4,
        chi_4
    );
}

#[cfg(test)]
mod tests {
    use alloy_primitives::keccak256 as reference;
    use proptest::prelude::*;

    use super::*;

    fn agree<const WORDS: usize>(bytes: &[u8], count: usize) {
        let blocks: Vec<u8> = bytes.iter().copied().cycle().take(count * WORDS * 8).collect();
        let expected: Vec<u8> =
            blocks.chunks_exact(WORDS * 8).flat_map(|block| reference(block).0).collect();
        for lanes in Lanes::available() {
            let mut nodes = vec![0; count * NODE_LEN];
            lanes.hash::<WORDS>(&blocks, &mut nodes);
            assert_eq!(nodes, expected, "{lanes:?}, {count} blocks of {WORDS} words");
        }
    }

    proptest! {
        /// Every kernel gives what an implementation of somebody else gives, on any number of blocks.
        #[test]
        fn kernels_agree_with_keccak_256(
            bytes in prop::collection::vec(any::<u8>(), 1..700),
            count in 0_usize..40,
        ) {
            agree::<8>(&bytes, count);
            agree::<5>(&bytes, count);
        }
    }

    #[test]
    fn kernels_are_those_of_the_processor() {
        let kernels: Vec<Kernel> = Lanes::available().iter().map(|lanes| lanes.0).collect();
        assert_eq!(kernels[0], Kernel::Portable);
        assert_eq!(Some(&Lanes::best()), Lanes::available().last());
        #[cfg(target_arch = "x86_64")]
        assert_eq!(kernels.contains(&Kernel::Avx512), is_x86_feature_detected!("avx512f"));
    }
}
