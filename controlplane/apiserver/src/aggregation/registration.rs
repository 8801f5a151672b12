//! APIServices of the groups and versions that this server answers for itself.
//!
//! Those of built-in groups are put in order once, when the server starts: whoever changes or deletes one
//! later may. Those of custom resources are there exactly as long as a definition serves the version. The
//! label says which is which, and whoever takes it away has the object for themselves
//! (<https://kubernetes.io/docs/reference/labels-annotations-taints/#kube-aggregator-kubernetes-io-automanaged>).

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::status::Verdict;
use crate::{
    bootstrap,
    custom::conditions::set_condition,
    metadata,
    registry::{RESOURCES, access::at},
    resource::Definition,
    server::{Server, builtin},
    status::ApiError,
    user::User,
};

const GROUP: &str = "apiregistration.k8s.io";
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

/// How the versions of custom resources are ordered: all the same, so their names decide.
const CUSTOM_VERSION_PRIORITY: i64 = 100;

/// When the server looks after an APIService.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Managed {
    /// Once, when it starts.
    OnStart,
    /// Always.
    Always,
}

impl Managed {
    fn of(object: &Value) -> Option<Self> {
        match object["metadata"]["labels"][MANAGED].as_str() {
            Some("onstart") => Some(Self::OnStart),
            Some("true") => Some(Self::Always),
            _ => None,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::OnStart => "onstart",
            Self::Always => "true",
        }
    }
}

/// What becomes of an APIService.
#[derive(Debug, PartialEq)]
enum Step {
    Nothing,
    Create(Value),
    Update(Value),
    Delete(Value),
}

/// The APIServices of all built-in groups and versions, for the bootstrap.
pub fn builtins() -> Result<Vec<(Definition, Value)>, ApiError> {
    let mut places: Vec<(&str, &str)> = RESOURCES.iter().map(|r| (r.group, r.version)).collect();
    places.sort_unstable();
    places.dedup();
    let definition = builtin(GROUP, "apiservices")?;
    Ok(places.into_iter().map(|(group, version)| (definition.clone(), local(group, version))).collect())
}

/// An object of the bootstrap that has been changed since, as it should be; nothing if it is that already, or
/// nobody's business.
pub fn restored(stored: &Value, wanted: &Value) -> Option<Value> {
    match decide(Some(stored), Some(wanted)) {
        Step::Update(object) => Some(object),
        Step::Nothing | Step::Create(_) | Step::Delete(_) => None,
    }
}

fn is_builtin(group: &str, version: &str) -> bool {
    RESOURCES.iter().any(|resource| resource.group == group && resource.version == version)
}

/// The APIService of a group and version of this server.
fn local(group: &str, version: &str) -> Value {
    let managed = if is_builtin(group, version) { Managed::OnStart } else { Managed::Always };
    let version_priority = match (group, version, managed) {
        (_, _, Managed::Always) => CUSTOM_VERSION_PRIORITY,
        ("", ..) => 1,
        ("autoscaling", "v2", _) => 30,
        _ => 15,
    };
    let mut spec = json!({
        "version": version,
        "groupPriorityMinimum": bootstrap::group_priority(group),
        "versionPriority": version_priority,
    });
    if !group.is_empty() {
        spec["group"] = group.into();
    }
    let mut object = json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": format!("{version}.{group}"), "labels": {MANAGED: managed.label()}},
        "spec": spec,
    });
    set_available(&mut object, Timestamp::now());
    object
}

/// Says of an object without a Service that it is available.
pub fn set_available(object: &mut Value, now: Timestamp) {
    let Verdict { status, reason, message } = Verdict::local();
    set_condition(object, "Available", status, reason, &message, now);
}

