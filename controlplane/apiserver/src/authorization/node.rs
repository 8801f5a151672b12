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
        pods.any(|((namespace, _), (_, needs))| {
            namespace == attributes.namespace
                && needs
                    .iter()
                    .any(|(resource, name)| *resource == attributes.resource && name == attributes.name)
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
        let reads = matches!(attributes.verb, "get" | "list" | "watch");
        let refuse = |why: String| Decision::NoOpinion(why);
        let related = match (attributes.group, attributes.resource, attributes.subresource) {
            ("", "secrets" | "configmaps", "") => reads,
            ("", "persistentvolumeclaims" | "persistentvolumes", "") => attributes.verb == "get",
            ("", "serviceaccounts", "token") => attributes.verb == "create",
            ("coordination.k8s.io", "leases", "") if attributes.namespace != "kube-node-lease" => {
                return refuse(format!(
                    "can only access leases in the {:?} system namespace",
                    "kube-node-lease"
                ));
            }
            ("coordination.k8s.io", "leases", "") | ("storage.k8s.io", "csinodes", "")
                if attributes.verb != "create" && attributes.name != node =>
            {
                return refuse(format!(
                    "can only access {} with the same name as the requesting node",
                    attributes.resource
                ));
            }
            _ => {
                let allowed = attributes.is_resource && self.rules.iter().any(|rule| rule.allows(attributes));
                return if allowed { Decision::Allow(String::new()) } else { refuse(String::new()) };
            }
        };
        if !related || attributes.name.is_empty() {
            return refuse(format!(
                "can only read resources of this type that are named, not {:?}",
                attributes.verb
            ));
        }
        if self.is_needed(node, attributes) {
            Decision::Allow(String::new())
        } else {
            refuse(format!("no relationship found between node '{node}' and this object"))
        }
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
            let attributes = Attributes {
                user,
                verb,
                is_resource: true,
                group: "",
                version: "v1",
                resource,
                subresource,
                namespace: "ns",
                name,
                path: "",
            };
            matches!(authorizer.authorize(&attributes), Decision::Allow(_))
        };
        let (a, b) = (User::new("system:node:a", &[GROUP]), User::new("system:node:b", &[GROUP]));
        assert!(decide(&a, "get", "secrets", "", "s"));
        assert!(decide(&a, "create", "serviceaccounts", "token", "default"));
        assert!(decide(&a, "list", "pods", "", ""));
        assert!(!decide(&a, "list", "secrets", "", ""));
        assert!(!decide(&a, "delete", "secrets", "", "s"));
        assert!(!decide(&b, "get", "secrets", "", "s"));
        assert!(!decide(&User::new("somebody", &[]), "list", "pods", "", ""));
        authorizer.remove("pods", &pod);
        assert!(!decide(&a, "get", "secrets", "", "s"));
    }
}
