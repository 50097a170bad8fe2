//! Where cards come from: a file, the text of a QR code, several of them.

use std::collections::BTreeMap;

use galen_crypto::jose::CompactJws;
use serde::Deserialize;

use super::CardError;

/// Longest input, in bytes.
pub const MAX_CARD_INPUT_LEN: usize = 4 << 20;

/// Most cards in one go.
pub const MAX_CARDS: usize = 64;

/// Most QR codes for one card.
const MAX_CHUNKS: usize = 64;

const SCHEME: &str = "shc:/";

/// How a file of cards, and an answer of `$health-cards-issue`, hold them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CardFile {
    #[serde(default)]
    verifiable_credential: Vec<String>,
    #[serde(default)]
    parameter: Vec<Parameter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameter {
    name: String,
    value_string: Option<String>,
}

/// Whether the text looks like a card rather than a FHIR document: `shc:/…`, a JWS, or a file of cards.
pub fn is_card_input(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii();
    if text.starts_with(SCHEME.as_bytes()) || text.starts_with(b"eyJ") {
        return true;
    }
    // A FHIR document has no such member at its top, which the reader of documents would refuse.
    #[derive(Deserialize)]
    struct Top {
        #[serde(rename = "verifiableCredential")]
        _cards: serde::de::IgnoredAny,
    }
    bytes.len() <= MAX_CARD_INPUT_LEN && serde_json::from_slice::<Top>(text).is_ok()
}

/// The cards of one or more inputs: card files, `Parameters` of `$health-cards-issue`, JWS, or lines of QR codes,
/// whose parts may lie in several inputs and in any order. White space around an input does not count.
///
/// # Errors
///
/// [`CardError::Source`], [`CardError::Jose`].
pub fn read_cards(inputs: &[&[u8]]) -> Result<Vec<CompactJws>, CardError> {
    let (mut tokens, mut chunks) = (Vec::new(), Chunks::default());
    for input in inputs {
        if input.len() > MAX_CARD_INPUT_LEN {
            return Err(CardError::Source("the input is too long"));
        }
        let text = std::str::from_utf8(input)
            .map_err(|_| CardError::Source("the input is not text"))?
            .trim();
        if text.starts_with(SCHEME) {
            text.lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .try_for_each(|line| chunks.take(line))?;
        } else if text.starts_with('{') {
            let wrong = |_| CardError::Source("the JSON is not a file of cards");
            let file: CardFile = serde_json::from_str(text).map_err(wrong)?;
            tokens.extend(file.verifiable_credential);
            let issued = file.parameter.into_iter().filter(|it| it.name == "verifiableCredential");
            tokens.extend(issued.filter_map(|it| it.value_string));
        } else {
            tokens.push(text.to_owned());
        }
        if tokens.len() > MAX_CARDS {
            return Err(CardError::Source("there are too many cards"));
        }
    }
    tokens.extend(chunks.finish()?);
    if tokens.is_empty() {
        return Err(CardError::Source("there is none in the input"));
    }
    if tokens.len() > MAX_CARDS {
        return Err(CardError::Source("there are too many cards"));
    }
    tokens.iter().map(|token| Ok(CompactJws::parse(token)?)).collect()
}

/// QR codes: whole cards, and the parts of one that was cut (which the specification keeps for old cards).
#[derive(Default)]
struct Chunks {
    whole: Vec<String>,
    total: usize,
    parts: BTreeMap<usize, String>,
}

impl Chunks {
    /// Takes one line: `shc:/DIGITS` or `shc:/NUMBER/TOTAL/DIGITS`.
    fn take(&mut self, line: &str) -> Result<(), CardError> {
        let wrong =
            CardError::Source("a QR code of a card is shc:/, perhaps its number, and digits");
        let Some(body) = line.strip_prefix(SCHEME) else { return Err(wrong) };
        let fields: Vec<&str> = body.splitn(4, '/').collect();
        match fields[..] {
            [digits] => self.whole.push(characters(digits)?),
            [number, total, digits] => {
                let (Some(number), Some(total)) = (small(number), small(total)) else {
                    return Err(wrong);
                };
                if number > total || (self.total != 0 && self.total != total) {
                    return Err(CardError::Source(
                        "the numbers of its QR codes do not fit each other",
                    ));
                }
                self.total = total;
                let part = characters(digits)?;
                if self.parts.insert(number, part.clone()).is_some_and(|before| before != part) {
                    return Err(CardError::Source("two different QR codes have the same number"));
                }
            }
            _ => return Err(wrong),
        }
        if self.whole.len() > MAX_CARDS {
            return Err(CardError::Source("there are too many cards"));
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<String>, CardError> {
        let mut tokens = self.whole;
        if self.parts.len() < self.total {
            return Err(CardError::Source("not all QR codes of the card are there"));
        }
        if self.total > 0 {
            tokens.push(self.parts.into_values().collect());
        }
        Ok(tokens)
    }
}

/// A number of a part, from 1.
fn small(text: &str) -> Option<usize> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && (1..=MAX_CHUNKS).contains(number))
}

/// Two digits for each character: its ASCII code less 45.
fn characters(digits: &str) -> Result<String, CardError> {
    let wrong = || CardError::Source("the digits of a QR code do not stand for a card");
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return Err(wrong());
    }
    let character = |pair: &[u8]| {
        let [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] = pair else { return None };
        let code = (tens - b'0') * 10 + (ones - b'0') + b'-';
        // What a compact JWS is made of.
        let known = code.is_ascii_alphanumeric() || b"-._".contains(&code);
        known.then_some(char::from(code))
    };
    digits.as_bytes().chunks(2).map(character).collect::<Option<String>>().ok_or_else(wrong)
}
