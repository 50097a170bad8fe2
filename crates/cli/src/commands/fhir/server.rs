//! What pull and push have in common: the server, its token, and what to do when it does not do it.

use std::time::Duration;

use galen_services::fhir_server::{BearerToken, FhirServer, FhirServerError, FhirServerOptions};

use crate::{
    args::{Globals, ServerArgs},
    error::CliError,
    unlock::read_secret_file,
};

/// The server that the arguments name.
pub(super) fn server(args: &ServerArgs, globals: &Globals) -> Result<FhirServer, CliError> {
    let token = args.token_file.as_ref().map(|path| {
        let text = read_secret_file(path, "token file", "check --token-file")?;
        BearerToken::new(text).map_err(|error| told("use the token", &error))
    });
    let defaults = FhirServerOptions::default();
    let options = FhirServerOptions {
        timeout: globals.connection.timeout.unwrap_or(defaults.timeout),
        allow_plain_http: args.allow_plain_http,
        ..defaults
    };
    FhirServer::new(&args.server, token.transpose()?, options)
        .map_err(|error| told("use the server", &error))
}

/// What a server did not do, with its own words made inert, and what the person can do about it.
pub(super) fn told(doing: &str, error: &FhirServerError) -> CliError {
    let said = match error.said() {
        "" => String::new(),
        said => format!("; it says: {said}"),
    };
    CliError::Told {
        kind: error.kind(),
        text: format!("cannot {doing}: {error}{said}"),
        help: help(error).to_owned(),
    }
}

const fn help(error: &FhirServerError) -> &'static str {
    match error {
        FhirServerError::Setting(_) => {
            "give the base URL of a FHIR R4 server, such as https://fhir.example/r4, and ids and types as FHIR writes them"
        }
        FhirServerError::PlainHttp { .. } => {
            "use an https URL; inside a VPN or on a network of your own: --allow-plain-http"
        }
        FhirServerError::Unreachable(_) | FhirServerError::TimedOut { .. } => {
            "see that the server runs and the URL is right; run it again, it goes on where it stopped (--timeout waits longer)"
        }
        FhirServerError::Refused { .. } => {
            "write a token that is valid and allows this into a private file, and name it with --token-file"
        }
        FhirServerError::NotFound { .. } => {
            "check the URL and the id; `/metadata` below the URL must be the server's CapabilityStatement"
        }
        FhirServerError::Conflict { .. } => {
            "pull what the server has now and compare; --overwrite replaces it"
        }
        FhirServerError::NotTaken { .. } | FhirServerError::Partial { .. } => {
            "mend what the server says, or ask who runs it which resources it takes"
        }
        FhirServerError::Failing { .. } => {
            "wait a while and run it again: it goes on where it stopped"
        }
        FhirServerError::Redirect { .. } => {
            "nobody follows it, since the token would go with it: give the address that it leads to, if you trust it"
        }
        FhirServerError::OtherOrigin { .. } => {
            "nobody follows it, since the token would go with it: give the URL that the server itself names in its links"
        }
        FhirServerError::Malformed(_) | FhirServerError::TooLong { .. } => {
            "see that the URL is a FHIR server's base URL and not a web page or a login"
        }
        FhirServerError::Version { .. } => "give the URL of the server's R4 (4.0.1) endpoint",
        _ => "ask who runs the server",
    }
}

/// How long a whole pull or push may take.
pub(super) const LONGEST_RUN: Duration = Duration::from_secs(24 * 3_600);
