//! Cuts a document into elements: what is shown or hidden as one.

use std::ops::Range;

use super::{MAX_ELEMENTS, PartsError, Seed, names, policy::Rules};
use crate::{
    json::Lexer,
    table::{Field, Kind, Structure, TABLE},
};

/// References to the patient, which may be hidden although R4 requires them.
const PATIENT_REFERENCES: [&str; 5] = ["beneficiary", "individual", "patient", "source", "subject"];

/// A document in pieces.
#[derive(Debug, Default)]
pub(super) struct Cut {
    /// Each after the one that it stands in.
    pub(super) places: Vec<Place>,
    /// In the order of their elements.
    pub(super) fragments: Vec<Fragment>,
    /// The first is the document itself. Each after its parent.
    pub(super) elements: Vec<Element>,
}

/// A name or a position of the document.
#[derive(Debug)]
pub(super) struct Place {
    /// The place that it stands in; the root's own.
    pub(super) above: usize,
    pub(super) step: Step,
    /// The type of the resource that stands here, if one does and it is cut.
    pub(super) resource: Option<&'static str>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Root,
    /// A key, and the choice that it belongs to, if it does.
    Name {
        key: &'static str,
        slot: &'static str,
        sibling: bool,
    },
    Item {
        index: usize,
        ordinal: u128,
    },
}

/// A value that is signed as it stands.
#[derive(Debug)]
pub(super) struct Fragment {
    pub(super) place: usize,
    pub(super) span: Range<usize>,
    /// The structure of the value, if it has one.
    pub(super) structure: Option<usize>,
}

/// What is shown or hidden as one.
#[derive(Debug)]
pub(super) struct Element {
    /// The core that must be shown with it.
    pub(super) parent: Option<usize>,
    pub(super) fragments: Range<usize>,
    pub(super) role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The hash of all bytes.
    Document,
    /// What gives the other elements of this place their meaning.
    Core {
        home: usize,
    },
    /// A text that repeats other elements.
    Narrative,
    Other,
}

const CHECKED: &str = "the document was checked";

/// Index of the element that stands for all bytes of the document.
pub(super) const DOCUMENT: usize = 0;

/// Cuts the document `bytes`, which the reader has accepted.
pub(super) fn cut(bytes: &[u8], seed: &Seed, rules: &Rules) -> Result<Cut, PartsError> {
    let fine = Cutter::new(bytes, seed, rules, false).run();
    fine.or_else(|_| Cutter::new(bytes, seed, rules, true).run())
}

struct Cutter<'a> {
    bytes: &'a [u8],
    seed: &'a Seed,
    rules: &'a Rules,
    /// Whether only the entries of the outermost Bundle are cut.
    coarse: bool,
    /// Items that have an ordinal so far.
    items: usize,
    cut: Cut,
}

/// What stands behind a key.
struct Member {
    /// `None` for `resourceType`.
    field: Option<&'static Field>,
    sibling: bool,
    span: Range<usize>,
}

/// Where a structure stands and what it belongs to.
#[derive(Clone, Copy)]
struct Site {
    place: usize,
    parent: Option<usize>,
    whole: bool,
}

impl<'a> Cutter<'a> {
    fn new(bytes: &'a [u8], seed: &'a Seed, rules: &'a Rules, coarse: bool) -> Self {
        Self { bytes, seed, rules, coarse, items: 0, cut: Cut::default() }
    }

    fn run(mut self) -> Result<Cut, PartsError> {
        let root = self.place(0, Step::Root);
        self.element(None, Role::Document)?;
        let mut lexer = Lexer { bytes: self.bytes, pos: 0 };
        lexer.peek();
        let start = lexer.pos;
        let whole = self.coarse && self.resource_at(start).name != "Bundle";
        self.resource(start, Site { place: root, parent: None, whole })?;
        Ok(self.cut)
    }

    fn place(&mut self, above: usize, step: Step) -> usize {
        self.cut.places.push(Place { above, step, resource: None });
        self.cut.places.len() - 1
    }

    /// Begins an element; its fragments follow.
    fn element(&mut self, parent: Option<usize>, role: Role) -> Result<usize, PartsError> {
        if self.cut.elements.len() == MAX_ELEMENTS {
            return Err(PartsError::TooManyElements { limit: MAX_ELEMENTS });
        }
        let next = self.cut.fragments.len();
        self.cut.elements.push(Element { parent, fragments: next..next, role });
        Ok(self.cut.elements.len() - 1)
    }

