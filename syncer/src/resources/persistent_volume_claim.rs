//! PersistentVolumeClaims: the host provisions, the virtual cluster sees the claim bound.
//!
//! | field                                           | owner                                       |
//! |-------------------------------------------------|---------------------------------------------|
//! | labels, annotations, spec (requests may grow)   | virtual                                     |
//! | `spec.volumeName`, binding annotations          | host                                        |
//! | `spec.storageClassName`                         | host where the virtual one is unset         |
//! | status                                          | host                                        |
//!
//! The volume itself is cluster-scoped on the host and may tell of other tenants, so the virtual cluster gets a
//! PersistentVolume made from what the claim says. A bound claim whose host claim vanished has lost its data; it
//! is reported `Lost` and not provisioned again in silence.

use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, ObjectReference, PersistentVolume, PersistentVolumeClaim,
    PersistentVolumeClaimSpec, PersistentVolumeClaimStatus, PersistentVolumeSpec, PersistentVolumeStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};

use super::mirror::{applied, refuse_foreign, stamp};
use super::tune::tuned;
use crate::context::{Context, Kind, Task};
use crate::error::{Error, Result, is_conflict, is_not_found};
use crate::labels::{ObjectKey, Translator, virtual_uid};
use crate::queue::Outcome;
use crate::rules::Direction;
use crate::rules::catalogue::{PERSISTENT_VOLUMES, STORAGE_CLASSES as CLASSES};
use crate::sanitise::Sanitiser;

/// Virtual annotation of a volume made here: the claim it belongs to.
pub(crate) const CLAIM: &str = "vkube.dev/claim";

/// The driver that volumes made here name; nothing in the virtual cluster acts on it.
const DRIVER: &str = "host.vkube.dev";

/// Annotations by which the host's controllers track binding.
const HOST_ANNOTATIONS: [&str; 3] =
    ["pv.kubernetes.io/", "volume.kubernetes.io/", "volume.beta.kubernetes.io/"];

/// Brings one claim in step.
pub(crate) async fn reconcile(cx: &Context, key: &ObjectKey) -> Result<Outcome> {
    let task = Task { kind: Kind::PersistentVolumeClaim, key: key.clone() };
    let live = cx.host_side.claims.get(&cx.host_key(key));
    let Some(claim) = cx.virtual_object::<PersistentVolumeClaim>(key).await? else {
        cx.unsettle(&task);
        if let Some(live) = live.filter(|live| live.metadata.deletion_timestamp.is_none()) {
            cx.delete_host::<PersistentVolumeClaim>(&live.metadata, None).await?;
        }
        return remove_volumes(cx, key).await;
    };

    let Some(live) = live else {
        if was_bound(&claim) && !exists(cx, key).await? {
            return lose(cx, key, claim).await;
        }
        if let Some(class) = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref())
            && !class.is_empty()
            && !cx.offers(CLASSES, class)?
        {
            return Err(Error::Unsupported(format!("the host offers no storage class {class:?}")));
        }
        refuse_foreign::<PersistentVolumeClaim>(cx, Kind::PersistentVolumeClaim, key).await?;
        let desired = to_host(&cx.translator, &claim, brought_volume(cx, &claim)?);
        let mut desired = tuned(cx, Kind::PersistentVolumeClaim, &claim, desired)?;
        stamp(&mut desired);
        let written = cx.apply(&desired).await?;
        cx.settle(task, written.metadata.resource_version);
        return Ok(Outcome::Done);
    };
    if live.metadata.deletion_timestamp.is_some() {
        return Ok(Outcome::Done);
    }
    if virtual_uid(&live.metadata) != claim.metadata.uid.as_deref() {
        cx.delete_host::<PersistentVolumeClaim>(&live.metadata, None).await?;
        return Ok(Outcome::Done);
    }

    let own = volume_name(&claim).map(|name| cx.translator.host_name(&ObjectKey::new("", name)));
    let own = own.filter(|own| volume_name(&live) == Some(own.as_str()));
    let desired = to_host(&cx.translator, &claim, own);
    let mut desired = tuned(cx, Kind::PersistentVolumeClaim, &claim, desired)?;
    let stamp = stamp(&mut desired);
    // The host's controllers write claims all the time, so versions say nothing here; digests do.
    let updated = if applied(&live.metadata) == Some(stamp.as_str()) {
        Ok(())
    } else {
        cx.apply(&desired).await.map(drop)
    };
    report(cx, key, claim, &live).await?;
    updated?;
    Ok(Outcome::Done)
}

