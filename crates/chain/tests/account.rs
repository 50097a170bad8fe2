//! Accounts: where they come from, what they show, how they sign.

use alloy_primitives::{Address, B256, Signature, address};
use galen_chain::{Account, KeySigner, MnemonicError, Signer, key_from_mnemonic, new_mnemonic};

/// The mnemonic of Hardhat and anvil, and the addresses that they print for it.
const JUNK: &str = "test test test test test test test test test test test junk";
const JUNK_ACCOUNTS: [Address; 3] = [
    address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266"),
    address!("70997970C51812dc3A010C7d01b50e0d17dc79C8"),
    address!("3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"),
];

#[test]
fn a_mnemonic_gives_one_address_for_each_organization() {
    for (index, expected) in (0..).zip(JUNK_ACCOUNTS) {
        let account = Account::new(key_from_mnemonic(JUNK, index).unwrap());
        assert_eq!((account.id(), account.controller()), (expected, expected));
    }
}

#[test]
fn a_new_mnemonic_has_a_right_checksum_and_does_not_repeat() {
    let (one, two) = (new_mnemonic(), new_mnemonic());
    assert_eq!(one.split(' ').count(), 12);
    assert_ne!(*one, *two);
    assert_ne!(
        key_from_mnemonic(&one, 0).unwrap().address(),
        key_from_mnemonic(&two, 0).unwrap().address()
    );
    let wrong = JUNK.replace("junk", "test");
    assert_eq!(key_from_mnemonic(&wrong, 0).unwrap_err(), MnemonicError);
}

#[test]
fn an_account_shows_its_id_and_nothing_else() {
    let key = [0x5a; 32];
    let account = Account::from_key(&key).unwrap();
    let shown = format!("{account:?} {:?}", MnemonicError);
    assert!(shown.contains(&format!("{:#x}", account.id())));
    assert!(!shown.contains("5a5a"), "{shown}");
    assert!(Account::from_key(&[0; 32]).is_none(), "zero is no key");
}

#[test]
fn signatures_are_compact_low_and_by_the_controller() {
    let key = KeySigner::random();
    let account = Account::new(key.clone()).for_id(Address::repeat_byte(7));
    assert_eq!(account.id(), Address::repeat_byte(7));
    for n in 0..32 {
        let digest = B256::repeat_byte(n);
        let bytes = key.sign_digest(digest);
        assert_eq!(bytes.len(), 64);
        let signature = Signature::from_erc2098(&bytes);
        assert!(signature.normalize_s().is_none());
        assert_eq!(signature.recover_address_from_prehash(&digest).unwrap(), account.controller());
        assert_eq!(bytes, key.sign_digest(digest), "deterministic");
    }
}
