//! Errors as clients see them: `metav1.Status`
//! (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>).

use std::borrow::Cow;

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::field::Errors;

/// A failed request. Everything that a `Status` of failure says.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status.
    pub code: StatusCode,
    /// The machine-readable reason; empty for unknown.
    pub reason: Cow<'static, str>,
    /// For people.
    pub message: String,
    /// Which object, and what is wrong with it.
    pub details: Option<Box<Details>>,
}

/// `metav1.StatusDetails`
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// The object's name.
    pub name: String,
    /// The API group.
    pub group: String,
    /// The resource or kind.
    pub kind: String,
    /// The object's uid.
    pub uid: String,
    /// What is wrong, one by one.
    pub causes: Vec<Cause>,
    /// When to try again.
    pub retry_after_seconds: u32,
    /// How to go on with a list all the same, which is part of the metadata and told instead of the rest.
    pub continue_token: String,
}

/// `metav1.StatusCause`
#[derive(Clone, Debug)]
pub struct Cause {
    /// The machine-readable reason.
    pub reason: Cow<'static, str>,
    /// For people.
    pub message: String,
    /// The field, if it is about one.
    pub field: String,
}

/// A group and a resource (or kind) in messages: `deployments.apps`.
#[derive(Clone, Copy, Debug)]
pub struct GroupResource<'a> {
    /// The API group; empty for core.
    pub group: &'a str,
    /// The plural resource, or a kind where Kubernetes says the kind.
    pub resource: &'a str,
}

impl std::fmt::Display for GroupResource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

impl ApiError {
    /// An error without details.
    pub fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), message: message.into(), details: None }
    }

    fn of(mut self, object: GroupResource<'_>, name: &str) -> Self {
        self.details = Some(Box::new(Details {
            name: name.into(),
            group: object.group.into(),
            kind: object.resource.into(),
            ..Details::default()
        }));
        self
    }

    /// 400
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 401
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    /// 403 for an object or a whole resource (empty name).
    pub fn forbidden(object: GroupResource<'_>, name: &str, why: &str) -> Self {
        let message = if name.is_empty() {
            format!("{object} is forbidden: {why}")
        } else {
            format!("{object} {name:?} is forbidden: {why}")
        };
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).of(object, name)
    }

    /// 404 for an object.
    pub fn not_found(object: GroupResource<'_>, name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", format!("{object} {name:?} not found")).of(object, name)
    }

    /// 404 for a path below a known group.
    pub fn no_such_resource() -> Self {
        let mut error =
            Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource");
        error.details = Some(Box::default());
        error
    }

    /// 405
    pub fn method_not_allowed() -> Self {
        let mut error = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        );
        error.details = Some(Box::default());
        error
    }

    /// 405 for a resource that knows no such verb.
    pub fn not_supported(object: GroupResource<'_>, verb: &str) -> Self {
        let message = format!("{verb} is not supported on resources of kind \"{object}\"");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message).of(object, "")
    }

    /// 406
    pub fn not_acceptable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    /// 409 because the name is taken.
    pub fn already_exists(object: GroupResource<'_>, name: &str) -> Self {
        Self::new(StatusCode::CONFLICT, "AlreadyExists", format!("{object} {name:?} already exists"))
            .of(object, name)
    }

    /// 409 because of what the object is now.
    pub fn conflict(object: GroupResource<'_>, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {object} {name:?}: {why}");
        Self::new(StatusCode::CONFLICT, "Conflict", message).of(object, name)
    }

    /// 409 because the object at `key` has another uid than was demanded.
    pub fn another_uid(object: GroupResource<'_>, name: &str, key: &str, demanded: &str, uid: &str) -> Self {
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {demanded}, UID in object meta: {uid}"
        );
        Self::conflict(object, name, &why)
    }

    /// 409 because the object changed since it was read.
    pub fn modified(object: GroupResource<'_>, name: &str) -> Self {
        const WHY: &str =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(object, name, WHY)
    }

    /// 410: the revision is no longer available.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// 415
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    /// 422 with the fields that are wrong. `kind` is the kind's name.
    pub fn invalid(kind: GroupResource<'_>, name: &str, errors: &Errors) -> Self {
        let mut text = match errors.0.as_slice() {
            [] => String::from("<nil>"),
            [one] => one.to_string(),
            many => {
                let mut seen = Vec::with_capacity(many.len());
                for error in many {
                    let line = error.to_string();
                    if !seen.contains(&line) {
                        seen.push(line);
                    }
                }
                if seen.len() == 1 { seen.remove(0) } else { format!("[{}]", seen.join(", ")) }
            }
        };
        text.insert_str(0, &format!("{kind} {name:?} is invalid: "));
        let mut error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", text).of(kind, name);
        if let Some(details) = &mut error.details {
            details.causes = errors
                .0
                .iter()
                .map(|e| Cause {
                    reason: e.reason.as_str().into(),
                    message: e.detail.clone(),
                    field: e.field.clone(),
                })
                .collect();
        }
        error
    }

    /// 500 as Kubernetes wraps an unexpected failure.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        let mut error = Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalError",
            format!("Internal error occurred: {cause}"),
        );
        error.details = Some(Box::new(Details {
            causes: vec![Cause { reason: "".into(), message: cause.to_string(), field: String::new() }],
            ..Details::default()
        }));
        error
    }

    /// 500 without a reason: how a plain Go error reaches the client.
    pub fn unknown(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "", message)
    }

    /// 504: the revision asked for is ahead of the store.
    pub fn too_large_revision(requested: u64, newest: u64) -> Self {
        let mut error = Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "Timeout",
            format!("Timeout: Too large resource version: {requested}, current: {newest}"),
        );
        error.details = Some(Box::new(Details {
            causes: vec![Cause {
                reason: "ResourceVersionTooLarge".into(),
                message: "Too large resource version".into(),
                field: String::new(),
            }],
            retry_after_seconds: 1,
            ..Details::default()
        }));
        error
    }

    /// 429: too many requests, or an eviction that a budget forbids.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message);
        error.details = Some(Box::new(Details { retry_after_seconds, ..Details::default() }));
        error
    }

    /// 503
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// Adds a cause.
    #[must_use]
    pub fn with_cause(mut self, reason: &'static str, message: impl Into<String>, field: &str) -> Self {
        let details = self.details.get_or_insert_default();
        details.causes.push(Cause { reason: reason.into(), message: message.into(), field: field.into() });
        self
    }

    /// Seconds after which to try again, if it makes sense.
    pub fn retry_after(&self) -> Option<u32> {
        self.details.as_ref().map(|d| d.retry_after_seconds).filter(|s| *s > 0)
    }

    /// The `Status` document.
    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "code": self.code.as_u16(),
        });
        if !self.reason.is_empty() {
            status["reason"] = (*self.reason).into();
        }
        match &self.details {
            Some(details) if !details.continue_token.is_empty() => {
                status["metadata"] = json!({"continue": details.continue_token});
            }
            Some(details) => status["details"] = details.to_value(),
            None => {}
        }
        status
    }
}