/// The host claim of a virtual one.
fn to_host(
    translator: &Translator,
    claim: &PersistentVolumeClaim,
    volume: Option<String>,
) -> PersistentVolumeClaim {
    let namespace = claim.metadata.namespace.as_deref().unwrap_or_default();
    let mut metadata = translator.metadata("PersistentVolumeClaim", &claim.metadata);
    metadata.annotations.get_or_insert_default().retain(|key, _| !is_hosts(key));

    let mut spec = claim.spec.clone().unwrap_or_default();
    let global = |name: String| translator.host_name(&ObjectKey::new("", name));
    // Which volume it is, the host decides, unless the tenant has brought it.
    spec.volume_name = volume;
    if translator.config.rules.has(Direction::ToHost, CLASSES) {
        spec.storage_class_name =
            spec.storage_class_name.map(|class| if class.is_empty() { class } else { global(class) });
    }
    if let Some(source) = spec.data_source.as_mut().filter(|source| source.kind == "PersistentVolumeClaim") {
        source.name = translator.names.host(namespace, &source.name);
    }
    if let Some(source) = &mut spec.data_source_ref {
        let from = source.namespace.take();
        if source.kind == "PersistentVolumeClaim" {
            let of = from.as_deref().unwrap_or(namespace);
            source.name = translator.names.host(of, &source.name);
            let place = translator.host_namespace(of);
            source.namespace = (place != translator.host_namespace(namespace)).then_some(place);
        }
    }
    PersistentVolumeClaim { metadata, spec: Some(spec), status: None }
}

fn is_hosts(annotation: &str) -> bool {
    HOST_ANNOTATIONS.iter().any(|prefix| annotation.starts_with(prefix))
}

fn volume_name(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref()?.volume_name.as_deref().filter(|name| !name.is_empty())
}

fn was_bound(claim: &PersistentVolumeClaim) -> bool {
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    volume_name(claim).is_some() && matches!(phase, Some("Bound" | "Lost"))
}

async fn exists(cx: &Context, key: &ObjectKey) -> Result<bool> {
    let api = cx.host_api::<PersistentVolumeClaim>(&key.namespace);
    Ok(api.get_opt(&cx.host_key(key).name).await.map_err(Error::Host)?.is_some())
}

async fn lose(cx: &Context, key: &ObjectKey, mut claim: PersistentVolumeClaim) -> Result<Outcome> {
    let status = claim.status.get_or_insert_default();
    if status.phase.as_deref() != Some("Lost") {
        status.phase = Some("Lost".into());
        write_status(cx, key, &claim).await?;
    }
    Ok(Outcome::Done)
}

async fn report(
    cx: &Context,
    key: &ObjectKey,
    mut claim: PersistentVolumeClaim,
    host: &PersistentVolumeClaim,
) -> Result<()> {
    let volume = volume_name(host).map(|name| own_volume(cx, name).unwrap_or_else(|| name.to_owned()));
    if let Some(changed) = adopt(&claim, host, volume) {
        let api = cx.virtual_api::<PersistentVolumeClaim>(&key.namespace);
        claim = match api.replace(&key.name, &Context::post_params(), &changed).await {
            Ok(written) => written,
            Err(error) if is_conflict(&error) || is_not_found(&error) => return Ok(()),
            Err(error) => return Err(Error::Virtual(error)),
        };
    }
    let status = status(&cx.translator, &claim, host);
    if claim.status.as_ref() != Some(&status) {
        claim.status = Some(status);
        write_status(cx, key, &claim).await?;
    }
    // Before that its size is only a wish.
    let is_bound = claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    if is_bound {
        ensure_volume(cx, key, &claim).await?;
    }
    Ok(())
}

/// The virtual claim with what the host decided, if that is news.
fn adopt(
    claim: &PersistentVolumeClaim,
    host: &PersistentVolumeClaim,
    volume: Option<String>,
) -> Option<PersistentVolumeClaim> {
    let mut changed = claim.clone();
    let annotations = changed.metadata.annotations.get_or_insert_default();
    for (key, value) in host.metadata.annotations.iter().flatten().filter(|(key, _)| is_hosts(key)) {
        annotations.insert(key.clone(), value.clone());
    }
    let spec = changed.spec.get_or_insert_default();
    let given = host.spec.clone().unwrap_or_default();
    if spec.volume_name.as_deref().unwrap_or_default().is_empty() {
        spec.volume_name = volume;
    }
    if spec.storage_class_name.is_none() {
        spec.storage_class_name = given.storage_class_name;
    }
    let annotations = |claim: &PersistentVolumeClaim| claim.annotations().clone();
    (annotations(&changed) != annotations(claim) || changed.spec != claim.spec).then_some(changed)
}

