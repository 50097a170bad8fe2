//! 32 secret bytes as words, to write on paper.

use alloy::signers::local::coins_bip39::{English, Entropy, Mnemonic};
use zeroize::Zeroizing;

use crate::MnemonicError;

/// 24 words of the English BIP-39 list, the last of which checks the others.
pub fn words_from_seed(seed: &[u8; 32]) -> Zeroizing<String> {
    let mnemonic = Mnemonic::<English>::new_from_entropy(Entropy::ThirtyTwo(*seed));
    Zeroizing::new(mnemonic.to_phrase())
}

/// The bytes that 24 words stand for. Spaces and capitals do not matter.
///
/// # Errors
///
/// [`MnemonicError`]. The words are not repeated.
pub fn seed_from_words(words: &str) -> Result<Zeroizing<[u8; 32]>, MnemonicError> {
    let words =
        Zeroizing::new(words.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase());
    let mnemonic = Mnemonic::<English>::new_from_phrase(&words).map_err(|_| MnemonicError)?;
    let again = Zeroizing::new(mnemonic.to_phrase());
    if *again != *words {
        return Err(MnemonicError);
    }
    let mut seed = Zeroizing::new([0; 32]);
    read_entropy(&words, &mut seed).ok_or(MnemonicError)?;
    Ok(seed)
}

/// 24 words of 11 bits: 256 bits of entropy and 8 of checksum, which was checked before.
fn read_entropy(words: &str, seed: &mut [u8; 32]) -> Option<()> {
    use alloy::signers::local::coins_bip39::Wordlist;
    let indexes: Vec<usize> =
        words.split(' ').map(|word| English::get_index(word).ok()).collect::<Option<_>>()?;
    if indexes.len() != 24 {
        return None;
    }
    for bit in 0..256 {
        let set = indexes[bit / 11] >> (10 - bit % 11) & 1 == 1;
        seed[bit / 8] |= u8::from(set) << (7 - bit % 8);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_words_and_back() {
        // BIP-39's own vectors.
        for (seed, words) in [
            ([0_u8; 32], format!("{}art", "abandon ".repeat(23))),
            ([0xff; 32], format!("{}vote", "zoo ".repeat(23))),
            (
                [0x7f; 32],
                format!("{}title", "legal winner thank year wave sausage worth useful ".repeat(3))
                    .replace("useful title", "title"),
            ),
        ] {
            assert_eq!(*words_from_seed(&seed), words);
            let written = format!("  {} \n", words.to_uppercase());
            assert_eq!(seed_from_words(&written).ok().as_deref(), Some(&seed));
        }
        for wrong in [
            String::new(),
            format!("{}abandon", "abandon ".repeat(23)),
            format!("{}about", "abandon ".repeat(11)),
            format!("{}art", "abandom ".repeat(23)),
        ] {
            assert!(seed_from_words(&wrong).is_err(), "{wrong}");
        }
    }
}
