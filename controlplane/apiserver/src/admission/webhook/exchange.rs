//! What the server and a webhook tell each other: `AdmissionReview`.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    admission::Attributes,
    registry::access::{bool_at, get, int_at, list_at, opt_str, str_at, strs_at},
    resource::Definition,
    status::{ApiError, Cause, Details},
};

/// The forms of a review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `admission.k8s.io/v1`
    V1,
    /// `admission.k8s.io/v1beta1`
    V1Beta1,
}

impl Version {
    /// The first that both sides know.
    pub fn read(webhook: &Value) -> Option<Self> {
        strs_at(webhook, "/admissionReviewVersions").find_map(|version| match version {
            "v1" => Some(Self::V1),
            "v1beta1" => Some(Self::V1Beta1),
            _ => None,
        })
    }

    const fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "admission.k8s.io/v1",
            Self::V1Beta1 => "admission.k8s.io/v1beta1",
        }
    }
}

/// Why an answer is none.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no document.
    #[error("failed to call webhook: couldn't get version/kind; json parse error: {0}")]
    Json(#[from] serde_json::Error),
    /// It does not answer.
    #[error("received invalid webhook response: webhook response was absent")]
    Absent,
    /// It answers somebody else.
    #[error("received invalid webhook response: expected response.uid={expected:?}, got {found:?}")]
    Uid {
        /// The uid of the request.
        expected: String,
        /// That of the answer.
        found: String,
    },
    /// It is something else.
    #[error("received invalid webhook response: expected webhook response of {expected}, got {found}")]
    Kind {
        /// What was asked for.
        expected: String,
        /// What was answered.
        found: String,
    },
    /// A patch is not said to be of a type.
    #[error("received invalid webhook response: webhook returned response.patch but not response.patchType")]
    NoPatchType,
    /// There is a type, but no patch.
    #[error("received invalid webhook response: webhook returned response.patchType but not response.patch")]
    NoPatch,
    /// The type is not known.
    #[error("unsupported patch type {0:?}")]
    PatchType(String),
    /// Those that validate do not change anything.
    #[error("received invalid webhook response: validating webhook may not return response.{0}")]
    Patched(&'static str),
    /// The patch cannot be read.
    #[error("received undecodable patch in webhook response: {0}")]
    Undecodable(String),
}

/// What a webhook says.
#[derive(Debug)]
pub struct Answer {
    /// Whether it consents.
    pub allowed: bool,
    /// Why it does not.
    pub status: Value,
    /// What it changes, as a list of operations.
    pub patch: Value,
    /// What the client is warned of.
    pub warnings: Vec<String>,
    /// What is noted for the audit.
    pub annotations: Vec<(String, String)>,
}

/// The review of an admission, matched by way of `resource`; the objects are of that version.
pub fn request(
    attributes: &Attributes<'_>,
    object: &Value,
    old: &Value,
    resource: &Definition,
    version: Version,
    uid: &str,
) -> Value {
    let mut request = attributes.request(object, resource);
    request.insert("uid".into(), uid.into());
    request.insert("object".into(), object.clone());
    request.insert("oldObject".into(), old.clone());
    json!({"kind": "AdmissionReview", "apiVersion": version.api_version(), "request": request})
}

/// Reads the answer to the request with this uid.
pub fn answer(body: &[u8], uid: &str, version: Version, mutating: bool) -> Result<Answer, Error> {
    let review: Value = serde_json::from_slice(body)?;
    let response = get(&review, "/response").ok_or(Error::Absent)?;
    let (patch, patch_type) = (str_at(response, "/patch"), opt_str(response, "/patchType"));
    if version == Version::V1 {
        check(&review, uid, version)?;
        match (mutating, patch, patch_type) {
            (true, "", Some(_)) => return Err(Error::NoPatch),
            (true, patch, None) if !patch.is_empty() => return Err(Error::NoPatchType),
            (true, _, Some(other)) if other != "JSONPatch" => return Err(Error::PatchType(other.into())),
            (false, patch, _) if !patch.is_empty() => return Err(Error::Patched("patch")),
            (false, _, Some(_)) => return Err(Error::Patched("patchType")),
            _ => {}
        }
    }
    let patch = if mutating && !patch.is_empty() { decoded(patch)? } else { Value::Null };
    let annotations = response.pointer("/auditAnnotations").and_then(Value::as_object);
    let annotation =
        |(key, value): (&String, &Value)| (key.clone(), value.as_str().unwrap_or_default().to_owned());
    Ok(Answer {
        allowed: bool_at(response, "/allowed"),
        status: get(response, "/status").cloned().unwrap_or_default(),
        patch,
        warnings: strs_at(response, "/warnings").map(Into::into).collect(),
        annotations: annotations.into_iter().flatten().map(annotation).collect(),
    })
}

fn check(review: &Value, uid: &str, version: Version) -> Result<(), Error> {
    let found = str_at(review, "/response/uid");
    if found != uid {
        return Err(Error::Uid { expected: uid.into(), found: found.into() });
    }
    let shown = |api_version: &str, kind: &str| {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        format!("{group}/{version}, Kind={kind}")
    };
    let found = shown(str_at(review, "/apiVersion"), str_at(review, "/kind"));
    let expected = shown(version.api_version(), "AdmissionReview");
    if found == expected { Ok(()) } else { Err(Error::Kind { expected, found }) }
}

fn decoded(patch: &str) -> Result<Value, Error> {
    let bytes = STANDARD.decode(patch).map_err(|why| Error::Undecodable(why.to_string()))?;
    let patch: Value = serde_json::from_slice(&bytes).map_err(|why| Error::Undecodable(why.to_string()))?;
    if patch.is_array() || patch.is_null() {
        return Ok(patch);
    }
    let name = crate::patch::printed::json_name(&patch);
    Err(Error::Undecodable(format!("json: cannot unmarshal {name} into Go value of type jsonpatch.Patch")))
}

/// The refusal of a webhook, with what its status says.
pub fn rejection(webhook: &str, status: &Value) -> ApiError {
    let by = format!("admission webhook {webhook:?} denied the request");
    let (message, reason) = (str_at(status, "/message"), str_at(status, "/reason"));
    let message = match (message, reason) {
        ("", "") => format!("{by} without explanation"),
        ("", why) | (why, _) => format!("{by}: {why}"),
    };
    // A refusal is an error, whatever its code.
    let code = u16::try_from(int_at(status, "/code")).unwrap_or_default().max(400);
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut error = ApiError::new(code, "", message);
    error.reason = reason.to_owned().into();
    error.details = get(status, "/details").map(|details| Box::new(read_details(details)));
    error
}

fn read_details(details: &Value) -> Details {
    let cause = |cause: &Value| Cause {
        reason: str_at(cause, "/reason").to_owned().into(),
        message: str_at(cause, "/message").into(),
        field: str_at(cause, "/field").into(),
    };
    Details {
        name: str_at(details, "/name").into(),
        group: str_at(details, "/group").into(),
        kind: str_at(details, "/kind").into(),
        uid: str_at(details, "/uid").into(),
        causes: list_at(details, "/causes").iter().map(cause).collect(),
        retry_after_seconds: u32::try_from(int_at(details, "/retryAfterSeconds")).unwrap_or_default(),
        continue_token: String::new(),
    }
}
