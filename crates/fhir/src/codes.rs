//! Which codes are sensitive: a table that comes with this crate and that a site can extend or replace.
//!
//! The syntax is said at the head of `codes.tsv`.

use std::{collections::HashMap, sync::LazyLock};

use galen_types::ErrorKind;
use serde::Deserialize;

use crate::Category;

/// Bytes of the text of one table.
pub const MAX_TABLE_LEN: usize = 16 << 20;

/// Rows of a table, with those that it extends.
pub const MAX_ROWS: usize = 200_000;

/// Rows of a table that stand for more than one code.
pub const MAX_SPANS: usize = 4_096;

/// Code systems of a table, by name or URI.
pub const MAX_SYSTEMS: usize = 1_024;

/// Characters of a code in a table, dots not counted. Longer codes in documents are known by their first ones.
pub const MAX_CODE_LEN: usize = 64;

/// Characters of a system's URI or name.
pub const MAX_SYSTEM_LEN: usize = 255;

const BUILT_IN: &str = include_str!("codes.tsv");

/// Name of the rows for labels in `meta.security`.
const LABELS: &str = "security-label";

/// Name of the concepts of CIEL, which OpenMRS writes under any system.
const CIEL: &str = "ciel";

static TABLE: LazyLock<CodeTable> = LazyLock::new(|| {
    CodeTable::empty().with_text(BUILT_IN).expect("the table in this crate is tested")
});

/// The codes that make a resource sensitive, with the category of each.
///
/// ```
/// use galen_fhir::{Category, CodeTable};
///
/// let ours = CodeTable::built_in();
/// assert_eq!(ours.category("http://hl7.org/fhir/sid/icd-10", "B20.1"), Some(Category::Hiv));
///
/// let site = ours.with_text("https://lab.example/codes\tHIV*\thiv\nicd-10\tR75\tnone\n")?;
/// assert_eq!(site.category("https://lab.example/codes", "HIV-2"), Some(Category::Hiv));
/// assert_eq!(site.category("http://hl7.org/fhir/sid/icd-10", "R75"), None);
/// # Ok::<(), galen_fhir::CodesError>(())
/// ```
#[derive(Clone, Debug)]
pub struct CodeTable {
    /// Index of a system by its name and by its URIs.
    systems: HashMap<Box<str>, usize>,
    codes: Vec<Codes>,
    rows: usize,
    spans: usize,
}

/// The rows of one system.
#[derive(Clone, Debug, Default)]
struct Codes {
    exact: HashMap<Box<[u8]>, Option<Category>>,
    /// The most specific first, of equally specific ones the last of the table first.
    spans: Vec<Span>,
}

/// All codes that begin with something between the two ends, which are equally long.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    from: Box<[u8]>,
    to: Box<[u8]>,
    category: Option<Category>,
}

