use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSetSpec, DaemonSetUpdateStrategy, RollingUpdateDaemonSet};
use k8s_openapi::api::core::v1::{NodeSpec, PodSpec, PodTemplateSpec, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::*;
use crate::pods::tests::running;

fn agent(change: impl FnOnce(&mut DaemonSetSpec)) -> DaemonSet {
    let template = PodTemplateSpec { metadata: None, spec: Some(PodSpec::default()) };
    let mut spec = DaemonSetSpec { template, ..DaemonSetSpec::default() };
    change(&mut spec);
    let metadata =
        ObjectMeta { name: Some("agent".into()), uid: Some("set".into()), ..ObjectMeta::default() };
    DaemonSet { metadata, spec: Some(spec), status: None }
}

fn rolling(unavailable: i32, surge: i32) -> impl FnOnce(&mut DaemonSetSpec) {
    move |spec| {
        spec.update_strategy = Some(DaemonSetUpdateStrategy {
            type_: Some("RollingUpdate".into()),
            rolling_update: Some(RollingUpdateDaemonSet {
                max_unavailable: Some(IntOrString::Int(unavailable)),
                max_surge: Some(IntOrString::Int(surge)),
            }),
        });
    }
}

fn tainted(name: &str, taint: Option<&str>) -> Arc<Node> {
    let labels = Some([("disk".to_owned(), name.to_owned())].into());
    let taints =
        taint.map(|effect| vec![Taint { key: "x".into(), effect: effect.into(), ..Taint::default() }]);
    Arc::new(Node {
        metadata: ObjectMeta { name: Some(name.into()), labels, ..ObjectMeta::default() },
        spec: Some(NodeSpec { taints, ..NodeSpec::default() }),
        status: None,
    })
}

fn node(name: &str) -> Arc<Node> {
    tainted(name, None)
}

fn nodes() -> Vec<Arc<Node>> {
    ["a", "b", "c"].map(node).to_vec()
}

fn pod_of(hash: &str, node: &str, change: impl FnOnce(&mut Pod)) -> Arc<Pod> {
    let mut pod = running(&format!("{hash}-{node}"));
    pod.spec.as_mut().unwrap().node_name = Some(node.into());
    pod.metadata.labels = Some([(REVISION_LABEL.to_owned(), hash.to_owned())].into());
    change(&mut pod);
    Arc::new(pod)
}

fn new(node: &str) -> Arc<Pod> {
    pod_of("new", node, |_| {})
}

fn old(node: &str) -> Arc<Pod> {
    pod_of("old", node, |_| {})
}

fn unready(pod: &mut Pod) {
    pod.status.as_mut().unwrap().conditions = None;
}

fn run(set: &DaemonSet, nodes: &[Arc<Node>], pods: &[Arc<Pod>]) -> (Vec<String>, Vec<String>) {
    let now = Timestamp::from_second(1000).unwrap();
    let plan = plan(&Observed { set, pods, nodes, hash: "new", now });
    (plan.create, plan.delete.iter().filter_map(|pod| pod.metadata.name.clone()).collect())
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn every_node_gets_one_pod() {
    let set = agent(|_| {});
    assert_eq!(run(&set, &nodes(), &[]), (owned(&["a", "b", "c"]), owned(&[])));
    assert_eq!(run(&set, &nodes(), &[new("a"), new("b"), new("c")]), (owned(&[]), owned(&[])));
    let twin = pod_of("new", "a", |pod| {
        pod.metadata.name = Some("twin".into());
        pod.metadata.creation_timestamp = Some(Time(Timestamp::from_second(5).unwrap()));
    });
    assert_eq!(run(&set, &[node("a")], &[twin, new("a")]).1, ["twin"], "the younger one goes");
}

#[test]
fn a_pod_is_bound_to_its_node_and_bears_what_daemons_bear() {
    let pod = pod::build(&agent(|_| {}), "b", "new");
    assert_eq!(pod::node_of(&pod), Some("b"));
    let tolerations = pod.spec.unwrap().tolerations.unwrap();
    assert!(tolerations.iter().any(|one| one.key.as_deref() == Some("node.kubernetes.io/unschedulable")));
    assert_eq!(pod.metadata.generate_name.as_deref(), Some("agent-"));
}

#[test]
fn node_selectors_and_taints_decide_which_nodes_fit() {
    let selecting = agent(|spec| {
        let wanted = [("disk".to_owned(), "b".to_owned())].into();
        spec.template.spec.as_mut().unwrap().node_selector = Some(wanted);
    });
    assert_eq!(run(&selecting, &nodes(), &[new("a")]), (owned(&["b"]), owned(&["new-a"])));
    let set = agent(|_| {});
    assert_eq!(run(&set, &[tainted("a", Some("NoSchedule"))], &[]).0, owned(&[]));
    assert_eq!(run(&set, &[tainted("a", Some("NoSchedule"))], &[new("a")]).1, owned(&[]), "it may stay");
    assert_eq!(run(&set, &[tainted("a", Some("NoExecute"))], &[new("a")]).1, ["new-a"]);
}

#[test]
fn pods_of_nodes_that_are_gone_go_too() {
    assert_eq!(run(&agent(|_| {}), &[node("a")], &[new("a"), new("z")]).1, ["new-z"]);
}

#[test]
fn a_failed_pod_is_deleted_after_a_while() {
    let failed = |created: i64| {
        pod_of("new", "a", |pod| {
            pod.status.as_mut().unwrap().phase = Some("Failed".into());
            pod.metadata.creation_timestamp = Some(Time(Timestamp::from_second(created).unwrap()));
        })
    };
    let set = agent(|_| {});
    assert_eq!(run(&set, &[node("a")], &[failed(900)]).1, ["new-a"]);
    let now = Timestamp::from_second(1000).unwrap();
    let young = [failed(995)];
    let plan = plan(&Observed { set: &set, pods: &young, nodes: &[node("a")], hash: "new", now });
    assert_eq!((plan.delete.len(), plan.recheck_after), (0, Some(std::time::Duration::from_secs(5))));
}

#[test]
fn a_rolling_update_takes_as_many_as_may_be_unavailable() {
    let all_old = [old("a"), old("b"), old("c")];
    assert_eq!(run(&agent(rolling(1, 0)), &nodes(), &all_old).1, ["old-a"]);
    assert_eq!(run(&agent(rolling(2, 0)), &nodes(), &all_old).1, ["old-a", "old-b"]);
    let unready_new = [pod_of("new", "a", unready), old("b"), old("c")];
    assert_eq!(run(&agent(rolling(1, 0)), &nodes(), &unready_new).1, owned(&[]));
    let broken_old = [pod_of("old", "a", unready), old("b"), old("c")];
    assert_eq!(run(&agent(rolling(1, 0)), &nodes(), &broken_old).1, ["old-a"]);
}

#[test]
fn on_delete_updates_nothing_by_itself() {
    let set = agent(|spec| {
        let type_ = Some("OnDelete".into());
        spec.update_strategy = Some(DaemonSetUpdateStrategy { type_, rolling_update: None });
    });
    assert_eq!(run(&set, &[node("a")], &[old("a")]), (owned(&[]), owned(&[])));
}

#[test]
fn a_surge_starts_the_new_pod_before_the_old_one_goes() {
    let set = agent(rolling(0, 1));
    assert_eq!(run(&set, &nodes(), &[old("a"), old("b"), old("c")]), (owned(&["a"]), owned(&[])));
    let waiting = [old("a"), pod_of("new", "a", unready), old("b"), old("c")];
    assert_eq!(run(&set, &nodes(), &waiting), (owned(&[]), owned(&[])));
    let ready = [old("a"), new("a"), old("b"), old("c")];
    assert_eq!(run(&set, &nodes(), &ready), (owned(&[]), owned(&["old-a"])));
}

#[test]
fn the_status_counts_nodes() {
    let set = agent(|_| {});
    let nodes = [node("a"), node("b"), tainted("c", Some("NoSchedule"))];
    let pods = [new("a"), pod_of("old", "b", unready), new("c")];
    let now = Timestamp::from_second(1000).unwrap();
    let (status, _) = plan::observe(&Observed { set: &set, pods: &pods, nodes: &nodes, hash: "new", now });
    assert_eq!((status.desired_number_scheduled, status.current_number_scheduled), (2, 2));
    assert_eq!((status.number_ready, status.number_misscheduled), (1, 1));
    assert_eq!((status.number_available, status.number_unavailable), (Some(1), Some(1)));
    assert_eq!(status.updated_number_scheduled, Some(1));
}
