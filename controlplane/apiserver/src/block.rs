//! Writes that the cluster's owner outside has blocked.
//!
//! They are refused to whoever comes from outside the process, administrators too; the control plane's own controllers and the
//! operator go on, so that what is there stays in order. Requests that store nothing, such as reviews, tokens and `exec`, are no writes.

use crate::{
    authorization::Attributes,
    request_info::RequestInfo,
    server::Server,
    status::{ApiError, GroupResource},
};

/// Which writes are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blocked {
    /// What makes objects.
    pub create: bool,
    /// What changes them.
    pub update: bool,
    /// What removes them.
    pub delete: bool,
}

/// What a request does to objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Write {
    Create,
    Update,
    Delete,
    /// Update, or create if there is nothing to update.
    Put,
}

/// Refuses the request if it is a blocked write.
pub async fn check(server: &Server, info: &RequestInfo, attributes: &Attributes<'_>) -> Result<(), ApiError> {
    let blocked = server.parts.blocked;
    if blocked == Blocked::default() {
        return Ok(());
    }
    let refused = match write(info) {
        Some(Write::Create) if blocked.create => "create",
        Some(Write::Delete) if blocked.delete => "delete",
        Some(Write::Update | Write::Put) if blocked.update => "update",
        Some(Write::Put) if blocked.create && !exists(server, info).await? => "create",
        _ => return Ok(()),
    };
    let object = GroupResource { group: &info.group, resource: &info.resource };
    let why = format!("the owner of this cluster has blocked writes that {refused} objects");
    Err(ApiError::forbidden(object, attributes.name, &why))
}

fn write(info: &RequestInfo) -> Option<Write> {
    let is_question = matches!(info.group.as_str(), "authorization.k8s.io" | "authentication.k8s.io");
    if !info.is_resource || is_question {
        return None;
    }
    match (info.verb.as_str(), info.subresource.as_str()) {
        (_, "attach" | "exec" | "portforward" | "proxy" | "token") => None,
        ("create", "eviction") | ("delete" | "deletecollection", _) => Some(Write::Delete),
        ("create", "") => Some(Write::Create),
        ("update" | "patch", "") => Some(Write::Put),
        ("create" | "update" | "patch", _) => Some(Write::Update),
        _ => None,
    }
}

async fn exists(server: &Server, info: &RequestInfo) -> Result<bool, ApiError> {
    let Some(definition) = server.catalog.find(&info.group, &info.version, &info.resource) else {
        // What another server has is for it to tell; most writes of this kind change what is there.
        return Ok(true);
    };
    Ok(server.store().get(&definition.key(&info.namespace, &info.name), None).await?.is_some())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{Method, StatusCode};
    use http_body_util::BodyExt;
    use serde_json::{Value, json};
    use tower::Service;

    use super::*;
    use crate::{
        authentication::CertificateUser,
        body,
        instance::{Instance, Options},
        user::User,
    };

    const MAPS: &str = "/api/v1/namespaces/default/configmaps";

    fn of(method: Method, path: &str) -> Option<Write> {
        write(&RequestInfo::new(&method, path, ""))
    }

    #[test]
    fn what_stores_nothing_is_no_write() {
        for path in [
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            "/apis/authentication.k8s.io/v1/tokenreviews",
            "/api/v1/namespaces/a/serviceaccounts/b/token",
            "/api/v1/namespaces/a/pods/b/exec",
            "/vkube/snapshots/x",
        ] {
            assert_eq!(of(Method::POST, path), None, "{path}");
        }
        assert_eq!(of(Method::GET, MAPS), None);
        assert_eq!(of(Method::POST, "/api/v1/namespaces/a/pods/b/eviction"), Some(Write::Delete));
        assert_eq!(of(Method::PATCH, "/api/v1/namespaces/a/pods/b/status"), Some(Write::Update));
        assert_eq!(of(Method::DELETE, MAPS), Some(Write::Delete));
    }

    async fn start(blocked: Blocked) -> Instance {
        let options =
            Options { blocked, authorization_modes: vec!["AlwaysAllow".into()], ..Options::default() };
        Instance::start(options).await.unwrap()
    }

    /// A request as it comes from outside the process, or from within.
    async fn call(
        server: &Instance,
        outside: bool,
        method: Method,
        path: &str,
        body: &Value,
    ) -> (StatusCode, Value) {
        let body = if body.is_null() { body::empty() } else { body::full(body.to_string()) };
        let apply = if method == Method::PATCH { "application/apply-patch+yaml" } else { "application/json" };
        let path =
            if method == Method::PATCH { format!("{path}?fieldManager=test") } else { path.to_owned() };
        let request = http::Request::builder().method(method).uri(path).header("content-type", apply);
        let mut request = request.body(body).unwrap();
        let user = User::component("test");
        let response = if outside {
            request.extensions_mut().insert(CertificateUser(Arc::new(user)));
            server.server.respond(request).await
        } else {
            server.server.service(user).call(request).await.unwrap()
        };
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    fn mk(name: &str, value: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"v": value}})
    }

    #[tokio::test]
    async fn blocked_writes_are_refused_to_tenants_and_not_to_controllers() {
        let server = start(Blocked { create: true, update: true, delete: true }).await;
        let (status, _) = call(&server, false, Method::POST, MAPS, &mk("a", "1")).await;
        assert_eq!(status, StatusCode::CREATED);
        let one = format!("{MAPS}/a");
        for (method, path, body, verb) in [
            (Method::POST, MAPS, mk("b", "1"), "create"),
            (Method::PUT, &*one, mk("a", "2"), "update"),
            (Method::DELETE, &*one, Value::Null, "delete"),
        ] {
            let (status, answer) = call(&server, true, method, path, &body).await;
            assert_eq!((status, &answer["reason"]), (StatusCode::FORBIDDEN, &json!("Forbidden")));
            let message = answer["message"].as_str().unwrap();
            assert!(message.contains(&format!("has blocked writes that {verb} objects")), "{message}");
        }
        assert_eq!(call(&server, true, Method::GET, &one, &Value::Null).await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn where_nothing_may_be_created_an_apply_still_changes_what_is_there() {
        let server = start(Blocked { create: true, ..Blocked::default() }).await;
        call(&server, false, Method::POST, MAPS, &mk("a", "1")).await;
        let (status, answer) = call(&server, true, Method::PATCH, &format!("{MAPS}/b"), &mk("b", "1")).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{answer}");
        let (status, answer) = call(&server, true, Method::PATCH, &format!("{MAPS}/a"), &mk("a", "2")).await;
        assert_eq!(status, StatusCode::CONFLICT, "somebody else owns the field: {answer}");
        assert_eq!(
            call(&server, true, Method::DELETE, &format!("{MAPS}/a"), &Value::Null).await.0,
            StatusCode::OK
        );
    }
}
