//! Less common commands.

use rcgen::{CertificateParams, DnType, KeyPair};

use crate::{World, manifests::COLOURS};

pub fn every_resource_is_explained_listed_and_described(world: &World) {
    let tenant = &world.tenant;
    for resource in tenant.ok("kubectl api-resources -o name").lines() {
        // kubectl takes the rest of a group's name for fields, if the kind's name is another group's too.
        if resource != "events.events.k8s.io" {
            let explained = tenant.ok(&format!("kubectl explain {resource} --recursive"));
            assert!(explained.contains("DESCRIPTION:"), "{resource}: {explained}");
        }
    }
    for resource in tenant.ok("kubectl api-resources -o name --verbs=list").lines() {
        tenant.ok(&format!("kubectl get {resource} -A -o wide"));
    }
    for resource in
        ["all", "configmaps", "secrets", "roles", "clusterroles", "events", "leases", "namespaces"]
    {
        tenant.ok(&format!("kubectl describe {resource} -A"));
    }
    let dump = tenant.ok("kubectl cluster-info dump -n shop -o json");
    assert!(dump.contains(r#""kind": "DeploymentList""#), "{dump}");
}

pub fn every_generator_makes_what_it_says(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("generated"));
    for (what, field, value) in [
        ("configmap c --from-literal=a=b", "data.a", "b"),
        ("secret generic s --from-literal=a=b", "data.a", "Yg=="),
        (
            "secret docker-registry r --docker-server=r.example.com --docker-username=u --docker-password=p",
            "type",
            "kubernetes.io/dockerconfigjson",
        ),
        ("deployment d --image=example.com/d:1 --port=80", "spec.template.spec.containers[0].name", "d"),
        ("cronjob j --image=example.com/j:1 --schedule='*/5 * * * *'", "spec.schedule", "*/5 * * * *"),
        ("job one --from=cronjob/j", "metadata.ownerReferences[0].kind", "CronJob"),
        ("ingress i --rule='a.example.com/x*=d:80,tls=t'", "spec.rules[0].http.paths[0].pathType", "Prefix"),
        ("service clusterip ci --tcp=80:8080", "spec.ports[0].targetPort", "8080"),
        ("service nodeport np --tcp=80:8080", "spec.type", "NodePort"),
        ("service externalname en --external-name=example.com", "spec.externalName", "example.com"),
        ("quota q --hard=pods=50", "spec.hard.pods", "50"),
        ("poddisruptionbudget b --selector=app=d --min-available=50%", "spec.minAvailable", "50%"),
        ("role r --verb=get --resource=pods,pods/log", "rules[0].resources", r#"["pods","pods/log"]"#),
        ("rolebinding r --role=r --serviceaccount=generated:a", "subjects[0].kind", "ServiceAccount"),
        ("serviceaccount a", "metadata.name", "a"),
    ] {
        let made = tenant.ok(&format!("kubectl -n {namespace} create {what} -o jsonpath='{{.{field}}}'"));
        assert_eq!(made, value, "kubectl create {what}");
    }
    let token = tenant.ok(&format!("kubectl -n {namespace} create token a --duration=600s --audience=b"));
    assert_eq!(token.split('.').count(), 3, "{token}");
}

pub fn a_rollout_is_paused_resumed_and_undone(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("rolled"));
    let run = |line: &str| tenant.ok(&format!("kubectl -n {namespace} {line}"));
    let image = || run("get deployment app -o jsonpath={.spec.template.spec.containers[0].image}");
    run("create deployment app --image=example.com/app:1");
    run("rollout status deployment/app --timeout=60s");
    run("rollout pause deployment/app");
    run("set image deployment/app app=example.com/app:2");
    run("set env deployment/app MODE=fast");
    run("set resources deployment/app --requests=cpu=10m");
    tenant.fails(&format!("kubectl -n {namespace} rollout restart deployment/app"));
    run("rollout resume deployment/app");
    run("rollout status deployment/app --timeout=60s");
    // What was changed while it was paused is one revision.
    let history = run("rollout history deployment/app");
    let revisions: Vec<_> = history.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(revisions[1..], ["REVISION", "1", "2"], "{history}");
    run("rollout undo deployment/app");
    run("rollout status deployment/app --timeout=60s");
    assert_eq!(image(), "example.com/app:1");
    assert!(!run("rollout history deployment/app --revision=3").contains("MODE"));
    run("rollout restart deployment/app");
    run("rollout status deployment/app --timeout=60s");
    run("autoscale deployment app --max=3");
    run("expose deployment app --port=80 --target-port=8080");
    run("scale deployment app --current-replicas=1 --replicas=2");
    tenant.fails(&format!("kubectl -n {namespace} scale deployment app --current-replicas=1 --replicas=3"));
    run("wait --for=jsonpath='{.status.readyReplicas}'=2 deployment/app --timeout=60s");
}

pub fn apply_prunes_what_its_set_no_longer_has(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("pruned"));
    let (one, two) = (COLOURS, COLOURS.replace("name: colours", "name: others"));
    let both = format!("{one}\n---\n{two}");
    let set = format!(
        "KUBECTL_APPLYSET=true kubectl -n {namespace} apply --server-side --prune --applyset=palettes -f -"
    );
    tenant.ok_with(&set, &both);
    assert!(tenant.ok_with(&set, one).contains("others pruned"));
    let names = format!("kubectl -n {namespace} get configmaps -l kind=palette -o name");
    assert_eq!(tenant.ok(&names), "configmap/colours\n");

    let labelled = format!(
        "kubectl -n {namespace} apply --prune -l kind=palette --prune-allowlist=core/v1/ConfigMap -f -"
    );
    tenant.ok_with(&format!("kubectl -n {namespace} apply --server-side=false -f -"), &both);
    assert!(tenant.ok_with(&labelled, &two).contains("colours pruned"));
    assert_eq!(tenant.ok(&names), "configmap/others\n");
    let replaced = tenant.ok_with(&format!("kubectl -n {namespace} replace --force -f -"), &two);
    assert!(replaced.contains("configmap/others replaced"), "{replaced}");
}