    fn fragment(&mut self, place: usize, span: Range<usize>, structure: Option<usize>) {
        self.cut.fragments.push(Fragment { place, span, structure });
        let end = self.cut.fragments.len();
        if let Some(element) = self.cut.elements.last_mut() {
            element.fragments.end = end;
        }
    }

    /// The structure of the resource at this byte.
    fn resource_at(&self, start: usize) -> &'static Structure {
        TABLE.structure(self.resource_index(start))
    }

    fn resource_index(&self, start: usize) -> usize {
        let mut lexer = Lexer { bytes: self.bytes, pos: start + 1 };
        while lexer.key().expect(CHECKED).decode(self.bytes) != "resourceType" {
            lexer.skip(0).expect(CHECKED);
            lexer.more(b'}', "").expect(CHECKED);
        }
        lexer.peek();
        let name = lexer.string().expect(CHECKED).decode(self.bytes);
        TABLE.resource(&name).expect(CHECKED)
    }

    fn resource(&mut self, start: usize, site: Site) -> Result<(), PartsError> {
        let index = self.resource_index(start);
        self.cut.places[site.place].resource = Some(TABLE.structure(index).name);
        self.structure(start, index, site)
    }

    /// An object that is cut: its core, then all else in the order of the document.
    fn structure(&mut self, start: usize, index: usize, site: Site) -> Result<(), PartsError> {
        let structure = TABLE.structure(index);
        let whole = site.whole || self.rules.keeps_whole(index);
        let members = self.members(start, structure);
        let (core, others): (Vec<_>, Vec<_>) =
            members.iter().partition(|member| whole || self.is_core(index, structure, member));
        let mut parent = site.parent;
        if !core.is_empty() {
            parent = Some(self.element(parent, Role::Core { home: site.place })?);
            for member in core {
                let place = self.member_place(site.place, structure, member);
                let inner = member.field.and_then(names::below);
                self.fragment(place, member.span.clone(), inner);
            }
        }
        for (at, member) in others.iter().enumerate() {
            let Some(field) = member.field else { continue };
            let twin = |other: &&&Member| other.field.is_some_and(|one| std::ptr::eq(one, field));
            if others[..at].iter().any(|other| twin(&other)) {
                continue;
            }
            let beside = others[at + 1..].iter().find(twin).copied();
            let whole = self.rules.keeps_slot_whole(index, field.slot)
                || self.coarse && structure.name == "Bundle";
            let site = Site { place: site.place, parent, whole };
            self.other(structure, field, (member, beside), site)?;
        }
        Ok(())
    }

    /// A member outside the core, with its `_` sibling.
    fn other(
        &mut self,
        structure: &'static Structure,
        field: &'static Field,
        (member, beside): (&Member, Option<&Member>),
        site: Site,
    ) -> Result<(), PartsError> {
        let as_one = field.is_primitive() && (!field.list || beside.is_some() || member.sibling);
        if as_one {
            let role = Role::Other;
            self.element(site.parent, role)?;
            for one in std::iter::once(member).chain(beside) {
                let place = self.member_place(site.place, structure, one);
                self.fragment(place, one.span.clone(), None);
            }
            return Ok(());
        }
        let place = self.member_place(site.place, structure, member);
        if !field.list {
            return self.value(field, member.span.clone(), Site { place, ..site });
        }
        let spans = self.items(member.span.start);
        let mut ordinal = 0;
        for (index, span) in spans.into_iter().enumerate() {
            ordinal += self.seed.gap(self.items);
            self.items += 1;
            let place = self.place(place, Step::Item { index, ordinal });
            self.value(field, span, Site { place, ..site })?;
        }
        Ok(())
    }

    /// One value: cut further, or an element.
    fn value(&mut self, field: &Field, span: Range<usize>, site: Site) -> Result<(), PartsError> {
        match field.kind {
            Kind::Resource => return self.resource(span.start, site),
            Kind::Structure(index) if names::is_cut(TABLE.structure(index)) => {
                return self.structure(span.start, index, site);
            }
            Kind::Structure(_) | Kind::Primitive(_) => {}
        }
        let inner = names::below(field);
        let narrative = inner.is_some_and(|index| TABLE.structure(index).name == "Narrative");
        let role = if narrative { Role::Narrative } else { Role::Other };
        self.element(site.parent, role)?;
        self.fragment(site.place, span, inner);
        Ok(())
    }

    /// What hiding must not take away from a structure: see [`super::PartTree::build`].
    fn is_core(&self, index: usize, structure: &Structure, member: &Member) -> bool {
        let Some(field) = member.field else { return true };
        let slot = &structure.slots[field.slot];
        let cut_below = match field.kind {
            Kind::Resource => true,
            Kind::Structure(inner) => TABLE.structure(inner).name.contains('.'),
            Kind::Primitive(_) => false,
        };
        let is_reference =
            names::below(field).is_some_and(|i| TABLE.structure(i).name == "Reference");
        let patient = is_reference && PATIENT_REFERENCES.contains(&slot.name);
        slot.modifier
            || slot.required && !patient && !cut_below
            || is_fact(structure, slot.name)
            || self.rules.joins_core(index, field.slot)
    }

    fn member_place(&mut self, above: usize, structure: &Structure, member: &Member) -> usize {
        let (key, slot) = member.field.map_or(("resourceType", "resourceType"), |field| {
            (field.name, structure.slots[field.slot].name)
        });
        self.place(above, Step::Name { key, slot, sibling: member.sibling })
    }

    /// The members of the object at this byte.
    fn members(&self, start: usize, structure: &'static Structure) -> Vec<Member> {
        let mut lexer = Lexer { bytes: self.bytes, pos: start + 1 };
        let mut members = Vec::new();
        loop {
            let key = lexer.key().expect(CHECKED).decode(self.bytes);
            lexer.peek();
            let at = lexer.pos;
            lexer.skip(0).expect(CHECKED);
            let name = key.strip_prefix('_').unwrap_or(&key);
            let is_type = structure.is_resource && key == "resourceType";
            let field = structure.find(name).map(|(_, field)| field);
            assert!(is_type || field.is_some(), "{CHECKED}");
            let sibling = name.len() < key.len();
            let field = field.filter(|_| !is_type);
            members.push(Member { field, sibling, span: at..lexer.pos });
            if !lexer.more(b'}', "").expect(CHECKED) {
                return members;
            }
        }
    }

    /// The items of the array at this byte.
    fn items(&self, start: usize) -> Vec<Range<usize>> {
        let mut lexer = Lexer { bytes: self.bytes, pos: start + 1 };
        let mut items = Vec::new();
        loop {
            lexer.peek();
            let at = lexer.pos;
            lexer.skip(0).expect(CHECKED);
            items.push(at..lexer.pos);
            if !lexer.more(b']', "").expect(CHECKED) {
                return items;
            }
        }
    }
}

