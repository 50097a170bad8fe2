//! `galen fhir card`: verifies SMART Health Cards.

use std::{path::Path, process::ExitCode, time::Duration};

use galen_crypto::jose::CompactJws;
use galen_sdk::health_card::{
    CardError, HealthCard, IssuerKeys, fetch_issuer_keys, read_cards, verify_card,
};
use serde::Serialize;

use super::read_input;
use crate::{
    args::{CardFilesArgs, Globals, IssuerArgs},
    contacts::unix_now,
    error::CliError,
    home, outfile, qr,
    settings::Settings,
    table::row,
    ui::Ui,
    when::Instant,
};

/// The result of `galen fhir card --json`.
#[derive(Debug, Serialize)]
struct Report {
    cards: Vec<Judged>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Judged {
    Good {
        good: bool,
        issuer: String,
        key: String,
        not_before: u64,
        expires: Option<u64>,
        types: Vec<String>,
        revocation: &'static str,
        remarks: Vec<&'static str>,
    },
    Refused {
        good: bool,
        cause: String,
        kind: &'static str,
        help: &'static str,
    },
}

pub(super) async fn run(
    args: &CardFilesArgs,
    globals: &Globals,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    let inputs = args.files.iter().map(|path| input(path)).collect::<Result<Vec<_>, _>>()?;
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let cards = read_cards(&inputs)?;
    let keys = issuer_keys(&args.issuer, Settings::resolve(globals)?.timeout.value, ui).await?;
    let results: Vec<_> = cards.iter().map(|card| verify_card(card, &keys, unix_now())).collect();
    let first = results.iter().find_map(|result| result.as_ref().err()).map(CardError::kind);
    let file = match &args.out {
        Some(path) => Some(write_bundle(path, &results, first.is_some())?),
        None => None,
    };
    let judged: Vec<Judged> =
        results.into_iter().zip(&cards).map(|(result, card)| Judged::of(result, card)).collect();
    if ui.json() {
        ui.object(&Report { cards: judged, file })?;
    } else {
        judged.iter().try_for_each(|judged| judged.print(ui))?;
    }
    Ok(first.map_or(ExitCode::SUCCESS, |kind| ExitCode::from(kind.exit_code())))
}

/// A file of cards, or the text of a QR code in a picture.
fn input(path: &Path) -> Result<Vec<u8>, CliError> {
    let bytes = read_input(path)?;
    if qr::is_png(&bytes) { Ok(qr::read_png(&bytes)?.into_bytes()) } else { Ok(bytes) }
}

fn write_bundle(
    path: &Path,
    results: &[Result<HealthCard, CardError>],
    any_refused: bool,
) -> Result<String, CliError> {
    match results {
        [Ok(card)] => Ok(outfile::write(path, card.bundle.expose(), false)?.display().to_string()),
        _ if any_refused => Err(CliError::integrity(
            "not every card holds, so no bundle is written",
            "see the cause without --out, and take the others one by one",
        )),
        _ => Err(CliError::invalid("there are several cards", "give one card for --out")),
    }
}

/// As [`issuer_keys`], where cards need not come in at all.
pub(crate) async fn chosen_keys(
    args: &IssuerArgs,
    timeout: Duration,
    ui: &Ui,
) -> Result<Option<IssuerKeys>, CliError> {
    if args.issuer_keys.is_none() && !args.fetch_keys {
        return Ok(None);
    }
    issuer_keys(args, timeout, ui).await.map(Some)
}

/// The keys that cards are verified against, as the arguments say.
async fn issuer_keys(
    args: &IssuerArgs,
    timeout: Duration,
    ui: &Ui,
) -> Result<IssuerKeys, CliError> {
    let keys = match (&args.issuer_keys, &args.issuer) {
        (Some(path), _) => of_path(path)?,
        (None, Some(issuer)) if args.fetch_keys => {
            ui.waiting("the issuer's keys", fetch_issuer_keys(issuer, timeout)).await?
        }
        _ => {
            return Err(CliError::invalid(
                "a card says nothing without its issuer's keys",
                "give --issuer-keys FILE, or --issuer URL with --fetch-keys",
            ));
        }
    };
    Ok(match &args.issuer {
        Some(issuer) => keys.of_issuer(issuer.clone()),
        None => {
            ui.status("any issuer that signs with these keys is taken; --issuer names the one that you mean");
            keys
        }
    })
}

/// A key set, or a folder with `.well-known/jwks.json` and perhaps `.well-known/crl`.
fn of_path(path: &Path) -> Result<IssuerKeys, CliError> {
    let missing = |path: &Path| {
        CliError::not_found(
            format!("there is no key set {}", path.display()),
            "give the issuer's jwks.json",
        )
    };
    if !path.is_dir() {
        let bytes = home::read_file(path)?.ok_or_else(|| missing(path))?;
        return Ok(IssuerKeys::read(&bytes)?);
    }
    let folder = path.join(".well-known");
    let file = folder.join("jwks.json");
    let mut keys = IssuerKeys::read(&home::read_file(&file)?.ok_or_else(|| missing(&file))?)?;
    let listed: Vec<String> = keys.with_lists().map(str::to_owned).collect();
    for kid in listed {
        // A key's id is its thumbprint, so it is a plain file name.
        if let Some(bytes) = home::read_file(&folder.join("crl").join(format!("{kid}.json")))? {
            keys.add_revocations(&bytes)?;
        }
    }
    Ok(keys)
}

impl Judged {
    fn of(result: Result<HealthCard, CardError>, _card: &CompactJws) -> Self {
        match result {
            Ok(card) => Self::Good {
                good: true,
                issuer: card.issuer,
                key: card.key_id,
                not_before: card.not_before,
                expires: card.expires,
                types: card.types,
                revocation: card.revocation.as_str(),
                remarks: card.remarks,
            },
            Err(error) => Self::Refused {
                good: false,
                cause: cause(&error),
                kind: error.kind().as_str(),
                help: error.help(),
            },
        }
    }

    fn print(&self, ui: &Ui) -> Result<(), CliError> {
        match self {
            Self::Good { issuer, not_before, expires, types, revocation, remarks, .. } => {
                remarks.iter().for_each(|remark| ui.status(&format!("note: {remark}")));
                let until =
                    expires.map(|at| Instant::from_unix(at).to_string()).unwrap_or_default();
                let kinds: Vec<&str> =
                    types.iter().filter_map(|name| name.split_once('#')).map(|it| it.1).collect();
                let from = Instant::from_unix(*not_before);
                row(ui, &[&"good", issuer, &from, &until, &kinds.join(","), revocation])
            }
            Self::Refused { cause, .. } => row(ui, &[&"refused", cause]),
        }
    }
}

/// The error with its cause: where a bundle is wrong says more than that it is.
pub(crate) fn cause(error: &CardError) -> String {
    match error {
        CardError::Bundle(fault) => format!("{error}: {fault}"),
        _ => error.to_string(),
    }
}
