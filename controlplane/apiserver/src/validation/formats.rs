//! Texts and numbers of a certain form, with the messages of `k8s.io/apimachinery/pkg/util/validation`.
//! Each function returns what is wrong; nothing means valid.

use super::names::too_long;

/// The message for a number outside of a range.
pub fn range(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

fn in_range(number: i64, low: i64, high: i64) -> Vec<String> {
    if (low..=high).contains(&number) { Vec::new() } else { vec![range(low, high)] }
}

/// A port.
pub fn port_number(port: i64) -> Vec<String> {
    in_range(port, 1, 65_535)
}

/// A user or group id.
pub fn user_id(id: i64) -> Vec<String> {
    in_range(id, 0, i64::from(i32::MAX))
}

/// A name of a port.
pub fn port_name(name: &str) -> Vec<String> {
    const MAX: usize = 15;
    let mut wrong = Vec::new();
    if name.len() > MAX {
        wrong.push(too_long(MAX));
    }
    if name.is_empty() || !name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-') {
        wrong.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !name.bytes().any(|c| c.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)".into());
    }
    if name.contains("--") {
        wrong.push("must not contain consecutive hyphens".into());
    }
    if name.starts_with('-') || name.ends_with('-') {
        wrong.push("must not begin or end with a hyphen".into());
    }
    wrong
}

/// A name of an environment variable.
pub fn env_var_name(name: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if name.is_empty() {
        wrong.push("environment variable name must be non-empty".into());
    }
    if !name.bytes().all(|c| (c.is_ascii_graphic() || c == b' ') && c != b'=') {
        wrong.push(
            "a valid environment variable name must consist only of printable ASCII characters other than '='"
                .into(),
        );
    }
    wrong
}

/// A key of a config map or secret.
pub fn config_map_key(key: &str) -> Vec<String> {
    const MAX: usize = 253;
    let mut wrong = Vec::new();
    if key.len() > MAX {
        wrong.push(too_long(MAX));
    }
    if key.is_empty() || !key.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._".contains(&c)) {
        wrong.push("a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')".into());
    }
    match key {
        "." | ".." => wrong.push(format!("must not be '{key}'")),
        _ if key.starts_with("..") => wrong.push("must not start with '..'".into()),
        _ => {}
    }
    wrong
}

/// A name of an HTTP header.
pub fn http_header_name(name: &str) -> Vec<String> {
    if !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-') {
        return Vec::new();
    }
    vec!["a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')".into()]
}

/// A share, such as `25%`.
pub fn percent(text: &str) -> Vec<String> {
    let number = text.strip_suffix('%').unwrap_or_default();
    if !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit()) {
        return Vec::new();
    }
    vec!["a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')".into()]
}

/// A path below a domain, such as `example.com/name`; with the part that each message is about.
pub fn domain_prefixed_path(path: &str) -> Vec<(String, String)> {
    let Some((host, rest)) = path.split_once('/').filter(|(host, rest)| !host.is_empty() && !rest.is_empty())
    else {
        return vec![(path.into(), "must be a domain-prefixed path (such as \"acme.io/foo\")".into())];
    };
    let mut wrong: Vec<(String, String)> =
        super::names::dns1123_subdomain(host).into_iter().map(|why| (host.to_owned(), why)).collect();
    if !rest.bytes().all(|c| c.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&c)) {
        wrong.push((
            rest.into(),
            "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')".into(),
        ));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_names_are_short_and_have_a_letter() {
        assert!(port_name("http-2").is_empty());
        assert_eq!(port_name("much-too-long-port-name"), ["must be no more than 15 characters"]);
        assert_eq!(port_name("80"), ["must contain at least one letter (a-z)"]);
        assert_eq!(port_name("a--b").len(), 1);
    }

    #[test]
    fn keys_are_no_way_out_of_a_directory() {
        assert!(config_map_key("a.b-C_1").is_empty());
        assert_eq!(config_map_key(".."), ["must not be '..'"]);
        assert_eq!(config_map_key("..a"), ["must not start with '..'"]);
    }
}
