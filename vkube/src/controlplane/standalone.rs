//! A control plane without a host.

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use vkube_apiserver::{
    instance::{self, Instance},
    pki::Authority,
};

use super::{Controllers, Options, election::work_as_leader, server_options};
use crate::{
    cli::Outcome,
    kubeconfig::{self, Identity},
    stop::Stop,
};

/// Runs it until it is told to stop.
pub async fn run(options: Options, mut stop: Stop) -> Outcome {
    let pki = options.data_dir.join("pki");
    let authority = Authority::open(&pki)?;
    let names: Vec<String> = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        .into_iter()
        .map(Into::into)
        .collect();
    let addresses = instance::serving_addresses(options.listen.ip(), options.service_cluster_ip_range);
    let instance = Instance::start(instance::Options {
        tls: Some(authority.serving(&names, &addresses)?),
        ..server_options(&options)?
    })
    .await?;

    let address = instance.address.unwrap_or(options.listen);
    if let Some(path) = &options.write_kubeconfig {
        let (certificate, key) = authority.client("kubernetes-admin", &["system:masters"])?;
        let identity = Identity::Certificate(&certificate, &key);
        let document =
            kubeconfig::document("vkube", &format!("https://{address}"), &authority.certificate, &identity);
        kubeconfig::write(path, &document)?;
    }
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    if !options.controllers.is_empty() {
        let controllers =
            Controllers::new(&instance, authority.certificate.clone(), &pki, options.controllers)?;
        let election = options.election.election(controllers.client.clone())?;
        let (metrics, work) = (controllers.metrics(), controllers.run(shutdown.clone()));
        tasks.spawn(work_as_leader(election, metrics, shutdown.clone(), work));
    }
    tracing::info!(%address, "ready");
    tokio::select! {
        () = stop.wait() => {}
        () = shutdown.cancelled() => {}
    }
    shutdown.cancel();
    tasks.close();
    tasks.wait().await;
    instance.stop().await;
    Ok(())
}
