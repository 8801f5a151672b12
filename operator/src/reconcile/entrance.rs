//! The operator's way into virtual clusters: its own access to their API servers, through their Services.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::api::DynamicObject;
use kube::{Api, ResourceExt};
use vkube_crds::VirtualCluster;

use super::certificates::{self, Certificates};
use super::steps::{Attempt, Services};
use crate::build::Key;
use crate::error::{Error, chain};
use crate::inside::{self, Inside};
use crate::names::Identity;
use crate::observe;
use crate::pki::Authority;

/// Into this cluster.
pub(super) fn own(
    attempt: &Attempt<'_>,
    services: &Services,
    certificates: &Certificates,
) -> Result<Inside, inside::Error> {
    into(attempt, services.internal.as_ref(), &attempt.identity, &certificates.authority)
}

/// Into another cluster of the namespace.
pub(super) async fn other(attempt: &Attempt<'_>, name: &str) -> Result<Inside, String> {
    let host = &attempt.context.host;
    let namespace = &attempt.identity.namespace;
    let clusters: Api<VirtualCluster> = Api::namespaced(host.client().clone(), namespace);
    let found = clusters.get_opt(name).await.map_err(|error| error.to_string())?;
    let found = found.ok_or_else(|| format!("there is no VirtualCluster {name}"))?;
    let identity = Identity::of(&found);
    let service = Key::new::<Service>(Some(&identity.host_namespace), &identity.name);
    let secret = Key::new::<Secret>(Some(&identity.host_namespace), &identity.pki_secret());
    let read = |error: Error| error.chain();
    let (service, secret) = tokio::try_join!(host.get(&service), host.get(&secret)).map_err(read)?;
    // Whoever names a cluster must mean one that is the operator's, not what somebody put in its place.
    let is_its_own = |live: &DynamicObject| identity.owns(Some(live.labels()));
    let pair = secret.filter(is_its_own).and_then(|live| certificates::pair(&live, "ca.crt", "ca.key"));
    let pair = pair.ok_or_else(|| format!("VirtualCluster {name} has no certificates yet"))?;
    let authority = Authority { pair, not_after: Timestamp::MAX };
    into(attempt, service.filter(is_its_own).as_ref(), &identity, &authority).map_err(|error| chain(&error))
}

fn into(
    attempt: &Attempt<'_>,
    service: Option<&DynamicObject>,
    identity: &Identity,
    authority: &Authority,
) -> Result<Inside, inside::Error> {
    if let Some(inwards) = &attempt.context.options.inwards {
        return Ok(Inside::with((inwards.0)(&identity.service_host())));
    }
    let address = service.and_then(|live| observe::cluster_ips(live).into_iter().next());
    Inside::new(&address.unwrap_or_default(), &identity.service_host(), authority)
}
