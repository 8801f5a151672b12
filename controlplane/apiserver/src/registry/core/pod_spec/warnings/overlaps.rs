//! Files of a volume that are in each other's way.

use std::fmt;

use serde_json::Value;

use crate::field::quoted;
use crate::registry::access::{get, list_at, str_at};

/// Where a file goes, and from where if the volume has several sources.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place<'a> {
    path: &'a str,
    source: String,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quoted(self.path))?;
        if self.source.is_empty() { Ok(()) } else { write!(f, " ({})", self.source) }
    }
}

/// What is questionable about the files of a volume.
pub fn warnings(volume: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let name = quoted(str_at(volume, "/name"));
    for (field, what, named) in [
        ("configMap", "ConfigMap", "/name"),
        ("secret", "Secret", "/secretName"),
        ("downwardAPI", "DownwardAPI", ""),
    ] {
        let Some(source) = get(volume, &format!("/{field}")) else { continue };
        let described = described(what, named, source);
        for overlap in overlaps(places(source, "")) {
            warnings.push(format!("volume {name} ({described}): overlapping paths: {overlap}"));
        }
    }
    let sources = list_at(volume, "/projected/sources");
    for _ in sources.iter().filter(|source| source.as_object().is_none_or(serde_json::Map::is_empty)) {
        warnings.push(format!("volume {name} (Projected) has no sources provided"));
    }
    for overlap in overlaps(sources.iter().flat_map(projected).collect()) {
        warnings.push(format!("volume {name} (Projected): overlapping paths: {overlap}"));
    }
    warnings
}

fn described(what: &str, named: &str, source: &Value) -> String {
    if named.is_empty() { what.into() } else { format!("{what} {}", quoted(str_at(source, named))) }
}

fn places<'a>(source: &'a Value, described: &str) -> Vec<Place<'a>> {
    let items = list_at(source, "/items").iter();
    items.map(|item| Place { path: str_at(item, "/path"), source: described.to_owned() }).collect()
}

fn projected(source: &Value) -> Vec<Place<'_>> {
    for (field, what, named) in [
        ("configMap", "ConfigMap", "/name"),
        ("secret", "Secret", "/name"),
        ("downwardAPI", "DownwardAPI", ""),
    ] {
        if let Some(source) =
            get(source, &format!("/{field}")).filter(|source| get(source, "/items").is_some())
        {
            return places(source, &described(what, named, source));
        }
    }
    if let Some(token) = get(source, "/serviceAccountToken") {
        return vec![Place { path: str_at(token, "/path"), source: "ServiceAccountToken".into() }];
    }
    let Some(bundle) = get(source, "/clusterTrustBundle") else { return Vec::new() };
    let named = if get(bundle, "/name").is_some() { "/name" } else { "/signerName" };
    vec![Place { path: str_at(bundle, "/path"), source: described("ClusterTrustBundle", named, bundle) }]
}

/// Each file with those before it that are the same, above or below it.
fn overlaps(places: Vec<Place<'_>>) -> Vec<String> {
    let mut found = Vec::new();
    let mut seen: Vec<Place<'_>> = Vec::new();
    for mut place in places {
        place.path = place.path.trim_end_matches('/');
        let below = |one: &str, other: &str| {
            one.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let both = |other: &&Place<'_>| {
            let (one, other) = (place.path, other.path);
            !one.is_empty() && !other.is_empty() && (below(one, other) || below(other, one))
        };
        found.extend(seen.iter().filter(both).map(|other| format!("{place} with {other}")));
        seen.push(place);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn files_of_one_map_do_not_overlap() {
        let items = json!([{"key": "a", "path": "test"}, {"key": "b", "path": "test/app"}, {"key": "c", "path": "tes"}]);
        let volume = json!({"name": "v", "configMap": {"name": "foo", "items": items}});
        assert_eq!(
            warnings(&volume),
            ["volume \"v\" (ConfigMap \"foo\"): overlapping paths: \"test/app\" with \"test\""]
        );
    }

    #[test]
    fn sources_of_a_projection_do_not_overlap() {
        let sources = json!([
            {"configMap": {"name": "m", "items": [{"key": "a", "path": "token/"}]}},
            {},
            {"serviceAccountToken": {"path": "token"}},
        ]);
        assert_eq!(
            warnings(&json!({"name": "v", "projected": {"sources": sources}})),
            [
                "volume \"v\" (Projected) has no sources provided",
                "volume \"v\" (Projected): overlapping paths: \"token\" (ServiceAccountToken) with \"token\" (ConfigMap \"m\")",
            ]
        );
    }
}
