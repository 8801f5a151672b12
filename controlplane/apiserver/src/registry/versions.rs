//! Which types kube-apiserver can read, whether or not it serves them: what is sent as one that it can read is refused
//! as the wrong one, and anything else as unknown.
//!
//! Source: the types that <https://github.com/kubernetes/api> registers.

use super::{RESOURCES, Resource};

/// Versions that are not served, or not by default: group, version, the group that the kinds are served in today, and
/// the kinds.
const UNSERVED: &[(&str, &str, &str, &str)] = &[
    ("apps", "v1beta1", "apps", "ControllerRevision Deployment StatefulSet"),
    ("apps", "v1beta1", "autoscaling", "Scale"),
    ("apps", "v1beta2", "apps", "ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet"),
    ("apps", "v1beta2", "autoscaling", "Scale"),
    ("extensions", "v1beta1", "apps", "DaemonSet Deployment ReplicaSet"),
    ("extensions", "v1beta1", "networking.k8s.io", "Ingress NetworkPolicy"),
    ("extensions", "v1beta1", "autoscaling", "Scale"),
    ("batch", "v1beta1", "batch", "CronJob"),
    ("policy", "v1beta1", "policy", "Eviction PodDisruptionBudget"),
    ("networking.k8s.io", "v1beta1", "networking.k8s.io", "IPAddress Ingress IngressClass ServiceCIDR"),
    (RBAC, "v1alpha1", RBAC, "ClusterRole ClusterRoleBinding Role RoleBinding"),
    (RBAC, "v1beta1", RBAC, "ClusterRole ClusterRoleBinding Role RoleBinding"),
    (
        "storage.k8s.io",
        "v1beta1",
        "storage.k8s.io",
        "CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment VolumeAttributesClass",
    ),
    (
        "storage.k8s.io",
        "v1alpha1",
        "storage.k8s.io",
        "CSIStorageCapacity VolumeAttachment VolumeAttributesClass",
    ),
    ("scheduling.k8s.io", "v1beta1", "scheduling.k8s.io", "PriorityClass"),
    ("coordination.k8s.io", "v1beta1", "coordination.k8s.io", "Lease"),
    ("discovery.k8s.io", "v1beta1", "discovery.k8s.io", "EndpointSlice"),
    ("events.k8s.io", "v1beta1", "events.k8s.io", "Event"),
    ("events.k8s.io", "v1beta1", "", "Event"),
    ("events.k8s.io", "v1", "", "Event"),
    ("", "v1", "events.k8s.io", "Event"),
    (
        "admissionregistration.k8s.io",
        "v1beta1",
        "admissionregistration.k8s.io",
        "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration \
         ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration",
    ),
    (
        "admissionregistration.k8s.io",
        "v1alpha1",
        "admissionregistration.k8s.io",
        "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding ValidatingAdmissionPolicy \
         ValidatingAdmissionPolicyBinding",
    ),
    ("certificates.k8s.io", "v1beta1", "certificates.k8s.io", "CertificateSigningRequest"),
    (FLOW, "v1beta1", FLOW, "FlowSchema PriorityLevelConfiguration"),
    (FLOW, "v1beta2", FLOW, "FlowSchema PriorityLevelConfiguration"),
    (FLOW, "v1beta3", FLOW, "FlowSchema PriorityLevelConfiguration"),
    ("node.k8s.io", "v1beta1", "node.k8s.io", "RuntimeClass"),
    ("node.k8s.io", "v1alpha1", "node.k8s.io", "RuntimeClass"),
    (
        "resource.k8s.io",
        "v1beta1",
        "resource.k8s.io",
        "DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice",
    ),
    (
        "resource.k8s.io",
        "v1beta2",
        "resource.k8s.io",
        "DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice",
    ),
    ("authentication.k8s.io", "v1beta1", "authentication.k8s.io", "SelfSubjectReview TokenReview"),
    ("authentication.k8s.io", "v1alpha1", "authentication.k8s.io", "SelfSubjectReview"),
    ("apiextensions.k8s.io", "v1beta1", "apiextensions.k8s.io", "CustomResourceDefinition"),
    ("apiregistration.k8s.io", "v1beta1", "apiregistration.k8s.io", "APIService"),
    (
        "authorization.k8s.io",
        "v1beta1",
        "authorization.k8s.io",
        "LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview",
    ),
];
const RBAC: &str = "rbac.authorization.k8s.io";
const FLOW: &str = "flowcontrol.apiserver.k8s.io";

