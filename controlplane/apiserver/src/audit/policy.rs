//! `Policy`, the file of `--audit-policy-file`
//! (<https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/#audit-k8s-io-v1-Policy>).

#[cfg(test)]
mod tests;

use std::path::Path as File;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    authorization::Attributes,
    field::{Errors, Path},
    file,
    user::User,
    validation::names,
};

/// How much is told of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Level {
    /// Nothing.
    None,
    /// Who did what when.
    Metadata,
    /// And with what.
    Request,
    /// And what came of it.
    RequestResponse,
}

/// When something is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Stage {
    /// Before the request is dealt with.
    RequestReceived,
    /// When the answer has begun of a request that lasts.
    ResponseStarted,
    /// When there is nothing more to answer.
    ResponseComplete,
    /// When the server broke down over it.
    Panic,
}

const LEVELS: &[(&str, Level)] = &[
    ("None", Level::None),
    ("Metadata", Level::Metadata),
    ("Request", Level::Request),
    ("RequestResponse", Level::RequestResponse),
];

const STAGES: &[(&str, Stage)] = &[
    ("RequestReceived", Stage::RequestReceived),
    ("ResponseStarted", Stage::ResponseStarted),
    ("ResponseComplete", Stage::ResponseComplete),
    ("Panic", Stage::Panic),
];

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Document {
    api_version: String,
    kind: String,
    #[serde(rename = "metadata")]
    _metadata: Value,
    rules: Vec<Entry>,
    omit_stages: Vec<String>,
    omit_managed_fields: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Entry {
    level: String,
    #[serde(flatten)]
    subject: Subject,
    omit_stages: Vec<String>,
    omit_managed_fields: Option<bool>,
}

/// Which requests a rule is about; what is empty says nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Subject {
    users: Vec<String>,
    user_groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<Resources>,
    namespaces: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    urls: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Resources {
    group: String,
    resources: Vec<String>,
    resource_names: Vec<String>,
}

/// What is told of requests, by the first rule that is about them.
#[derive(Debug)]
pub struct Policy {
    rules: Vec<(Subject, Verdict)>,
}

/// What a rule says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How much is told.
    pub level: Level,
    /// When nothing is told.
    pub omitted: Vec<Stage>,
    /// Whether objects are told without their managed fields.
    pub without_managed_fields: bool,
}