impl CodeTable {
    /// The table of this crate.
    pub fn built_in() -> &'static Self {
        &TABLE
    }

    /// A table without rows: no code is sensitive.
    pub fn empty() -> Self {
        Self { systems: HashMap::new(), codes: Vec::new(), rows: 0, spans: 0 }
    }

    /// This table and the rows of `text`. Of equally specific rows the new one decides.
    ///
    /// # Errors
    ///
    /// [`CodesError`] with the first line that is not a row.
    pub fn with_text(&self, text: &str) -> Result<Self, CodesError> {
        if text.len() > MAX_TABLE_LEN {
            return Err(CodesFault::TooLong { limit: MAX_TABLE_LEN }.on(0));
        }
        let lines = text.lines().enumerate();
        let used = lines.filter(|(_, line)| !line.starts_with('#') && !line.trim().is_empty());
        let mut table = self.clone();
        for (at, line) in used {
            let mut columns = line.split('\t');
            let fault = |fault: CodesFault| fault.on(at + 1);
            let (Some(system), Some(code), Some(value), None) =
                (columns.next(), columns.next(), columns.next(), columns.next())
            else {
                return Err(fault(CodesFault::Columns));
            };
            table.add([system, code, value]).map_err(fault)?;
        }
        Ok(table.sorted())
    }

    /// This table and more rows, each of system, code and category. Of equally specific rows the new one
    /// decides.
    ///
    /// # Errors
    ///
    /// As [`Self::with_text`].
    pub fn with_rows(&self, rows: &[[String; 3]]) -> Result<Self, CodesError> {
        let mut table = self.clone();
        for (at, [system, code, value]) in rows.iter().enumerate() {
            let failed = |fault: CodesFault| CodesError { is_row: true, ..fault.on(at + 1) };
            table.add([system, code, value]).map_err(failed)?;
        }
        Ok(table.sorted())
    }

    /// What a clinical code by itself gives away: a sensitive category, or nothing.
    pub fn category(&self, system: &str, code: &str) -> Option<Category> {
        if let Some(concept) = ciel_concept(system, code) {
            return self.find(CIEL, concept);
        }
        self.find(system, code)
    }

    /// What a label of `meta.security` says. Its system is not asked: no other has these words.
    pub(crate) fn label(&self, code: &str) -> Option<Category> {
        self.find(LABELS, code)
    }

    fn find(&self, system: &str, code: &str) -> Option<Category> {
        let codes = &self.codes[*self.systems.get(system)?];
        let mut buffer = [0; MAX_CODE_LEN];
        let (code, whole) = normal(code, &mut buffer);
        if whole && let Some(category) = codes.exact.get(code) {
            return *category;
        }
        codes.spans.iter().find(|span| span.holds(code)).and_then(|span| span.category)
    }

    fn add(&mut self, [system, code, value]: [&str; 3]) -> Result<(), CodesFault> {
        self.rows += 1;
        if self.rows > MAX_ROWS {
            return Err(CodesFault::TooManyRows { limit: MAX_ROWS });
        }
        for text in [system, code, value] {
            // A blank at an end would be invisible, and would make a row that never fits.
            if text.is_empty() || text.trim() != text || text.contains(char::is_control) {
                return Err(CodesFault::Text);
            }
        }
        if code == "=" {
            return self.name(system, value);
        }
        let category = category_of(value)?;
        let at = self.system(system)?;
        if let Some((from, to)) = code.split_once("..") {
            self.span(at, from, to, category)
        } else if let Some(start) = code.strip_suffix('*') {
            self.span(at, start, start, category)
        } else {
            self.codes[at].exact.insert(pattern(code)?, category);
            Ok(())
        }
    }

    /// Gives a system a name, or a name another system.
    fn name(&mut self, name: &str, uri: &str) -> Result<(), CodesFault> {
        if is_uri(name) || !is_uri(uri) {
            return Err(CodesFault::System);
        }
        let at = self.slot(name)?;
        match self.systems.get(uri) {
            Some(known) if *known == at => Ok(()),
            // Its rows would be lost, or would count for the wrong name.
            Some(_) => Err(CodesFault::NamedTwice),
            None => self.put(uri, at),
        }
    }

    fn system(&mut self, system: &str) -> Result<usize, CodesFault> {
        let known = [LABELS, CIEL].contains(&system) || self.systems.contains_key(system);
        if known || is_uri(system) { self.slot(system) } else { Err(CodesFault::System) }
    }

    fn slot(&mut self, system: &str) -> Result<usize, CodesFault> {
        if let Some(at) = self.systems.get(system) {
            return Ok(*at);
        }
        self.put(system, self.codes.len())?;
        self.codes.push(Codes::default());
        Ok(self.codes.len() - 1)
    }

    fn put(&mut self, system: &str, at: usize) -> Result<(), CodesFault> {
        if system.len() > MAX_SYSTEM_LEN || self.systems.len() >= MAX_SYSTEMS {
            return Err(CodesFault::TooManySystems { limit: MAX_SYSTEMS });
        }
        self.systems.insert(system.into(), at);
        Ok(())
    }

    fn span(
        &mut self,
        at: usize,
        from: &str,
        to: &str,
        category: Option<Category>,
    ) -> Result<(), CodesFault> {
        let (from, to) = (pattern(from)?, pattern(to)?);
        if from.len() != to.len() || from > to {
            return Err(CodesFault::Range);
        }
        self.spans += 1;
        if self.spans > MAX_SPANS {
            return Err(CodesFault::TooManySpans { limit: MAX_SPANS });
        }
        // The sort below is stable, so what stands first wins.
        self.codes[at].spans.insert(0, Span { from, to, category });
        Ok(())
    }

    fn sorted(mut self) -> Self {
        for codes in &mut self.codes {
            codes.spans.sort_by_key(|span| std::cmp::Reverse(span.from.len()));
        }
        self
    }
}

impl Default for CodeTable {
    fn default() -> Self {
        Self::built_in().clone()
    }
}

impl Span {
    fn holds(&self, code: &[u8]) -> bool {
        code.get(..self.from.len()).is_some_and(|start| *self.from <= *start && *start <= *self.to)
    }
}

