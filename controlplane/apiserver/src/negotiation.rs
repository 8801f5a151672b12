//! Content negotiation: what the client sends and what it accepts
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources>).

use http::{HeaderMap, header};

use crate::{options::Query, status::ApiError};

/// How a document is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// `application/json`
    #[default]
    Json,
    /// `application/json`, indented.
    PrettyJson,
    /// `application/yaml`
    Yaml,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

impl Encoding {
    /// The media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json | Self::PrettyJson => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }
}

/// Into what an answer is transformed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// The object or list itself.
    #[default]
    Object,
    /// `meta.k8s.io` Table of this version.
    Table(&'static str),
    /// `meta.k8s.io` PartialObjectMetadata (or its list) of this version.
    Metadata(&'static str),
}

/// What a client accepts, as the server will answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// The encoding.
    pub encoding: Encoding,
    /// The transformation.
    pub target: Target,
}

const ENCODINGS: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// Reads `Accept` for a resource. Custom resources have no protobuf form, but their tables and metadata do.
pub fn accept(headers: &HeaderMap, custom: bool) -> Result<Accepted, ApiError> {
    let Some(header) = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()) else {
        return Ok(Accepted::default());
    };
    if header.trim().is_empty() {
        return Ok(Accepted::default());
    }
    let mut unknown_target = false;
    for range in ranges(header) {
        let encoding = match range.media_type {
            "*/*" | "application/json" => Encoding::Json,
            "application/yaml" => Encoding::Yaml,
            "application/vnd.kubernetes.protobuf" => Encoding::Protobuf,
            _ => continue,
        };
        let target = match (range.parameter("as"), range.parameter("g"), range.parameter("v")) {
            (None, ..) => Target::Object,
            (Some("Table"), Some("meta.k8s.io"), Some("v1")) => Target::Table("v1"),
            (Some("Table"), Some("meta.k8s.io"), Some("v1beta1")) => Target::Table("v1beta1"),
            (
                Some("PartialObjectMetadata" | "PartialObjectMetadataList"),
                Some("meta.k8s.io"),
                Some("v1"),
            ) => Target::Metadata("v1"),
            (
                Some("PartialObjectMetadata" | "PartialObjectMetadataList"),
                Some("meta.k8s.io"),
                Some("v1beta1"),
            ) => Target::Metadata("v1beta1"),
            _ => {
                unknown_target = true;
                continue;
            }
        };
        if encoding == Encoding::Protobuf && custom && target == Target::Object {
            continue;
        }
        return Ok(Accepted { encoding, target });
    }
    if unknown_target || custom {
        return Err(ApiError::not_acceptable(format!(
            "only the following media types are accepted: {ENCODINGS}"
        )));
    }
    let mut error = ApiError::not_acceptable(format!(
        "406: Not Acceptable\n\nAvailable representations: {ENCODINGS}, application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
    ));
    error.details = Some(Box::default());
    Err(error)
}

/// Whether JSON is to be indented: as `?pretty` says, or because a person seems to be reading.
pub fn is_pretty(query: &Query, headers: &HeaderMap) -> bool {
    if query.has("pretty") {
        return query.flag("pretty");
    }
    let agent = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|person| agent.starts_with(person))
}

/// Reads `Accept` where only the encoding matters (errors, discovery); unknown types give JSON.
pub fn encoding(query: &Query, headers: &HeaderMap) -> Encoding {
    match accept(headers, false).map(|a| a.encoding).unwrap_or_default() {
        Encoding::Json if is_pretty(query, headers) => Encoding::PrettyJson,
        encoding => encoding,
    }
}

/// Reads `Content-Type` of an object.
pub fn content_type(headers: &HeaderMap, custom: bool) -> Result<Encoding, ApiError> {
    let header = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match header.split(';').next().unwrap_or_default().trim() {
        "" | "application/json" => Ok(Encoding::Json),
        "application/yaml" => Ok(Encoding::Yaml),
        "application/vnd.kubernetes.protobuf" if !custom => Ok(Encoding::Protobuf),
        _ => Err(ApiError::unsupported_media_type(format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            if custom { "application/json, application/yaml" } else { ENCODINGS }
        ))),
    }
}

/// One range of an `Accept` header.
#[derive(Debug)]
pub struct Range<'a> {
    /// Without parameters.
    pub media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl<'a> Range<'a> {
    /// A parameter's value.
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }
}

/// The ranges of an `Accept` header, best first.
pub fn ranges(header: &str) -> Vec<Range<'_>> {
    let mut ranges: Vec<Range<'_>> = header
        .split(',')
        .filter_map(|part| {
            let mut pieces = part.split(';').map(str::trim);
            let media_type = pieces.next().filter(|m| !m.is_empty())?;
            let parameters: Vec<_> =
                pieces.filter_map(|p| p.split_once('=')).map(|(k, v)| (k.trim(), v.trim())).collect();
            let quality =
                parameters.iter().find(|(k, _)| *k == "q").and_then(|(_, v)| v.parse().ok()).unwrap_or(1.0);
            Some(Range { media_type, parameters, quality })
        })
        .collect();
    ranges.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, value.parse().unwrap());
        headers
    }

    #[test]
    fn the_best_quality_wins() {
        let accepted = accept(&headers("application/yaml;q=0.5,application/json;q=0.9"), false).unwrap();
        assert_eq!(accepted.encoding, Encoding::Json);
    }

    #[test]
    fn kubectl_gets_its_table() {
        let accepted =
            accept(&headers("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"), false);
        assert_eq!(accepted.unwrap().target, Target::Table("v1"));
    }

    #[test]
    fn an_unknown_type_is_not_acceptable() {
        assert_eq!(accept(&headers("text/html"), false).unwrap_err().code, 406);
    }
}
