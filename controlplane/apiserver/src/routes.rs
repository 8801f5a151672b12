//! Which handler answers which path and method.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::{Method, header};

use crate::{
    aggregation,
    body::{Request, Response},
    discovery, handlers,
    handlers::call::Call,
    health,
    metrics::{self, Asked},
    negotiation, openapi,
    options::Query,
    registry::RESOURCES,
    request_info::RequestInfo,
    resource::Definition,
    respond,
    server::Server,
    snapshot,
    status::ApiError,
    user::User,
};

/// Routes an authorized request.
pub async fn route(
    server: &Server,
    request: &mut Request,
    info: RequestInfo,
    user: Arc<User>,
    query: Query,
) -> Result<Response, ApiError> {
    if !info.is_resource {
        return other(server, request, &user, &query).await;
    }
    if ["//", "/api//", "/apis//"].iter().any(|nowhere| info.path.starts_with(nowhere)) {
        return Ok(respond::page_not_found());
    }
    let Some(definition) = server.catalog.find(&info.group, &info.version, &info.resource) else {
        return unknown(&info);
    };
    let deprecation = match &definition {
        Definition::Custom(custom) => custom.deprecation.clone(),
        Definition::Builtin(builtin) => builtin.kind_rules.deprecation().map(ToOwned::to_owned),
    };
    if deprecation.is_some() {
        crate::audit::annotate("k8s.io/deprecated", || "true".into());
    }
    let encoding = negotiation::encoding(&query, request.headers());
    let (method, headers) = (request.method(), request.headers());
    let asked = Asked { definition: &definition, method, headers, query: &query, info: &info };
    let measured = server.counters.requests.begin(asked);
    let answer = match Call::new(server.clone(), definition, info, user, query, request) {
        Ok(mut call) => match resource(&mut call, request).await {
            // Who is refused is warned all the same.
            Err(error) if !call.warnings.is_empty() => {
                let mut response = respond::error(&error, call.accepted.encoding);
                respond::warn(&mut response, &call.warnings);
                Ok(response)
            }
            answer => answer,
        },
        Err(error) => Err(error),
    };
    let answer = match measured {
        Some(measured) => measured.answered(answer),
        None => answer,
    };
    let Some(warning) = deprecation else { return answer };
    let mut response = answer.or_else(|error| Ok::<_, ApiError>(respond::error(&error, encoding)))?;
    let others: Vec<_> = response.headers().get_all(header::WARNING).iter().cloned().collect();
    response.headers_mut().remove(header::WARNING);
    respond::warn(&mut response, &[warning]);
    response.headers_mut().extend(others.into_iter().map(|other| (header::WARNING, other)));
    Ok(response)
}

/// The groups of custom resources have no handler for what they do not serve.
fn unknown(info: &RequestInfo) -> Result<Response, ApiError> {
    let builtin = RESOURCES.iter().any(|r| r.group == info.group);
    if builtin { Err(ApiError::no_such_resource()) } else { Ok(respond::page_not_found()) }
}

/// Whether a request is in a namespace though its resource is not, or the other way round where that is no
/// question about all namespaces.
fn is_misplaced(call: &Call) -> bool {
    let custom = matches!(call.definition, Definition::Custom(_));
    match (call.definition.namespaced(), call.info.namespace.is_empty()) {
        (false, false) => !call.definition.is("", "namespaces"),
        (true, true) => custom && !matches!(call.info.verb.as_str(), "list" | "watch"),
        _ => false,
    }
}

