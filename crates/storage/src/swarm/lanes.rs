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

    use super::{NODE_LEN, RATE_WORDS, portable};

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
            $hash:ident, $permute:ident, $features:literal, $register:ty, $lanes:literal,
            $splat:ident, $xor:ident, $xor3:ident, $turn:ident, $chi:ident
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
                    let mut state = [$splat(0); 25];
                    for (at, lane) in state[..WORDS].iter_mut().enumerate() {
                        let column: [u64; $lanes] = std::array::from_fn(|block| {
                            u64::from_le_bytes(blocks[block * WORDS + at])
                        });
                        // SAFETY: an array of words and a register have the same size, and each bit
                        // pattern of one is a value of the other.
                        *lane = unsafe { transmute::<[u64; $lanes], $register>(column) };
                    }
                    state[WORDS] = $splat(0x01);
                    state[RATE_WORDS - 1] = $splat(i64::MIN);
                    $permute(&mut state);
                    for (at, lane) in state[..NODE_LEN / 8].iter().enumerate() {
                        // SAFETY: as above.
                        let column = unsafe { transmute::<$register, [u64; $lanes]>(*lane) };
                        for (parent, word) in parents.iter_mut().zip(column) {
                            parent.as_chunks_mut::<8>().0[at] = word.to_le_bytes();
                        }
                    }
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

            /// Keccak-f[1600] (FIPS 202, section 3.3) in every lane.
            #[target_feature(enable = $features)]
            #[inline]
            fn $permute(a: &mut [$register; 25]) {
                for round in ROUNDS {
                    let c: [$register; 5] = std::array::from_fn(|x| {
                        $xor3($xor3(a[x], a[x + 5], a[x + 10]), a[x + 15], a[x + 20])
                    });
                    let d = [
                        $turn!(1, c[1]),
                        $turn!(1, c[2]),
                        $turn!(1, c[3]),
                        $turn!(1, c[4]),
                        $turn!(1, c[0]),
                    ];
                    // Theta, rho and pi, in the order in which chi takes them.
                    let b = [
                        $xor3(a[0], c[4], d[0]),
                        $turn!(44, $xor3(a[6], c[0], d[1])),
                        $turn!(43, $xor3(a[12], c[1], d[2])),
                        $turn!(21, $xor3(a[18], c[2], d[3])),
                        $turn!(14, $xor3(a[24], c[3], d[4])),
                        $turn!(28, $xor3(a[3], c[2], d[3])),
                        $turn!(20, $xor3(a[9], c[3], d[4])),
                        $turn!(3, $xor3(a[10], c[4], d[0])),
                        $turn!(45, $xor3(a[16], c[0], d[1])),
                        $turn!(61, $xor3(a[22], c[1], d[2])),
                        $turn!(1, $xor3(a[1], c[0], d[1])),
                        $turn!(6, $xor3(a[7], c[1], d[2])),
                        $turn!(25, $xor3(a[13], c[2], d[3])),
                        $turn!(8, $xor3(a[19], c[3], d[4])),
                        $turn!(18, $xor3(a[20], c[4], d[0])),
                        $turn!(27, $xor3(a[4], c[3], d[4])),
                        $turn!(36, $xor3(a[5], c[4], d[0])),
                        $turn!(10, $xor3(a[11], c[0], d[1])),
                        $turn!(15, $xor3(a[17], c[1], d[2])),
                        $turn!(56, $xor3(a[23], c[2], d[3])),
                        $turn!(62, $xor3(a[2], c[1], d[2])),
                        $turn!(55, $xor3(a[8], c[2], d[3])),
                        $turn!(39, $xor3(a[14], c[3], d[4])),
                        $turn!(41, $xor3(a[15], c[4], d[0])),
                        $turn!(2, $xor3(a[21], c[0], d[1])),
                    ];
                    for y in [0, 5, 10, 15, 20] {
                        for x in 0..5 {
                            a[y + x] = $chi(b[y + x], b[y + (x + 1) % 5], b[y + (x + 2) % 5]);
                        }
                    }
                    a[0] = $xor(a[0], $splat(round.cast_signed()));
                }
            }
        };
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

    kernel!(
        hash_8,
        permute_8,
        "avx512f",
        __m512i,
        8,
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

    kernel!(
        hash_4,
        permute_4,
        "avx2",
        __m256i,
        4,
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
