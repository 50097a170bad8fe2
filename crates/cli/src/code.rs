//! Cards and envelopes on their way from person to person: as a line of text, in a file, or as a QR code.
//!
//! The line is `galen:<kind>:<base64url without padding of the bytes>`. A QR code holds the same as
//! `GALEN:<KIND>:<base32 without padding>`, all of it characters of its alphanumeric mode, which takes a fifth
//! fewer modules and so holds an introduction.

use std::{
    fmt,
    io::{self, Read},
    path::Path,
    str::FromStr,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use data_encoding::BASE32_NOPAD;

use crate::{
    error::CliError,
    home,
    qr::{self, Correction, Qr},
};

/// Longest thing that is read, in bytes of its file: a PNG of a photograph.
const MAX_INPUT_LEN: u64 = 32 << 20;

/// What a line holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Card,
    Introduction,
    Grant,
    Cosignature,
    Sign,
    Signature,
    Reply,
    Guardian,
    Recovery,
    PieceRequest,
    Piece,
}

impl Kind {
    pub(crate) const ALL: [Self; 11] = [
        Self::Card,
        Self::Introduction,
        Self::Grant,
        Self::Cosignature,
        Self::Sign,
        Self::Signature,
        Self::Reply,
        Self::Guardian,
        Self::Recovery,
        Self::PieceRequest,
        Self::Piece,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Introduction => "introduction",
            Self::Grant => "grant",
            Self::Cosignature => "cosignature",
            Self::Sign => "sign",
            Self::Signature => "signature",
            Self::Reply => "reply",
            Self::Guardian => "guardian",
            Self::Recovery => "recovery",
            Self::PieceRequest => "piece-request",
            Self::Piece => "piece",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A kind and its bytes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Code {
    pub(crate) kind: Kind,
    pub(crate) bytes: Vec<u8>,
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({}, {} bytes)", self.kind, self.bytes.len())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "galen:{}:{}", self.kind, URL_SAFE_NO_PAD.encode(&self.bytes))
    }
}

impl FromStr for Code {
    type Err = CliError;

    fn from_str(text: &str) -> Result<Self, CliError> {
        let wrong = |why: &str| {
            let help = "a line is galen:KIND:TEXT, whole, without spaces or line breaks in it";
            CliError::invalid(format!("not a line of Galen: {why}"), help)
        };
        let capitals = text.strip_prefix("GALEN:");
        let is_capital = capitals.is_some();
        let rest = capitals.or_else(|| text.strip_prefix("galen:"));
        let rest = rest.ok_or_else(|| wrong("it does not begin with galen:"))?;
        let (kind, body) = rest.split_once(':').ok_or_else(|| wrong("it ends too early"))?;
        let named = |known: &Kind| match is_capital {
            true => known.as_str().to_uppercase() == kind,
            false => known.as_str() == kind,
        };
        let kind = Kind::ALL.into_iter().find(named);
        let kind = kind.ok_or_else(|| wrong("its kind is unknown to this release"))?;
        // Both engines refuse padding and bits that stand for nothing, so one value has one text in each form.
        if is_capital {
            let bytes = BASE32_NOPAD.decode(body.as_bytes());
            return Ok(Self { kind, bytes: bytes.map_err(|_| wrong("its text is damaged"))? });
        }
        let bytes = URL_SAFE_NO_PAD.decode(body).map_err(|_| wrong("its text is damaged"))?;
        Ok(Self { kind, bytes })
    }
}

impl Code {
    pub(crate) const fn new(kind: Kind, bytes: Vec<u8>) -> Self {
        Self { kind, bytes }
    }

    /// Reads one of these kinds from a file, a PNG with a QR code, the line itself, or `-` for standard input.
    pub(crate) fn read(source: &str, kinds: &[Kind]) -> Result<Self, CliError> {
        source_text(source)?.trim().parse::<Self>()?.of(kinds)
    }

    /// As [`Code::read`], for a file of several lines.
    pub(crate) fn read_all(source: &str, kinds: &[Kind]) -> Result<Vec<Self>, CliError> {
        let text = source_text(source)?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.map(|line| line.parse::<Self>()?.of(kinds)).collect()
    }

    /// The code, if it is one of these kinds.
    fn of(self, kinds: &[Kind]) -> Result<Self, CliError> {
        let code = self;
        if kinds.contains(&code.kind) {
            return Ok(code);
        }
        let wanted: Vec<_> = kinds.iter().map(ToString::to_string).collect();
        Err(CliError::invalid(
            format!("this is a {}", code.kind),
            format!("what is wanted here is a {}", wanted.join(" or a ")),
        ))
    }

    /// The line as a QR code for a terminal.
    pub(crate) fn to_terminal(&self) -> Result<String, CliError> {
        Ok(self.qr()?.to_terminal())
    }

    /// The line as a QR code in a PNG.
    pub(crate) fn to_png(&self) -> Result<Vec<u8>, CliError> {
        self.qr()?.to_png()
    }

    /// The line as a QR code holds it.
    fn to_capitals(&self) -> String {
        let kind = self.kind.as_str().to_uppercase();
        format!("GALEN:{kind}:{}", BASE32_NOPAD.encode(&self.bytes))
    }

