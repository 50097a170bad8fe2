//! Keystores: ours, and the two of the Web3 Secret Storage definition.

use alloy_primitives::{Address, hex};
use galen_crypto::{Error, Keystore, keystore::Cost};

fn cheap() -> Cost {
    Cost::from_log_n(4).unwrap()
}

/// From "Web3 Secret Storage Definition", test vectors; password and secret are the same in both.
const PBKDF2: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},"ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2","kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256","salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},"mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
const SCRYPT: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"83dbcc02d8ccb40e466191a123791e0e"},"ciphertext":"d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c","kdf":"scrypt","kdfparams":{"dklen":32,"n":262144,"p":8,"r":1,"salt":"ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"},"mac":"2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;

#[test]
fn the_two_published_keystores_open() {
    let secret = hex!("7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d");
    for text in [PBKDF2, SCRYPT] {
        let keystore = Keystore::from_json(text).unwrap();
        assert_eq!(*keystore.decrypt(b"testpassword").unwrap(), secret);
    }
}

#[test]
fn secrets_round_trip_and_wrong_passwords_do_not() {
    let address = Address::repeat_byte(0xab);
    let keystore =
        Keystore::encrypt(&[7; 32], "pässword".as_bytes(), Some(address), cheap()).unwrap();
    let text = keystore.to_json();
    let read = Keystore::from_json(&text).unwrap();
    assert_eq!(*read.decrypt("pässword".as_bytes()).unwrap(), [7; 32]);
    assert_eq!(read.address(), Some(address));
    assert!(matches!(read.decrypt(b"password"), Err(Error::Password)));
    assert!(matches!(read.decrypt(b""), Err(Error::Password)));
    assert!(!text.contains(&hex::encode([7; 32])));
    let second = Keystore::encrypt(&[7; 32], b"x", None, cheap()).unwrap();
    assert_eq!(second.address(), None);
    assert!(!second.to_json().contains("address"));
    assert_ne!(
        second.to_json(),
        Keystore::encrypt(&[7; 32], b"x", None, cheap()).unwrap().to_json()
    );
}

#[test]
fn new_keystores_cost_what_they_should() {
    let value: serde_json::Value = serde_json::from_str(
        &Keystore::encrypt(&[7; 32], b"x", None, Cost::default()).unwrap().to_json(),
    )
    .unwrap();
    let params = &value["crypto"]["kdfparams"];
    assert_eq!((params["n"].as_u64(), params["r"].as_u64()), (Some(1 << 17), Some(8)));
    let id = value["id"].as_str().unwrap();
    assert_eq!((id.len(), &id[14..15]), (36, "4"));
    assert!("89ab".contains(&id[19..20]));
}

#[test]
fn changed_and_foreign_keystores_are_refused() {
    let text = Keystore::encrypt(&[7; 32], b"x", None, cheap()).unwrap().to_json();
    let change = |pointer: &str, value: serde_json::Value| {
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        *json.pointer_mut(pointer).unwrap() = value;
        Keystore::from_json(&json.to_string()).and_then(|keystore| keystore.decrypt(b"x"))
    };
    let zeros = "00".repeat(32);
    for pointer in ["/crypto/ciphertext", "/crypto/mac", "/crypto/kdfparams/salt"] {
        assert!(matches!(change(pointer, zeros.clone().into()), Err(Error::Password)), "{pointer}");
    }
    let foreign: [(&str, serde_json::Value); 16] = [
        ("/version", 1.into()),
        ("/crypto/cipher", "aes-256-gcm".into()),
        ("/crypto/cipherparams/iv", "00".into()),
        ("/crypto/ciphertext", "00".into()),
        ("/crypto/mac", "zz".into()),
        ("/crypto/kdf", "argon2".into()),
        ("/crypto/kdfparams/dklen", 64.into()),
        ("/crypto/kdfparams/n", 0.into()),
        ("/crypto/kdfparams/n", 1.into()),
        ("/crypto/kdfparams/n", 1000.into()),
        ("/crypto/kdfparams/n", (1_u64 << 21).into()),
        ("/crypto/kdfparams/n", (1_u64 << 40).into()),
        ("/crypto/kdfparams/r", 0.into()),
        ("/crypto/kdfparams/r", (1_u64 << 31).into()),
        ("/crypto/kdfparams/p", 0.into()),
        ("/crypto/kdfparams/p", 1_000_000.into()),
    ];
    for (pointer, value) in foreign {
        assert!(
            matches!(change(pointer, value.clone()), Err(Error::Keystore { .. })),
            "{pointer} {value}"
        );
    }
    // Small N, large r: within the bound of N, beyond the bound of memory.
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json["crypto"]["kdfparams"]["n"] = (1 << 20).into();
    json["crypto"]["kdfparams"]["r"] = 9.into();
    let keystore = Keystore::from_json(&json.to_string()).unwrap();
    assert!(matches!(keystore.decrypt(b"x"), Err(Error::Keystore { .. })));
    assert!(matches!(Cost::from_log_n(21), Err(Error::Keystore { .. })));
    assert!(matches!(Cost::from_log_n(0), Err(Error::Keystore { .. })));
    for text in ["", "{}", "[]", &" ".repeat(70_000)] {
        assert!(matches!(Keystore::from_json(text), Err(Error::Keystore { .. })));
    }
}
