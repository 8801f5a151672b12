//! The certificate authority and the serving certificate.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::DynamicObject;
use vkube_crds::{CertificateStatus, annotations};

use super::steps::{Attempt, Services};
use super::{Report, Stop, sources};
use crate::build::{self, Key, Object};
use crate::conditions::Check;
use crate::error::Error;
use crate::names::short_hash;
use crate::observe;
use crate::pki::{self, Authority, Life, Pair, Subject};
use crate::reason::Reason;

/// What later steps need of the certificates.
pub(super) struct Certificates {
    /// Signs client certificates.
    pub(super) authority: Authority,
    /// Changes with the authority and the serving certificate.
    pub(super) hash: String,
    /// How long certificates live.
    pub(super) life: Life,
}

/// Keeps or issues the certificate authority and the serving certificate.
pub(super) async fn ensure(
    attempt: &Attempt<'_>,
    services: &Services,
    report: &mut Report,
) -> Result<Certificates, Stop> {
    let (host, identity, settings) = (&attempt.context.host, &attempt.identity, &attempt.settings);
    let span =
        Life { validity: settings.validity, renew_before: settings.renew_before, now: Timestamp::now() };
    let key = Key::new::<Secret>(Some(&identity.host_namespace), &identity.pki_secret());
    let live = attempt.live(&key).await?;
    let rotate = requested(attempt, annotations::ROTATE, live.as_ref());
    let rotate_authority = requested(attempt, annotations::ROTATE_CA, live.as_ref());

    let stored = |certificate, key| live.as_ref().and_then(|live| pair(live, certificate, key));
    let kept = stored("ca.crt", "ca.key").filter(|_| !rotate_authority);
    let (authority, renewed) = match &settings.ca_secret {
        Some(name) => {
            let given = given(attempt, name, span, report).await?;
            let renewed = stored("ca.crt", "ca.key").is_some_and(|before| before != given.pair);
            (given, renewed)
        }
        None => pki::authority(kept, &identity.name, span).map_err(Error::from)?,
    };
    let subject = Subject::Server { names: server_names(attempt, services) };
    let kept = stored("tls.crt", "tls.key").filter(|_| !rotate);
    let (serving, reissued) = pki::leaf(kept, &subject, &authority, span).map_err(Error::from)?;
    if live.is_some() && (renewed || reissued) {
        attempt.context.metrics.rotated();
        tracing::info!(namespace = identity.namespace, name = identity.name, "certificates were reissued");
    }

    let rotations: BTreeMap<_, _> = [annotations::ROTATE, annotations::ROTATE_CA]
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), served(attempt, key, live.as_ref())?)))
        .collect();
    let secret = build::pki_secret(identity, &authority, &serving, rotations);
    let applied = host.apply_over(live, Object::of(secret), identity).await?;
    attempt.ours(applied)?;

    // The list holds only what this attempt confirms.
    report.certificates.clear();
    record(report, "ca", Some(authority.not_after), None, span);
    record(report, "serving", pki::not_after(&serving.certificate), Some(span), span);
    report.checks.certificates = Check::Passed(Reason::Issued, "certificates are valid".into());
    let both = format!("{}{}", authority.pair.certificate, serving.certificate);
    Ok(Certificates { authority, hash: short_hash(both.as_bytes()), life: span })
}

/// The authority of a Secret beside the cluster.
async fn given(
    attempt: &Attempt<'_>,
    name: &str,
    life: Life,
    report: &mut Report,
) -> Result<Authority, Stop> {
    let key = Key::new::<Secret>(Some(&attempt.identity.namespace), name);
    let live = attempt.context.host.get(&key).await?;
    let fault = match &live {
        None => Err((Reason::CaSecretMissing, format!("Secret {name} does not exist"))),
        Some(live) => {
            let pair = pair(live, "tls.crt", "tls.key");
            let pair = pair.ok_or_else(|| "has no tls.crt and tls.key".to_owned());
            let checked = pair.and_then(|pair| pki::given(pair, life).map_err(str::to_owned));
            checked.map_err(|why| (Reason::CaSecretInvalid, format!("Secret {name} {why}")))
        }
    };
    fault.map_err(|(reason, message)| {
        report.checks.certificates = Check::Failed(reason, message.clone());
        Stop::Waiting(message)
    })
}

/// Notes the end of a certificate, and when it is to be renewed.
pub(super) fn record(
    report: &mut Report,
    name: &str,
    end: Option<Timestamp>,
    renewed: Option<Life>,
    life: Life,
) {
    let Some(end) = end else { return };
    if let Some(renewed) = renewed {
        let until = end.duration_since(life.now).unsigned_abs().saturating_sub(renewed.renew_before);
        report.look_again(until);
    }
    report.certificates.push(CertificateStatus { name: name.to_owned(), not_after: Some(Time(end)) });
}

/// A certificate and its key from a Secret.
pub(super) fn pair(live: &DynamicObject, certificate: &str, key: &str) -> Option<Pair> {
    Some(Pair { certificate: text(live, certificate)?, key: text(live, key)? })
}

fn text(live: &DynamicObject, key: &str) -> Option<String> {
    String::from_utf8(sources::bytes(live, "data", key)?).ok()
}

/// Whether the annotation asks for a rotation that the Secret does not remember.
pub(super) fn requested(attempt: &Attempt<'_>, key: &str, live: Option<&DynamicObject>) -> bool {
    let asked = attempt.cluster.annotations().get(key);
    asked.is_some() && asked != live.and_then(|live| live.annotations().get(key))
}

/// What the Secret is to remember: the present request, else the last one.
pub(super) fn served(attempt: &Attempt<'_>, key: &str, live: Option<&DynamicObject>) -> Option<String> {
    let asked = attempt.cluster.annotations().get(key);
    asked.or_else(|| live.and_then(|live| live.annotations().get(key))).cloned()
}

/// Every name and address under which the API server is reached.
fn server_names(attempt: &Attempt<'_>, services: &Services) -> BTreeSet<String> {
    let (identity, settings) = (&attempt.identity, &attempt.settings);
    let (name, namespace) = (&identity.name, &identity.host_namespace);
    let mut names = BTreeSet::from([
        name.clone(),
        format!("{name}.{namespace}"),
        identity.service_host(),
        "kubernetes".into(),
        "kubernetes.default".into(),
        "kubernetes.default.svc".into(),
        format!("kubernetes.default.svc.{}", settings.cluster_domain),
        "localhost".into(),
        "127.0.0.1".into(),
    ]);
    names.extend(services.internal.iter().flat_map(observe::cluster_ips));
    names.extend(services.external.iter().flat_map(observe::cluster_ips));
    names.extend(services.external.iter().flat_map(observe::balancer_addresses));
    names.extend(settings.expose.external_address.clone());
    names.extend(settings.expose.extra_sans.iter().cloned());
    names
}
