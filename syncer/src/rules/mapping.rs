//! Which objects of the host's namespaces appear where in the virtual cluster.

use crate::labels::ObjectKey;

/// A pair of places: one object, or all of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    from: Pattern,
    to: Pattern,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    /// Empty on the host = the namespace of the virtual cluster.
    namespace: String,
    /// `None` = every name.
    name: Option<String>,
}

/// Why a mapping cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("mapping {from:?} to {to:?}: {why}")]
pub(crate) struct MappingError {
    from: String,
    to: String,
    why: &'static str,
}

impl Mapping {
    /// Reads `namespace/name` or `namespace/*` on both sides.
    pub fn parse(from: &str, to: &str) -> Result<Self, MappingError> {
        let read = || {
            let mapping = Self { from: Pattern::parse(from)?, to: Pattern::parse(to)? };
            if mapping.from.name.is_none() != mapping.to.name.is_none() {
                return Err("either both sides name an object or none does");
            }
            if mapping.to.namespace.is_empty() {
                return Err("the virtual side needs a namespace");
            }
            Ok(mapping)
        };
        read().map_err(|why| MappingError { from: from.to_owned(), to: to.to_owned(), why })
    }

    /// The namespace on the host, that of the virtual cluster being `own`.
    pub fn host_namespace<'a>(&'a self, own: &'a str) -> &'a str {
        if self.from.namespace.is_empty() { own } else { &self.from.namespace }
    }

    /// The name on the host, if the mapping is about one object.
    pub fn host_name(&self) -> Option<&str> {
        self.from.name.as_deref()
    }

    /// Where an object of the host appears.
    pub fn target(&self, own: &str, host: &ObjectKey) -> Option<ObjectKey> {
        let is_here = host.namespace == self.host_namespace(own);
        let name = match (&self.from.name, &self.to.name) {
            (Some(from), Some(to)) if *from == host.name => to.clone(),
            (None, _) => host.name.clone(),
            _ => return None,
        };
        is_here.then(|| ObjectKey::new(self.to.namespace.clone(), name))
    }

    /// The object of the host that appears at `key`.
    pub fn source(&self, own: &str, key: &ObjectKey) -> Option<ObjectKey> {
        if key.namespace != self.to.namespace {
            return None;
        }
        let name = match (&self.from.name, &self.to.name) {
            (Some(from), Some(to)) if *to == key.name => from.clone(),
            (None, _) => key.name.clone(),
            _ => return None,
        };
        Some(ObjectKey::new(self.host_namespace(own), name))
    }
}

/// A Service of the virtual cluster and the name that it also has on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Export {
    pub service: ObjectKey,
    /// No namespace = that of the virtual cluster.
    place: ObjectKey,
}

impl Export {
    /// Reads `namespace/name` on both sides.
    pub fn parse(from: &str, to: &str) -> Result<Self, MappingError> {
        let read = |text: &str| match Pattern::parse(text)? {
            Pattern { namespace, name: Some(name) } => Ok(ObjectKey::new(namespace, name)),
            Pattern { name: None, .. } => Err("a Service goes to the host under one name"),
        };
        let pair = || {
            let export = Self { service: read(from)?, place: read(to)? };
            let is_named = !export.service.namespace.is_empty();
            if is_named { Ok(export) } else { Err("the virtual side needs a namespace") }
        };
        pair().map_err(|why| MappingError { from: from.to_owned(), to: to.to_owned(), why })
    }

    /// Where it appears on the host, the virtual cluster's namespace there being `own`.
    pub fn place(&self, own: &str) -> ObjectKey {
        let namespace = if self.place.namespace.is_empty() { own } else { &self.place.namespace };
        ObjectKey::new(namespace, self.place.name.clone())
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (namespace, name) = text.split_once('/').ok_or("a place is written namespace/name")?;
        if name.is_empty() || name.contains('/') {
            return Err("a place is written namespace/name");
        }
        Ok(Self { namespace: namespace.to_owned(), name: (name != "*").then(|| name.to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> ObjectKey {
        let (namespace, name) = text.split_once('/').unwrap();
        ObjectKey::new(namespace, name)
    }

    #[test]
    fn source_and_target_are_each_others_reverse() {
        for (from, to, host, here) in [
            ("shared/*", "shop/*", "shared/a", "shop/a"),
            ("shared/a", "shop/b", "shared/a", "shop/b"),
            ("/*", "shop/*", "tenant/a", "shop/a"),
            ("/a", "shop/b", "tenant/a", "shop/b"),
        ] {
            let mapping = Mapping::parse(from, to).unwrap();
            assert_eq!(mapping.target("tenant", &key(host)), Some(key(here)), "{from}");
            assert_eq!(mapping.source("tenant", &key(here)), Some(key(host)), "{from}");
            assert_eq!(mapping.target("tenant", &key("other/a")), None, "{from}");
            assert_eq!(mapping.source("tenant", &key("other/a")), None, "{from}");
        }
    }

    #[test]
    fn a_service_is_exported_under_one_name() {
        let export = Export::parse("shop/web", "/web").unwrap();
        assert_eq!(export.place("tenant"), key("tenant/web"));
        assert_eq!(Export::parse("shop/web", "data/w").unwrap().place("tenant"), key("data/w"));
        for (from, to) in [("shop/*", "/*"), ("/web", "/web"), ("web", "/web")] {
            assert!(Export::parse(from, to).is_err(), "{from} {to}");
        }
    }

    #[test]
    fn what_is_no_pair_of_places_is_refused() {
        for (from, to) in [("a", "b/c"), ("a/b", "c/*"), ("a/b/c", "d/e"), ("a/b", "/c"), ("a/", "b/c")] {
            assert!(Mapping::parse(from, to).is_err(), "{from} {to}");
        }
    }
}
