//! A site's table of what medicines are made of.

use std::collections::BTreeMap;

use galen_types::ErrorKind;
use serde::{Deserialize, Serialize};

use super::concept::system;

/// Most rows of a table. RxNorm has fewer clinical drugs.
pub const MAX_INGREDIENT_ROWS: usize = 1 << 20;

/// Which ingredient a medicine's code stands for, so that a brand and a generic meet in one line.
///
/// The table is the site's: this crate brings none, since the code systems have licences of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Ingredients {
    rows: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    file: Option<String>,
}

/// `[ingredients]` of a site's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// A file of rows, beside the site's file.
    #[serde(default)]
    file: Option<String>,
    /// Rows of system, code and ingredient.
    #[serde(default)]
    rows: Vec<[String; 3]>,
}

/// A table of ingredients cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[non_exhaustive]
pub enum IngredientsError {
    /// A line is not three texts with a tab between them.
    #[error("line {line} is not system, code and ingredient with tabs between them")]
    Line {
        /// The line, from 1.
        line: usize,
    },
    /// The table is too long.
    #[error("more than {limit} rows of ingredients")]
    TooMany {
        /// The limit in rows.
        limit: usize,
    },
}

impl IngredientsError {
    /// Always [`ErrorKind::Invalid`].
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Line { .. } | Self::TooMany { .. } => ErrorKind::Invalid,
        }
    }
}

impl Ingredients {
    /// Adds the rows of a text: on each line system, code and ingredient, separated by tabs. A medicine with
    /// several ingredients has several lines. Empty lines and those that begin with `#` do not count.
    ///
    /// # Errors
    ///
    /// [`IngredientsError`] with the line.
    pub fn extend_tsv(&mut self, text: &str) -> Result<(), IngredientsError> {
        for (at, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let cells: Vec<&str> = line.split('\t').map(str::trim).collect();
            match cells.as_slice() {
                [system, code, ingredient]
                    if ![system, code, ingredient].iter().any(|cell| cell.is_empty()) =>
                {
                    self.add(system, code, ingredient)?;
                }
                _ => return Err(IngredientsError::Line { line: at + 1 }),
            }
        }
        Ok(())
    }

    /// The file of more rows that the site's file names, relative to it.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.rows.values().flat_map(BTreeMap::values).map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn of(&self, system: &str, code: &str) -> impl Iterator<Item = &str> {
        let found = self.rows.get(system).and_then(|codes| codes.get(code));
        found.into_iter().flatten().map(String::as_str)
    }

    fn add(&mut self, named: &str, code: &str, ingredient: &str) -> Result<(), IngredientsError> {
        let codes = self.rows.entry(system(named).to_owned()).or_default();
        if codes.len() >= MAX_INGREDIENT_ROWS {
            return Err(IngredientsError::TooMany { limit: MAX_INGREDIENT_ROWS });
        }
        codes.entry(code.to_owned()).or_default().push(ingredient.to_owned());
        Ok(())
    }
}

impl TryFrom<Written> for Ingredients {
    type Error = IngredientsError;

    fn try_from(written: Written) -> Result<Self, IngredientsError> {
        let mut table = Self { file: written.file, ..Self::default() };
        for [system, code, ingredient] in &written.rows {
            table.add(system, code, ingredient)?;
        }
        Ok(table)
    }
}
