//! Exposure by the host's ingress controller or gateway, which pass TLS connections on by the name that clients ask for.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schemas;

/// Details of the Ingress, for `type: Ingress`. Its host is `expose.externalAddress`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExposeIngress {
    /// Class of the Ingress. Its controller must pass TLS through. Default: the host's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class_name: Option<String>,
    /// Annotations of the Ingress; those that ask ingress-nginx and HAProxy to pass TLS through are there already.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::string_map")]
    pub annotations: BTreeMap<String, String>,
}

/// Details of the TLSRoute, for `type: Gateway`. Its host name is `expose.externalAddress`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExposeGateway {
    /// The Gateways that carry the route.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub parent_refs: Vec<GatewayRef>,
    /// Annotations of the TLSRoute.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::string_map")]
    pub annotations: BTreeMap<String, String>,
}

/// A Gateway, or one of its listeners.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRef {
    /// Name of the Gateway.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace. Its listener must admit routes of other namespaces.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// The listener. Default: every one that fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}
