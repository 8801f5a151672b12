//! NodeRestriction: kubelets change only what is theirs
//! (<https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction>).

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use serde_json::Value;

use super::{Attributes, Operation, Plugin};
use crate::{
    authorization::{self, Decision, node},
    metadata,
    registry::access::{at, bool_at, has, list_at, map_at, remove, str_at, strs_at},
    status::{ApiError, GroupResource},
};

const MIRROR: &str = "kubernetes.io/config.mirror";
const LEASES: &str = "kube-node-lease";

/// The labels of Kubernetes that a kubelet may set on its node.
const OWN_LABELS: &[&str] = &[
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];

/// Where the labels of kubelets are.
const OWN_DOMAINS: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];

pub struct NodeRestriction;

impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    fn admit<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: &'a mut Value,
        _warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            let user = attributes.user;
            let name = user.name.strip_prefix(node::PREFIX).filter(|_| user.in_group(node::GROUP));
            match name {
                None => Ok(()),
                _ if attributes.operation == Operation::Connect => Ok(()),
                Some("") => {
                    let why = format!("could not determine node from user {:?}", user.name);
                    Err(attributes.forbidden(object, &why))
                }
                Some(node) => Kubelet { node, attributes, object }.check().await,
            }
        })
    }
}

/// A request of a kubelet.
struct Kubelet<'a> {
    node: &'a str,
    attributes: &'a Attributes<'a>,
    object: &'a Value,
}

