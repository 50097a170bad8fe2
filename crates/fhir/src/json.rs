//! JSON tokens (RFC 8259) as spans of the input. Nothing is converted: numbers and strings keep their text.

use std::{borrow::Cow, char, ops::Range};

use crate::error::{Broken, Fault};

/// Arrays and objects inside each other. The deepest published example of R4 has 22.
pub const MAX_DEPTH: usize = 64;

/// Keys of one object while its resource type is not yet known; after that, every key must be an element.
///
/// R4's largest structure, `ElementDefinition`, has about 200, twice that with `_` siblings.
pub const MAX_KEYS: usize = 512;

/// Items of one array. Bundles of one patient have some thousands of entries.
pub const MAX_ITEMS: usize = 1 << 20;

/// Bytes of one number. FHIR asks for 18 significant digits; calculated values can be longer.
pub const MAX_NUMBER_LEN: usize = 1024;

/// A string of the document, without its quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) escaped: bool,
}

impl Text {
    /// The string as it is meant. `bytes` is the document in which the span was found.
    pub(crate) fn decode<'a>(&self, bytes: &'a [u8]) -> Cow<'a, str> {
        let raw = std::str::from_utf8(&bytes[self.start..self.end])
            .expect("the document was checked, and quotes lie on character boundaries");
        if self.escaped { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) }
    }

    pub(crate) const fn len(&self) -> usize {
        self.end - self.start
    }
}

/// Resolves the escapes of a string that the lexer has already checked.
fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = rest.as_bytes()[at + 1];
        rest = &rest[at + 2..];
        match escape {
            b'u' => {
                let mut units = vec![hex4(rest)];
                rest = &rest[4..];
                if (0xd800..0xdc00).contains(&units[0]) {
                    units.push(hex4(&rest[2..]));
                    rest = &rest[6..];
                }
                out.extend(
                    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)),
                );
            }
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            other => out.push(char::from(other)),
        }
    }
    out.push_str(rest);
    out
}

fn hex4(text: &str) -> u16 {
    u16::from_str_radix(&text[..4], 16).expect("the lexer accepts only four hex digits")
}

/// A position in a document that is known to be UTF-8.
#[derive(Debug)]
pub(crate) struct Lexer<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) pos: usize,
}

