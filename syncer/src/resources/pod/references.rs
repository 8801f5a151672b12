//! Every place of a pod that names another object of its namespace.
//!
//! One visitor serves both uses, so they cannot differ: renaming the references for the host, and finding which
//! ConfigMaps and Secrets have to be on the host at all.

use k8s_openapi::api::core::v1::{
    Container, EnvFromSource, EnvVar, LocalObjectReference, PodSpec, Volume, VolumeProjection,
};

use crate::labels::Translator;

/// The kind of object a reference names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Referent {
    ConfigMap,
    Secret,
    PersistentVolumeClaim,
    Endpoints,
    ResourceClaim,
}

/// A callback that sees, and may replace, each name.
type Visit<'a> = &'a mut dyn FnMut(Referent, &mut String);

/// Renames all references of a pod in `namespace` to their host names.
pub(crate) fn rename(translator: &Translator, namespace: &str, spec: &mut PodSpec) {
    visit(spec, &mut |_, name| {
        if !name.is_empty() {
            *name = translator.names.host(namespace, name);
        }
    });
}

/// Renames the references of one container.
pub(crate) fn rename_container(translator: &Translator, namespace: &str, container: &mut Container) {
    visit_container(container, &mut |_, name| {
        if !name.is_empty() {
            *name = translator.names.host(namespace, name);
        }
    });
}

/// The names a pod refers to, sorted, each once.
pub(crate) fn collect(spec: &PodSpec) -> Vec<(Referent, String)> {
    let mut found = Vec::new();
    visit(&mut spec.clone(), &mut |referent, name| {
        if !name.is_empty() {
            found.push((referent, name.clone()));
        }
    });
    found.sort();
    found.dedup();
    found
}

fn visit(spec: &mut PodSpec, f: Visit) {
    let containers = spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten());
    for container in containers {
        visit_container(container, f);
    }
    for container in spec.ephemeral_containers.iter_mut().flatten() {
        visit_environment(container.env.as_mut(), container.env_from.as_mut(), f);
    }
    for secret in spec.image_pull_secrets.iter_mut().flatten() {
        f(Referent::Secret, &mut secret.name);
    }
    for volume in spec.volumes.iter_mut().flatten() {
        visit_volume(volume, f);
    }
    for claim in spec.resource_claims.iter_mut().flatten() {
        let names = claim.resource_claim_name.iter_mut().chain(&mut claim.resource_claim_template_name);
        names.for_each(|name| f(Referent::ResourceClaim, name));
    }
}

fn visit_container(container: &mut Container, f: Visit) {
    visit_environment(container.env.as_mut(), container.env_from.as_mut(), f);
}

fn visit_environment(env: Option<&mut Vec<EnvVar>>, env_from: Option<&mut Vec<EnvFromSource>>, f: Visit) {
    for source in env.into_iter().flatten().filter_map(|var| var.value_from.as_mut()) {
        if let Some(key) = &mut source.config_map_key_ref {
            f(Referent::ConfigMap, &mut key.name);
        }
        if let Some(key) = &mut source.secret_key_ref {
            f(Referent::Secret, &mut key.name);
        }
    }
    for source in env_from.into_iter().flatten() {
        if let Some(map) = &mut source.config_map_ref {
            f(Referent::ConfigMap, &mut map.name);
        }
        if let Some(secret) = &mut source.secret_ref {
            f(Referent::Secret, &mut secret.name);
        }
    }
}

fn visit_volume(volume: &mut Volume, f: Visit) {
    if let Some(source) = &mut volume.config_map {
        f(Referent::ConfigMap, &mut source.name);
    }
    if let Some(name) = volume.secret.as_mut().and_then(|source| source.secret_name.as_mut()) {
        f(Referent::Secret, name);
    }
    if let Some(source) = &mut volume.persistent_volume_claim {
        f(Referent::PersistentVolumeClaim, &mut source.claim_name);
    }
    if let Some(source) = &mut volume.glusterfs {
        f(Referent::Endpoints, &mut source.endpoints);
    }
    if let Some(source) = &mut volume.azure_file {
        f(Referent::Secret, &mut source.secret_name);
    }
    for secret in driver_secrets(volume) {
        f(Referent::Secret, &mut secret.name);
    }
    let projections = volume.projected.iter_mut().flat_map(|source| source.sources.iter_mut().flatten());
    for projection in projections {
        visit_projection(projection, f);
    }
}

fn visit_projection(projection: &mut VolumeProjection, f: Visit) {
    if let Some(source) = &mut projection.config_map {
        f(Referent::ConfigMap, &mut source.name);
    }
    if let Some(source) = &mut projection.secret {
        f(Referent::Secret, &mut source.name);
    }
}

/// The secret references of volume drivers.
fn driver_secrets(volume: &mut Volume) -> impl Iterator<Item = &mut LocalObjectReference> {
    [
        volume.csi.as_mut().and_then(|source| source.node_publish_secret_ref.as_mut()),
        volume.iscsi.as_mut().and_then(|source| source.secret_ref.as_mut()),
        volume.rbd.as_mut().and_then(|source| source.secret_ref.as_mut()),
        volume.flex_volume.as_mut().and_then(|source| source.secret_ref.as_mut()),
        volume.cinder.as_mut().and_then(|source| source.secret_ref.as_mut()),
        volume.cephfs.as_mut().and_then(|source| source.secret_ref.as_mut()),
        volume.storageos.as_mut().and_then(|source| source.secret_ref.as_mut()),
        volume.scale_io.as_mut().map(|source| &mut source.secret_ref),
    ]
    .into_iter()
    .flatten()
}
