//! Clusters whose certificate authority somebody else made.

use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};

use crate::world::{TENANTS, World, host_namespace, text};

/// An authority as PEM: certificate and key.
pub fn mk_authority(name: &str, is_authority: bool) -> (String, String) {
    let mut params = CertificateParams::default();
    if is_authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn mk_secret((certificate, key): &(String, String)) -> Value {
    json!({"metadata": {"name": "corp-ca"}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": certificate, "tls.key": key}})
}

async fn put(world: &World, authority: &(String, String)) {
    let secrets = world.within::<Secret>(TENANTS);
    let secret = mk_secret(authority);
    if secrets.get_opt("corp-ca").await.unwrap().is_some() {
        world.merge(&secrets, "corp-ca", secret).await;
    } else {
        secrets.create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_of_ones_own_signs_for_the_cluster_and_what_it_lacks_is_told() {
    let world = World::start().await;
    world.create("demo", json!({"certificates": {"caSecretRef": {"name": "corp-ca"}}})).await;
    world.condition("demo", "CertificatesAvailable", "False", "CaSecretMissing").await;
    put(&world, &mk_authority("no authority", false)).await;
    world.condition("demo", "CertificatesAvailable", "False", "CaSecretInvalid").await;

    let first = mk_authority("corp", true);
    put(&world, &first).await;
    let cluster = world.ready("demo").await;
    let kubeconfig = world.secret(TENANTS, "demo-kubeconfig").await;
    assert_eq!(text(&kubeconfig, "certificate-authority"), first.0);
    let pki = world.secret(&host_namespace(&cluster), "vc-demo-pki").await;
    assert_eq!(text(&pki, "ca.crt"), first.0);
    assert_eq!(world.reconciled("demo").await, Vec::<String>::new());

    let second = mk_authority("corp anew", true);
    put(&world, &second).await;
    let trusts = |secret: Option<&Secret>| {
        secret.is_some_and(|secret| text(secret, "certificate-authority") == second.0)
    };
    world.until(world.within::<Secret>(TENANTS), "demo-kubeconfig", "issued anew", trusts).await;
    world.stop().await;
}
