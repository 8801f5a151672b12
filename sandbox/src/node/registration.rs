//! The node's own objects: its `Node`, kept ready, and the lease by which it shows that it lives.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::{Node, NodeAddress, NodeCondition, NodeStatus},
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time},
    },
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::machine;
use vkube_scheduler::events;

/// How often the lease is renewed; the node lifecycle controller gives up after 50 seconds.
const RENEW: Duration = Duration::from_secs(20);
const LEASE_SECONDS: i32 = 40;
const LEASES: &str = "kube-node-lease";

/// What a node says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// What it has.
    pub capacity: BTreeMap<String, Quantity>,
}

impl Registration {
    /// The labels of the node.
    fn labels(&self) -> BTreeMap<String, String> {
        let arch = machine::architecture();
        BTreeMap::from(
            [
                ("kubernetes.io/hostname", self.name.as_str()),
                ("kubernetes.io/os", "linux"),
                ("kubernetes.io/arch", arch),
                ("beta.kubernetes.io/os", "linux"),
                ("beta.kubernetes.io/arch", arch),
                ("vkube.dev/sandbox", "true"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
        )
    }

    /// The status of a ready node.
    fn status(&self, now: Timestamp) -> NodeStatus {
        let condition = |type_: &str, status: &str, reason: &str, message: &str| NodeCondition {
            type_: type_.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_heartbeat_time: Some(Time(now)),
            last_transition_time: Some(Time(now)),
        };
        let address = |type_: &str, address: String| NodeAddress { type_: type_.into(), address };
        NodeStatus {
            capacity: Some(self.capacity.clone()),
            allocatable: Some(self.capacity.clone()),
            addresses: Some(vec![
                address("InternalIP", self.address.to_string()),
                address("Hostname", self.name.clone()),
            ]),
            conditions: Some(vec![
                condition(
                    "MemoryPressure",
                    "False",
                    "KubeletHasSufficientMemory",
                    "kubelet has sufficient memory available",
                ),
                condition(
                    "DiskPressure",
                    "False",
                    "KubeletHasNoDiskPressure",
                    "kubelet has no disk pressure",
                ),
                condition(
                    "PIDPressure",
                    "False",
                    "KubeletHasSufficientPID",
                    "kubelet has sufficient PID available",
                ),
                condition("Ready", "True", "KubeletReady", "the sandbox's process node is ready"),
            ]),
            node_info: Some(machine::info()),
            ..NodeStatus::default()
        }
    }

    /// Creates the node or takes it over, and makes it ready.
    pub async fn register(&self, client: &Client) -> kube::Result<Node> {
        let api: Api<Node> = Api::all(client.clone());
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            labels: Some(self.labels()),
            ..ObjectMeta::default()
        };
        match api.create(&PostParams::default(), &Node { metadata, ..Node::default() }).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let labels = Patch::Merge(json!({"metadata": {"labels": self.labels()}}));
                api.patch(&self.name, &PatchParams::default(), &labels).await?;
            }
            Err(error) => return Err(error),
        }
        self.report(client).await
    }

    /// Tells that the node is ready.
    async fn report(&self, client: &Client) -> kube::Result<Node> {
        let api: Api<Node> = Api::all(client.clone());
        let status = Patch::Merge(json!({"status": self.status(events::now())}));
        api.patch_status(&self.name, &PatchParams::default(), &status).await
    }

    /// Tells it again if that is in doubt, as after the machine was asleep.
    async fn stay_ready(&self, client: &Client) -> kube::Result<()> {
        let node = Api::<Node>::all(client.clone()).get(&self.name).await?;
        let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        if !conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True") {
            self.report(client).await?;
        }
        Ok(())
    }

    /// Shows for ever that the node lives: renews its lease, and its status where that is needed.
    pub async fn renew(&self, client: &Client, node: &Node) {
        let api: Api<Lease> = Api::namespaced(client.clone(), LEASES);
        loop {
            let renewal = json!({"spec": {"renewTime": MicroTime(Timestamp::now())}});
            let renewed = api.patch(&self.name, &PatchParams::default(), &Patch::Merge(renewal)).await;
            let result = match renewed {
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    api.create(&PostParams::default(), &self.lease(node)).await
                }
                result => result,
            };
            let result = match result {
                Ok(_) => self.stay_ready(client).await,
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                tracing::debug!(%error, node = self.name, "no sign of life");
            }
            tokio::time::sleep(RENEW).await;
        }
    }

    fn lease(&self, node: &Node) -> Lease {
        let owner = OwnerReference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: self.name.clone(),
            uid: node.uid().unwrap_or_default(),
            ..OwnerReference::default()
        };
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(LEASES.into()),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.name.clone()),
                lease_duration_seconds: Some(LEASE_SECONDS),
                renew_time: Some(MicroTime(Timestamp::now())),
                ..LeaseSpec::default()
            }),
        }
    }
}