/// What a clinical statement says, beyond what R4 requires: without it the rest would say something else.
fn is_fact(structure: &Structure, slot: &str) -> bool {
    match slot {
        "code" | "code[x]" | "medication[x]" | "vaccineCode" => structure.is_resource,
        "value[x]" | "dataAbsentReason" => {
            matches!(structure.name, "Observation" | "Observation.component")
        }
        _ => false,
    }
}

impl Cut {
    /// Appends the path of a place as it is signed: names and ordinals, joined by `/`.
    pub(super) fn write_path(&self, place: usize, out: &mut String) {
        let one = &self.places[place];
        if matches!(one.step, Step::Root) {
            return;
        }
        self.write_path(one.above, out);
        if !out.is_empty() {
            out.push('/');
        }
        match one.step {
            Step::Root => {}
            Step::Name { key, sibling, .. } => {
                out.push_str(if sibling { "_" } else { "" });
                out.push_str(key);
            }
            Step::Item { ordinal, .. } => out.push_str(&format!("~{ordinal:020x}")),
        }
    }

    /// A place as errors and people name it: `Bundle.entry[3].resource.Observation.code`.
    pub(super) fn describe(&self, place: usize) -> String {
        let one = &self.places[place];
        let mut out = match one.step {
            Step::Root => String::new(),
            _ => self.describe(one.above),
        };
        match one.step {
            Step::Root => {}
            Step::Name { key, .. } => out.extend([".", key]),
            Step::Item { index, .. } => out.push_str(&format!("[{index}]")),
        }
        if let Some(name) = one.resource {
            out.extend([if out.is_empty() { "" } else { "." }, name]);
        }
        out
    }
}
