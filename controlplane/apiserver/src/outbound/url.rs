//! URLs that the server calls.

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whether over TLS.
    pub secure: bool,
    /// Host and port as they are written.
    pub authority: String,
    /// The host, without the brackets of an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Path and query; at least a slash.
    pub path: String,
}

/// Why a text is not such a URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the URL of an http or https server")]
pub struct Error {
    text: String,
}

impl Url {
    /// Reads a URL of the schemes `https` and `http`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = || Error { text: text.into() };
        let uri: http::Uri = text.parse().map_err(|_| wrong())?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?.to_string();
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
        Ok(Self { secure, authority, host, port, path })
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", if self.secure { "https" } else { "http" }, self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_port_even_if_it_does_not_say_so() {
        let url = Url::parse("https://[::1]/a?b=c").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("::1", 443, "/a?b=c"));
        assert_eq!(url.to_string(), "https://[::1]/a?b=c");
        assert_eq!(Url::parse("http://a:81").unwrap().path, "/");
    }

    #[test]
    fn other_schemes_are_none() {
        for bad in ["ftp://a", "a", "/a", ""] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
    }
}
