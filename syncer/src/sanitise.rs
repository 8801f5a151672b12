//! Messages of the host, told in the tenant's names.

use std::collections::HashMap;

use serde_json::Value;

use crate::labels::Translator;

/// Rewrites host names in texts about one virtual object.
pub(crate) struct Sanitiser<'a> {
    translator: &'a Translator,
    namespace: &'a str,
    /// That of the host which it has for itself.
    host_namespace: Option<String>,
    known: HashMap<String, String>,
}

impl<'a> Sanitiser<'a> {
    /// A sanitiser for texts about objects of the virtual `namespace`.
    pub fn new(translator: &'a Translator, namespace: &'a str) -> Self {
        let host_namespace = translator.mapped(namespace);
        Self { translator, namespace, host_namespace, known: HashMap::new() }
    }

    /// Adds an object of the namespace whose host name cannot be read back by itself.
    pub fn knows(mut self, name: &str) -> Self {
        self.known.insert(self.translator.names.host(self.namespace, name), name.to_owned());
        let token = self.translator.names.derived(self.namespace, name, "token");
        self.known.insert(token, format!("{name}-token"));
        self
    }

    /// Adds an object that has another name on the host.
    pub fn knows_as(mut self, host: String, name: &str) -> Self {
        self.known.insert(host, name.to_owned());
        self
    }

    /// `text` with every host name replaced by the virtual one, and the host namespace by the virtual.
    pub fn clean(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let word = rest.find(|c| !is_name_char(c)).unwrap_or(rest.len());
            let (token, tail) = rest.split_at(word);
            self.push(token, &mut out);
            let gap = tail.find(is_name_char).unwrap_or(tail.len());
            let (between, tail) = tail.split_at(gap);
            out.push_str(between);
            rest = tail;
        }
        out
    }

    /// Cleans every text in a document.
    pub fn clean_document(&self, document: &mut Value) {
        match document {
            Value::String(text) => *text = self.clean(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.clean_document(item)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.clean_document(field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn push(&self, token: &str, out: &mut String) {
        let name = token.trim_end_matches(['.', '-']);
        match self.known_as(name) {
            Some(visible) => out.push_str(visible),
            // A DNS name: each of its labels may be a host name.
            None => {
                for (at, label) in name.split('.').enumerate() {
                    if at > 0 {
                        out.push('.');
                    }
                    out.push_str(self.known_as(label).unwrap_or(label));
                }
            }
        }
        out.push_str(&token[name.len()..]);
    }

    fn known_as<'t>(&'t self, name: &'t str) -> Option<&'t str> {
        if name == self.translator.config.host_namespace || self.host_namespace.as_deref() == Some(name) {
            return Some(self.namespace);
        }
        let known = self.known.get(name).map(String::as_str);
        known.or_else(|| self.translator.names.parse(name).map(|(_, parsed)| parsed))
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.'
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn clean(text: &str) -> String {
        let translator = Translator::new(Config::new("demo", "tenant-demo"));
        Sanitiser::new(&translator, "shop").knows(&"long".repeat(20)).clean(text)
    }

    #[test]
    fn plain_names_are_read_back() {
        assert_eq!(
            clean("Successfully assigned tenant-demo/web-0-x-shop-x-demo to node-1."),
            "Successfully assigned shop/web-0 to node-1."
        );
    }

    #[test]
    fn names_of_objects_that_the_host_never_had_are_read_back() {
        assert_eq!(
            clean("configmap \"settings-x-shop-x-demo\" not found"),
            "configmap \"settings\" not found"
        );
    }

    #[test]
    fn hashed_names_of_known_objects_are_read_back() {
        let translator = Translator::new(Config::new("demo", "tenant-demo"));
        let host = translator.names.host("shop", &"long".repeat(20));
        assert_eq!(clean(&format!("pod {host}: gone")), format!("pod {}: gone", "long".repeat(20)));
    }

    #[test]
    fn dns_names_are_told_label_by_label() {
        assert_eq!(clean("lookup web-x-shop-x-demo.tenant-demo.svc: no"), "lookup web.shop.svc: no");
        assert_eq!(clean("pod a.b-x-shop-x-demo"), "pod a.b");
    }

    #[test]
    fn other_words_stay() {
        assert_eq!(clean("Back-off 5m0s – pulling \"nginx:1.27\""), "Back-off 5m0s – pulling \"nginx:1.27\"");
    }
}
