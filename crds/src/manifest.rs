//! The CRDs as they are installed: what the derive yields, trimmed and completed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::json;

use crate::{VirtualCluster, VirtualClusterPolicy};

/// The CRD of VirtualCluster.
pub fn virtual_cluster_crd() -> CustomResourceDefinition {
    finish(VirtualCluster::crd())
}

/// The CRD of VirtualClusterPolicy.
pub fn policy_crd() -> CustomResourceDefinition {
    finish(VirtualClusterPolicy::crd())
}

/// Makes a just-created object visibly not yet observed (kstatus compares `observedGeneration` with the generation)
/// and drops `nullable`: an explicit null means unset, as in built-in kinds.
pub fn finish(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut())
        else {
            continue;
        };
        trim(schema);
        let properties = schema.properties.get_or_insert_default();
        if let Some(status) = properties.get_mut("status") {
            status.default = Some(k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSON(
                json!({"observedGeneration": -1}),
            ));
        }
    }
    crd
}

fn trim(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        trim(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => trim(items),
        Some(JSONSchemaPropsOrArray::Schemas(all)) => all.iter_mut().for_each(trim),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        trim(values);
    }
}
