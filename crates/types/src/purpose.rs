//! Why somebody reads: HL7 v3 ActReason codes, each with its bit on chain.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::ParseError;

macro_rules! purposes {
    ($($(#[$doc:meta])* $variant:ident = $bit:literal, $code:literal;)*) => {
        /// Purpose of use, written as its HL7 v3 ActReason code. The number is the bit on chain and
        /// never changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Purpose {
            $($(#[$doc])* $variant = $bit,)*
        }

        impl Purpose {
            /// Every purpose, by bit.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// From the bit number that an access carries.
            pub const fn from_u8(bit: u8) -> Option<Self> {
                match bit {
                    $($bit => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The HL7 v3 ActReason code.
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)*
                }
            }
        }
    };
}

purposes! {
    /// Treatment.
    Treatment = 0, "TREAT";
    /// Emergency treatment: under a grantee-zero consent this is break-glass.
    EmergencyTreatment = 1, "ETREAT";
    /// Break the glass.
    BreakTheGlass = 2, "BTG";
    /// Healthcare payment.
    Payment = 3, "HPAYMT";
    /// Coverage under a policy.
    Coverage = 4, "COVERAGE";
    /// Healthcare operations.
    Operations = 5, "HOPERAT";
    /// Healthcare research.
    Research = 6, "HRESCH";
    /// Clinical trial research.
    ClinicalTrial = 7, "CLINTRCH";
    /// Public health.
    PublicHealth = 8, "PUBHLTH";
    /// Request of the patient.
    PatientRequest = 9, "PATRQT";
    /// Request of the family.
    FamilyRequest = 10, "FAMRQT";
    /// Power of attorney.
    PowerOfAttorney = 11, "PWATRNY";
    /// Care management.
    CareManagement = 12, "CAREMGT";
    /// Healthcare marketing.
    Marketing = 13, "HMARKT";
}

impl Purpose {
    /// The bit number on chain.
    pub const fn bit(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Purpose {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::ALL.iter().copied().find(|purpose| purpose.code() == text).ok_or(ParseError {
            what: "purpose of use",
            expected: "an HL7 v3 ActReason code such as TREAT, HPAYMT or HRESCH",
        })
    }
}

impl Serialize for Purpose {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Purpose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A set of purposes: bit `n` stands for the purpose with that number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PurposeSet(pub u32);

impl PurposeSet {
    /// Whether the set holds the purpose.
    pub const fn contains(self, purpose: Purpose) -> bool {
        (self.0 >> purpose.bit()) & 1 == 1
    }

    /// The purposes that this version of Galen has a name for, by bit.
    pub fn iter(self) -> impl Iterator<Item = Purpose> {
        Purpose::ALL.iter().copied().filter(move |purpose| self.contains(*purpose))
    }
}

impl FromIterator<Purpose> for PurposeSet {
    fn from_iter<I: IntoIterator<Item = Purpose>>(purposes: I) -> Self {
        Self(purposes.into_iter().fold(0, |bits, purpose| bits | 1 << purpose.bit()))
    }
}

impl fmt::Debug for PurposeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Purpose::code)).finish()
    }
}
