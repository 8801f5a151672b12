//! `/openapi/v2`: all of it in one document, as JSON or as the protobuf of gnostic.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};

use super::{
    Flavor, Schema, Served, custom, definitions, gnostic, operations, parameters,
    prose::Text,
    remote::{Additions, Spec},
    v3::{discovery, groups, member, referred},
};

/// The media type of the protobuf form.
pub const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// The document as JSON, with what remote servers add.
pub fn json(served: &[Served<'_>], specs: &[Arc<Spec>]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut section, mut at) = ("", 0);
    for_each_part(served, specs, |part, name, value| {
        if part != section {
            out.extend_from_slice(if section.is_empty() { b"{" } else { b"}," });
            out.extend_from_slice(format!("\"{part}\":{{").as_bytes());
            (section, at) = (part, 0);
        }
        member(&mut out, at, name, &value);
        at += 1;
    });
    out.extend_from_slice(b"},");
    let head = head().to_string();
    out.extend_from_slice(head.strip_prefix('{').unwrap_or(&head).as_bytes());
    out
}

/// The document as protobuf, with what remote servers add.
pub fn protobuf(served: &[Served<'_>], specs: &[Arc<Spec>]) -> Vec<u8> {
    let mut writer = gnostic::Document::new(&head());
    for_each_part(served, specs, |part, name, value| writer.add(part, name, &value));
    writer.finish()
}

fn head() -> Value {
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1.36.2"},
        "securityDefinitions": {
            "BearerToken": {
                "type": "apiKey",
                "name": "authorization",
                "in": "header",
                "description": "Bearer Token authentication"
            }
        },
        "security": [{"BearerToken": []}]
    })
}

/// Visits paths, then definitions, then parameters, one at a time.
fn for_each_part(
    served: &[Served<'_>],
    specs: &[Arc<Spec>],
    mut visit: impl FnMut(&'static str, &str, Value),
) {
    let mut additions = Additions::new(served, specs);
    let mut section = "paths";
    for_each_own_part(served, |part, name, value| {
        if part != section {
            additions.take(section).into_iter().for_each(|(name, value)| visit(section, &name, value));
            section = part;
        }
        visit(part, name, value);
    });
    additions.take(section).into_iter().for_each(|(name, value)| visit(section, &name, value));
}

/// The same, without what remote servers add.
pub fn for_each_own_part(served: &[Served<'_>], mut visit: impl FnMut(&'static str, &str, Value)) {
    let (discovery, answers) = discovery(served, Flavor::V2);
    let resources = served.iter().flat_map(|resource| operations::paths(resource, Flavor::V2));
    for (path, item) in discovery.into_iter().chain(resources) {
        visit("paths", &path, item);
    }

    let text = Text::unpack();
    let prose = text.index();
    let mut names = BTreeSet::new();
    for answer in answers {
        definitions::reachable(&answer, &mut names);
    }
    for resource in served {
        for root in referred(resource) {
            definitions::reachable(&root, &mut names);
        }
        if let Schema::Custom(schema) = resource.schema {
            let object = custom::object(resource, &schema.text(), Flavor::V2, &prose);
            visit("definitions", &resource.definition(), object);
            visit("definitions", &resource.list_definition(), custom::list(resource, Flavor::V2, &prose));
        }
    }
    let groups = groups(served.iter());
    for name in &names {
        visit("definitions", name, definitions::definition(name, Flavor::V2, &groups, &prose));
    }

    for (name, parameter) in parameters::definitions() {
        visit("parameters", &name, parameter);
    }
}
