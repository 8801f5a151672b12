//! `vkube connect NAME`: a kubeconfig for a virtual cluster: merged into the user's, printed, or for the
//! length of one command.

mod forward;
mod merge;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use clap::Args;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::Value;
use vkube_crds::VirtualCluster;

use crate::{
    cli::{Failure, Outcome},
    clusters::{self, Place, Target},
    kubeconfig,
    stop::Stop,
};

/// How long a virtual cluster may take to answer before it counts as out of reach from here.
const REACH: Duration = Duration::from_millis(700);

/// What to connect to, and how.
#[derive(Debug, Args)]
pub struct Options {
    /// Which cluster.
    #[command(flatten)]
    pub target: Target,
    /// Print the kubeconfig instead of merging it.
    #[arg(long, conflicts_with = "command")]
    pub print: bool,
    /// The kubeconfig to merge into.
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    pub kubeconfig: Option<PathBuf>,
    /// A command to run with the kubeconfig, after `--`.
    #[arg(last = true)]
    pub command: Vec<String>,
}

impl Options {
    /// Merging into the kubeconfig that kubectl uses.
    pub fn merging(name: String, place: Place) -> Self {
        Self { target: Target { name, place }, print: false, kubeconfig: None, command: Vec::new() }
    }
}

/// Connects.
pub async fn run(options: Options) -> Outcome {
    let (host, cluster) = options.target.find().await?;
    let (document, tunnel) = reach(&host, cluster).await?;
    let name = format!("vkube_{}", options.target.name);
    if !options.command.is_empty() {
        return run_command(&document, &options.command).await;
    }
    if options.print {
        print!("{}", kubeconfig::yaml(&document)?);
    } else {
        let path =
            options.kubeconfig.or_else(merge::default_path).ok_or("no home directory; give --kubeconfig")?;
        merge::merge_into(&path, &document)?;
        println!("Merged context {name:?} into {} and switched to it.", path.display());
        println!("Try: kubectl get namespaces");
    }
    if let Some(tunnel) = tunnel {
        eprintln!("Forwarding {} to the virtual cluster; press Ctrl-C to end.", tunnel.address);
        Stop::new()?.wait().await;
    }
    Ok(())
}

/// The kubeconfig by which a cluster is reached from here, and the tunnel that it leads through, if it takes one. A cluster
/// that wakes when it is connected to is awake then.
pub async fn reach(
    host: &Client,
    cluster: VirtualCluster,
) -> Result<(Value, Option<forward::Tunnel>), Failure> {
    let mut document = kubeconfig_of(host, &cluster).await?;
    let name = format!("vkube_{}", cluster.metadata.name.as_deref().unwrap_or_default());
    kubeconfig::rename(&mut document, &name);
    let cluster = clusters::rouse(host, cluster).await?;
    let server = kubeconfig::server(&document).unwrap_or_default().to_owned();
    if reachable(&server).await {
        return Ok((document, None));
    }
    let tunnel = forward::open(host, &cluster).await?;
    kubeconfig::set_server(&mut document, &format!("https://{}", tunnel.address));
    Ok((document, Some(tunnel)))
}

/// A client by a kubeconfig.
pub async fn client(document: &Value) -> Result<Client, Failure> {
    let kubeconfig: Kubeconfig = serde_json::from_value(document.clone())?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// A client of the host.
pub async fn host_client(path: Option<&Path>, context: Option<&str>) -> Result<Client, Failure> {
    let choice =
        KubeConfigOptions { context: context.map(ToOwned::to_owned), ..KubeConfigOptions::default() };
    let sandbox = crate::sandbox::state::State::new(None).and_then(|state| state.running_kubeconfig());
    let chosen = path.map(Path::to_path_buf).or_else(|| {
        let kubectl =
            std::env::var_os("KUBECONFIG").is_some() || merge::default_path().is_some_and(|p| p.exists());
        if kubectl { None } else { sandbox }
    });
    let config = match chosen {
        Some(path) => {
            kube::Config::from_custom_kubeconfig(Kubeconfig::read_from(&path)?, &choice).await?
        }
        None if choice.context.is_some() => kube::Config::from_kubeconfig(&choice).await?,
        None => kube::Config::infer().await.map_err(|error| {
            format!("no host cluster to connect through ({error}); set KUBECONFIG, or start one with `vkube sandbox`")
        })?,
    };
    Ok(Client::try_from(config)?)
}

/// The kubeconfig that the operator has written for a cluster.
pub async fn kubeconfig_of(host: &Client, cluster: &VirtualCluster) -> Result<Value, Failure> {
    let name = cluster.metadata.name.as_deref().unwrap_or_default();
    let namespace = cluster.metadata.namespace.as_deref().unwrap_or_default();
    let reference = cluster.status.as_ref().and_then(|s| s.kubeconfig.as_ref()).map(|k| &k.secret_ref);
    let reference = reference.ok_or_else(|| {
        format!("VirtualCluster {name:?} has no kubeconfig yet; `kubectl -n {namespace} describe virtualcluster {name}` says why")
    })?;
    let secret = Api::<Secret>::namespaced(host.clone(), namespace).get(&reference.name).await?;
    let bytes =
        secret.data.unwrap_or_default().remove(&reference.key).ok_or_else(|| {
            format!("the Secret {namespace}/{} has no key {:?}", reference.name, reference.key)
        })?;
    Ok(serde_saphyr::from_slice(&bytes.0)?)
}

async fn reachable(server: &str) -> bool {
    let Ok(uri) = server.parse::<http::Uri>() else { return false };
    let Some(host) = uri.host() else { return false };
    let target = (host.trim_matches(['[', ']']).to_owned(), uri.port_u16().unwrap_or(443));
    matches!(tokio::time::timeout(REACH, tokio::net::TcpStream::connect(target)).await, Ok(Ok(_)))
}

async fn run_command(document: &Value, command: &[String]) -> Outcome {
    let directory = std::env::temp_dir().join(format!("vkube-connect-{}", std::process::id()));
    let path = directory.join("kubeconfig");
    kubeconfig::write(&path, document)?;
    let [program, arguments @ ..] = command else { return Ok(()) };
    let status = tokio::process::Command::new(program)
        .args(arguments)
        .env("KUBECONFIG", &path)
        .stdin(Stdio::inherit())
        .kill_on_drop(true)
        .status()
        .await;
    let _ = std::fs::remove_dir_all(&directory);
    let status = status.map_err(|e| format!("failed to run {program}: {e}"))?;
    if status.success() {
        Ok(())
    } else {
        std::process::exit(status.code().unwrap_or(1));
    }
}
