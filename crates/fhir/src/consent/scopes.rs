//! SMART App Launch scopes, version 2: what an app of an ordinary FHIR server would be allowed.

use std::collections::BTreeSet;

use super::vocabulary::{
    ACT_CODE, OBSERVATION, OBSERVATION_CATEGORY, labels, observation_categories, resource_types,
};
use crate::Category;

/// Most scopes that are read.
const MAX_SCOPES: usize = 1_000;

/// The scopes that open what categories hold, sorted. Reading and searching alone.
///
/// A scope knows neither purpose nor time nor grantee, and one for a resource type does not leave out its
/// sensitive records: the server must. Age and sex alone, and what is open to the network, have no scope.
pub fn scopes(categories: &[Category]) -> Vec<String> {
    let mut found = BTreeSet::new();
    for category in categories {
        for label in labels(*category) {
            found.insert(format!("patient/*.rs?_security={ACT_CODE}|{label}"));
        }
        for name in resource_types(*category) {
            match (name, observation_categories(*category)) {
                (OBSERVATION, known @ [_, ..]) => {
                    found.extend(known.iter().map(|code| observation(code)));
                }
                _ => {
                    found.insert(format!("patient/{name}.rs"));
                }
            }
        }
    }
    found.into_iter().collect()
}

fn observation(category: &str) -> String {
    format!("patient/{OBSERVATION}.rs?category={OBSERVATION_CATEGORY}|{category}")
}

/// What scopes come to in categories.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FromScopes {
    /// Categories of which the scopes open everything that has a scope, sorted.
    pub categories: Vec<Category>,
    /// Scopes that open something that is not a whole category, or are none of reading, with the reason.
    pub left_out: Vec<(String, &'static str)>,
}

/// Reads scopes, separated by white space, as a report: a scope is not a consent. Version 1 (`.read`) is
/// read, too.
pub fn from_scopes(text: &str) -> FromScopes {
    let mut opened = BTreeSet::new();
    let mut report = FromScopes::default();
    for scope in text.split_ascii_whitespace().take(MAX_SCOPES) {
        match normal(scope) {
            Ok(scope) => {
                opened.insert(scope);
            }
            Err(reason) => report.left_out.push((scope.to_owned(), reason)),
        }
    }
    let everything = opened.contains("patient/*.rs");
    let open = |scope: &String| {
        let whole = scope.split_once('?').map_or(scope.as_str(), |(whole, _)| whole);
        everything || opened.contains(scope) || opened.contains(whole)
    };
    for category in Category::ALL {
        let needed = scopes(&[category]);
        if !needed.is_empty() && needed.iter().all(open) {
            report.categories.push(category);
        }
    }
    let used = scopes(&report.categories);
    let is_used = |scope: &String| {
        everything || used.iter().any(|it| it == scope || it.split('?').next() == Some(scope))
    };
    let partial = opened.iter().filter(|scope| !is_used(scope));
    report.left_out.extend(partial.map(|it| (it.clone(), "opens only a part of a category")));
    report
}

/// A scope that reads and searches, in one way of writing.
fn normal(scope: &str) -> Result<String, &'static str> {
    let (head, query) = scope.split_once('?').map_or((scope, None), |(a, b)| (a, Some(b)));
    let (context, rest) = head.split_once('/').ok_or("names no resource")?;
    if context != "patient" {
        return Err("is not about one patient");
    }
    let (name, actions) = rest.rsplit_once('.').ok_or("names no action")?;
    let reads = match actions {
        "read" | "*" => true,
        letters => letters.contains('r') && letters.chars().all(|it| "cruds".contains(it)),
    };
    if !reads {
        return Err("does not read");
    }
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Ok(format!("patient/{name}.rs{query}"))
}
