//! The cluster Secret by which Argo CD knows the cluster.
//!
//! It is in Argo CD's namespace, which no cluster owns. There the operator has no rights but those that it binds to
//! itself while a cluster is exported, by a RoleBinding that carries the cluster's UID; so what has to be removed is found
//! by these bindings, and nothing has to be remembered.

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::ResourceExt;
use kube::api::DynamicObject;
use vkube_crds::{SecretRef, annotations};

use super::certificates::{Certificates, record, requested, served};
use super::steps::Attempt;
use super::{Report, Stop};
use crate::apply::Applied;
use crate::build::{self, Key, Object};
use crate::conditions::Check;
use crate::context::Context;
use crate::error::Error;
use crate::names::{EXPORT_ROLE, Identity};
use crate::pki::{self, Pair, Subject};

/// Name of the certificate in `status.certificates`.
const LABEL: &str = "argocd";

/// Writes the Secret if it is asked for, and removes it from wherever it is not.
pub(super) async fn ensure(
    attempt: &Attempt<'_>,
    certificates: &Certificates,
    report: &mut Report,
) -> Result<(), Stop> {
    let (context, identity) = (attempt.context, &attempt.identity);
    let wanted = attempt.settings.argocd.as_ref();
    if wanted.is_some() || report.argocd_secret.is_some() {
        withdraw(context, identity, wanted.map(|wanted| wanted.namespace.as_str())).await?;
    }
    report.argocd_secret = None;
    let Some(wanted) = wanted else { return Ok(()) };
    if wanted.namespace != identity.namespace {
        attempt.apply_all(vec![build::operator_beside_argocd(identity, &context.options, wanted)]).await?;
        context.secrets.hold(&wanted.namespace, &identity.uid);
    }

    let key = Key::new::<Secret>(Some(&wanted.namespace), &identity.export_name());
    let live = context.host.get(&key).await?;
    if live.as_ref().is_some_and(|live| !identity.owns(live.metadata.labels.as_ref())) {
        return attempt.ours(Applied::Foreign(key)).map(drop);
    }
    let rotate = requested(attempt, annotations::ROTATE, live.as_ref());
    let kept = live.as_ref().and_then(pair).filter(|_| !rotate);
    let subject = Subject::Client { user: wanted.user.clone(), group: Some(wanted.group.clone()) };
    let (client, issued) =
        pki::leaf(kept, &subject, &certificates.authority, certificates.life).map_err(Error::from)?;
    if live.is_some() && issued {
        context.metrics.rotated();
    }
    let endpoints = report.endpoints.clone().unwrap_or_default();
    let server = wanted.asked.server.clone().or(endpoints.internal_url).unwrap_or_default();
    let rotation = served(attempt, annotations::ROTATE, live.as_ref());
    let secret = build::argocd_secret(
        identity,
        wanted,
        &server,
        &certificates.authority,
        &client,
        rotation.as_deref(),
    );
    let applied = context.host.apply_over(live, Object::of(secret), identity).await?;
    attempt.ours(applied)?;
    record(report, LABEL, pki::not_after(&client.certificate), Some(certificates.life), certificates.life);
    report.argocd_secret = Some(SecretRef { namespace: key.namespace.unwrap_or_default(), name: key.name });
    report.checks.argocd = Check::applied("Argo CD knows the cluster");
    Ok(())
}

/// Removes the Secret, and the operator's rights beside it, from every namespace but one.
pub async fn withdraw(context: &Context, identity: &Identity, keep: Option<&str>) -> Result<(), Error> {
    let any = Key::new::<RoleBinding>(None, "");
    for binding in context.host.list(&any, &identity.uid_selector()).await? {
        let role = binding.data.pointer("/roleRef/name").and_then(|name| name.as_str());
        let Some(namespace) = binding.namespace().filter(|namespace| keep != Some(namespace)) else {
            continue;
        };
        if role != Some(EXPORT_ROLE) {
            continue;
        }
        context.secrets.release(&namespace, &identity.uid);
        let secret = Key::new::<Secret>(Some(&namespace), &identity.export_name());
        context.host.remove(&secret, identity).await?;
        let key = Key::new::<RoleBinding>(Some(&namespace), &binding.name_any());
        context.host.delete(&key, binding.uid()).await?;
    }
    Ok(())
}

/// The client certificate and its key in a cluster Secret.
fn pair(live: &DynamicObject) -> Option<Pair> {
    let text = |value: &serde_json::Value| {
        let bytes: k8s_openapi::ByteString = serde_json::from_value(value.clone()).ok()?;
        String::from_utf8(bytes.0).ok()
    };
    let config = text(live.data.pointer("/data/config")?)?;
    let config: serde_json::Value = serde_json::from_str(&config).ok()?;
    let tls = config.get("tlsClientConfig")?;
    Some(Pair { certificate: text(tls.get("certData")?)?, key: text(tls.get("keyData")?)? })
}
