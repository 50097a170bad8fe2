//! The sheet on which guardians sign that an id goes to a new controller.
//!
//! Whoever lost their keys starts it, a guardian adds the opening of the set and a signature, and so on from hand
//! to hand until enough have signed. Sheets that went different ways are merged. Whoever sees it learns who the
//! guardians are; the chain shows it to everybody once the recovery starts.
//!
//! ```text
//! sheet = { 0: 1, 1: chain id, 2: contract (20), 3: id (20), 4: controller (20), 5: final (0 or 1), 6: nonce,
//!           7: deadline, 8: [] or [threshold, final threshold, salt (32)],
//!           9: [ [guardian (20), signature], … ] }       ascending; an empty signature is one that misses
//! ```
//!
//! Deterministic CBOR (RFC 8949, section 4.2.1), at most [`MAX_RECOVERY_SHEET_LEN`] bytes.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, keccak256};
use galen_chain::{GuardianSet, RecoveryTerms, Sent, clear, typed};
use galen_types::{LedgerId, Salt};
use minicbor::{Decoder, decode};

use crate::{Error, FINGERPRINT_WORDS, Galen, cbor, recovery::MAX_GUARDIANS};

/// Most bytes of an encoded sheet.
pub const MAX_RECOVERY_SHEET_LEN: usize = 150_000;

/// Longest signature, in bytes: an ERC-1271 wallet may want many more than 65.
const MAX_SIGNATURE_LEN: usize = 4_096;

const FORMAT: u8 = 1;

/// What guardians sign, and who has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoverySheet {
    ledger: LedgerId,
    terms: RecoveryTerms,
    set: Option<GuardianSet>,
    signatures: BTreeMap<Address, Bytes>,
}

impl RecoverySheet {
    pub(super) const fn new(ledger: LedgerId, terms: RecoveryTerms) -> Self {
        Self { ledger, terms, set: None, signatures: BTreeMap::new() }
    }

    /// What is asked for.
    pub const fn terms(&self) -> &RecoveryTerms {
        &self.terms
    }

    /// The guardians, once one of them has shown who they are.
    pub const fn set(&self) -> Option<&GuardianSet> {
        self.set.as_ref()
    }

    /// Signatures so far, by guardian. [`Galen::check_recovery`] says whether they are good.
    pub const fn signatures(&self) -> &BTreeMap<Address, Bytes> {
        &self.signatures
    }

    /// How many must sign, once the set is known.
    pub fn needed(&self) -> Option<usize> {
        let set = self.set.as_ref()?;
        let needed = if self.terms.is_final { set.final_threshold } else { set.threshold };
        Some(usize::from(needed))
    }

    /// Guardians that have not signed.
    pub fn missing(&self) -> Vec<Address> {
        let guardians = self.set.iter().flat_map(|set| &set.guardians);
        guardians.filter(|guardian| !self.signatures.contains_key(*guardian)).copied().collect()
    }

    /// Whether as many have signed as the set wants.
    pub fn is_enough(&self) -> bool {
        self.needed().is_some_and(|needed| self.signatures.len() >= needed)
    }

    /// Words to compare by telephone before a guardian signs: they stand for network, id and new controller.
    pub fn words(&self) -> String {
        let RecoveryTerms { id, controller, .. } = &self.terms;
        let place = [&self.ledger.chain_id.to_be_bytes(), self.ledger.contract.as_slice()].concat();
        let text = [b"galen.recovery.words.v1", &*place, id.as_slice(), controller.as_slice()];
        clear::words(keccak256(text.concat()), FINGERPRINT_WORDS).join(" ")
    }

    /// Adds what another sheet of the same recovery has, which was checked before.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if it is of another recovery.
    pub fn merge(&mut self, other: Self) -> Result<(), Error> {
        let sets = self.set.as_ref().zip(other.set.as_ref());
        let agree = sets.is_none_or(|(ours, theirs)| ours == theirs);
        if (self.ledger, self.terms) != (other.ledger, other.terms) || !agree {
            return Err(Error::Invalid("the two sheets are of different recoveries"));
        }
        self.set = self.set.take().or(other.set);
        for (guardian, signature) in other.signatures {
            self.signatures.entry(guardian).or_insert(signature);
        }
        Ok(())
    }

    /// Adds the opening of the set and a guardian's signature.
    pub(super) fn add(&mut self, set: GuardianSet, guardian: Address, signature: Bytes) {
        self.set = Some(set);
        self.signatures.insert(guardian, signature);
    }

