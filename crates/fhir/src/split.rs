//! From one document to record drafts: one per encounter and category.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fmt,
};

use galen_types::Plaintext;

use crate::{
    Category, FhirError, Node, Resource,
    json::Text,
    reader::{self, Content, Unit},
};

/// How a draft's payload starts.
pub(crate) const HEAD: &[u8] = br#"{"resourceType":"Bundle","type":"collection","entry":["#;

/// Most bytes by which a payload can be longer than its document.
pub(crate) const OVERHEAD: usize = 128;

/// References followed in a row from an encounter's item: report, result, specimen, and one more.
const FOLLOW_ROUNDS: usize = 4;

/// A FHIR document that passed the reader. Borrows its bytes and keeps only positions in them.
pub struct Document<'a> {
    bytes: &'a [u8],
    content: Content,
}

impl<'a> Document<'a> {
    /// Reads one resource, a Bundle or any other.
    ///
    /// # Errors
    ///
    /// [`FhirError`] for the first fault in the order of the document, except that faults of encoding are
    /// found before all others, and faults of a whole object where the object ends.
    pub fn read(bytes: &'a [u8]) -> Result<Self, FhirError> {
        Ok(Self { bytes, content: reader::read(bytes)? })
    }

    /// Reads what a presentation shows of a document: any element may be missing, all else is judged alike.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn read_extract(bytes: &'a [u8]) -> Result<Self, FhirError> {
        Ok(Self { bytes, content: reader::read_extract(bytes)? })
    }

    /// The document as it came.
    pub(crate) const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The resource type of the outermost resource.
    pub fn resource_type(&self) -> &'static str {
        self.content.resource_type
    }

    /// The document as a value to look into.
    pub fn root(&self) -> Node<'a> {
        Node::new(self.bytes)
    }

    /// The resources that the drafts will hold, in the order of the document.
    pub fn resources(&self) -> impl Iterator<Item = Resource<'a>> {
        self.content.units.iter().map(|unit| Resource {
            full_url: unit.full_url.map(|url| url.decode(self.bytes)),
            node: Node::new(&self.bytes[unit.span.clone()]),
        })
    }

    /// How many resources the drafts will hold: those of the Bundle's entries, or the one resource.
    ///
    /// Contained resources, and resources of a Bundle inside the Bundle, belong to what they stand in.
    pub fn len(&self) -> usize {
        self.content.units.len()
    }

    /// Whether there is nothing to record: a Bundle without resources.
    pub fn is_empty(&self) -> bool {
        self.content.units.is_empty()
    }

    /// Sorts the resources into drafts, one for each pair of encounter and category that occurs.
    ///
    /// A resource belongs to the encounter that it names in `encounter` or `context`, a claim else to the
    /// first encounter of its items, and an Encounter to itself. Results, specimens, files and the like
    /// without an encounter follow the only encounter whose resources refer to them. All others have none.
    ///
    /// Drafts without encounter come first, then by encounter in the order of the document; inside, by
    /// category. A draft keeps its resources in the order of the document. The same bytes give the same drafts.
    pub fn split(&self) -> Vec<Draft<'_>> {
        let encounters = self.encounters();
        let mut groups = BTreeMap::<_, Vec<&Unit>>::new();
        for (unit, encounter) in self.content.units.iter().zip(encounters) {
            let category = unit.labels.category(unit.resource_type);
            groups.entry((encounter, category)).or_default().push(unit);
        }
        let draft = |((encounter, category), units)| Draft {
            bytes: self.bytes,
            category,
            encounter,
            units,
        };
        groups.into_iter().map(draft).collect()
    }

    /// The ordinal of each unit's encounter.
    fn encounters(&self) -> Vec<Option<usize>> {
        let index = Index::new(self.bytes, &self.content.units);
        let mut ordinals = HashMap::new();
        let mut found: Vec<Option<usize>> = Vec::with_capacity(self.content.units.len());
        for (at, unit) in self.content.units.iter().enumerate() {
            let key = if unit.resource_type == "Encounter" {
                Some(Encounter::Here(at))
            } else {
                unit.encounter.or(unit.item_encounter).and_then(|text| index.encounter(text))
            };
            let next = ordinals.len();
            found.push(key.map(|key| *ordinals.entry(key).or_insert(next)));
        }
        self.follow(&index, &mut found);
        found
    }

    /// Gives dependent resources the encounter of those that refer to them, if there is only one.
    fn follow(&self, index: &Index<'_>, found: &mut [Option<usize>]) {
        let units = &self.content.units;
        let mut links = Vec::new();
        for (from, unit) in units.iter().enumerate() {
            let targets = unit.references.iter().filter_map(|text| index.resolve(*text));
            let open = |to: &usize| found[*to].is_none() && is_dependent(units[*to].resource_type);
            links.extend(targets.filter(open).map(|to| (from, to)));
        }
        for _ in 0..FOLLOW_ROUNDS {
            let mut reached = HashMap::new();
            for (from, to) in links.iter().filter(|(_, to)| found[*to].is_none()) {
                let Some(encounter) = found[*from] else { continue };
                let only = reached.entry(*to).or_insert(Some(encounter));
                *only = only.filter(|known| *known == encounter);
            }
            if reached.values().all(Option::is_none) {
                return;
            }
            for (unit, encounter) in reached {
                found[unit] = encounter;
            }
        }
    }
}

