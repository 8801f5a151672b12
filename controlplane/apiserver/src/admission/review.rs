//! An admission as policies and webhooks see it: `AdmissionRequest`
//! (<https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#request>).

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::{Attributes, Operation, warn};
use crate::{
    custom::webhook,
    documents, managed_fields, metadata,
    options::{DeleteOptions, Propagation, Query},
    resource::Definition,
    schema::{decode, defaults, types::Type},
    status::ApiError,
    user::User,
};

/// Why what somebody has made of an object cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Undecodable {
    /// It is not of the type.
    #[error(transparent)]
    Type(#[from] decode::DecodeError),
    /// The server failed.
    #[error(transparent)]
    Server(#[from] ApiError),
}

/// A group, a version and a kind or resource.
type Name<'a> = (&'a str, &'a str, &'a str);

impl Attributes<'_> {
    /// The kind that the (sub)resource takes, at the version of `resource`.
    fn kind_of<'r>(&self, resource: &'r Definition) -> Name<'r> {
        let own = (resource.group(), resource.version(), resource.kind());
        let Some(part) = resource.subresource(self.subresource) else { return own };
        if part.version.is_empty() {
            return (own.0, own.1, part.kind);
        }
        (part.group, part.version, part.kind)
    }

    /// Whether the objects are of the resource's kind, which has versions to convert between.
    fn is_about_objects(&self) -> bool {
        self.subresource.is_empty()
            || self.definition.subresource(self.subresource).is_none_or(|p| p.kind == self.definition.kind())
    }

    /// An object of the admission at the version of `resource`.
    pub async fn at_version<'o>(
        &self,
        object: &'o Value,
        resource: &Definition,
    ) -> Result<Cow<'o, Value>, ApiError> {
        let same = self.form.version() == resource.version() && self.form.group() == resource.group();
        if object.is_null() || same || !self.is_about_objects() {
            return Ok(Cow::Borrowed(object));
        }
        webhook::convert(self.server, object.clone(), self.form, resource).await.map(Cow::Owned)
    }

    /// An object at the version of `resource`, as an object of the admission.
    pub async fn from_version(&self, object: Value, resource: &Definition) -> Result<Value, ApiError> {
        let same = self.form.version() == resource.version() && self.form.group() == resource.group();
        if object.is_null() || same || !self.is_about_objects() {
            return Ok(object);
        }
        webhook::convert(self.server, object, resource, self.form).await
    }

    /// The type of the objects at the version of `resource`.
    pub fn ty<'r>(&self, resource: &'r Definition) -> Result<Type<'r>, ApiError> {
        if self.is_about_objects() {
            return resource.ty();
        }
        let (group, version, kind) = self.kind_of(resource);
        let name = match (group, kind) {
            ("autoscaling", "Scale") => "io.k8s.api.autoscaling.v1.Scale",
            ("policy", "Eviction") => "io.k8s.api.policy.v1.Eviction",
            ("authentication.k8s.io", "TokenRequest") => "io.k8s.api.authentication.v1.TokenRequest",
            (_, "Binding") => "io.k8s.api.core.v1.Binding",
            _ => "",
        };
        Type::builtin(name).ok_or_else(|| {
            ApiError::unavailable(format!(
                "Resource kind {group}/{version}, Kind={kind} not found. There can be a delay between when CustomResourceDefinitions are created and when they are available."
            ))
        })
    }

    /// Reads and defaults an object that somebody has changed; the second value lists its unknown fields.
    pub fn decode(&self, object: Value, resource: &Definition) -> Result<(Value, Vec<String>), Undecodable> {
        let ty = self.ty(resource)?;
        let (mut object, unknown) = decode::decode(object, ty)?;
        if self.is_about_objects() {
            return Ok((documents::finish(resource, object)?, unknown));
        }
        defaults::apply_defaults(&mut object, ty);
        Ok((object, unknown))
    }

    /// The namespace of the request; a new namespace is in itself.
    pub fn request_namespace<'o>(&'o self, object: &'o Value) -> &'o str {
        if self.namespace.is_empty() && self.definition.is("", "namespaces") {
            return self.object_name(object);
        }
        self.namespace
    }

    /// The request, matched by way of `resource`; without the objects.
    pub fn request(&self, object: &Value, resource: &Definition) -> Map<String, Value> {
        let kind =
            |(group, version, kind): Name<'_>| json!({"group": group, "version": version, "kind": kind});
        let plural =
            |of: &Definition| json!({"group": of.group(), "version": of.version(), "resource": of.plural()});
        let mut request = Map::new();
        let mut put = |field: &str, value: Value| {
            if value.as_str() != Some("") {
                request.insert(field.to_owned(), value);
            }
        };
        put("kind", kind(self.kind_of(resource)));
        put("resource", plural(resource));
        put("subResource", self.subresource.into());
        put("requestKind", kind(self.kind_of(self.definition)));
        put("requestResource", plural(self.definition));
        put("requestSubResource", self.subresource.into());
        put("name", self.object_name(object).into());
        put("namespace", self.request_namespace(object).into());
        put("operation", self.operation.as_str().into());
        put("userInfo", user_info(self.user));
        put("dryRun", self.dry_run.into());
        put("options", self.options());
        request
    }

    fn options(&self) -> Value {
        let kind = match self.operation {
            Operation::Create => "CreateOptions",
            Operation::Update => "UpdateOptions",
            Operation::Delete => {
                return self.delete_options.map(delete_options).unwrap_or_default();
            }
            Operation::Connect => return Value::Null,
        };
        let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
        if self.dry_run {
            options["dryRun"] = json!(["All"]);
        }
        for field in ["fieldManager", "fieldValidation"] {
            let value = self.query.map_or("", |query: &Query| query.get(field));
            if !value.is_empty() {
                options[field] = value.into();
            }
        }
        options
    }
}

