//! Pods and what makes them.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use vkube_e2e::eventually;

use crate::{
    SHOP, World,
    manifests::{STORE, SUM},
};

pub fn a_deployment_serves_rolls_out_and_scales(world: &World) {
    let tenant = &world.tenant;
    let ready = "kubectl -n shop get deployment web -o jsonpath={.status.readyReplicas}";
    assert_eq!(tenant.ok(ready), "3");

    tenant.ok("kubectl -n shop scale deployment/web --replicas=4");
    tenant.ok("kubectl -n shop rollout status deployment/web --timeout=60s");
    assert_eq!(tenant.ok(ready), "4");
    tenant.ok("kubectl -n shop scale deployment/web --replicas=2");
    tenant.until("kubectl -n shop get pods -l app=web -o name", |pods| pods.lines().count() == 2);

    tenant.ok("kubectl -n shop set env deployment/web SEASON=autumn");
    tenant.ok("kubectl -n shop rollout status deployment/web --timeout=60s");
    assert_eq!(tenant.ok("kubectl -n shop exec deployment/web -- sh -c 'echo $SEASON'"), "autumn\n");
    assert_eq!(tenant.ok("kubectl -n shop rollout history deployment/web").matches("<none>").count(), 2);
    tenant.ok("kubectl -n shop rollout undo deployment/web");
    tenant.ok("kubectl -n shop rollout status deployment/web --timeout=60s");
    tenant.until(
        "kubectl -n shop get pods -l app=web -o jsonpath='{.items[*].spec.containers[*].env[*].name}'",
        |env| !env.contains("SEASON"),
    );
    tenant.ok("kubectl -n shop rollout restart deployment/web");
    tenant.ok("kubectl -n shop rollout status deployment/web --timeout=60s");
    let endpoints = "kubectl -n shop get endpointslices -l kubernetes.io/service-name=web \
                     -o jsonpath='{.items[*].endpoints[*].conditions.ready}'";
    tenant.until(endpoints, |ready| ready.split_whitespace().filter(|ready| *ready == "true").count() == 2);
}

pub fn logs_and_exec_reach_the_process(world: &World) {
    let tenant = &world.tenant;
    let pod = tenant.ok("kubectl -n shop get pods -l app=web -o jsonpath='{.items[0].metadata.name}'");
    let logs = tenant.ok(&format!("kubectl -n shop logs {pod}"));
    assert!(logs.starts_with(&format!("hello from {pod}, listening on ")), "{logs}");
    assert_eq!(tenant.ok("kubectl -n shop logs deployment/web --tail=1").lines().count(), 1);

    assert_eq!(tenant.ok(&format!("kubectl -n shop exec {pod} -- hostname")).trim(), pod);
    let typed = tenant.ok_with(&format!("kubectl -n shop exec -i {pod} -- cat"), "from afar\n");
    assert_eq!(typed, "from afar\n");
    let failed = tenant.run(&format!("kubectl -n shop exec {pod} -- sh -c 'echo no >&2; exit 7'"));
    assert_eq!(failed.status.code(), Some(7));
    assert!(failed.stderr.starts_with("no\n"), "{}", failed.stderr);
}

pub fn a_forwarded_port_answers(world: &World) {
    for (target, port) in [("service/web", 80), ("deployment/web", 8080)] {
        let forward = world.tenant.start(&format!("kubectl -n {SHOP} port-forward {target} :{port}"));
        let line = forward.line(|line| line.starts_with("Forwarding from 127.0.0.1:"));
        let address = line.trim_start_matches("Forwarding from ").split(' ').next().unwrap();
        // Twice: a forwarded port carries more than one connection.
        for path in ["/shelves", "/till"] {
            let mut stream = TcpStream::connect(address).unwrap();
            write!(stream, "GET {path} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
            assert!(
                answer.contains("hello from web-") && answer.contains(&format!("GET {path}")),
                "{answer}"
            );
        }
    }
}

pub fn a_job_runs_to_completion(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("sums"));
    tenant.ok_with(&format!("kubectl -n {namespace} create -f -"), SUM);
    tenant.ok(&format!("kubectl -n {namespace} wait --for=condition=Complete job/sum --timeout=60s"));
    let succeeded = format!("kubectl -n {namespace} get job sum -o jsonpath={{.status.succeeded}}");
    assert_eq!(tenant.ok(&succeeded), "2");
    let logs = tenant.ok(&format!("kubectl -n {namespace} logs -l job-name=sum"));
    assert_eq!(logs, "42\n42\n");
    tenant.ok(&format!("kubectl -n {namespace} delete job sum"));
    tenant.until(&format!("kubectl -n {namespace} get pods -o name"), str::is_empty);
}

