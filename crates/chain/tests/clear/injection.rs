//! Texts that want to be more than text.

/// Attacks on terminals, readers and layouts.
const ATTACKS: [&str; 34] = [
    "\u{1b}[2J\u{1b}[H",
    "\u{1b}[1;32mverified\u{1b}[0m",
    "\u{1b}]0;title\u{7}",
    "\u{1b}]8;;https://example.org\u{1b}\\link\u{1b}]8;;\u{1b}\\",
    "\u{1b}[1A\u{1b}[2K",
    "\u{9b}31m",
    "\u{90}q\u{9c}",
    "\r\nDigest  0x00",
    "\nSign this? [y/N] y",
    "\u{8}\u{8}\u{8}",
    "\t\t\t",
    "\0",
    "\u{7f}",
    "\u{85}",
    "\u{202e}anna tS",
    "\u{2066}a\u{2069}",
    "\u{200f}\u{200e}\u{61c}",
    "\u{200b}\u{200d}\u{2060}\u{feff}",
    "\u{2028}line\u{2029}",
    "\u{ad}\u{34f}\u{3164}\u{115f}",
    "\u{e0041}\u{e0042}\u{e007f}",
    "\u{fe0f}\u{180e}\u{e0100}",
    "\" (0x22222222…22222222) and \"x",
    "\\\" \\\\\" \\u{22}",
    "“St Anna”",
    "Z̷̢̛͙̙̗̰̿̈́͝a̸̡͉̬͎̿͒̓͜l̴̨̞͙̈́̄̿g̷̺̟̈́͐o",
    "St Аnna",
    "Ѕt Αnna",
    "\u{a0}\u{2003}\u{3000}x",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "{patient} {deadline} %s %n ${HOME} `id`",
    "\u{fff9}a\u{fffa}b\u{fffb}",
    "\u{2062}\u{206a}\u{1d173}\u{e000}",
];

/// Every attack in many places of an otherwise honest name, and twice.
pub(crate) fn payloads() -> Vec<String> {
    let mut payloads = Vec::new();
    for attack in ATTACKS {
        for (before, after) in
            [("", ""), ("St Anna", ""), ("", "St Anna"), ("St ", " Anna"), ("\"", "\"")]
        {
            payloads.push(format!("{before}{attack}{after}"));
            payloads.push(format!("{before}{attack}{after}{attack}"));
        }
        payloads.push(attack.repeat(40));
        payloads.push(format!("{}{attack}", "a".repeat(95)));
        payloads.push(attack.chars().rev().collect());
        payloads.push(attack.chars().flat_map(|c| ['a', c]).collect());
        payloads.push(attack.to_uppercase());
    }
    payloads
}

/// What no line may hold, written down from the Unicode tables apart from the code under test.
pub(crate) fn is_active(c: char) -> bool {
    let unseen =
        [0xad, 0x34f, 0x61c, 0x115f, 0x1160, 0x180e, 0x3164, 0xfeff, 0x2028, 0x2029, 0xa0, 0x3000];
    let code = u32::from(c);
    c.is_control()
        || unseen.contains(&code)
        || (0x2000..=0x200f).contains(&code)
        || (0x202a..=0x202f).contains(&code)
        || (0x2060..=0x206f).contains(&code)
        || (0xfe00..=0xfe0f).contains(&code)
        || (0xfff9..=0xfffb).contains(&code)
        || (0x1d173..=0x1d17a).contains(&code)
        || (0xe000..=0xf8ff).contains(&code)
        || code >= 0xe_0000
}

/// Whether a quoted text ends where its last quotation mark stands and nowhere before.
pub(crate) fn is_closed(quoted: &str) -> bool {
    let inside = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let mut escaped = false;
    let early = inside.is_none_or(|inside| {
        inside.chars().any(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        })
    });
    !early && !escaped
}
