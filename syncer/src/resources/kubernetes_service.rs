//! `default/kubernetes`: how pods find the virtual API server.
//!
//! Its address is that of the host Service in front of the API server, its endpoints are that Service's
//! endpoints. The host owns all of it.

use std::collections::{BTreeMap, BTreeSet};

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
use crate::queue::Outcome;

const NAME: &str = "kubernetes";
const PORT: &str = "https";

/// Brings the Service, its Endpoints and its EndpointSlice in step with the host's.
pub(crate) async fn reconcile(cx: &Context) -> Result<Outcome> {
    let api = cx.api_endpoint()?;
    let slices = cx.host_side.api_endpoints.all();
    let (addresses, port) = ready_addresses(&slices);

    keep_service(cx, &api, port).await?;
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

async fn keep_service(cx: &Context, api: &ApiEndpoint, target: i32) -> Result<()> {
    let services: Api<Service> = cx.virtual_api(DEFAULT);
    let live = services.get_opt(NAME).await.map_err(Error::Virtual)?;
    let address = |service: &Service| service.spec.as_ref().and_then(|spec| spec.cluster_ip.clone());
    match live {
        Some(live) if address(&live).as_deref() == Some(&api.address) => return Ok(()),
        // Addresses are immutable.
        Some(live) => cx.delete_virtual::<Service>(&live.metadata, None).await?,
        None => {}
    }
    let service = service(api, target);
    services.create(&Context::post_params(), &service).await.map_err(Error::Virtual)?;
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