    /// The one encoding.
    pub fn encode(&self) -> Vec<u8> {
        let RecoveryTerms { id, controller, is_final, nonce, deadline } = &self.terms;
        cbor::encode(|writer| {
            writer.map(10)?.u8(0)?.u8(FORMAT)?.u8(1)?.u64(self.ledger.chain_id)?;
            writer.u8(2)?.bytes(self.ledger.contract.as_slice())?;
            writer.u8(3)?.bytes(id.as_slice())?.u8(4)?.bytes(controller.as_slice())?;
            writer.u8(5)?.u8((*is_final).into())?.u8(6)?.u32(*nonce)?.u8(7)?.u64(*deadline)?;
            match &self.set {
                Some(set) => {
                    writer.u8(8)?.array(3)?.u8(set.threshold)?.u8(set.final_threshold)?;
                    writer.bytes(set.salt.as_bytes())?;
                }
                None => {
                    writer.u8(8)?.array(0)?;
                }
            }
            let guardians = self.set.as_ref().map_or(&[][..], |set| &set.guardians);
            writer.u8(9)?.array(guardians.len() as u64)?;
            for guardian in guardians {
                let signature = self.signatures.get(guardian).map_or(&[][..], |it| it);
                writer.array(2)?.bytes(guardian.as_slice())?.bytes(signature)?;
            }
            writer.ok()
        })
    }

    /// Reads what [`RecoverySheet::encode`] writes and nothing else.
    ///
    /// # Errors
    ///
    /// [`Error::Crypto`] (malformed).
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        cbor::decode("recovery sheet", bytes, MAX_RECOVERY_SHEET_LEN, Self::read, Self::encode)
    }

    fn read(reader: &mut Decoder<'_>) -> Result<Self, decode::Error> {
        cbor::exactly(reader.map()?, 10)?;
        cbor::key(reader, 0)?;
        cbor::key(reader, FORMAT)?;
        cbor::key(reader, 1)?;
        let chain_id = reader.u64()?;
        cbor::key(reader, 2)?;
        let ledger = LedgerId { chain_id, contract: cbor::bytes(reader)?.into() };
        let terms = read_terms(reader)?;
        cbor::key(reader, 8)?;
        let head = match reader.array()? {
            Some(0) => None,
            Some(3) => {
                let thresholds = (reader.u8()?, reader.u8()?);
                Some((thresholds, Salt(B256::new(cbor::bytes(reader)?))))
            }
            _ => return Err(decode::Error::message("set")),
        };
        cbor::key(reader, 9)?;
        let count = reader.array()?.unwrap_or(u64::MAX);
        if count > MAX_GUARDIANS as u64 {
            return Err(decode::Error::message("guardians"));
        }
        let (mut guardians, mut signatures) = (Vec::new(), BTreeMap::new());
        for _ in 0..count {
            cbor::exactly(reader.array()?, 2)?;
            let guardian: Address = cbor::bytes(reader)?.into();
            let signature = reader.bytes()?;
            if signature.len() > MAX_SIGNATURE_LEN {
                return Err(decode::Error::message("signature"));
            }
            guardians.push(guardian);
            if !signature.is_empty() {
                signatures.insert(guardian, Bytes::copy_from_slice(signature));
            }
        }
        let set = head.map(|((threshold, final_threshold), salt)| GuardianSet {
            guardians,
            threshold,
            final_threshold,
            salt,
        });
        // Without a set there is nobody to sign: encoding again shows the difference.
        Ok(Self { ledger, terms, set, signatures })
    }
}

fn read_terms(reader: &mut Decoder<'_>) -> Result<RecoveryTerms, decode::Error> {
    cbor::key(reader, 3)?;
    let id = cbor::bytes(reader)?.into();
    cbor::key(reader, 4)?;
    let controller = cbor::bytes(reader)?.into();
    cbor::key(reader, 5)?;
    let is_final = match reader.u8()? {
        0 => false,
        1 => true,
        _ => return Err(decode::Error::message("final")),
    };
    cbor::key(reader, 6)?;
    let nonce = reader.u32()?;
    cbor::key(reader, 7)?;
    Ok(RecoveryTerms { id, controller, is_final, nonce, deadline: reader.u64()? })
}