/// Types that have no resource of their own: group, version and kinds.
const OTHERS: &[(&str, &str, &str)] = &[
    (
        "",
        "v1",
        "List NodeProxyOptions PodAttachOptions PodExecOptions PodLogOptions PodPortForwardOptions PodProxyOptions \
         PodStatusResult RangeAllocation SerializedReference ServiceProxyOptions",
    ),
    ("policy", "v1", "Eviction"),
    ("autoscaling", "v1", "Scale"),
    ("authentication.k8s.io", "v1", "TokenRequest"),
];

/// Types that every version of a group has.
const OPTIONS: &str =
    "CreateOptions DeleteOptions GetOptions ListOptions PatchOptions UpdateOptions WatchEvent";

/// Types that every version has, whatever it is.
const UNVERSIONED: &str = "APIGroup APIGroupList APIResourceList APIVersions Status";

fn has(kinds: &str, kind: &str) -> bool {
    kinds.split(' ').any(|one| one == kind)
}

/// Whether a document that says that it is this becomes the same object as one of `kind` in the group of `expected`.
pub fn is_another_version(group: &str, version: &str, kind: &str, expected: &str) -> bool {
    group == expected && Resource::find_kind(group, version, kind).is_some()
        || UNSERVED
            .iter()
            .any(|(of, at, home, kinds)| (*of, *at, *home) == (group, version, expected) && has(kinds, kind))
}

/// Whether there is such a type.
pub fn is_known(group: &str, version: &str, kind: &str) -> bool {
    let is_kind = |kind: &str| {
        Resource::find_kind(group, version, kind).is_some()
            || UNSERVED.iter().any(|(of, at, _, kinds)| (*of, *at) == (group, version) && has(kinds, kind))
    };
    let is_version = || {
        RESOURCES.iter().any(|one| (one.group, one.version) == (group, version))
            || UNSERVED.iter().any(|(of, at, ..)| (*of, *at) == (group, version))
    };
    is_kind(kind)
        || kind.strip_suffix("List").is_some_and(|one| !one.is_empty() && is_kind(one))
        || OTHERS.iter().any(|(of, at, kinds)| (*of, *at) == (group, version) && has(kinds, kind))
        || has(UNVERSIONED, kind)
        || has(OPTIONS, kind) && is_version()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_known_that_no_resource_has() {
        for (group, version, kind) in [
            ("apps", "v1", "Deployment"),
            ("apps", "v1", "DeploymentList"),
            ("apps", "v1beta1", "DeploymentList"),
            ("apps", "v1beta2", "DeleteOptions"),
            ("", "v1", "List"),
            ("autoscaling", "v1", "Scale"),
            ("", "v9", "Status"),
        ] {
            assert!(is_known(group, version, kind), "{group}/{version} {kind}");
        }
        for (group, version, kind) in
            [("apps", "v1", "List"), ("apps", "v9", "Deployment"), ("nope", "v1", "DeleteOptions")]
        {
            assert!(!is_known(group, version, kind), "{group}/{version} {kind}");
        }
    }

    #[test]
    fn a_kind_is_the_same_in_another_version_and_in_the_group_that_it_has_left() {
        assert!(is_another_version("autoscaling", "v1", "HorizontalPodAutoscaler", "autoscaling"));
        assert!(is_another_version("extensions", "v1beta1", "Ingress", "networking.k8s.io"));
        assert!(is_another_version("", "v1", "Event", "events.k8s.io"));
        assert!(!is_another_version("extensions", "v1beta1", "Ingress", "apps"));
        assert!(!is_another_version("", "v1", "Pod", "events.k8s.io"));
    }
}
