//! The table of resources, in the order of discovery.

mod core;
mod platform;
mod workloads;

use super::kind::Kind;
use super::{Resource, Subresource};

type GroupVersion = (&'static str, &'static str);

const fn cluster(
    (group, version): GroupVersion,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    type_name: &'static str,
    kind_rules: &'static dyn Kind,
) -> Resource {
    Resource {
        group,
        version,
        kind,
        plural,
        singular,
        namespaced: false,
        short_names: &[],
        categories: &[],
        verbs: STANDARD,
        subresources: &[],
        type_name,
        stored_as: None,
        kind_rules,
    }
}

const fn namespaced(
    group_version: GroupVersion,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    type_name: &'static str,
    kind_rules: &'static dyn Kind,
) -> Resource {
    Resource { namespaced: true, ..cluster(group_version, kind, plural, singular, type_name, kind_rules) }
}

const fn subresource(name: &'static str, kind: &'static str, verbs: &'static [&'static str]) -> Subresource {
    Subresource { name, group: "", version: "", kind, verbs }
}

const STANDARD: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const CREATE: &[&str] = &["create"];
const CREATE_GET: &[&str] = &["create", "get"];
const GET: &[&str] = &["get"];
const GET_PATCH_UPDATE: &[&str] = &["get", "patch", "update"];
const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];
const UPDATE: &[&str] = &["update"];

const ALL: &[&str] = &["all"];
const API_EXTENSIONS: &[&str] = &["api-extensions"];

const SCALE: Subresource = subresource("scale", "Scale", GET_PATCH_UPDATE).of("autoscaling", "v1");

const PARTS: [&[Resource]; 3] = [core::RESOURCES, workloads::RESOURCES, platform::RESOURCES];

static ALL_RESOURCES: [Resource; PARTS[0].len() + PARTS[1].len() + PARTS[2].len()] = {
    let mut all = [PARTS[0][0]; PARTS[0].len() + PARTS[1].len() + PARTS[2].len()];
    let (mut part, mut at) = (0, 0);
    while part < PARTS.len() {
        let mut index = 0;
        while index < PARTS[part].len() {
            all[at] = PARTS[part][index];
            (index, at) = (index + 1, at + 1);
        }
        part += 1;
    }
    all
};

/// Every resource, in the order of discovery.
pub static RESOURCES: &[Resource] = &ALL_RESOURCES;

/// A kind without rules of its own.
struct Plain;

impl Kind for Plain {}

impl Resource {
    const fn short_names(self, short_names: &'static [&'static str]) -> Self {
        Self { short_names, ..self }
    }

    const fn categories(self, categories: &'static [&'static str]) -> Self {
        Self { categories, ..self }
    }

    const fn verbs(self, verbs: &'static [&'static str]) -> Self {
        Self { verbs, ..self }
    }

    const fn subresources(self, subresources: &'static [Subresource]) -> Self {
        Self { subresources, ..self }
    }

    const fn stored_as(self, group: &'static str, version: &'static str) -> Self {
        Self { stored_as: Some((group, version)), ..self }
    }
}

impl Subresource {
    const fn of(self, group: &'static str, version: &'static str) -> Self {
        Self { group, version, ..self }
    }
}
