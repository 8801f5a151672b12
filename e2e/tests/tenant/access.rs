//! Who may do what.

use crate::World;

pub fn can_i_follows_roles(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("guarded"));
    let can = |question: &str| tenant.run(&format!("kubectl auth can-i {question}")).stdout.trim().to_owned();
    assert_eq!(can("'*' '*' --all-namespaces"), "yes");
    let ada = format!("-n {namespace} --as=ada");
    assert_eq!(can(&format!("list pods {ada}")), "no");

    tenant
        .ok(&format!("kubectl -n {namespace} create role pod-reader --verb=get,list,watch --resource=pods"));
    tenant.ok(&format!("kubectl -n {namespace} create rolebinding ada --role=pod-reader --user=ada"));
    tenant.until(&format!("kubectl auth can-i list pods {ada}"), |answer| answer.trim() == "yes");
    assert_eq!(can(&format!("delete pods {ada}")), "no");
    assert_eq!(can("list pods -n shop --as=ada"), "no");
    tenant.ok(&format!("kubectl get pods {ada}"));
    let denied = tenant.fails(&format!("kubectl get secrets {ada}"));
    assert!(denied.contains("Forbidden") && denied.contains("User \"ada\" cannot list resource"), "{denied}");

    tenant.ok("kubectl create clusterrolebinding auditors --clusterrole=view --group=auditors");
    tenant.until("kubectl auth can-i list deployments -A --as=eve --as-group=auditors", |answer| {
        answer.trim() == "yes"
    });
    assert_eq!(can("get secrets -A --as=eve --as-group=auditors"), "no");
    let rules = tenant.ok(&format!("kubectl auth can-i --list {ada}"));
    assert!(
        rules.lines().any(|line| line.starts_with("pods ") && line.contains("[get list watch]")),
        "{rules}"
    );
}

pub fn a_service_account_token_speaks_for_it(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("robots"));
    tenant.ok(&format!("kubectl -n {namespace} create serviceaccount robot"));
    tenant.ok(&format!("kubectl -n {namespace} create rolebinding robot --clusterrole=edit --serviceaccount={namespace}:robot"));
    let request =
        r#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":600}}"#;
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/robot/token");
    let answer = tenant.ok_with(&format!("kubectl create --raw {path} -f -"), request);
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let token = answer["status"]["token"].as_str().unwrap();

    let server = tenant.ok("kubectl config view --minify -o jsonpath='{.clusters[0].cluster.server}'");
    let robot = format!(
        "kubectl --kubeconfig=/dev/null --server={server} --insecure-skip-tls-verify --token={token} -n {namespace}"
    );
    tenant.until(&format!("{robot} create configmap made --from-literal=by=robot -o name"), |name| {
        name.trim() == "configmap/made"
    });
    assert!(
        tenant
            .fails(&format!("{robot} get nodes"))
            .contains(&format!("system:serviceaccount:{namespace}:robot"))
    );
    let managers = "-o jsonpath='{.metadata.managedFields[*].manager}'";
    assert!(!tenant.ok(&format!("kubectl -n {namespace} get configmap made {managers}")).is_empty());
}

pub fn a_token_is_bound_to_a_pod(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("bound"));
    tenant.ok(&format!("kubectl -n {namespace} create serviceaccount robot"));
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: holder}\n\
               spec: {serviceAccountName: robot, containers: [{name: holder, image: example.com/holder}]}\n";
    tenant.ok_with(&format!("kubectl -n {namespace} create -f -"), pod);
    let token = tenant.ok(&format!(
        "kubectl -n {namespace} create token robot --bound-object-kind=Pod --bound-object-name=holder --duration=10m"
    ));
    let server = tenant.ok("kubectl config view --minify -o jsonpath='{.clusters[0].cluster.server}'");
    let robot = format!(
        "kubectl --kubeconfig=/dev/null --server={server} --insecure-skip-tls-verify --token={}",
        token.trim()
    );
    let name = "-o jsonpath='{.status.userInfo.extra.authentication\\.kubernetes\\.io/pod-name[0]}'";
    assert_eq!(tenant.ok(&format!("{robot} auth whoami {name}")), "holder");
    let listed = tenant.ok(&format!("{robot} auth can-i --list -n {namespace}"));
    assert!(listed.contains("selfsubjectaccessreviews.authorization.k8s.io"), "{listed}");
    assert!(listed.lines().any(|line| line.contains("[/healthz]") && line.contains("[get]")), "{listed}");

    // It ends with its pod.
    tenant.ok(&format!("kubectl -n {namespace} delete pod holder --timeout=60s"));
    tenant.until(&format!("{robot} auth whoami 2>&1 || true"), |said| said.contains("Unauthorized"));
    let missing = tenant.fails(&format!(
        "kubectl -n {namespace} create token robot --bound-object-kind=Pod --bound-object-name=holder"
    ));
    assert!(missing.contains("pods \"holder\" not found"), "{missing}");
}
