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
