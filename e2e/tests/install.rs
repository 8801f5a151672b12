//! Every way to install vkube gives a host on which virtual clusters work.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is a test")]

use std::path::PathBuf;
use std::process::ExitCode;

use vkube_e2e::{Case, Sandbox, cases, render, workspace};

/// What can be installed.
struct Config {
    folder: PathBuf,
}

mod installing {
    use super::{Config, Sandbox, render, works};

    pub fn kustomize(config: &Config) {
        let sandbox = Sandbox::bare();
        let base = config.folder.join("default");
        sandbox.host.ok(&format!("kubectl apply -k {}", base.display()));
        works(&sandbox);
    }

    pub fn one_file(config: &Config) {
        let sandbox = Sandbox::bare();
        let file = config.folder.join("install.yaml");
        sandbox.host.ok(&format!("kubectl apply -f {}", file.display()));
        works(&sandbox);
        // Applied again it changes nothing.
        let again = sandbox.host.ok(&format!("kubectl apply -f {}", file.display()));
        assert!(again.lines().all(|line| line.ends_with(" unchanged")), "{again}");
    }

    pub fn the_charts(config: &Config) {
        let sandbox = Sandbox::bare();
        sandbox.host.ok("kubectl create namespace tools");
        sandbox
            .host
            .ok_with("kubectl apply --server-side -f -", &render(&config.folder.join("chart-crds"), "tools"));
        // As `helm install --create-namespace`, into a namespace of another name than the manifests have.
        let chart = render(&config.folder.join("chart"), "tools");
        sandbox.host.ok_with("kubectl apply --server-side --force-conflicts -n tools -f -", &chart);
        sandbox.host.ok("kubectl -n tools rollout status deployment/vkube-operator --timeout=60s");
        works(&sandbox);
    }
}

/// A virtual cluster comes up, is used, and goes.
fn works(sandbox: &Sandbox) {
    let host = &sandbox.host;
    host.ok("vkube create installed --timeout 60s");
    assert!(
        host.ok("vkube connect installed -- kubectl get namespaces -o name").contains("namespace/default")
    );
    host.ok("vkube delete installed --timeout 60s");
}

const CASES: &[Case<Config>] = cases![installing::kustomize, installing::one_file, installing::the_charts];

fn main() -> ExitCode {
    vkube_e2e::main(CASES, || Config { folder: workspace().join("config") })
}
