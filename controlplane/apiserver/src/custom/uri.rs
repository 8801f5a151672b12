//! URLs as Go's `net/url.ParseRequestURI` reads them: absolute ones and absolute paths.

use percent_encoding::percent_decode_str;

use crate::field::quoted;

/// A parsed URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    /// As it was written.
    pub text: String,
    /// Before the colon, in lower case; empty for a path.
    pub scheme: String,
    /// Host and port.
    pub host: String,
    /// Before the question mark, as written.
    pub escaped_path: String,
    /// After the question mark.
    pub query: String,
}

/// Parses a URL; `None` if it is neither absolute nor an absolute path.
pub fn parse_request(text: &str) -> Option<Uri> {
    if text.is_empty() || text.bytes().any(|c| c.is_ascii_control()) {
        return None;
    }
    let colon = text.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '-' | '.'));
    let (scheme, rest) = match colon {
        Some(at) if at > 0 && text[at..].starts_with(':') && text.as_bytes()[0].is_ascii_alphabetic() => {
            (text[..at].to_ascii_lowercase(), &text[at + 1..])
        }
        Some(0) if text.starts_with(':') => return None,
        _ => (String::new(), text),
    };
    // Requests have no fragment: a hash is a character like others.
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !rest.starts_with('/') && text != "*" {
        // `mailto:x` has no path but is absolute.
        let opaque = !scheme.is_empty();
        return opaque.then(|| Uri {
            text: text.into(),
            scheme,
            host: String::new(),
            escaped_path: String::new(),
            query: query.into(),
        });
    }
    let (user, host, path) = match rest.strip_prefix("//") {
        Some(after) if !scheme.is_empty() => {
            let end = after.find('/').unwrap_or(after.len());
            let (authority, path) = after.split_at(end);
            let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
            (user, host, path)
        }
        _ => ("", "", rest),
    };
    let valid = is_user(user) && is_host(host) && is_escaped(path, usize::MAX);
    valid.then(|| Uri {
        text: text.into(),
        scheme,
        host: host.into(),
        escaped_path: escaped(path),
        query: query.into(),
    })
}

/// User, host and port.
pub fn authority(text: &str) -> &str {
    authority_until(text, &['/', '?', '#'])
}

fn authority_until<'t>(text: &'t str, ends: &[char]) -> &'t str {
    let after = text.split_once("//").map_or("", |(_, after)| after);
    after.split(ends).next().unwrap_or_default()
}

/// Why Go cannot parse a URL.
pub fn fault(text: &str) -> Option<String> {
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return Some("net/url: invalid control character in URL".into());
    }
    if text.starts_with(':') {
        return Some("missing protocol scheme".into());
    }
    let authority = authority(text);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.starts_with('[') && !host.contains(']') {
        return Some("missing ']' in host".into());
    }
    let port = host.get(host.rfind(']').unwrap_or(0)..).and_then(|end| end.rfind(':').map(|at| &end[at..]));
    if let Some(port) = port.filter(|port| port[1..].bytes().any(|byte| !byte.is_ascii_digit())) {
        return Some(format!("invalid port {} after host", quoted(port)));
    }
    if let Some(bad) = host.chars().find(|c| " \\^`{}|".contains(*c)) {
        return Some(format!("invalid character {} in host name", quoted(&bad.to_string())));
    }
    let path = text.split(['?', '#']).next().unwrap_or_default();
    let escape = path.match_indices('%').map(|(at, _)| &path[at..]).find(|escape| !is_escaped(escape, 1))?;
    let end = escape.char_indices().nth(3).map_or(escape.len(), |(end, _)| end);
    Some(format!("invalid URL escape {}", quoted(&escape[..end])))
}

/// Why Go takes a text for neither an absolute URL nor an absolute path.
pub fn refusal(text: &str) -> String {
    let authority = authority_until(text, &['/', '?']);
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let why = match text {
        "" => "empty url".to_owned(),
        _ if !is_user(user) => "net/url: invalid userinfo".into(),
        _ if host.contains('#') => "invalid character \"#\" in host name".into(),
        text => fault(text).unwrap_or_else(|| "invalid URI for request".into()),
    };
    format!("parse {}: {why}", quoted(text))
}

