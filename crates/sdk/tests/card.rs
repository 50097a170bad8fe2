//! Cards: one text for one card, and nothing on one changes unnoticed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::sync::OnceLock;

use alloy_primitives::{Address, B256, Bytes, U256};
use galen_chain::{Account, Ledger, deploy};
use galen_devchain::{Config, DevChain};
use galen_sdk::{Card, MAX_NAME_LEN, MAX_PLACE_LEN, Role, fingerprint};
use galen_types::{ErrorKind, KeyBundleId};
use proptest::prelude::*;

struct Net {
    runtime: tokio::runtime::Runtime,
    ledger: Ledger,
    _chain: DevChain,
}

/// One ledger for all tests.
fn net() -> &'static Net {
    static NET: OnceLock<Net> = OnceLock::new();
    NET.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (ledger, chain) = runtime.block_on(async {
            let payer = Account::random();
            let accounts = vec![(payer.controller(), U256::from(10).pow(U256::from(18)))];
            let chain = DevChain::in_memory(Config { accounts, ..Config::default() });
            let made = deploy(chain.provider(), &payer, &[Address::repeat_byte(1)], B256::ZERO)
                .await
                .unwrap();
            let ledger = Ledger::connect(chain.provider(), made.ledger, made.block).await.unwrap();
            (ledger, chain)
        });
        Net { runtime, ledger, _chain: chain }
    })
}

fn card(account: &Account) -> Card {
    Card {
        ledger: net().ledger.id(),
        id: account.id(),
        name: "St Anna".to_owned(),
        role: Role::Organization,
        bundle: KeyBundleId(B256::repeat_byte(7)),
        deployed_in: 12,
        code_hash: B256::repeat_byte(8),
        salt: B256::ZERO,
        rpc_url: "https://node.example".to_owned(),
        relay: String::new(),
        store: "local:/srv/galen".to_owned(),
        issued: 1_800_000_000,
        signature: Bytes::new(),
    }
}

fn signed() -> &'static Card {
    static CARD: OnceLock<Card> = OnceLock::new();
    CARD.get_or_init(|| {
        let account = Account::random();
        net().runtime.block_on(card(&account).sign(&account)).unwrap()
    })
}

#[test]
fn cards_are_signed_by_their_owner() {
    let verify = |card: &Card| net().runtime.block_on(card.verify(&net().ledger));
    verify(signed()).unwrap();
    let other = Account::random();
    // Another's id under one's own signature, and the owner's card under no signature.
    let stolen = Card { id: other.id(), ..signed().clone() };
    assert_eq!(verify(&stolen).unwrap_err().kind(), ErrorKind::Integrity);
    let bare = Card { signature: Bytes::new(), ..signed().clone() };
    assert_eq!(verify(&bare).unwrap_err().kind(), ErrorKind::Integrity);
    let refused = net().runtime.block_on(signed().clone().sign(&other)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}

#[test]
fn texts_on_cards_have_limits() {
    let account = Account::random();
    type Change = fn(&mut Card);
    let with = |change: Change| {
        let mut card = card(&account);
        change(&mut card);
        net().runtime.block_on(card.sign(&account)).map(|card| Card::decode(&card.encode()).is_ok())
    };
    let rows: [(Change, bool); 8] = [
        (|card| card.name = "ü".repeat(MAX_NAME_LEN / 2), true),
        (|card| card.name = "x".repeat(MAX_NAME_LEN + 1), false),
        (|card| card.name = "a\u{1b}[31mb".to_owned(), false),
        (|card| card.relay = "x".repeat(MAX_PLACE_LEN), true),
        (|card| card.rpc_url = "x".repeat(MAX_PLACE_LEN + 1), false),
        (|card| card.store = "a\nb".to_owned(), false),
        (|card| card.issued = 1 << 48, false),
        (|card| card.deployed_in = (1 << 48) - 1, true),
    ];
    for (row, (change, fits)) in rows.into_iter().enumerate() {
        assert_eq!(with(change).ok(), fits.then_some(true), "row {row}");
    }
}

#[test]
fn fingerprints_are_eight_words_of_id_and_keys() {
    let (id, bundle) = (Address::repeat_byte(1), KeyBundleId(B256::repeat_byte(2)));
    let words = fingerprint(id, bundle);
    assert_eq!(words.split(' ').count(), 8);
    assert_eq!(words, fingerprint(id, bundle));
    assert_ne!(words, fingerprint(Address::repeat_byte(2), bundle));
    assert_ne!(words, fingerprint(id, KeyBundleId(B256::repeat_byte(1))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn cards_have_one_text(
        name in "[^\\p{Cc}]{0,16}",
        role in 1_u8..=3,
        places in prop::array::uniform3("[^\\p{Cc}]{0,60}"),
        numbers in prop::array::uniform2(0_u64..1 << 48),
        chain_id: u64,
        words: [[u8; 32]; 3],
        signature in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let [rpc_url, relay, store] = places;
        let account = Account::random();
        let mut card = Card {
            name,
            role: Role::from_u8(role).unwrap(),
            rpc_url,
            relay,
            store,
            deployed_in: numbers[0],
            issued: numbers[1],
            bundle: KeyBundleId(B256::new(words[0])),
            code_hash: B256::new(words[1]),
            salt: B256::new(words[2]),
            signature: signature.into(),
            ..card(&account)
        };
        card.ledger.chain_id = chain_id;
        let text = card.encode();
        prop_assert_eq!(Card::decode(&text).unwrap(), card);
        let longer = [text.as_slice(), &[0]].concat();
        prop_assert!(Card::decode(&longer).is_err());
        prop_assert!(Card::decode(&text[..text.len() - 1]).is_err());
    }

    #[test]
    fn cards_show_any_flipped_bit(bit: prop::sample::Index) {
        let mut text = signed().encode();
        let bit = bit.index(text.len() * 8);
        text[bit / 8] ^= 1 << (bit % 8);
        let Ok(changed) = Card::decode(&text) else { return Ok(()) };
        prop_assert!(net().runtime.block_on(changed.verify(&net().ledger)).is_err());
    }
}