impl Lexer<'_> {
    /// The next byte that is not white space, without taking it.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes.get(self.pos) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(*byte);
            }
            self.pos += 1;
        }
        None
    }

    /// Takes `byte`, or fails there.
    pub(crate) fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Broken> {
        if self.peek() != Some(byte) {
            return Err(self.unexpected(expected));
        }
        self.pos += 1;
        Ok(())
    }

    /// The fault of whatever stands at the present position.
    pub(crate) fn unexpected(&self, expected: &'static str) -> Broken {
        match self.bytes.get(self.pos) {
            Some(byte) if *byte < 0x20 => Fault::ControlCharacter.at(self.pos),
            _ => Fault::Syntax { expected }.at(self.pos),
        }
    }

    /// After an item: takes a comma and says `true`, or takes `close` and says `false`.
    pub(crate) fn more(&mut self, close: u8, expected: &'static str) -> Result<bool, Broken> {
        let byte = self.peek();
        if byte != Some(b',') && byte != Some(close) {
            return Err(self.unexpected(expected));
        }
        self.pos += 1;
        Ok(byte == Some(b','))
    }

    /// A key and its colon.
    pub(crate) fn key(&mut self) -> Result<Text, Broken> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a key"));
        }
        let key = self.string()?;
        self.expect(b':', "a colon")?;
        Ok(key)
    }

    /// A string whose opening quote is next.
    pub(crate) fn string(&mut self) -> Result<Text, Broken> {
        self.pos += 1;
        let start = self.pos;
        let mut escaped = false;
        loop {
            match self.bytes.get(self.pos) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(byte) if *byte < 0x20 => return Err(Fault::ControlCharacter.at(self.pos)),
                Some(_) => self.pos += 1,
                None => return Err(self.unexpected("the end of a string")),
            }
        }
        let text = Text { start, end: self.pos, escaped };
        self.pos += 1;
        Ok(text)
    }

    /// An escape whose backslash is next.
    fn escape(&mut self) -> Result<(), Broken> {
        let at = self.pos;
        self.pos += 2;
        match self.bytes.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'n' | b'r' | b't') => Ok(()),
            // Backspace and form feed are JSON, but FHIR strings exclude them.
            Some(b'b' | b'f') => Err(Fault::ControlCharacter.at(at)),
            Some(b'u') => match self.code_unit(at)? {
                0x09 | 0x0a | 0x0d => Ok(()),
                0..0x20 => Err(Fault::ControlCharacter.at(at)),
                0xd800..0xdc00 => {
                    let pair = self.bytes.get(self.pos..self.pos + 2) == Some(b"\\u");
                    self.pos += 2;
                    if pair && (0xdc00..0xe000).contains(&self.code_unit(at)?) {
                        Ok(())
                    } else {
                        Err(Fault::LoneSurrogate.at(at))
                    }
                }
                0xdc00..0xe000 => Err(Fault::LoneSurrogate.at(at)),
                _ => Ok(()),
            },
            _ => Err(Fault::Syntax { expected: "an escape" }.at(at)),
        }
    }

    /// The four hex digits of the escape that starts at `at`.
    fn code_unit(&mut self, at: usize) -> Result<u16, Broken> {
        let digits = self.bytes.get(self.pos..self.pos + 4);
        self.pos += 4;
        digits
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u16::from_str_radix(digits, 16).ok())
            .ok_or(Fault::Syntax { expected: "four hex digits" }.at(at))
    }

    /// A number, as text.
    pub(crate) fn number(&mut self) -> Result<Range<usize>, Broken> {
        const EXPECTED: &str = "a number";
        let start = self.pos;
        self.take_if(|byte| byte == b'-');
        let zero = self.bytes.get(self.pos) == Some(&b'0');
        if self.digits() == 0 {
            return Err(self.unexpected(EXPECTED));
        }
        let leading = usize::from(self.bytes[start] == b'-');
        if zero && self.pos - start - leading > 1 {
            return Err(Fault::Syntax { expected: "no leading zero" }.at(start));
        }
        if self.take_if(|byte| byte == b'.') && self.digits() == 0 {
            return Err(self.unexpected(EXPECTED));
        }
        if self.take_if(|byte| matches!(byte, b'e' | b'E')) {
            self.take_if(|byte| matches!(byte, b'+' | b'-'));
            if self.digits() == 0 {
                return Err(self.unexpected(EXPECTED));
            }
        }
        if self.pos - start > MAX_NUMBER_LEN {
            return Err(Fault::NumberTooLong { limit: MAX_NUMBER_LEN }.at(start));
        }
        Ok(start..self.pos)
    }

    fn take_if(&mut self, accept: impl Fn(u8) -> bool) -> bool {
        let found = self.bytes.get(self.pos).is_some_and(|byte| accept(*byte));
        self.pos += usize::from(found);
        found
    }

    fn digits(&mut self) -> usize {
        let start = self.pos;
        while self.take_if(|byte| byte.is_ascii_digit()) {}
        self.pos - start
    }

    /// `true`, `false` or `null`.
    pub(crate) fn literal(&mut self, word: &'static str) -> Result<(), Broken> {
        if !self.bytes[self.pos..].starts_with(word.as_bytes()) {
            return Err(self.unexpected("a value"));
        }
        self.pos += word.len();
        Ok(())
    }

    /// Passes over one value of any kind, `depth` levels deep, and checks that it is JSON.
    pub(crate) fn skip(&mut self, depth: usize) -> Result<(), Broken> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            Some(open @ (b'{' | b'[')) => self.skip_nested(open, depth),
            _ => Err(self.unexpected("a value")),
        }
    }

    fn skip_nested(&mut self, open: u8, depth: usize) -> Result<(), Broken> {
        if depth >= MAX_DEPTH {
            return Err(Fault::TooDeep { limit: MAX_DEPTH }.at(self.pos));
        }
        let start = self.pos;
        self.pos += 1;
        let close = if open == b'{' { b'}' } else { b']' };
        if self.peek() == Some(close) {
            self.pos += 1;
            return Ok(());
        }
        for count in 1.. {
            if open == b'{' {
                check_keys(count).map_err(|fault| fault.at(start))?;
                self.key()?;
            } else {
                check_items(count).map_err(|fault| fault.at(start))?;
            }
            self.skip(depth + 1)?;
            if !self.more(close, "a comma or the end")? {
                break;
            }
        }
        Ok(())
    }
}

/// Fails from one key more than an object may have.
pub(crate) const fn check_keys(count: usize) -> Result<(), Fault> {
    if count > MAX_KEYS { Err(Fault::TooManyKeys { limit: MAX_KEYS }) } else { Ok(()) }
}

/// Fails from one item more than an array may have.
pub(crate) const fn check_items(count: usize) -> Result<(), Fault> {
    if count > MAX_ITEMS { Err(Fault::TooManyItems { limit: MAX_ITEMS }) } else { Ok(()) }
}
