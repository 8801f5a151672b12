//! What outlives a sandbox and what does not.

use std::{ffi::OsString, path::Path, process::ExitCode, process::Stdio};

use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::{Api, api::PostParams, runtime::wait::await_condition};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::Command,
};
use vkube_sandbox::{Options, Sandbox};

use super::setup::{Host, get, ip, is_ready};

/// The subcommand under which this program is a sandbox with one pod, until it is killed.
pub const HOST: &str = "host";

fn mk_options(directory: &Path) -> Options {
    Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        image: "vkube:test".into(),
        install: false,
        ..Options::new(directory.to_owned()).unwrap()
    }
}

/// Starts a pod and waits until it is ready.
async fn start_pod(sandbox: &Sandbox) -> Pod {
    let accounts: Api<ServiceAccount> = Api::default_namespaced(sandbox.client());
    await_condition(accounts, "default", |account: Option<&ServiceAccount>| account.is_some()).await.unwrap();
    let pod = json!({"metadata": {"name": "web"}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [{
        "name": "main", "image": "vkube:test",
        "args": ["workload", "serve", "0.0.0.0:8080", "/proc/sys/kernel/hostname"],
        "readinessProbe": {"tcpSocket": {"port": 8080}},
    }]}});
    let api: Api<Pod> = Api::default_namespaced(sandbox.client());
    api.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    await_condition(api, "web", |pod: Option<&Pod>| pod.is_some_and(is_ready)).await.unwrap().unwrap()
}

pub async fn a_stopped_sandbox_goes_on_where_it_was(_: Host) {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(mk_options(directory.path())).await.unwrap();
    let before = start_pod(&sandbox).await;
    sandbox.stop().await;
    let address = format!("{}:8080", ip(&before));
    assert!(TcpStream::connect(&address).await.is_err(), "its processes end with it");

    let sandbox = Sandbox::start(mk_options(directory.path())).await.unwrap();
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

pub async fn processes_do_not_outlive_a_killed_sandbox(_: Host) {
    let directory = tempfile::tempdir().unwrap();
    let mut sandbox = Command::new(std::env::current_exe().unwrap());
    let sandbox = sandbox.arg(HOST).arg(directory.path()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut sandbox = sandbox.spawn().unwrap();
    let mut lines = BufReader::new(sandbox.stdout.take().unwrap()).lines();
    let address = lines.next_line().await.unwrap().unwrap();
    assert!(TcpStream::connect(&address).await.is_ok());

    sandbox.kill().await.unwrap();
    while TcpStream::connect(&address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

/// The program as a sandbox: prints the address of its pod and waits to be killed.
pub fn host(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let directory = args.next().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let sandbox = Sandbox::start(mk_options(Path::new(&directory))).await.unwrap();
        println!("{}:8080", ip(&start_pod(&sandbox).await));
        std::future::pending().await
    })
}
