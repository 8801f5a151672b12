//! Changes of what makes pods, and the way back.

use crate::World;

const SETS: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: app, image: 'example.com/app:1'}]}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template: {metadata: {labels: {app: agent}}, spec: {containers: [{name: app, image: 'example.com/app:1'}]}}
";

pub fn sets_are_rolled_out_and_back(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("sets"));
    let run = |line: &str| tenant.ok(&format!("kubectl -n {namespace} {line}"));
    tenant.ok_with(&format!("kubectl -n {namespace} apply -f -"), SETS);
    for set in ["statefulset/db", "daemonset/agent"] {
        let image = || run(&format!("get {set} -o jsonpath={{.spec.template.spec.containers[0].image}}"));
        run(&format!("rollout status {set} --timeout=60s"));
        run(&format!("set image {set} app=example.com/app:2"));
        run(&format!("annotate {set} kubernetes.io/change-cause='a new image'"));
        run(&format!("rollout status {set} --timeout=60s"));
        let history = run(&format!("rollout history {set}"));
        assert!(history.contains("\n1 ") && history.contains("\n2 "), "{history}");
        assert!(run(&format!("rollout history {set} --revision=1")).contains("example.com/app:1"));
        run(&format!("rollout undo {set} --to-revision=1"));
        run(&format!("rollout status {set} --timeout=60s"));
        assert_eq!(image(), "example.com/app:1");
        run(&format!("rollout restart {set}"));
        run(&format!("rollout status {set} --timeout=60s"));
        let refused = tenant.fails(&format!("kubectl -n {namespace} rollout pause {set}"));
        assert!(refused.contains("pausing is not supported"), "{refused}");
    }
}

pub fn what_can_be_set_is_set(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("set"));
    let run = |line: &str| tenant.ok(&format!("kubectl -n {namespace} {line}"));
    run("create deployment app --image=example.com/app:1");
    run("create serviceaccount robot");
    run("set serviceaccount deployment app robot");
    let account = "get deployment app -o jsonpath={.spec.template.spec.serviceAccountName}";
    assert_eq!(run(account), "robot");
    run("create configmap settings --from-literal=MODE=fast");
    run("set env deployment/app --from=configmap/settings --prefix=APP_");
    assert!(run("set env deployment/app --list").contains("APP_MODE from configmap settings, key MODE"));
    run("set env deployment/app APP_MODE-");
    run("set resources deployment app --limits=cpu=200m,memory=64Mi --requests=cpu=10m");
    let limits = "get deployment app -o jsonpath={.spec.template.spec.containers[0].resources.limits.cpu}";
    assert_eq!(run(limits), "200m");
    run("create service clusterip front --tcp=80:8080");
    run("set selector service front tier=front");
    assert_eq!(run("get service front -o jsonpath={.spec.selector}"), r#"{"tier":"front"}"#);
    run("create role reader --verb=get --resource=pods");
    run("create rolebinding readers --role=reader --user=ada");
    run(&format!("set subject rolebinding readers --user=eve --serviceaccount={namespace}:robot"));
    assert_eq!(run("get rolebinding readers -o jsonpath='{.subjects[*].name}'"), "ada eve robot");
    run("rollout status deployment/app --timeout=60s");
}
