//! Checks a document against the element table in one pass, and notes where its resources lie.

mod units;

pub(crate) use units::{Carries, Unit};

use crate::{
    CodeTable, FhirError, MAX_DEPTH,
    error::{Broken, Fault},
    json::{Lexer, Text, check_items, check_keys},
    labels::Labels,
    narrative,
    primitive::{JsonKind, Primitive},
    table::{Field, FieldSet, Kind, Role, Structure, TABLE, Table},
};

/// Bytes of one input. The largest published bundle of one patient has 11.3 MB.
pub const MAX_INPUT_LEN: usize = 256 << 20;

/// Bytes of one string (R4, section 2.24.0.1). Attachments and narratives may fill the input.
pub const MAX_STRING_LEN: usize = 1 << 20;

/// Levels that a draft's Bundle puts around a resource.
const BUNDLE_LEVELS: usize = 3;

/// What the reader returns.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) resource_type: &'static str,
    pub(crate) units: Vec<Unit>,
}

/// Reads a whole document.
pub(crate) fn read(bytes: &[u8], codes: &CodeTable) -> Result<Content, FhirError> {
    read_as(bytes, codes, false)
}

/// Reads a document of which any part may be missing.
pub(crate) fn read_extract(bytes: &[u8]) -> Result<Content, FhirError> {
    read_as(bytes, CodeTable::built_in(), true)
}

fn read_as(bytes: &[u8], codes: &CodeTable, extract: bool) -> Result<Content, FhirError> {
    let outside = |broken: Broken| FhirError::new(broken.fault, String::new(), broken.offset);
    check_encoding(bytes).map_err(outside)?;
    let mut reader = Reader {
        lexer: Lexer { bytes, pos: 0 },
        table: &TABLE,
        extract,
        codes,
        path: Vec::new(),
        depth: 0,
        root_is_bundle: false,
        nesting: 0,
        unit_path: None,
        outer: Labels::default(),
        units: Vec::new(),
    };
    match reader.document() {
        Ok(resource_type) => Ok(Content { resource_type, units: reader.units }),
        Err(broken) => Err(FhirError::new(broken.fault, reader.rendered_path(), broken.offset)),
    }
}

fn check_encoding(bytes: &[u8]) -> Result<(), Broken> {
    // What `split` wraps around one resource must not make the draft unreadable.
    let limit = MAX_INPUT_LEN
        + if bytes.starts_with(crate::split::HEAD) { crate::split::OVERHEAD } else { 0 };
    if bytes.len() > limit {
        return Err(Fault::InputTooLong { limit: MAX_INPUT_LEN }.at(MAX_INPUT_LEN));
    }
    let marks: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];
    if marks.iter().any(|mark| bytes.starts_with(mark)) {
        return Err(Fault::ByteOrderMark.at(0));
    }
    std::str::from_utf8(bytes).map(drop).map_err(|error| Fault::NotUtf8.at(error.valid_up_to()))
}

#[derive(Clone, Copy)]
enum Step {
    Name(&'static str),
    Index(usize),
}

/// Where a resource stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    Root,
    /// In an entry of the outermost Bundle.
    Entry,
    Contained,
    Inner,
}

/// What one object has shown so far.
#[derive(Default)]
struct Seen {
    values: FieldSet,
    siblings: FieldSet,
    slots: FieldSet,
    /// Whether anything but `id` was there.
    content: bool,
    /// Primitive arrays and their `_` siblings, to be compared at the end.
    lists: Vec<List>,
    /// The texts that a role needs: `system` and `code`, `reference`, `fullUrl`, `id`.
    first: Option<Text>,
    second: Option<Text>,
}

struct List {
    field: usize,
    sibling: bool,
    offset: usize,
    len: usize,
    nulls: Vec<usize>,
}

struct Reader<'a> {
    lexer: Lexer<'a>,
    table: &'static Table,
    /// Whether what R4 requires may be missing.
    extract: bool,
    codes: &'a CodeTable,
    path: Vec<Step>,
    depth: usize,
    root_is_bundle: bool,
    /// Resources around the present place.
    nesting: usize,
    /// Length of the path at the present unit, for places relative to it; `None` outside units.
    unit_path: Option<usize>,
    /// Labels of the outermost Bundle itself.
    outer: Labels,
    units: Vec<Unit>,
}