pub fn a_signed_certificate_lets_its_owner_in(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("signed"));
    let key = KeyPair::generate().unwrap();
    let mut wanted = CertificateParams::default();
    wanted.distinguished_name.push(DnType::CommonName, "jane");
    wanted.distinguished_name.push(DnType::OrganizationName, "team");
    let request = wanted.serialize_request(&key).unwrap().pem().unwrap();
    let encoded = tenant.ok_with("base64 -w0", &request);
    for name in ["jane", "again"] {
        let request = serde_json::json!({
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": name},
            "spec": {
                "request": encoded,
                "signerName": "kubernetes.io/kube-apiserver-client",
                "usages": ["client auth"],
            },
        });
        tenant.ok_with("kubectl create -f -", &request.to_string());
    }
    tenant.ok("kubectl certificate deny again");
    tenant.ok("kubectl certificate approve jane");
    tenant.ok("kubectl wait --for=jsonpath='{.status.certificate}' csr/jane --timeout=60s");
    assert!(tenant.ok("kubectl get csr again").contains("Denied"));
    tenant.ok("kubectl get csr jane -o jsonpath={.status.certificate} | base64 -d > $HOME/jane.crt");
    tenant.ok_with("cat > $HOME/jane.key", &key.serialize_pem());

    tenant.ok(&format!("kubectl -n {namespace} create rolebinding team --clusterrole=view --group=team"));
    let server = tenant.ok("kubectl config view --minify -o jsonpath={.clusters[0].cluster.server}");
    let jane = format!(
        "kubectl --kubeconfig=/dev/null --server={server} --insecure-skip-tls-verify \
         --client-certificate=$HOME/jane.crt --client-key=$HOME/jane.key -n {namespace}"
    );
    assert!(tenant.ok(&format!("{jane} auth whoami")).contains("jane"));
    tenant.until(&format!("{jane} get configmaps -o name"), |names| names.contains("kube-root-ca.crt"));
    assert!(tenant.fails(&format!("{jane} get secrets")).contains("User \"jane\" cannot list resource"));
}

