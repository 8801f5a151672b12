//! What a pod is called and whom it asks for names.

use k8s_openapi::api::core::v1::{HostAlias, Pod, PodDNSConfig, PodDNSConfigOption, PodSpec};

use super::translate::{ApiEndpoint, Surroundings};

/// A pod may have three name servers; the kubelet cuts off the rest.
const NAMESERVERS: usize = 3;

/// The longest host name Linux takes.
const HOSTNAME: usize = 64;

/// Gives the host pod the virtual pod's host name, resolver and API server aliases.
pub(super) fn apply(pod: &Pod, surroundings: &Surroundings, domain: &str, spec: &mut PodSpec) {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    hostname(name, namespace, domain, spec);
    resolver(namespace, surroundings, domain, spec);
    alias(&surroundings.api, domain, spec);
}

/// The host name is the virtual one. `subdomain` would make the kubelet write a name of the *host's* namespace
/// into `/etc/hosts`, so it goes; the pod's name under its headless Service is answered by our DNS.
fn hostname(name: &str, namespace: &str, domain: &str, spec: &mut PodSpec) {
    if spec.host_network == Some(true) {
        spec.subdomain = None;
        return;
    }
    let own = spec.hostname.clone().filter(|own| !own.is_empty()).unwrap_or_else(|| label(name));
    let subdomain = spec.subdomain.take().filter(|subdomain| !subdomain.is_empty());
    if spec.set_hostname_as_fqdn == Some(true) {
        spec.set_hostname_as_fqdn = None;
        if let Some(subdomain) = subdomain {
            let fqdn = format!("{own}.{subdomain}.{namespace}.svc.{domain}");
            if fqdn.len() <= HOSTNAME {
                spec.hostname_override = Some(fqdn);
            }
        }
    }
    spec.hostname = Some(own);
}

/// A pod name as one DNS label.
fn label(name: &str) -> String {
    let mut label = name.replace('.', "-");
    label.truncate(63);
    label.trim_end_matches('-').to_owned()
}

fn resolver(namespace: &str, surroundings: &Surroundings, domain: &str, spec: &mut PodSpec) {
    let in_cluster = match spec.dns_policy.as_deref().unwrap_or("ClusterFirst") {
        "ClusterFirst" => spec.host_network != Some(true),
        "ClusterFirstWithHostNet" => true,
        _ => return,
    };
    if !in_cluster {
        spec.dns_policy = Some("Default".into());
        return;
    }

    let own = spec.dns_config.take().unwrap_or_default();
    let mut nameservers = vec![surroundings.dns.to_string()];
    nameservers.extend(own.nameservers.into_iter().flatten());
    nameservers.truncate(NAMESERVERS);

    let mut searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()];
    for search in own.searches.into_iter().flatten() {
        if !searches.contains(&search) {
            searches.push(search);
        }
    }

    let mut options = own.options.unwrap_or_default();
    if !options.iter().any(|option| option.name.as_deref() == Some("ndots")) {
        options.push(PodDNSConfigOption { name: Some("ndots".into()), value: Some("5".into()) });
    }

    spec.dns_policy = Some("None".into());
    spec.dns_config = Some(PodDNSConfig {
        nameservers: Some(nameservers),
        searches: Some(searches),
        options: Some(options),
    });
}

/// The API server's names work whatever resolver the pod chose.
fn alias(api: &ApiEndpoint, domain: &str, spec: &mut PodSpec) {
    let hostnames = [
        format!("kubernetes.default.svc.{domain}"),
        "kubernetes.default.svc".to_owned(),
        "kubernetes.default".to_owned(),
        "kubernetes".to_owned(),
    ];
    let alias = HostAlias { ip: api.address.clone(), hostnames: Some(hostnames.to_vec()) };
    spec.host_aliases.get_or_insert_default().push(alias);
}