impl Reader<'_> {
    fn document(&mut self) -> Result<&'static str, Broken> {
        let resource_type = self.resource(Position::Root)?;
        if self.lexer.peek().is_some() {
            self.path.clear();
            return Err(Fault::TrailingBytes.at(self.lexer.pos));
        }
        for unit in &mut self.units {
            unit.labels.raise(self.outer.sensitive);
        }
        Ok(resource_type)
    }

    fn resource(&mut self, position: Position) -> Result<&'static str, Broken> {
        if self.lexer.peek() != Some(b'{') {
            return Err(self.wrong_type("object"));
        }
        let start = self.lexer.pos;
        let table = self.table;
        let structure = table.structure(self.resource_type()?);
        self.path.push(Step::Name(structure.name));
        if position == Position::Root {
            self.root_is_bundle = structure.name == "Bundle";
            // A draft wraps a single resource, and must stay within the depth.
            self.depth = if self.root_is_bundle { 0 } else { BUNDLE_LEVELS };
        }
        let is_unit =
            position == Position::Entry || position == Position::Root && !self.root_is_bundle;
        if is_unit {
            self.begin_unit(structure.name);
        }
        self.nesting += 1;
        let seen = self.object(structure, position == Position::Contained)?;
        self.nesting -= 1;
        if is_unit && let Some(unit) = self.units.last_mut() {
            unit.span = start..self.lexer.pos;
            unit.id = seen.first;
            self.unit_path = None;
        }
        self.path.pop();
        Ok(structure.name)
    }

    /// Looks ahead for `resourceType`, which FHIR allows anywhere in the object. Nearly always it is first.
    fn resource_type(&mut self) -> Result<usize, Broken> {
        let start = self.lexer.pos;
        self.lexer.pos += 1;
        let absent = Fault::NoResourceType.at(start);
        if self.lexer.peek() == Some(b'}') {
            return Err(absent);
        }
        let mut keys = 0;
        loop {
            keys += 1;
            check_keys(keys).map_err(|fault| fault.at(start))?;
            let key = self.lexer.key()?;
            if key.decode(self.lexer.bytes) == "resourceType" {
                break;
            }
            self.lexer.skip(self.depth + 1)?;
            if !self.lexer.more(b'}', "a comma or the end of an object")? {
                return Err(absent);
            }
        }
        if self.lexer.peek() != Some(b'"') {
            return Err(self.wrong_type("string"));
        }
        let at = self.lexer.pos;
        let name = self.lexer.string()?;
        let found = self.table.resource(&name.decode(self.lexer.bytes));
        self.lexer.pos = start;
        found.ok_or(Fault::UnknownResourceType.at(at))
    }

    /// An object of a known structure; `contained` forbids it to contain resources itself.
    fn object(&mut self, structure: &'static Structure, contained: bool) -> Result<Seen, Broken> {
        if self.lexer.peek() != Some(b'{') {
            return Err(self.wrong_type("object"));
        }
        let start = self.lexer.pos;
        self.enter()?;
        let units_before = self.units.len();
        let mut seen = Seen::default();
        if self.lexer.peek() == Some(b'}') {
            return Err(Fault::EmptyObject.at(start));
        }
        loop {
            self.member(structure, contained, &mut seen)?;
            if !self.lexer.more(b'}', "a comma or the end of an object")? {
                break;
            }
        }
        self.depth -= 1;
        self.finish(structure, &seen, start)?;
        match structure.role {
            Role::Coding => self.note_coding(&seen),
            Role::Reference => self.note_reference(&seen),
            Role::Attachment => self.note_attachment(&seen),
            Role::BundleEntry if self.nesting == 1 && self.units.len() > units_before => {
                self.units[units_before].full_url = seen.first;
            }
            _ => {}
        }
        Ok(seen)
    }

    /// One key and its value.
    fn member(
        &mut self,
        structure: &'static Structure,
        contained: bool,
        seen: &mut Seen,
    ) -> Result<(), Broken> {
        if self.lexer.peek() != Some(b'"') {
            return Err(self.lexer.unexpected("a key"));
        }
        let at = self.lexer.pos;
        let bytes = self.lexer.bytes;
        let key = self.lexer.key()?;
        let key = key.decode(bytes);
        if key == "resourceType" && self.table.resource(structure.name).is_some() {
            // Read before; the last field of the set stands for it, which no structure reaches.
            let new = seen.values.insert(FieldSet::LAST);
            self.lexer.skip(self.depth)?;
            seen.content = true;
            return if new { Ok(()) } else { Err(Fault::DuplicateKey.at(at)) };
        }
        let (name, sibling) = key.strip_prefix('_').map_or((&*key, false), |name| (name, true));
        let found = structure.find(name).filter(|(_, field)| !sibling || field.is_primitive());
        let Some((index, field)) = found else {
            self.path.extend(self.table.known_name(name).map(Step::Name));
            return Err(Fault::UnknownElement.at(at));
        };
        self.path.push(Step::Name(field.name));
        seen.content |= field.name != "id";
        mark(seen, index, field, sibling).map_err(|fault| fault.at(at))?;
        if contained && matches!(field.kind, Kind::Resource) {
            return Err(Fault::NestedContained.at(at));
        }
        match (field.list, sibling) {
            (true, _) => self.list(structure, (index, field), sibling, seen)?,
            (false, true) => {
                self.object(self.table.structure(self.table.element), false).map(drop)?
            }
            (false, false) => self.value(structure, field, seen)?,
        }
        self.path.pop();
        Ok(())
    }

    /// An array of values, or of what stands beside them.
    fn list(
        &mut self,
        structure: &'static Structure,
        (index, field): (usize, &'static Field),
        sibling: bool,
        seen: &mut Seen,
    ) -> Result<(), Broken> {
        if self.lexer.peek() != Some(b'[') {
            return Err(self.wrong_type("array"));
        }
        let mut list =
            List { field: index, sibling, offset: self.lexer.pos, len: 0, nulls: Vec::new() };
        self.enter()?;
        if self.lexer.peek() == Some(b']') {
            return Err(Fault::EmptyArray.at(list.offset));
        }
        loop {
            check_items(list.len + 1).map_err(|fault| fault.at(list.offset))?;
            self.path.push(Step::Index(list.len));
            if self.lexer.peek() == Some(b'n') && field.is_primitive() {
                self.lexer.literal("null")?;
                list.nulls.push(list.len);
            } else if sibling {
                self.object(self.table.structure(self.table.element), false)?;
            } else {
                self.value(structure, field, seen)?;
            }
            self.path.pop();
            list.len += 1;
            if !self.lexer.more(b']', "a comma or the end of an array")? {
                break;
            }
        }
        self.depth -= 1;
        if sibling || field.is_primitive() {
            seen.lists.push(list);
        }
        Ok(())
    }

    /// One value of a field.
    fn value(
        &mut self,
        parent: &'static Structure,
        field: &'static Field,
        seen: &mut Seen,
    ) -> Result<(), Broken> {
        match field.kind {
            Kind::Resource => {
                let position = match (parent.role, self.nesting) {
                    (Role::BundleEntry, 1) => Position::Entry,
                    _ if field.name == "contained" => Position::Contained,
                    _ => Position::Inner,
                };
                self.resource(position).map(drop)
            }
            Kind::Structure(index) => {
                self.lexer.peek();
                let at = self.lexer.pos;
                let inner = self.object(self.table.structure(index), false)?;
                // An element needs more than an id (rule ele-1).
                if inner.content || self.extract { Ok(()) } else { Err(Fault::EmptyObject.at(at)) }
            }
            Kind::Primitive(primitive) => {
                let text = self.primitive(primitive, field)?;
                match (parent.role, field.name) {
                    (Role::Coding, "system") | (Role::Reference, "reference") => seen.first = text,
                    (Role::BundleEntry, "fullUrl") | (Role::Attachment, "url") => seen.first = text,
                    (Role::None, "id") => seen.first = text,
                    (Role::Coding, "code") => seen.second = text,
                    _ => {}
                }
                Ok(())
            }
        }
    }

    /// A primitive value; its text if it is a string.
    fn primitive(&mut self, primitive: Primitive, field: &Field) -> Result<Option<Text>, Broken> {
        let next = self.lexer.peek();
        let at = self.lexer.pos;
        let invalid = || Fault::Format { primitive: primitive.name() }.at(at);
        match (primitive.json(), next) {
            (JsonKind::Boolean, Some(b't')) => self.lexer.literal("true")?,
            (JsonKind::Boolean, Some(b'f')) => self.lexer.literal("false")?,
            (JsonKind::Number, Some(b'-' | b'0'..=b'9')) => {
                let number = self.lexer.number()?;
                let text = std::str::from_utf8(&self.lexer.bytes[number]).unwrap_or_default();
                if !primitive.accepts(text) {
                    return Err(invalid());
                }
            }
            (JsonKind::String, Some(b'"')) => {
                let text = self.lexer.string()?;
                self.check_string(primitive, field, &text).map_err(|fault| fault.at(at))?;
                return Ok(Some(text));
            }
            (JsonKind::Boolean, _) => return Err(self.wrong_type("boolean")),
            (JsonKind::Number, _) => return Err(self.wrong_type("number")),
            (JsonKind::String, _) => return Err(self.wrong_type("string")),
        }
        Ok(None)
    }

    fn check_string(&self, primitive: Primitive, field: &Field, text: &Text) -> Result<(), Fault> {
        if text.len() == 0 {
            return Err(Fault::EmptyString);
        }
        let unlimited = matches!(primitive, Primitive::Base64Binary | Primitive::Xhtml);
        if !unlimited && text.len() > MAX_STRING_LEN {
            return Err(Fault::StringTooLong { limit: MAX_STRING_LEN });
        }
        let decoded = text.decode(self.lexer.bytes);
        if primitive == Primitive::Xhtml {
            return narrative::check(&decoded).map_err(|reason| Fault::Narrative { reason });
        }
        if !primitive.accepts(&decoded) {
            return Err(Fault::Format { primitive: primitive.name() });
        }
        match field.value_set {
            Some(set) if !self.table.allows(set, &decoded) => Err(Fault::UnknownCode),
            _ => Ok(()),
        }
    }

    /// Checks what only the whole object shows.
    fn finish(&mut self, structure: &Structure, seen: &Seen, start: usize) -> Result<(), Broken> {
        for (index, slot) in structure.slots.iter().enumerate() {
            if slot.required && !self.extract && !seen.slots.contains(index) {
                return Err(Fault::MissingElement { name: slot.name }.at(start));
            }
        }
        if structure.role == Role::Extension {
            let has = |name| structure.slot(name).is_some_and(|slot| seen.slots.contains(slot));
            if has("value[x]") == has("extension") {
                return Err(Fault::ExtensionContent.at(start));
            }
        }
        for list in &seen.lists {
            let other = seen
                .lists
                .iter()
                .find(|other| other.field == list.field && other.sibling != list.sibling);
            let fault = match other {
                Some(other) if other.len != list.len => Some(Fault::UnevenSiblings),
                // Both are in ascending order.
                Some(other)
                    if list.nulls.iter().any(|null| other.nulls.binary_search(null).is_ok()) =>
                {
                    Some(Fault::MisplacedNull)
                }
                // Alone, `_` items say why there is no value; a null says nothing.
                None if !list.nulls.is_empty() => Some(Fault::MisplacedNull),
                _ => None,
            };
            if let Some(fault) = fault {
                self.path.push(Step::Name(structure.field(list.field).name));
                return Err(fault.at(list.offset));
            }
        }
        Ok(())
    }

    /// Takes an opening bracket, one level deeper.
    fn enter(&mut self) -> Result<(), Broken> {
        if self.depth >= MAX_DEPTH {
            return Err(Fault::TooDeep { limit: MAX_DEPTH }.at(self.lexer.pos));
        }
        self.depth += 1;
        self.lexer.pos += 1;
        Ok(())
    }

    /// Another value than expected: `null`, another kind, or no JSON at all.
    fn wrong_type(&self, expected: &'static str) -> Broken {
        match self.lexer.bytes.get(self.lexer.pos) {
            Some(b'n') if self.lexer.bytes[self.lexer.pos..].starts_with(b"null") => {
                Fault::MisplacedNull.at(self.lexer.pos)
            }
            Some(b'{' | b'[' | b'"' | b't' | b'f' | b'-' | b'0'..=b'9') => {
                Fault::WrongType { expected }.at(self.lexer.pos)
            }
            _ => self.lexer.unexpected("a value"),
        }
    }

    fn rendered_path(&self) -> String {
        let mut out = String::new();
        for step in &self.path {
            match step {
                Step::Name(name) if out.is_empty() => out.push_str(name),
                Step::Name(name) => out.extend([".", *name]),
                Step::Index(index) => out.push_str(&format!("[{index}]")),
            }
        }
        out
    }
}

/// Adds a key to what was seen; fails if it, or another type of the same choice, was there before.
fn mark(seen: &mut Seen, index: usize, field: &Field, sibling: bool) -> Result<(), Fault> {
    let here = seen.values.contains(index) || seen.siblings.contains(index);
    let new = if sibling { seen.siblings.insert(index) } else { seen.values.insert(index) };
    if !new {
        return Err(Fault::DuplicateKey);
    }
    if !seen.slots.insert(field.slot) && !here {
        return Err(Fault::SecondChoice);
    }
    Ok(())
}