fn status(
    translator: &Translator,
    claim: &PersistentVolumeClaim,
    host: &PersistentVolumeClaim,
) -> PersistentVolumeClaimStatus {
    let key = ObjectKey::of(&claim.metadata);
    let sanitiser = Sanitiser::new(translator, &key.namespace).knows(&key.name);
    let mut status = host.status.clone().unwrap_or_default();
    for condition in status.conditions.iter_mut().flatten() {
        condition.message = condition.message.take().map(|message| sanitiser.clean(&message));
    }
    status
}

async fn write_status(cx: &Context, key: &ObjectKey, claim: &PersistentVolumeClaim) -> Result<()> {
    let api = cx.virtual_api::<PersistentVolumeClaim>(&key.namespace);
    match api.replace_status(&key.name, &Context::post_params(), claim).await {
        Err(error) if !is_conflict(&error) && !is_not_found(&error) => Err(Error::Virtual(error)),
        _ => Ok(()),
    }
}

async fn ensure_volume(cx: &Context, key: &ObjectKey, claim: &PersistentVolumeClaim) -> Result<()> {
    let Some(name) = volume_name(claim) else { return Ok(()) };
    let api: Api<PersistentVolume> = Api::all(cx.virtual_client.clone());
    if let Some(known) = cx.virtual_side.persistent_volumes.get(&ObjectKey::new("", name)) {
        let is_made = known.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(CLAIM));
        return if is_made { Ok(()) } else { bind(&api, key, name, claim).await };
    }
    let volume = volume(key, name, claim);
    let created = match api.create(&Context::post_params(), &volume).await {
        Ok(created) => created,
        Err(error) if is_conflict(&error) => return Ok(()),
        Err(error) => return Err(Error::Virtual(error)),
    };
    let bound = PersistentVolume { status: volume.status, ..created };
    match api.replace_status(name, &Context::post_params(), &bound).await {
        Err(error) if !is_conflict(&error) && !is_not_found(&error) => Err(Error::Virtual(error)),
        _ => Ok(()),
    }
}

/// Says on a volume of the tenant's own that the claim has it, as the binder would: the host's has done so there.
async fn bind(
    api: &Api<PersistentVolume>,
    key: &ObjectKey,
    name: &str,
    claim: &PersistentVolumeClaim,
) -> Result<()> {
    let Some(mut volume) = api.get_opt(name).await.map_err(Error::Virtual)? else { return Ok(()) };
    let wanted = claim_reference(key, claim);
    let spec = volume.spec.get_or_insert_default();
    if spec.claim_ref.as_ref().is_some_and(|bound| bound.uid == wanted.uid) {
        return Ok(());
    }
    spec.claim_ref = Some(wanted);
    match api.replace(name, &Context::post_params(), &volume).await {
        Err(error) if !is_conflict(&error) && !is_not_found(&error) => Err(Error::Virtual(error)),
        _ => Ok(()),
    }
}

fn claim_reference(key: &ObjectKey, claim: &PersistentVolumeClaim) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("PersistentVolumeClaim".into()),
        name: Some(key.name.clone()),
        namespace: Some(key.namespace.clone()),
        uid: claim.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// The name on the host of the volume that a claim names and the tenant has brought.
fn brought_volume(cx: &Context, claim: &PersistentVolumeClaim) -> Result<Option<String>> {
    let goes = cx.translator.config.rules.has(Direction::ToHost, PERSISTENT_VOLUMES);
    let Some(name) = volume_name(claim).filter(|_| goes) else { return Ok(None) };
    let key = ObjectKey::new("", name);
    let volume = cx
        .virtual_side
        .persistent_volumes
        .get(&key)
        .ok_or(Error::Waiting("the volume that a claim names"))?;
    let is_made = volume.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(CLAIM));
    Ok((!is_made).then(|| cx.translator.host_name(&key)))
}

/// The tenant's own volume that a volume of the host was made for.
fn own_volume(cx: &Context, host: &str) -> Option<String> {
    let mut rules = cx.rules.iter();
    let rule = rules.find(|general| {
        general.rule.direction == Direction::ToHost && general.rule.resource == PERSISTENT_VOLUMES
    })?;
    let volume = rule.host(&ObjectKey::new("", host))?;
    Some(cx.translator.origin("PersistentVolume", &volume.metadata)?.name)
}

