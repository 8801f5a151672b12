use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};

use crate::cluster::{Cluster, until};

async fn ask(cluster: &Cluster, name: &str, signer: &str, subject: (&str, &str)) {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, subject.0);
    params.distinguished_name.push(DnType::CommonName, subject.1);
    let pem = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    let usages = ["digital signature", "client auth"];
    let spec = json!({"request": ByteString(pem.into_bytes()), "signerName": signer, "usages": usages});
    let request = serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap();
    let api: Api<CertificateSigningRequest> = Api::all(cluster.client.clone());
    api.create(&PostParams::default(), &request).await.unwrap();
}

async fn approve(cluster: &Cluster, name: &str) {
    let api: Api<CertificateSigningRequest> = Api::all(cluster.client.clone());
    let condition = json!({"type": "Approved", "status": "True", "reason": "Test", "message": "yes"});
    let patch = Patch::Merge(json!({"status": {"conditions": [condition]}}));
    api.patch_approval(name, &PatchParams::default(), &patch).await.unwrap();
}

fn find<'a>(all: &'a [CertificateSigningRequest], name: &str) -> Option<&'a CertificateSigningRequest> {
    all.iter().find(|one| one.name_any() == name)
}

fn reason(request: &CertificateSigningRequest, type_: &str) -> Option<String> {
    let conditions = request.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|one| one.type_ == type_)?.reason.clone()
}

fn is_issued(request: &CertificateSigningRequest) -> bool {
    request.status.as_ref().is_some_and(|status| status.certificate.is_some())
}

#[tokio::test]
async fn an_approved_request_gets_its_certificate() {
    let cluster = Cluster::start().await;
    ask(&cluster, "ann", "kubernetes.io/kube-apiserver-client", ("dev", "ann")).await;
    approve(&cluster, "ann").await;
    let api: Api<CertificateSigningRequest> = Api::all(cluster.client.clone());
    let all = until(api, "it is issued", |all| find(all, "ann").is_some_and(is_issued)).await;
    let certificate = find(&all, "ann").unwrap().status.clone().unwrap().certificate.unwrap();
    assert!(String::from_utf8(certificate.0).unwrap().starts_with("-----BEGIN CERTIFICATE-----\n"));
    cluster.stop().await;
}

#[tokio::test]
async fn a_request_that_its_signer_does_not_sign_fails() {
    let cluster = Cluster::start().await;
    ask(&cluster, "x", "kubernetes.io/kube-apiserver-client-kubelet", ("dev", "ann")).await;
    approve(&cluster, "x").await;
    let api: Api<CertificateSigningRequest> = Api::all(cluster.client.clone());
    let failed = |all: &[CertificateSigningRequest]| {
        find(all, "x").and_then(|one| reason(one, "Failed")).as_deref() == Some("SignerValidationFailure")
    };
    until(api, "it failed", failed).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_request_for_a_node_is_approved_for_those_who_may_ask() {
    let cluster = Cluster::start().await;
    let subject = ("system:nodes", "system:node:n1");
    ask(&cluster, "n1", "kubernetes.io/kube-apiserver-client-kubelet", subject).await;
    let api: Api<CertificateSigningRequest> = Api::all(cluster.client.clone());
    let issued = |all: &[CertificateSigningRequest]| {
        find(all, "n1")
            .is_some_and(|one| is_issued(one) && reason(one, "Approved").as_deref() == Some("AutoApproved"))
    };
    let all = until(api, "it is approved and issued", issued).await;
    let conditions: Value = json!(find(&all, "n1").unwrap().status.clone().unwrap().conditions);
    assert_eq!(
        conditions[0]["message"],
        "Auto approving kubelet client certificate after SubjectAccessReview."
    );
    cluster.stop().await;
}
