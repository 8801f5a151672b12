//! What a certificate may be used for: the names in requests and their form in certificates.

/// The usages of a request, ready to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Usages {
    /// Numbered flags of the key usage extension.
    pub key: u16,
    /// Identifiers of the extended key usage extension.
    pub extended: Vec<&'static [u32]>,
}

/// A usage that has no form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unrecognized usage values: {0:?}")]
pub(super) struct Unrecognized(Vec<String>);

enum Usage {
    Key(u16),
    Extended(&'static [u32]),
}

fn usage(name: &str) -> Option<Usage> {
    Some(match name {
        "signing" | "digital signature" => Usage::Key(1),
        "content commitment" => Usage::Key(1 << 1),
        "key encipherment" => Usage::Key(1 << 2),
        "data encipherment" => Usage::Key(1 << 3),
        "key agreement" => Usage::Key(1 << 4),
        "cert sign" => Usage::Key(1 << 5),
        "crl sign" => Usage::Key(1 << 6),
        "encipher only" => Usage::Key(1 << 7),
        "decipher only" => Usage::Key(1 << 8),
        "any" => Usage::Extended(&[2, 5, 29, 37, 0]),
        "server auth" => Usage::Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 1]),
        "client auth" => Usage::Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 2]),
        "code signing" => Usage::Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 3]),
        "email protection" | "s/mime" => Usage::Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 4]),
        "ipsec end system" => Usage::Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 5]),
        "ipsec tunnel" => Usage::Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 6]),
        "ipsec user" => Usage::Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 7]),
        "timestamping" => Usage::Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 8]),
        "ocsp signing" => Usage::Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 9]),
        "microsoft sgc" => Usage::Extended(&[1, 3, 6, 1, 4, 1, 311, 10, 3, 3]),
        "netscape sgc" => Usage::Extended(&[2, 16, 840, 1, 113_730, 4, 1]),
        _ => return None,
    })
}

/// Reads the usages of a request.
pub(super) fn read(names: &[String]) -> Result<Usages, Unrecognized> {
    let mut usages = Usages::default();
    let mut unknown = Vec::new();
    for name in names {
        match usage(name) {
            Some(Usage::Key(flag)) => usages.key |= flag,
            Some(Usage::Extended(arcs)) if usages.extended.contains(&arcs) => {}
            Some(Usage::Extended(arcs)) => usages.extended.push(arcs),
            None => unknown.push(name.clone()),
        }
    }
    usages.extended.sort_unstable();
    if unknown.is_empty() { Ok(usages) } else { Err(Unrecognized(unknown)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usages_have_their_flags_and_identifiers() {
        let read = |names: &[&str]| read(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        let usages = read(&["digital signature", "key encipherment", "client auth"]).unwrap();
        assert_eq!((usages.key, usages.extended.len()), (0b101, 1));
        assert_eq!(
            read(&["client auth", "x"]).unwrap_err().to_string(),
            "unrecognized usage values: [\"x\"]"
        );
    }
}