/// The volume behind a bound claim, as far as the tenant is concerned.
fn volume(key: &ObjectKey, name: &str, claim: &PersistentVolumeClaim) -> PersistentVolume {
    let spec: PersistentVolumeClaimSpec = claim.spec.clone().unwrap_or_default();
    let status = claim.status.clone().unwrap_or_default();
    let requested = spec.resources.and_then(|resources| resources.requests);
    PersistentVolume {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            annotations: Some([(CLAIM.to_owned(), key.to_string())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            access_modes: status.access_modes.or(spec.access_modes),
            capacity: status.capacity.or(requested),
            claim_ref: Some(claim_reference(key, claim)),
            csi: Some(CSIPersistentVolumeSource {
                driver: DRIVER.into(),
                volume_handle: name.to_owned(),
                ..CSIPersistentVolumeSource::default()
            }),
            persistent_volume_reclaim_policy: Some("Delete".into()),
            storage_class_name: spec.storage_class_name,
            volume_mode: spec.volume_mode,
            ..PersistentVolumeSpec::default()
        }),
        status: Some(PersistentVolumeStatus {
            phase: Some("Bound".into()),
            ..PersistentVolumeStatus::default()
        }),
    }
}

/// Removes the volumes that were made for a claim that is gone.
async fn remove_volumes(cx: &Context, key: &ObjectKey) -> Result<Outcome> {
    let claim = key.to_string();
    let api: Api<PersistentVolume> = Api::all(cx.virtual_client.clone());
    for volume in cx.virtual_side.persistent_volumes.all() {
        if volume.annotations().get(CLAIM) != Some(&claim) {
            continue;
        }
        match api.delete(&volume.name_any(), &DeleteParams::default()).await {
            Err(error) if !is_not_found(&error) => return Err(Error::Virtual(error)),
            _ => {}
        }
    }
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn claim(yaml: &str) -> PersistentVolumeClaim {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn bound() -> PersistentVolumeClaim {
        claim(
            "{metadata: {name: x, annotations: {pv.kubernetes.io/bind-completed: 'yes', note: host}}, \
             spec: {volumeName: pvc-1, storageClassName: fast}, \
             status: {phase: Bound, capacity: {storage: 2Gi}, accessModes: [ReadWriteOnce]}}",
        )
    }

    #[test]
    fn the_volume_and_binding_are_the_hosts() {
        let open = claim(
            "{metadata: {name: data, namespace: shop, annotations: {volume.kubernetes.io/selected-node: n}}, \
             spec: {volumeName: mine, resources: {requests: {storage: 1Gi}}}}",
        );
        let host = to_host(&Translator::new(Config::new("demo", "tenant")), &open, None);
        assert_eq!(volume_name(&host), None);
        assert!(!host.annotations().contains_key("volume.kubernetes.io/selected-node"));
    }

    #[test]
    fn what_the_host_decided_comes_back() {
        let open = claim("{metadata: {name: data, namespace: shop}, spec: {accessModes: [ReadWriteOnce]}}");
        let volume = || Some("pvc-1".to_owned());
        let changed = adopt(&open, &bound(), volume()).unwrap();
        assert_eq!(volume_name(&changed), Some("pvc-1"));
        assert_eq!(changed.spec.as_ref().unwrap().storage_class_name.as_deref(), Some("fast"));
        assert_eq!(changed.annotations().len(), 1, "the host's own notes stay there");
        assert_eq!(adopt(&changed, &bound(), volume()), None);
    }

    #[test]
    fn cloned_claims_are_renamed() {
        let clone = claim(
            "{metadata: {name: b, namespace: shop}, spec: {dataSource: {kind: PersistentVolumeClaim, name: a}, \
             dataSourceRef: {kind: PersistentVolumeClaim, name: a}}}",
        );
        let spec = to_host(&Translator::new(Config::new("demo", "tenant")), &clone, None).spec.unwrap();
        assert_eq!(spec.data_source.unwrap().name, "a-x-shop-x-demo");
        assert_eq!(spec.data_source_ref.unwrap().name, "a-x-shop-x-demo");
    }

    #[test]
    fn the_virtual_volume_belongs_to_its_claim() {
        let mut bound = bound();
        bound.metadata.uid = Some("u".into());
        let volume = volume(&ObjectKey::new("shop", "data"), "pvc-1", &bound);
        let spec = volume.spec.unwrap();
        assert_eq!(spec.claim_ref.unwrap().uid.as_deref(), Some("u"));
        assert_eq!(spec.capacity.unwrap()["storage"].0, "2Gi");
    }
}
