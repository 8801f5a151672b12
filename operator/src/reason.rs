//! Why things are as they are: one enum for conditions, events and metrics.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// The `reason` of a condition or event, and the label of a metric. Stable: users alert on these words.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// All reasons, in the order of their documentation.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The word.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }
        }
    };
}

reasons! {
    /// Everything that was asked for is there and healthy.
    Running,
    /// The cluster is being built for the first time.
    Provisioning,
    /// A running cluster is being changed.
    Updating,
    /// The cluster has zero replicas.
    Sleeping,
    /// Reconciling is paused on request.
    Paused,
    /// The cluster is being deleted.
    Deleting,
    /// The lifetime of the cluster has ended.
    Expired,
    /// The cluster was deleted.
    Deleted,
    /// Deletion was released without waiting for host objects.
    ForceDeleted,
    /// Host objects are being applied or observed.
    Progressing,
    /// The last attempt failed and is retried.
    ProgressingWithRetry,
    /// The step is done.
    Applied,
    /// The step waits for one before it.
    Waiting,
    /// The spec cannot be built.
    InvalidSpec,
    /// The policy forbids what the spec asks for.
    PolicyRejected,
    /// The policy that the spec names does not exist.
    PolicyMissing,
    /// The policy that the spec names is not for this cluster.
    PolicyNotAllowed,
    /// No policy applies.
    NoPolicy,
    /// A policy is in force.
    PolicyApplied,
    /// A policy is in force that comes before others by its name alone.
    PolicyAmbiguous,
    /// All of the configuration of vCluster has an effect.
    ConfigApplied,
    /// The configuration of vCluster is in force, but for keys that are unknown or without meaning here.
    ConfigPartlyApplied,
    /// The configuration of vCluster cannot be read, or a value in it is not what the field that it means takes.
    ConfigInvalid,
    /// The Secret or ConfigMap with the configuration, or the key in it, is missing.
    ConfigMissing,
    /// An object of that name exists and belongs to someone else.
    NameConflict,
    /// The host namespace is being deleted.
    NamespaceTerminating,
    /// Quota, limits or network policies are switched off.
    PartlyDisabled,
    /// Data is kept in the pod and lost with it.
    Ephemeral,
    /// The volume is not bound yet.
    VolumePending,
    /// The volume is bound.
    VolumeBound,
    /// The Secret of the database is missing or does not say where it is.
    DatabaseUnknown,
    /// The database outside cannot be reached, or refuses.
    DatabaseUnreachable,
    /// The schema of the database belongs to another cluster.
    SchemaTaken,
    /// Certificates are valid.
    Issued,
    /// Certificates were reissued.
    Rotated,
    /// The Secret with the certificate authority is not there.
    CaSecretMissing,
    /// The Secret with the certificate authority holds none that can sign.
    CaSecretInvalid,
    /// A manifest that the cluster begins with could not be applied; it is tried again.
    BootstrapFailed,
    /// The Secret or ConfigMap with manifests that the cluster begins with, or the key in it, is missing.
    BootstrapMissing,
    /// A Secret or ConfigMap holds no manifests that can be applied.
    BootstrapInvalid,
    /// Somebody who has to say that the cluster is ready has not yet.
    ReadinessGatesNotReady,
    /// Snapshots are taken as asked.
    SnapshotTaken,
    /// A snapshot that was due could not be taken; it is tried again.
    SnapshotFailed,
    /// The cluster was brought to the snapshot that it is to start from.
    Restored,
    /// The snapshot that the cluster is to start from could not be brought back; it is tried again.
    RestoreFailed,
    /// The control plane's pod is not ready.
    PodNotReady,
    /// The control plane's pod cannot start.
    PodFailing,
    /// A pod of a new revision of the control plane cannot start, and the rollout stays at it.
    UpgradeFailed,
    /// The API server does not answer through its Service.
    ApiUnreachable,
    /// The load balancer has no address yet, or no Gateway has accepted the route.
    EndpointPending,
    /// The host does not serve TLSRoutes, which `expose.type: Gateway` needs.
    GatewayApiMissing,
    /// The host does not serve ServiceMonitors, which `controlPlane.serviceMonitor` needs.
    MonitoringApiMissing,
    /// A file that the control plane is to be given is not in its Secret.
    FileMissing,
    /// The host refused a request for lack of rights.
    Forbidden,
    /// The host could not be read.
    ReadFailed,
    /// The host refused or failed a write.
    ApplyFailed,
    /// The host refused or failed a deletion.
    DeleteFailed,
    /// Certificates could not be issued.
    CertificateFailed,
    /// A step took longer than it may.
    TimedOut,
    /// The stored object does not have the shape of its CRD.
    Malformed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_camel_case_words() {
        for reason in Reason::ALL {
            let word = reason.as_str();
            assert!(word.starts_with(|c: char| c.is_ascii_uppercase()), "{word}");
            assert!(word.chars().all(|c| c.is_ascii_alphanumeric()), "{word}");
        }
    }
}
