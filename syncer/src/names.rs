//! Host names of virtual objects.
//!
//! Every object of a virtual cluster lands in one host namespace, so its host name has to carry its virtual
//! namespace. The mapping is a pure function of (cluster, namespace, name); it needs no stored state and is
//! injective: two different virtual objects of one kind never share a host name.
//!
//! | form    | looks like                        | contains `-x-` |
//! |---------|-----------------------------------|----------------|
//! | plain   | `<name>-x-<namespace>-x-<cluster>` | exactly twice  |
//! | hashed  | `<readable>-x-<hash>`              | exactly once   |
//! | derived | `<readable>-x-<hash>-<role>`       | exactly once   |
//! | own     | `<name>`, in a mapped namespace    | never          |
//!
//! A virtual namespace that has a namespace of its own on the host needs none of this: its objects keep their own names,
//! which the last form is told from by having no `-x-` at all. Names that have one, and those that the host or the operator
//! uses in every namespace, are hashed there too.
//!
//! *Plain* is used when it fits 63 characters and splits at its two `-x-` in one way only, so it can be read
//! back. Otherwise the name is *hashed*: 100 bits of SHA-256 over the length-prefixed parts stand for the object
//! and the readable prefix is for people. *Derived* names belong to helper objects of a virtual object (the
//! token Secret of a pod). The number of `-x-` and the shape of the last segment keep the forms apart.

use sha2::{Digest, Sha256};
use vkube_crds::NamespaceMap;

#[cfg(test)]
mod tests;

/// Between the parts of a host name.
const SEPARATOR: &str = "-x-";

/// The longest DNS label, so the longest host name of any kind.
const LIMIT: usize = 63;

/// Characters of a hash: 20 × 5 bits = 100 bits, out of reach of any search for a second preimage.
const HASH: usize = 20;

/// Maps virtual names to host names for one virtual cluster.
#[derive(Clone, Debug)]
pub struct Names {
    cluster: String,
    mapped: NamespaceMap,
}

impl Names {
    /// The mapping of the virtual cluster `cluster`.
    pub fn new(cluster: impl Into<String>) -> Self {
        Self { cluster: cluster.into(), mapped: NamespaceMap::default() }
    }

    /// The same mapping, where these virtual namespaces have namespaces of their own on the host.
    pub fn with_namespaces(self, mapped: NamespaceMap) -> Self {
        Self { mapped, ..self }
    }

    /// The host name of a namespaced virtual object.
    ///
    /// ```
    /// let names = vkube_syncer::Names::new("demo");
    /// assert_eq!(names.host("default", "web-0"), "web-0-x-default-x-demo");
    /// ```
    pub fn host(&self, namespace: &str, name: &str) -> String {
        if self.mapped.host(namespace).is_some() {
            return if is_own(name) { name.to_owned() } else { self.hashed(namespace, name, None) };
        }
        let plain = format!("{name}{SEPARATOR}{namespace}{SEPARATOR}{}", self.cluster);
        if plain.len() <= LIMIT && separators(&plain) == 2 {
            return plain;
        }

        self.hashed(namespace, name, None)
    }

    /// The host name of a helper object that exists for the sake of a virtual object, such as its `token` Secret.
    ///
    /// `role` is a short constant of lower-case letters.
    pub fn derived(&self, namespace: &str, name: &str, role: &str) -> String {
        self.hashed(namespace, name, Some(role))
    }

    /// The host name of a cluster-scoped virtual object. All namespaces of the host share these names, so they are
    /// always hashed, and the host namespace is part of the hash: clusters of one name live in several.
    pub fn global(&self, host_namespace: &str, name: &str) -> String {
        let hash = digest(&[&self.cluster, host_namespace, name], HASH);
        let mut host = readable(name, LIMIT - SEPARATOR.len() - HASH);
        host.push_str(SEPARATOR);
        host.push_str(&hash);
        host
    }

