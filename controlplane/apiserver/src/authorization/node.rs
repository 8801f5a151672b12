//! The Node authorizer: a kubelet reads what the pods of its node need, and writes its own objects
//! (<https://kubernetes.io/docs/reference/access-authn-authz/node/>).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
};

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use vkube_store::Store;

use super::{Attributes, Authorizer, Decision};
use crate::{
    follow::{Follower, follow},
    metadata,
    rbac::{bootstrap_policy, rules::Rule},
    registry::access::{has, list_at, str_at},
    status::ApiError,
};

/// The group of kubelets.
pub const GROUP: &str = "system:nodes";
/// What the names of kubelets begin with; the name of the node follows.
pub const PREFIX: &str = "system:node:";

/// The objects that a pod needs, as `(resource, name)`; all are in its namespace.
pub type Needs = BTreeSet<(&'static str, String)>;

#[derive(Debug, Default)]
struct Graph {
    /// By namespace and name, the node of a pod and what it needs there.
    pods: BTreeMap<(String, String), (String, Needs)>,
    /// By namespace and name, the volume of a claim.
    volumes: BTreeMap<(String, String), String>,
}

/// The Node authorizer; clones share what they know.
#[derive(Clone, Debug)]
pub struct Node {
    graph: Arc<RwLock<Graph>>,
    rules: Arc<[Rule]>,
}

impl Default for Node {
    fn default() -> Self {
        Self { graph: Arc::default(), rules: bootstrap_policy::node_rules().into() }
    }
}

impl Graph {
    fn put(&mut self, resource: &str, object: &Value) {
        let key = key_of(object);
        let node = str_at(object, "/spec/nodeName");
        if resource == "persistentvolumeclaims" {
            self.volumes.insert(key, str_at(object, "/spec/volumeName").to_owned());
        } else if node.is_empty() {
            self.pods.remove(&key);
        } else {
            self.pods.insert(key, (node.to_owned(), needs(object)));
        }
    }
}

fn key_of(object: &Value) -> (String, String) {
    (metadata::namespace(object).to_owned(), metadata::name(object).to_owned())
}

impl Follower for Node {
    fn group(&self) -> &'static str {
        ""
    }

    fn resources(&self) -> &'static [&'static str] {
        &["pods", "persistentvolumeclaims"]
    }

    fn reset(&self, resource: &'static str, objects: Vec<Value>) {
        let mut graph = self.graph.write().unwrap_or_else(PoisonError::into_inner);
        if resource == "pods" {
            graph.pods.clear();
        } else {
            graph.volumes.clear();
        }
        for object in &objects {
            graph.put(resource, object);
        }
    }

    fn put(&self, resource: &'static str, object: &Value) {
        self.graph.write().unwrap_or_else(PoisonError::into_inner).put(resource, object);
    }

    fn remove(&self, resource: &'static str, object: &Value) {
        let mut graph = self.graph.write().unwrap_or_else(PoisonError::into_inner);
        if resource == "pods" {
            graph.pods.remove(&key_of(object));
        } else {
            graph.volumes.remove(&key_of(object));
        }
    }
}

impl Node {
    /// Reads the present pods and claims, and follows their changes until `shutdown`.
    pub async fn follow(&self, store: Arc<dyn Store>, shutdown: CancellationToken) -> Result<(), ApiError> {
        follow(store, Arc::new(self.clone()), shutdown).await
    }

