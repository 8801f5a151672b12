//! What a control plane is told besides, how it is probed and who measures it.

use vkube_crds::{AdmissionPlugins, ControlPlane, FileRef, Probes, ServiceMonitor, Switch};

use super::is_reserved;

/// Flags that the operator sets, or that a field of the spec stands for.
const RESERVED: [&str; 29] = [
    "access",
    "audit-policy-file",
    "authentication-config",
    "block-writes",
    "cluster-domain",
    "data-dir",
    "disable-admission-plugins",
    "enable-admission-plugins",
    "forward-dns",
    "help",
    "host-namespace",
    "leader-elect",
    "listen",
    "name",
    "network-bounds",
    "pki-dir",
    "report-activity",
    "resolve-dns",
    "service-cluster-ip-range",
    "service-name",
    "standalone",
    "store",
    "store-dir",
    "store-owner",
    "store-schema",
    "sync",
    "uid",
    "version",
    "write-kubeconfig",
];

/// What a control plane is told besides, how it is probed and who measures it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tuning {
    /// The times of its probes.
    pub probes: Probes,
    /// How Prometheus finds its metrics, unless it does not.
    pub monitor: Option<ServiceMonitor>,
    /// Its admission plugins.
    pub admission: AdmissionPlugins,
    /// What it tells of requests.
    pub audit_policy: Option<FileRef>,
    /// Who vouches for users.
    pub authentication: Option<FileRef>,
    /// Further flags.
    pub extra_args: Vec<String>,
}

impl Tuning {
    /// The files that the control plane is given: the name of each there, and where it comes from.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &FileRef)> {
        let audit = self.audit_policy.iter().map(|file| (AUDIT_POLICY, file));
        audit.chain(self.authentication.iter().map(|file| (AUTHENTICATION, file)))
    }
}

/// The file that says what is told of requests.
pub const AUDIT_POLICY: &str = "audit-policy.yaml";
/// The file that says who vouches for users.
pub const AUTHENTICATION: &str = "authentication.yaml";

/// Reads what is asked.
pub fn validate(asked: &ControlPlane, wrong: &mut Vec<String>) -> Tuning {
    for argument in &asked.extra_args {
        let flag = flag(argument);
        if RESERVED.contains(&flag) || flag.starts_with("workload-") {
            wrong.push(format!("controlPlane.extraArgs: --{flag} is the operator's to set"));
        }
    }
    let monitor = asked.service_monitor.clone();
    let labels = monitor.iter().flat_map(|monitor| monitor.labels.keys());
    for key in labels.filter(|key| is_reserved(key)) {
        wrong.push(format!("controlPlane.serviceMonitor.labels: {key} belongs to Kubernetes or vkube"));
    }
    let admission = asked.admission_plugins.clone().unwrap_or_default();
    Tuning {
        probes: asked.probes.clone().unwrap_or_default(),
        monitor: monitor.filter(|monitor| monitor.enabled != Some(Switch::Disabled)),
        admission,
        audit_policy: asked.audit_policy_ref.clone(),
        authentication: asked.authentication_config_ref.clone(),
        extra_args: asked.extra_args.clone(),
    }
}

/// The name of the flag that an argument sets.
pub fn flag(argument: &str) -> &str {
    let argument = argument.trim_start_matches('-');
    argument.split_once('=').map_or(argument, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrong(asked: serde_json::Value) -> String {
        let mut wrong = Vec::new();
        validate(&serde_json::from_value(asked).unwrap(), &mut wrong);
        wrong.join("; ")
    }

    #[test]
    fn flags_that_the_operator_sets_are_refused_and_others_are_not() {
        assert_eq!(wrong(json!({"extraArgs": ["--max-requests-inflight=50", "--verbose"]})), "");
        for argument in ["--sync={}", "--listen=0.0.0.0:1", "--workload-runtime-class=none", "--uid"] {
            let said = wrong(json!({"extraArgs": [argument]}));
            assert!(said.contains(flag(argument)) && said.contains("operator's to set"), "{said}");
        }
    }
}