/// The `[codes]` section of a site's settings. The caller reads the file.
///
/// ```toml
/// [codes]
/// replace = false             # true: only these rows, none of Galen's own
/// file = "codes.tsv"          # three columns, see `codes.tsv` of galen-fhir
/// rows = [["https://lab.example/codes", "HIV*", "hiv"]]
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CodeSettings {
    /// Whether the built-in table is left out.
    pub replace: bool,
    /// A file of rows.
    pub file: Option<std::path::PathBuf>,
    /// More rows, after those of the file.
    pub rows: Vec<[String; 3]>,
}

impl CodeSettings {
    /// The table that the settings ask for; `text` is what the file holds.
    ///
    /// # Errors
    ///
    /// As [`CodeTable::with_text`].
    pub fn table(&self, text: Option<&str>) -> Result<CodeTable, CodesError> {
        let base = if self.replace { CodeTable::empty() } else { CodeTable::default() };
        base.with_text(text.unwrap_or_default())?.with_rows(&self.rows)
    }
}

/// A code table is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} {line} of the code table: {fault}", if *.is_row { "row" } else { "line" })]
pub struct CodesError {
    /// Counted from 1; 0 for the whole text.
    pub line: usize,
    /// Whether it is one of [`CodeSettings::rows`] rather than a line of a text.
    pub is_row: bool,
    /// What is wrong there.
    pub fault: CodesFault,
}

impl CodesError {
    /// Always [`ErrorKind::Invalid`].
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// What is wrong with a row of a code table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodesFault {
    /// The text is longer than [`MAX_TABLE_LEN`].
    #[error("longer than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// More than [`MAX_ROWS`].
    #[error("more than {limit} rows")]
    TooManyRows {
        /// The limit in rows.
        limit: usize,
    },
    /// More than [`MAX_SPANS`].
    #[error("more than {limit} rows that stand for several codes")]
    TooManySpans {
        /// The limit in rows.
        limit: usize,
    },
    /// More than [`MAX_SYSTEMS`], or one that is longer than [`MAX_SYSTEM_LEN`].
    #[error("more than {limit} code systems, or one that is too long")]
    TooManySystems {
        /// The limit in systems.
        limit: usize,
    },
    /// Not three columns with one tab between each.
    #[error("not three columns separated by tabs")]
    Columns,
    /// A column is empty, or has control characters, or blanks at an end.
    #[error("a column is empty, or has blanks at an end or control characters")]
    Text,
    /// The system is neither a URI nor a name given before; or a name is given to what is no URI.
    #[error("the system is neither a URI nor a name given above")]
    System,
    /// The system has another name already, or rows under its URI.
    #[error("the system has another name, or rows of its own, already")]
    NamedTwice,
    /// The code is empty or longer than [`MAX_CODE_LEN`], or not ASCII.
    #[error("the code is empty, too long or not ASCII")]
    Code,
    /// The ends of a range differ in length or are in the wrong order.
    #[error("the ends of the range differ in length or are in the wrong order")]
    Range,
    /// Not the name of a category, nor `none`.
    #[error("unknown category")]
    UnknownCategory,
    /// A category that is not sensitive. Codes decide of nothing else.
    #[error("not a sensitive category")]
    NotSensitive,
}

impl CodesFault {
    const fn on(self, line: usize) -> CodesError {
        CodesError { line, is_row: false, fault: self }
    }
}

fn category_of(text: &str) -> Result<Option<Category>, CodesFault> {
    if text == "none" {
        return Ok(None);
    }
    let category: Category = text.parse().map_err(|_| CodesFault::UnknownCategory)?;
    if category.is_sensitive() { Ok(Some(category)) } else { Err(CodesFault::NotSensitive) }
}

fn is_uri(system: &str) -> bool {
    system.contains(':')
}

/// A code of a row, as documents' codes are compared with it.
fn pattern(code: &str) -> Result<Box<[u8]>, CodesFault> {
    let mut buffer = [0; MAX_CODE_LEN];
    match normal(code, &mut buffer) {
        ([], _) | (_, false) => Err(CodesFault::Code),
        (code, true) if code.is_ascii() && !code.contains(&b'*') => Ok(code.into()),
        _ => Err(CodesFault::Code),
    }
}

/// Upper case without dots, since national editions and local habits differ in both; and whether that is
/// the whole code.
fn normal<'a>(code: &str, buffer: &'a mut [u8; MAX_CODE_LEN]) -> (&'a [u8], bool) {
    let mut bytes = code.bytes().filter(|byte| *byte != b'.').map(|byte| byte.to_ascii_uppercase());
    let len = buffer.iter_mut().zip(&mut bytes).map(|(to, byte)| *to = byte).count();
    (&buffer[..len], bytes.next().is_none())
}

