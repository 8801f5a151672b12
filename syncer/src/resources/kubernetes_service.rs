//! `default/kubernetes`: how pods find the virtual API server; and `kube-system/kube-dns`: how they find names.
//!
//! The first's address is that of the host Service in front of the API server, its endpoints are that Service's
//! endpoints; the second's is where pods send their queries. The host owns all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Service, ServicePort, ServiceSpec,
};
use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointPort as SlicePort, EndpointSlice,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::endpoint_slice::SERVICE_NAME;
use super::pod::ApiEndpoint;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::labels::ObjectKey;
use crate::queue::Outcome;

const NAME: &str = "kubernetes";
const PORT: &str = "https";

/// Brings the Service, its Endpoints and its EndpointSlice in step with the host's.
pub(crate) async fn reconcile(cx: &Context) -> Result<Outcome> {
    let api = cx.api_endpoint()?;
    let slices = cx.host_side.api_endpoints.all();
    let (addresses, port) = ready_addresses(&slices);

    keep_service(cx, &service(&api, port)).await?;
    keep_service(cx, &dns_service(cx.dns_address()?)).await?;
    if addresses.is_empty() {
        return Ok(Outcome::Done);
    }
    keep(&cx.virtual_api(DEFAULT), endpoints(&addresses, port), |live, wanted| {
        (live.subsets != wanted.subsets)
            .then(|| Endpoints { subsets: wanted.subsets.clone(), ..live.clone() })
    })
    .await?;
    keep(&cx.virtual_api(DEFAULT), slice(&addresses, port), |live, wanted| {
        let same = live.endpoints == wanted.endpoints && live.ports == wanted.ports;
        (!same).then(|| EndpointSlice {
            endpoints: wanted.endpoints.clone(),
            ports: wanted.ports.clone(),
            ..live.clone()
        })
    })
    .await?;
    Ok(Outcome::Done)
}

const DEFAULT: &str = "default";

/// The addresses of a Service that leads to the control plane.
pub(crate) fn addresses(cx: &Context, key: &ObjectKey) -> Result<Vec<String>> {
    let api = cx.api_endpoint()?;
    if key.name == NAME {
        return Ok(api.addresses);
    }
    let dns = cx.dns_address()?.to_string();
    Ok(if dns == api.address { api.addresses } else { vec![dns] })
}

async fn keep_service(cx: &Context, wanted: &Service) -> Result<()> {
    let key = ObjectKey::of(&wanted.metadata);
    let services: Api<Service> = cx.virtual_api(&key.namespace);
    let live = services.get_opt(&key.name).await.map_err(Error::Virtual)?;
    let address = |service: &Service| service.spec.as_ref().and_then(|spec| spec.cluster_ip.clone());
    match live {
        Some(live) if address(&live) == address(wanted) => return Ok(()),
        // Addresses are immutable.
        Some(live) => cx.delete_virtual::<Service>(&live.metadata, None).await?,
        None => {}
    }
    services.create(&Context::post_params(), wanted).await.map_err(Error::Virtual)?;
    Ok(())
}

/// Creates an object, or changes the live one as `change` says.
async fn keep<K>(api: &Api<K>, wanted: K, change: impl FnOnce(&K, &K) -> Option<K>) -> Result<()>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + std::fmt::Debug,
{
    let Some(live) = api.get_opt(NAME).await.map_err(Error::Virtual)? else {
        api.create(&Context::post_params(), &wanted).await.map_err(Error::Virtual)?;
        return Ok(());
    };
    if let Some(changed) = change(&live, &wanted) {
        api.replace(NAME, &Context::post_params(), &changed).await.map_err(Error::Virtual)?;
    }
    Ok(())
}

/// The addresses of the API server that accept connections, and their port.
fn ready_addresses(slices: &[std::sync::Arc<EndpointSlice>]) -> (BTreeSet<String>, i32) {
    let mut addresses = BTreeSet::new();
    let mut port = 443;
    for slice in slices {
        let ports: Vec<&SlicePort> = slice.ports.iter().flatten().collect();
        let https = ports.iter().find(|port| port.name.as_deref() == Some(PORT)).or_else(|| ports.first());
        if let Some(number) = https.and_then(|port| port.port) {
            port = number;
        }
        let ready = slice.endpoints.iter().flatten().filter(|endpoint| {
            endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
        });
        addresses.extend(ready.flat_map(|endpoint| endpoint.addresses.iter().cloned()));
    }
    (addresses, port)
}

fn metadata(labels: &[(&str, &str)]) -> ObjectMeta {
    ObjectMeta {
        name: Some(NAME.into()),
        namespace: Some(DEFAULT.into()),
        labels: Some(
            labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>(),
        ),
        ..ObjectMeta::default()
    }
}

fn service(api: &ApiEndpoint, target: i32) -> Service {
    Service {
        metadata: metadata(&[("component", "apiserver"), ("provider", NAME)]),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            cluster_ip: Some(api.address.clone()),
            cluster_ips: Some(api.addresses.clone()),
            ports: Some(vec![ServicePort {
                name: Some(PORT.into()),
                port: 443,
                protocol: Some("TCP".into()),
                target_port: Some(IntOrString::Int(target)),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn dns_service(address: IpAddr) -> Service {
    let port = |name: &str, protocol: &str| ServicePort {
        name: Some(name.into()),
        port: 53,
        protocol: Some(protocol.into()),
        target_port: Some(IntOrString::Int(53)),
        ..ServicePort::default()
    };
    let labels = [
        ("k8s-app", "kube-dns"),
        ("kubernetes.io/cluster-service", "true"),
        ("kubernetes.io/name", "CoreDNS"),
    ];
    let metadata = ObjectMeta {
        name: Some("kube-dns".into()),
        namespace: Some("kube-system".into()),
        ..metadata(&labels)
    };
    let spec = ServiceSpec {
        type_: Some("ClusterIP".into()),
        cluster_ip: Some(address.to_string()),
        cluster_ips: Some(vec![address.to_string()]),
        ports: Some(vec![port("dns", "UDP"), port("dns-tcp", "TCP")]),
        ..ServiceSpec::default()
    };
    Service { metadata, spec: Some(spec), status: None }
}

fn endpoints(addresses: &BTreeSet<String>, port: i32) -> Endpoints {
    let addresses =
        addresses.iter().map(|ip| EndpointAddress { ip: ip.clone(), ..EndpointAddress::default() });
    Endpoints {
        metadata: metadata(&[("endpointslice.kubernetes.io/skip-mirror", "true")]),
        subsets: Some(vec![EndpointSubset {
            addresses: Some(addresses.collect()),
            not_ready_addresses: None,
            ports: Some(vec![EndpointPort {
                name: Some(PORT.into()),
                port,
                protocol: Some("TCP".into()),
                ..EndpointPort::default()
            }]),
        }]),
    }
}

fn slice(addresses: &BTreeSet<String>, port: i32) -> EndpointSlice {
    let is_v6 = addresses.first().is_some_and(|address| address.contains(':'));
    let endpoints = addresses.iter().map(|ip| Endpoint {
        addresses: vec![ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(true), ..EndpointConditions::default() }),
        ..Endpoint::default()
    });
    EndpointSlice {
        metadata: metadata(&[(SERVICE_NAME, NAME)]),
        address_type: if is_v6 { "IPv6" } else { "IPv4" }.into(),
        endpoints: Some(endpoints.collect()),
        ports: Some(vec![SlicePort {
            name: Some(PORT.into()),
            port: Some(port),
            protocol: Some("TCP".into()),
            ..SlicePort::default()
        }]),
    }
}
