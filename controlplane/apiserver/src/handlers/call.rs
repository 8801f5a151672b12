//! A request for a resource, with everything that its handler needs.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    body::{self, Request, Response},
    codec,
    custom::webhook::Conversions,
    negotiation::{self, Accepted, Encoding, Offer, Target},
    options::Query,
    registry::kind::Writer,
    representation,
    request_info::RequestInfo,
    resource::Definition,
    respond,
    server::Server,
    status::ApiError,
    user::User,
};

/// The largest body of a request; kube-apiserver's own limit.
const MAX_BODY: usize = 3 * 1024 * 1024;

/// A request for a resource.
pub struct Call {
    /// The server.
    pub server: Server,
    /// The resource.
    pub definition: Definition,
    /// The parts of the path.
    pub info: RequestInfo,
    /// Who asks.
    pub user: Arc<User>,
    /// The query.
    pub query: Query,
    /// What the client accepts.
    pub accepted: Accepted,
    /// The client's name of itself.
    pub user_agent: String,
    /// What the answer will warn of.
    pub warnings: Vec<String>,
    /// The time of the request.
    pub now: Timestamp,
    /// What webhooks have made of objects on the way.
    pub conversions: Conversions,
}

impl Call {
    /// Reads what all handlers need.
    pub fn new(
        server: Server,
        definition: Definition,
        info: RequestInfo,
        user: Arc<User>,
        query: Query,
        request: &Request,
    ) -> Result<Self, ApiError> {
        let streaming =
            matches!(info.subresource.as_str(), "log" | "exec" | "attach" | "portforward" | "proxy");
        let mut accepted = if streaming {
            Accepted::default()
        } else {
            negotiation::accept(request.headers(), offer(&definition, &info))?
        };
        if accepted.encoding == Encoding::Json && negotiation::is_pretty(&query, request.headers()) {
            accepted.encoding = Encoding::PrettyJson;
        }
        let user_agent = text(request.headers(), header::USER_AGENT);
        Ok(Self {
            server,
            definition,
            info,
            user,
            query,
            accepted,
            user_agent,
            warnings: Vec::new(),
            now: Timestamp::now(),
            conversions: Conversions::default(),
        })
    }

    /// The same call again, for a stream that outlives its handler.
    pub fn shared(&self) -> Self {
        Self {
            server: self.server.clone(),
            definition: self.definition.clone(),
            info: self.info.clone(),
            user: self.user.clone(),
            query: self.query.clone(),
            accepted: self.accepted,
            user_agent: String::new(),
            warnings: Vec::new(),
            now: self.now,
            conversions: Conversions::default(),
        }
    }

    /// Whether the path names one object.
    pub fn is_about_one(&self) -> bool {
        !self.info.name.is_empty()
    }

    /// The namespace of the object: that of the path, for namespaced resources.
    pub fn namespace(&self) -> &str {
        if self.definition.namespaced() { &self.info.namespace } else { "" }
    }

    /// The key of the object that the path names.
    pub fn key(&self) -> String {
        self.definition.key(self.namespace(), &self.info.name)
    }

    /// 404 for the object that the path names.
    pub fn not_found(&self) -> ApiError {
        ApiError::not_found(self.definition.group_resource(), &self.info.name)
    }

    /// Who writes, for the rules of the kind.
    pub fn writer(&self, dry_run: bool) -> Writer<'_> {
        Writer {
            user: &self.user.name,
            uid: &self.user.uid,
            groups: &self.user.groups,
            extra: &self.user.extra,
            now: self.now,
            dry_run,
        }
    }

    /// The answer that carries an object of the stored version.
    pub fn respond(&self, code: StatusCode, object: Value) -> Result<Response, ApiError> {
        let object = self.definition.stored().convert(object, &self.definition);
        self.respond_as_is(code, &object)
    }

    /// The answer that carries an object of the version asked for.
    pub fn respond_as_is(&self, code: StatusCode, object: &Value) -> Result<Response, ApiError> {
        let mut response = match self.accepted.target {
            Target::Object => {
                respond::document(code, object, self.accepted.encoding, Some(self.definition.ty()?))
            }
            _ => representation::one(self, code, object)?,
        };
        respond::warn(&mut response, &self.warnings);
        Ok(response)
    }

    /// The answer that carries a stored document, sent as it is where it can be.
    pub fn respond_stored(&self, code: StatusCode, stored: Bytes) -> Result<Response, ApiError> {
        if self.takes_stored() {
            return Ok(self.respond_plain(code, stored.into()));
        }
        let object = serde_json::from_slice(&stored).map_err(ApiError::internal)?;
        self.respond(code, object)
    }

    /// Whether a stored document is already what the client accepts.
    pub fn takes_stored(&self) -> bool {
        self.accepted == Accepted::default() && !self.definition.is_converted()
    }

    /// The answer that is a stored document as it is.
    pub fn respond_plain(&self, code: StatusCode, stored: Vec<u8>) -> Response {
        let body = codec::finish_json(stored, false);
        let mut response = respond::bytes(code, Encoding::Json.media_type(), body);
        respond::warn(&mut response, &self.warnings);
        response
    }
}

/// What the endpoint can answer.
fn offer(definition: &Definition, info: &RequestInfo) -> Offer {
    let group = definition.group();
    match definition {
        Definition::Custom(_) => Offer::Custom,
        Definition::Builtin(_) if matches!(group, "authentication.k8s.io" | "authorization.k8s.io") => {
            Offer::Untabled
        }
        Definition::Builtin(_) if matches!(info.verb.as_str(), "list" | "watch") => Offer::List,
        Definition::Builtin(_) => Offer::Object,
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> String {
    headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
}

/// Reads the whole body.
pub async fn read_body(request: &mut Request) -> Result<Bytes, ApiError> {
    let mut body = std::mem::replace(request.body_mut(), body::empty());
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|e| ApiError::bad_request(format!("unable to read the request body: {e}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > MAX_BODY {
            // What is left of it is still to be drained.
            *request.body_mut() = body;
            return Err(ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestEntityTooLarge",
                format!("Request entity too large: limit is {MAX_BODY}"),
            ));
        }
        if read.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        read.extend_from_slice(&data);
    }
    Ok(read.freeze())
}
