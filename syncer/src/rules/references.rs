//! Places where an object names another one.
//!
//! A place holds either the name itself, or a reference in the style of Kubernetes: an object with `name` and maybe
//! `namespace`, `kind` and `group`. On the host all virtual namespaces share one, so a name carries its namespace and
//! the field `namespace` goes.

use serde_json::Value;

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

impl Reference {
    /// What `document`, of `namespace`, names at these places.
    pub fn names(&self, namespace: &str, document: &Value) -> Vec<Named> {
        let mut names = Vec::new();
        self.visit(namespace, &mut document.clone(), &mut |named, _| names.push(named));
        names
    }

    /// Gives what is named its host name.
    pub fn rename(&self, translator: &Translator, namespace: &str, document: &mut Value) {
        self.visit(namespace, document, &mut |named, place| {
            let host = Value::from(translator.names.host(&named.key.namespace, &named.key.name));
            match place {
                Value::Object(fields) => {
                    if fields.contains_key("namespace") {
                        let namespace = translator.config.host_namespace.clone();
                        fields.insert("namespace".into(), Value::from(namespace));
                    }
                    fields.insert("name".into(), host);
                }
                place => *place = host,
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
        reference("secretName", "Secret").rename(&translator, "shop", &mut document);
        reference("backendRefs[*]", "Service").rename(&translator, "shop", &mut document);
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
    fn a_reference_may_say_its_kind() {
        let document = json!({ "ref": { "kind": "ConfigMap", "name": "ca" }, "other": "x" });
        let named = reference("ref", "Secret").names("shop", &document);
        assert_eq!(named[0].kind, "ConfigMap");
        assert_eq!(named[0].key, ObjectKey::new("shop", "ca"));
        assert!(reference("missing", "Secret").names("shop", &document).is_empty());
    }
}
