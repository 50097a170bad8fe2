//! SMART Health Cards among the inputs of `galen record propose`: what is proposed is the bundle of a card that holds.

use galen_sdk::health_card::{IssuerKeys, is_card_input, read_cards, verify_card};

use crate::{commands::fhir::cause, contacts::unix_now, error::CliError};

/// The bundle of a card, verified, byte for byte; any other input as it is.
pub(super) fn opened(bytes: Vec<u8>, keys: Option<&IssuerKeys>) -> Result<Vec<u8>, CliError> {
    if !is_card_input(&bytes) {
        return Ok(bytes);
    }
    let keys = keys.ok_or_else(|| {
        CliError::invalid(
            "a SMART Health Card says nothing without its issuer's keys",
            "give --issuer-keys FILE, or --issuer URL with --fetch-keys",
        )
    })?;
    let cards = read_cards(&[&bytes])?;
    let [card] = &cards[..] else {
        let help = "give each card as a file of its own";
        return Err(CliError::invalid("the file holds several cards", help));
    };
    // Said in one text, since the list of refused inputs has one cell for it.
    let card = verify_card(card, keys, unix_now());
    let card = card.map_err(|error| CliError::Told {
        kind: error.kind(),
        text: cause(&error),
        help: error.help().to_owned(),
    })?;
    Ok(card.bundle.expose().to_vec())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

    use super::*;

    #[test]
    fn cards_come_in_by_their_bundle_and_only_if_they_hold() {
        let file = |name: &str| {
            std::fs::read(format!("{}/tests/cmd/input/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
        };
        let keys = IssuerKeys::read(&file("issuer-jwks.json")).unwrap();
        let bundle = opened(file("anna.smart-health-card"), Some(&keys)).unwrap();
        assert_eq!(galen_fhir::Document::read(&bundle).unwrap().len(), 2);
        assert_eq!(opened(file("anna-qr.txt"), Some(&keys)).unwrap(), bundle);
        let other = keys.clone().of_issuer("https://other.example");
        for (name, keys, word) in [
            ("changed.smart-health-card", Some(&keys), "signature does not match"),
            ("anna.smart-health-card", Some(&other), "another issuer"),
            ("anna.smart-health-card", None, "issuer's keys"),
        ] {
            let error = opened(file(name), keys).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
        // What is no card is none of ours.
        assert_eq!(opened(b"{}".to_vec(), None).unwrap(), b"{}");
    }
}
