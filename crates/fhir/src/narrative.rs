//! The XHTML of narratives: the subset that FHIR allows (specification, section 2.4, rules txt-1 and txt-2).
//!
//! Checks form, not style: one `div`, balanced tags, known elements and attributes, no script, no document
//! type and no other entities than those of XML and HTML 4.

/// Tags inside each other. Deeper ones make a reader's browser suffer.
const MAX_TAG_DEPTH: usize = 64;

/// Characters of one entity name or number.
const MAX_ENTITY_LEN: usize = 10;

const ELEMENTS: &[&str] = &[
    "a",
    "abbr",
    "acronym",
    "address",
    "area",
    "b",
    "bdo",
    "big",
    "blockquote",
    "br",
    "caption",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "del",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "img",
    "ins",
    "kbd",
    "li",
    "map",
    "ol",
    "p",
    "pre",
    "q",
    "s",
    "samp",
    "small",
    "span",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "tt",
    "u",
    "ul",
    "var",
];

const ATTRIBUTES: &[&str] = &[
    "abbr",
    "accesskey",
    "align",
    "alt",
    "axis",
    "bgcolor",
    "border",
    "cellhalign",
    "cellpadding",
    "cellspacing",
    "cellvalign",
    "char",
    "charoff",
    "charset",
    "cite",
    "class",
    "clear",
    "colspan",
    "compact",
    "coords",
    "dir",
    "frame",
    "headers",
    "height",
    "href",
    "hreflang",
    "hspace",
    "id",
    "lang",
    "longdesc",
    "name",
    "nowrap",
    "rel",
    "rev",
    "rowspan",
    "rules",
    "scope",
    "shape",
    "span",
    "src",
    "start",
    "style",
    "summary",
    "tabindex",
    "target",
    "title",
    "type",
    "valign",
    "value",
    "vspace",
    "width",
    "xml:lang",
    "xmlns",
];

const XHTML: &str = "http://www.w3.org/1999/xhtml";

type Reason = &'static str;

/// Checks one `div`. The reason never quotes the text.
pub(crate) fn check(text: &str) -> Result<(), Reason> {
    Parser { rest: text, open: Vec::new(), content: false }.run()
}

struct Parser<'a> {
    rest: &'a str,
    open: Vec<&'a str>,
    /// Whether anything readable was seen.
    content: bool,
}

impl<'a> Parser<'a> {
    fn run(mut self) -> Result<(), Reason> {
        self.rest = self.rest.trim_ascii();
        let root = self.rest.strip_prefix("<div");
        if !root.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_whitespace() || c == '>'))
        {
            return Err("does not start with a div");
        }
        loop {
            self.markup()?;
            if self.open.is_empty() {
                break;
            }
            self.characters()?;
        }
        match (self.rest.is_empty(), self.content) {
            (false, _) => Err("text after the div"),
            (_, false) => Err("no content"),
            _ => Ok(()),
        }
    }

    /// Text up to the next tag.
    fn characters(&mut self) -> Result<(), Reason> {
        let end = self.rest.find('<').ok_or("a tag is not closed")?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.content |= !text.trim_ascii().is_empty();
        entities(text)
    }

    /// A tag or comment; `rest` starts with `<`.
    fn markup(&mut self) -> Result<(), Reason> {
        if let Some(comment) = self.rest.strip_prefix("<!--") {
            let end = comment.find("-->").ok_or("a comment is not closed")?;
            self.rest = &comment[end + 3..];
            return Ok(());
        }
        let body = &self.rest[1..];
        match body.as_bytes().first() {
            Some(b'/') => self.end_tag(&body[1..]),
            Some(b'!' | b'?') => Err("document types, CDATA and instructions are not allowed"),
            _ => self.start_tag(body),
        }
    }

    fn end_tag(&mut self, body: &'a str) -> Result<(), Reason> {
        let (name, rest) = word(body);
        if self.open.pop() != Some(name) {
            return Err("tags do not match");
        }
        self.rest = rest.trim_ascii_start().strip_prefix('>').ok_or("malformed tag")?;
        Ok(())
    }

    fn start_tag(&mut self, body: &'a str) -> Result<(), Reason> {
        let (name, mut rest) = word(body);
        if ELEMENTS.binary_search(&name).is_err() {
            return Err("element that narratives may not have");
        }
        self.content |= name == "img";
        let mut seen: Vec<&str> = Vec::new();
        loop {
            let spaced = rest.starts_with(|c: char| c.is_ascii_whitespace());
            rest = rest.trim_ascii_start();
            if let Some(after) = rest.strip_prefix("/>") {
                self.rest = after;
                return Ok(());
            }
            if let Some(after) = rest.strip_prefix('>') {
                self.rest = after;
                self.open.push(name);
                return if self.open.len() > MAX_TAG_DEPTH { Err("tags too deep") } else { Ok(()) };
            }
            let (attribute, after) = word(rest);
            if !spaced || seen.contains(&attribute) {
                return Err("malformed tag");
            }
            rest = attribute_value(attribute, after)?;
            seen.push(attribute);
        }
    }
}

