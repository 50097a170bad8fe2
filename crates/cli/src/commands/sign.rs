//! `galen wallet sign`: an owner of a contract wallet signs what another machine asks for.

use alloy_primitives::{Address, B256};
use galen_chain::{
    Signer, SigningRequest,
    safe::{decode_request, encode_signature},
};
use serde::Serialize;

use crate::{error::CliError, session::Session, signers, ui::Ui};

/// The result of `galen wallet sign`.
#[derive(Debug, Serialize)]
struct Signed {
    /// The line for whoever asked.
    signature: String,
    /// The account that signed.
    signer: Address,
    /// The digest of the message.
    digest: B256,
    /// The contract wallet for which it was signed.
    wallet: Option<Address>,
}

/// Reads a `galen:sign:` line, explains it, asks, signs, and prints the `galen:signature:` line.
pub(crate) async fn sign(session: &Session, ui: &Ui, line: &str) -> Result<(), CliError> {
    let failed = |source: galen_chain::SignError| CliError::Chain {
        doing: "sign the request",
        source: source.into(),
    };
    let request = decode_request(line).map_err(failed)?;
    require_own(&request, session).await?;
    let asking = session.asking();
    let signature = asking.sign(&request).await.map_err(failed)?;
    let signed = Signed {
        signature: encode_signature(&signature).map_err(failed)?,
        signer: asking.address(),
        digest: request.digest,
        wallet: request.wallet,
    };
    if ui.json() { ui.object(&signed) } else { ui.line(&signed.signature) }
}

/// Only what is for a contract wallet that this profile's wallet is an owner of. What is for the profile itself
/// is signed by the command that makes it, and never because a line asks for it.
async fn require_own(request: &SigningRequest, session: &Session) -> Result<(), CliError> {
    let Some(wallet) = request.wallet else {
        return Err(CliError::invalid(
            "the request is not one of a contract wallet",
            "use the command for what is to be signed; requests of others are not signed",
        ));
    };
    let signer = session.asking().address();
    let owns = "use --profile with the profile of an owner; check with whom the request came from";
    if session.asking().wallet().is_some() {
        return Err(CliError::invalid("this profile is a contract wallet itself", owns));
    }
    match signers::ask(session.node(), wallet).await? {
        Some(rules) if rules.owners.contains(&signer) => Ok(()),
        Some(_) => {
            let text = format!("{signer:#x} is not an owner of the contract wallet {wallet:#x}");
            Err(CliError::invalid(text, owns))
        }
        None => {
            let text = format!("{wallet:#x} is no contract wallet that says who its owners are");
            Err(CliError::invalid(text, owns))
        }
    }
}