/// Why a policy is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its file is of no use.
    #[error(transparent)]
    File(#[from] file::Error),
    /// It is of another form.
    #[error("failed to decode the audit policy")]
    Shape(#[from] serde_json::Error),
    /// It is something else.
    #[error("unknown group version field {api_version}, Kind={kind} in policy")]
    Kind {
        /// What it says that it is.
        kind: String,
        /// Of which version.
        api_version: String,
    },
    /// It says nothing.
    #[error("loaded illegal policy with 0 rules")]
    NoRules,
    /// It contradicts itself.
    #[error("{}", .0.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Invalid(Errors),
}

impl Policy {
    /// Reads and validates a file.
    pub fn load(path: &File) -> Result<Self, Error> {
        Self::read(file::document(path)?)
    }

    /// Reads and validates a document.
    pub fn read(document: Value) -> Result<Self, Error> {
        let Document { api_version, kind, rules, omit_stages, omit_managed_fields, .. } =
            serde_json::from_value(document)?;
        if api_version != "audit.k8s.io/v1" || kind != "Policy" {
            return Err(Error::Kind { kind, api_version });
        }
        let mut errors = Errors::default();
        let root = Path::new("rules");
        for (index, rule) in rules.iter().enumerate() {
            validate(&mut errors, &root.index(index), rule);
        }
        if !errors.is_empty() {
            return Err(Error::Invalid(errors));
        }
        if rules.is_empty() {
            return Err(Error::NoRules);
        }
        let rules = rules.into_iter().map(|rule| {
            let level = named(LEVELS, &rule.level).unwrap_or(Level::None);
            let omitted = omit_stages.iter().chain(&rule.omit_stages);
            let omitted = omitted.filter_map(|name| named(STAGES, name)).collect();
            let without_managed_fields = rule.omit_managed_fields.unwrap_or(omit_managed_fields);
            (rule.subject, Verdict { level, omitted, without_managed_fields })
        });
        Ok(Self { rules: rules.collect() })
    }

    /// What is told of a request; nothing if no rule is about it. Nobody is its user as long as nobody has
    /// shown who they are.
    pub fn of(&self, attributes: &Attributes<'_>, user: Option<&User>) -> Option<&Verdict> {
        let rule = self.rules.iter().find(|(subject, _)| subject.matches(attributes, user));
        rule.map(|(_, verdict)| verdict).filter(|verdict| verdict.level > Level::None)
    }
}

fn named<T: Copy>(all: &[(&str, T)], name: &str) -> Option<T> {
    all.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

impl Subject {
    fn matches(&self, attributes: &Attributes<'_>, user: Option<&User>) -> bool {
        let says = |list: &[String], text: &str| list.iter().any(|item| item == text);
        if !self.users.is_empty() && !user.is_some_and(|user| says(&self.users, &user.name)) {
            return false;
        }
        let in_group = |user: &User| user.groups.iter().any(|group| says(&self.user_groups, group));
        if !self.user_groups.is_empty() && !user.is_some_and(in_group) {
            return false;
        }
        if !self.verbs.is_empty() && !says(&self.verbs, attributes.verb) {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return attributes.is_resource
                && (self.namespaces.is_empty() || says(&self.namespaces, attributes.namespace))
                && (self.resources.is_empty() || self.resources.iter().any(|r| r.matches(attributes)));
        }
        if !self.urls.is_empty() {
            return !attributes.is_resource && self.urls.iter().any(|url| is_below(attributes.path, url));
        }
        true
    }
}

/// Whether a path is the one of a rule, or begins with it where a star ends it.
fn is_below(path: &str, rule: &str) -> bool {
    rule == path || rule.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}

impl Resources {
    fn matches(&self, attributes: &Attributes<'_>) -> bool {
        if self.group != attributes.group {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        if !self.resource_names.is_empty() && !self.resource_names.iter().any(|n| n == attributes.name) {
            return false;
        }
        let (resource, subresource) = (attributes.resource, attributes.subresource);
        self.resources.iter().any(|rule| match rule.split_once('/') {
            None => rule == "*" || (rule == resource && subresource.is_empty()),
            Some(("*", wanted)) if wanted != "*" => !subresource.is_empty() && wanted == subresource,
            Some((owner, "*")) => owner == resource,
            Some((owner, wanted)) => owner == resource && wanted == subresource,
        })
    }
}

fn validate(errors: &mut Errors, path: &Path<'_>, rule: &Entry) {
    let level = path.child("level");
    if rule.level.is_empty() {
        errors.required(&level, "");
    } else if named(LEVELS, &rule.level).is_none() {
        let known: Vec<&str> = LEVELS.iter().map(|(name, _)| *name).collect();
        errors.not_supported(&level, &rule.level.as_str().into(), &known);
    }
    let urls = path.child("nonResourceURLs");
    for (index, url) in rule.subject.urls.iter().enumerate().filter(|(_, url)| *url != "*") {
        let path = urls.index(index);
        if !url.starts_with('/') {
            errors.invalid_str(&path, url, "non-resource URL rules must begin with a '/' character");
        }
        if url.char_indices().any(|(at, c)| c == '*' && at + 1 < url.len()) {
            let why = "non-resource URL wildcards '*' must be the final character of the rule";
            errors.invalid_str(&path, url, why);
        }
    }
    let resources = path.child("resources");
    for entry in &rule.subject.resources {
        if !entry.group.is_empty() {
            let wrong = names::dns1123_subdomain(&entry.group);
            if !wrong.is_empty() {
                errors.invalid_str(&resources.child("group"), &entry.group, &wrong.join(","));
            }
        }
        if !entry.resource_names.is_empty() && entry.resources.is_empty() {
            let why = "using resourceNames requires at least one resource";
            errors.invalid(&resources.child("resourceNames"), &json!(entry.resource_names), why);
        }
    }
    let stages = path.child("omitStages");
    for (index, stage) in rule.omit_stages.iter().enumerate() {
        if named(STAGES, stage).is_none() {
            let known: Vec<&str> = STAGES.iter().map(|(name, _)| *name).collect();
            let why = format!("allowed stages are {}", known.join(","));
            errors.invalid_str(&stages.index(index), stage, &why);
        }
    }
    let both = !rule.subject.resources.is_empty() || !rule.subject.namespaces.is_empty();
    if !rule.subject.urls.is_empty() && both {
        let why = "rules cannot apply to both regular resources and non-resource URLs";
        errors.invalid(&urls, &json!(rule.subject.urls), why);
    }
}