/// Shows no health data.
impl fmt::Debug for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Document({}, {} resources, {} bytes)",
            self.resource_type(),
            self.len(),
            self.bytes.len()
        )
    }
}

/// Types that are part of something else, and so follow what refers to them. A practitioner or a long
/// illness does not become part of the one visit that mentions it.
fn is_dependent(resource_type: &str) -> bool {
    matches!(
        resource_type,
        "Binary"
            | "Claim"
            | "ClaimResponse"
            | "DiagnosticReport"
            | "DocumentReference"
            | "ExplanationOfBenefit"
            | "ImagingStudy"
            | "Media"
            | "Medication"
            | "Observation"
            | "QuestionnaireResponse"
            | "Specimen"
            | "Substance"
    )
}

/// What an encounter is known by.
#[derive(PartialEq, Eq, Hash)]
enum Encounter<'a> {
    /// The unit at this index.
    Here(usize),
    /// A reference to an encounter outside the document.
    Elsewhere(Cow<'a, str>),
}

/// Finds the unit that a reference means.
struct Index<'a> {
    bytes: &'a [u8],
    units: &'a [Unit],
    keys: HashMap<Cow<'a, str>, usize>,
}

impl<'a> Index<'a> {
    fn new(bytes: &'a [u8], units: &'a [Unit]) -> Self {
        let mut keys = HashMap::new();
        for (at, unit) in units.iter().enumerate() {
            if let Some(url) = unit.full_url {
                keys.entry(url.decode(bytes)).or_insert(at);
            }
            if let Some(id) = unit.id {
                let key = format!("{}/{}", unit.resource_type, id.decode(bytes));
                keys.entry(Cow::Owned(key)).or_insert(at);
            }
        }
        Self { bytes, units, keys }
    }

    /// Looks for the full URL, then for `Type/id`, which also ends an absolute URL.
    fn resolve(&self, reference: Text) -> Option<usize> {
        let text = reference.decode(self.bytes);
        let text = without_version(&text);
        let found = self.keys.get(text).copied();
        found.or_else(|| {
            let (head, _) = text.rsplit_once('/')?;
            let (base, _) = head.rsplit_once('/')?;
            self.keys.get(&text[base.len() + 1..]).copied()
        })
    }

    fn encounter(&self, reference: Text) -> Option<Encounter<'a>> {
        if let Some(at) = self.resolve(reference) {
            return (self.units[at].resource_type == "Encounter").then_some(Encounter::Here(at));
        }
        let text = match reference.decode(self.bytes) {
            Cow::Borrowed(text) => Cow::Borrowed(without_version(text)),
            Cow::Owned(text) => Cow::Owned(without_version(&text).to_owned()),
        };
        // `context` may also name an episode of care; a fragment is contained and so no record.
        let other = text.starts_with('#') || text.contains("EpisodeOfCare/");
        (!other).then_some(Encounter::Elsewhere(text))
    }
}

fn without_version(reference: &str) -> &str {
    reference.split_once("/_history/").map_or(reference, |(unversioned, _)| unversioned)
}

/// A record to be: the resources of one document that share an encounter and a category.
pub struct Draft<'a> {
    bytes: &'a [u8],
    category: Category,
    encounter: Option<usize>,
    units: Vec<&'a Unit>,
}

impl Draft<'_> {
    /// What the resources are about; decides the segment.
    pub const fn category(&self) -> Category {
        self.category
    }

    /// Which encounter of the document, counted from 0 in order of first mention; tells nothing else.
    pub const fn encounter(&self) -> Option<usize> {
        self.encounter
    }

    /// How many resources, at least one.
    pub const fn len(&self) -> usize {
        self.units.len()
    }

    /// Never true; here because [`Self::len`] is.
    pub const fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// Resource types with how many there are of each, by name.
    pub fn types(&self) -> BTreeMap<&'static str, usize> {
        let mut types = BTreeMap::new();
        for unit in &self.units {
            *types.entry(unit.resource_type).or_default() += 1;
        }
        types
    }

    /// The record as a FHIR Bundle of type `collection`: each resource with its exact bytes, and its
    /// `fullUrl` where the document had one. No white space is added. Passes [`Document::read`].
    pub fn payload(&self) -> Plaintext {
        let resources: usize = self.units.iter().map(|unit| unit.span.len()).sum();
        let urls: usize =
            self.units.iter().filter_map(|unit| unit.full_url).map(|url| url.len()).sum();
        // Reserved at once: a growing vector would leave copies of health data behind.
        let mut out = Vec::with_capacity(HEAD.len() + resources + urls + self.units.len() * 32);
        out.extend_from_slice(HEAD);
        for (at, unit) in self.units.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b"{" } else { b",{" });
            if let Some(url) = unit.full_url {
                out.extend_from_slice(b"\"fullUrl\":\"");
                out.extend_from_slice(&self.bytes[url.start..url.end]);
                out.extend_from_slice(b"\",");
            }
            out.extend_from_slice(b"\"resource\":");
            out.extend_from_slice(&self.bytes[unit.span.clone()]);
            out.push(b'}');
        }
        out.extend_from_slice(b"]}");
        Plaintext::new(out)
    }
}

/// Shows no health data.
impl fmt::Debug for Draft<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Draft({}, encounter {:?}, {} resources)",
            self.category,
            self.encounter,
            self.len()
        )
    }
}
