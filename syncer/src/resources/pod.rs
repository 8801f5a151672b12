//! Pods: created on the host from the virtual one, bound and reported back.
//!
//! | field                          | owner    | how                                             |
//! |--------------------------------|----------|-------------------------------------------------|
//! | existence, spec                | virtual  | [`translate`] once, [`update`] afterwards       |
//! | labels, annotations            | virtual  | what the host adds stays on the host            |
//! | `spec.nodeName`                | host     | `pods/binding` in the virtual cluster           |
//! | status                         | host     | [`status`] lists the exceptions                 |
//! | deletion                       | both     | [`decide`]: whoever starts, the other follows   |
//! | projected tokens               | virtual  | [`tokens`]: one host Secret a pod, rotated      |

mod decide;
mod downward;
mod environment;
mod naming;
mod references;
mod scheduling;
mod status;
mod tokens;
mod translate;
mod update;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Binding, Container, ObjectReference, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use self::decide::{Placement, Step};
use self::references::Referent;
use crate::context::{Context, Kind, MANAGER, Task};
use crate::error::{Error, Result, is_conflict, is_not_found};
use crate::labels::{ObjectKey, Translator, virtual_uid};
use crate::queue::Outcome;
use crate::resources::{config_map, node, persistent_volume_claim, refuse_foreign, secret, tuned};
use crate::sanitise::Sanitiser;

pub(crate) use self::scheduling::by_namespace_labels;
pub(crate) use self::tokens::{TOKEN_KIND, secret_name as token_secret_name};
pub(crate) use self::translate::{ApiEndpoint, CONTROLLER_KIND, Surroundings};

/// Brings one pod in step.
pub(crate) async fn reconcile(cx: &Context, key: &ObjectKey) -> Result<Outcome> {
    let host = cx.host_side.pods.get(&cx.host_key(key));
    let mut pod = cx.virtual_side.pods.get(key);
    if pod.is_none() && host.is_some() {
        pod = cx.virtual_object(key).await?.map(std::sync::Arc::new);
    }
    let (pod, host) = (pod.as_deref(), host.as_deref());

    let placement = if cx.translator.config.schedules { Placement::Virtual } else { Placement::Host };
    match (decide::decide(pod, host, placement), pod, host) {
        (Step::Create, Some(pod), _) => Box::pin(create(cx, key, pod)).await,
        (Step::Exchange, Some(pod), Some(host)) => exchange(cx, key, pod, host).await,
        (Step::Terminate { grace }, Some(pod), Some(host)) => {
            cx.delete_host::<Pod>(&host.metadata, grace).await?;
            exchange(cx, key, pod, host).await
        }
        (Step::Discard, _, Some(host)) => {
            cx.delete_host::<Pod>(&host.metadata, None).await?;
            Ok(Outcome::Done)
        }
        (Step::Evict { grace }, Some(pod), Some(host)) => {
            cx.delete_virtual::<Pod>(&pod.metadata, Some(grace)).await?;
            exchange(cx, key, pod, host).await
        }
        (Step::Finish, Some(pod), None) => finish(cx, key, pod).await,
        (_, None, None) => {
            discard_tokens(cx, key).await?;
            Ok(Outcome::Done)
        }
        _ => Ok(Outcome::Done),
    }
}

/// What a pod needs on the host, as work items.
pub(crate) fn needs(pod: &Pod) -> Vec<Task> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let Some(spec) = &pod.spec else { return Vec::new() };
    let tasks = references::collect(spec).into_iter().filter_map(|(referent, name)| {
        let kind = match referent {
            Referent::ConfigMap => Kind::ConfigMap,
            Referent::Secret => Kind::Secret,
            Referent::PersistentVolumeClaim | Referent::Endpoints | Referent::ResourceClaim => return None,
        };
        Some(Task { kind, key: ObjectKey::new(namespace, name) })
    });
    tasks.collect()
}

/// Takes off a host pod what nobody reads here: it was written from the virtual pod, which is kept.
pub(crate) fn slim_host(pod: &mut Pod) {
    let Some(spec) = &mut pod.spec else { return };
    spec.volumes = None;
    spec.affinity = None;
    spec.host_aliases = None;
    spec.dns_config = None;
    spec.topology_spread_constraints = None;
    spec.containers = named(&spec.containers);
    spec.init_containers = spec.init_containers.as_deref().map(named);
}

