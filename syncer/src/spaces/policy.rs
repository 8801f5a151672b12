//! Where only mapped namespaces go to the host, others are refused when a tenant makes them, instead of staying off it.
//!
//! The refusal is an admission policy in the virtual cluster. A tenant may remove it and gains nothing by that.

use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::ApiResource;
use serde_json::{Value, json};
use vkube_crds::NamespaceMap;

use crate::context::{Context, MANAGER};
use crate::error::{Error, Result};

const NAME: &str = "vkube-mapped-namespaces";

/// Puts the policy and its binding in force.
pub(super) async fn enforce(cx: &Context, map: &NamespaceMap) -> Result<()> {
    for (kind, plural, spec) in [
        ("ValidatingAdmissionPolicy", "validatingadmissionpolicies", policy(map)),
        ("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", binding()),
    ] {
        let api_version = "admissionregistration.k8s.io/v1";
        let resource = ApiResource {
            group: "admissionregistration.k8s.io".into(),
            version: "v1".into(),
            api_version: api_version.into(),
            kind: kind.into(),
            plural: plural.into(),
        };
        let object = json!({
            "apiVersion": api_version, "kind": kind, "metadata": { "name": NAME }, "spec": spec,
        });
        let api: Api<DynamicObject> = Api::all_with(cx.virtual_client.clone(), &resource);
        let params = PatchParams::apply(MANAGER).force();
        api.patch(NAME, &params, &Patch::Apply(object)).await.map_err(Error::Virtual)?;
    }
    Ok(())
}

fn policy(map: &NamespaceMap) -> Value {
    let mut allowed = vec![
        "object.metadata.name == 'default'".to_owned(),
        "object.metadata.name.startsWith('kube-')".to_owned(),
    ];
    let mapped: Vec<String> = map.virtual_side().collect();
    allowed.extend(mapped.iter().map(|name| match name.split_once('*') {
        Some((before, after)) => format!("object.metadata.name.matches('^{before}.+{after}$')"),
        None => format!("object.metadata.name == '{name}'"),
    }));
    json!({
        "failurePolicy": "Fail",
        "matchConstraints": { "resourceRules": [{
            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["namespaces"],
        }] },
        "validations": [{
            "expression": allowed.join(" || "),
            "message": format!("only namespaces that are mapped to the host can be made: {}", mapped.join(", ")),
            "reason": "Forbidden",
        }],
    })
}

fn binding() -> Value {
    json!({ "policyName": NAME, "validationActions": ["Deny"] })
}
