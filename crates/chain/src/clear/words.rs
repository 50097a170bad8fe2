//! Hashes as words, to read aloud.

use alloy::signers::local::coins_bip39::{English, Wordlist};
use alloy_primitives::B256;

/// Bits of a word of the BIP-39 list.
const WORD_BITS: usize = 11;

/// The first `count` words of a hash: each is 11 bits, the highest first, as an index into the English
/// list of BIP-39. At most 23 words.
pub fn words(hash: B256, count: usize) -> Vec<&'static str> {
    let list = English::get_all();
    (0..count.min(256 / WORD_BITS))
        .map(|at| {
            let bits = at * WORD_BITS..(at + 1) * WORD_BITS;
            let index = bits
                .fold(0, |index, bit| index << 1 | usize::from(hash[bit / 8] >> (7 - bit % 8) & 1));
            list[index]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use alloy_primitives::b256;

    use super::words;

    #[test]
    fn words_are_eleven_bits_each_from_the_top() {
        // BIP-39's own vector: 128 bits of 0x7f are eleven times "legal winner thank year wave sausage
        // worth useful", the checksum word apart.
        let hash = b256!("7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f00000000000000000000000000000000");
        let expected = "legal winner thank year wave sausage worth useful legal winner thank";
        assert_eq!(words(hash, 11).join(" "), expected);
        assert_eq!(words(hash, 99).len(), 23);
    }
}
