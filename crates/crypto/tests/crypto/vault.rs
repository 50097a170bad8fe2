//! The vault: what goes in comes out, under the same key and label alone.

use galen_crypto::{Error, RootSeed, VaultKey, vault::MAX_VAULT_LEN};
use proptest::prelude::*;

fn key(byte: u8) -> VaultKey {
    RootSeed::from_bytes([byte; 32]).pseudonym([1; 20].into()).vault()
}

#[test]
fn vault_hides_lengths_and_refuses_what_is_too_long() {
    let len = |text: usize| key(1).seal("book", &vec![5; text]).unwrap().len();
    assert_eq!(len(0), len(1020));
    assert_eq!(len(1021), len(2044));
    assert!(len(1021) > len(1020));
    let refused = key(1).seal("book", &vec![0; MAX_VAULT_LEN + 1]).unwrap_err();
    assert!(matches!(refused, Error::PayloadTooLong { .. }));
    assert!(key(1).open("book", &[]).is_err());
}

#[test]
fn vault_opens_under_its_key_and_label_alone() {
    let sealed = key(1).seal("book", b"who I know").unwrap();
    assert_eq!(**key(1).open("book", &sealed).unwrap(), *b"who I know");
    assert!(key(2).open("book", &sealed).is_err());
    assert!(key(1).open("backup", &sealed).is_err());
    let other_id = RootSeed::from_bytes([1; 32]).pseudonym([2; 20].into()).vault();
    assert!(other_id.open("book", &sealed).is_err());
    assert_ne!(sealed, key(1).seal("book", b"who I know").unwrap());
    assert_eq!(format!("{:?}", key(1)), "VaultKey(..)");
}

proptest! {
    #[test]
    fn vault_shows_any_flipped_bit(text: Vec<u8>, bit: prop::sample::Index) {
        let mut sealed = key(1).seal("book", &text).unwrap();
        prop_assert_eq!(&**key(1).open("book", &sealed).unwrap(), &text);
        let bit = bit.index(sealed.len() * 8);
        sealed[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(key(1).open("book", &sealed).is_err());
    }
}