fn named(containers: &[Container]) -> Vec<Container> {
    let name = |container: &Container| Container { name: container.name.clone(), ..Container::default() };
    containers.iter().map(name).collect()
}

/// The names of all containers that a tenant has given a pod.
pub(crate) fn containers(pod: &Pod) -> Vec<&str> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| container.name.as_str());
    let others = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    others.map(|container| container.name.as_str()).chain(ephemeral).collect()
}

/// A sanitiser for texts about a pod: it knows the pod and all that it names.
pub(crate) fn sanitiser<'a>(translator: &'a Translator, pod: &'a Pod) -> Sanitiser<'a> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut sanitiser =
        Sanitiser::new(translator, namespace).knows(pod.metadata.name.as_deref().unwrap_or_default());
    if let Some(spec) = &pod.spec {
        for (_, name) in references::collect(spec) {
            sanitiser = sanitiser.knows(&name);
        }
    }
    sanitiser
}

async fn create(cx: &Context, key: &ObjectKey, pod: &Pod) -> Result<Outcome> {
    let surroundings = cx.surroundings(&key.namespace)?;
    Box::pin(prepare(cx, key, pod)).await?;
    let refresh = refresh_tokens(cx, key, pod, None).await?;

    let mut host = tuned(cx, Kind::Pod, pod, translate::to_host(&cx.translator, &surroundings, pod))?;
    update::stamp(pod, &mut host.metadata);
    match cx.host_api::<Pod>(&key.namespace).create(&Context::post_params(), &host).await {
        Ok(_) => Ok(refresh),
        // Our own, not yet seen, or the previous one of the name: the watch brings it.
        Err(error) if is_conflict(&error) => {
            refuse_foreign::<Pod>(cx, Kind::Pod, key).await?;
            Ok(Outcome::After(Duration::from_secs(2)))
        }
        Err(error) => Err(Error::Host(error)),
    }
}

/// Puts what the pod refers to on the host first, so that its kubelet need not wait and complain.
async fn prepare(cx: &Context, key: &ObjectKey, pod: &Pod) -> Result<()> {
    let Some(spec) = &pod.spec else { return Ok(()) };
    for (referent, name) in references::collect(spec) {
        let target = ObjectKey::new(key.namespace.clone(), name);
        match referent {
            Referent::ConfigMap => config_map::reconcile(cx, &target).await?,
            Referent::Secret => secret::reconcile(cx, &target).await?,
            Referent::PersistentVolumeClaim => {
                Box::pin(persistent_volume_claim::reconcile(cx, &target)).await?
            }
            Referent::Endpoints | Referent::ResourceClaim => Outcome::Done,
        };
    }
    Ok(())
}

async fn exchange(cx: &Context, key: &ObjectKey, pod: &Pod, host: &Pod) -> Result<Outcome> {
    if let (Some(name), None) = (decide::node(host), decide::node(pod))
        && !decide::is_deleting(pod)
    {
        node::ensure(cx, name, host).await?;
        bind(cx, key, pod, name).await?;
        // The binding changed the pod; its event brings us back with the new state.
        return Ok(Outcome::Done);
    }
    // A change that the host refuses must not keep the status from being reported.
    let is_live = !decide::is_deleting(pod) && !decide::is_deleting(host) && !decide::is_terminal(host);
    let updated = if is_live { update(cx, key, pod, host).await } else { Ok(()) };
    report(cx, key, pod, host).await?;
    updated?;
    if is_live { refresh_tokens(cx, key, pod, Some(host)).await } else { Ok(Outcome::Done) }
}

