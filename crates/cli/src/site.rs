//! The rules of a site for its documents, from one file that its people write.
//!
//! ```toml
//! [compliance]
//! required = ["meta.lastUpdated", "Observation.effective[x]"]
//! author = ["*"]
//! encounter = ["Observation", "Condition"]
//! security_labels = ["Condition"]
//! except = ["Organization", "Practitioner"]
//! identity_outside_patient = "in-references"
//!
//! [ingredients]
//! file = "ingredients.tsv"
//! rows = [["http://www.nlm.nih.gov/research/umls/rxnorm", "860975", "metformin"]]
//!
//! [signing]
//! whole = ["DiagnosticReport"]
//! core = ["Observation.interpretation"]
//!
//! [[parts]]
//! type = "Patient"
//! elements = ["birthDate", "gender"]
//! category = "demographics"
//!
//! [codes]
//! replace = false
//! file = "codes.tsv"
//! rows = [["https://lab.example/codes", "HIV*", "hiv"]]
//! ```

use std::path::{Path, PathBuf};

use galen_fhir::{
    CodeSettings, CodeTable, Compliance,
    chart::Ingredients,
    near_names,
    parts::{PartRule, PartsError, SigningPolicy},
};
use serde::Deserialize;

use crate::{
    error::CliError,
    home::read_text,
    settings::{Origin, Setting, Settings, read_toml},
};

/// What a site has decided. Without a file: nothing but the defaults.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Site {
    /// What documents must say, and must not, before they are sealed.
    pub(crate) compliance: Compliance,
    /// What medicines are made of, so that brand and generic meet in one line of a chart.
    pub(crate) ingredients: Ingredients,
    /// Which parts of what it signs must stay together.
    pub(crate) signing: SigningPolicy,
    /// Elements that are proposed as records of their own, too.
    pub(crate) parts: Vec<PartRule>,
    /// Which codes are sensitive, beside or in place of those that Galen knows.
    pub(crate) codes: CodeSettings,
    /// The table that `codes` gives.
    #[serde(skip)]
    pub(crate) table: CodeTable,
}

impl Site {
    /// Reads the file that the settings name. One that was named and is not there is an error.
    pub(crate) fn read(settings: &Settings) -> Result<Self, CliError> {
        let Some(Setting { value: path, origin }) = &settings.site else {
            return Ok(Self::default());
        };
        match read_toml::<Self>(path)? {
            Some(site) => {
                let wrong = |error: PartsError| {
                    let text = format!("[signing] of {}: {error}", path.display());
                    CliError::invalid(text, "name types and elements as FHIR R4 does")
                };
                site.signing.check().map_err(wrong)?;
                let wrong = |error: PartsError| {
                    let text = format!("[[parts]] of {}: {error}", path.display());
                    CliError::invalid(text, "name a type and its elements as FHIR R4 does")
                };
                site.parts.iter().try_for_each(PartRule::check).map_err(wrong)?;
                Self::with_files(site, path)
            }
            None if *origin == Origin::Default => Ok(Self::default()),
            None => Err(CliError::not_found(
                format!("there is no {}, named by {origin}", path.display()),
                "write the site's rules there, or name another file with --site",
            )),
        }
    }

    /// Reads the tables that the file names beside it.
    fn with_files(mut self, path: &Path) -> Result<Self, CliError> {
        if let Some(name) = self.ingredients.file().map(Path::new) {
            let help = "each line of the file of [ingredients]: system, code and ingredient, with tabs between them";
            let (file, text) = beside(path, name, help)?;
            let failed = |error| unusable(&file, &error, help);
            self.ingredients.extend_tsv(&text).map_err(failed)?;
        }
        let help = "each line or row of [codes]: system, code and sensitive category, with tabs between them";
        let named = self.codes.file.as_deref().map(|name| beside(path, name, help)).transpose()?;
        let text = named.as_ref().map(|(_, text)| text.as_str());
        let file = named.as_ref().map_or(path, |(file, _)| file);
        self.table = self
            .codes
            .table(text)
            .map_err(|error| unusable(if error.is_row { path } else { file }, &error, help))?;
        Ok(self)
    }

    /// What is set, for people who look whether it is what they meant.
    pub(crate) fn summary(&self) -> &'static str {
        if self.compliance.is_empty() { "no rule for documents" } else { "rules for documents" }
    }
}

/// The file of this name beside the site's own, and what it holds.
fn beside(site: &Path, name: &Path, help: &'static str) -> Result<(PathBuf, String), CliError> {
    let file = site.parent().unwrap_or(Path::new(".")).join(name);
    let text = read_text(&file)?.ok_or_else(|| {
        let message = format!("there is no {}, named by {}", file.display(), site.display());
        CliError::not_found(message, help)
    })?;
    Ok((file, text))
}

fn unusable(file: &Path, error: &dyn std::fmt::Display, help: &'static str) -> CliError {
    CliError::invalid(format!("cannot use {}: {error}", file.display()), help)
}

/// `; did you mean NAME?` behind what a parser says of a key that it does not know, if one is near.
pub(crate) fn meant(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let is_unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    let Some(word) = quoted.next().filter(|_| is_unknown) else { return String::new() };
    match near_names(word, quoted).as_slice() {
        [] => String::new(),
        near => format!("; did you mean {}?", near.join(" or ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meant_names_what_is_near() {
        for (message, told) in [
            (
                "unknown field `complianse`, expected `compliance` or `codes`",
                "; did you mean compliance?",
            ),
            ("unknown field `zzzz`, expected `compliance`", ""),
            ("expected `=`", ""),
        ] {
            assert_eq!(meant(message), told);
        }
    }
}