    fn is_needed(&self, node: &str, attributes: &Attributes<'_>) -> bool {
        let graph = self.graph.read().unwrap_or_else(PoisonError::into_inner);
        let mut pods = graph.pods.iter().filter(|(_, (on, _))| on == node);
        if attributes.resource == "persistentvolumes" {
            return pods.any(|((namespace, _), (_, needs))| {
                needs.iter().filter(|(resource, _)| *resource == "persistentvolumeclaims").any(
                    |(_, claim)| {
                        let volume = graph.volumes.get(&(namespace.clone(), claim.clone()));
                        volume.is_some_and(|volume| volume == attributes.name)
                    },
                )
            });
        }
        pods.any(|((namespace, pod), (_, needs))| {
            let needed = |(resource, name): &(&str, String)| {
                *resource == attributes.resource && name == attributes.name
            };
            let is_pod = attributes.resource == "pods" && pod == attributes.name;
            namespace == attributes.namespace && (is_pod || needs.iter().any(needed))
        })
    }
}

impl Authorizer for Node {
    fn mode(&self) -> &'static str {
        "Node"
    }

    fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        let Some(node) =
            attributes.user.name.strip_prefix(PREFIX).filter(|_| attributes.user.in_group(GROUP))
        else {
            return Decision::NoOpinion(String::new());
        };
        match self.judge(node, attributes) {
            Ok(()) => Decision::Allow(String::new()),
            Err(why) => Decision::NoOpinion(why),
        }
    }
}

impl Node {
    /// Whether a node may do this; or why not.
    fn judge(&self, node: &str, attributes: &Attributes<'_>) -> Result<(), String> {
        let refuse = |why: &str| Err(why.to_owned());
        let Attributes { verb, group, resource, subresource, name, .. } = *attributes;
        let is_own_kind = |many: &str| {
            let why = format!("can only get, create, update, patch, or delete a {many}");
            if matches!(verb, "get" | "create" | "update" | "patch" | "delete") { Ok(()) } else { Err(why) }
        };
        match (group, resource) {
            ("", "secrets" | "configmaps") => {
                if !matches!(verb, "get" | "list" | "watch") {
                    return refuse("can only read resources of this type");
                }
                if !subresource.is_empty() {
                    return refuse("cannot read subresource");
                }
                if attributes.namespace.is_empty() {
                    return refuse("can only read namespaced object of this type");
                }
                self.related(node, attributes)
            }
            ("", "persistentvolumeclaims") if subresource == "status" => {
                if !matches!(verb, "update" | "patch") {
                    return refuse("can only get/update/patch this type");
                }
                self.related(node, attributes)
            }
            ("", "persistentvolumeclaims" | "persistentvolumes") | ("resource.k8s.io", "resourceclaims") => {
                self.one(node, attributes)
            }
            ("", "serviceaccounts") => {
                if verb != "create" || name.is_empty() {
                    return refuse("can only create tokens for individual service accounts");
                }
                if subresource != "token" {
                    return refuse("can only create token subresource of serviceaccount");
                }
                self.related(node, attributes)
            }
            ("coordination.k8s.io", "leases") => {
                is_own_kind("node lease")?;
                if attributes.namespace != "kube-node-lease" {
                    return refuse("can only access leases in the \"kube-node-lease\" system namespace");
                }
                if verb != "create" && name != node {
                    return refuse("can only access node lease with the same name as the requesting node");
                }
                Ok(())
            }
            ("storage.k8s.io", "csinodes") => {
                is_own_kind("CSINode")?;
                if !subresource.is_empty() {
                    return refuse("cannot authorize CSINode subresources");
                }
                if verb != "create" && name != node {
                    return refuse("can only access CSINode with the same name as the requesting node");
                }
                Ok(())
            }
            ("resource.k8s.io", "resourceslices")
                if matches!(verb, "list" | "watch" | "deletecollection") =>
            {
                if !attributes.selects("nodeName", node) {
                    return refuse(
                        "can only list/watch/deletecollection resourceslices with nodeName field selector",
                    );
                }
                Ok(())
            }
            ("", "nodes") => match (subresource, verb) {
                ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
                ("", "get" | "list" | "watch") if name == node => Ok(()),
                ("", "get" | "list" | "watch") => {
                    let which = if name.is_empty() { "all nodes".to_owned() } else { format!("'{name}'") };
                    Err(format!("node '{node}' cannot read {which}, only its own Node object"))
                }
                _ => refuse(""),
            },
            ("", "pods") => match (subresource, verb) {
                ("", "get") => self.one(node, attributes),
                ("", "list" | "watch") if attributes.selects("spec.nodeName", node) => Ok(()),
                ("", "list" | "watch") if !name.is_empty() => self.related(node, attributes),
                ("", "list" | "watch") => {
                    refuse("can only list/watch pods with spec.nodeName field selector")
                }
                ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Ok(()),
                _ => refuse(""),
            },
            _ if attributes.is_resource && self.rules.iter().any(|rule| rule.allows(attributes)) => Ok(()),
            _ => refuse(""),
        }
    }