async fn bind(cx: &Context, key: &ObjectKey, pod: &Pod, node: &str) -> Result<()> {
    let binding = Binding {
        metadata: ObjectMeta {
            name: Some(key.name.clone()),
            namespace: Some(key.namespace.clone()),
            uid: pod.metadata.uid.clone(),
            ..ObjectMeta::default()
        },
        target: ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Node".into()),
            name: Some(node.to_owned()),
            ..ObjectReference::default()
        },
    };
    let api = cx.virtual_api::<Pod>(&key.namespace);
    let bound: kube::Result<serde_json::Value> =
        api.create_subresource("binding", &key.name, &Context::post_params(), &binding).await;
    match bound {
        Ok(_) => Ok(()),
        // Bound already, or replaced by another pod; either shows up in the watch.
        Err(error) if is_conflict(&error) || is_not_found(&error) => Ok(()),
        Err(error) => Err(Error::Virtual(error)),
    }
}

async fn update(cx: &Context, key: &ObjectKey, pod: &Pod, host: &Pod) -> Result<()> {
    let surroundings = cx.surroundings(&key.namespace)?;
    let config = &cx.translator.config;
    // What settings change on the way has to be changed again.
    let changed = if config.images.is_empty() && config.rules.tuning(Kind::Pod).is_none() {
        None
    } else {
        Some(tuned(cx, Kind::Pod, pod, translate::to_host(&cx.translator, &surroundings, pod))?)
    };
    let mut metadata = match &changed {
        Some(changed) => changed.metadata.clone(),
        None => translate::metadata(&cx.translator, &surroundings, pod),
    };
    update::stamp(pod, &mut metadata);
    let ephemeral = translate::ephemeral_containers(&cx.translator, &surroundings, pod);
    let wanted = changed.as_ref().unwrap_or(pod);
    let changes = update::changes(wanted, &metadata, &ephemeral, &config.tolerations, host);

    let name = host.metadata.name.as_deref().unwrap_or_default();
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    let api = cx.host_api::<Pod>(&key.namespace);
    if let Some(patch) = changes.resize {
        api.patch_resize(name, &params, &Patch::Strategic(patch)).await.map_err(Error::Host)?;
    }
    if let Some(patch) = changes.ephemeral {
        api.patch_ephemeral_containers(name, &params, &Patch::Strategic(patch)).await.map_err(Error::Host)?;
    }
    if let Some(patch) = changes.patch {
        api.patch(name, &params, &Patch::Strategic(patch)).await.map_err(Error::Host)?;
    }
    Ok(())
}

async fn report(cx: &Context, key: &ObjectKey, pod: &Pod, host: &Pod) -> Result<()> {
    let sanitiser = sanitiser(&cx.translator, pod);
    let exchange = status::exchange(pod, host, &sanitiser);
    let name = host.metadata.name.as_deref().unwrap_or_default();
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };

    if !exchange.push.is_empty() {
        let patch = json!({ "status": { "conditions": exchange.push } });
        let api = cx.host_api::<Pod>(&key.namespace);
        api.patch_status(name, &params, &Patch::Strategic(patch)).await.map_err(Error::Host)?;
    }
    if pod.status.as_ref() != Some(&exchange.status) {
        let updated = Pod { status: Some(exchange.status), ..pod.clone() };
        let api = cx.virtual_api::<Pod>(&key.namespace);
        match api.replace_status(&key.name, &Context::post_params(), &updated).await {
            Ok(_) => {}
            // Changed or gone meanwhile: its event brings us back.
            Err(error) if is_conflict(&error) || is_not_found(&error) => return Ok(()),
            Err(error) => return Err(Error::Virtual(error)),
        }
    }
    // The base last: dying before this line only repeats what both sides agree on.
    if let Some(base) = exchange.base {
        let patch = json!({ "metadata": { "annotations": { (status::GATES): base } } });
        cx.host_api::<Pod>(&key.namespace)
            .patch(name, &params, &Patch::Merge(patch))
            .await
            .map_err(Error::Host)?;
    }
    Ok(())
}

/// The host pod is gone: ask the host itself, then finish the virtual pod.
async fn finish(cx: &Context, key: &ObjectKey, pod: &Pod) -> Result<Outcome> {
    let host =
        cx.host_api::<Pod>(&key.namespace).get_opt(&cx.host_key(key).name).await.map_err(Error::Host)?;
    if host.is_some_and(|host| virtual_uid(&host.metadata) == pod.metadata.uid.as_deref()) {
        return Ok(Outcome::After(Duration::from_secs(1)));
    }
    cx.delete_virtual::<Pod>(&pod.metadata, Some(0)).await?;
    discard_tokens(cx, key).await?;
    Ok(Outcome::Done)
}

