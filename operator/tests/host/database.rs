use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use vkube_operator::Login;

use crate::world::{TENANTS, World, host_namespace, text};

fn spec(replicas: i32) -> Value {
    json!({
        "replicas": replicas,
        "backingStore": {"type": "ExternalDatabase", "external": {"secretRef": {"name": "db"}}},
    })
}

async fn create_secret(world: &World) {
    let secret = json!({
        "metadata": {"name": "db"},
        "stringData": {"uri": "postgres://u@db.example/d", "password": "p", "username": "u"},
    });
    let secret: Secret = serde_json::from_value(secret).unwrap();
    world.within::<Secret>(TENANTS).create(&PostParams::default(), &secret).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_over_a_database_are_told_how_to_get_in_and_kept_from_going_together() {
    let world = World::start().await;
    world.create("demo", spec(3)).await;
    world.condition("demo", "BackingStoreReady", "False", "DatabaseUnknown").await;
    create_secret(&world).await;
    let cluster = world.ready("demo").await;
    let namespace = host_namespace(&cluster);
    assert_eq!(cluster.status.unwrap().ready_replicas, 3);

    let secret = world.secret(&namespace, "vc-demo-store").await;
    assert_eq!(
        (text(&secret, "uri"), text(&secret, "password")),
        ("postgres://u@db.example/d".into(), "p".into())
    );
    assert_eq!(secret.data.unwrap().len(), 2, "only what the control plane needs");
    let set = world.within::<StatefulSet>(&namespace).get("demo").await.unwrap().spec.unwrap();
    let pod = set.template.spec.unwrap();
    let arguments = pod.containers[0].args.clone().unwrap();
    let schema = format!("vkube_{}", cluster.metadata.uid.unwrap().replace('-', ""));
    for wanted in ["--leader-elect", "--store-dir=/var/run/vkube/store", &format!("--store-schema={schema}")]
    {
        assert!(arguments.iter().any(|argument| argument == wanted), "{wanted} in {arguments:?}");
    }
    assert!(pod.volumes.unwrap().iter().all(|volume| volume.persistent_volume_claim.is_none()));
    let budgets = world.within::<PodDisruptionBudget>(&namespace);
    assert!(budgets.get_opt("vc-demo").await.unwrap().is_some());

    world.merge(&world.clusters(), "demo", json!({"spec": {"replicas": 1}})).await;
    world.gone(budgets, "vc-demo").await;
    world.stop().await;
}

static AWAY: AtomicBool = AtomicBool::new(true);
static DROPPED: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_goes_with_the_cluster_when_the_database_is_there() {
    let world = World::with(|options| {
        options.drop_schema = |login: Login| {
            Box::pin(async move {
                if AWAY.load(Ordering::Relaxed) {
                    return Err("the database cannot be reached".into());
                }
                assert_eq!(login.files["uri"], b"postgres://u@db.example/d");
                DROPPED.lock().unwrap().push(login.schema);
                Ok(())
            })
        };
    })
    .await;
    create_secret(&world).await;
    world.create("demo", spec(2)).await;
    let cluster = world.ready("demo").await;
    let namespace = host_namespace(&cluster);
    let schema = format!("vkube_{}", cluster.metadata.uid.unwrap().replace('-', ""));
    // What the user's Secret said is remembered.
    world.within::<Secret>(TENANTS).delete("db", &DeleteParams::default()).await.unwrap();
    world.clusters().delete("demo", &DeleteParams::default()).await.unwrap();
    let says = |cluster: Option<&vkube_crds::VirtualCluster>| {
        let conditions = cluster.and_then(|cluster| cluster.status.as_ref()).map(|status| &status.conditions);
        conditions
            .is_some_and(|all| all.iter().any(|one| one.message.contains("the database cannot be reached")))
    };
    world.until(world.clusters(), "demo", "a word about the database", says).await;
    assert!(world.all::<Namespace>().get_opt(&namespace).await.unwrap().is_some());

    AWAY.store(false, Ordering::Relaxed);
    world.merge(&world.clusters(), "demo", json!({"metadata": {"labels": {"look": "again"}}})).await;
    world.gone(world.clusters(), "demo").await;
    assert_eq!(*DROPPED.lock().unwrap(), [schema]);
    assert!(world.all::<Namespace>().get_opt(&namespace).await.unwrap().is_none());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_deletion_leaves_the_schema_behind_and_nothing_else() {
    let world = World::start().await;
    create_secret(&world).await;
    world.create("demo", spec(1)).await;
    let namespace = host_namespace(&world.ready("demo").await);
    world.clusters().delete("demo", &DeleteParams::default()).await.unwrap();
    world.condition("demo", "Deleting", "True", "Deleting").await;
    let force = json!({"metadata": {"annotations": {"vkube.dev/force-delete": "true"}}});
    world.merge(&world.clusters(), "demo", force).await;
    world.gone(world.clusters(), "demo").await;
    world.gone(world.all::<Namespace>(), &namespace).await;
    world.stop().await;
}

/// Who has marked which schema, as the database knows it.
static MARKS: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_is_the_store_of_one_cluster_until_that_is_gone() {
    let world = World::with(|options| {
        options.claim_schema = |login: Login| {
            Box::pin(async move {
                let mut marks = MARKS.lock().unwrap();
                let owner = marks.entry(login.schema).or_insert_with(|| login.owner.clone());
                Ok(Some(owner.clone()).filter(|owner| *owner != login.owner))
            })
        };
        options.release_schema = |login: Login| {
            Box::pin(async move {
                MARKS.lock().unwrap().retain(|_, owner| *owner != login.owner);
                Ok(())
            })
        };
    })
    .await;
    create_secret(&world).await;
    let mut spec = spec(1);
    spec["backingStore"]["external"]["schema"] = "mine".into();
    world.create("first", spec.clone()).await;
    let first = world.ready("first").await;
    let sets = world.within::<StatefulSet>(&host_namespace(&first));
    let pod = sets.get("first").await.unwrap().spec.unwrap().template.spec.unwrap();
    let owner = format!("--store-owner={}", first.metadata.uid.unwrap());
    assert!(pod.containers[0].args.as_ref().unwrap().contains(&owner), "the control plane makes sure too");

    world.create("second", spec).await;
    let second = world.condition("second", "Stalled", "True", "SchemaTaken").await;
    world.condition("second", "BackingStoreReady", "False", "SchemaTaken").await;
    let sets = world.within::<StatefulSet>(&host_namespace(&second));
    assert!(sets.get_opt("second").await.unwrap().is_none(), "it never runs over the data of the first");
    world.ready("first").await;

    world.clusters().delete("first", &DeleteParams::default()).await.unwrap();
    world.gone(world.clusters(), "first").await;
    // Nobody touches the second.
    world.ready("second").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_the_user_named_is_not_remembered_for_removal() {
    let world = World::start().await;
    create_secret(&world).await;
    let mut spec = spec(1);
    spec["backingStore"]["external"]["schema"] = "mine".into();
    world.create("demo", spec).await;
    let namespace = host_namespace(&world.ready("demo").await);
    let secret = world.secret(&namespace, "vc-demo-store").await;
    assert!(!secret.annotations().contains_key("vkube.dev/schema"));
    world.clusters().delete("demo", &DeleteParams::default()).await.unwrap();
    world.gone(world.clusters(), "demo").await;
    world.stop().await;
}