impl Kubelet<'_> {
    async fn check(&self) -> Result<(), ApiError> {
        let Attributes { definition, subresource, .. } = *self.attributes;
        match (definition.group(), definition.plural(), subresource) {
            ("", "pods", "") => self.pod().await,
            ("", "pods", "status") => self.pod_status(),
            ("", "pods", "eviction") => self.own_pod("evict").await,
            ("", "pods", other) => self.refuse(&format!(
                "unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"
            )),
            ("", "nodes", _) => self.node(),
            ("", "persistentvolumeclaims", "status") => self.claim_status(),
            ("", "persistentvolumeclaims", _) => self.refuse("may only update PVC status"),
            ("", "serviceaccounts", "token") => self.token().await,
            ("coordination.k8s.io", "leases", _) if self.attributes.namespace != LEASES => {
                self.refuse(&format!("can only access leases in the {LEASES:?} system namespace"))
            }
            ("coordination.k8s.io", "leases", _) => self.named_alike("node lease"),
            ("storage.k8s.io", "csinodes", _) => self.named_alike("CSINode"),
            ("resource.k8s.io", "resourceslices", _) => self.slice(),
            _ => Ok(()),
        }
    }

    fn refuse(&self, why: &str) -> Result<(), ApiError> {
        Err(self.attributes.forbidden(self.object, why))
    }

    fn demand(&self, met: bool, why: impl FnOnce(&str) -> String) -> Result<(), ApiError> {
        if met { Ok(()) } else { self.refuse(&why(self.node)) }
    }

    fn old(&self) -> &Value {
        self.attributes.old.unwrap_or(&Value::Null)
    }

    async fn pod(&self) -> Result<(), ApiError> {
        match self.attributes.operation {
            Operation::Create => self.mirror_pod().await,
            Operation::Delete => self.own_pod("delete").await,
            other => self.refuse(&format!(
                "unexpected operation {:?}, node {:?} can only create and delete mirror pods",
                other.as_str(),
                self.node
            )),
        }
    }

    /// The pod of the request is on this node.
    async fn own_pod(&self, verb: &str) -> Result<(), ApiError> {
        let Attributes { server, namespace, name, .. } = *self.attributes;
        let name = if name.is_empty() { metadata::name(self.object) } else { name };
        let pod = server.find("", "pods", namespace, name).await?;
        let pod = pod.ok_or_else(|| not_found("pods", name))?;
        // Evictions name the node without quotes.
        let node = if verb == "evict" { self.node.to_owned() } else { format!("{:?}", self.node) };
        let why = |_: &str| format!("node {node} can only {verb} pods with spec.nodeName set to itself");
        self.demand(str_at(&pod, "/spec/nodeName") == self.node, why)
    }

    /// A new pod shows what the kubelet runs by itself, and refers to nothing.
    async fn mirror_pod(&self) -> Result<(), ApiError> {
        let pod = self.object;
        let mirrors = map_at(pod, "/metadata/annotations").is_some_and(|all| all.contains_key(MIRROR));
        self.demand(mirrors, |node| {
            format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods")
        })?;
        let can =
            |what: &'static str| move |node: &str| format!("node {node:?} can only create pods with {what}");
        self.demand(str_at(pod, "/spec/nodeName") == self.node, can("spec.nodeName set to itself"))?;
        let owners = list_at(pod, "/metadata/ownerReferences");
        self.demand(owners.len() <= 1, can("a single owner reference set to itself"))?;
        let owner = owners.first().unwrap_or(&Value::Null);
        let is_node = str_at(owner, "/apiVersion") == "v1"
            && str_at(owner, "/kind") == "Node"
            && str_at(owner, "/name") == self.node;
        self.demand(is_node, can("an owner reference set to itself"))?;
        self.demand(bool_at(owner, "/controller"), can("a controller owner reference set to itself"))?;
        self.demand(!bool_at(owner, "/blockOwnerDeletion"), |node| {
            format!("node {node:?} must not set blockOwnerDeletion on an owner reference")
        })?;
        let found = self.attributes.server.find("", "nodes", "", self.node).await?;
        let found = found.ok_or_else(|| not_found("nodes", self.node))?;
        let (expected, uid) = (str_at(owner, "/uid"), metadata::text(&found, "uid"));
        self.demand(expected == uid, |node| {
            format!("node {node} UID mismatch: expected {expected} got {uid}")
        })?;
        let account = str_at(pod, "/spec/serviceAccountName").is_empty();
        let needs = node::needs(pod);
        let bundles = list_at(pod, "/spec/volumes")
            .iter()
            .flat_map(|volume| list_at(volume, "/projected/sources"))
            .any(|source| has(source, "/clusterTrustBundle"));
        let needs_no = |resource: &str| needs.iter().all(|(needed, _)| *needed != resource);
        for (fine, what) in [
            (account, "a service account"),
            (needs_no("secrets"), "secrets"),
            (needs_no("configmaps"), "configmaps"),
            (!bundles, "clustertrustbundles"),
            (needs_no("persistentvolumeclaims"), "persistentvolumeclaims"),
        ] {
            self.demand(fine, |node| format!("node {node:?} can not create pods that reference {what}"))?;
        }
        Ok(())
    }

    fn pod_status(&self) -> Result<(), ApiError> {
        let (old, new) = (self.old(), self.object);
        self.demand(str_at(old, "/spec/nodeName") == self.node, |node| {
            format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself")
        })?;
        let labels = "/metadata/labels";
        self.demand(map_at(old, labels) == map_at(new, labels), |node| {
            format!("node {node:?} cannot update labels through pod status")
        })?;
        let claims = "/status/resourceClaimStatuses";
        self.demand(list_at(old, claims) == list_at(new, claims), |node| {
            format!("node {node:?} cannot update resource claim statues")
        })
    }

    fn node(&self) -> Result<(), ApiError> {
        let Attributes { name, operation, .. } = *self.attributes;
        let requested = if name.is_empty() { metadata::name(self.object) } else { name };
        self.demand(requested == self.node, |node| {
            format!("node {node:?} is not allowed to modify node {requested:?}")
        })?;
        let (old, new) = (self.old(), self.object);
        if !matches!(operation, Operation::Create | Operation::Update) {
            return Ok(());
        }
        let forbidden = forbidden_labels(old, new).join(", ");
        if operation == Operation::Create {
            return self.demand(forbidden.is_empty(), |node| {
                format!("node {node:?} is not allowed to set the following labels: {forbidden}")
            });
        }
        for (field, what) in [("/spec/taints", "taints"), ("/metadata/ownerReferences", "ownerReferences")] {
            self.demand(list_at(old, field) == list_at(new, field), |node| {
                format!("node {node:?} is not allowed to modify {what}")
            })?;
        }
        self.demand(forbidden.is_empty(), |_| format!("is not allowed to modify labels: {forbidden}"))
    }

    fn claim_status(&self) -> Result<(), ApiError> {
        let rest = |claim: &Value| {
            let mut claim = claim.clone();
            for field in [
                "/metadata/resourceVersion",
                "/metadata/managedFields",
                "/status/capacity",
                "/status/conditions",
                "/status/allocatedResourceStatuses",
                "/status/allocatedResources",
            ] {
                remove(&mut claim, field);
            }
            claim
        };
        self.demand(rest(self.old()) == rest(self.object), |node| {
            format!(
                "node {node:?} is not allowed to update fields other than status.capacity and status.conditions"
            )
        })
    }

    fn named_alike(&self, what: &str) -> Result<(), ApiError> {
        let created = self.attributes.operation == Operation::Create;
        let name = if created { metadata::name(self.object) } else { self.attributes.name };
        self.demand(name == self.node, |_| {
            format!("can only access {what} with the same name as the requesting node")
        })
    }

    fn slice(&self) -> Result<(), ApiError> {
        let (slice, verb) = match self.attributes.operation {
            Operation::Create => (self.object, "create"),
            Operation::Delete => (self.old(), "delete"),
            // The node of a slice does not change.
            _ => return Ok(()),
        };
        self.demand(str_at(slice, "/spec/nodeName") == self.node, |_| {
            format!("can only {verb} ResourceSlice with the same NodeName as the requesting node")
        })
    }

    /// A token is for a pod of this node.
    async fn token(&self) -> Result<(), ApiError> {
        let Attributes { server, namespace, .. } = *self.attributes;
        if self.attributes.operation != Operation::Create {
            return Ok(());
        }
        let bound = at(self.object, "/spec/boundObjectRef");
        let (name, uid) = (str_at(bound, "/name"), str_at(bound, "/uid"));
        let to_pod = str_at(bound, "/apiVersion") == "v1" && str_at(bound, "/kind") == "Pod";
        self.demand(to_pod && !name.is_empty(), |_| "node requested token not bound to a pod".into())?;
        self.demand(!uid.is_empty(), |_| "node requested token with a pod binding without a uid".into())?;
        let pod = server.find("", "pods", namespace, name).await?;
        let pod = pod.ok_or_else(|| not_found("pods", name))?;
        self.demand(uid == metadata::text(&pod, "uid"), |_| {
            format!("the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated")
        })?;
        self.demand(str_at(&pod, "/spec/nodeName") == self.node, |_| {
            "node requested token bound to a pod scheduled on a different node".into()
        })?;
        self.audience(&pod).await
    }

    /// The token's audience is one that the pod asks for, or that the node may ask for.
    async fn audience(&self, pod: &Value) -> Result<(), ApiError> {
        let audiences: Vec<&str> = strs_at(self.object, "/spec/audiences").collect();
        self.demand(audiences.len() <= 1, |_| "node may only request 0 or 1 audiences".into())?;
        let audience = audiences.first().copied().unwrap_or_default();
        let Attributes { server, namespace, name, user, .. } = *self.attributes;
        let mut drivers = BTreeSet::new();
        for volume in list_at(pod, "/spec/volumes") {
            let mut sources = list_at(volume, "/projected/sources").iter();
            let asks = |source: &Value| {
                has(source, "/serviceAccountToken")
                    && str_at(source, "/serviceAccountToken/audience") == audience
            };
            if sources.any(asks) {
                return Ok(());
            }
            drivers.insert(str_at(volume, "/csi/driver").to_owned());
        }
        for claim in node::needs(pod).into_iter().filter(|(kind, _)| *kind == "persistentvolumeclaims") {
            let claim = server.find("", "persistentvolumeclaims", namespace, &claim.1).await?;
            let volume = claim.as_ref().map_or("", |claim| str_at(claim, "/spec/volumeName"));
            let volume = server.find("", "persistentvolumes", "", volume).await?;
            drivers.insert(
                volume.map(|volume| str_at(&volume, "/spec/csi/driver").to_owned()).unwrap_or_default(),
            );
        }
        for driver in drivers.iter().filter(|driver| !driver.is_empty()) {
            let driver = server.find("storage.k8s.io", "csidrivers", "", driver).await?.unwrap_or_default();
            let requests = list_at(&driver, "/spec/tokenRequests");
            if requests.iter().any(|request| str_at(request, "/audience") == audience) {
                return Ok(());
            }
        }
        let right = authorization::Attributes {
            user,
            verb: "request-serviceaccounts-token-audience",
            is_resource: true,
            group: "",
            version: "v1",
            resource: audience,
            subresource: "",
            namespace,
            name,
            path: "",
            field_selector: "",
        };
        let decision = authorization::decide(&server.parts.authorizers, &right).await;
        self.demand(matches!(decision, Decision::Allow(_)), |_| {
            format!(
                "audience {audience:?} not found in pod spec volume, {} is not authorized to request tokens for this audience",
                user.name
            )
        })
    }
}

