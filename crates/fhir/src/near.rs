//! What a person may have meant who mistyped a name.

/// Names that are told at most.
const MAX_NEAR: usize = 3;

/// Longest word that is compared, in bytes; nothing that long is a slip.
const MAX_WORD_LEN: usize = 64;

/// The names nearest to `word`, best first: few letters apart, whatever their case. Empty if none is near.
pub fn near_names<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    if word.len() > MAX_WORD_LEN {
        return Vec::new();
    }
    let word = word.to_lowercase();
    let limit = 1 + word.chars().count() / 4;
    let apart = |name: &'a str| (distance(&word, &name.to_lowercase()), name);
    let mut near: Vec<_> = names.into_iter().map(apart).filter(|(far, _)| *far <= limit).collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(MAX_NEAR).map(|(_, name)| name).collect()
}

/// Letters to insert, remove or replace (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_finds_slips_and_nothing_far() {
        let names = ["performer", "encounter", "recorder", "status"];
        for (word, near) in [
            ("perfomer", vec!["performer"]),
            ("Status", vec!["status"]),
            ("recoder", vec!["recorder"]),
            ("zzz", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(near_names(word, names), near, "{word}");
        }
        assert!(near_names(&"x".repeat(1_000_000), names).is_empty());
    }
}
