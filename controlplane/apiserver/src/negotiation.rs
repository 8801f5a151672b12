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
    /// `meta.k8s.io` PartialObjectMetadata of this version.
    Metadata(&'static str),
    /// `meta.k8s.io` PartialObjectMetadataList of this version.
    MetadataList(&'static str),
}

/// What a client accepts, as the server will answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// The encoding.
    pub encoding: Encoding,
    /// The transformation.
    pub target: Target,
}

/// What an endpoint can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Documents as they are: discovery and errors.
    Plain,
    /// One object of a built-in resource, its metadata or its table.
    Object,
    /// A list or a watch of built-in objects, their metadata or their table.
    List,
    /// Objects of a built-in kind that is never listed, such as reviews.
    Untabled,
    /// Custom objects, which have no protobuf form, but whose tables and metadata do.
    Custom,
}

const ENCODINGS: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
const STREAMS: &str = ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";

/// 406 that lists what would be acceptable.
pub fn only_encodings() -> ApiError {
    ApiError::not_acceptable(format!("only the following media types are accepted: {ENCODINGS}"))
}

/// 406 of a route: nothing that the client accepts is even known.
pub fn no_representation(available: &str) -> ApiError {
    let mut error =
        ApiError::not_acceptable(format!("406: Not Acceptable\n\nAvailable representations: {available}"));
    error.details = Some(Box::default());
    error
}

/// Reads `Accept` for an endpoint.
pub fn accept(headers: &HeaderMap, offer: Offer) -> Result<Accepted, ApiError> {
    let header = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if header.trim().is_empty() {
        return Ok(Accepted::default());
    }
    let ranges = ranges(header);
    // The routes of built-in resources look at the types alone, and do not know of `application/*`.
    let routed =
        offer == Offer::Custom || ranges.iter().any(|r| r.media_type == "*/*" || r.encoding().is_some());
    if !routed {
        return Err(no_representation(&format!(
            "{ENCODINGS}{}",
            if offer == Offer::List { STREAMS } else { "" }
        )));
    }
    ranges.iter().find_map(|range| acceptable(range, offer)).ok_or_else(only_encodings)
}

/// The first encoding that a range allows for what it asks.
fn acceptable(range: &Range<'_>, offer: Offer) -> Option<Accepted> {
    if range.parameter("stream").is_some_and(|stream| !matches!(stream, "" | "watch"))
        || range.parameter("sv").is_some_and(|version| !version.is_empty() && version != "v1")
    {
        return None;
    }
    let target = range.target()?;
    if offer == Offer::Plain && target != Target::Object
        || offer == Offer::Untabled && matches!(target, Target::Table(_))
    {
        return None;
    }
    let encoding = match range.media_type {
        "*/*" | "application/*" => Encoding::Json,
        _ => range.encoding()?,
    };
    let has_protobuf = match target {
        Target::Object => offer != Offer::Custom,
        Target::Table(_) => false,
        Target::Metadata(_) | Target::MetadataList(_) => true,
    };
    let pretty = encoding == Encoding::Json && range.parameter("pretty") == Some("1");
    (encoding != Encoding::Protobuf || has_protobuf)
        .then_some(Accepted { encoding: if pretty { Encoding::PrettyJson } else { encoding }, target })
}

/// Whether JSON is to be indented: as `?pretty` says, or because a person seems to be reading.
pub fn is_pretty(query: &Query, headers: &HeaderMap) -> bool {
    match query.get("pretty") {
        "" => {}
        text => return matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True"),
    }
    let agent = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|person| agent.starts_with(person))
}

/// Reads `Accept` for errors, which are never transformed; unknown types give indented JSON, as from the
/// real server.
pub fn encoding(query: &Query, headers: &HeaderMap) -> Encoding {
    match accept(headers, Offer::Plain) {
        Err(_) => Encoding::PrettyJson,
        Ok(Accepted { encoding: Encoding::Json, .. }) if is_pretty(query, headers) => Encoding::PrettyJson,
        Ok(accepted) => accepted.encoding,
    }
}

