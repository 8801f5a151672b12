use super::*;

fn reference(uid: &str, blocks: bool) -> OwnerReference {
    OwnerReference {
        api_version: "apps/v1".into(),
        kind: "ReplicaSet".into(),
        name: uid.into(),
        uid: uid.into(),
        block_owner_deletion: Some(blocks),
        ..OwnerReference::default()
    }
}

fn facts(uid: &str, version: u64, owners: &[(&str, bool)]) -> Facts {
    Facts {
        name: uid.into(),
        namespace: "default".into(),
        uid: uid.into(),
        resource_version: version.to_string(),
        owner_references: owners.iter().map(|(uid, blocks)| reference(uid, *blocks)).collect(),
        ..Facts::default()
    }
}

fn deleting(facts: Facts, finalizer: &str) -> Facts {
    Facts { deletion_timestamp: true, finalizers: vec![finalizer.into()], ..facts }
}

fn examine(uids: &[&str]) -> Vec<Work> {
    uids.iter().map(|uid| Work::Examine(Uid::from(*uid))).collect()
}

fn sorted(mut work: Vec<Work>) -> Vec<Work> {
    work.sort();
    work
}

struct Kinds {
    set: GroupKind,
    pod: GroupKind,
}

fn graph() -> (Graph, Kinds) {
    let mut graph = Graph::default();
    let kinds = Kinds { set: graph.kind("apps", "ReplicaSet"), pod: graph.kind("", "Pod") };
    (graph, kinds)
}

#[test]
fn an_object_without_owners_or_dependents_takes_no_space() {
    let (mut graph, kinds) = graph();
    assert!(graph.observe(&kinds.set, &facts("set", 1, &[])).is_empty());
    assert!(graph.get("set").is_none());
}

#[test]
fn an_unseen_owner_is_verified_and_its_absence_leads_to_its_dependents() {
    let (mut graph, kinds) = graph();
    assert_eq!(graph.observe(&kinds.pod, &facts("pod", 1, &[("set", true)])), examine(&["set"]));
    assert!(graph.get("set").unwrap().is_virtual);
    assert_eq!(graph.remove("set"), examine(&["pod"]));
}

#[test]
fn the_deletion_of_an_owner_leads_to_its_dependents() {
    let (mut graph, kinds) = graph();
    graph.observe(&kinds.pod, &facts("a", 1, &[("set", true)]));
    graph.observe(&kinds.pod, &facts("b", 2, &[("set", true)]));
    assert!(graph.observe(&kinds.set, &facts("set", 3, &[])).is_empty());
    assert!(!graph.get("set").unwrap().is_virtual);
    assert_eq!(sorted(graph.remove("set")), examine(&["a", "b"]));
}

#[test]
fn an_owner_without_dependents_is_forgotten() {
    let (mut graph, kinds) = graph();
    graph.observe(&kinds.pod, &facts("pod", 1, &[("set", true)]));
    graph.observe(&kinds.set, &facts("set", 2, &[]));
    assert!(graph.remove("pod").is_empty());
    assert!(graph.get("set").is_none());
}

#[test]
fn a_late_event_does_not_undo_a_newer_one() {
    let (mut graph, kinds) = graph();
    graph.observe(&kinds.pod, &facts("pod", 5, &[("new", true)]));
    assert!(graph.observe(&kinds.pod, &facts("pod", 4, &[("old", true)])).is_empty());
    assert!(graph.get("old").is_none());
}

#[test]
fn foreground_deletion_looks_at_dependents_then_at_the_owner_as_they_go() {
    let (mut graph, kinds) = graph();
    graph.observe(&kinds.pod, &facts("a", 1, &[("set", true)]));
    graph.observe(&kinds.pod, &facts("b", 2, &[("set", false)]));
    graph.observe(&kinds.set, &facts("set", 3, &[]));
    let work = graph.observe(&kinds.set, &deleting(facts("set", 4, &[]), FOREGROUND));
    assert_eq!(sorted(work), examine(&["a", "b", "set"]));
    assert_eq!(graph.blocking("set"), [Uid::from("a")], "b does not block");
    assert_eq!(graph.remove("a"), examine(&["set"]));
    assert!(graph.blocking("set").is_empty());
}