fn delete_options(options: &DeleteOptions) -> Value {
    let mut shown = json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"});
    if let Some(seconds) = options.grace_period_seconds {
        shown["gracePeriodSeconds"] = seconds.into();
    }
    if let Some(uid) = &options.uid {
        shown["preconditions"]["uid"] = uid.as_str().into();
    }
    if let Some(version) = &options.resource_version {
        shown["preconditions"]["resourceVersion"] = version.as_str().into();
    }
    if let Some(policy) = options.propagation {
        shown["propagationPolicy"] = match policy {
            Propagation::Foreground => "Foreground",
            Propagation::Background => "Background",
            Propagation::Orphan => "Orphan",
        }
        .into();
    }
    if options.dry_run {
        shown["dryRun"] = json!(["All"]);
    }
    shown
}

/// Puts the managed fields of before back if what somebody has made of them cannot be read.
pub fn keep_owners(before: &Value, after: &mut Value, warnings: &mut Vec<String>) {
    const ENTRIES: &str = "/metadata/managedFields";
    if before.pointer(ENTRIES) == after.pointer(ENTRIES) {
        return;
    }
    if let Err(why) = managed_fields::validate(after) {
        metadata::restore(after, "managedFields", before);
        warn(
            warnings,
            format!(
                ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating admission controller; please fix your requests: {why}"
            ),
        );
    }
}

/// `authentication.k8s.io/v1 UserInfo`
pub fn user_info(user: &User) -> Value {
    let mut info = Map::new();
    for (field, text) in [("username", &user.name), ("uid", &user.uid)] {
        if !text.is_empty() {
            info.insert(field.into(), text.as_str().into());
        }
    }
    if !user.groups.is_empty() {
        info.insert("groups".into(), json!(user.groups));
    }
    if !user.extra.is_empty() {
        info.insert("extra".into(), json!(user.extra));
    }
    info.into()
}
