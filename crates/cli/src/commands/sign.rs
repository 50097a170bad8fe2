//! `galen wallet sign`: an owner of a contract wallet signs what another machine asks for.

use alloy_primitives::{Address, B256};
use galen_chain::{
    Signer,
    safe::{decode_request, encode_signature},
};
use serde::Serialize;

use crate::{error::CliError, session::Session, ui::Ui};

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
