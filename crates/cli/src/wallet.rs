//! Where keystores lie.

use std::path::PathBuf;

use crate::{
    error::CliError,
    home::{Home, Name, cast_keystores},
    settings::Settings,
};

/// The keystore that signs.
pub(crate) fn locate(settings: &Settings) -> Result<PathBuf, CliError> {
    match (&settings.keystore, &settings.account) {
        (Some(path), _) => Ok(path.value.clone()),
        (None, Some(name)) => find(&settings.home.value, &name.value),
        (None, None) => Err(CliError::invalid(
            "no wallet is named",
            "use --account or --keystore; `galen wallet list` shows the wallets",
        )),
    }
}

/// A keystore by name: in Galen's folder, else in cast's.
pub(crate) fn find(home: &Home, name: &Name) -> Result<PathBuf, CliError> {
    let places = [Some(home.keystores()), cast_keystores()];
    let found = places
        .into_iter()
        .flatten()
        .map(|folder| folder.join(name.as_str()))
        .find(|path| path.is_file());
    found.ok_or_else(|| {
        CliError::not_found(
            format!("there is no wallet {name}"),
            "`galen wallet list` shows the wallets; `galen wallet new` makes one",
        )
    })
}