/// Reads `Content-Type` of an object.
pub fn content_type(headers: &HeaderMap, custom: bool) -> Result<Encoding, ApiError> {
    let header = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match &*header.split(';').next().unwrap_or_default().trim().to_ascii_lowercase() {
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
    /// The encoding that its type names.
    fn encoding(&self) -> Option<Encoding> {
        match self.media_type {
            "application/json" => Some(Encoding::Json),
            "application/yaml" => Some(Encoding::Yaml),
            "application/vnd.kubernetes.protobuf" => Some(Encoding::Protobuf),
            _ => None,
        }
    }

    /// Into what it wants the answer to be transformed; nothing if that is unknown.
    fn target(&self) -> Option<Target> {
        let (kind, group, version) = (self.parameter("as"), self.parameter("g"), self.parameter("v"));
        if kind.is_none() && group.is_none() && version.is_none() {
            return Some(Target::Object);
        }
        if group != Some("meta.k8s.io") {
            return None;
        }
        let version = ["v1", "v1beta1"].into_iter().find(|known| version == Some(*known))?;
        match kind? {
            "Table" => Some(Target::Table(version)),
            "PartialObjectMetadata" => Some(Target::Metadata(version)),
            "PartialObjectMetadataList" => Some(Target::MetadataList(version)),
            _ => None,
        }
    }

    /// Wildcards stand behind what is named.
    fn vagueness(&self) -> u8 {
        match self.media_type {
            "*/*" => 2,
            other => u8::from(other.ends_with("/*")),
        }
    }

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
    ranges.sort_by(|a, b| b.quality.total_cmp(&a.quality).then_with(|| a.vagueness().cmp(&b.vagueness())));
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
        let header = headers("application/yaml;q=0.5,application/json;q=0.9");
        assert_eq!(accept(&header, Offer::Object).unwrap().encoding, Encoding::Json);
        let header = headers("*/*,application/yaml");
        assert_eq!(accept(&header, Offer::Object).unwrap().encoding, Encoding::Yaml);
    }

    #[test]
    fn only_what_go_takes_for_true_is_pretty() {
        let curl = HeaderMap::from_iter([(header::USER_AGENT, http::HeaderValue::from_static("curl/8"))]);
        for (query, pretty) in
            [("pretty=true", true), ("pretty=zz", false), ("pretty=0", false), ("pretty=", true)]
        {
            assert_eq!(is_pretty(&Query::parse(query), &curl), pretty, "{query}");
        }
    }

    #[test]
    fn the_type_of_a_body_may_be_in_capitals() {
        let mut sent = HeaderMap::new();
        sent.insert(header::CONTENT_TYPE, "Application/YAML; charset=utf-8".parse().unwrap());
        assert_eq!(content_type(&sent, false).unwrap(), Encoding::Yaml);
    }

    #[test]
    fn kubectl_gets_its_table() {
        let header = headers("application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
        assert_eq!(accept(&header, Offer::List).unwrap().target, Target::Table("v1"));
        assert_eq!(accept(&header, Offer::Untabled).unwrap().target, Target::Object);
    }

    #[test]
    fn tables_have_no_protobuf_form() {
        let table = "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io";
        assert_eq!(accept(&headers(table), Offer::List).unwrap_err().code, 406);
        let either = headers(&format!("{table},application/yaml;as=Table;v=v1;g=meta.k8s.io"));
        let accepted = Accepted { encoding: Encoding::Yaml, target: Target::Table("v1") };
        assert_eq!(accept(&either, Offer::List).unwrap(), accepted);
    }

    #[test]
    fn custom_objects_have_no_protobuf_form_but_their_metadata_do() {
        let plain = headers("application/vnd.kubernetes.protobuf");
        assert_eq!(accept(&plain, Offer::Custom).unwrap_err().code, 406);
        let metadata =
            headers("application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io");
        assert_eq!(accept(&metadata, Offer::Custom).unwrap().encoding, Encoding::Protobuf);
    }

    /// The gate `CBORServingAndStorage` is alpha in 1.36, so the type is unknown.
    #[test]
    fn cbor_is_a_type_like_any_that_is_unknown() {
        let (cbor, either) =
            (headers("application/cbor"), headers("application/cbor,application/json;q=0.9"));
        for (offer, available) in [
            (Offer::Object, format!("406: Not Acceptable\n\nAvailable representations: {ENCODINGS}")),
            (Offer::List, format!("406: Not Acceptable\n\nAvailable representations: {ENCODINGS}{STREAMS}")),
            (Offer::Custom, format!("only the following media types are accepted: {ENCODINGS}")),
        ] {
            assert_eq!(accept(&cbor, offer).unwrap_err().message, available);
            assert_eq!(accept(&either, offer).unwrap().encoding, Encoding::Json);
        }
        let mut sent = HeaderMap::new();
        sent.insert(header::CONTENT_TYPE, "application/cbor".parse().unwrap());
        let unknown = "the body of the request was in an unknown format - accepted media types include: ";
        for (custom, known) in [(false, ENCODINGS), (true, "application/json, application/yaml")] {
            let error = content_type(&sent, custom).unwrap_err();
            assert_eq!((error.code.as_u16(), error.message), (415, format!("{unknown}{known}")));
        }
    }

    #[test]
    fn an_unknown_type_is_not_acceptable() {
        for (header, offer, lists_streams) in
            [("text/html", Offer::List, true), ("application/*", Offer::Object, false)]
        {
            let error = accept(&headers(header), offer).unwrap_err();
            assert_eq!((error.code.as_u16(), error.message.contains("stream=watch")), (406, lists_streams));
        }
        assert_eq!(accept(&headers("application/*"), Offer::Custom).unwrap().encoding, Encoding::Json);
    }
}
