//! A virtual cluster of a case's own.

use vkube_e2e::{Sandbox, Shell, eventually, example};

const MANIFEST: &str = r"
apiVersion: vkube.dev/v1alpha1
kind: VirtualCluster
metadata: {name: NAME, namespace: default}
spec: {}
";

/// A virtual cluster in the namespace `default`.
pub struct Guest<'a> {
    pub name: String,
    pub host: &'a Shell,
    pub host_namespace: String,
    pub uid: String,
    sandbox: &'a Sandbox,
}

impl<'a> Guest<'a> {
    /// Creates it, without waiting for it.
    pub fn create(sandbox: &'a Sandbox, name: &str) -> Self {
        sandbox.host.apply(&MANIFEST.replace("NAME", name));
        Self::of(sandbox, name)
    }

    /// One that has been created.
    pub fn of(sandbox: &'a Sandbox, name: &str) -> Self {
        let field = |path: &str| {
            let line = format!("kubectl get virtualcluster {name} -o jsonpath={{{path}}}");
            sandbox.host.until(&line, |value| !value.is_empty())
        };
        let (uid, host_namespace) = (field(".metadata.uid"), field(".status.hostNamespace"));
        Self { name: name.into(), host: &sandbox.host, host_namespace, uid, sandbox }
    }

    /// Creates it, and waits until it is ready.
    pub fn ready(sandbox: &'a Sandbox, name: &str) -> Self {
        let guest = Self::create(sandbox, name);
        guest.await_ready();
        guest
    }

    /// Waits until it is ready.
    pub fn await_ready(&self) {
        let name = &self.name;
        self.host.ok(&format!("kubectl wait --for=condition=Ready virtualcluster/{name} --timeout=60s"));
    }

    /// Runs `examples/workload.yaml` in it.
    pub fn with_workload(self) -> Self {
        let tenant = self.connect();
        tenant.apply(&example("workload.yaml"));
        tenant.ok("kubectl -n shop rollout status deployment/web --timeout=60s");
        self
    }

    /// A shell of its administrator.
    pub fn connect(&self) -> Shell {
        self.sandbox.connect("default", &self.name)
    }

    /// Asks for its end, and does not wait for it.
    pub fn delete(&self) {
        self.host.ok(&format!("kubectl delete virtualcluster {} --wait=false", self.name));
    }

    /// Waits until nothing is left of it anywhere on the host.
    pub fn await_no_trace(&self) {
        eventually(&format!("nothing is left of {}", self.name), || {
            let left = self.traces();
            if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
        });
    }

    fn traces(&self) -> Vec<String> {
        let (host, name, namespace) = (self.host, &self.name, &self.host_namespace);
        let selector = format!("-l vkube.dev/cluster-uid={}", self.uid);
        let mut found = host.ok(&format!(
            "kubectl get namespaces,clusterroles,clusterrolebindings,persistentvolumes,priorityclasses {selector} -o name"
        ));
        found += &host.ok(&format!("kubectl get namespace {namespace} --ignore-not-found -o name"));
        found += &host.ok(&format!("kubectl get virtualcluster {name} --ignore-not-found -o name"));
        found += &host.ok(&format!(
            "kubectl get secrets,configmaps,services,rolebindings,statefulsets,pods,persistentvolumeclaims -A {selector} -o name"
        ));
        found += &host.ok(&format!(
            "kubectl get secret/{name}-kubeconfig rolebinding/vc-{name}-kubeconfig clusterrolebinding/vkube:{namespace} \
             --ignore-not-found -o name"
        ));
        let volumes = host.ok("kubectl get persistentvolumes \
             -o jsonpath='{range .items[*]}{.spec.claimRef.namespace}/{.metadata.name}{\"\\n\"}{end}'");
        let volumes = volumes.lines().filter(|volume| volume.starts_with(&format!("{namespace}/")));
        found.lines().chain(volumes).map(String::from).collect()
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        // The next case does not pay for this one.
        let _ = self
            .host
            .run(&format!("kubectl delete virtualcluster {} --wait=false --ignore-not-found", self.name));
    }
}