fn not_found(resource: &str, name: &str) -> ApiError {
    ApiError::not_found(GroupResource { group: "", resource }, name)
}

/// The labels that differ and are no concern of kubelets, sorted.
fn forbidden_labels(old: &Value, new: &Value) -> Vec<String> {
    let labels = |node| map_at(node, "/metadata/labels");
    let keys = [labels(old), labels(new)].into_iter().flatten().flat_map(|all| all.keys());
    let value = |node, key: &str| labels(node).and_then(|all| all.get(key));
    let differ = keys.filter(|key| value(old, key) != value(new, key));
    let forbidden: BTreeSet<String> = differ.filter(|key| is_forbidden(key)).cloned().collect();
    forbidden.into_iter().collect()
}

fn is_forbidden(label: &str) -> bool {
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let below = |owner: &str| domain == owner || domain.ends_with(&format!(".{owner}"));
    if below("node-restriction.kubernetes.io") {
        return true;
    }
    let own = OWN_LABELS.contains(&label) || OWN_DOMAINS.iter().any(|owner| below(owner));
    (below("kubernetes.io") || below("k8s.io")) && !own
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kubelets_leave_the_labels_of_others_alone() {
        let node = |labels: Value| json!({"metadata": {"labels": labels}});
        let old = node(json!({"a": "1", "node-role.kubernetes.io/worker": "", "x.k8s.io/kept": ""}));
        let new = node(json!({
            "a": "2", "kubernetes.io/hostname": "n", "x.node.kubernetes.io/b": "", "x.k8s.io/kept": "",
            "team.node-restriction.kubernetes.io/c": "",
        }));
        let forbidden = ["node-role.kubernetes.io/worker", "team.node-restriction.kubernetes.io/c"];
        assert_eq!(forbidden_labels(&old, &new), forbidden);
    }
}
