//! A look into a document that the reader has accepted, without copying it.

use std::{borrow::Cow, fmt};

use crate::json::Lexer;

/// A JSON value of an accepted document: the bytes as they stand there, without white space around them.
///
/// Nothing is parsed ahead: each question scans the value once. Numbers keep their text.
///
/// ```
/// let bytes = br#"{"resourceType":"Observation","status":"final","code":{"coding":[{"code":"x"}]},
///     "valueQuantity":{"value":1.0100}}"#;
/// let document = galen_fhir::Document::read(bytes)?;
/// let root = document.root();
/// assert_eq!(root.at(&["code", "coding", "code"]).and_then(|code| code.text()).as_deref(), Some("x"));
/// assert_eq!(root.at(&["valueQuantity", "value"]).and_then(|value| value.number()), Some("1.0100"));
/// # Ok::<(), galen_fhir::FhirError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Node<'a>(&'a str);

/// A resource of a document: an entry of the Bundle, or the document itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource<'a> {
    /// `fullUrl` of its entry.
    pub full_url: Option<Cow<'a, str>>,
    /// The resource.
    pub node: Node<'a>,
}

impl<'a> Node<'a> {
    /// The value in `bytes`, which the reader has accepted.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(std::str::from_utf8(bytes).expect("the document was checked").trim_ascii())
    }

    /// The exact text of the value.
    pub const fn raw(self) -> &'a str {
        self.0
    }

    /// Whether it is an object.
    pub fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    /// Whether it is an array.
    pub fn is_array(self) -> bool {
        self.0.starts_with('[')
    }

    /// Whether it is `null`, as in an array whose `_` sibling has something at the same place.
    pub fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// Members of an object in the order of the document; none of anything else.
    pub fn members(self) -> impl Iterator<Item = (Cow<'a, str>, Self)> {
        let mut scan = Scan::new(self, b'{');
        std::iter::from_fn(move || {
            if scan.done {
                return None;
            }
            let key = scan.lexer.key().expect("the document was checked");
            Some((key.decode(scan.text.as_bytes()), scan.value(b'}')))
        })
    }

    /// Items of an array in order; of anything else, the value itself once. So an element that may repeat
    /// and one that may not are read alike.
    pub fn items(self) -> impl Iterator<Item = Self> {
        let mut scan = Scan::new(self, b'[');
        let mut alone = (!self.is_array()).then_some(self);
        std::iter::from_fn(move || {
            alone.take().or_else(|| if scan.done { None } else { Some(scan.value(b']')) })
        })
    }

    /// The member of this name.
    pub fn get(self, name: &str) -> Option<Self> {
        self.members().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Walks down by names, through the first item of each array on the way.
    pub fn at(self, names: &[&str]) -> Option<Self> {
        names.iter().try_fold(self, |node, name| node.items().next()?.get(name))
    }

    /// A string as it is meant, its escapes resolved.
    pub fn text(self) -> Option<Cow<'a, str>> {
        let mut lexer = Lexer { bytes: self.0.as_bytes(), pos: 0 };
        (lexer.peek() == Some(b'"'))
            .then(|| lexer.string().expect("the document was checked").decode(self.0.as_bytes()))
    }

    /// A number as it is written.
    pub fn number(self) -> Option<&'a str> {
        self.0.starts_with(|first: char| first == '-' || first.is_ascii_digit()).then_some(self.0)
    }

    /// A boolean.
    pub fn boolean(self) -> Option<bool> {
        match self.0 {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// `resourceType`, if it is a resource.
    pub fn resource_type(self) -> Option<Cow<'a, str>> {
        self.get("resourceType")?.text()
    }
}

/// Shows no health data.
impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({} bytes)", self.0.len())
    }
}

/// A walk over the members or items of one value.
struct Scan<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    done: bool,
}

impl<'a> Scan<'a> {
    /// Stands before the first member or item, or is done if the value does not begin with `open`.
    fn new(node: Node<'a>, open: u8) -> Self {
        let bytes = node.0.as_bytes();
        let mut lexer = Lexer { bytes, pos: 0 };
        let opened = lexer.peek() == Some(open);
        lexer.pos += usize::from(opened);
        let done = !opened || matches!(lexer.peek(), Some(b'}' | b']'));
        Self { text: node.0, lexer, done }
    }

    fn value(&mut self, close: u8) -> Node<'a> {
        self.lexer.peek();
        let start = self.lexer.pos;
        self.lexer.skip(0).expect("the document was checked");
        let value = Node(&self.text[start..self.lexer.pos]);
        self.done = !self.lexer.more(close, "").expect("the document was checked");
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_reads_what_is_written() {
        let node = Node::new(b" {\"a\" : [ 1.0100 ,null, {\"b\\u0063\":\"x\\ny\"} ], \"e\":true} ");
        let keys: Vec<_> = node.members().map(|(key, _)| key).collect();
        assert_eq!(keys, ["a", "e"]);
        let items: Vec<_> = node.get("a").expect("a").items().collect();
        assert_eq!(items[0].number(), Some("1.0100"));
        assert!(items[1].is_null());
        assert_eq!(items[2].raw(), "{\"b\\u0063\":\"x\\ny\"}");
        assert_eq!(items[2].get("bc").and_then(Node::text).as_deref(), Some("x\ny"));
        assert_eq!(node.get("e").and_then(Node::boolean), Some(true));
        assert_eq!(node.items().count(), 1);
        assert!(node.get("none").is_none());
        assert_eq!(Node::new(b"[]").items().count() + Node::new(b"{}").members().count(), 0);
        assert_eq!(Node::new(b"7").members().count(), 0);
    }
}