/// The number of a CIEL concept. OpenMRS writes it with A up to 36 characters, under any system.
pub(crate) fn ciel_concept<'a>(system: &str, code: &'a str) -> Option<&'a str> {
    const PADDED_LEN: usize = 36;
    if code.len() != PADDED_LEN && !system.contains("CIEL") {
        return None;
    }
    let number = code.trim_end_matches('A');
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let padded = code.len() == PADDED_LEN && number.len() < PADDED_LEN;
    (is_number && (padded || system.contains("CIEL"))).then_some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ICD: &str = "http://hl7.org/fhir/sid/icd-10-cm";
    const LOINC: &str = "http://loinc.org";
    const LAB: &str = "https://lab.example";

    #[test]
    fn built_in_table_knows_the_usual_codes() {
        use Category::{DomesticViolence, Hiv, MentalHealth, ReproductiveHealth, SubstanceUse};
        let rows = [
            (ICD, "B20", Some(Hiv)),
            (ICD, "b20.1", Some(Hiv)),
            ("http://fhir.de/CodeSystem/bfarm/icd-10-gm", "B24", Some(Hiv)),
            (ICD, "Z21", Some(Hiv)),
            (ICD, "O98.711", Some(Hiv)),
            (ICD, "O98.3", Some(ReproductiveHealth)),
            (ICD, "F10.20", Some(SubstanceUse)),
            (ICD, "F17.210", None),
            (ICD, "F32.9", Some(MentalHealth)),
            (ICD, "F64.0", Some(ReproductiveHealth)),
            (ICD, "O09.90", Some(ReproductiveHealth)),
            (ICD, "T74.11XA", Some(DomesticViolence)),
            (ICD, "Y07.0", Some(DomesticViolence)),
            (ICD, "Z63.0", None),
            (ICD, "E11.9", None),
            (ICD, "B2", None),
            (ICD, "é", None),
            (ICD, "", None),
            ("http://hl7.org/fhir/sid/icd-9-cm", "304.00", Some(SubstanceUse)),
            ("http://hl7.org/fhir/sid/icd-9-cm", "305.1", None),
            ("http://www.whocc.no/atc", "J05AF10", None),
            ("http://www.whocc.no/atc", "J05AF01", Some(Hiv)),
            (LOINC, "25836-8", Some(Hiv)),
            (LOINC, "76501-6", Some(DomesticViolence)),
            (LOINC, "2345-7", None),
            (LOINC, "856AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", Some(Hiv)),
            (LOINC, "856", None),
            ("https://openconceptlab.org/orgs/CIEL/sources/CIEL", "856", Some(Hiv)),
            ("loinc.org", "25836-8", None),
        ];
        for (system, code, expected) in rows {
            assert_eq!(CodeTable::built_in().category(system, code), expected, "{system} {code}");
        }
    }

    #[test]
    fn site_extends_or_replaces_the_table() {
        let rows = vec![[LAB.to_owned(), "X-1".to_owned(), "mental-health".to_owned()]];
        let settings = CodeSettings { replace: false, file: None, rows: rows.clone() };
        let table = settings.table(Some("icd-10\tF32*\tnone\nloinc\t2345-7\thiv\n")).unwrap();
        assert_eq!(table.category(LAB, "x-1"), Some(Category::MentalHealth));
        assert_eq!(table.category(ICD, "F32.1"), None, "of equal length the later row decides");
        assert_eq!(table.category(ICD, "F33.1"), Some(Category::MentalHealth));
        assert_eq!(table.category(LOINC, "2345-7"), Some(Category::Hiv));

        let alone = CodeSettings { replace: true, file: None, rows }.table(None).unwrap();
        assert_eq!(alone.category(LAB, "X-1"), Some(Category::MentalHealth));
        assert_eq!(alone.category(ICD, "B20"), None);
        assert_eq!(alone.label("HIV"), None);
    }

    #[test]
    fn table_names_the_line_that_is_no_row() {
        let long = "9".repeat(MAX_CODE_LEN + 1);
        let rows = [
            ("loinc\t1-8", CodesFault::Columns),
            ("loinc\t1-8\thiv\tmore", CodesFault::Columns),
            ("loinc 1-8 hiv", CodesFault::Columns),
            ("loinc\t\thiv", CodesFault::Text),
            ("loinc\t1-8 \thiv", CodesFault::Text),
            ("nobody\t1-8\thiv", CodesFault::System),
            ("name\t=\tno uri", CodesFault::System),
            ("urn:a\t=\turn:b", CodesFault::System),
            ("other\t=\thttp://loinc.org", CodesFault::NamedTwice),
            ("loinc\t*\thiv", CodesFault::Code),
            ("loinc\t.\thiv", CodesFault::Code),
            ("loinc\té\thiv", CodesFault::Code),
            ("loinc\tA*B\thiv", CodesFault::Code),
            (&format!("loinc\t{long}\thiv"), CodesFault::Code),
            ("icd-10\tB2..B24\thiv", CodesFault::Range),
            ("icd-10\tB24..B20\thiv", CodesFault::Range),
            ("loinc\t1-8\tHIV", CodesFault::UnknownCategory),
            ("loinc\t1-8\tlaboratory", CodesFault::NotSensitive),
        ];
        for (row, fault) in rows {
            let text = format!("# Ours.\n\n{row}\n");
            let error = CodeTable::built_in().with_text(&text).unwrap_err();
            assert_eq!(error, fault.on(3), "{row}");
        }
    }

    #[test]
    fn table_holds_its_limits() {
        let many = |row: &dyn Fn(usize) -> String, count| -> Result<CodeTable, CodesError> {
            CodeTable::empty().with_text(&(0..count).map(row).collect::<String>())
        };
        let fault = |result: Result<CodeTable, CodesError>| result.unwrap_err().fault;
        let spans = |n: usize| format!("urn:a\t{n:04}*\thiv\n");
        assert!(many(&spans, MAX_SPANS).is_ok());
        assert_eq!(
            fault(many(&spans, MAX_SPANS + 1)),
            CodesFault::TooManySpans { limit: MAX_SPANS }
        );
        let systems = |n: usize| format!("urn:{n}\t1\thiv\n");
        assert_eq!(
            fault(many(&systems, MAX_SYSTEMS + 1)),
            CodesFault::TooManySystems { limit: MAX_SYSTEMS }
        );
        let rows = |n: usize| format!("urn:a\t{n}\thiv\n");
        assert_eq!(fault(many(&rows, MAX_ROWS + 1)), CodesFault::TooManyRows { limit: MAX_ROWS });
        let long = "#".repeat(MAX_TABLE_LEN + 1);
        let error = CodeTable::empty().with_text(&long).unwrap_err();
        assert_eq!(error.fault, CodesFault::TooLong { limit: MAX_TABLE_LEN });
    }

    /// A code, a start or a range over a small alphabet, so that rows meet each other often.
    fn row() -> impl Strategy<Value = (String, String)> {
        let code = "[ABab]{1,3}";
        let pattern = prop_oneof![
            code.prop_map(|code| code),
            code.prop_map(|code| format!("{code}*")),
            ("[AB]{2}", "[AB]{2}").prop_map(|(a, b)| {
                let (from, to) = if a <= b { (a, b) } else { (b, a) };
                format!("{from}..{to}")
            }),
        ];
        let value = prop_oneof![Just("hiv"), Just("mental-health"), Just("none")];
        (pattern, value.prop_map(str::to_owned))
    }

    /// The rule as it is written at the head of the table, row by row.
    fn slowly(rows: &[(String, String)], code: &str) -> Option<Category> {
        let plain = |text: &str| text.replace('.', "").to_ascii_uppercase();
        let code = plain(code);
        let specific = |pattern: &str| -> Option<usize> {
            if let Some((from, to)) = pattern.split_once("..") {
                let start = code.get(..2)?;
                return (from <= start && start <= to).then_some(2);
            }
            match pattern.strip_suffix('*') {
                Some(start) => code.starts_with(&plain(start)).then_some(plain(start).len()),
                None => (plain(pattern) == code).then_some(usize::MAX),
            }
        };
        let fitting = rows.iter().filter_map(|(pattern, value)| Some((specific(pattern)?, value)));
        fitting.max_by_key(|(length, _)| *length).and_then(|(_, value)| value.parse().ok())
    }

    proptest! {
        #[test]
        fn table_decides_as_its_rule_says(
            rows in prop::collection::vec(row(), 0..12),
            cut in 0_usize..12,
            codes in prop::collection::vec("[ABab.]{0,5}", 8),
        ) {
            let text = |rows: &[(String, String)]| -> String {
                rows.iter().map(|(code, value)| format!("{LAB}\t{code}\t{value}\n")).collect()
            };
            let (first, second) = rows.split_at(cut.min(rows.len()));
            let table = CodeTable::empty().with_text(&text(first))?.with_text(&text(second))?;
            for code in codes {
                prop_assert_eq!(table.category(LAB, &code), slowly(&rows, &code), "{} {:?}", code, rows);
            }
        }

        #[test]
        fn table_survives_any_text(text in "([a-z.*=:\t\n#é ]|icd-10\t|\thiv\n){0,40}") {
            if let Err(error) = CodeTable::built_in().with_text(&text) {
                prop_assert!((1..=text.lines().count()).contains(&error.line));
            }
        }
    }
}