async fn resource(call: &mut Call, request: &mut Request) -> Result<Response, ApiError> {
    let custom = matches!(call.definition, Definition::Custom(_));
    let method = match request.method() {
        // Built-in resources have no route for it; custom ones have one handler, which looks at what is meant.
        &Method::HEAD if custom => Method::GET,
        _ if custom && call.info.verb == "watch" => Method::GET,
        method if call.info.verb == "watch" && *method != Method::GET => {
            return Err(ApiError::method_not_allowed());
        }
        method => method.clone(),
    };
    if is_misplaced(call) {
        return if custom { Ok(respond::page_not_found()) } else { Err(ApiError::no_such_resource()) };
    }
    if !call.info.subresource.is_empty() {
        return subresource(call, request, &method).await;
    }
    if call.definition.namespaced() && call.info.namespace.is_empty() && call.is_about_one() {
        return Err(ApiError::no_such_resource());
    }
    let verb = match (&method, call.is_about_one()) {
        (&Method::GET, true) if call.info.verb == "watch" => "watch",
        (&Method::GET, true) => "get",
        (&Method::GET, false) if call.info.verb == "watch" => "watch",
        (&Method::GET, false) => "list",
        (&Method::POST, false) => "create",
        (&Method::PUT, true) => "update",
        (&Method::PATCH, true) => "patch",
        (&Method::DELETE, true) => "delete",
        (&Method::DELETE, false) => "deletecollection",
        // Custom resources have one handler for both, which looks at the name itself.
        (&Method::POST, true) if custom => "create",
        (&Method::PUT | &Method::PATCH, false) if custom => {
            return Err(ApiError::bad_request("name must be provided"));
        }
        _ if custom && call.info.verb.is_empty() => {
            return Err(ApiError::not_supported(call.definition.group_resource(), &call.info.verb));
        }
        _ => return Err(ApiError::method_not_allowed()),
    };
    let across_namespaces = call.definition.namespaced() && call.info.namespace.is_empty();
    if across_namespaces && !custom && !call.definition.allows("list") {
        // There is no route across namespaces but that of lists.
        return Err(ApiError::no_such_resource());
    }
    if !call.definition.allows(verb) || (across_namespaces && !matches!(verb, "list" | "watch" | "create")) {
        return Err(ApiError::method_not_allowed());
    }
    if across_namespaces && verb == "create" && !handlers::reviews::is_review(call) {
        return Err(ApiError::method_not_allowed());
    }
    handler(verb, call, request).await
}

/// What handles a verb. Boxed here, so that a request takes the memory of its own handler and not of the
/// largest.
fn handler<'a>(
    verb: &str,
    call: &'a mut Call,
    request: &'a mut Request,
) -> BoxFuture<'a, Result<Response, ApiError>> {
    match verb {
        "get" => Box::pin(handlers::get::get(call)),
        "watch" => Box::pin(handlers::watch::watch(call)),
        "list" => Box::pin(handlers::list::list(call)),
        "create" if handlers::reviews::is_review(call) => Box::pin(handlers::reviews::review(call, request)),
        "create" if call.definition.is("", "bindings") => Box::pin(handlers::binding::bind(call, request)),
        "create" => Box::pin(handlers::create::create(call, request)),
        "update" => Box::pin(handlers::update::update(call, request)),
        "patch" => Box::pin(handlers::patch::patch(call, request)),
        "delete" => Box::pin(handlers::delete::delete(call, request)),
        _ => Box::pin(handlers::delete::delete_collection(call, request)),
    }
}

async fn subresource(call: &mut Call, request: &mut Request, method: &Method) -> Result<Response, ApiError> {
    let subresource =
        *call.definition.subresource(&call.info.subresource).ok_or_else(|| match call.definition {
            Definition::Builtin(_) => ApiError::no_such_resource(),
            Definition::Custom(_) => call.not_found(),
        })?;
    let verb = match *method {
        Method::GET => "get",
        Method::HEAD if subresource.name == "proxy" => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => return Err(ApiError::method_not_allowed()),
    };
    if !subresource.verbs.contains(&verb) {
        return Err(ApiError::method_not_allowed());
    }
    part_handler(subresource.name, verb, call, request).await
}

/// What handles a verb of a subresource.
fn part_handler<'a>(
    part: &str,
    verb: &str,
    call: &'a mut Call,
    request: &'a mut Request,
) -> BoxFuture<'a, Result<Response, ApiError>> {
    match (part, verb) {
        ("log" | "exec" | "attach" | "portforward" | "proxy", _) => {
            Box::pin(handlers::streams::connect(call, request))
        }
        ("scale", "get") => Box::pin(handlers::scale::get(call)),
        ("scale", "update") => Box::pin(handlers::scale::update(call, request)),
        ("scale", _) => Box::pin(handlers::scale::patch(call, request)),
        ("binding", _) => Box::pin(handlers::binding::bind(call, request)),
        ("eviction", _) => Box::pin(handlers::eviction::evict(call, request)),
        ("token", _) => Box::pin(handlers::token::request(call, request)),
        (_, "get") => Box::pin(handlers::get::get(call)),
        (_, "update") => Box::pin(handlers::update::update(call, request)),
        _ => Box::pin(handlers::patch::patch(call, request)),
    }
}

