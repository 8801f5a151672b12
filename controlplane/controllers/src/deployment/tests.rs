use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{
    DeploymentSpec, DeploymentStatus, DeploymentStrategy, ReplicaSetStatus, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::*;
use crate::replica_set::replicas;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn template(image: &str) -> PodTemplateSpec {
    let labels = Some([("app".to_owned(), "web".to_owned())].into());
    let container = Container { name: "web".into(), image: Some(image.into()), ..Container::default() };
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels, ..ObjectMeta::default() }),
        spec: Some(PodSpec { containers: vec![container], ..PodSpec::default() }),
    }
}

/// A deployment called web, with image `v1`, a surge of 1 and nothing unavailable.
fn web(replicas: i32) -> Deployment {
    Deployment {
        metadata: ObjectMeta {
            name: Some("web".into()),
            namespace: Some("default".into()),
            uid: Some("web-uid".into()),
            generation: Some(1),
            ..ObjectMeta::default()
        },
        spec: Some(DeploymentSpec {
            replicas: Some(replicas),
            selector: LabelSelector {
                match_labels: Some([("app".to_owned(), "web".to_owned())].into()),
                ..LabelSelector::default()
            },
            template: template("v1"),
            progress_deadline_seconds: Some(600),
            revision_history_limit: Some(10),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
    .rolling(1, 0)
}

trait Shape {
    fn rolling(self, surge: i32, unavailable: i32) -> Self;
    fn image(self, image: &str) -> Self;
    fn change(self, change: impl FnOnce(&mut DeploymentSpec)) -> Self;
}

impl Shape for Deployment {
    fn rolling(self, surge: i32, unavailable: i32) -> Self {
        let rolling_update = Some(RollingUpdateDeployment {
            max_surge: Some(IntOrString::Int(surge)),
            max_unavailable: Some(IntOrString::Int(unavailable)),
        });
        let strategy = DeploymentStrategy { type_: Some("RollingUpdate".into()), rolling_update };
        self.change(|spec| spec.strategy = Some(strategy))
    }

    fn image(self, image: &str) -> Self {
        self.change(|spec| spec.template = template(image))
    }

    fn change(mut self, change: impl FnOnce(&mut DeploymentSpec)) -> Self {
        change(self.spec.as_mut().unwrap());
        self
    }
}

/// A cluster of one deployment, where pods become ready when told to.
struct World {
    deployment: Deployment,
    sets: Vec<ReplicaSet>,
    running: HashSet<String>,
    now: i64,
    notes: Vec<String>,
}

impl World {
    fn new(deployment: Deployment) -> Self {
        Self { deployment, sets: Vec::new(), running: HashSet::new(), now: 0, notes: Vec::new() }
    }

    /// One reconcile; says whether it changed any replica set.
    fn step(&mut self) -> bool {
        let plan = self.plan();
        let mut changed = false;
        self.sets = plan
            .sets
            .into_iter()
            .filter(|planned| !planned.doomed)
            .map(|planned| {
                changed |= planned.observed.as_deref() != Some(&planned.set);
                let mut set = planned.set;
                if planned.observed.is_none() {
                    set.metadata.uid.clone_from(&set.metadata.name);
                    set.metadata.creation_timestamp = Some(Time(at(self.now)));
                }
                set
            })
            .collect();
        self.notes.extend(plan.notes.into_iter().map(|note| note.message));
        self.deployment = plan.rolled_back.unwrap_or(plan.deployment);
        changed
    }

    fn plan(&self) -> Plan {
        let sets = self.sets.iter().cloned().map(Arc::new).collect();
        plan(&Observed { deployment: &self.deployment, sets, running: &self.running, now: at(self.now) })
    }

    /// All pods asked for exist, and at most `more` further ones become available in each set.
    fn pods_become_ready(&mut self, more: i32) {
        for set in &mut self.sets {
            let size = replicas(set);
            let status = set.status.get_or_insert_default();
            let available = (status.available_replicas.unwrap_or(0) + more).min(size);
            let counts = Some(available);
            *status = ReplicaSetStatus {
                replicas: size,
                ready_replicas: counts,
                available_replicas: counts,
                ..ReplicaSetStatus::default()
            };
        }
    }

    fn sizes(&self) -> Vec<i32> {
        self.sets.iter().map(replicas).collect()
    }

    fn settle(&mut self) {
        for _ in 0..100 {
            let changed = self.step();
            self.now += 1;
            self.pods_become_ready(100);
            if !changed && !self.step() {
                return;
            }
        }
        panic!("does not settle: {:?}", self.sizes());
    }

    fn status(&self) -> DeploymentStatus {
        self.deployment.status.clone().unwrap_or_default()
    }

    fn condition(&self, type_: &str) -> (String, String) {
        let conditions = self.status().conditions.unwrap_or_default();
        let found = conditions.into_iter().find(|condition| condition.type_ == type_);
        found.map(|c| (c.status, c.reason.unwrap_or_default())).unwrap_or_default()
    }

    fn revision(&self) -> Option<String> {
        self.deployment.metadata.annotations.as_ref()?.get(revisions::REVISION).cloned()
    }
}

fn pair(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

#[test]
fn a_new_deployment_gets_a_replica_set_of_full_size() {
    let mut world = World::new(web(3));
    world.step();
    let set = &world.sets[0];
    let name = set.metadata.name.as_deref().unwrap();
    let hash = name.strip_prefix("web-").unwrap();
    assert_eq!(world.sizes(), [3]);
    assert_eq!(world.notes, [format!("Scaled up replica set {name} from 0 to 3")]);
    let spec = set.spec.as_ref().unwrap();
    for labels in [
        set.metadata.labels.as_ref(),
        spec.selector.match_labels.as_ref(),
        spec.template.as_ref().unwrap().metadata.as_ref().unwrap().labels.as_ref(),
    ] {
        assert_eq!(labels.unwrap().get(revisions::HASH_LABEL).map(String::as_str), Some(hash));
    }
    assert_eq!(set.metadata.annotations.as_ref().unwrap()[revisions::DESIRED], "3");
    assert_eq!(set.metadata.annotations.as_ref().unwrap()[revisions::MAX], "4");
    assert_eq!(world.revision().as_deref(), Some("1"));
    assert_eq!(world.condition("Progressing"), pair("True", "NewReplicaSetCreated"));
    assert_eq!(world.condition("Available"), pair("False", "MinimumReplicasUnavailable"));
}

#[test]
fn a_settled_deployment_is_complete_and_left_alone() {
    let mut world = World::new(web(3));
    world.settle();
    assert_eq!(world.condition("Progressing"), pair("True", "NewReplicaSetAvailable"));
    assert_eq!(world.condition("Available"), pair("True", "MinimumReplicasAvailable"));
    assert_eq!(world.status().available_replicas, Some(3));
    assert_eq!(world.status().unavailable_replicas, None);
    let before = world.deployment.clone();
    world.now += 10_000;
    assert!(!world.step());
    assert_eq!(world.deployment, before);
    assert_eq!(world.plan().recheck_after, None);
}

#[test]
fn a_rolling_update_never_exceeds_the_surge_nor_falls_below_what_must_be_available() {
    for (wanted, surge, unavailable) in
        [(3, 1, 0), (4, 0, 1), (10, 3, 2), (1, 1, 0), (5, 5, 5), (7, 2, 0), (2, 0, 0)]
    {
        let mut world = World::new(web(wanted).rolling(surge, unavailable));
        world.settle();
        world.deployment = world.deployment.image("v2");
        let unavailable = if surge + unavailable == 0 { 1 } else { unavailable };
        for round in 0..200 {
            world.step();
            let total: i32 = world.sizes().iter().sum();
            assert!(total <= wanted + surge, "{wanted}/{surge}/{unavailable}: {:?}", world.sizes());
            world.pods_become_ready(0);
            let available: i32 =
                world.sets.iter().filter_map(|set| set.status.as_ref()?.available_replicas).sum();
            assert!(available >= wanted - unavailable, "{wanted}/{surge}/{unavailable}: {:?}", world.sizes());
            if round % 3 == 0 {
                world.pods_become_ready(1);
            }
        }
        assert_eq!(world.sizes(), [0, wanted]);
        assert_eq!(world.revision().as_deref(), Some("2"));
        assert_eq!(world.condition("Progressing"), pair("True", "NewReplicaSetAvailable"));
    }
}

#[test]
fn unready_pods_of_the_old_template_go_first() {
    let mut world = World::new(web(10).rolling(3, 2));
    world.settle();
    world.sets[0].status.as_mut().unwrap().available_replicas = Some(8);
    world.deployment = world.deployment.image("broken");
    world.step();
    // 13 at most: 3 new; of the 10 old, the 2 that do not serve are no loss.
    assert_eq!(world.sizes(), [8, 3]);
}

#[test]
fn recreate_waits_until_all_old_pods_are_gone() {
    let recreate = DeploymentStrategy { type_: Some("Recreate".into()), rolling_update: None };
    let mut world = World::new(web(3).change(|spec| spec.strategy = Some(recreate)));
    world.settle();
    let old = world.sets[0].metadata.uid.clone().unwrap();
    world.running.insert(old.clone());
    world.deployment = world.deployment.image("v2");
    world.step();
    assert_eq!(world.sizes(), [0]);
    world.step();
    assert_eq!(world.sizes(), [0], "old pods still run");
    world.running.clear();
    world.step();
    assert_eq!(world.sizes(), [0, 3]);
}

#[test]
fn scaling_in_the_middle_of_a_rollout_is_shared_in_proportion() {
    // The example of the documentation: 10 replicas, surge 3, unavailable 2, the new image does not start.
    let mut world = World::new(web(10).rolling(3, 2));
    world.settle();
    world.deployment = world.deployment.image("broken");
    for _ in 0..5 {
        world.step();
        world.pods_become_ready(0);
    }
    assert_eq!(world.sizes(), [8, 5]);
    world.deployment = world.deployment.change(|spec| spec.replicas = Some(15));
    world.step();
    assert_eq!(world.sizes(), [11, 7]);
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut world = World::new(web(2));
    world.settle();
    world.deployment = world.deployment.image("v2").change(|spec| spec.paused = Some(true));
    world.step();
    assert_eq!(world.sizes(), [2]);
    assert_eq!(world.condition("Progressing"), pair("Unknown", "DeploymentPaused"));
    world.deployment = world.deployment.change(|spec| spec.replicas = Some(4));
    world.step();
    assert_eq!(world.sizes(), [4]);
    world.deployment = world.deployment.change(|spec| spec.paused = Some(false));
    world.settle();
    assert_eq!(world.sizes(), [0, 4]);
}

#[test]
fn going_back_to_an_old_template_reuses_its_set_with_a_new_revision() {
    let mut world = World::new(web(1));
    world.settle();
    world.deployment = world.deployment.image("v2");
    world.settle();
    world.deployment = world.deployment.image("v1");
    world.settle();
    assert_eq!(world.sizes(), [1, 0]);
    assert_eq!(world.revision().as_deref(), Some("3"));
    let annotations = world.sets[0].metadata.annotations.clone().unwrap();
    assert_eq!(annotations["deployment.kubernetes.io/revision-history"], "1");
}

#[test]
fn the_rollback_annotation_restores_the_template_of_a_revision() {
    let mut world = World::new(web(1));
    world.settle();
    world.deployment = world.deployment.image("v2");
    world.settle();
    let ask = |world: &mut World, revision: &str| {
        let annotations = world.deployment.metadata.annotations.get_or_insert_default();
        annotations.insert(revisions::ROLLBACK_TO.to_owned(), revision.to_owned());
        world.notes.clear();
        world.step();
    };
    ask(&mut world, "1");
    assert_eq!(world.notes, [r#"Rolled back deployment "web" to revision 1"#]);
    assert_eq!(world.deployment.spec.as_ref().unwrap().template, template("v1"));
    assert!(!world.deployment.metadata.annotations.as_ref().unwrap().contains_key(revisions::ROLLBACK_TO));
    ask(&mut world, "77");
    assert_eq!(world.notes, ["Unable to find the revision to rollback to."]);
}

#[test]
fn history_beyond_the_limit_is_deleted_oldest_revision_first() {
    let mut world = World::new(web(1).change(|spec| spec.revision_history_limit = Some(1)));
    for image in ["v1", "v2", "v3", "v4"] {
        world.deployment = world.deployment.image(image);
        world.settle();
    }
    world.step();
    let revisions: Vec<_> = world
        .sets
        .iter()
        .map(|set| set.metadata.annotations.as_ref().unwrap()[revisions::REVISION].clone())
        .collect();
    assert_eq!(revisions, ["3", "4"]);
}

#[test]
fn a_rollout_without_progress_times_out_at_its_deadline() {
    let mut world = World::new(web(1));
    world.step();
    world.pods_become_ready(0);
    world.step();
    assert_eq!(world.condition("Progressing"), pair("True", "ReplicaSetUpdated"));
    world.now = 100;
    let plan = world.plan();
    assert_eq!(plan.recheck_after, Some(std::time::Duration::from_secs(500)));
    world.now = 600;
    world.step();
    assert_eq!(world.condition("Progressing"), pair("False", "ProgressDeadlineExceeded"));
    assert_eq!(world.plan().recheck_after, None);
    world.pods_become_ready(1);
    world.step();
    assert_eq!(world.condition("Progressing"), pair("True", "NewReplicaSetAvailable"));
}

#[test]
fn a_collision_changes_the_name_of_the_next_set() {
    let mut world = World::new(web(1));
    let first = world.plan().sets[0].set.metadata.name.clone();
    world.deployment.status.get_or_insert_default().collision_count = Some(1);
    assert_ne!(world.plan().sets[0].set.metadata.name, first);
}

#[test]
fn a_failing_replica_set_is_reported_on_the_deployment() {
    let mut world = World::new(web(1));
    world.step();
    let failure = k8s_openapi::api::apps::v1::ReplicaSetCondition {
        type_: "ReplicaFailure".into(),
        status: "True".into(),
        reason: Some("FailedCreate".into()),
        ..Default::default()
    };
    world.sets[0].status.get_or_insert_default().conditions = Some(vec![failure]);
    world.step();
    assert_eq!(world.condition("ReplicaFailure"), pair("True", "FailedCreate"));
    world.sets[0].status.get_or_insert_default().conditions = None;
    world.step();
    assert_eq!(world.condition("ReplicaFailure"), pair("", ""));
}

#[test]
fn annotations_reach_the_set_but_not_those_of_kubectl() {
    let mut world = World::new(web(1));
    let annotations = [("team", "shop"), ("kubectl.kubernetes.io/last-applied-configuration", "{}")];
    world.deployment.metadata.annotations =
        Some(annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    world.step();
    let annotations = world.sets[0].metadata.annotations.as_ref().unwrap();
    assert_eq!(annotations.get("team").map(String::as_str), Some("shop"));
    assert!(!annotations.contains_key("kubectl.kubernetes.io/last-applied-configuration"));
}
