//! `vkube kubeconfig NAME`: a kubeconfig as the operator wrote it, for other tools.

use std::path::PathBuf;

use clap::Args;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use serde_json::Value;

use super::Target;
use crate::{cli::Outcome, connect, kubeconfig};

/// Whose, and where to.
#[derive(Debug, Args)]
pub struct Options {
    /// Which cluster.
    #[command(flatten)]
    pub target: Target,
    /// The Secret of another identity, one of `spec.kubeconfig.additional`.
    #[arg(long, value_name = "SECRET")]
    pub secret: Option<String>,
    /// The URL of the API server in it, where clients reach it by another than the cluster says.
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// Write it to a file, readable by its owner alone, instead of printing it.
    #[arg(short = 'f', long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// Prints it.
pub async fn run(options: Options) -> Outcome {
    let (host, cluster) = options.target.find().await?;
    let mut document = match &options.secret {
        None => connect::kubeconfig_of(&host, &cluster).await?,
        Some(name) => {
            let secrets: Api<Secret> =
                Api::namespaced(host.clone(), &cluster.namespace().unwrap_or_default());
            let known = cluster.spec.kubeconfig.iter().flat_map(|kubeconfig| &kubeconfig.additional);
            if !known.into_iter().any(|additional| additional.name == *name) {
                return Err(format!("spec.kubeconfig.additional names no Secret {name:?}").into());
            }
            let data = secrets.get(name).await?.data.unwrap_or_default();
            let bytes = data.get("value").ok_or_else(|| format!("the Secret {name} has no key \"value\""))?;
            serde_saphyr::from_slice::<Value>(&bytes.0)?
        }
    };
    if let Some(server) = &options.server {
        kubeconfig::set_server(&mut document, server);
    }
    match &options.file {
        Some(path) => kubeconfig::write(path, &document),
        None => {
            print!("{}", kubeconfig::yaml(&document)?);
            Ok(())
        }
    }
}
