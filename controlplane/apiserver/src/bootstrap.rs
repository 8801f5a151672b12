//! What every cluster holds from its first moment: namespaces, and the `kubernetes` Service's own.

use jiff::Timestamp;
use serde_json::{Value, json};
use vkube_store::{Change, Entry, Expect, Write};

use crate::{
    aggregation::registration,
    documents,
    flow_control::{self, upkeep},
    metadata, ownership,
    rbac::bootstrap_policy,
    registry::{RESOURCES, access},
    resource::Definition,
    server::{Server, builtin},
    service_allocation::{addresses, range::RangeAllocator},
    status::ApiError,
    stored, system_metadata,
};

const NAMESPACES: &[&str] = &["default", "kube-node-lease", "kube-public", "kube-system"];

/// Creates what is absent; what is there stays as it is.
pub async fn run(server: &Server) -> Result<(), ApiError> {
    let mut objects = Vec::new();
    for name in NAMESPACES {
        let namespace = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        });
        objects.push((builtin("", "namespaces")?, namespace));
    }
    objects.extend(bootstrap_policy::objects()?);
    for (name, value, description) in PRIORITIES {
        let class = json!({
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
            "description": description,
        });
        objects.push((builtin("scheduling.k8s.io", "priorityclasses")?, class));
    }
    objects.extend(upkeep::bootstrap()?);
    objects.extend(registration::builtins()?);
    if server.parts.own_services {
        let range = server.parts.service_range;
        let cidr = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "ServiceCIDR",
            "metadata": {"name": "kubernetes"},
            "spec": {"cidrs": [range.trunc().to_string()]},
            "status": {"conditions": [{
                "type": "Ready",
                "status": "True",
                "reason": "",
                "message": "Kubernetes default Service CIDR is ready",
                "lastTransitionTime": metadata::time(Timestamp::now()),
            }]},
        });
        objects.push((builtin("networking.k8s.io", "servicecidrs")?, cidr));
        if let Some(address) = RangeAllocator::first(range) {
            objects.push((builtin("", "services")?, kubernetes_service(&address.to_string())));
        }
    }
    ensure(server, objects).await?;
    if server.parts.own_services {
        // Services of a store from before addresses had objects.
        let services = server.find_all("", "services", "").await?;
        ensure(server, addresses::objects(&services)?).await?;
    }
    Ok(())
}

/// The priority classes that components of the system use.
const PRIORITIES: &[(&str, i64, &str)] = &[
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
];

/// How groups are ordered in discovery; the others come after them.
const GROUP_PRIORITIES: &[(&str, i64)] = &[
    ("", 18000),
    ("apps", 17800),
    ("events.k8s.io", 17750),
    ("authentication.k8s.io", 17700),
    ("authorization.k8s.io", 17600),
    ("autoscaling", 17500),
    ("batch", 17400),
    ("certificates.k8s.io", 17300),
    ("networking.k8s.io", 17200),
    ("policy", 17100),
    ("rbac.authorization.k8s.io", 17000),
    ("storage.k8s.io", 16800),
    ("apiextensions.k8s.io", 16700),
    ("admissionregistration.k8s.io", 16700),
    ("scheduling.k8s.io", 16600),
    ("coordination.k8s.io", 16500),
    ("node.k8s.io", 16300),
    ("discovery.k8s.io", 16200),
    ("resource.k8s.io", 16200),
    ("flowcontrol.apiserver.k8s.io", 16100),
];

/// The place of a group of this server in discovery: the higher, the earlier.
pub fn group_priority(group: &str) -> i64 {
    let known = GROUP_PRIORITIES.iter().find(|(known, _)| *known == group);
    let builtin = || RESOURCES.iter().any(|resource| resource.group == group);
    match known {
        Some((_, priority)) => *priority,
        None if builtin() => 16000,
        None => CUSTOM_GROUP_PRIORITY,
    }
}

/// The priority of every group of custom resources.
const CUSTOM_GROUP_PRIORITY: i64 = 1000;

fn kubernetes_service(address: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": address,
            "clusterIPs": [address],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "sessionAffinity": "None",
            "internalTrafficPolicy": "Cluster",
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": 6443}],
        },
        "status": {"loadBalancer": {}},
    })
}

/// Records the server as the owner of what it says itself; the rest follows from that.
fn own(definition: &Definition, object: &mut Value) -> Result<(), ApiError> {
    let implied: &[&str] = match definition.plural() {
        "namespaces" => &["/spec/finalizers"],
        "services" => &["/spec/clusterIPs", "/spec/ipFamilies"],
        _ => &[],
    };
    let mut said = object.clone();
    for path in implied {
        access::remove(&mut said, path);
    }
    let manager = if definition.group() == flow_control::GROUP { upkeep::PRODUCER } else { "kube-apiserver" };
    ownership::of_server(definition, &mut said, manager)?;
    metadata::restore(object, "managedFields", &said);
    let status = match definition.plural() {
        "servicecidrs" => cidr_controller(),
        "flowschemas" => upkeep::status_fields(),
        _ => return Ok(()),
    };
    if let Some(entries) = object.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut) {
        entries.insert(0, status);
    }
    Ok(())
}

/// The part of the controller that says whether the range of services can be used.
fn cidr_controller() -> Value {
    json!({
        "manager": "kubernetes-service-cidr-controller",
        "operation": "Apply",
        "apiVersion": "networking.k8s.io/v1",
        "time": metadata::time(Timestamp::now()),
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:status": {"f:conditions": {"k:{\"type\":\"Ready\"}": {
            ".": {},
            "f:lastTransitionTime": {},
            "f:message": {},
            "f:status": {},
            "f:type": {},
        }}}},
        "subresource": "status",
    })
}

/// What becomes of an object that is there already, if it does not stay as it is.
fn reconciled(definition: &Definition, entry: &Entry, wanted: &Value) -> Result<Option<Value>, ApiError> {
    Ok(match definition.group() {
        "rbac.authorization.k8s.io" => bootstrap_policy::reconcile(&stored::decode(entry)?, wanted),
        "apiregistration.k8s.io" => registration::restored(&stored::decode(entry)?, wanted),
        _ => None,
    })
}

/// Creates those of these objects that are absent, in as few commits as may be.
pub async fn ensure(server: &Server, objects: Vec<(Definition, Value)>) -> Result<(), ApiError> {
    let mut writes = Vec::with_capacity(objects.len());
    for (definition, mut object) in objects {
        let key = definition.key(metadata::namespace(&object), metadata::name(&object));
        if let Some(entry) = server.store().get(&key, None).await? {
            if let Some(mut object) = reconciled(&definition, &entry, &object)? {
                let document = stored::encode(&mut object, &definition)?;
                let change = Change::Put { document, ttl: None };
                writes.push(Write { key, expect: Expect::Modified(entry.modified), change });
            }
            continue;
        }
        object = documents::finish(&definition, object)?;
        own(&definition, &mut object)?;
        let status = object.get("status").cloned();
        system_metadata::prepare_create(&mut object, &definition, Timestamp::now());
        metadata::set_top(&mut object, "status", status);
        let document = stored::encode(&mut object, &definition)?;
        writes.push(Write { key, expect: Expect::Absent, change: Change::Put { document, ttl: None } });
    }
    if writes.is_empty() {
        return Ok(());
    }
    match server.store().commit(writes.clone()).await {
        Ok(_) => Ok(()),
        Err(vkube_store::Error::Conflict { .. }) => {
            // Somebody else bootstraps too: what is there already is as good.
            for write in writes {
                match server.store().commit(vec![write]).await {
                    Ok(_) | Err(vkube_store::Error::Conflict { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
