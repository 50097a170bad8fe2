//! Typed data, read back into the structs of [`typed`] or refused.

use alloy::{
    dyn_abi::{TypedData, eip712::Resolver},
    sol_types::{Eip712Domain, SolStruct},
};
use alloy_primitives::{Address, B256};
use serde::Serialize;

use crate::{
    account::{SignError, SigningRequest},
    typed,
};

macro_rules! messages {
    ($($name:ident),* $(,)?) => {
        /// Everything that a person can be asked to sign.
        #[derive(Clone, Debug)]
        pub(super) enum Message {
            $($name(typed::$name)),*
        }

        impl Message {
            /// Reads a request and recomputes its hashes.
            pub(super) fn read(request: &SigningRequest) -> Result<Read, SignError> {
                match request.typed.primary_type.as_str() {
                    $(<typed::$name as SolStruct>::NAME => {
                        read::<typed::$name>(request).map(|(message, encode_type, hash)| Read {
                            message: Self::$name(message),
                            encode_type,
                            hash,
                        })
                    })*
                    _ => Err(refused("Galen does not know this kind of message")),
                }
            }
        }
    };
}

messages!(
    Access,
    AccessRequest,
    Attestation,
    BulkAnchor,
    Cancellation,
    Card,
    ConsentChange,
    Contact,
    Cosignature,
    Envelope,
    GuardianChange,
    KeyBundle,
    KeyRequest,
    Offer,
    PieceRequest,
    Pieces,
    Proposal,
    ProxyReport,
    Recovery,
    Reply,
    ReportRequest,
    Reseal,
    Rotation,
    Settlement,
    Sharing,
    Vote,
    Withdrawal,
);

/// A message and what was recomputed from it.
pub(super) struct Read {
    pub(super) message: Message,
    /// The type string that is hashed.
    pub(super) encode_type: String,
    /// The struct hash.
    pub(super) hash: B256,
}

impl Message {
    /// The ids in whose name it can be signed.
    pub(super) fn signers(&self) -> Vec<Address> {
        match self {
            Self::Access(m) => vec![m.grantee],
            Self::AccessRequest(m) => vec![m.organization],
            Self::Attestation(m) => vec![m.author],
            Self::BulkAnchor(m) => vec![m.author],
            Self::Cancellation(m) => vec![m.id],
            Self::Card(m) => vec![m.id],
            Self::ConsentChange(m) => vec![m.signer],
            Self::Contact(m) => vec![m.patient],
            Self::Cosignature(m) => vec![m.cosigner],
            Self::Envelope(m) => vec![m.patient],
            Self::GuardianChange(m) => vec![m.id],
            Self::KeyBundle(m) => vec![m.id],
            Self::KeyRequest(m) => vec![m.grantee],
            Self::Offer(m) => vec![m.patient],
            Self::PieceRequest(m) => vec![m.id],
            Self::Pieces(m) => vec![m.id],
            Self::Proposal(m) => vec![m.author],
            Self::ProxyReport(m) => vec![m.proxy],
            Self::Recovery(m) => vec![m.guardian],
            Self::Reply(m) => vec![m.patient],
            Self::ReportRequest(m) => vec![m.patient],
            Self::Reseal(m) => vec![m.signer],
            // The old and the new controller sign the same struct.
            Self::Rotation(m) => vec![m.id, m.controller],
            Self::Settlement(m) => vec![m.signer],
            Self::Sharing(m) => vec![m.patient],
            Self::Vote(m) => vec![m.voter],
            Self::Withdrawal(m) => vec![m.author],
        }
    }

    /// Last Unix second at which the signature counts; what only states something has none.
    pub(super) fn deadline(&self) -> Option<u64> {
        let deadline = match self {
            Self::Access(m) => m.deadline,
            Self::AccessRequest(m) => m.deadline,
            Self::BulkAnchor(m) => m.deadline,
            Self::Cancellation(m) => m.deadline,
            Self::Attestation(_) | Self::Card(_) | Self::Offer(_) | Self::ProxyReport(_) => {
                return None;
            }
            Self::ConsentChange(m) => m.deadline,
            Self::Contact(m) => m.deadline,
            Self::Cosignature(m) => m.deadline,
            Self::Envelope(m) => m.deadline,
            Self::GuardianChange(m) => m.deadline,
            Self::KeyBundle(m) => m.deadline,
            Self::KeyRequest(m) => m.deadline,
            Self::PieceRequest(m) => m.deadline,
            Self::Pieces(m) => m.deadline,
            Self::Proposal(m) => m.deadline,
            Self::Recovery(m) => m.deadline,
            Self::Reply(m) => m.deadline,
            Self::ReportRequest(m) => m.deadline,
            Self::Reseal(m) => m.deadline,
            Self::Rotation(m) => m.deadline,
            Self::Settlement(m) => m.deadline,
            Self::Sharing(m) => m.deadline,
            Self::Vote(m) => m.deadline,
            Self::Withdrawal(m) => m.deadline,
        };
        Some(deadline.to::<u64>())
    }
}

/// The typed data must be, to the letter, what Galen itself writes for the struct that it holds. So a
/// field that is renamed, moved, hidden, doubled or written another way has no place to be.
fn read<T: SolStruct + Serialize>(
    request: &SigningRequest,
) -> Result<(T, String, B256), SignError> {
    let given = &request.typed;
    let domain = &given.domain;
    let votes = T::NAME == <typed::Vote as SolStruct>::NAME;
    if !is_ours(domain, if votes { "Galen Consortium" } else { "Galen" }) {
        return Err(refused("the domain is not one of Galen's"));
    }
    let mut types = Resolver::from_struct::<T>();
    types.ingest_string(domain.encode_type()).map_err(|_| refused("the domain has no types"))?;
    if json(&types)? != json(&given.resolver)? {
        return Err(refused("its types differ from Galen's"));
    }
    let decoded = given.coerce().ok().and_then(|value| T::abi_decode(&value.abi_encode()).ok());
    let message = decoded.ok_or_else(|| refused("the message does not fit its types"))?;
    if json(&TypedData::from_struct(&message, Some(domain.clone())))? != json(given)? {
        return Err(refused(
            "the message holds more than its types name, or writes it another way",
        ));
    }
    if message.eip712_signing_hash(domain) != request.digest {
        return Err(refused("the digest is not that of the message"));
    }
    let hash = message.eip712_hash_struct();
    Ok((message, T::eip712_encode_type().into_owned(), hash))
}

fn is_ours(domain: &Eip712Domain, name: &str) -> bool {
    let text = |value: &Option<std::borrow::Cow<'static, str>>, is: &str| {
        value.as_ref().is_some_and(|value| value.as_ref() == is)
    };
    text(&domain.name, name)
        && text(&domain.version, "1")
        && domain.chain_id.is_some_and(|chain_id| u64::try_from(chain_id).is_ok())
        && domain.verifying_contract.is_some()
        && domain.salt.is_none()
}

fn json<T: Serialize>(value: &T) -> Result<serde_json::Value, SignError> {
    serde_json::to_value(value).map_err(|_| refused("the typed data cannot be written"))
}

pub(super) fn refused(why: &str) -> SignError {
    SignError::Refused(why.to_owned())
}
