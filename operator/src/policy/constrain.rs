//! What a policy forbids.

use std::cmp::Ordering;

use vkube_crds::{Constraints, Quantity};

use crate::settings::{Settings, template::containers, tuning};

/// Why the cluster may not be exported: the namespace is not its own, and no policy allows it.
pub fn constrain_export(settings: &Settings, own_namespace: &str, allowed: &[String]) -> Option<String> {
    let namespace = &settings.argocd.as_ref()?.namespace;
    if namespace == own_namespace || allowed.contains(namespace) {
        return None;
    }
    Some(format!(
        "export.argocd.namespace {namespace} is not the cluster's own, and no policy in force allows it in \
         constraints.allowedExportNamespaces"
    ))
}

/// What `settings` ask for that `constraints` forbid; empty if nothing. `own_image` is always allowed.
pub fn constrain(settings: &Settings, constraints: &Constraints, own_image: &str) -> Vec<String> {
    let mut violations = Vec::new();
    let types = &constraints.allowed_expose_types;
    if !types.is_empty() && !types.contains(&settings.expose.type_) {
        let allowed: Vec<_> = types.iter().map(|type_| type_.as_str()).collect();
        violations.push(format!(
            "expose.type {} is not among the allowed: {}",
            settings.expose.type_.as_str(),
            allowed.join(", ")
        ));
    }
    let names = &constraints.allowed_host_names;
    let asked = settings.expose.external_address.iter().chain(&settings.expose.extra_sans);
    for name in asked.filter(|name| !names.is_empty() && !names.iter().any(|allowed| is_below(name, allowed)))
    {
        violations.push(format!("expose: {name} is not among the allowed host names: {}", names.join(", ")));
    }
    let namespaces = &constraints.allowed_host_namespaces;
    let is_allowed = |asked: &str| {
        let fits = |allowed: &String| match allowed.strip_suffix('*') {
            Some(beginning) => asked.starts_with(beginning),
            None => asked == allowed,
        };
        namespaces.is_empty() || namespaces.iter().any(fits)
    };
    let asked = settings.mapped.iter().flat_map(|mapped| mapped.map.on_host());
    for namespace in asked.filter(|asked| !is_allowed(asked)) {
        violations.push(format!(
            "sync.toHost.namespaces: {namespace} is not among the allowed: {}",
            namespaces.join(", ")
        ));
    }
    let images = &constraints.allowed_images;
    let refused = |image: &str| {
        !images.is_empty() && image != own_image && !images.iter().any(|prefix| has_prefix(image, prefix))
    };
    if refused(&settings.image) {
        let allowed = images.join(", ");
        violations.push(format!("controlPlane.image {} is not among the allowed: {allowed}", settings.image));
    }
    if let Some(template) = &settings.pod_template {
        if constraints.deny_pod_template == Some(true) {
            violations.push("controlPlane.podTemplate is not allowed".into());
        }
        let asked = template.spec.iter().flat_map(containers).filter_map(|one| one.image.as_deref());
        for image in asked.filter(|image| refused(image)) {
            let allowed = images.join(", ");
            violations
                .push(format!("controlPlane.podTemplate: image {image} is not among the allowed: {allowed}"));
        }
    }
    let denied = &constraints.denied_extra_args;
    let is_denied = |flag: &str| {
        let mut names = denied.iter().map(|name| name.trim_start_matches('-'));
        names.any(|name| name.strip_suffix('*').map_or(name == flag, |start| flag.starts_with(start)))
    };
    let flags = settings.tuning.extra_args.iter().map(|argument| tuning::flag(argument));
    for flag in flags.filter(|flag| is_denied(flag)) {
        violations.push(format!("controlPlane.extraArgs: --{flag} is denied"));
    }
    if let Some(volume) = &settings.volume {
        let classes = &constraints.allowed_storage_classes;
        let class = volume.storage_class.as_deref();
        if !classes.is_empty() && !class.is_some_and(|class| classes.iter().any(|allowed| allowed == class)) {
            violations.push(format!(
                "backingStore.volume.storageClassName {} is not among the allowed: {}",
                class.unwrap_or("(the host's default)"),
                classes.join(", ")
            ));
        }
        if let Some(limit) = &constraints.max_volume_size
            && exceeds(&volume.size, limit)
        {
            violations.push(format!(
                "backingStore.volume.size {} is above the limit of {}",
                volume.size.0, limit.0
            ));
        }
    }
    violations
}

/// Whether a host name is the one allowed, or below the domain of one such as `*.example.com`.
fn is_below(name: &str, allowed: &str) -> bool {
    let (name, allowed) = (name.to_ascii_lowercase(), allowed.to_ascii_lowercase());
    match allowed.strip_prefix('*') {
        Some(domain) => domain.starts_with('.') && name.len() > domain.len() && name.ends_with(domain),
        None => name == allowed,
    }
}

/// A prefix matches up to a boundary, so that `registry/vkube` does not allow `registry/vkube-evil`.
fn has_prefix(image: &str, prefix: &str) -> bool {
    image
        .strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || prefix.ends_with('/') || rest.starts_with(['/', ':', '@']))
}

fn exceeds(asked: &Quantity, limit: &Quantity) -> bool {
    asked.compare(limit) == Some(Ordering::Greater)
}