impl Galen {
    /// Checks a sheet against the ledger: it is for this one, still in time, nothing happened to the guardianship
    /// since it was started, the guardians are those that the ledger names, and every signature is its guardian's
    /// (accounts and ERC-1271).
    ///
    /// # Errors
    ///
    /// - [`Error::Envelope`]: one of these does not hold.
    /// - [`Error::Chain`] (`NotSigned`): a signature is not its guardian's.
    pub async fn check_recovery(&self, sheet: &RecoverySheet) -> Result<(), Error> {
        if sheet.ledger != self.id() {
            return Err(Error::Envelope("it is for another ledger"));
        }
        let (terms, ledger) = (&sheet.terms, self.ledger());
        if self.time().await? > terms.deadline {
            return Err(Error::Envelope("the time to start this recovery is over: ask anew"));
        }
        let guardianship = ledger.guardianship(terms.id).await?;
        if !guardianship.is_set() {
            return Err(Error::Envelope("the id has no guardians"));
        }
        if guardianship.nonce != terms.nonce {
            return Err(Error::Envelope(
                "something was started, cancelled or finished since it was asked for: ask anew",
            ));
        }
        let Some(set) = &sheet.set else { return Ok(()) };
        if set.commitment() != guardianship.commitment {
            return Err(Error::Envelope("its guardians are not those that the ledger names"));
        }
        for (guardian, signature) in &sheet.signatures {
            let message = ledger.recovery_message(*guardian, terms).await?;
            let digest = typed::digest(&message, self.id());
            ledger.require_signed(*guardian, digest, signature).await?;
        }
        Ok(())
    }

    /// Starts the recovery of a sheet, which is checked first. Anybody may send it.
    ///
    /// # Errors
    ///
    /// As [`Galen::check_recovery`]; [`Error::GuardiansMissing`] if too few signed.
    pub async fn start_recovery(&self, sheet: &RecoverySheet) -> Result<Sent, Error> {
        self.check_recovery(sheet).await?;
        let enough = sheet.is_enough();
        let Some(set) = sheet.set.as_ref().filter(|_| enough) else {
            let (signed, needed) = (sheet.signatures.len(), sheet.needed());
            return Err(Error::GuardiansMissing { signed, needed });
        };
        let signature = |guardian| sheet.signatures.get(guardian).cloned().unwrap_or_default();
        let signatures = set.guardians.iter().map(signature).collect();
        Ok(self.ledger().start_recovery(&sheet.terms, set, signatures).await?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

    use super::*;

    fn sheet() -> RecoverySheet {
        let ledger = LedgerId { chain_id: 1, contract: Address::repeat_byte(7) };
        let (id, controller) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let terms = RecoveryTerms { id, controller, is_final: false, nonce: 1, deadline: 1_000 };
        RecoverySheet::new(ledger, terms)
    }

    fn set() -> GuardianSet {
        let guardians = (3..6).map(Address::repeat_byte).collect();
        let salt = Salt(B256::repeat_byte(9));
        GuardianSet { guardians, threshold: 2, final_threshold: 3, salt }
    }

    #[test]
    fn a_sheet_has_one_text_and_grows() {
        let asked = sheet();
        let signed = |n: u8| {
            let mut sheet = sheet();
            sheet.add(set(), Address::repeat_byte(n), Bytes::from(vec![n; 64]));
            sheet
        };
        let (mut first, second) = (signed(3), signed(5));
        for sheet in [&asked, &first, &second] {
            assert_eq!(RecoverySheet::decode(&sheet.encode()).unwrap(), *sheet);
            assert!(!sheet.is_enough());
        }
        assert_eq!((asked.needed(), first.needed()), (None, Some(2)));
        first.merge(second).unwrap();
        first.merge(asked.clone()).unwrap();
        assert_eq!(first.missing(), [Address::repeat_byte(4)]);
        assert!(first.is_enough());
        assert_eq!(RecoverySheet::decode(&first.encode()).unwrap(), first);

        let mut for_good = first.clone();
        for_good.terms.is_final = true;
        assert!(!for_good.is_enough(), "the second quorum is larger");
        assert!(first.merge(for_good).is_err());
        let mut longer = asked.encode();
        longer.push(0);
        assert!(RecoverySheet::decode(&longer).is_err());
    }

    /// What is read aloud must differ where a thief would put something else.
    #[test]
    fn words_stand_for_network_id_and_controller() {
        let honest = sheet();
        let mut other = [honest.clone(), honest.clone(), honest.clone(), honest.clone()];
        other[0].terms.controller = Address::repeat_byte(8);
        other[1].terms.id = Address::repeat_byte(8);
        other[2].ledger.chain_id = 2;
        other[3].ledger.contract = Address::repeat_byte(8);
        assert!(other.iter().all(|it| it.words() != honest.words()));
        assert_eq!(honest.words().split(' ').count(), FINGERPRINT_WORDS);
    }
}
