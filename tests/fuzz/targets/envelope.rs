//! Any bytes as what proxies, grantees and guardians are sent: refused, or read with one text. The first byte says as
//! which.

#![no_main]

use galen_crypto::{
    ContactEnvelope, GrantEnvelope, Header, KeyBundle, Offer, PieceDigests, PieceEnvelope,
    PieceText, ReplyEnvelope, SecretPiece, ShareEnvelope, ShareKeys, ShareText,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let again = match kind % 11 {
        0 => GrantEnvelope::decode(bytes).map(|it| it.encode()).ok(),
        1 => ShareEnvelope::decode(bytes).map(|it| it.encode()).ok(),
        2 => PieceEnvelope::decode(bytes).map(|it| it.encode()).ok(),
        3 => Offer::decode(bytes).map(|it| it.encode()).ok(),
        4 => ContactEnvelope::decode(bytes).map(|it| it.encode()).ok(),
        5 => ReplyEnvelope::decode(bytes).map(|it| it.encode()).ok(),
        6 => KeyBundle::decode(bytes).map(|it| it.encode()).ok(),
        7 => ShareText::decode(bytes).map(|it| it.encode().to_vec()).ok(),
        8 => PieceText::decode(bytes).map(|it| it.encode().to_vec()).ok(),
        9 => ShareKeys::from_bytes(bytes).map(|it| it.to_bytes()).ok(),
        _ => {
            let piece = bytes.first_chunk().and_then(|it| SecretPiece::from_bytes(it).ok());
            if let Some(piece) = piece {
                assert_eq!(piece.to_bytes().as_slice(), &bytes[..SecretPiece::LEN]);
            }
            if let Ok(header) = Header::parse(bytes) {
                assert_eq!(header.to_bytes().as_slice(), &bytes[..galen_crypto::HEADER_LEN]);
            }
            PieceDigests::from_bytes(bytes).map(|it| it.to_bytes()).ok()
        }
    };
    if let Some(again) = again {
        assert!(again == bytes, "a second text was read");
    }
});
