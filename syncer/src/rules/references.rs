//! Places where an object names another one.
//!
//! A place holds either the name itself, or a reference in the style of Kubernetes: an object with `name` and maybe
//! `namespace`, `kind` and `group`. On the host all virtual namespaces share one, so a name carries its namespace and
//! the field `namespace` goes.

use serde_json::Value;

use super::catalogue::NAMED_GLOBALLY;
use super::path::Path;
use crate::labels::{ObjectKey, Translator};

/// Places that name objects of one kind, unless they say another kind themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub path: Path,
    pub kind: String,
}

/// An object that is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub group: String,
    pub kind: String,
    pub key: ObjectKey,
}

impl Named {
    /// Where it is on the host, if it goes there.
    pub fn host_key(&self, translator: &Translator) -> ObjectKey {
        if self.is_global() {
            return ObjectKey::new("", translator.host_name(&ObjectKey::new("", self.key.name.clone())));
        }
        let name = translator.names.host(&self.key.namespace, &self.key.name);
        ObjectKey::new(translator.host_namespace(&self.key.namespace), name)
    }

    fn is_global(&self) -> bool {
        NAMED_GLOBALLY.iter().any(|(kind, _)| *kind == self.kind)
    }
}

impl Reference {
    /// What `document`, of `namespace`, names at these places.
    pub fn names(&self, namespace: &str, document: &Value) -> Vec<Named> {
        let mut names = Vec::new();
        self.visit(namespace, &mut document.clone(), &mut |named, _| names.push(named));
        names
    }

    /// Gives what is named its host name, or where it came from the host, the name that it has there.
    pub fn rename(
        &self,
        translator: &Translator,
        namespace: &str,
        document: &mut Value,
        imported: &dyn Fn(&Named) -> Option<ObjectKey>,
    ) {
        self.visit(namespace, document, &mut |named, place| {
            let source = imported(&named);
            let is_elsewhere = source.is_some();
            let host = source.unwrap_or_else(|| named.host_key(translator));
            match place {
                Value::Object(fields) => {
                    if fields.contains_key("namespace") || is_elsewhere {
                        fields.insert("namespace".into(), Value::from(host.namespace));
                    }
                    fields.insert("name".into(), Value::from(host.name));
                }
                place => *place = Value::from(host.name),
            }
        });
    }

    fn visit(&self, namespace: &str, document: &mut Value, seen: &mut dyn FnMut(Named, &mut Value)) {
        let visited: Result<(), std::convert::Infallible> = self.path.change(document, &mut |place| {
            if let Some(named) = self.named(namespace, place) {
                seen(named, place);
            }
            Ok(())
        });
        let Ok(()) = visited;
    }

    fn named(&self, namespace: &str, place: &Value) -> Option<Named> {
        let text = |field: &str| place.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
        let name = place.as_str().or_else(|| text("name")).filter(|name| !name.is_empty())?;
        Some(Named {
            group: text("group").unwrap_or_default().to_owned(),
            kind: text("kind").unwrap_or(&self.kind).to_owned(),
            key: ObjectKey::new(text("namespace").unwrap_or(namespace), name),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Config;

    fn reference(path: &str, kind: &str) -> Reference {
        Reference { path: Path::parse(path).unwrap(), kind: kind.into() }
    }

    #[test]
    fn names_and_references_get_their_host_names() {
        let translator = Translator::new(Config::new("demo", "tenant"));
        let mut document = json!({
            "secretName": "cert",
            "backendRefs": [{ "name": "web", "port": 80 }, { "name": "api", "namespace": "other" }, { "port": 1 }],
        });
        let rename = |reference: Reference, document: &mut Value| {
            reference.rename(&translator, "shop", document, &|_| None);
        };
        rename(reference("secretName", "Secret"), &mut document);
        rename(reference("backendRefs[*]", "Service"), &mut document);
        assert_eq!(
            document,
            json!({
                "secretName": "cert-x-shop-x-demo",
                "backendRefs": [
                    { "name": "web-x-shop-x-demo", "port": 80 },
                    { "name": "api-x-other-x-demo", "namespace": "tenant" },
                    { "port": 1 },
                ],
            })
        );
    }

    #[test]
    fn what_came_from_the_host_has_its_name_there() {
        let translator = Translator::new(Config::new("demo", "tenant"));
        let mut document = json!({ "parentRefs": [{ "name": "shared" }] });
        let gateways = reference("parentRefs[*]", "Gateway");
        gateways.rename(&translator, "shop", &mut document, &|_| Some(ObjectKey::new("infra", "edge")));
        assert_eq!(document, json!({ "parentRefs": [{ "name": "edge", "namespace": "infra" }] }));
    }

    #[test]
    fn a_reference_may_say_its_kind() {
        let document = json!({ "ref": { "kind": "ConfigMap", "name": "ca" }, "other": "x" });
        let named = reference("ref", "Secret").names("shop", &document);
        assert_eq!(named[0].kind, "ConfigMap");
        assert_eq!(named[0].key, ObjectKey::new("shop", "ca"));
        assert!(reference("missing", "Secret").names("shop", &document).is_empty());
    }
}
