//! An operator that dies anywhere, and a host in trouble: it always comes right in the end.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use vkube_crds::{VirtualCluster, VirtualClusterPolicy};

use crate::sleep;
use crate::world::{TENANTS, World, host_namespace};

/// More than any way to a goal writes; beyond it the operator goes in circles.
const MOST_WRITES: usize = 200;

/// What several clusters begin with.
const BASE: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: base}\n";

/// A schedule `until SECONDS` is due at once until then, and never again.
fn at_once(schedule: &str, _: &str, after: Timestamp) -> Result<Option<Timestamp>, String> {
    let until: Option<i64> = schedule.strip_prefix("until ").and_then(|text| text.parse().ok());
    Ok(until.filter(|until| after.as_second() <= *until).map(|_| after))
}

/// A world whose clusters may be exported to Argo CD and have an API server inside, without an operator.
async fn prepared() -> World {
    let mut world = World::with(|options| options.next_time = at_once).await;
    let base = json!({"metadata": {"name": "base"}, "data": {"all.yaml": BASE}});
    let maps = world.within::<ConfigMap>(TENANTS);
    maps.create(&PostParams::default(), &serde_json::from_value(base).unwrap()).await.unwrap();
    world.create_namespace("argocd", json!({})).await;
    let spec = json!({"default": true, "constraints": {"allowedExportNamespaces": ["argocd"]}});
    let policy = VirtualClusterPolicy::new("exports", serde_json::from_value(spec).unwrap());
    world.all::<VirtualClusterPolicy>().create(&PostParams::default(), &policy).await.unwrap();
    world.stop_operator().await;
    world
}

/// Everything that can be asked of one cluster at once.
fn wanted() -> serde_json::Value {
    let soon = Timestamp::now().as_second() + 2;
    json!({"export": {"argocd": {"enabled": true}}, "expose": {"type": "NodePort"},
        "snapshots": {"schedule": format!("until {soon}")},
        "bootstrap": {
            "manifests": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: own}\n",
            "manifestRefs": [{"kind": "ConfigMap", "name": "base", "key": "all.yaml"}],
        },
        "config": {"policies": {"podSecurityStandard": "baseline"}},
        "kubeconfig": {"additional": [{"name": "demo-ci", "user": "ci"}]},
        "access": [{"clusterRole": "view", "subjects": [{"kind": "User", "name": "jane"}]}]})
}

/// Whether this ConfigMap is inside the cluster.
async fn has(world: &World, name: &str) -> bool {
    Api::<ConfigMap>::default_namespaced(world.inside()).get_opt(name).await.unwrap().is_some()
}

/// A cluster that is ready, with a snapshot `kept` in it, and no operator any more.
async fn create(world: &mut World) -> VirtualCluster {
    world.empty_inside().await;
    let take = http::Request::post("/vkube/snapshots/kept").body(Vec::new()).unwrap();
    world.inside().request_text(take).await.unwrap();
    world.start_operator();
    world.create("demo", wanted()).await;
    let cluster = world.ready("demo").await;
    world.stop_operator().await;
    cluster
}

/// No cluster any more, and no operator.
async fn delete(world: &mut World) {
    world.clusters().delete("demo", &DeleteParams::default()).await.unwrap();
    world.gone(world.clusters(), "demo").await;
    world.stop_operator().await;
}

async fn residue(world: &World, cluster: &VirtualCluster) -> Vec<String> {
    let params = ListParams::default().labels(&format!("vkube.dev/cluster-uid={}", cluster.uid().unwrap()));
    let mut left = Vec::new();
    macro_rules! look {
        ($kind:ty) => {
            let all = kube::Api::<$kind>::all(world.admin.clone()).list(&params).await.unwrap();
            left.extend(all.items.iter().map(|one| format!("{} {}", stringify!($kind), one.name_any())));
        };
    }
    look!(Namespace);
    look!(ClusterRoleBinding);
    look!(Secret);
    look!(Service);
    // The one beside the cluster goes with its owner, whose end the garbage collector sees a moment later.
    let bindings = world.within::<RoleBinding>("argocd").list(&params).await.unwrap();
    left.extend(bindings.items.iter().map(ResourceExt::name_any));
    left.retain(|name| !name.ends_with("-kubeconfig"));
    left
}

