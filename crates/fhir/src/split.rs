//! From one document to record drafts: one per encounter and category.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use galen_types::Plaintext;

use crate::{
    Category, CodeTable, FhirError, Node, Resource,
    links::{Encounter, Index, Links},
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
        Self::read_with(bytes, CodeTable::built_in())
    }

    /// As [`Self::read`], with a site's table of sensitive codes in place of the built-in one.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn read_with(bytes: &'a [u8], codes: &CodeTable) -> Result<Self, FhirError> {
        Ok(Self { bytes, content: reader::read(bytes, codes)? })
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

    /// Types of these resources with how many there are of each, by name.
    pub(crate) fn types(&self) -> BTreeMap<&'static str, usize> {
        count_types(self.content.units.iter())
    }

    /// Whether there is nothing to record: a Bundle without resources.
    pub fn is_empty(&self) -> bool {
        self.content.units.is_empty()
    }

    /// Sorts the resources into drafts, one for each pair of encounter and category that occurs.
    ///
    /// A resource is as sensitive as the most sensitive code or label in it, in what it contains, and in the
    /// resources of the document that it refers to. References to people, organizations, places, devices,
    /// groups and encounters pass nothing on. Files and filled questionnaires, whose text no code tells, are
    /// also as sensitive as what refers to them.
    ///
    /// Diagnostic reports bring copies of the observations in their `result`, and of the members of those:
    /// these lie in their own draft and, once more, in that of the reports. See [`Draft::copies`].
    ///
    /// A resource belongs to the encounter that it names in `encounter` or `context`, a claim else to the
    /// first encounter of its items, and an Encounter to itself. Results, specimens, files and the like
    /// without an encounter follow the only encounter whose resources refer to them. All others have none.
    ///
    /// Drafts without encounter come first, then by encounter in the order of the document; inside, by
    /// category. A draft keeps its resources in the order of the document. The same bytes give the same drafts.
    pub fn split(&self) -> Vec<Draft<'_>> {
        let units = &self.content.units;
        let index = Index::new(self.bytes, units);
        let links = Links::new(&index, units);
        let categories = links.categories(units);
        let encounters = self.encounters(&index, &links);
        let mut groups = BTreeMap::<_, BTreeSet<usize>>::new();
        for (unit, key) in encounters.into_iter().zip(&categories).enumerate() {
            groups.entry(key).or_default().insert(unit);
        }
        let draft = |((encounter, category), mut own): ((_, &Category), BTreeSet<usize>)| {
            let originals = own.len();
            if *category == Category::DiagnosticReports {
                own.extend(links.brought(units, &categories, &own));
            }
            Draft {
                bytes: self.bytes,
                category: *category,
                encounter,
                copies: own.len() - originals,
                units: own.into_iter().map(|unit| &units[unit]).collect(),
            }
        };
        groups.into_iter().map(draft).collect()
    }

    /// The whole document as one draft of `category`, if it [fits](Self::fits) there: the next version of a
    /// record. `None` also for a document without resources.
    pub fn whole(&self, category: Category) -> Option<Draft<'_>> {
        let units: Vec<&Unit> = self.content.units.iter().collect();
        let draft = Draft { bytes: self.bytes, category, encounter: None, copies: 0, units };
        (!draft.units.is_empty() && self.fits(category)).then_some(draft)
    }

    /// Whether the whole document may lie in the segment of `category`.
    ///
    /// Each resource must be of that category, or of a less sensitive one: who proposed it may know more
    /// codes, or the resources that it refers to. Beside a diagnostic report its observations may lie too,
    /// as [`Self::split`] brings them. Nothing else may.
    pub fn fits(&self, category: Category) -> bool {
        let units = &self.content.units;
        let links = Links::new(&Index::new(self.bytes, units), units);
        let categories = links.categories(units);
        let here = |own: &Category| *own == category || category.sensitivity() > own.sensitivity();
        let own = |unit: &usize| categories[*unit] == category;
        let brought = if category == Category::DiagnosticReports {
            links.brought(units, &categories, &(0..units.len()).filter(own).collect())
        } else {
            BTreeSet::new()
        };
        categories.iter().enumerate().all(|(unit, own)| here(own) || brought.contains(&unit))
    }

    /// The ordinal of each unit's encounter.
    fn encounters(&self, index: &Index<'_>, links: &Links) -> Vec<Option<usize>> {
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
        self.follow(links, &mut found);
        found
    }

    /// Gives dependent resources the encounter of those that refer to them, if there is only one.
    fn follow(&self, links: &Links, found: &mut [Option<usize>]) {
        let units = &self.content.units;
        let open = |to: usize| found[to].is_none() && is_dependent(units[to].resource_type);
        let links: Vec<(usize, usize)> = links.pairs().filter(|(_, to)| open(*to)).collect();
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

fn count_types<'a>(units: impl Iterator<Item = &'a Unit>) -> BTreeMap<&'static str, usize> {
    let mut types = BTreeMap::new();
    for unit in units {
        *types.entry(unit.resource_type).or_default() += 1;
    }
    types
}

/// A record to be: the resources of one document that share an encounter and a category.
pub struct Draft<'a> {
    bytes: &'a [u8],
    category: Category,
    encounter: Option<usize>,
    copies: usize,
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

    /// How many resources, copies included, at least one.
    pub const fn len(&self) -> usize {
        self.units.len()
    }

    /// How many of them are copies of resources that lie in another draft, byte for byte the same.
    pub const fn copies(&self) -> usize {
        self.copies
    }

    /// Never true; here because [`Self::len`] is.
    pub const fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// Types and resources.
    pub(crate) fn resources(&self) -> impl Iterator<Item = (&'static str, Node<'_>)> {
        self.units
            .iter()
            .map(|unit| (unit.resource_type, Node::new(&self.bytes[unit.span.clone()])))
    }

    /// Resource types with how many there are of each, copies included, by name.
    pub fn types(&self) -> BTreeMap<&'static str, usize> {
        count_types(self.units.iter().copied())
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
