//! Who may do what: the operator in its tenants' namespaces, and the control plane in its own.
//!
//! Roles are ClusterRoles that come with the installation; here they are only bound. So the operator needs no rights
//! but `bind` on those few, and none of the tenant's rights outside the tenant's namespace.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource as _;
use kube::api::ObjectMeta;
use vkube_crds::VirtualCluster;

use super::object::Key;
use crate::names::{
    CONTROL_PLANE_ROLE, EXPORT_ROLE, HOST_READER_ROLE, Identity, KUBECONFIG_ROLE, SYNC_CLUSTER_ROLE,
    SYNC_ROLE, TENANT_ROLE,
};
use crate::options::Options;

/// Lets the operator build and tear down what is in the host namespace.
pub(super) fn operator_in_host_namespace(identity: &Identity, options: &Options) -> RoleBinding {
    RoleBinding {
        metadata: metadata(identity, &identity.host_namespace, "vkube-operator"),
        role_ref: cluster_role(TENANT_ROLE),
        subjects: Some(vec![subject(&options.namespace, &options.service_account)]),
    }
}

/// Lets the operator write kubeconfig Secrets in the VirtualCluster's namespace, and read what the spec refers to. It goes
/// with the VirtualCluster.
pub(super) fn operator_beside_cluster(identity: &Identity, options: &Options) -> RoleBinding {
    RoleBinding {
        metadata: ObjectMeta {
            owner_references: Some(vec![owner(identity)]),
            ..metadata(identity, &identity.namespace, &identity.kubeconfig_binding())
        },
        role_ref: cluster_role(KUBECONFIG_ROLE),
        subjects: Some(vec![subject(&options.namespace, &options.service_account)]),
    }
}

/// Lets the operator write the cluster's Secret in Argo CD's namespace.
pub(super) fn operator_beside_argocd(identity: &Identity, options: &Options, namespace: &str) -> RoleBinding {
    RoleBinding {
        metadata: metadata(identity, namespace, &identity.export_name()),
        role_ref: cluster_role(EXPORT_ROLE),
        subjects: Some(vec![subject(&options.namespace, &options.service_account)]),
    }
}

/// The control plane's service account.
pub(super) fn account(identity: &Identity) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(identity, &identity.host_namespace, &identity.account()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// What the control plane may do in its host namespace.
pub(super) fn role_binding(identity: &Identity) -> RoleBinding {
    within(identity, &identity.account(), CONTROL_PLANE_ROLE)
}

/// What the control plane may do in its host namespace for further resources.
pub(super) fn sync_binding(identity: &Identity) -> RoleBinding {
    within(identity, &identity.sync_binding(), SYNC_ROLE)
}

/// What the control plane may read of the host at large.
pub(super) fn cluster_binding(identity: &Identity) -> ClusterRoleBinding {
    at_large(identity, &identity.cluster_binding(), HOST_READER_ROLE)
}

/// What the control plane may do on the host at large for further resources.
pub(super) fn cluster_sync_binding(identity: &Identity) -> ClusterRoleBinding {
    at_large(identity, &identity.cluster_sync_binding(), SYNC_CLUSTER_ROLE)
}

/// Gives the control plane a role in its host namespace.
fn within(identity: &Identity, name: &str, role: &str) -> RoleBinding {
    RoleBinding {
        metadata: metadata(identity, &identity.host_namespace, name),
        role_ref: cluster_role(role),
        subjects: Some(vec![subject(&identity.host_namespace, &identity.account())]),
    }
}

/// Gives the control plane a role on the whole host.
fn at_large(identity: &Identity, name: &str, role: &str) -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(identity.labels()),
            ..ObjectMeta::default()
        },
        role_ref: cluster_role(role),
        subjects: Some(vec![subject(&identity.host_namespace, &identity.account())]),
    }
}

/// The binding that exists only if further resources are synchronised.
pub(super) fn cluster_sync_key(identity: &Identity) -> Key {
    Key::new::<ClusterRoleBinding>(None, &identity.cluster_sync_binding())
}

/// Owner reference to the VirtualCluster, for objects in its own namespace; elsewhere it would be dangling.
pub(super) fn owner(identity: &Identity) -> OwnerReference {
    OwnerReference {
        api_version: VirtualCluster::api_version(&()).into_owned(),
        kind: VirtualCluster::kind(&()).into_owned(),
        name: identity.name.clone(),
        uid: identity.uid.clone(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

pub(super) fn metadata(identity: &Identity, namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        labels: Some(identity.labels()),
        ..ObjectMeta::default()
    }
}

fn cluster_role(name: &str) -> RoleRef {
    RoleRef {
        api_group: Some("rbac.authorization.k8s.io".into()),
        kind: "ClusterRole".into(),
        name: name.into(),
    }
}

fn subject(namespace: &str, name: &str) -> Subject {
    Subject {
        kind: "ServiceAccount".into(),
        namespace: Some(namespace.to_owned()),
        name: name.to_owned(),
        ..Subject::default()
    }
}
