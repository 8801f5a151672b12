//! The demo: a virtual cluster, a workload in it, and what both sides see.

use std::time::{Duration, Instant};

use comfy_table::{Cell, ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Pod, Service},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams, Patch, PatchParams},
    core::GroupVersionKind,
    discovery,
    runtime::wait::{Condition, await_condition},
};
use vkube_crds::VirtualCluster;
use vkube_sandbox::host::Sandbox;

use super::state::State;
use crate::{
    cli::{Failure, Outcome},
    connect, kubeconfig,
    progress::{Progress, human},
};

const QUICKSTART: &str = include_str!("../../../examples/quickstart.yaml");
/// What that manifest calls the virtual cluster.
const NAME: &str = "my-cluster";
const WORKLOAD: &str = include_str!("../../../examples/workload.yaml");
/// Longer than anything in the sandbox takes; past it something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// Shows what vkube does.
pub async fn run(sandbox: &Sandbox, progress: &mut Progress, state: &State) -> Outcome {
    let host = sandbox.client();
    let began = Instant::now();
    progress.begin("Applying examples/quickstart.yaml");
    apply(&host, QUICKSTART).await?;
    progress.begin("Waiting for the virtual cluster to be Ready");
    let clusters: Api<VirtualCluster> = Api::namespaced(host.clone(), "default");
    let cluster = wait(clusters, NAME, is_ready).await?.ok_or("the virtual cluster is gone")?;
    let took = began.elapsed();

    progress.begin("Deploying a workload inside it");
    let document = connect::kubeconfig_of(&host, &cluster).await?;
    let tenant_kubeconfig = state.directory().join(format!("{NAME}.kubeconfig"));
    kubeconfig::write(&tenant_kubeconfig, &document)?;
    let tenant = connect::client(&document).await?;
    apply(&tenant, WORKLOAD).await?;
    let deployments: Api<Deployment> = Api::namespaced(tenant.clone(), "shop");
    wait(deployments, "web", is_available).await?;
    progress.finish();

    let host_namespace = cluster.status.as_ref().and_then(|s| s.host_namespace.clone()).unwrap_or_default();
    println!("\nA Kubernetes cluster of its own, {} after `kubectl apply`.\n", human(took));
    println!("{}", side_by_side(&tenant, &host, &host_namespace).await?);
    let kubeconfig = tenant_kubeconfig.display();
    println!("\nThe tenant has namespaces, a Deployment and a Service; the host has pods in one namespace.");
    println!("\nTry next, in another terminal:\n");
    println!("  export KUBECONFIG={kubeconfig}");
    println!("  kubectl get pods -A -o wide");
    println!("  kubectl -n shop logs deploy/web");
    println!("  kubectl -n shop scale deploy/web --replicas=5");
    println!("  kubectl -n shop port-forward svc/web 8080:80     # then: curl localhost:8080");
    println!("\nAnd as the host's administrator:\n");
    println!("  export KUBECONFIG={}", state.kubeconfig().display());
    println!("  kubectl get virtualclusters,pods -A\n");
    Ok(())
}

/// Whether a virtual cluster is ready.
pub fn is_ready(cluster: Option<&VirtualCluster>) -> bool {
    let conditions =
        cluster.and_then(|c| c.status.as_ref()).map(|s| s.conditions.as_slice()).unwrap_or_default();
    conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

fn is_available(deployment: Option<&Deployment>) -> bool {
    let Some(deployment) = deployment else { return false };
    let wanted = deployment.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
    deployment.status.as_ref().and_then(|s| s.available_replicas).unwrap_or(0) >= wanted
}

async fn wait<K>(api: Api<K>, name: &str, condition: impl Condition<K>) -> Result<Option<K>, Failure>
where
    K: kube::Resource + Clone + std::fmt::Debug + Send + serde::de::DeserializeOwned + 'static,
    K::DynamicType: Default,
{
    let kind = K::kind(&K::DynamicType::default()).into_owned();
    match tokio::time::timeout(PATIENCE, await_condition(api, name, condition)).await {
        Ok(object) => Ok(object?),
        Err(_) => Err(format!("{kind} {name:?} was not ready after {} s", PATIENCE.as_secs()).into()),
    }
}

/// Applies every document of a manifest, server-side.
async fn apply(client: &Client, manifest: &str) -> Outcome {
    let documents: Vec<DynamicObject> = serde_saphyr::from_multiple(manifest)?;
    for object in documents {
        let types = object.types.clone().ok_or("a manifest without a kind")?;
        let gvk = GroupVersionKind::try_from(&types)?;
        let (resource, capabilities) = discovery::pinned_kind(client, &gvk).await?;
        let namespace = object.namespace().unwrap_or_else(|| "default".into());
        let api: Api<DynamicObject> = match capabilities.scope {
            discovery::Scope::Cluster => Api::all_with(client.clone(), &resource),
            discovery::Scope::Namespaced => Api::namespaced_with(client.clone(), &namespace, &resource),
        };
        let params = PatchParams::apply("vkube").force();
        api.patch(&object.name_any(), &params, &Patch::Apply(&object)).await?;
    }
    Ok(())
}

/// What the tenant sees, beside what the host sees of the same.
async fn side_by_side(tenant: &Client, host: &Client, host_namespace: &str) -> Result<Table, Failure> {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_header([
        "",
        "the tenant sees",
        "the host sees",
    ]);
    let all = ListParams::default();
    let namespaces = |list: Vec<Namespace>| list.iter().map(ResourceExt::name_any).collect::<Vec<_>>();
    table.add_row([
        Cell::new("namespaces"),
        lines(namespaces(Api::<Namespace>::all(tenant.clone()).list(&all).await?.items)),
        lines(namespaces(Api::<Namespace>::all(host.clone()).list(&all).await?.items)),
    ]);
    let deployments = |list: Vec<Deployment>| list.iter().map(ResourceExt::name_any).collect::<Vec<_>>();
    table.add_row([
        Cell::new("deployments"),
        lines(deployments(Api::<Deployment>::namespaced(tenant.clone(), "shop").list(&all).await?.items)),
        lines(deployments(
            Api::<Deployment>::namespaced(host.clone(), host_namespace).list(&all).await?.items,
        )),
    ]);
    let services = |list: Vec<Service>| {
        let shown = |s: &Service| {
            let ip = s.spec.as_ref().and_then(|s| s.cluster_ip.clone()).unwrap_or_default();
            format!("{} {ip}", s.name_any())
        };
        list.iter().map(shown).collect::<Vec<_>>()
    };
    table.add_row([
        Cell::new("services"),
        lines(services(Api::<Service>::namespaced(tenant.clone(), "shop").list(&all).await?.items)),
        lines(services(Api::<Service>::namespaced(host.clone(), host_namespace).list(&all).await?.items)),
    ]);
    let pods = |list: Vec<Pod>| {
        let shown = |p: &Pod| {
            let phase = p.status.as_ref().and_then(|s| s.phase.clone()).unwrap_or_default();
            format!("{} {phase}", p.name_any())
        };
        list.iter().map(shown).collect::<Vec<_>>()
    };
    table.add_row([
        Cell::new("pods"),
        lines(pods(Api::<Pod>::namespaced(tenant.clone(), "shop").list(&all).await?.items)),
        lines(pods(Api::<Pod>::namespaced(host.clone(), host_namespace).list(&all).await?.items)),
    ]);
    Ok(table)
}

fn lines(lines: Vec<String>) -> Cell {
    if lines.is_empty() { Cell::new("none") } else { Cell::new(lines.join("\n")) }
}
