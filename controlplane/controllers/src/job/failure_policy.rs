//! The pod failure policy: what a failed pod means for its job.

use k8s_openapi::api::batch::v1::{
    Job, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

use crate::pods;

/// What a failed pod means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It counts towards the backoff limit.
    Count,
    /// It does not.
    Ignore,
    /// Its index has failed.
    FailIndex,
    /// The job has failed; the message says why.
    FailJob(String),
}

/// What the first matching rule says of `pod`.
pub(super) fn judge(job: &Job, pod: &Pod) -> Verdict {
    let policy = job.spec.as_ref().and_then(|spec| spec.pod_failure_policy.as_ref());
    // A pod that was deleted before it failed has no exit codes to judge by.
    let Some(policy) = policy.filter(|_| pods::phase(pod) == "Failed") else { return Verdict::Count };
    for (number, rule) in policy.rules.iter().enumerate() {
        let found = match (&rule.on_exit_codes, &rule.on_pod_conditions) {
            (Some(codes), _) => exit_code(codes, pod),
            (None, Some(patterns)) => condition(patterns, pod),
            (None, None) => None,
        };
        let Some(found) = found else { continue };
        let action = rule.action.as_str();
        return match action {
            "Ignore" => Verdict::Ignore,
            "FailIndex" => Verdict::FailIndex,
            "FailJob" => Verdict::FailJob(format!("{found} matching {action} rule at index {number}")),
            _ => Verdict::Count,
        };
    }
    Verdict::Count
}

fn full_name(pod: &Pod) -> String {
    let (namespace, name) = (pod.metadata.namespace.as_deref(), pod.metadata.name.as_deref());
    format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default())
}

fn exit_code(wanted: &PodFailurePolicyOnExitCodesRequirement, pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    let ended = all.filter_map(|container| Some((container, terminated(container)?)));
    let matching = |(container, end): &(&ContainerStatus, &ContainerStateTerminated)| {
        let named = wanted.container_name.as_ref().is_none_or(|name| *name == container.name);
        let listed = wanted.values.contains(&end.exit_code);
        let matches = if wanted.operator == "NotIn" { !listed } else { listed };
        named && end.exit_code != 0 && matches
    };
    let (container, end) = { ended }.find(matching)?;
    Some(format!(
        "Container {} for pod {} failed with exit code {}",
        container.name,
        full_name(pod),
        end.exit_code
    ))
}

fn terminated(container: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    container.state.as_ref()?.terminated.as_ref()
}

fn condition(patterns: &[PodFailurePolicyOnPodConditionsPattern], pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let matching = |type_: &str, status: &str| {
        patterns
            .iter()
            .any(|wanted| wanted.type_ == type_ && wanted.status.as_deref().unwrap_or("True") == status)
    };
    let found = conditions.iter().find(|condition| matching(&condition.type_, &condition.status))?;
    Some(format!("Pod {} has condition {}", full_name(pod), found.type_))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::batch::v1::{JobSpec, PodFailurePolicy, PodFailurePolicyRule};
    use k8s_openapi::api::core::v1::{ContainerState, PodCondition};

    use super::*;
    use crate::pods::tests::running;

    fn failed(code: i32, disrupted: bool) -> Pod {
        let mut pod = running("a");
        let status = pod.status.as_mut().unwrap();
        status.phase = Some("Failed".into());
        let end = ContainerStateTerminated { exit_code: code, ..ContainerStateTerminated::default() };
        let state = Some(ContainerState { terminated: Some(end), ..ContainerState::default() });
        status.container_statuses =
            Some(vec![ContainerStatus { name: "main".into(), state, ..ContainerStatus::default() }]);
        if disrupted {
            let condition = PodCondition {
                type_: "DisruptionTarget".into(),
                status: "True".into(),
                ..PodCondition::default()
            };
            status.conditions = Some(vec![condition]);
        }
        pod
    }

    fn job() -> Job {
        let codes = |action: &str, operator: &str, values: &[i32]| PodFailurePolicyRule {
            action: action.into(),
            on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
                operator: operator.into(),
                values: values.to_vec(),
                container_name: None,
            }),
            on_pod_conditions: None,
        };
        let disruption = PodFailurePolicyOnPodConditionsPattern {
            type_: "DisruptionTarget".into(),
            status: Some("True".into()),
        };
        let ignore = PodFailurePolicyRule {
            action: "Ignore".into(),
            on_exit_codes: None,
            on_pod_conditions: Some(vec![disruption]),
        };
        let rules = vec![
            ignore,
            codes("FailJob", "In", &[42]),
            codes("FailIndex", "In", &[43]),
            codes("Count", "NotIn", &[1]),
        ];
        let spec = JobSpec { pod_failure_policy: Some(PodFailurePolicy { rules }), ..JobSpec::default() };
        Job { spec: Some(spec), ..Job::default() }
    }

    #[test]
    fn the_first_matching_rule_decides() {
        let job = job();
        assert_eq!(judge(&job, &failed(42, true)), Verdict::Ignore);
        assert_eq!(judge(&job, &failed(43, false)), Verdict::FailIndex);
        assert_eq!(judge(&job, &failed(7, false)), Verdict::Count);
        assert_eq!(judge(&job, &failed(1, false)), Verdict::Count);
        let message =
            "Container main for pod default/a failed with exit code 42 matching FailJob rule at index 1";
        assert_eq!(judge(&job, &failed(42, false)), Verdict::FailJob(message.into()));
    }

    #[test]
    fn a_pod_that_has_not_failed_yet_counts_by_default() {
        let mut pod = failed(42, false);
        pod.status.as_mut().unwrap().phase = Some("Running".into());
        assert_eq!(judge(&job(), &pod), Verdict::Count);
    }
}
