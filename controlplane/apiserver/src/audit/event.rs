//! `Event` of `audit.k8s.io/v1`, with its fields in the order of kube-apiserver
//! (<https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/#audit-k8s-io-v1-Event>).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{
    head::Head,
    policy::{Level, Stage},
};
use crate::{authorization::Attributes, user::User};

/// What is known of a request at some stage.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    kind: &'static str,
    api_version: &'static str,
    /// How much is told.
    pub level: Level,
    /// What tells one request from another.
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// When it is told.
    pub stage: Stage,
    #[serde(rename = "requestURI")]
    uri: String,
    verb: String,
    user: UserInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    impersonated_user: Option<UserInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authentication_metadata: Option<AuthenticationMetadata>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "Vec::is_empty")]
    source_ips: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    user_agent: String,
    /// The object that the request is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_ref: Option<ObjectReference>,
    /// What came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_status: Option<Status>,
    /// What came with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_object: Option<Value>,
    /// What was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_object: Option<Value>,
    #[serde(serialize_with = "micro")]
    request_received_timestamp: Timestamp,
    /// When the stage began.
    #[serde(serialize_with = "micro")]
    pub stage_timestamp: Timestamp,
    /// What those who dealt with it have to say.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Serialize)]
struct UserInfo {
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    uid: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: BTreeMap<String, Vec<String>>,
}

impl From<&User> for UserInfo {
    fn from(user: &User) -> Self {
        let User { name, uid, groups, extra } = user.clone();
        Self { username: name, uid, groups, extra }
    }
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AuthenticationMetadata {
    impersonation_constraint: &'static str,
}

/// A reference to an object.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReference {
    #[serde(skip_serializing_if = "String::is_empty")]
    resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    uid: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    api_group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    resource_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    subresource: String,
}

impl ObjectReference {
    fn of(attributes: &Attributes<'_>) -> Self {
        Self {
            resource: attributes.resource.into(),
            namespace: attributes.namespace.into(),
            name: attributes.name.into(),
            api_group: attributes.group.into(),
            api_version: attributes.version.into(),
            subresource: attributes.subresource.into(),
            ..Self::default()
        }
    }

    /// Takes from an object what the path does not say.
    pub fn learn(&mut self, object: &Value) {
        for (field, known) in [
            ("namespace", &mut self.namespace),
            ("name", &mut self.name),
            ("uid", &mut self.uid),
            ("resourceVersion", &mut self.resource_version),
        ] {
            if known.is_empty() {
                *known = crate::metadata::text(object, field).into();
            }
        }
    }
}

/// What of a `Status` is bounded.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    metadata: Empty,
    #[serde(skip_serializing_if = "str::is_empty")]
    status: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Value>,
    /// The code of HTTP.
    pub code: u16,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Empty {}

impl Status {
    /// Of a client that has not waited.
    pub fn closed_early() -> Self {
        let text = |text: &str| text.to_owned();
        Self {
            status: text("Success"),
            message: text("Connection closed early"),
            code: 200,
            ..Self::default()
        }
    }

    /// Of a server that broke down.
    pub fn panicked() -> Self {
        let text = |text: &str| text.to_owned();
        let message = text("APIServer panic'd");
        Self { status: text("Failure"), message, reason: text("InternalError"), code: 500, ..Self::default() }
    }

    /// Of an answer that is a `Status`.
    pub fn of(document: &Value, code: u16) -> Self {
        let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self {
            status: text("status"),
            message: text("message"),
            reason: text("reason"),
            details: document.get("details").cloned(),
            code,
            ..Self::default()
        }
    }
}

impl Event {
    /// Of a request that has just come.
    pub fn new(head: Head, level: Level, attributes: &Attributes<'_>, user: Option<&User>) -> Self {
        Self {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level,
            audit_id: head.id,
            stage: Stage::RequestReceived,
            uri: head.uri,
            verb: attributes.verb.into(),
            user: user.map(Into::into).unwrap_or_default(),
            impersonated_user: None,
            authentication_metadata: None,
            source_ips: head.source_ips,
            user_agent: head.user_agent,
            object_ref: attributes.is_resource.then(|| ObjectReference::of(attributes)),
            response_status: None,
            request_object: None,
            response_object: None,
            request_received_timestamp: head.received,
            stage_timestamp: head.received,
            annotations: BTreeMap::new(),
        }
    }

    /// Whether something is to be removed by it.
    pub fn is_deletion(&self) -> bool {
        self.verb == "delete" || self.verb == "deletecollection"
    }

    /// Notes whom the request acts as, and what allowed it.
    pub fn act_as(&mut self, user: &User, constraint: Option<&'static str>) {
        self.impersonated_user = Some(user.into());
        self.authentication_metadata =
            constraint.map(|verb| AuthenticationMetadata { impersonation_constraint: verb });
    }

    /// One line of the old format.
    pub fn legacy(&self) -> String {
        let or = |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
        let list =
            |groups: &[String]| groups.iter().map(|group| format!("{group:?}")).collect::<Vec<_>>().join(",");
        let acting = self.impersonated_user.as_ref();
        let namespace = self.object_ref.as_ref().map_or("", |object| object.namespace.as_str());
        let response = self.response_status.as_ref().map(|status| status.code.to_string());
        format!(
            "{} AUDIT: id={:?} stage=\"{:?}\" ip={:?} method={:?} user={:?} groups={:?} as={:?} asgroups={:?} user-agent={:?} namespace={:?} uri={:?} response=\"{}\"",
            self.request_received_timestamp,
            self.audit_id,
            self.stage,
            self.source_ips.first().map_or("<unknown>", String::as_str),
            self.verb,
            or(&self.user.username, "<none>"),
            or(&list(&self.user.groups), "<none>"),
            acting.map_or("<self>", |user| user.username.as_str()),
            acting.map_or_else(|| "<lookup>".into(), |user| list(&user.groups)),
            self.user_agent,
            or(namespace, "<none>"),
            self.uri,
            response.as_deref().unwrap_or("<deferred>"),
        )
    }
}

/// A time with microseconds.
fn micro<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
}
