//! The client stacks that operators are built with, each against a control plane.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is a test")]

mod install;
mod network;
mod program;
mod rust;
mod stacks;

use std::process::ExitCode;

use vkube_e2e::{Case, ControlPlane, cases, eventually};

use network::Network;

struct World {
    /// Keeps its history as usual.
    steady: ControlPlane,
    /// Forgets its history after a second.
    forgetful: ControlPlane,
    /// The network between clients and the forgetful one.
    network: Network,
}

impl World {
    fn new() -> Self {
        let steady = ControlPlane::start(&[]);
        let forgetful = ControlPlane::start(&["--etcd-compaction-interval=1s"]);
        let network = Network::to(forgetful.address());
        Self { steady, forgetful, network }
    }

    /// Runs a line of shell against the forgetful control plane while nobody reaches it through the network, and until it
    /// has forgotten what was before.
    fn while_cut_off(&self, line: &str) {
        let shell = &self.forgetful.shell;
        self.network.cut();
        shell.ok(line);
        let list = shell.json("kubectl get --raw '/api/v1/configmaps?limit=1'");
        let version = list["metadata"]["resourceVersion"].as_str().unwrap();
        let since = format!(
            "kubectl get --raw '/api/v1/configmaps?watch=1&timeoutSeconds=1&resourceVersion={version}'"
        );
        let mut written = 0;
        eventually("the history is forgotten", || {
            written += 1;
            shell.ok(&format!("kubectl annotate --overwrite namespace default written={written}"));
            let said = shell.run(&since).stdout;
            if said.contains(r#""code":410"#) { Ok(()) } else { Err(said) }
        });
        self.network.mend();
    }
}

const CASES: &[Case<World>] = cases![
    stacks::python_kubernetes,
    stacks::python_aio,
    stacks::python_lightkube,
    stacks::python_pykube,
    stacks::python_kr8s,
    stacks::python_kopf,
    stacks::node_client,
    stacks::node_fluent,
    rust::kube,
];

fn main() -> ExitCode {
    vkube_e2e::main(CASES, World::new)
}