#[test]
fn a_dependent_that_stops_blocking_lets_its_owner_be_looked_at() {
    let (mut graph, kinds) = graph();
    graph.observe(&kinds.pod, &facts("a", 1, &[("set", true)]));
    graph.observe(&kinds.set, &deleting(facts("set", 2, &[]), FOREGROUND));
    assert_eq!(graph.observe(&kinds.pod, &facts("a", 3, &[("set", false)])), examine(&["set"]));
    assert_eq!(graph.observe(&kinds.pod, &facts("a", 4, &[])), []);
}

#[test]
fn an_orphaning_owner_is_queued_once() {
    let (mut graph, kinds) = graph();
    let orphaning = deleting(facts("set", 1, &[]), ORPHAN);
    assert_eq!(graph.observe(&kinds.set, &orphaning), [Work::Orphan("set".into())]);
    assert!(graph.observe(&kinds.set, &Facts { resource_version: "2".into(), ..orphaning }).is_empty());
}

#[test]
fn a_reference_with_the_wrong_kind_or_namespace_is_examined() {
    let (mut graph, kinds) = graph();
    graph.observe(&kinds.pod, &facts("a", 1, &[("set", true)]));
    let elsewhere = Facts { namespace: "other".into(), ..facts("set", 2, &[]) };
    assert_eq!(graph.observe(&kinds.set, &elsewhere), examine(&["a"]));
    assert_eq!(graph.observe(&kinds.pod, &facts("b", 3, &[("set", true)])), examine(&["b"]));
    let cluster_wide = Facts { namespace: String::new(), ..facts("set", 4, &[]) };
    graph.observe(&kinds.set, &cluster_wide);
    assert!(graph.observe(&kinds.pod, &facts("c", 5, &[("set", true)])).is_empty());
}

#[test]
fn a_complete_list_reveals_missed_deletions() {
    let (mut graph, kinds) = graph();
    graph.observe(&kinds.pod, &facts("a", 1, &[("set", true)]));
    graph.observe(&kinds.set, &facts("set", 2, &[]));
    assert_eq!(graph.retain(&kinds.set, &HashSet::new()), examine(&["a"]));
    assert!(graph.retain(&kinds.pod, &HashSet::from(["a".to_owned()])).is_empty());
}

#[test]
fn what_becomes_of_an_object_depends_on_its_owners() {
    use OwnerState::{Absent, Present, Waiting};
    use PropagationPolicy::{Background, Foreground, Orphan};
    let delete = |policy| Decision::Delete { policy, unblock: false };
    let drop = |uids: &[&str]| Decision::DropOwners(uids.iter().map(ToString::to_string).collect());
    for (states, has_dependents, finalizer, expected) in [
        (&[][..], false, "", Decision::Keep),
        (&[Present], false, "", Decision::Keep),
        (&[Absent], false, "", delete(Background)),
        (&[Present, Absent], false, "", drop(&["1"])),
        (&[Waiting, Present, Absent], false, "", drop(&["0", "2"])),
        (&[Waiting], false, "", delete(Background)),
        (&[Waiting], true, "", delete(Foreground)),
        (&[Absent], true, "", delete(Background)),
        (&[Absent], false, ORPHAN, delete(Orphan)),
        (&[Absent], false, FOREGROUND, delete(Foreground)),
    ] {
        let live = Facts { finalizers: vec![finalizer.to_owned()], ..facts("x", 1, &[]) };
        let owners: Vec<_> =
            states.iter().enumerate().map(|(n, state)| (reference(&n.to_string(), true), *state)).collect();
        assert_eq!(decide(&live, &owners, has_dependents, || false), expected, "{states:?}");
    }
}

#[test]
fn a_circle_of_waiting_is_broken() {
    let owners = [(reference("owner", true), OwnerState::Waiting)];
    let decision = decide(&facts("x", 1, &[]), &owners, true, || true);
    assert_eq!(decision, Decision::Delete { policy: PropagationPolicy::Foreground, unblock: true });
}

#[test]
fn events_are_not_collected() {
    let resource = |group: &str, plural: &str| ServedResource {
        group: group.into(),
        plural: plural.into(),
        verbs: ["delete", "list", "watch"].map(String::from).to_vec(),
        ..ServedResource::default()
    };
    assert!(!is_collectable(&resource("", "events")));
    assert!(!is_collectable(&resource("events.k8s.io", "events")));
    assert!(is_collectable(&resource("example.com", "events")));
    assert!(!is_collectable(&ServedResource { verbs: vec!["list".into()], ..resource("", "bindings") }));
}
