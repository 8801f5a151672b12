//! Policy rules: what they say and whether they cover a request.

use serde_json::{Value, json};

use crate::authorization::Attributes;

/// One rule of a role (`rbac.authorization.k8s.io/v1 PolicyRule`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The verbs.
    pub verbs: Vec<String>,
    /// The API groups.
    pub api_groups: Vec<String>,
    /// The resources, with their subresources.
    pub resources: Vec<String>,
    /// The names; empty means all.
    pub resource_names: Vec<String>,
    /// The paths.
    pub non_resource_urls: Vec<String>,
}

impl Rule {
    /// Reads a rule.
    pub fn parse(value: &Value) -> Self {
        let list = |field: &str| {
            let list = value.get(field).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(Value::as_str).map(Into::into).collect()
        };
        Self {
            verbs: list("verbs"),
            api_groups: list("apiGroups"),
            resources: list("resources"),
            resource_names: list("resourceNames"),
            non_resource_urls: list("nonResourceURLs"),
        }
    }

    /// The rules of a role.
    pub fn of(role: &Value) -> Vec<Self> {
        role.get("rules").and_then(Value::as_array).into_iter().flatten().map(Self::parse).collect()
    }

    /// The rule as a document.
    pub fn to_value(&self) -> Value {
        let mut rule = json!({"verbs": self.verbs});
        for (field, list) in [
            ("apiGroups", &self.api_groups),
            ("resources", &self.resources),
            ("resourceNames", &self.resource_names),
            ("nonResourceURLs", &self.non_resource_urls),
        ] {
            if !list.is_empty() {
                rule[field] = json!(list);
            }
        }
        rule
    }

    /// Whether it allows the request.
    pub fn allows(&self, attributes: &Attributes<'_>) -> bool {
        if !has(&self.verbs, attributes.verb) {
            return false;
        }
        if !attributes.is_resource {
            return self.covers_path(attributes.path);
        }
        has(&self.api_groups, attributes.group)
            && self.covers_resource(attributes.resource, attributes.subresource)
            && (self.resource_names.is_empty() || self.resource_names.iter().any(|n| n == attributes.name))
    }

    fn covers_path(&self, path: &str) -> bool {
        self.non_resource_urls.iter().any(|url| match url.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => url == path,
        })
    }

    fn covers_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|r| {
            if r == "*" {
                return true;
            }
            if subresource.is_empty() {
                return r == resource;
            }
            match r.split_once('/') {
                Some(("*", sub)) => sub == subresource,
                Some((res, sub)) => res == resource && sub == subresource,
                None => false,
            }
        })
    }

    /// Whether it grants everything that a rule of one verb, group, resource and name grants.
    pub fn covers(&self, one: &Self) -> bool {
        let all = |own: &[String], of: &[String]| of.iter().all(|o| has(own, o));
        if !one.non_resource_urls.is_empty() {
            return all(&self.verbs, &one.verbs)
                && one.non_resource_urls.iter().all(|u| {
                    self.non_resource_urls.iter().any(|own| {
                        own == u || own.strip_suffix('*').is_some_and(|prefix| u.starts_with(prefix))
                    })
                });
        }
        all(&self.verbs, &one.verbs)
            && all(&self.api_groups, &one.api_groups)
            && one.resources.iter().all(|r| {
                let (resource, subresource) = r.split_once('/').unwrap_or((r, ""));
                self.resources.iter().any(|own| own == r) || self.covers_resource(resource, subresource)
            })
            && (self.resource_names.is_empty()
                || (!one.resource_names.is_empty()
                    && one.resource_names.iter().all(|n| self.resource_names.contains(n))))
    }

    /// The same as rules of one verb, group, resource and name (or verb and path) each.
    pub fn split(&self) -> Vec<Self> {
        let mut split = Vec::new();
        for verb in &self.verbs {
            for url in &self.non_resource_urls {
                split.push(Self {
                    verbs: vec![verb.clone()],
                    non_resource_urls: vec![url.clone()],
                    ..Self::default()
                });
            }
            for group in &self.api_groups {
                for resource in &self.resources {
                    let one = Self {
                        verbs: vec![verb.clone()],
                        api_groups: vec![group.clone()],
                        resources: vec![resource.clone()],
                        ..Self::default()
                    };
                    if self.resource_names.is_empty() {
                        split.push(one);
                    } else {
                        split.extend(
                            self.resource_names
                                .iter()
                                .map(|name| Self { resource_names: vec![name.clone()], ..one.clone() }),
                        );
                    }
                }
            }
        }
        split
    }
}

impl Rule {
    /// Joins rules that differ in their verbs only.
    pub fn compact(rules: Vec<Self>) -> Vec<Self> {
        let mut compact: Vec<Self> = Vec::with_capacity(rules.len());
        for rule in rules {
            let same = |other: &&mut Self| {
                rule.resource_names.is_empty()
                    && rule.non_resource_urls.is_empty()
                    && other.api_groups == rule.api_groups
                    && other.resources == rule.resources
                    && other.resource_names == rule.resource_names
                    && other.non_resource_urls == rule.non_resource_urls
            };
            match compact.iter_mut().find(same) {
                Some(other) => {
                    for verb in rule.verbs {
                        if !other.verbs.contains(&verb) {
                            other.verbs.push(verb);
                        }
                    }
                }
                None => compact.push(rule),
            }
        }
        compact
    }
}

/// The short form in messages.
impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let shown = parts.iter().filter(|(_, list)| !list.is_empty()).map(|(name, list)| {
            let items: Vec<String> = list.iter().map(|item| format!("{item:?}")).collect();
            format!("{name}:[{}]", items.join(" "))
        });
        write!(f, "{{{}}}", shown.collect::<Vec<_>>().join(", "))
    }
}

fn has(list: &[String], item: &str) -> bool {
    list.iter().any(|l| l == "*" || l == item)
}
