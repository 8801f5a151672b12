//! Host namespaces that virtual ones have for themselves: made when the control plane asks, bounded as the cluster's own
//! is, removed when it asks no more.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, ObjectMeta, PostParams};
use vkube_crds::{Answer, annotations, answers_name, claims_name, is_namespace};

use super::namespace::{adopt, is_retained};
use super::steps::Attempt;
use super::{CONFLICT_POLL, Report, Stop};
use crate::apply::Applied;
use crate::build::{self, Key, Object};
use crate::context::Context;
use crate::error::{Error, has_code};
use crate::names::{FIELD_MANAGER, Identity};
use crate::settings::Mapped;

/// The further host namespaces that the cluster has, each as the one of an identity.
pub async fn places(context: &Context, identity: &Identity) -> Result<Vec<Identity>, Error> {
    let further = |live: &DynamicObject| {
        let is_mapped = origin(live).is_some() && live.name_any() != identity.host_namespace;
        is_mapped.then(|| place(identity, &live.name_any()))
    };
    let any = Key::new::<Namespace>(None, "");
    Ok(context.host.list(&any, &identity.uid_selector()).await?.iter().filter_map(further).collect())
}

/// The cluster, as it is in one of its further host namespaces.
fn place(identity: &Identity, host: &str) -> Identity {
    Identity { host_namespace: host.to_owned(), ..identity.clone() }
}

/// The virtual namespace that a host namespace was made for.
fn origin(live: &DynamicObject) -> Option<&str> {
    live.annotations().get(annotations::OBJECT_NAME).map(String::as_str)
}

/// Makes what is asked for, removes what is not any more, and answers.
pub(super) async fn ensure(
    attempt: &Attempt<'_>,
    policy: Option<&str>,
    report: &mut Report,
) -> Result<(), Stop> {
    let Some(mapped) = &attempt.settings.mapped else { return Ok(()) };
    let (context, identity) = (attempt.context, &attempt.identity);
    let key = Key::new::<ConfigMap>(Some(&identity.host_namespace), &claims_name(&identity.name));
    // Until the control plane has spoken, nothing is known of what it wants.
    let Some(claims) = attempt.live(&key).await? else { return Ok(()) };
    let claims = data(&claims);

    let mut answers = BTreeMap::new();
    for (namespace, uid) in &claims {
        let answer = match mapped.map.host(namespace) {
            Some(host) => provide(attempt, mapped, policy, (namespace, uid), &host, report).await?,
            None => Some(Answer::Refused(format!("no mapping leads namespace {namespace} to the host"))),
        };
        answers.extend(answer.map(|answer| (namespace.clone(), answer)));
    }
    for place in places(context, identity).await? {
        let key = Key::new::<Namespace>(None, &place.host_namespace);
        let Some(live) = context.host.get(&key).await? else { continue };
        let is_wanted = origin(&live).is_some_and(|namespace| {
            claims.contains_key(namespace)
                && mapped.map.host(namespace).as_ref() == Some(&place.host_namespace)
        });
        if !is_wanted && live.metadata.deletion_timestamp.is_none() {
            context.host.delete(&key, live.uid()).await?;
        }
    }
    answer(attempt, &answers).await
}

/// Makes one host namespace and all that has to be in it. None if that has to wait for the end of another.
async fn provide(
    attempt: &Attempt<'_>,
    mapped: &Mapped,
    policy: Option<&str>,
    (namespace, uid): (&str, &str),
    host: &str,
    report: &mut Report,
) -> Result<Option<Answer>, Stop> {
    let (context, identity) = (attempt.context, &attempt.identity);
    let refused = |why: &str| Ok(Some(Answer::Refused(format!("namespace {host} on the host {why}"))));
    if !is_namespace(host) || mapped.map.origin(host).as_deref() != Some(namespace) {
        return refused("cannot be had");
    }
    let key = Key::new::<Namespace>(None, host);
    let live = match context.host.get(&key).await? {
        Some(live) => live,
        None => match create(attempt, &key, namespace).await? {
            Some(live) => live,
            // One appeared meanwhile; its event brings us back.
            None => return Ok(None),
        },
    };
    let place = place(identity, host);
    let is_ours = identity.owns(live.metadata.labels.as_ref());
    if origin(&live) != Some(namespace) || !(is_ours || is_retained(&live, identity)) {
        report.look_again(CONFLICT_POLL);
        return refused("exists already and belongs to somebody else");
    }
    if live.metadata.deletion_timestamp.is_some() {
        return Ok(None);
    }
    if !is_ours {
        adopt(context.host.client(), &place).await?;
    }
    let live = context.host.get(&key).await?.unwrap_or(live);
    let built = build::mapped_namespace(identity, &attempt.settings, policy, host, (namespace, uid));
    let applied = context.host.apply_over(Some(live), Object::of(built), &place).await?;
    let Applied::Ours { live, .. } = applied else { return Ok(None) };
    attempt.note(&live);
    apply(attempt, &place, vec![build::grant_in(&place, &context.options)]).await?;
    let guards = build::guards_in(&place, &identity.host_namespace, &attempt.settings);
    let unwanted = build::unwanted(build::optional_in(&place), &guards);
    apply(attempt, &place, guards).await?;
    try_join_all(unwanted.iter().map(|key| context.host.remove(key, &place))).await?;
    Ok(Some(Answer::Granted))
}

async fn apply(attempt: &Attempt<'_>, place: &Identity, objects: Vec<Object>) -> Result<(), Stop> {
    let host = &attempt.context.host;
    let applied = try_join_all(objects.into_iter().map(|object| async move {
        let live = host.get(&object.key).await?;
        host.apply_over(live, object, place).await
    }));
    for applied in applied.await? {
        attempt.ours(applied)?;
    }
    Ok(())
}

/// Creates a host namespace with what makes it ours: server-side apply would take over one that exists.
async fn create(attempt: &Attempt<'_>, key: &Key, namespace: &str) -> Result<Option<DynamicObject>, Error> {
    let mut bare = DynamicObject::new(&key.name, &key.resource);
    bare.metadata.labels = Some(attempt.identity.labels());
    bare.metadata.annotations =
        Some(BTreeMap::from([(annotations::OBJECT_NAME.into(), namespace.to_owned())]));
    let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    let api = Api::all_with(attempt.context.host.client().clone(), &key.resource);
    match api.create(&params, &bare).await {
        Ok(live) => Ok(Some(live)),
        Err(error) if has_code(&error, 409) => Ok(None),
        Err(source) => Err(Error::Apply { what: key.describe(), source }),
    }
}

async fn answer(attempt: &Attempt<'_>, answers: &BTreeMap<String, Answer>) -> Result<(), Stop> {
    let identity = &attempt.identity;
    let text = |answer: &Answer| serde_json::to_string(answer).unwrap_or_default();
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(answers_name(&identity.name)),
            namespace: Some(identity.host_namespace.clone()),
            labels: Some(identity.labels()),
            ..ObjectMeta::default()
        },
        data: Some(answers.iter().map(|(namespace, answer)| (namespace.clone(), text(answer))).collect()),
        ..ConfigMap::default()
    };
    let applied = attempt.apply(Object::of(map)).await?;
    attempt.ours(applied).map(drop)
}

fn data(map: &DynamicObject) -> BTreeMap<String, String> {
    map.data.get("data").and_then(|data| serde_json::from_value(data.clone()).ok()).unwrap_or_default()
}
