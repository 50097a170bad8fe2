//! What is verified: a presentation or a signed document.

use std::{fs::File, io::Read, path::Path};

use alloy_primitives::B256;
use galen_fhir::parts::{ElementProof, Selection};
use galen_sdk::{Attestation, MAX_PRESENTATION_LEN, Presentation, SignedDocument};
use galen_types::{Element, Plaintext, Salt};

use crate::error::CliError;

/// A file whose parts hold together; nothing is said of the signature yet.
pub(super) struct Subject {
    /// `presentation` or `signed-document`.
    pub(super) kind: &'static str,
    pub(super) attestation: Attestation,
    /// What must have been signed.
    pub(super) digest: B256,
    /// What is shown, as FHIR JSON; the document itself, if all of it is.
    pub(super) view: Plaintext,
    pub(super) elements: usize,
    pub(super) complete: bool,
    /// One element, and its way to the signed root.
    pub(super) proof: (Element, Vec<B256>),
}

impl Subject {
    pub(super) fn read(path: &Path) -> Result<Self, CliError> {
        let shown = path.display().to_string();
        let bytes = Plaintext::new(read(path)?);
        let subject = match bytes.expose().trim_ascii_start().first() {
            Some(b'{') => Self::presentation(bytes.expose()),
            _ => Self::document(bytes.expose()),
        };
        subject.map_err(|source| {
            let cause = match source {
                galen_sdk::Error::Parts(error) => error.to_string(),
                other => other.to_string(),
            };
            CliError::integrity(
                format!("{shown} proves nothing: {cause}"),
                "do not rely on it: ask for the file again; a plain FHIR document is not signed by parts",
            )
        })
    }

    fn presentation(bytes: &[u8]) -> Result<Self, galen_sdk::Error> {
        let presentation = Presentation::decode(bytes)?;
        let verified = presentation.verify()?;
        let attestation = presentation.attestation().clone();
        let proof = presentation.proof(0).ok_or(galen_sdk::Error::Invalid("it shows nothing"))?;
        Ok(Self {
            kind: "presentation",
            digest: attestation.digest(verified.root)?,
            attestation,
            complete: verified.document.is_some(),
            view: verified.view,
            elements: verified.elements,
            proof: of_contract(proof),
        })
    }

    fn document(bytes: &[u8]) -> Result<Self, galen_sdk::Error> {
        let signed = SignedDocument::decode(bytes)?;
        let tree = signed.tree()?;
        let shown = tree.select(&Selection::default())?;
        let proof = Presentation::new(&signed, &shown).proof(0);
        let proof = proof.ok_or(galen_sdk::Error::Invalid("it shows nothing"))?;
        let attestation = signed.attestation().clone();
        Ok(Self {
            kind: "signed-document",
            digest: attestation.digest(tree.root())?,
            attestation,
            view: signed.document().clone(),
            elements: shown.len(),
            complete: true,
            proof: of_contract(proof),
        })
    }
}

fn of_contract(proof: ElementProof) -> (Element, Vec<B256>) {
    let ElementProof { salt, label, parent, content, path } = proof;
    (Element { salt: Salt(salt), label, parent, content }, path)
}

/// A file or standard input, and no more of it than a presentation may have.
fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let failed = |source| CliError::Read { path: path.display().to_string(), source };
    let limit = MAX_PRESENTATION_LEN as u64 + 1;
    let mut bytes = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let file = File::open(path).map_err(failed)?;
        file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    }
    Ok(bytes)
}