/// Runs an operator that dies after so many writes, and then one that does not. Returns whether the first one lived.
macro_rules! dying {
    ($world:ident, $writes:expr, $act:expr, $goal:expr) => {{
        $world.faults.die_after($writes);
        $world.start_operator();
        $act;
        let lived = tokio::select! {
            () = $world.faults.death() => false,
            () = async { let _ = $goal; } => true,
        };
        $world.kill_operator().await;
        $world.faults.heal();
        $world.start_operator();
        let _ = $goal;
        lived
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_converges_wherever_the_operator_dies() {
    let mut world = prepared().await;
    for writes in 0..=MOST_WRITES {
        assert!(writes < MOST_WRITES, "the operator goes in circles");
        world.empty_inside().await;
        let lived = dying!(world, writes, world.create("demo", wanted()).await, world.ready("demo").await);
        assert!(has(&world, "own").await && has(&world, "base").await, "after {writes} writes");
        world.condition("demo", "SnapshotsTaken", "True", "SnapshotTaken").await;
        delete(&mut world).await;
        if lived {
            assert!(writes > 20, "{writes} writes make no cluster");
            break;
        }
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_converges_wherever_the_operator_dies() {
    let mut world = prepared().await;
    let changed = json!({"spec": {
        "export": {"argocd": null}, "expose": {"type": "Ingress", "externalAddress": "demo.example.com"},
        "bootstrap": {"manifests": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: changed}\n"},
        "restoreFrom": {"snapshot": "kept"}, "snapshots": null,
        "kubeconfig": null, "isolation": {"podSecurity": "restricted", "limitRange": {"enabled": false}},
        "controlPlane": {"resources": {"requests": {"cpu": "200m"}}}}});
    for writes in 0..=MOST_WRITES {
        assert!(writes < MOST_WRITES, "the operator goes in circles");
        let cluster = create(&mut world).await;
        let lived = dying!(
            world,
            writes,
            world.merge(&world.clusters(), "demo", changed.clone()).await,
            world.ready("demo").await
        );
        let namespace = host_namespace(&cluster);
        let labels = world.all::<Namespace>().get(&namespace).await.unwrap().labels().clone();
        assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
        assert!(
            has(&world, "changed").await && !has(&world, "own").await,
            "the snapshot first, then the manifests"
        );
        assert!(world.within::<Service>(&namespace).get_opt("demo-external").await.unwrap().is_none());
        assert!(world.within::<Secret>(TENANTS).get_opt("demo-ci").await.unwrap().is_none());
        assert!(world.within::<Secret>("argocd").get_opt(&namespace).await.unwrap().is_none());
        delete(&mut world).await;
        if lived {
            assert!(writes > 5, "{writes} writes make no change");
            break;
        }
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn going_to_sleep_and_waking_converge_wherever_the_operator_dies() {
    let mut world = World::with(|options| {
        options.doors = Some(sleep::ADDRESS.into());
        options.next_time = sleep::once;
    })
    .await;
    world.stop_operator().await;
    let (mut fell_asleep, mut woke) = (false, false);
    for writes in 0..=MOST_WRITES {
        assert!(writes < MOST_WRITES, "the operator goes in circles");
        world.start_operator();
        let cluster = world.create("demo", json!({})).await;
        let slices = world.within::<EndpointSlice>(&host_namespace(&world.ready("demo").await));
        world.stop_operator().await;
        fell_asleep |= dying!(
            world,
            writes,
            world.merge(&world.clusters(), "demo", json!({"spec": sleep::once_after(&cluster)})).await,
            {
                world.condition("demo", "Ready", "False", "Sleeping").await;
                let bell = |slice: Option<&EndpointSlice>| slice.is_some();
                world.until(slices.clone(), "demo-doorbell", "there", bell).await;
            }
        );
        world.stop_operator().await;
        let wake = json!({"metadata": {"annotations": {"vkube.dev/wake": "2999-01-01T00:00:00Z"}}});
        woke |= dying!(
            world,
            writes,
            world.merge(&world.clusters(), "demo", wake.clone()).await,
            world.ready("demo").await
        );
        world.gone(slices, "demo-doorbell").await;
        delete(&mut world).await;
        if fell_asleep && woke {
            assert!(writes > 3, "{writes} writes put no cluster to sleep");
            break;
        }
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_converges_wherever_the_operator_dies() {
    let mut world = prepared().await;
    for writes in 0..=MOST_WRITES {
        assert!(writes < MOST_WRITES, "the operator goes in circles");
        let cluster = create(&mut world).await;
        let lived = dying!(
            world,
            writes,
            world.clusters().delete("demo", &DeleteParams::default()).await.unwrap(),
            world.gone(world.clusters(), "demo").await
        );
        assert_eq!(residue(&world, &cluster).await, Vec::<String>::new(), "after {writes} writes");
        world.stop_operator().await;
        if lived {
            assert!(writes > 3, "{writes} writes remove nothing");
            break;
        }
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_stopped_while_it_starts_ends() {
    let mut world = World::start().await;
    for _ in 0..10 {
        world.stop_operator().await;
        world.start_operator();
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn storms_of_conflicts_and_errors_pass() {
    let mut world = prepared().await;
    for (code, name) in [(409, "conflicting"), (500, "failing")] {
        world.faults.refuse(code, 3);
        world.start_operator();
        world.create(name, json!({})).await;
        world.ready(name).await;
        world.faults.heal();
        assert_eq!(world.reconciled(name).await, Vec::<String>::new());
        world.stop_operator().await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_namespace_that_cannot_end_is_reported_and_built_anew_once_it_has() {
    let world = World::start().await;
    world.create("demo", json!({})).await;
    let namespace = host_namespace(&world.ready("demo").await);
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    let configs = world.within::<ConfigMap>(&namespace);
    configs.create(&PostParams::default(), &serde_json::from_value(held).unwrap()).await.unwrap();
    world.all::<Namespace>().delete(&namespace, &DeleteParams::default()).await.unwrap();
    world.condition("demo", "NamespaceReady", "False", "NamespaceTerminating").await;
    world.merge(&configs, "held", json!({"metadata": {"finalizers": null}})).await;
    world.ready("demo").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_vanished_leaves_what_was_built_under_it() {
    let world = World::start().await;
    let spec = json!({"enforced": {"isolation": {"podSecurity": "restricted"}}});
    let policy = VirtualClusterPolicy::new("strict", serde_json::from_value(spec).unwrap());
    let policies = world.all::<VirtualClusterPolicy>();
    policies.create(&PostParams::default(), &policy).await.unwrap();
    world.create("demo", json!({"policyRef": {"name": "strict"}})).await;
    let namespace = host_namespace(&world.ready("demo").await);
    policies.delete("strict", &DeleteParams::default()).await.unwrap();
    world.merge(&policies, "strict", json!({"metadata": {"finalizers": null}})).await;
    world.gone(policies, "strict").await;
    world.condition("demo", "PolicyAccepted", "Unknown", "PolicyMissing").await;
    let labels = world.all::<Namespace>().get(&namespace).await.unwrap().labels().clone();
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted", "the quota was never opened");
    world.stop().await;
}