/// Checks `= "value"` and returns what follows.
fn attribute_value<'a>(name: &str, rest: &'a str) -> Result<&'a str, Reason> {
    if ATTRIBUTES.binary_search(&name).is_err() {
        return Err("attribute that narratives may not have");
    }
    let rest = rest.trim_ascii_start().strip_prefix('=').ok_or("malformed attribute")?;
    let rest = rest.trim_ascii_start();
    let quote =
        rest.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or("malformed attribute")?;
    let (value, rest) = rest[1..].split_once(quote).ok_or("malformed attribute")?;
    if value.contains('<') {
        return Err("malformed attribute");
    }
    entities(value)?;
    match name {
        "xmlns" if value != XHTML => Err("another namespace than XHTML"),
        "href" | "src" | "longdesc" | "cite" if is_script(value) => Err("script in a link"),
        _ => Ok(rest),
    }
}

/// Whether a browser would run the link. White space and case do not stop browsers, nor do entities.
fn is_script(link: &str) -> bool {
    let plain: String =
        link.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
    let scheme = plain.split(['/', '?', '#']).next().unwrap_or_default();
    scheme.starts_with("javascript:")
        || scheme.starts_with("vbscript:")
        || scheme.starts_with("data:text")
        || scheme.contains('&')
}

/// A name at the start of `text`, and the rest.
fn word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_')));
    text.split_at(end.unwrap_or(text.len()))
}

/// Every ampersand starts a number or a name that needs no declaration of its own.
fn entities(text: &str) -> Result<(), Reason> {
    for part in text.split('&').skip(1) {
        let end = part.bytes().take(MAX_ENTITY_LEN + 1).position(|b| b == b';');
        let name = &part[..end.ok_or("malformed entity")?];
        let known = match name.strip_prefix('#') {
            Some(number) => match number.strip_prefix('x') {
                Some(hex) => !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit()),
                None => !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()),
            },
            None => matches!(name, "amp" | "lt" | "gt" | "quot" | "apos") || is_html_entity(name),
        };
        if !known {
            return Err("unknown entity");
        }
    }
    Ok(())
}

/// Named characters of HTML 4 that published narratives use beside those of XML.
fn is_html_entity(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "cent", "copy", "deg", "euro", "frac12", "frac14", "ge", "hellip", "laquo", "ldquo", "le",
        "lsquo", "mdash", "micro", "middot", "nbsp", "ndash", "para", "plusmn", "pound", "raquo",
        "rdquo", "reg", "rsquo", "sect", "sup2", "sup3", "times", "trade", "yen",
    ];
    NAMES.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_for_binary_search() {
        assert!(ELEMENTS.is_sorted());
        assert!(ATTRIBUTES.is_sorted());
    }

    #[test]
    fn narrative_is_plain_xhtml() {
        let div = |body: &str| format!("<div xmlns=\"{XHTML}\">{body}</div>");
        for good in [
            "a",
            "<p>a<br/>&amp;&#233;&nbsp;</p><!-- c -->",
            "<img src='#i' alt=''/>",
            "<a href=\"http://a/?b=1&amp;c\">x</a>",
        ] {
            assert_eq!(check(&div(good)), Ok(()), "{good}");
        }
        for bad in [
            "",
            " ",
            "<p>a",
            "<p>a</b>",
            "<script>a</script>",
            "<p onclick=\"a()\">a</p>",
            "a &xxe; b",
            "<a href=\"java\nscript:a()\">a</a>",
            "<a href=\"&#106;avascript:a()\">a</a>",
            "<p a=b>a</p>",
            "<![CDATA[a]]>",
            "<P>a</P>",
            "a & b",
            "<p id='a' id='b'>a</p>",
            "<p id='a'class='b'>a</p>",
        ] {
            assert!(check(&div(bad)).is_err(), "{bad}");
        }
        for bad in [
            "a",
            "<p>a</p>",
            "<div>a</div>b",
            "<!DOCTYPE a><div>a</div>",
            "<div xmlns='urn:x'>a</div>",
            "<divx>a</divx>",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(check(&format!("<div>{}a{}</div>", "<b>".repeat(70), "</b>".repeat(70))).is_err());
    }
}