async fn other(
    server: &Server,
    request: &mut Request,
    user: &User,
    query: &Query,
) -> Result<Response, ApiError> {
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    let get = *request.method() == Method::GET;
    match segments.as_slice() {
        [] => Ok(discovery::roots(server, request.headers())),
        ["healthz" | "livez" | "readyz", ..] => Ok(health::check(server, &segments, query)),
        ["version"] if !get => Err(ApiError::method_not_allowed()),
        ["version"] => discovery::answer_version(request.headers()),
        ["api" | "apis"] => discovery::groups(server, segments[0] == "apis", request.headers()),
        ["apis", group] if server.catalog.has_group(group) || server.aggregation.has_group(group) => {
            discovery::group(server, group, request.headers())
        }
        ["api", "v1"] | ["apis", _, _] => {
            let (group, version) =
                if let ["apis", group, version] = *segments { (group, version) } else { ("", "v1") };
            if server.catalog.has_version(group, version) {
                let builtin = RESOURCES.iter().any(|r| (r.group, r.version) == (group, version));
                if builtin && !get {
                    return Err(ApiError::method_not_allowed());
                }
                return discovery::resources(server, group, version, request.headers());
            }
            if server.catalog.has_group(group) {
                Err(ApiError::no_such_resource())
            } else {
                Ok(respond::page_not_found())
            }
        }
        ["api", ..] => Err(ApiError::no_such_resource()),
        ["openapi", ..] => {
            if let Some(remote) = aggregation::openapi::owner(server, &segments) {
                crate::audit::passed_on();
                return Ok(aggregation::proxy::forward(server, &remote, request, user).await);
            }
            let remote = aggregation::openapi::additions(server, &segments).await;
            Ok(openapi::serve(&server.catalog, &remote, &segments, request.headers(), query))
        }
        [".well-known", "openid-configuration"] | ["openid", "v1", "jwks"] => {
            crate::authentication::service_account::issuer_document(server, &segments, request.headers())
                .await
        }
        ["metrics"] => Ok(metrics::serve(server, request.headers()).await),
        ["vkube", segments @ ..] => Box::pin(snapshot::serve(server, request, segments, query)).await,
        _ => Ok(respond::page_not_found()),
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::{Value, json};

    use crate::custom::tests::{Fixture, WIDGETS, widgets};

    use super::*;

    #[tokio::test]
    async fn only_custom_resources_can_be_asked_for_without_their_text() {
        let server = Fixture::start().await;
        server.define(&widgets(&json!({"type": "object"}))).await;
        let maps = "/api/v1/namespaces/default/configmaps";
        for (path, wanted) in [
            (maps, StatusCode::METHOD_NOT_ALLOWED),
            ("/api/v1/namespaces/default", StatusCode::METHOD_NOT_ALLOWED),
            ("/apis/apps/v1", StatusCode::METHOD_NOT_ALLOWED),
            ("/version", StatusCode::METHOD_NOT_ALLOWED),
            ("/healthz", StatusCode::OK),
            (WIDGETS, StatusCode::OK),
        ] {
            let (status, _) = server.call(Method::HEAD, path, &Value::Null).await;
            assert_eq!(status, wanted, "{path}");
        }
        server.0.stop().await;
    }

    #[tokio::test]
    async fn what_is_never_listed_has_no_route_across_namespaces() {
        let server = Fixture::start().await;
        for (path, method, wanted) in [
            ("/api/v1/bindings", Method::GET, StatusCode::NOT_FOUND),
            ("/api/v1/bindings", Method::POST, StatusCode::NOT_FOUND),
            ("/api/v1/configmaps", Method::POST, StatusCode::METHOD_NOT_ALLOWED),
            ("/api/v1/namespaces/default/bindings", Method::GET, StatusCode::METHOD_NOT_ALLOWED),
            ("/api/v1/namespaces/default?export=true", Method::GET, StatusCode::BAD_REQUEST),
            ("/api/v1/namespaces/default?export=0", Method::GET, StatusCode::OK),
            ("/api/v1/namespaces//configmaps", Method::GET, StatusCode::OK),
            ("//api/v1/namespaces", Method::GET, StatusCode::NOT_FOUND),
            ("/api/v1/watch/namespaces/default/configmaps", Method::POST, StatusCode::METHOD_NOT_ALLOWED),
            ("/api/v1/watch/namespaces/default/configmaps", Method::DELETE, StatusCode::METHOD_NOT_ALLOWED),
            ("/api/v1/watch", Method::GET, StatusCode::INTERNAL_SERVER_ERROR),
        ] {
            let (status, body) = server.call(method, path, &Value::Null).await;
            assert_eq!(status, wanted, "{path}: {body}");
        }
        server.0.stop().await;
    }
}