    fn one(&self, node: &str, attributes: &Attributes<'_>) -> Result<(), String> {
        if attributes.verb != "get" {
            return Err("can only get individual resources of this type".into());
        }
        if !attributes.subresource.is_empty() {
            return Err("cannot get subresource".into());
        }
        self.related(node, attributes)
    }

    fn related(&self, node: &str, attributes: &Attributes<'_>) -> Result<(), String> {
        if attributes.name.is_empty() {
            return Err("No Object name found".into());
        }
        let why = || format!("no relationship found between node '{node}' and this object");
        self.is_needed(node, attributes).then_some(()).ok_or_else(why)
    }
}

/// What a pod needs on its node.
pub fn needs(pod: &Value) -> Needs {
    let mut needs = Needs::new();
    let mut need = |resource: &'static str, name: &str| {
        if !name.is_empty() {
            needs.insert((resource, name.to_owned()));
        }
    };
    need("serviceaccounts", str_at(pod, "/spec/serviceAccountName"));
    let claims =
        list_at(pod, "/spec/resourceClaims").iter().chain(list_at(pod, "/status/resourceClaimStatuses"));
    for claim in claims {
        need("resourceclaims", str_at(claim, "/resourceClaimName"));
    }
    for secret in list_at(pod, "/spec/imagePullSecrets") {
        need("secrets", str_at(secret, "/name"));
    }
    for volume in list_at(pod, "/spec/volumes") {
        need("secrets", str_at(volume, "/secret/secretName"));
        need("configmaps", str_at(volume, "/configMap/name"));
        need("persistentvolumeclaims", str_at(volume, "/persistentVolumeClaim/claimName"));
        if has(volume, "/ephemeral") {
            let claim = format!("{}-{}", metadata::name(pod), str_at(volume, "/name"));
            need("persistentvolumeclaims", &claim);
        }
        for driver in [
            "/csi/nodePublishSecretRef/name",
            "/rbd/secretRef/name",
            "/cephfs/secretRef/name",
            "/iscsi/secretRef/name",
            "/flexVolume/secretRef/name",
        ] {
            need("secrets", str_at(volume, driver));
        }
        for source in list_at(volume, "/projected/sources") {
            need("secrets", str_at(source, "/secret/name"));
            need("configmaps", str_at(source, "/configMap/name"));
        }
    }
    for list in ["/spec/initContainers", "/spec/containers", "/spec/ephemeralContainers"] {
        for container in list_at(pod, list) {
            for variable in list_at(container, "/env") {
                need("secrets", str_at(variable, "/valueFrom/secretKeyRef/name"));
                need("configmaps", str_at(variable, "/valueFrom/configMapKeyRef/name"));
            }
            for source in list_at(container, "/envFrom") {
                need("secrets", str_at(source, "/secretRef/name"));
                need("configmaps", str_at(source, "/configMapRef/name"));
            }
        }
    }
    needs
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::user::User;

    #[test]
    fn a_node_reads_the_secrets_of_its_own_pods_only() {
        let authorizer = Node::default();
        let pod = json!({
            "metadata": {"name": "p", "namespace": "ns"},
            "spec": {"nodeName": "a", "serviceAccountName": "default", "containers": [],
                     "volumes": [{"name": "v", "secret": {"secretName": "s"}}]},
        });
        authorizer.put("pods", &pod);
        let decide = |user: &User, verb, resource, subresource, name| {
            let attributes = asked(user, verb, resource, subresource, name);
            matches!(authorizer.authorize(&attributes), Decision::Allow(_))
        };
        let (a, b) = (User::new("system:node:a", &[GROUP]), User::new("system:node:b", &[GROUP]));
        assert!(decide(&a, "get", "secrets", "", "s"));
        assert!(decide(&a, "get", "pods", "", "p"));
        assert!(decide(&a, "create", "serviceaccounts", "token", "default"));
        assert!(!decide(&a, "list", "secrets", "", ""));
        assert!(!decide(&a, "delete", "secrets", "", "s"));
        assert!(!decide(&b, "get", "secrets", "", "s"));
        assert!(!decide(&b, "get", "pods", "", "p"));
        assert!(!decide(&User::new("somebody", &[]), "get", "pods", "", "p"));
        authorizer.remove("pods", &pod);
        assert!(!decide(&a, "get", "secrets", "", "s"));
    }

    fn asked<'a>(
        user: &'a User,
        verb: &'a str,
        resource: &'a str,
        subresource: &'a str,
        name: &'a str,
    ) -> Attributes<'a> {
        Attributes {
            user,
            verb,
            is_resource: true,
            group: match resource {
                "leases" => "coordination.k8s.io",
                "csinodes" => "storage.k8s.io",
                "resourceclaims" | "resourceslices" => "resource.k8s.io",
                _ => "",
            },
            version: "v1",
            resource,
            subresource,
            namespace: "ns",
            name,
            path: "",
            field_selector: "",
        }
    }

    #[test]
    fn a_node_is_told_why_it_may_not() {
        let (authorizer, user) = (Node::default(), User::new("system:node:a", &[GROUP]));
        for (verb, resource, name, why) in [
            ("list", "nodes", "", "node 'a' cannot read all nodes, only its own Node object"),
            ("get", "nodes", "b", "node 'a' cannot read 'b', only its own Node object"),
            ("delete", "nodes", "a", ""),
            ("list", "pods", "", "can only list/watch pods with spec.nodeName field selector"),
            ("get", "pods", "p", "no relationship found between node 'a' and this object"),
            ("list", "secrets", "", "No Object name found"),
            ("create", "configmaps", "", "can only read resources of this type"),
            ("list", "resourceclaims", "", "can only get individual resources of this type"),
            ("get", "serviceaccounts", "s", "can only create tokens for individual service accounts"),
            ("get", "leases", "a", "can only access leases in the \"kube-node-lease\" system namespace"),
            ("list", "csinodes", "", "can only get, create, update, patch, or delete a CSINode"),
            ("get", "csinodes", "b", "can only access CSINode with the same name as the requesting node"),
        ] {
            let decision = authorizer.authorize(&asked(&user, verb, resource, "", name));
            assert_eq!(decision, Decision::NoOpinion(why.into()), "{verb} {resource} {name}");
        }
        for (verb, resource, subresource, name, field_selector) in [
            ("get", "nodes", "", "a", ""),
            ("patch", "nodes", "status", "a", ""),
            ("list", "pods", "", "", "spec.nodeName=a"),
            ("watch", "pods", "", "", "metadata.namespace=x,spec.nodeName==a"),
            ("create", "pods", "eviction", "p", ""),
            ("patch", "csinodes", "", "a", ""),
            ("watch", "resourceslices", "", "", "nodeName=a"),
        ] {
            let attributes = Attributes { field_selector, ..asked(&user, verb, resource, subresource, name) };
            assert_eq!(
                authorizer.authorize(&attributes),
                Decision::Allow(String::new()),
                "{verb} {resource}"
            );
        }
    }
}
