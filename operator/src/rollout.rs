//! What pods of the control plane that do not start mean for its rollout. Pure.
//!
//! A StatefulSet stops a rollout at the first pod that does not become ready. It may wait for that pod for ever, also
//! when the spec has been mended meanwhile ("Forced rollback" in Kubernetes' documentation of StatefulSets).

use crate::observe::{Fault, Problem, Revisions, Rollout};
use crate::options::KUBERNETES_VERSION;

/// What is to be made of pods that do not start.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Nothing is known to be amiss.
    Starting,
    /// A pod does not run, in the revision that the control plane had before or because it has no node.
    Failing(&'a Fault),
    /// A pod of the new revision cannot start.
    UpgradeFailed {
        /// The pod.
        fault: &'a Fault,
        /// The revision before.
        previous: &'a str,
    },
    /// A pod of a revision that nobody wants any more could not start, and has to go.
    Obsolete(&'a Fault),
}

/// Judges the pods that do not run. `served` says whether the cluster has been ready before: if not, there is no
/// revision to go back to.
pub fn judge<'a>(rollout: &'a Rollout, served: bool, faults: &'a [Fault]) -> Verdict<'a> {
    // A report of an older spec does not tell which pods are wanted.
    let Some(Revisions { previous, wanted }) = &rollout.revisions else { return Verdict::Starting };
    let is_broken = |fault: &&Fault| matches!(fault.problem, Problem::Broken(_));
    // A revision that was never rolled out whole has no pod that is worth keeping for what it was.
    let is_obsolete = |revision: &String| revision != wanted && (revision != previous || !served);
    let mut broken = faults.iter().filter(is_broken);
    if let Some(fault) = broken.clone().find(|fault| fault.revision.as_ref().is_some_and(is_obsolete)) {
        return Verdict::Obsolete(fault);
    }
    let upgrades = served && previous != wanted;
    match broken.find(|fault| upgrades && fault.revision.as_ref() == Some(wanted)) {
        Some(fault) => Verdict::UpgradeFailed { fault, previous },
        None => faults.first().map_or(Verdict::Starting, Verdict::Failing),
    }
}

/// Tells of a failed upgrade: where it stopped and why, what was before and what helps. `version` is that of the API
/// server that answered last, `serving` the number of pods that are ready.
pub fn failure(fault: &Fault, previous: &str, image: &str, version: Option<&str>, serving: i32) -> String {
    let version = version.map(|version| format!(" (Kubernetes {version})")).unwrap_or_default();
    let serves = if serving > 0 { "still serves" } else { "has no pod left to serve" };
    format!(
        "the upgrade to Kubernetes {KUBERNETES_VERSION} (image {image}) stopped at pod {}: {}; \
         the previous revision {previous}{version} {serves}; \
         set spec.version and spec.controlPlane back to what they were, or mend the image",
        fault.pod,
        fault.problem.as_str(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk(pod: &str, revision: &str) -> Fault {
        let problem = Problem::Broken("ImagePullBackOff: no such image".into());
        Fault { pod: pod.into(), uid: None, revision: Some(revision.into()), problem }
    }

    fn rolling(previous: &str, wanted: &str) -> Rollout {
        let revisions = Some(Revisions { previous: previous.into(), wanted: wanted.into() });
        Rollout { replicas: 2, ready: 1, current: false, revisions }
    }

    #[test]
    fn what_a_pod_that_does_not_start_means_depends_on_its_revision() {
        let broken = |revision| vec![mk("x-1", revision)];
        let word = |verdict: Verdict<'_>| match verdict {
            Verdict::Starting => "starting".to_owned(),
            Verdict::Failing(_) => "failing".to_owned(),
            Verdict::UpgradeFailed { previous, .. } => format!("upgrade failed after {previous}"),
            Verdict::Obsolete(fault) => format!("obsolete {}", fault.revision.as_deref().unwrap()),
        };
        let unscheduled = |revision| {
            vec![Fault { problem: Problem::Unscheduled("Unschedulable".into()), ..mk("x-1", revision) }]
        };
        let unlabelled = vec![Fault { revision: None, ..mk("x-1", "") }];
        for (what, previous, wanted, served, faults, verdict) in [
            ("nothing is amiss", "a", "b", true, vec![], "starting"),
            ("the first start", "a", "a", false, broken("a"), "failing"),
            ("a mended first start", "a", "b", false, broken("a"), "obsolete a"),
            ("a first start mended in vain", "a", "b", false, broken("b"), "failing"),
            ("an upgrade", "a", "b", true, broken("b"), "upgrade failed after a"),
            ("an upgrade that has no room", "a", "b", true, unscheduled("b"), "failing"),
            ("an upgrade while an old pod fails", "a", "b", true, broken("a"), "failing"),
            ("an upgrade taken back", "a", "a", true, broken("b"), "obsolete b"),
            ("an upgrade replaced by another", "a", "c", true, broken("b"), "obsolete b"),
            ("an upgrade taken back for lack of room", "a", "a", true, unscheduled("b"), "failing"),
            ("no upgrade", "a", "a", true, broken("a"), "failing"),
            ("a pod of nobody knows what", "a", "b", true, unlabelled, "failing"),
            ("two, one left over", "a", "c", true, vec![mk("x-0", "c"), mk("x-1", "b")], "obsolete b"),
        ] {
            assert_eq!(word(judge(&rolling(previous, wanted), served, &faults)), verdict, "{what}");
        }
    }

    #[test]
    fn a_report_of_an_older_spec_condemns_no_pod() {
        assert_eq!(judge(&Rollout::default(), true, &[mk("x-0", "b")]), Verdict::Starting);
    }

    #[test]
    fn a_failed_upgrade_is_told_with_what_was_before_and_what_helps() {
        let told = |version, serving| failure(&mk("x-1", "x-b"), "x-a", "new", version, serving);
        assert_eq!(
            told(Some("v1.36.2"), 1),
            format!(
                "the upgrade to Kubernetes {KUBERNETES_VERSION} (image new) stopped at pod x-1: ImagePullBackOff: \
                 no such image; the previous revision x-a (Kubernetes v1.36.2) still serves; set spec.version and \
                 spec.controlPlane back to what they were, or mend the image"
            )
        );
        assert!(told(None, 0).contains("the previous revision x-a has no pod left to serve;"));
    }
}
