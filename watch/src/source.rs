//! What to follow, and the requests for it.

use http::{Method, Request, header};
use kube::{Api, Client, Resource};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
const METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// All but what RFC 3986 calls unreserved.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A collection, or the part of it that selectors choose.
#[derive(Clone)]
pub struct Source {
    pub(crate) client: Client,
    path: String,
    selectors: String,
    metadata: bool,
    user_agent: Option<&'static str>,
}

impl Source {
    /// All of the collection at the URL `path`.
    pub fn new(client: Client, path: impl Into<String>) -> Self {
        Self { client, path: path.into(), selectors: String::new(), metadata: false, user_agent: None }
    }

    /// All that `api` looks at.
    pub fn of<K: Resource>(api: Api<K>) -> Self {
        let path = api.resource_url().to_owned();
        Self::new(api.into_client(), path)
    }

    /// Only what the label selector chooses; an empty one chooses everything.
    #[must_use]
    pub fn labels(self, selector: &str) -> Self {
        self.select("labelSelector", selector)
    }

    /// Only what the field selector chooses; an empty one chooses everything.
    #[must_use]
    pub fn fields(self, selector: &str) -> Self {
        self.select("fieldSelector", selector)
    }

    /// Only the metadata of the objects.
    #[must_use]
    pub fn metadata(self) -> Self {
        Self { metadata: true, ..self }
    }

    /// Asks under this name.
    #[must_use]
    pub fn user_agent(self, name: &'static str) -> Self {
        Self { user_agent: Some(name), ..self }
    }

    /// The URL of the collection.
    pub fn path(&self) -> &str {
        &self.path
    }

    fn select(mut self, parameter: &str, selector: &str) -> Self {
        if !selector.is_empty() {
            self.selectors.push('&');
            self.selectors.push_str(parameter);
            self.selectors.push('=');
            self.selectors.push_str(&escape(selector));
        }
        self
    }

    /// The request for a watch that ends by itself after `seconds` and goes on from `version`; without one it starts
    /// with a list.
    pub(crate) fn watch(&self, seconds: u32, version: Option<&str>) -> Result<Request<Vec<u8>>, kube::Error> {
        let from = match version {
            Some(version) => format!("resourceVersion={version}"),
            None => "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=".to_owned(),
        };
        let query = format!("watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}&{from}");
        self.request(&query, METADATA)
    }

    /// The request for a page of at most `limit` objects; the token of the page before says where it begins.
    pub(crate) fn list(&self, limit: u32, token: Option<&str>) -> Result<Request<Vec<u8>>, kube::Error> {
        let query = match token {
            Some(token) => format!("limit={limit}&continue={}", escape(token)),
            None => format!("limit={limit}"),
        };
        self.request(&query, METADATA_LIST)
    }

    fn request(&self, query: &str, metadata: &str) -> Result<Request<Vec<u8>>, kube::Error> {
        let accept = if self.metadata { metadata } else { "application/json" };
        let mut request = Request::builder()
            .method(Method::GET)
            .uri(format!("{}?{query}{}", self.path, self.selectors))
            .header(header::ACCEPT, accept);
        if let Some(name) = self.user_agent {
            request = request.header(header::USER_AGENT, name);
        }
        request.body(Vec::new()).map_err(kube::Error::HttpError)
    }
}

fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}