fn is_user(user: &str) -> bool {
    let valid = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    user.chars().all(valid) && is_escaped(user, usize::MAX)
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.rfind(']') {
        Some(at) => host.split_at(at + 1),
        None => host.rfind(':').map_or((host, ""), |at| host.split_at(at)),
    };
    let port_fine =
        port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.bytes().all(|c| c.is_ascii_digit()));
    let literal = name.starts_with('[') == name.ends_with(']');
    let valid = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "-_.~!$&'()*+,;=:[]<>\"%".contains(c);
    port_fine && literal && name.chars().all(valid) && is_escaped(name, usize::MAX)
}

/// A path as Go escapes it: as it was written unless something in it has to be escaped.
fn escaped(path: &str) -> String {
    let stays = |c: u8| c.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&c);
    if path.bytes().all(|c| stays(c) || b"!'()*[]%".contains(&c)) {
        return path.into();
    }
    let mut out = String::with_capacity(path.len() + 8);
    for byte in percent_decode_str(path) {
        match byte {
            c if stays(c) => out.push(char::from(c)),
            c => out.push_str(&format!("%{c:02X}")),
        }
    }
    out
}

/// Whether each percent sign starts an escape, of the first so many.
fn is_escaped(text: &str, first: usize) -> bool {
    let mut parts = text.split('%').skip(1).take(first);
    parts.all(|part| part.len() >= 2 && part.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit))
}

impl Uri {
    /// The host without its port and brackets.
    pub fn hostname(&self) -> &str {
        let host = self.host.as_str();
        match (host.strip_prefix('['), host.rfind(']')) {
            (Some(inner), Some(at)) => &inner[..at - 1],
            _ => host.rsplit_once(':').map_or(host, |(name, _)| name),
        }
    }

    /// The port, if given.
    pub fn port(&self) -> &str {
        let after = self.host.rfind(']').map_or(self.host.as_str(), |at| &self.host[at + 1..]);
        after.rsplit_once(':').map_or("", |(_, port)| port)
    }

    /// The values of the query, by key.
    pub fn query_values(&self) -> Vec<(String, Vec<String>)> {
        let decode =
            |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let mut values: Vec<(String, Vec<String>)> = Vec::new();
        for pair in self.query.split('&').filter(|p| !p.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (decode(key), decode(value));
            match values.iter_mut().find(|(k, _)| *k == key) {
                Some((_, all)) => all.push(value),
                None => values.push((key, vec![value])),
            }
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_url_are_found() {
        let uri = parse_request("https://user@[::1]:8080/a%20b?k=v+w&k=x").unwrap();
        assert_eq!((uri.scheme.as_str(), uri.host.as_str()), ("https", "[::1]:8080"));
        assert_eq!((uri.hostname(), uri.port()), ("::1", "8080"));
        assert_eq!(uri.escaped_path, "/a%20b");
        assert_eq!(uri.query_values(), [("k".into(), vec!["v w".into(), "x".into()])]);
        assert_eq!(parse_request("/path").unwrap().escaped_path, "/path");
        assert_eq!(parse_request("//path").unwrap().host, "");
        assert_eq!(parse_request("https://a/b#c").unwrap().escaped_path, "/b%23c");
        assert_eq!(parse_request("*").unwrap().escaped_path, "*");
        for none in ["relative/path", "https://a b", "https://a#b", "http://#%blah$#@", "http://%zz@a"] {
            assert!(parse_request(none).is_none(), "{none}");
        }
    }

    #[test]
    fn what_is_no_url_is_told_as_go_tells_it() {
        for (text, why) in [
            ("", "empty url"),
            ("x", "invalid URI for request"),
            (":", "missing protocol scheme"),
            ("http://a:b/", "invalid port \":b\" after host"),
            ("http://[::1/", "missing ']' in host"),
            ("http://a/%zz/%20", "invalid URL escape \"%zz\""),
            ("http://a b/", "invalid character \" \" in host name"),
        ] {
            assert!(parse_request(text).is_none(), "{text}");
            assert_eq!(refusal(text), format!("parse {text:?}: {why}"));
        }
    }
}
