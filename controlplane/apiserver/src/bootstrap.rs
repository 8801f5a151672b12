//! What every cluster holds from its first moment: namespaces, and the `kubernetes` Service's own.

use jiff::Timestamp;
use serde_json::{Value, json};
use vkube_store::{Change, Expect, Write};

use crate::{
    metadata,
    rbac::bootstrap_policy,
    resource::Definition,
    server::{Server, builtin},
    status::ApiError,
    stored, system_metadata,
};

const NAMESPACES: &[&str] = &["default", "kube-node-lease", "kube-public", "kube-system"];

/// Creates what is absent; what is there stays as it is.
pub async fn run(server: &Server) -> Result<(), ApiError> {
    let mut objects = Vec::new();
    for name in NAMESPACES {
        let namespace = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        });
        objects.push((builtin("", "namespaces")?, namespace));
    }
    objects.extend(bootstrap_policy::objects()?);
    ensure(server, objects).await
}

/// Creates those of these objects that are absent, in as few commits as may be.
pub async fn ensure(server: &Server, objects: Vec<(Definition, Value)>) -> Result<(), ApiError> {
    let mut writes = Vec::with_capacity(objects.len());
    for (definition, mut object) in objects {
        let key = definition.key(metadata::namespace(&object), metadata::name(&object));
        if let Some(entry) = server.store().get(&key, None).await? {
            if definition.group() == "rbac.authorization.k8s.io"
                && let Some(object) = bootstrap_policy::reconcile(&stored::decode(&entry)?, &object)
            {
                let document = stored::encode(&object, &definition)?;
                let change = Change::Put { document, ttl: None };
                writes.push(Write { key, expect: Expect::Modified(entry.modified), change });
            }
            continue;
        }
        let status = object.get("status").cloned();
        system_metadata::prepare_create(&mut object, &definition, Timestamp::now());
        metadata::set_top(&mut object, "status", status);
        let document = stored::encode(&object, &definition)?;
        writes.push(Write { key, expect: Expect::Absent, change: Change::Put { document, ttl: None } });
    }
    if writes.is_empty() {
        return Ok(());
    }
    match server.store().commit(writes.clone()).await {
        Ok(_) => Ok(()),
        Err(vkube_store::Error::Conflict { .. }) => {
            // Somebody else bootstraps too: what is there already is as good.
            for write in writes {
                match server.store().commit(vec![write]).await {
                    Ok(_) | Err(vkube_store::Error::Conflict { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