impl Details {
    fn to_value(&self) -> Value {
        let mut out = Map::new();
        let mut put = |key: &str, text: &str| {
            if !text.is_empty() {
                out.insert(key.into(), text.into());
            }
        };
        put("name", &self.name);
        put("group", &self.group);
        put("kind", &self.kind);
        put("uid", &self.uid);
        if !self.causes.is_empty() {
            out.insert("causes".into(), self.causes.iter().map(Cause::to_value).collect());
        }
        if self.retry_after_seconds > 0 {
            out.insert("retryAfterSeconds".into(), self.retry_after_seconds.into());
        }
        Value::Object(out)
    }
}

impl Cause {
    fn to_value(&self) -> Value {
        let mut out = Map::new();
        for (key, text) in [("reason", &*self.reason), ("message", &self.message), ("field", &self.field)] {
            if !text.is_empty() {
                out.insert(key.into(), text.into());
            }
        }
        Value::Object(out)
    }
}

impl From<vkube_store::Error> for ApiError {
    fn from(error: vkube_store::Error) -> Self {
        match error {
            vkube_store::Error::Compacted { requested, oldest } => {
                Self::expired(format!("too old resource version: {requested} ({oldest})"))
            }
            vkube_store::Error::Future { requested, newest } => Self::too_large_revision(requested, newest),
            vkube_store::Error::Conflict { key, .. } => {
                Self::new(StatusCode::CONFLICT, "Conflict", format!("the state of {key} has changed"))
            }
            // The store tells of it, once for all who ask.
            error @ vkube_store::Error::Unavailable(_) => {
                let mut unavailable = Self::unavailable(format!("the store of the cluster is away: {error}"));
                unavailable.details =
                    Some(Box::new(Details { retry_after_seconds: 1, ..Details::default() }));
                unavailable
            }
            other => {
                tracing::error!(error = &other as &dyn std::error::Error, "store failed");
                Self::internal(other)
            }
        }
    }
}