pub fn wait_follows_creation_conditions_and_deletion(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("awaited"));
    let created =
        tenant.start(&format!("kubectl -n {namespace} wait --for=create configmap/c --timeout=60s"));
    tenant.ok(&format!("kubectl -n {namespace} create configmap c --from-literal=state=new"));
    created.line(|line| line == "configmap/c condition met");
    let old =
        format!("kubectl -n {namespace} wait --for=jsonpath='{{.data.state}}'=old configmap/c --timeout=60s");
    let old = tenant.start(&old);
    tenant.ok(&format!("kubectl -n {namespace} patch configmap c -p '{{\"data\":{{\"state\":\"old\"}}}}'"));
    old.line(|line| line == "configmap/c condition met");
    let events = tenant.start(&format!(
        "kubectl -n {namespace} get configmaps --field-selector metadata.name=c -w --output-watch-events"
    ));
    events.line(|line| line.starts_with("ADDED"));
    tenant.ok(&format!("kubectl -n {namespace} delete configmap c"));
    events.line(|line| line.starts_with("DELETED"));

    tenant.ok(&format!("kubectl -n {namespace} create deployment app --image=example.com/app:1"));
    let wait = format!("kubectl -n {namespace} wait --timeout=60s");
    tenant.ok(&format!("{wait} --for=condition=Available deployment/app"));
    tenant.ok(&format!("{wait} --for=condition=Ready=True pods -l app=app"));
    tenant.ok(&format!("{wait} --for=jsonpath='{{.status.readyReplicas}}' deployment/app"));
    let late =
        tenant.fails(&format!("kubectl -n {namespace} wait --timeout=1s --for=condition=No deployment/app"));
    assert!(late.contains("timed out waiting for the condition on deployments/app"), "{late}");
    tenant.ok(&format!("kubectl -n {namespace} delete deployment app --wait=false"));
    tenant.ok(&format!("{wait} --for=delete deployment/app"));
    let gone = tenant.fails(&format!("kubectl -n {namespace} get deployment app"));
    assert!(gone.contains("(NotFound)"), "{gone}");
}

pub fn roles_are_reconciled(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("reconciled"));
    let manifest = |verb: &str, user: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\n\
             metadata: {{name: r, namespace: {namespace}}}\n\
             rules: [{{apiGroups: [''], resources: [pods], verbs: [{verb}]}}]\n---\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
             metadata: {{name: r, namespace: {namespace}}}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: r}}\n\
             subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {user}}}]\n"
        )
    };
    let reconcile = "kubectl auth reconcile -f -";
    tenant.ok_with(reconcile, &manifest("get", "ada"));
    tenant.ok_with(reconcile, &manifest("list", "eve"));
    let verbs = format!("kubectl -n {namespace} get role r -o jsonpath='{{.rules[*].verbs[*]}}'");
    let subjects = format!("kubectl -n {namespace} get rolebinding r -o jsonpath='{{.subjects[*].name}}'");
    assert_eq!((&*tenant.ok(&verbs), &*tenant.ok(&subjects)), ("get list", "ada eve"));
    let strictly = format!("{reconcile} --remove-extra-permissions --remove-extra-subjects");
    tenant.ok_with(&strictly, &manifest("list", "eve"));
    assert_eq!((&*tenant.ok(&verbs), &*tenant.ok(&subjects)), ("list", "eve"));
}

pub fn a_kustomization_is_applied_compared_and_deleted(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("customised"));
    tenant.ok("mkdir -p $HOME/base");
    tenant.ok_with("cat > $HOME/base/colours.yaml", COLOURS);
    let kustomization = format!(
        "namespace: {namespace}\nnamePrefix: my-\nresources: [colours.yaml]\n\
         configMapGenerator: [{{name: generated, literals: [a=b]}}]\n"
    );
    tenant.ok_with("cat > $HOME/base/kustomization.yaml", &kustomization);
    assert_eq!(tenant.ok("kubectl apply -k $HOME/base -o name").lines().count(), 2);
    tenant.ok("kubectl diff -k $HOME/base");
    tenant.ok("sed -i s/blue/violet/ $HOME/base/colours.yaml");
    assert_eq!(tenant.run("kubectl diff -k $HOME/base").status.code(), Some(1));
    tenant.ok("kubectl delete -k $HOME/base");
    assert_eq!(
        tenant.ok(&format!("kubectl -n {namespace} get configmaps -o name")),
        "configmap/kube-root-ca.crt\n"
    );
}
