//! The host objects of a virtual cluster. Pure: data in, data out, nothing can fail.
//!
//! They come in stages. Objects of a stage do not depend on each other and are applied at once; a stage begins when the
//! one before it is done:
//!
//! 1. the host [`namespace`], which says whose everything in it is;
//! 2. [`grants`], without which the operator may write nothing else there;
//! 3. [`guards`]: quota, limits, network policies, the control plane's identity, and its Services, whose addresses the
//!    serving certificate names;
//! 4. the Secret with the certificates ([`pki_secret`]) and the volume, then the [`stateful_set`];
//! 5. the kubeconfig Secrets ([`kubeconfig_secret`]), once the API server answers.

mod argocd;
mod control_plane;
mod database;
mod doorbell;
mod identity;
mod monitor;
mod namespace;
mod network;
mod object;
mod quota;
mod routes;
mod secrets;
mod service;
#[cfg(test)]
mod tests;
mod tuning;

pub use argocd::argocd_secret;
pub use control_plane::{API_PORT, DATA_VOLUME, DNS_PORT, Data, Hashes, MALLOC, stateful_set, volume_claim};
pub use database::{database_secret, secret_hash};
pub use doorbell::{DOORBELL, doorbell, doorbells};
pub use monitor::{
    METRICS_GROUP, METRICS_USER, MONITORING_GROUP, SERVICE_MONITORS, metrics_key, metrics_secret,
    metrics_service, metrics_service_key, service_monitor, service_monitor_key,
};
pub use namespace::{mapped_namespace, namespace};
pub use object::{Key, Object};
pub use quota::WORKLOAD_QUOTAS;
pub use routes::{GATEWAY_GROUP, TLS_ROUTE, tls_route, tls_route_key};
pub use secrets::{ADMIN, KUBECONFIG_KEY, Kubeconfig, kubeconfig_secret, kubeconfig_type, pki_secret};
pub use tuning::{files_key, files_secret};

use crate::names::Identity;
use crate::options::Options;
use crate::settings::{Argocd, Settings};

/// What lets the operator work in the namespaces of the cluster.
pub fn grants(identity: &Identity, options: &Options) -> Vec<Object> {
    vec![Object::of(identity::operator_in_host_namespace(identity, options)), grant_beside(identity, options)]
}

/// What lets the operator work in the VirtualCluster's namespace.
pub fn grant_beside(identity: &Identity, options: &Options) -> Object {
    Object::of(identity::operator_beside_cluster(identity, options))
}

/// What lets the operator work in a further host namespace of the cluster.
pub fn grant_in(place: &Identity, options: &Options) -> Object {
    Object::of(identity::operator_in_host_namespace(place, options))
}

/// What has to be in a further host namespace `place` of the cluster before the first pod.
pub fn guards_in(place: &Identity, home: &str, settings: &Settings) -> Vec<Object> {
    let mut objects: Vec<Object> = bounds(place, settings);
    objects.extend([identity::role_binding(place), identity::sync_binding(place)].map(|mut binding| {
        for subject in binding.subjects.iter_mut().flatten() {
            subject.namespace = Some(home.to_owned());
        }
        Object::of(binding)
    }));
    objects
}

/// Objects that [`guards_in`] builds only under some settings, and that go when it no longer does.
pub fn optional_in(place: &Identity) -> Vec<Key> {
    quota::keys(place).into_iter().chain(network::keys(place)).collect()
}

/// Those of the `optional` that were not built, and so have to go.
pub fn unwanted(optional: Vec<Key>, built: &[Object]) -> Vec<Key> {
    optional.into_iter().filter(|key| built.iter().all(|object| object.key != *key)).collect()
}

/// What keeps the workloads of a namespace within bounds.
fn bounds(identity: &Identity, settings: &Settings) -> Vec<Object> {
    let mut objects: Vec<Object> = quota::quotas(identity, settings).into_iter().map(Object::of).collect();
    objects.extend(quota::limits(identity, settings).map(Object::of));
    objects.extend(network::policies(identity, settings).into_iter().map(Object::of));
    objects
}

/// What lets the operator write a cluster's Secret beside Argo CD.
pub fn operator_beside_argocd(identity: &Identity, options: &Options, wanted: &Argocd) -> Object {
    Object::of(identity::operator_beside_argocd(identity, options, &wanted.namespace))
}

/// Everything that has to be there before the first pod.
pub fn guards(identity: &Identity, settings: &Settings) -> Vec<Object> {
    let mut objects = vec![
        Object::of(identity::account(identity)),
        Object::of(identity::role_binding(identity)),
        Object::of(identity::cluster_binding(identity)),
        // Also without rules: what a rule that was taken back left behind has to be removed.
        Object::of(identity::sync_binding(identity)),
        Object::of(service::internal(identity)),
    ];
    if settings.sync.has_rules() {
        objects.push(Object::of(identity::cluster_sync_binding(identity)));
    }
    objects.extend(service::external(identity, settings).map(Object::of));
    objects.extend(routes::ingress(identity, settings).map(Object::of));
    objects.extend(database::disruption_budget(identity, settings).map(Object::of));
    objects.extend(bounds(identity, settings));
    objects
}

/// Objects that [`guards`] builds only under some settings, and that go when it no longer does.
pub fn optional(identity: &Identity) -> Vec<Key> {
    let mut keys = vec![
        service::external_key(identity),
        routes::ingress_key(identity),
        identity::cluster_sync_key(identity),
        database::disruption_budget_key(identity),
    ];
    keys.extend(quota::keys(identity));
    keys.extend(network::keys(identity));
    keys
}
