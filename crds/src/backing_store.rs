//! Databases outside of a cluster that keep its objects, so that it can have several control planes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who keeps the cluster's objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BackingStoreType {
    /// A file in the control plane's volume.
    #[default]
    Embedded,
    /// A database outside, which several replicas of the control plane share.
    ExternalDatabase,
}

/// A schema of a PostgreSQL database. The operator removes it with the cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalStore {
    /// Secret in this namespace that says how to get in. Keys: `uri` (`postgres://USER@HOST:PORT/DATABASE`, unless `endpoint`
    /// is set) and, each if need be, `password`, `ca.crt` (who vouches for the server), `tls.crt` and `tls.key` (who we are).
    pub secret_ref: StoreSecretRef,
    /// Address of the database, as `postgres://USER@HOST:PORT/DATABASE`. Connections use TLS unless it ends in
    /// `?sslmode=disable`. Default: what the Secret says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^postgres(ql)?://"))]
    pub endpoint: Option<String>,
    /// The schema. Immutable. Default: one that carries the UID of this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z_][a-z0-9_]*$"))]
    pub schema: Option<String>,
}

/// A Secret beside the VirtualCluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StoreSecretRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// The type and what it needs go together, in a cluster as in a policy.
pub(crate) const EXTERNAL_FITS_THE_TYPE: &str = "has(self.type) && self.type == 'ExternalDatabase' ? has(self.external) && !has(self.volume) : !has(self.external)";

/// What cannot be changed: data does not move by itself.
pub(crate) const TYPE_IS_FIXED: &str = "(has(self.backingStore) && has(self.backingStore.type) ? self.backingStore.type : 'Embedded') == (has(oldSelf.backingStore) && has(oldSelf.backingStore.type) ? oldSelf.backingStore.type : 'Embedded')";
pub(crate) const SCHEMA_IS_FIXED: &str = "(has(self.backingStore) && has(self.backingStore.external) && has(self.backingStore.external.schema) ? self.backingStore.external.schema : '') == (has(oldSelf.backingStore) && has(oldSelf.backingStore.external) && has(oldSelf.backingStore.external.schema) ? oldSelf.backingStore.external.schema : '')";

/// One process has the file of an embedded store open.
pub(crate) const REPLICAS_SHARE_A_DATABASE: &str = "!has(self.replicas) || self.replicas <= 1 || (has(self.backingStore) && has(self.backingStore.type) && self.backingStore.type == 'ExternalDatabase')";