    fn qr(&self) -> Result<Qr, CliError> {
        Qr::new(&self.to_capitals(), Correction::Low).ok_or_else(|| {
            let (kind, len) = (self.kind, self.bytes.len());
            CliError::invalid(
                format!("this {kind} of {len} bytes is too long for a QR code"),
                "hand it over as text or as a file: --out FILE",
            )
        })
    }
}

/// Where a line goes.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Output {
    /// Write the line to a file.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<std::path::PathBuf>,
    /// Show it as a QR code on the terminal (stderr).
    #[arg(long)]
    pub(crate) qr: bool,
    /// Write it as a QR code in a PNG.
    #[arg(long, value_name = "FILE")]
    pub(crate) png: Option<std::path::PathBuf>,
}

impl Output {
    /// Writes the files and shows the QR code. The line itself is the caller's to print.
    pub(crate) fn write(&self, code: &Code, ui: &crate::ui::Ui) -> Result<(), CliError> {
        if let Some(path) = &self.png {
            home::create_private(path, &code.to_png()?)?;
        }
        if let Some(path) = &self.out {
            home::create_private(path, format!("{code}\n").as_bytes())?;
        }
        if self.qr {
            ui.show(&code.to_terminal()?);
        }
        Ok(())
    }
}

/// The text of a source: the line itself, or what a file, a picture or standard input holds.
fn source_text(source: &str) -> Result<String, CliError> {
    if source.starts_with("galen:") || source.starts_with("GALEN:") {
        return Ok(source.to_owned());
    }
    file_text(source)
}

/// What a file, a picture of a QR code or standard input (`-`) holds as text.
pub(crate) fn file_text(source: &str) -> Result<String, CliError> {
    let bytes = read_source(source)?;
    if qr::is_png(&bytes) {
        return qr::read_png(&bytes);
    }
    Ok(String::from_utf8(bytes).unwrap_or_default())
}

fn read_source(source: &str) -> Result<Vec<u8>, CliError> {
    if source != "-" {
        return home::read_file(Path::new(source))?.ok_or_else(|| {
            CliError::not_found(
                format!("there is no file {}", source.escape_debug()),
                "give a file, a PNG, the line that begins with galen:, or - for standard input",
            )
        });
    }
    let mut bytes = Vec::new();
    let failed = |source| CliError::Read { path: "standard input".to_owned(), source };
    io::stdin().lock().take(MAX_INPUT_LEN).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

    use qrcode::{EcLevel, QrCode};

    use super::*;

    #[test]
    fn codes_have_one_text_in_each_form() {
        for kind in Kind::ALL {
            for len in [0, 1, 2, 3, 400] {
                let code = Code::new(kind, vec![0xa7; len]);
                assert_eq!(code.to_string().parse::<Code>().unwrap(), code);
                assert_eq!(code.to_capitals().parse::<Code>().unwrap(), code);
            }
        }
        for wrong in [
            "",
            "galen:",
            "galen:card",
            "galen:nothing:AAAA",
            "galen:card:AAA=",
            "galen:card:AB",
            "galen:card:AA AA",
            "GALEN:card:AAAA",
            "galen:CARD:AAAA",
            "Galen:CARD:AAAA",
            "GALEN:CARD:aaaa",
            "GALEN:CARD:AB",
            "GALEN:CARD:AAA",
            "GALEN:CARD:AA======",
            "GALEN:CARD:AA AA",
            "GALEN:CARD:A0",
            "galen:card:+/+/",
            " galen:card:AAAA",
        ] {
            assert!(wrong.parse::<Code>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn codes_survive_a_picture() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("card.png");
        let bytes =
            |len: usize| (0..len).map(|at| (at * 167 + at / 256).to_le_bytes()[0]).collect();
        for kind in Kind::ALL {
            // The most that version 40 holds with error correction L (ISO/IEC 18004, table 7), less the prefix.
            let most = (4_296 - format!("GALEN:{kind}:").len()) * 5 / 8;
            for len in [400, most] {
                let code = Code::new(kind, bytes(len));
                std::fs::write(&path, code.to_png().unwrap()).unwrap();
                assert_eq!(Code::read(path.to_str().unwrap(), &[kind]).unwrap(), code);
                let lines = code.to_terminal().unwrap();
                let widths: Vec<_> = lines.lines().map(|line| line.chars().count()).collect();
                assert!(
                    widths.iter().all(|width| *width == widths[0])
                        && widths.len() == widths[0].div_ceil(2)
                );
            }
            let error = Code::new(kind, bytes(2_800)).to_png().map(drop).unwrap_err();
            assert!(error.to_string().contains("too long for a QR code"));
        }
        // As a phone's reader gives it.
        let code = Code::new(Kind::Card, bytes(400));
        std::fs::write(&path, code.to_capitals()).unwrap();
        assert_eq!(Code::read(path.to_str().unwrap(), &[Kind::Card]).unwrap(), code);
        assert_eq!(Code::read(&code.to_capitals(), &[Kind::Card]).unwrap(), code);
        let modules =
            |text: &str| QrCode::with_error_correction_level(text, EcLevel::L).unwrap().width();
        assert!(modules(&code.to_capitals()) < modules(&code.to_string()));
        let mut broken = Code::new(Kind::Card, vec![1; 40]).to_png().unwrap();
        let middle = broken.len() / 2;
        broken.truncate(middle);
        std::fs::write(&path, broken).unwrap();
        assert!(Code::read(path.to_str().unwrap(), &[Kind::Card]).is_err());
    }

    #[test]
    fn codes_of_another_kind_are_refused() {
        let error = Code::read("galen:grant:AAAA", &[Kind::Card, Kind::Introduction]).unwrap_err();
        assert_eq!(error.to_string(), "this is a grant");
    }
}
