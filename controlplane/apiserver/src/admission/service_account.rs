//! ServiceAccount: pods run as a service account, with its token and its secrets.

use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::{Attributes, Operation, Plugin, default_classes::annotation, default_toleration_seconds::append};
use crate::{
    metadata,
    registry::{
        access::{at, has, list_at, list_mut, make_map, set, str_at},
        core::pod_spec::{MIRROR, default_service_account},
    },
    status::ApiError,
    system_metadata::generated_name,
};

const VOLUME: &str = "kube-api-access-";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";

/// A new namespace gets its default account a moment after it was made; so long do its pods wait for it.
const WAIT: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(20);

pub struct ServiceAccount;

impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn admit<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        pod: &'a mut Value,
        _warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            if attributes.operation != Operation::Create || !attributes.is("", "pods") {
                return Ok(());
            }
            if annotation(pod, MIRROR).is_some() {
                return mirror(pod).map_or(Ok(()), |why| Err(attributes.forbidden(pod, why)));
            }
            admit(attributes, pod).await
        })
    }
}

async fn admit(attributes: &Attributes<'_>, pod: &mut Value) -> Result<(), ApiError> {
    let spec = &mut pod["spec"];
    default_service_account(spec);
    if str_at(spec, "/serviceAccountName").is_empty() {
        set(spec, "/serviceAccountName", "default");
    }
    let name = str_at(spec, "/serviceAccountName").to_owned();
    let Some(account) = find(attributes, &name).await? else {
        let why = format!(
            "error looking up service account {}/{name}: serviceaccount {name:?} not found",
            attributes.namespace
        );
        return Err(attributes.forbidden(pod, &why));
    };
    let automount =
        [at(pod, "/spec/automountServiceAccountToken"), at(&account, "/automountServiceAccountToken")];
    if automount.into_iter().find_map(Value::as_bool).unwrap_or(true) {
        mount_token(pod);
    }
    if list_at(pod, "/spec/imagePullSecrets").is_empty() && !list_at(&account, "/imagePullSecrets").is_empty()
    {
        set(pod, "/spec/imagePullSecrets", at(&account, "/imagePullSecrets").clone());
    }
    let enforced = annotation(&account, ENFORCE)
        .is_some_and(|v| matches!(v, "1" | "t" | "T" | "true" | "TRUE" | "True"));
    if enforced && let Some(why) = unmountable(&account, pod) {
        return Err(attributes.forbidden(pod, &why));
    }
    Ok(())
}

async fn find(attributes: &Attributes<'_>, name: &str) -> Result<Option<Value>, ApiError> {
    let deadline = tokio::time::Instant::now() + if name == "default" { WAIT } else { Duration::ZERO };
    loop {
        let found = attributes.server.find("", "serviceaccounts", attributes.namespace, name).await?;
        if found.is_some() || tokio::time::Instant::now() >= deadline {
            return Ok(found);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// What a pod may not have that only shows what a node runs on its own.
fn mirror(pod: &Value) -> Option<&'static str> {
    if !str_at(pod, "/spec/serviceAccountName").is_empty() {
        return Some("a mirror pod may not reference service accounts");
    }
    let volumes = list_at(pod, "/spec/volumes");
    let projected = |volume: &Value| {
        list_at(volume, "/projected/sources").iter().any(|source| has(source, "/serviceAccountToken"))
    };
    if volumes.iter().any(|volume| has(volume, "/secret")) {
        return Some("a mirror pod may not reference secrets");
    }
    volumes.iter().any(projected).then_some("a mirror pod may not use ServiceAccountToken volume projections")
}

/// Mounts the token, the cluster's CA and the namespace where every client looks for them.
fn mount_token(pod: &mut Value) {
    let existing = list_at(pod, "/spec/volumes")
        .iter()
        .map(|volume| str_at(volume, "/name"))
        .find(|name| name.starts_with(VOLUME))
        .map(ToOwned::to_owned);
    let volume = existing.clone().unwrap_or_else(|| generated_name(VOLUME));
    let mut needed = false;
    for list in ["/spec/initContainers", "/spec/containers"] {
        for container in list_mut(pod, list) {
            if list_at(container, "/volumeMounts").iter().any(|m| str_at(m, "/mountPath") == MOUNT_PATH) {
                continue;
            }
            needed = true;
            let mount = json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH});
            let mounts = make_map(container, "").entry("volumeMounts").or_insert_with(|| json!([]));
            match mounts.as_array_mut() {
                Some(mounts) => mounts.push(mount),
                None => *mounts = json!([mount]),
            }
        }
    }
    if needed && existing.is_none() {
        let sources = json!([
            // An odd lifetime tells that kubelets may refresh the token late.
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
            ]}},
        ]);
        append(
            pod,
            "volumes",
            json!({"name": volume, "projected": {"sources": sources, "defaultMode": 420}}),
        );
    }
}

/// The first secret of the pod that its account does not list.
fn unmountable(account: &Value, pod: &Value) -> Option<String> {
    let name = metadata::name(account);
    let listed =
        |list: &str, wanted: &str| list_at(account, list).iter().any(|s| str_at(s, "/name") == wanted);
    for volume in list_at(pod, "/spec/volumes") {
        let secret = str_at(volume, "/secret/secretName");
        if has(volume, "/secret") && !listed("/secrets", secret) {
            return Some(format!(
                "volume with secret.secretName={secret:?} is not allowed because service account {name} does not reference that secret"
            ));
        }
    }
    for (list, what) in [("/spec/initContainers", "init container"), ("/spec/containers", "container")] {
        for container in list_at(pod, list) {
            for variable in list_at(container, "/env") {
                let secret = str_at(variable, "/valueFrom/secretKeyRef/name");
                if has(variable, "/valueFrom/secretKeyRef") && !listed("/secrets", secret) {
                    return Some(format!(
                        "{what} {} with envVar {} referencing secret.secretName={secret:?} is not allowed because service account {name} does not reference that secret",
                        str_at(container, "/name"),
                        str_at(variable, "/name"),
                    ));
                }
            }
        }
    }
    list_at(pod, "/spec/imagePullSecrets").iter().enumerate().find_map(|(index, secret)| {
        let secret = str_at(secret, "/name");
        (!listed("/imagePullSecrets", secret)).then(|| {
            format!("imagePullSecrets[{index}].name={secret:?} is not allowed because service account {name} does not reference that imagePullSecret")
        })
    })
}
