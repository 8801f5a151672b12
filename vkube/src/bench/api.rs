//! `vkube bench api`: what requests cost an API server, this one or any other.

mod load;
mod watches;

use std::path::{Path, PathBuf};

use clap::Args;
use comfy_table::{Table, presets};
use http::{Request, header};
use kube::{
    Client,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;

use self::load::{Cost, HEADER, Target};
use super::{Failure, process, standalone::Standalone};
use crate::{cli::Outcome, sandbox::Output};

const NAMESPACE: &str = "vkube-bench";
/// Bytes in an object, besides its metadata.
const SIZE: usize = 700;
/// How often a whole list is asked for.
const LISTS: usize = 20;

/// How to measure.
#[derive(Debug, Args)]
pub struct Options {
    /// How many ConfigMaps are made, read and changed.
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    pub objects: usize,
    /// How many connections ask at once.
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub connections: usize,
    /// How many watches follow the changes.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub watchers: usize,
    /// Measure the server of this kubeconfig instead of one of our own; a namespace `vkube-bench` is made there.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The process of that server, if it runs on this machine, to measure its CPU and memory.
    #[arg(long, value_name = "PID", requires = "kubeconfig")]
    pub pid: Option<u32>,
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Measures and prints.
pub async fn run(options: &Options, directory: &Path) -> Outcome {
    let (server, kubeconfig, pid) = match &options.kubeconfig {
        Some(path) => (None, path.clone(), options.pid),
        None => {
            let server = Standalone::start(directory, &["--controllers=false"]).await?;
            let pid = server.pid()?;
            (Some(server), directory.join("kubeconfig"), Some(pid))
        }
    };
    let mut clients = Vec::new();
    for _ in 0..options.connections.max(1) {
        clients.push(connect(&kubeconfig).await?);
    }
    let target = Target { clients, pid };
    let mut costs = load(&target, options).await?;
    for cost in &mut costs {
        cost.compare(options.objects);
    }
    let resident = pid.and_then(process::read).map(|reading| reading.resident);
    match options.output {
        Output::Json => println!("{}", json!({"costs": costs, "residentKiB": resident})),
        Output::Text => print(&costs, resident),
    }
    if let Some(server) = server {
        server.kill().await?;
    } else if let Some(client) = target.clients.first() {
        client.request_text(Request::delete(format!("/api/v1/namespaces/{NAMESPACE}")).body(vec![])?).await?;
    }
    Ok(())
}

async fn connect(kubeconfig: &Path) -> Result<Client, Failure> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

fn print(costs: &[Cost], resident: Option<u64>) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(HEADER);
    table.add_rows(costs.iter().map(Cost::row));
    println!("{}", table.trim_fmt());
    if let Some(resident) = resident {
        println!("\nresident memory afterwards: {:.1} MiB", resident as f64 / 1024.0);
    }
}

async fn load(target: &Target, options: &Options) -> Result<Vec<Cost>, Failure> {
    let namespace = json!({"metadata": {"name": NAMESPACE}}).to_string();
    if let Some(client) = target.clients.first() {
        client.request_text(json_request("POST", "/api/v1/namespaces", namespace)?).await?;
    }
    let count = options.objects;
    let patch = |kind: &'static str, query: &'static str| {
        move |index: usize| {
            let uri = format!("{}{query}", object(index));
            let request = Request::patch(uri).header(header::CONTENT_TYPE, kind);
            request.body(document(index, "patched").into_bytes())
        }
    };
    let (merge, apply) = ("application/merge-patch+json", "application/apply-patch+yaml");
    let mut costs = vec![
        target.run("create", count, |i| json_request("POST", &collection(), document(i, "new"))).await?,
        target.run("get", count, |i| Request::get(object(i)).body(vec![])).await?,
        target.run("update", count, |i| json_request("PUT", &object(i), document(i, "updated"))).await?,
        target.run("patch", count, patch(merge, "")).await?,
        target.run("apply", count, patch(apply, "?fieldManager=bench&force=true")).await?,
    ];
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let metadata = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    for (name, accept, query) in [
        ("list", "application/json", ""),
        ("list as Table", table, ""),
        ("list metadata", metadata, ""),
        ("list by selector", "application/json", "?labelSelector=tenth%3D3"),
    ] {
        let request = move |_| Request::get(collection() + query).header(header::ACCEPT, accept).body(vec![]);
        costs.push(one_at_a_time(target).run(name, LISTS, request).await?);
    }
    costs.push(paged(target).await?);
    let change = |i: usize| json_request("PUT", &object(i), document(i, "watched"));
    let changes = count.min(200);
    costs.push(watches::run(target, &collection(), options.watchers, changes, change).await?);
    costs.push(target.run("delete", count, |i| Request::delete(object(i)).body(vec![])).await?);
    Ok(costs)
}

/// The same server by one connection.
fn one_at_a_time(target: &Target) -> Target {
    Target { clients: target.clients.iter().take(1).cloned().collect(), pid: target.pid }
}

/// Lists in pages of 500.
async fn paged(target: &Target) -> Result<Cost, Failure> {
    let Some(client) = target.clients.first() else { return Err("no connection".into()) };
    let (before, began) = (target.cpu(), std::time::Instant::now());
    let mut took = Vec::new();
    for _ in 0..LISTS / 4 {
        let (began, mut token) = (std::time::Instant::now(), String::new());
        loop {
            let uri = format!("{}?limit=500&continue={token}", collection());
            let text = client.request_text(Request::get(uri).body(vec![])?).await?;
            // The token stands at the beginning, before the items.
            let head = text.get(..2_000).unwrap_or(&text);
            let rest = head.split_once("\"continue\":\"").map(|(_, rest)| rest);
            rest.and_then(|rest| rest.split('"').next()).unwrap_or_default().clone_into(&mut token);
            if token.is_empty() {
                break;
            }
        }
        took.push(began.elapsed());
    }
    Ok(target.cost("list in pages of 500", took, began.elapsed(), before))
}

fn collection() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/configmaps")
}

fn object(index: usize) -> String {
    format!("{}/map-{index}", collection())
}

fn document(index: usize, what: &str) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": format!("map-{index}"), "labels": {"tenth": (index % 10).to_string()}},
        "data": {"what": what, "filling": "x".repeat(SIZE)},
    })
    .to_string()
}

fn json_request(method: &str, uri: &str, body: String) -> http::Result<Request<Vec<u8>>> {
    let request = Request::builder().method(method).uri(uri).header(header::CONTENT_TYPE, "application/json");
    request.body(body.into_bytes())
}
