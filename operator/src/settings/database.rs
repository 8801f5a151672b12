//! The database outside that keeps a cluster's objects.

use vkube_crds::{BackingStore, BackingStoreType};

/// A schema of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// The Secret beside the VirtualCluster that says how to get in.
    pub secret: String,
    /// The address, if the Secret does not say it.
    pub endpoint: Option<String>,
    /// The schema.
    pub schema: String,
    /// Whether the schema is the cluster's alone, by its name, and goes with it.
    pub is_ours: bool,
}

/// The database, if one is asked for; `replicas` needs it to be more than one.
pub(super) fn validate(
    asked: Option<&BackingStore>,
    replicas: i32,
    uid: &str,
    wrong: &mut Vec<String>,
) -> Option<Database> {
    let kind = asked.and_then(|store| store.type_).unwrap_or_default();
    let external = asked.and_then(|store| store.external.as_ref());
    match (kind, external) {
        (BackingStoreType::Embedded, None) => {
            if replicas > 1 {
                wrong.push("replicas: more than one need backingStore.type ExternalDatabase".into());
            }
            None
        }
        (BackingStoreType::Embedded, Some(_)) => {
            wrong.push("backingStore.external: needs type ExternalDatabase".into());
            None
        }
        (BackingStoreType::ExternalDatabase, None) => {
            wrong.push("backingStore.external: is needed by type ExternalDatabase".into());
            None
        }
        (BackingStoreType::ExternalDatabase, Some(external)) => {
            if asked.is_some_and(|store| store.volume.is_some()) {
                wrong.push("backingStore.volume: is not for type ExternalDatabase".into());
            }
            let schema = external.schema.clone();
            Some(Database {
                secret: external.secret_ref.name.clone(),
                endpoint: external.endpoint.clone(),
                is_ours: schema.is_none(),
                schema: schema.unwrap_or_else(|| format!("vkube_{}", uid.replace('-', ""))),
            })
        }
    }
}
