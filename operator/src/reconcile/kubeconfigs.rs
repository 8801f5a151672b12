//! The kubeconfig Secrets beside the VirtualCluster.

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::DynamicObject;
use vkube_crds::{ExposeType, KubeconfigStatus, SecretKeyRef, annotations};

use super::certificates::{Certificates, pair, record, requested, served};
use super::steps::Attempt;
use super::{Report, Stop, route};
use crate::apply::Applied;
use crate::build::{self, ADMIN, KUBECONFIG_KEY, Key, Kubeconfig, Object};
use crate::conditions::Check;
use crate::error::Error;
use crate::names::sha256_hex;
use crate::pki::{self, Subject};
use crate::reason::Reason;

/// One kubeconfig.
struct Wanted<'a> {
    secret: &'a str,
    /// Its name in `status.certificates`.
    label: &'a str,
    server: String,
    user: &'a str,
    group: Option<&'a str>,
    /// Whether it is the one that Cluster API reads.
    cluster_api: bool,
}

/// Keeps or writes every kubeconfig, and removes those no longer asked for.
pub(super) async fn ensure(
    attempt: &Attempt<'_>,
    certificates: &Certificates,
    report: &mut Report,
) -> Result<(), Stop> {
    let settings = &attempt.settings;
    let server = server(attempt, report);
    let admin = Wanted {
        secret: &settings.kubeconfig_secret,
        label: "admin",
        server: server.clone(),
        user: ADMIN,
        group: Some("system:masters"),
        cluster_api: settings.cluster_api,
    };
    let others = settings.additional.iter().map(|additional| Wanted {
        secret: &additional.name,
        label: &additional.name,
        server: additional.server.clone().unwrap_or_else(|| server.clone()),
        user: &additional.user,
        group: additional.group.as_deref(),
        cluster_api: false,
    });
    let wanted: Vec<_> = std::iter::once(admin).chain(others).collect();
    let written = try_join_all(wanted.iter().map(|wanted| write(attempt, certificates, wanted))).await;
    let written = match written {
        Ok(written) => written,
        Err(Stop::Stalled(reason, message)) => {
            report.checks.kubeconfig = Check::Failed(reason, message.clone());
            return Err(Stop::Stalled(reason, message));
        }
        Err(stop) => return Err(stop),
    };
    for (wanted, end) in wanted.iter().zip(&written) {
        record(report, wanted.label, *end, Some(certificates.life), certificates.life);
    }
    prune(attempt, &wanted).await?;
    report.kubeconfig = Some(KubeconfigStatus {
        secret_ref: SecretKeyRef { name: settings.kubeconfig_secret.clone(), key: KUBECONFIG_KEY.into() },
        ca_hash: sha256_hex(certificates.authority.pair.certificate.as_bytes()),
        not_after: written.first().copied().flatten().map(Time),
    });
    report.checks.kubeconfig =
        Check::applied(&format!("Secret {} holds the kubeconfig", settings.kubeconfig_secret));
    Ok(())
}

/// Whether clients outside reach the cluster; what is wanting comes by itself.
pub(super) fn reachable(attempt: &Attempt<'_>, report: &Report) -> Result<(), Stop> {
    let settings = &attempt.settings;
    match &report.checks.endpoint {
        Check::Failed(Reason::EndpointPending, message)
            if settings.expose.type_ == ExposeType::LoadBalancer =>
        {
            Err(Stop::Waiting(message.clone()))
        }
        Check::Failed(_, message) => Err(Stop::WaitFor(route::POLL, message.clone())),
        _ => Ok(()),
    }
}

/// The URL that clients are told: the one asked for, else the one outside, else the one on the host's network.
fn server(attempt: &Attempt<'_>, report: &Report) -> String {
    let endpoints = report.endpoints.clone().unwrap_or_default();
    let known = attempt.settings.server.clone().or(endpoints.external_url).or(endpoints.internal_url);
    known.unwrap_or_default()
}

/// Keeps or writes one; returns when its certificate ends.
async fn write(
    attempt: &Attempt<'_>,
    certificates: &Certificates,
    wanted: &Wanted<'_>,
) -> Result<Option<jiff::Timestamp>, Stop> {
    let (host, identity) = (&attempt.context.host, &attempt.identity);
    let key = Key::new::<Secret>(Some(&identity.namespace), wanted.secret);
    let live = host.get(&key).await?;
    if live.as_ref().is_some_and(|live| !identity.owns(live.metadata.labels.as_ref())) {
        // Nothing of a Secret that is not ours is read, let alone written.
        return attempt.ours(Applied::Foreign(key)).map(|_| None);
    }
    let rotate = requested(attempt, annotations::ROTATE, live.as_ref());
    let kept = live.as_ref().and_then(|live| pair(live, "client-certificate", "client-key"));
    let subject =
        Subject::Client { user: wanted.user.to_owned(), group: wanted.group.map(ToOwned::to_owned) };
    let (client, issued) =
        pki::leaf(kept.filter(|_| !rotate), &subject, &certificates.authority, certificates.life)
            .map_err(Error::from)?;
    if live.is_some() && issued {
        attempt.context.metrics.rotated();
    }
    let rotation = served(attempt, annotations::ROTATE, live.as_ref());
    let said = Kubeconfig {
        name: wanted.secret,
        server: &wanted.server,
        user: wanted.user,
        rotation: rotation.as_deref(),
        cluster_api: wanted.cluster_api,
    };
    let secret = build::kubeconfig_secret(identity, &said, &certificates.authority, &client);
    let type_ = build::kubeconfig_type(wanted.cluster_api);
    let is_of_type = |live: &DynamicObject| live.data.get("type").is_none_or(|found| found == type_);
    let live = match live {
        // The type cannot be changed, and what is in it has been read.
        Some(other) if !is_of_type(&other) => {
            host.delete(&key, other.uid()).await?;
            None
        }
        same => same,
    };
    let applied = host.apply_over(live, Object::of(secret), identity).await?;
    attempt.ours(applied)?;
    Ok(pki::not_after(&client.certificate))
}

/// Removes our Secrets that are no longer asked for.
async fn prune(attempt: &Attempt<'_>, wanted: &[Wanted<'_>]) -> Result<(), Stop> {
    let (host, identity) = (&attempt.context.host, &attempt.identity);
    let any = Key::new::<Secret>(Some(&identity.namespace), "");
    for live in host.list(&any, &identity.uid_selector()).await? {
        let name = live.name_any();
        // Argo CD may live beside the cluster.
        let exported =
            attempt.settings.argocd.as_ref().is_some_and(|argocd| {
                argocd.namespace == identity.namespace && identity.export_name() == name
            });
        if !exported && wanted.iter().all(|wanted| wanted.secret != name) {
            host.delete(&Key { name, ..any.clone() }, live.uid()).await?;
        }
    }
    Ok(())
}
