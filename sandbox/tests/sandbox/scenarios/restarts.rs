//! What outlives a sandbox and what does not.

use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::{Api, api::PostParams, runtime::wait::await_condition};
use serde_json::json;
use vkube_sandbox::{Options, Sandbox};

use super::setup::{Host, get, ip, is_ready};

pub async fn a_stopped_sandbox_goes_on_where_it_was(_: Host) {
    let directory = tempfile::tempdir().unwrap();
    let options = || Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        image: "vkube:test".into(),
        install: false,
        ..Options::new(directory.path().to_owned()).unwrap()
    };
    let sandbox = Sandbox::start(options()).await.unwrap();
    let api: Api<Pod> = Api::default_namespaced(sandbox.client());
    let accounts: Api<ServiceAccount> = Api::default_namespaced(sandbox.client());
    await_condition(accounts, "default", |account: Option<&ServiceAccount>| account.is_some()).await.unwrap();
    let pod = json!({"metadata": {"name": "web"}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [{
        "name": "main", "image": "vkube:test",
        "args": ["workload", "serve", "0.0.0.0:8080", "/proc/sys/kernel/hostname"],
        "readinessProbe": {"tcpSocket": {"port": 8080}},
    }]}});
    api.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let before =
        await_condition(api, "web", |pod: Option<&Pod>| pod.is_some_and(is_ready)).await.unwrap().unwrap();
    sandbox.stop().await;
    let address = format!("{}:8080", ip(&before));
    assert!(tokio::net::TcpStream::connect(&address).await.is_err(), "its processes end with it");

    let sandbox = Sandbox::start(options()).await.unwrap();
    let api: Api<Pod> = Api::default_namespaced(sandbox.client());
    let restarted = |pod: Option<&Pod>| {
        pod.is_some_and(|pod| {
            let status = pod.status.as_ref().unwrap().container_statuses.as_ref().unwrap();
            is_ready(pod) && status[0].restart_count == 1
        })
    };
    let after = await_condition(api, "web", restarted).await.unwrap().unwrap();
    assert_eq!(after.metadata.uid, before.metadata.uid);
    assert_eq!(get(&format!("{}:8080", ip(&after))).await, "web\n");
    sandbox.stop().await;
}
