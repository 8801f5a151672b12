//! What admission knows of clusters: their priority class, their protection from deletion, and what their control planes may
//! write.
//!
//! The control plane of a tenant holds a service account of the host. RBAC keeps it in its namespace; within, the policy
//! `vkube-control-planes` keeps it to what came from its tenant. One policy speaks for every cluster: what differs
//! between them is in the name of the account and in the labels of the namespace, so there is no object per cluster that
//! could be missing.

use serde_json::{Value, json};

use super::labels;
use crate::names::PRIORITY_CLASS;

/// The policy that protects clusters from deletion.
const PROTECTION: &str = "vkube-deletion-protection";
/// The policy for what control planes write on the host.
const CONTROL_PLANES: &str = "vkube-control-planes";

pub(super) fn all() -> Vec<Value> {
    let class = json!({
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": PRIORITY_CLASS, "labels": labels()},
        "value": 1_000_000,
        "description": "Control planes of virtual clusters. Their pods do not count against their tenants' quotas.",
    });
    vec![class, protection(), binding(PROTECTION), control_planes(), binding(CONTROL_PLANES)]
}

fn policy(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name, "labels": labels()},
        "spec": spec,
    })
}

fn binding(name: &str) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name, "labels": labels()},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    })
}

fn denial(expression: &str, message: &str) -> Value {
    json!({"expression": expression, "message": message, "reason": "Forbidden"})
}

fn protection() -> Value {
    let unprotected = "!has(oldObject.spec.lifecycle) || !has(oldObject.spec.lifecycle.deletionProtection) || !oldObject.spec.lifecycle.deletionProtection";
    policy(
        PROTECTION,
        &json!({
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["vkube.dev"],
                "apiVersions": ["*"],
                "operations": ["DELETE"],
                "resources": ["virtualclusters"],
                // The default, said here lest every apply differs from what is stored.
                "scope": "*",
            }]},
            "validations": [denial(unprotected, "spec.lifecycle.deletionProtection is set")],
        }),
    )
}

/// What came from a tenant carries the cluster's name. So does nothing that the operator made, which thereby is out of a
/// control plane's reach: its certificates, its volume, its Services.
fn control_planes() -> Value {
    let is_one = "request.userInfo.username.matches('^system:serviceaccount:vc-[^:]+:vc-[^:]+$')";
    // The syncer's list of kinds is its own and not its tenant's; the operator makes no ConfigMaps.
    let marked = |object: &str| {
        format!(
            "{object} == null || (has({object}.metadata.labels) && (('vkube.dev/virtual-cluster' in {object}.metadata.labels && {object}.metadata.labels['vkube.dev/virtual-cluster'] == variables.cluster) || (request.resource.resource == 'configmaps' && 'vkube.dev/managed' in {object}.metadata.labels)))"
        )
    };
    let variable = |name: &str, expression: &str| json!({"name": name, "expression": expression});
    let of_pods = |rule: &str| format!("variables.pod == null || ({rule})");
    let no_own_secret = "!variables.containers.exists(c, (has(c.env) && c.env.exists(e, has(e.valueFrom) && has(e.valueFrom.secretKeyRef) && e.valueFrom.secretKeyRef.name in variables.secrets)) || (has(c.envFrom) && c.envFrom.exists(e, has(e.secretRef) && e.secretRef.name in variables.secrets))) && !variables.volumes.exists(v, (has(v.secret) && has(v.secret.secretName) && v.secret.secretName in variables.secrets) || (has(v.projected) && has(v.projected.sources) && v.projected.sources.exists(s, has(s.secret) && s.secret.name in variables.secrets)))";
    let no_own_volume = "!variables.volumes.exists(v, has(v.persistentVolumeClaim) && v.persistentVolumeClaim.claimName == variables.account + '-data')";
    let no_host = "variables.level == 'privileged' || ((!has(variables.pod.hostNetwork) || !variables.pod.hostNetwork) && (!has(variables.pod.hostPID) || !variables.pod.hostPID) && (!has(variables.pod.hostIPC) || !variables.pod.hostIPC) && !variables.volumes.exists(v, has(v.hostPath)) && !variables.containers.exists(c, has(c.securityContext) && has(c.securityContext.privileged) && c.securityContext.privileged))";
    policy(
        CONTROL_PLANES,
        &json!({
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"vkube.dev/managed": "true"}},
                "resourceRules": [{
                    "apiGroups": ["*"],
                    "apiVersions": ["*"],
                    "operations": ["CREATE", "UPDATE", "DELETE"],
                    "resources": ["*/*"],
                    "scope": "Namespaced",
                }],
            },
            "matchConditions": [{"name": "control-plane", "expression": is_one}],
            "variables": [
                variable("home", "request.userInfo.username.split(':')[2]"),
                variable("account", "request.userInfo.username.split(':')[3]"),
                variable("cluster", "variables.account.substring(3)"),
                variable("secrets", "[variables.account + '-pki', variables.account + '-store']"),
                variable(
                    "level",
                    "has(namespaceObject.metadata.labels) && 'pod-security.kubernetes.io/enforce' in namespaceObject.metadata.labels ? namespaceObject.metadata.labels['pod-security.kubernetes.io/enforce'] : 'baseline'",
                ),
                variable("pod", "object != null && request.kind.kind == 'Pod' && has(object.spec) ? object.spec : null"),
                variable("volumes", "variables.pod != null && has(variables.pod.volumes) ? variables.pod.volumes : []"),
                variable(
                    "containers",
                    "variables.pod == null ? [] : variables.pod.containers + (has(variables.pod.initContainers) ? variables.pod.initContainers : []) + (has(variables.pod.ephemeralContainers) ? variables.pod.ephemeralContainers : [])",
                ),
            ],
            "validations": [
                denial(
                    "variables.home == request.namespace || (has(namespaceObject.metadata.labels) && 'vkube.dev/host-namespace' in namespaceObject.metadata.labels && namespaceObject.metadata.labels['vkube.dev/host-namespace'] == variables.home)",
                    "a control plane writes in its own namespaces",
                ),
                denial(&marked("object"), "a control plane writes what carries its vkube.dev/virtual-cluster label"),
                denial(&marked("oldObject"), "the object does not come from the control plane's tenant"),
                denial(
                    &of_pods("!has(variables.pod.serviceAccountName) || variables.pod.serviceAccountName != variables.account"),
                    "a tenant's pod does not run as its control plane",
                ),
                denial(&of_pods(no_own_secret), "a tenant's pod does not read its control plane's certificates"),
                denial(&of_pods(no_own_volume), "a tenant's pod does not mount its control plane's data"),
                denial(&of_pods(no_host), "a tenant's pod does not reach its node"),
            ],
        }),
    )
}