/// Sees to it that the pod's token Secret holds fresh tokens; says when to look again.
async fn refresh_tokens(cx: &Context, key: &ObjectKey, pod: &Pod, host: Option<&Pod>) -> Result<Outcome> {
    let claims = tokens::claims(pod);
    if claims.is_empty() {
        return Ok(Outcome::Done);
    }
    let now = Timestamp::now();
    let name = token_secret_name(&cx.translator, &key.namespace, &key.name);
    let host_key = ObjectKey::new(cx.translator.host_namespace(&key.namespace), name);
    let current = cx.host_side.secrets.get(&host_key);
    if let Some(current) = &current {
        let metadata = &current.metadata;
        if virtual_uid(metadata) != pod.metadata.uid.as_deref() {
            cx.delete_host::<Secret>(metadata, None).await?;
        } else if let Some(at) = refresh_time(metadata).filter(|at| *at > now) {
            own_tokens(cx, &host_key, metadata, host).await?;
            return Ok(wait_until(at, now));
        }
    }

    let account =
        pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
    let mut data = BTreeMap::new();
    let mut refresh = Timestamp::MAX;
    for claim in claims {
        let (token, expiry) = request_token(cx, key, account, &tokens::request(pod, &claim)).await?;
        refresh = refresh.min(tokens::refresh_at(now, expiry));
        data.insert(claim.key, ByteString(token.into_bytes()));
    }
    cx.apply(&tokens::secret(&cx.translator, pod, data, refresh, host)).await?;
    Ok(wait_until(refresh, now))
}

async fn request_token(
    cx: &Context,
    key: &ObjectKey,
    account: &str,
    request: &TokenRequest,
) -> Result<(String, Timestamp)> {
    use k8s_openapi::api::core::v1::ServiceAccount;

    let api = cx.virtual_api::<ServiceAccount>(&key.namespace);
    let answer: TokenRequest = api
        .create_subresource("token", account, &Context::post_params(), request)
        .await
        .map_err(Error::Virtual)?;
    let status = answer.status.ok_or(Error::Waiting("a token"))?;
    let token = status.token.filter(|token| !token.is_empty()).ok_or(Error::Waiting("a token"))?;
    let expiry = status.expiration_timestamp.ok_or(Error::Waiting("a token's expiry"))?;
    Ok((token, expiry.0))
}

/// Hands a token Secret that was made before its pod to the pod.
async fn own_tokens(
    cx: &Context,
    secret: &ObjectKey,
    metadata: &ObjectMeta,
    host: Option<&Pod>,
) -> Result<()> {
    let Some(uid) = host.and_then(|host| host.metadata.uid.as_ref()) else { return Ok(()) };
    if metadata.owner_references.iter().flatten().any(|owner| owner.uid == *uid) {
        return Ok(());
    }
    let pod_name = host.and_then(|host| host.metadata.name.as_ref());
    let owner = json!({ "apiVersion": "v1", "kind": "Pod", "name": pod_name, "uid": uid });
    let patch = json!({ "metadata": { "ownerReferences": [owner] } });
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    let api = cx.api_in::<Secret>(&secret.namespace);
    api.patch(&secret.name, &params, &Patch::Merge(patch)).await.map_err(Error::Host)?;
    Ok(())
}

async fn discard_tokens(cx: &Context, key: &ObjectKey) -> Result<()> {
    let name = token_secret_name(&cx.translator, &key.namespace, &key.name);
    let host_key = ObjectKey::new(cx.translator.host_namespace(&key.namespace), name);
    if let Some(secret) = cx.host_side.secrets.get(&host_key) {
        cx.delete_host::<Secret>(&secret.metadata, None).await?;
    }
    Ok(())
}

fn refresh_time(metadata: &ObjectMeta) -> Option<Timestamp> {
    metadata.annotations.as_ref()?.get(tokens::REFRESH_AT)?.parse().ok()
}

fn wait_until(at: Timestamp, now: Timestamp) -> Outcome {
    let wait = at.duration_since(now);
    Outcome::After(wait.try_into().unwrap_or(Duration::ZERO))
}
