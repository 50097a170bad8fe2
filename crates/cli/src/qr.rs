//! QR codes: for a terminal, as PNG and as SVG, and read from PNG.

use std::{
    fmt::Write as _,
    io::{self, Cursor},
};

use qrcode::{EcLevel, QrCode};

use crate::error::CliError;

/// Most pixels of a picture.
const MAX_PIXELS: usize = 64 << 20;

/// Dots of one module of a QR code in a PNG.
const MODULE_DOTS: usize = 8;

/// Modules of light around a QR code (ISO/IEC 18004, section 6.3.8).
const QUIET_MODULES: usize = 4;

const PNG_MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";

/// How much of a QR code may be damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Correction {
    /// 7 %: for long texts.
    Low,
    /// 15 %: for codes on paper.
    Medium,
}

/// A QR code.
pub(crate) struct Qr {
    /// Dark modules, row by row.
    modules: Vec<bool>,
    width: usize,
}

impl Qr {
    /// The code of a text; `None` if it is too long for one.
    pub(crate) fn new(text: &str, correction: Correction) -> Option<Self> {
        let level = match correction {
            Correction::Low => EcLevel::L,
            Correction::Medium => EcLevel::M,
        };
        let code = QrCode::with_error_correction_level(text, level).ok()?;
        let width = code.width();
        let modules = code.into_colors().into_iter().map(|color| color == qrcode::Color::Dark);
        Some(Self { modules: modules.collect(), width })
    }

    /// For a terminal: half blocks, light on dark as terminals are.
    pub(crate) fn to_terminal(&self) -> String {
        let side = self.width + 2 * QUIET_MODULES;
        let light = |x: usize, y: usize| {
            let inside = |at: usize| at.checked_sub(QUIET_MODULES).filter(|at| *at < self.width);
            match (inside(x), inside(y)) {
                (Some(x), Some(y)) => !self.modules[y * self.width + x],
                _ => y < side,
            }
        };
        let mut text = String::new();
        for y in (0..side).step_by(2) {
            for x in 0..side {
                text.push(match (light(x, y), light(x, y + 1)) {
                    (true, true) => '█',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    (false, false) => ' ',
                });
            }
            text.push('\n');
        }
        text
    }

    /// As a PNG.
    pub(crate) fn to_png(&self) -> Result<Vec<u8>, CliError> {
        let side = (self.width + 2 * QUIET_MODULES) * MODULE_DOTS;
        let mut dots = vec![0xff_u8; side * side];
        for (at, _) in self.modules.iter().enumerate().filter(|(_, dark)| **dark) {
            let x = (at % self.width + QUIET_MODULES) * MODULE_DOTS;
            let y = (at / self.width + QUIET_MODULES) * MODULE_DOTS;
            for row in y..y + MODULE_DOTS {
                dots[row * side + x..][..MODULE_DOTS].fill(0);
            }
        }
        let side = u32::try_from(side).expect("at most 185 modules of 8 dots");
        let mut png = Vec::new();
        let mut encoder = png::Encoder::new(&mut png, side, side);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        let written = encoder.write_header().and_then(|mut writer| {
            writer.write_image_data(&dots)?;
            writer.finish()
        });
        written.map_err(io::Error::other)?;
        Ok(png)
    }

    /// As an SVG: one path, a run of dark modules each, on white.
    pub(crate) fn to_svg(&self) -> String {
        let side = self.width + 2 * QUIET_MODULES;
        let mut path = String::new();
        for (y, row) in self.modules.chunks(self.width).enumerate() {
            let mut x = 0;
            for run in row.chunk_by(|a, b| a == b) {
                if run[0] {
                    let (left, top, len) = (x + QUIET_MODULES, y + QUIET_MODULES, run.len());
                    let _ = write!(path, "M{left} {top}h{len}v1h-{len}z");
                }
                x += run.len();
            }
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\
             <path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/><path d=\"{path}\"/></svg>\n"
        )
    }
}

/// Whether a file is a PNG.
pub(crate) fn is_png(bytes: &[u8]) -> bool {
    bytes.starts_with(PNG_MAGIC)
}

/// The text of the one QR code in a picture.
pub(crate) fn read_png(bytes: &[u8]) -> Result<String, CliError> {
    let help = "take the picture again, straight and sharp; or hand over the text";
    let wrong = |why: &str| CliError::invalid(format!("no QR code could be read: {why}"), help);
    let mut decoder =
        png::Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: 4 * MAX_PIXELS });
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(|_| wrong("not a PNG"))?;
    let len = reader.output_buffer_size().filter(|len| *len <= 4 * MAX_PIXELS);
    let mut dots = vec![0; len.ok_or_else(|| wrong("the picture is too large"))?];
    let frame = reader.next_frame(&mut dots).map_err(|_| wrong("the PNG is damaged"))?;
    let (width, height) = (frame.width as usize, frame.height as usize);
    let samples = frame.color_type.samples();
    let gray = |x: usize, y: usize| {
        let dot = &dots[(y * width + x) * samples..][..samples];
        match *dot {
            [gray] | [gray, _] => gray,
            [red, green, blue] | [red, green, blue, _] => {
                let sum = 299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue);
                u8::try_from(sum / 1_000).unwrap_or(u8::MAX)
            }
            _ => u8::MAX,
        }
    };
    let mut picture = rqrr::PreparedImage::prepare_from_greyscale(width, height, gray);
    let grids = picture.detect_grids();
    let [grid] = grids.as_slice() else {
        return Err(wrong(if grids.is_empty() { "there is none" } else { "there are several" }));
    };
    Ok(grid.decode().map_err(|_| wrong("it is damaged"))?.1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

    use super::*;

    /// The dark modules of an SVG of ours, drawn from its path.
    fn drawn(svg: &str, width: usize) -> Vec<bool> {
        let path = svg.rsplit("d=\"").next().unwrap().split('"').next().unwrap();
        let mut modules = vec![false; width * width];
        for run in path.split_terminator('z') {
            let numbers: Vec<usize> =
                run.split(|c: char| !c.is_ascii_digit()).filter_map(|it| it.parse().ok()).collect();
            for x in numbers[0]..numbers[0] + numbers[2] {
                modules[(numbers[1] - QUIET_MODULES) * width + x - QUIET_MODULES] = true;
            }
        }
        modules
    }

    #[test]
    fn codes_read_as_what_they_were_made_of() {
        let link = format!("https://viewer.example#shlink:/{}", "eyJ1cmwiOiJodHRwczov".repeat(25));
        for text in ["a", "shlink:/eyJ", &link] {
            for correction in [Correction::Low, Correction::Medium] {
                let qr = Qr::new(text, correction).unwrap();
                assert_eq!(read_png(&qr.to_png().unwrap()).unwrap(), text);
                let svg = qr.to_svg();
                assert_eq!(drawn(&svg, qr.width), qr.modules);
                let lines = qr.to_terminal();
                assert!(
                    lines.lines().all(|line| line.chars().count() == qr.width + 2 * QUIET_MODULES)
                );
            }
        }
        assert!(Qr::new(&"x".repeat(3_000), Correction::Low).is_none());
        assert!(read_png(b"no picture").is_err());
    }
}
