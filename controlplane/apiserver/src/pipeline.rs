//! What every request passes, in order.

use std::sync::Arc;

use http::{HeaderValue, header};

use crate::{
    aggregation, audit, authentication, authorization, block,
    body::{self, Request, Response},
    compression, impersonation,
    metrics::Asked,
    negotiation::{self, Encoding},
    options::{Query, check_timeout},
    request_info::RequestInfo,
    respond, routes,
    server::Server,
    status::ApiError,
    user::{OPERATOR, User},
};

const DECISION: &str = "authorization.k8s.io/decision";
const REASON: &str = "authorization.k8s.io/reason";

/// Request info → authentication → impersonation → flow control → authorization → route, here or on a remote
/// server.
pub async fn serve(server: &Server, request: Request) -> Response {
    match &server.parts.audit {
        None => {
            // Who calls from within has no use for it.
            let id = request.extensions().get::<Arc<User>>().is_none().then(|| audit::id(&request));
            let mut response = answer(server, request).await;
            response.headers_mut().extend(id.map(|id| (audit::AUDIT_ID, id)));
            response
        }
        Some(audit) => audit.follow(request, |request| answer(server, request)).await,
    }
}

async fn answer(server: &Server, mut request: Request) -> Response {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let encoding = negotiation::encoding(&query, request.headers());
    let warning = authentication::warning(&request);
    let mut response = match run(server, &mut request, query, encoding).await {
        Ok(response) => response,
        Err(error) => respond::error(&error, encoding),
    };
    if let Some(warning) = warning {
        respond::warn(&mut response, &[warning.to_owned()]);
    }
    if response.status().is_client_error() || response.status().is_server_error() {
        // A refusal that does not wait for the rest of the body would end the connection with it.
        body::drain(request.body_mut()).await;
    }
    let headers = response.headers_mut();
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    }
    response
}

async fn run(
    server: &Server,
    request: &mut Request,
    query: Query,
    encoding: Encoding,
) -> Result<Response, ApiError> {
    let info =
        RequestInfo::new(request.method(), request.uri().path(), request.uri().query().unwrap_or_default());
    if RequestInfo::is_cut_short(request.uri().path()) {
        let why = "failed to create RequestInfo: unable to determine kind and namespace from url";
        let shown = request.uri().path_and_query().map_or("/", |shown| shown.as_str());
        return Ok(respond::undecided(request.uri(), &format!("{why}, {shown}")));
    }
    if !info.is_lasting() {
        check_timeout(&query)?;
    }
    let within = request.extensions_mut().remove::<Arc<User>>();
    let within_process = within.is_some();
    let user = match within {
        Some(user) => user,
        None => {
            let user = authentication::authenticate(server, request).await;
            let user = user.inspect_err(|_| audit::refused(&info))?;
            server.note(&user);
            user
        }
    };
    // The operator's own certificate, not whoever acts as it.
    let is_outside = !within_process && user.name != OPERATOR;
    let name = authorization::selected_name(&info, &query);
    let field_selector = authorization::field_selector(&info, &query);
    let of = authorization::Attributes::of(&user, &info);
    let own = authorization::Attributes { name: &name, field_selector, ..of };
    audit::authenticated(&own, &info);
    if !audit::settled().await {
        return Ok(respond::undecided(request.uri(), "failed to store audit event"));
    }
    let acting = impersonation::impersonate(server, request.headers_mut(), &own).await?;
    if let Some(acting) = &acting {
        audit::acts_as(&acting.user, acting.constraint);
    }
    let user = acting.map_or_else(|| user.clone(), |acting| acting.user);
    let (class, seat) = server.parts.flow_control.admit(&user, &info).await;
    let mut response = match seat {
        Ok(_seat) => {
            let _running = server.counters.inflight.enter(&info);
            let answer = proceed(server, request, info, &name, (user, is_outside), query).await;
            answer.unwrap_or_else(|error| respond::error(&error, encoding))
        }
        Err(refusal) => {
            if let Some(definition) = server.catalog.find(&info.group, &info.version, &info.resource) {
                let (method, headers) = (request.method(), request.headers());
                let asked = Asked { definition: &definition, method, headers, query: &query, info: &info };
                server.counters.requests.refused(asked);
            }
            *refusal
        }
    };
    if let Some(class) = class {
        class.mark(&mut response);
    }
    Ok(response)
}

async fn proceed(
    server: &Server,
    request: &mut Request,
    info: RequestInfo,
    name: &str,
    (user, is_outside): (Arc<User>, bool),
    query: Query,
) -> Result<Response, ApiError> {
    let field_selector = authorization::field_selector(&info, &query);
    let of = authorization::Attributes::of(&user, &info);
    let attributes = authorization::Attributes { name, field_selector, ..of };
    match authorization::decide(&server.parts.authorizers, &attributes).await {
        authorization::Decision::Allow(reason) => {
            audit::annotate(DECISION, || "allow".into());
            audit::annotate(REASON, || reason);
        }
        authorization::Decision::Failed(why) => {
            audit::annotate(REASON, || "internal error".into());
            return Ok(respond::undecided(request.uri(), &why));
        }
        authorization::Decision::Deny(reason) | authorization::Decision::NoOpinion(reason) => {
            audit::annotate(DECISION, || "forbid".into());
            audit::annotate(REASON, || reason.clone());
            return Err(attributes.forbidden(&reason));
        }
    }
    if is_outside {
        block::check(server, &info, &attributes).await?;
    }
    if let Some(remote) = server.aggregation.find(&info.path) {
        if remote.hosted {
            return aggregation::metrics::answer(server, &info, &query).await;
        }
        audit::passed_on();
        return Ok(aggregation::proxy::forward(server, &remote, request, &user).await);
    }
    let compressed = compression::threshold(&info, request.headers());
    let response = routes::route(server, request, info, user, query).await?;
    Ok(match compressed {
        Some(least) => compression::compressed(response, least),
        None => response,
    })
}