pub fn configuration_secrets_tokens_and_volumes_are_in_the_pod(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("stock"));
    tenant.ok_with(&format!("kubectl -n {namespace} apply -f -"), STORE);
    tenant.ok(&format!("kubectl -n {namespace} wait --for=condition=Ready pod/store --timeout=60s"));
    let claim = format!("kubectl -n {namespace} get pvc data -o jsonpath={{.status.phase}}");
    assert_eq!(tenant.ok(&claim), "Bound");

    let exec = |command: &str| tenant.ok(&format!("kubectl -n {namespace} exec store -- {command}"));
    assert_eq!(exec("cat /etc/settings/app.ini"), "mode=fast\n");
    assert_eq!(exec("cat /etc/settings/greeting"), "good day");
    assert_eq!(exec("cat /etc/keys/token"), "s3cret");
    let env = exec("env");
    for variable in ["GREETING=good day", "TOKEN=s3cret", "POD_NAME=store", "POD_NAMESPACE=stock"] {
        assert!(env.lines().any(|line| line == variable), "{variable}\n{env}");
    }

    let account = "/var/run/secrets/kubernetes.io/serviceaccount";
    assert_eq!(exec(&format!("cat {account}/namespace")), "stock");
    assert_eq!(exec(&format!("cat {account}/token")).matches('.').count(), 2);
    assert!(exec(&format!("cat {account}/ca.crt")).starts_with("-----BEGIN CERTIFICATE-----"));

    exec("sh -c 'echo kept > /data/file'");
    tenant.ok(&format!("kubectl -n {namespace} delete pod store"));
    tenant.ok_with(&format!("kubectl -n {namespace} apply -f -"), STORE);
    tenant.ok(&format!("kubectl -n {namespace} wait --for=condition=Ready pod/store --timeout=60s"));
    assert_eq!(exec("cat /data/file"), "kept\n");
}

pub fn a_configuration_update_reaches_the_running_pod(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("stock-news"));
    tenant.ok_with(&format!("kubectl -n {namespace} apply -f -"), STORE);
    tenant.ok(&format!("kubectl -n {namespace} wait --for=condition=Ready pod/store --timeout=60s"));
    let patch = r#"'{"data":{"greeting":"good night"}}'"#;
    tenant.ok(&format!("kubectl -n {namespace} patch configmap settings -p {patch}"));
    tenant.until(&format!("kubectl -n {namespace} exec store -- cat /etc/settings/greeting"), |text| {
        text == "good night"
    });
}

pub fn a_pod_reaches_the_tenants_api_server_with_its_own_account(world: &World) {
    let tenant = &world.tenant;
    // What is in the pod is used from outside of it: the sandbox's pods have the machine's network.
    let pod = tenant.ok("kubectl -n shop get pods -l app=web -o jsonpath='{.items[0].metadata.name}'");
    let exec = |command: &str| tenant.ok(&format!("kubectl -n shop exec {pod} -- {command}"));
    let token = exec("cat /var/run/secrets/kubernetes.io/serviceaccount/token");
    let server = exec("sh -c 'echo https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT'");
    let line = format!(
        "kubectl --kubeconfig=/dev/null --server={} --insecure-skip-tls-verify --token={token} get pods -n shop",
        server.trim()
    );
    let denied = tenant.fails(&line);
    assert!(denied.contains("system:serviceaccount:shop:default"), "{denied}");
    tenant.ok("kubectl -n shop create rolebinding readers --clusterrole=view --serviceaccount=shop:default");
    eventually("the role is in force", || {
        let output = tenant.run(&line);
        (output.status.success() && output.stdout.contains(&pod)).then_some(()).ok_or(output.stderr)
    });
}
