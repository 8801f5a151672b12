//! Services.

use k8s_openapi::api::core::v1::Service;
use serde_json::json;

use super::setup::{Host, get};

pub async fn a_service_leads_to_its_ready_pods(host: Host) {
    let service = json!({
        "metadata": {"name": "web"},
        "spec": {"type": "NodePort", "selector": {"app": "web"}, "ports": [{"port": 8081, "targetPort": "http"}]},
    });
    let service: Service = host.create(service).await;
    let spec = service.spec.unwrap();
    let address = format!("{}:8081", spec.cluster_ip.unwrap());
    assert!(tokio::net::TcpStream::connect(&address).await.is_err(), "nothing is ready yet");
    host.run(
        "web",
        &["serve", "0.0.0.0:8080", "/proc/sys/kernel/hostname"],
        json!({"spec": {"containers": [{
            "ports": [{"name": "http", "containerPort": 8080}],
            "readinessProbe": {"httpGet": {"path": "/", "port": "http"}},
        }]}}),
    )
    .await;
    host.wait_until_ready("web").await;
    connectable(&address).await;
    assert_eq!(get(&address).await, "web\n");
    let node_port = spec.ports.unwrap()[0].node_port.unwrap();
    assert_eq!(get(&format!("127.0.0.1:{node_port}")).await, "web\n");
}

pub async fn load_balancers_get_an_address(host: Host) {
    host.create::<Service>(json!({
        "metadata": {"name": "public"},
        "spec": {"type": "LoadBalancer", "selector": {"app": "public"}, "ports": [{"port": 8082, "targetPort": 8080}]},
    }))
    .await;
    let ingress = |service: &Service| {
        service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?.first()?.ip.clone()
    };
    let service =
        host.wait::<Service>("public", |service| service.and_then(ingress).is_some()).await.unwrap();
    let address = format!("{}:8082", ingress(&service).unwrap());
    host.run(
        "public",
        &["serve", "0.0.0.0:8080", "/proc/sys/kernel/hostname"],
        json!({"spec": {"containers": [{"readinessProbe": {"tcpSocket": {"port": 8080}}}]}}),
    )
    .await;
    connectable(&address).await;
    assert_eq!(get(&address).await, "public\n");
}

/// Waits until the endpoints have come round.
async fn connectable(address: &str) {
    while tokio::net::TcpStream::connect(address).await.is_err() {
        tokio::task::yield_now().await;
    }
}
