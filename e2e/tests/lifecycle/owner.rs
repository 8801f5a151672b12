//! What the owner of a cluster says from outside.

use vkube_e2e::Sandbox;

use crate::guest::Guest;

fn set(sandbox: &Sandbox, name: &str, patch: &str) {
    sandbox.host.ok(&format!("kubectl patch virtualcluster {name} --type=merge -p '{patch}'"));
}

pub fn who_has_access_is_said_outside(sandbox: &Sandbox) {
    let guest = Guest::ready(sandbox, "granted");
    let tenant = guest.connect();
    let may = "kubectl auth can-i create deployments --as=jane || true";
    assert_eq!(tenant.ok(may).trim(), "no");
    set(
        sandbox,
        "granted",
        r#"{"spec":{"access":[{"clusterRole":"cluster-admin","subjects":[{"kind":"User","name":"jane"}]}]}}"#,
    );
    tenant.until(may, |answer| answer.trim() == "yes");
    tenant.ok("kubectl delete clusterrolebinding vkube:access:cluster-admin");
    tenant.until("kubectl get clusterrolebinding vkube:access:cluster-admin -o name || true", |name| {
        !name.is_empty()
    });
    set(sandbox, "granted", r#"{"spec":{"access":null}}"#);
    tenant.until(may, |answer| answer.trim() == "no");
}

/// What the host would have if the Prometheus operator were there.
const SERVICE_MONITORS: &str = r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: servicemonitors.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {plural: servicemonitors, singular: servicemonitor, kind: ServiceMonitor}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

pub fn the_certificate_for_metrics_opens_nothing_else(sandbox: &Sandbox) {
    let host = &sandbox.host;
    host.apply(SERVICE_MONITORS);
    host.ok(
        "kubectl wait --for=condition=Established crd/servicemonitors.monitoring.coreos.com --timeout=60s",
    );
    host.ok("vkube create measured --ephemeral --set controlPlane.serviceMonitor.enabled=Enabled");
    let of = |path: &str| host.ok(&format!("kubectl get virtualcluster measured -o jsonpath={{{path}}}"));
    let namespace = of(".status.hostNamespace");
    let monitor =
        host.json(&format!("kubectl -n {namespace} get servicemonitor vc-measured-metrics -o json"));
    let tls = &monitor["spec"]["endpoints"][0]["tlsConfig"];
    let file = |named: &serde_json::Value| {
        let (secret, key) = (named["name"].as_str().unwrap(), named["key"].as_str().unwrap());
        let path = host.home.join(format!("measured-{key}"));
        let template = format!(r#"{{{{index .data "{key}" | base64decode}}}}"#);
        let line = format!("kubectl -n {namespace} get secret {secret} -o go-template='{template}'");
        std::fs::write(&path, host.ok(&line)).unwrap();
        path.display().to_string()
    };
    let authority = file(&tls["ca"]["secret"]);
    let certificate = file(&tls["cert"]["secret"]);
    let key = file(&tls["keySecret"]);
    let address = of(".status.endpoints.internalURL");
    let name = tls["serverName"].as_str().unwrap();
    let kubectl = format!(
        "kubectl --kubeconfig=/dev/null --server={address} --tls-server-name={name} \
         --certificate-authority={authority} --client-certificate={certificate} --client-key={key}"
    );
    let metrics = host.ok(&format!("{kubectl} get --raw /metrics"));
    assert!(metrics.contains("apiserver_request_total"), "{metrics}");
    assert!(host.fails(&format!("{kubectl} get secrets -A")).contains("(Forbidden)"));
    assert!(host.fails(&format!("{kubectl} get --raw /vkube/snapshot")).contains("orbidden"));
    host.ok("vkube delete measured --no-wait");
}

pub fn blocked_writes_are_refused_and_what_runs_goes_on(sandbox: &Sandbox) {
    let guest = Guest::ready(sandbox, "frozen").with_workload();
    let tenant = guest.connect();
    let everything = r#"{"blockCreate":true,"blockUpdate":true,"blockDelete":true}"#;
    set(sandbox, "frozen", &format!(r#"{{"spec":{{"lifecycle":{{"writePermissions":{everything}}}}}}}"#));
    tenant.until("kubectl create configmap refused 2>&1 || true", |said| said.contains("has blocked writes"));
    let refused = tenant.fails("kubectl -n shop delete deployment web");
    assert!(refused.contains("(Forbidden)"), "{refused}");
    let pod = tenant.ok("kubectl -n shop get pods -o name");
    let pod = pod.lines().next().unwrap().trim_start_matches("pod/").to_owned();
    // The host loses a pod: the tenant's controllers make another.
    sandbox.host.ok(&format!(
        "kubectl -n {} delete pods -l vkube.dev/component!=control-plane",
        guest.host_namespace
    ));
    tenant.until("kubectl -n shop get pods -o name", |pods| !pods.is_empty() && !pods.contains(&pod));
    set(sandbox, "frozen", r#"{"spec":{"lifecycle":null}}"#);
    tenant.until("kubectl create configmap allowed 2>&1 || true", |said| said.contains("created"));
}

pub fn kubectl_wakes_a_sleeping_cluster(sandbox: &Sandbox) {
    let host = &sandbox.host;
    let guest = Guest::ready(sandbox, "dozing");
    let tenant = guest.connect();
    tenant.ok("kubectl create configmap dream");
    // So that it sleeps from the next minute on, and is awake for a year once somebody connects.
    let minute = host.ok("date -u -d '+1 minute' '+%M %H %d %m *'");
    let rule = format!(r#"{{"schedule":"{}","wakeOnConnect":true}}"#, minute.trim());
    set(sandbox, "dozing", &format!(r#"{{"spec":{{"lifecycle":{{"sleep":{rule}}}}}}}"#));
    host.ok("kubectl wait --for=jsonpath={.status.phase}=Sleeping virtualcluster/dozing --timeout=120s");
    host.until(
        &format!(
            "kubectl -n {} get endpointslice dozing-doorbell -o name --ignore-not-found",
            guest.host_namespace
        ),
        |name| !name.is_empty(),
    );
    assert_eq!(tenant.ok("kubectl get configmap dream -o name"), "configmap/dream\n");
    guest.await_ready();
}

pub fn a_cluster_begins_with_its_manifests(sandbox: &Sandbox) {
    let host = &sandbox.host;
    host.apply(
        r"
apiVersion: vkube.dev/v1alpha1
kind: VirtualCluster
metadata: {name: furnished, namespace: default}
spec:
  lifecycle: {writePermissions: {blockCreate: true, blockUpdate: true}}
  bootstrap:
    manifests: |
      apiVersion: v1
      kind: Namespace
      metadata: {name: team}
      ---
      apiVersion: apiextensions.k8s.io/v1
      kind: CustomResourceDefinition
      metadata: {name: crews.example.com}
      spec:
        group: example.com
        scope: Namespaced
        names: {plural: crews, singular: crew, kind: Crew}
        versions:
        - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
      ---
      apiVersion: example.com/v1
      kind: Crew
      metadata: {name: first, namespace: team}
",
    );
    host.ok("kubectl wait --for=condition=Ready virtualcluster/furnished --timeout=60s");
    let tenant = sandbox.connect("default", "furnished");
    assert_eq!(tenant.ok("kubectl -n team get crews -o name"), "crew.example.com/first\n");
    host.ok("vkube delete furnished --no-wait");
}