    /// Reads a plain host name back into (namespace, name); `None` for any other string.
    pub fn parse<'a>(&self, host: &'a str) -> Option<(&'a str, &'a str)> {
        if host.len() > LIMIT || separators(host) != 2 {
            return None;
        }
        let rest = host.strip_suffix(&self.cluster)?.strip_suffix(SEPARATOR)?;
        let (name, namespace) = rest.split_once(SEPARATOR)?;
        (!name.is_empty() && !namespace.is_empty()).then_some((namespace, name))
    }

    fn hashed(&self, namespace: &str, name: &str, role: Option<&str>) -> String {
        let hash = digest(&[&self.cluster, namespace, name, role.unwrap_or_default()], HASH);
        let tail = role.map_or(0, |role| role.len() + 1);
        let room = LIMIT - SEPARATOR.len() - HASH - tail;
        let mut host = readable(&format!("{name}-{namespace}"), room);
        host.push_str(SEPARATOR);
        host.push_str(&hash);
        if let Some(role) = role {
            host.push('-');
            host.push_str(role);
        }
        host
    }
}

/// Whether an object may keep its name in a namespace of its own: it can be taken for no other form, and neither the host
/// nor the operator has an object of the name in every namespace.
fn is_own(name: &str) -> bool {
    const EVERYWHERE: [&str; 2] = ["default", "kube-root-ca.crt"];
    const OPERATOR: [&str; 2] = ["vc-", "vkube-"];
    separators(name) == 0
        && !EVERYWHERE.contains(&name)
        && !OPERATOR.iter().any(|prefix| name.starts_with(prefix))
}

/// The first `length` characters of the base-32 SHA-256 of `parts`, each prefixed with its length so that no two
/// different lists of parts hash the same bytes.
pub(crate) fn digest(parts: &[&str], length: usize) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    base32(&hasher.finalize(), length)
}

/// Lower-case RFC 4648 base-32, which is valid anywhere in a DNS label.
fn base32(bytes: &[u8], length: usize) -> String {
    const ALPHABET: [char; 32] = [
        'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't',
        'u', 'v', 'w', 'x', 'y', 'z', '2', '3', '4', '5', '6', '7',
    ];
    let mut out = String::with_capacity(length);
    let (mut buffer, mut bits) = (0_u32, 0_u32);
    for byte in bytes.iter().take(length * 5 / 8 + 1) {
        buffer = (buffer << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 && out.len() < length {
            bits -= 5;
            out.push(ALPHABET[((buffer >> bits) & 31) as usize]);
        }
        buffer &= (1 << bits) - 1;
    }
    out
}

/// A prefix of `text` of at most `room` bytes that adds no `-x-` to a name, neither inside nor at its end.
fn readable(text: &str, room: usize) -> String {
    let mut text = text.to_owned();
    while text.contains(SEPARATOR) {
        text = text.replace(SEPARATOR, "-");
    }
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= room).last();
    text.truncate(end.unwrap_or(0));
    loop {
        let trimmed = text.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let trimmed = trimmed.strip_suffix("-x").unwrap_or(trimmed);
        if trimmed.len() == text.len() {
            return text;
        }
        text.truncate(trimmed.len());
    }
}

/// How often `-x-` occurs, overlapping occurrences included.
fn separators(text: &str) -> usize {
    text.as_bytes().windows(SEPARATOR.len()).filter(|window| *window == SEPARATOR.as_bytes()).count()
}

/// A label or annotation name part (after the `/`) that stands for `key` injectively and is still readable.
pub(crate) fn key(key: &str) -> String {
    let hash = digest(&[key], HASH);
    let (_, name) = key.rsplit_once('/').unwrap_or(("", key));
    let room = LIMIT - 1 - HASH;
    let prefix: String = name.chars().filter(char::is_ascii).take(room).collect();
    match prefix.trim_matches(|c: char| !c.is_ascii_alphanumeric()) {
        "" => hash,
        prefix => format!("{prefix}-{hash}"),
    }
}
