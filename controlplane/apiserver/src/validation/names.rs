//! Names, labels and their rules, with the messages of `k8s.io/apimachinery/pkg/util/validation`.
//! Each function returns what is wrong; nothing means valid.

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const SUBDOMAIN_UNDERSCORE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";
const WILDCARD: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

const LABEL_MAX: usize = 63;
const SUBDOMAIN_MAX: usize = 253;

/// The length limit's message for most names.
pub fn too_long(max: usize) -> String {
    format!("must be no more than {max} characters")
}

/// The length limit's message for the parts of labels.
fn too_many_bytes(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

fn lower(c: u8) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(a), Some(b)) if lower(*a) && lower(*b))
        && bytes.iter().all(|c| lower(*c) || *c == b'-')
}

fn is_qualified_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(a), Some(b)) if a.is_ascii_alphanumeric() && b.is_ascii_alphanumeric())
        && bytes.iter().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(c))
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

fn checked(text: &str, max: usize, valid: bool, message: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > max {
        wrong.push(too_long(max));
    }
    if !valid {
        wrong.push(message.into());
    }
    wrong
}

/// RFC 1123 label.
pub fn dns1123_label(text: &str) -> Vec<String> {
    let message = if is_subdomain(text) { "must not contain dots" } else { LABEL };
    checked(text, LABEL_MAX, is_label(text), message)
}

/// RFC 1123 subdomain.
pub fn dns1123_subdomain(text: &str) -> Vec<String> {
    checked(text, SUBDOMAIN_MAX, is_subdomain(text), SUBDOMAIN)
}

/// RFC 1123 subdomain that may have underscores, as DNS search paths do.
pub fn dns1123_subdomain_with_underscore(text: &str) -> Vec<String> {
    let inner = |c: u8| lower(c) || c == b'-' || c == b'_';
    let valid = text.split('.').all(|label| {
        let label = label.strip_prefix('_').unwrap_or(label).as_bytes();
        matches!((label.first(), label.last()), (Some(a), Some(b)) if lower(*a) && lower(*b))
            && label.iter().all(|c| inner(*c))
    });
    checked(text, SUBDOMAIN_MAX, valid, SUBDOMAIN_UNDERSCORE)
}

/// A subdomain below a wildcard: `*.example.com`.
pub fn wildcard_dns1123_subdomain(text: &str) -> Vec<String> {
    checked(text, SUBDOMAIN_MAX, text.strip_prefix("*.").is_some_and(is_subdomain), WILDCARD)
}

/// RFC 1035 label.
pub fn dns1035_label(text: &str) -> Vec<String> {
    let valid = is_label(text) && text.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    checked(text, LABEL_MAX, valid, LABEL_1035)
}

/// A label or annotation key: `[prefix/]name`.
pub fn qualified_name(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty".into());
            } else {
                if prefix.len() > SUBDOMAIN_MAX {
                    wrong.push(format!("prefix part {}", too_many_bytes(SUBDOMAIN_MAX)));
                }
                if !is_subdomain(prefix) {
                    wrong.push(format!("prefix part {SUBDOMAIN}"));
                }
            }
            name
        }
        _ => {
            return vec![
                "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')".into(),
            ];
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".into());
    } else if name.len() > LABEL_MAX {
        wrong.push(format!("name part {}", too_many_bytes(LABEL_MAX)));
    }
    if !is_qualified_part(name) {
        wrong.push(QUALIFIED.into());
    }
    wrong
}

/// A label's value.
pub fn label_value(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > LABEL_MAX {
        wrong.push(too_many_bytes(LABEL_MAX));
    }
    if !text.is_empty() && !is_qualified_part(text) {
        wrong.push(LABEL_VALUE.into());
    }
    wrong
}

/// A name that is one segment of a URL path.
pub fn path_segment(text: &str) -> Vec<String> {
    if text == "." || text == ".." {
        return vec![format!("may not be '{text}'")];
    }
    ['/', '%'].into_iter().filter(|c| text.contains(*c)).map(|c| format!("may not contain '{c}'")).collect()
}
