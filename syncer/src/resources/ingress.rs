//! Ingresses: rules and certificates of the tenant, served by the host's controller.
//!
//! The spec is the virtual side's, `status.loadBalancer` the host's. Names of Services and Secrets are
//! translated, in the annotations of the common controllers too.

use k8s_openapi::api::networking::v1::{Ingress, IngressBackend};

use super::mirror::{mirror, mirrored};
use crate::context::{Context, Kind, Task};
use crate::error::{Error, Result, is_conflict, is_not_found};
use crate::labels::{ObjectKey, Translator};
use crate::queue::Outcome;

/// Annotations whose value names a Secret, as `name` or `namespace/name`.
const SECRET_ANNOTATIONS: [&str; 3] = [
    "nginx.ingress.kubernetes.io/auth-secret",
    "nginx.ingress.kubernetes.io/auth-tls-secret",
    "nginx.ingress.kubernetes.io/proxy-ssl-secret",
];

/// The classes by which a tenant chooses a controller, if a rule limits them to the host's.
const CLASSES: &str = "ingressclasses.networking.k8s.io";

/// Brings one Ingress in step.
pub(crate) async fn reconcile(cx: &Context, key: &ObjectKey) -> Result<Outcome> {
    let object = cx.virtual_object::<Ingress>(key).await?;
    if let Some(class) = object.as_ref().and_then(class)
        && !cx.offers(CLASSES, class)?
    {
        return Err(Error::Unsupported(format!("the host offers no ingress class {class:?}")));
    }
    let desired =
        mirrored(cx, Kind::Ingress, object.clone(), |translator, ingress| to_host(translator, &ingress))?;
    let outcome = mirror(cx, Kind::Ingress, key, &cx.host_side.ingresses, desired).await?;

    let Some(mut object) = object else { return Ok(outcome) };
    let host =
        cx.host_api::<Ingress>(&key.namespace).get_opt(&cx.host_key(key).name).await.map_err(Error::Host)?;
    if let Some(status) =
        host.and_then(|host| host.status).filter(|status| Some(status) != object.status.as_ref())
    {
        object.status = Some(status);
        let api = cx.virtual_api::<Ingress>(&key.namespace);
        match api.replace_status(&key.name, &Context::post_params(), &object).await {
            Err(error) if !is_conflict(&error) && !is_not_found(&error) => return Err(Error::Virtual(error)),
            _ => {}
        }
    }
    Ok(outcome)
}

fn class(ingress: &Ingress) -> Option<&str> {
    ingress.spec.as_ref()?.ingress_class_name.as_deref()
}

/// The Secrets an Ingress needs on the host.
pub(crate) fn needs(ingress: &Ingress) -> Vec<Task> {
    let namespace = ingress.metadata.namespace.clone().unwrap_or_default();
    let mut names: Vec<ObjectKey> = Vec::new();
    for tls in ingress.spec.iter().flat_map(|spec| spec.tls.iter().flatten()) {
        names.extend(tls.secret_name.clone().map(|name| ObjectKey::new(namespace.clone(), name)));
    }
    for key in SECRET_ANNOTATIONS {
        let value = ingress.metadata.annotations.as_ref().and_then(|annotations| annotations.get(key));
        names.extend(value.and_then(|value| secret(&namespace, value)));
    }
    names.into_iter().map(|key| Task { kind: Kind::Secret, key }).collect()
}

/// The Secret an annotation names. One of another namespace would lift the virtual namespaces' borders.
fn secret(namespace: &str, value: &str) -> Option<ObjectKey> {
    match value.split_once('/') {
        Some((of, _)) if of != namespace => None,
        Some((of, name)) => Some(ObjectKey::new(of, name)),
        None => Some(ObjectKey::new(namespace, value)),
    }
}

fn to_host(translator: &Translator, ingress: &Ingress) -> Ingress {
    let namespace = ingress.metadata.namespace.as_deref().unwrap_or_default();
    let mut metadata = translator.metadata("Ingress", &ingress.metadata);
    let annotations = metadata.annotations.get_or_insert_default();
    for key in SECRET_ANNOTATIONS {
        let Some(value) = annotations.remove(key) else { continue };
        if let Some(secret) = secret(namespace, &value) {
            let name = translator.names.host(&secret.namespace, &secret.name);
            annotations.insert(key.into(), format!("{}/{name}", translator.host_namespace(namespace)));
        }
    }

    let mut spec = ingress.spec.clone().unwrap_or_default();
    for tls in spec.tls.iter_mut().flatten() {
        tls.secret_name = tls.secret_name.take().map(|name| translator.names.host(namespace, &name));
    }
    let rules = spec.rules.iter_mut().flatten().filter_map(|rule| rule.http.as_mut());
    let backends = rules.flat_map(|http| http.paths.iter_mut().map(|path| &mut path.backend));
    for backend in backends.chain(spec.default_backend.as_mut()) {
        rename(translator, namespace, backend);
    }
    Ingress { metadata, spec: Some(spec), status: None }
}

fn rename(translator: &Translator, namespace: &str, backend: &mut IngressBackend) {
    if let Some(service) = &mut backend.service {
        service.name = translator.names.host(namespace, &service.name);
    }
    if let Some(resource) = &mut backend.resource {
        resource.name = translator.names.host(namespace, &resource.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn services_and_secrets_are_translated() {
        let ingress: Ingress = serde_saphyr::from_str(
            r"
            metadata:
              name: web
              namespace: shop
              annotations:
                nginx.ingress.kubernetes.io/auth-secret: users
                nginx.ingress.kubernetes.io/auth-tls-secret: other/ca
            spec:
              defaultBackend: {service: {name: fallback, port: {number: 80}}}
              tls: [{hosts: [a.example], secretName: cert}]
              rules:
              - host: a.example
                http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
            ",
        )
        .unwrap();
        let needed: Vec<String> = needs(&ingress).into_iter().map(|task| task.key.name).collect();
        assert_eq!(needed, ["cert", "users"]);

        let host = to_host(&Translator::new(Config::new("demo", "tenant")), &ingress);
        let annotations = host.metadata.annotations.unwrap();
        assert_eq!(annotations[SECRET_ANNOTATIONS[0]], "tenant/users-x-shop-x-demo");
        assert!(!annotations.contains_key(SECRET_ANNOTATIONS[1]), "other namespaces stay out of reach");
        let spec = host.spec.unwrap();
        assert_eq!(spec.default_backend.unwrap().service.unwrap().name, "fallback-x-shop-x-demo");
        assert_eq!(spec.tls.unwrap()[0].secret_name.as_deref(), Some("cert-x-shop-x-demo"));
        let rules = spec.rules.unwrap();
        let path = &rules[0].http.as_ref().unwrap().paths[0];
        assert_eq!(path.backend.service.as_ref().unwrap().name, "web-x-shop-x-demo");
    }
}