/// What is to be done for `current` to be as it is `wanted`, while the server runs or when it starts.
fn decide(current: Option<&Value>, wanted: Option<&Value>) -> Step {
    match (current, wanted) {
        (None, None) => Step::Nothing,
        (None, Some(wanted)) => Step::Create(wanted.clone()),
        (Some(current), _) if Managed::of(current).is_none() => Step::Nothing,
        (Some(current), None) => Step::Delete(current.clone()),
        (Some(current), Some(wanted)) if at(current, "/spec") == at(wanted, "/spec") => Step::Nothing,
        (Some(current), Some(wanted)) => {
            let mut object = current.clone();
            object["spec"] = at(wanted, "/spec").clone();
            Step::Update(object)
        }
    }
}

/// Brings the APIService of this name in line with the custom resources that are served. Those of built-in
/// groups are left alone, and so is what only the start of a server looks after.
pub async fn sync(server: &Server, name: &str) -> Result<(), ApiError> {
    let Some((version, group)) = name.split_once('.') else { return Ok(()) };
    if is_builtin(group, version) {
        return Ok(());
    }
    let current = server.find(GROUP, "apiservices", "", name).await?;
    if current.as_ref().is_some_and(|current| Managed::of(current) == Some(Managed::OnStart)) {
        return Ok(());
    }
    let wanted = server.catalog.has_version(group, version).then(|| local(group, version));
    carry_out(server, decide(current.as_ref(), wanted.as_ref())).await
}

/// Deletes the APIServices of groups and versions that earlier versions of this server had.
pub async fn forget_old(server: &Server, objects: &[Value]) -> Result<(), ApiError> {
    for object in objects.iter().filter(|object| Managed::of(object) == Some(Managed::OnStart)) {
        let (version, group) = metadata::name(object).split_once('.').unwrap_or_default();
        if !is_builtin(group, version) {
            carry_out(server, decide(Some(object), None)).await?;
        }
    }
    Ok(())
}

/// That somebody else was faster is no failure: the change brings us back.
async fn carry_out(server: &Server, step: Step) -> Result<(), ApiError> {
    let path = |object: &Value| {
        format!("/apis/{GROUP}/v1/apiservices/{}?fieldManager=kube-apiserver", metadata::name(object))
    };
    let (method, path, body) = match step {
        Step::Nothing => return Ok(()),
        Step::Create(object) => {
            return bootstrap::ensure(server, vec![(builtin(GROUP, "apiservices")?, object)]).await;
        }
        Step::Update(object) => (Method::PUT, path(&object), object),
        Step::Delete(object) => {
            let preconditions = json!({"uid": metadata::text(&object, "uid")});
            let options =
                json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions});
            (Method::DELETE, path(&object), options)
        }
    };
    let mut service = server.service(User::component("system:apiserver"));
    match service.change(method, &path, "application/json", &body).await {
        Err(error) if !matches!(error.code, StatusCode::NOT_FOUND | StatusCode::CONFLICT) => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_labelled_is_looked_after() {
        let wanted = local("example.com", "v1");
        assert_eq!(decide(None, Some(&wanted)), Step::Create(wanted.clone()));
        assert_eq!(decide(Some(&wanted), Some(&wanted)), Step::Nothing);
        assert_eq!(decide(Some(&wanted), None), Step::Delete(wanted.clone()));
        let mut changed = wanted.clone();
        changed["spec"]["versionPriority"] = 7.into();
        assert_eq!(decide(Some(&changed), Some(&wanted)), Step::Update(wanted.clone()));
        changed["metadata"]["labels"] = json!({});
        assert_eq!(decide(Some(&changed), Some(&wanted)), Step::Nothing);
        assert_eq!(decide(Some(&changed), None), Step::Nothing);
    }

    #[test]
    fn built_in_groups_are_registered_once_each() {
        let names: Vec<String> =
            builtins().unwrap().iter().map(|(_, object)| metadata::name(object).to_owned()).collect();
        for name in ["v1.", "v1.apps", "v1.autoscaling", "v2.autoscaling"] {
            assert_eq!(names.iter().filter(|known| *known == name).count(), 1, "{name}");
        }
    }
}
