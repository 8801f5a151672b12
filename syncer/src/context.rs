//! What every resource's synchronisation works with: clients, caches, the queue.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::allocation::Pending;
use crate::cache::Cache;
use crate::error::{Error, Result, is_conflict, is_not_found};
use crate::labels::{ObjectKey, Translator, virtual_uid};
use crate::ledger::Ledger;
use crate::queue::Queue;
use crate::reference_index::ReferenceIndex;
use crate::resources::export::{self, Exported};
use crate::resources::general::General;
use crate::resources::pod::{ApiEndpoint, Surroundings};
use crate::rules::Rule;
use crate::spaces::Spaces;
use crate::watch::was_written_by_others;

/// The field manager of everything written to the host.
pub(crate) const MANAGER: &str = "vkube-syncer";

/// Kinds that live in namespaces, as clients read and write them.
pub(crate) trait Namespaced:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug
{
}

impl<K> Namespaced for K where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug
{
}

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    // Derives the order of work that is due at the same time: what pods need comes before them.
    KubernetesService,
    ConfigMap,
    Secret,
    PersistentVolumeClaim,
    Service,
    Endpoints,
    EndpointSlice,
    /// A Service under other names.
    Export,
    NetworkPolicy,
    PodDisruptionBudget,
    Ingress,
    /// A kind that is synchronised by the rule of this number.
    Rule(u16),
    Pod,
    Node,
    /// A virtual namespace that has one of its own on the host.
    Namespace,
}

impl Kind {
    /// The name Kubernetes has for the kind.
    pub fn name(self) -> &'static str {
        match self {
            Self::KubernetesService | Self::Service | Self::Export => "Service",
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::PersistentVolumeClaim => "PersistentVolumeClaim",
            Self::Endpoints => "Endpoints",
            Self::EndpointSlice => "EndpointSlice",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::Ingress => "Ingress",
            Self::Pod => "Pod",
            Self::Node => "Node",
            Self::Namespace => "Namespace",
            // Told by the rule: `Context::named`.
            Self::Rule(_) => "",
        }
    }

    /// The API version of the kind.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::EndpointSlice => "discovery.k8s.io/v1",
            Self::NetworkPolicy | Self::Ingress => "networking.k8s.io/v1",
            Self::PodDisruptionBudget => "policy/v1",
            _ => "v1",
        }
    }
}

/// A virtual object to look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Task {
    pub kind: Kind,
    pub key: ObjectKey,
}

/// Metadata only: enough where contents are read at the moment they are needed.
pub(crate) type Meta<K> = Cache<PartialObjectMeta<K>>;

/// Objects of the virtual cluster.
#[derive(Debug, Default)]
pub(crate) struct VirtualCaches {
    pub namespaces: Meta<Namespace>,
    pub pods: Cache<Pod>,
    pub services: Cache<Service>,
    pub endpoint_slices: Cache<EndpointSlice>,
    pub nodes: Meta<Node>,
    pub persistent_volumes: Meta<PersistentVolume>,
    /// Empty unless they are synchronised.
    pub network_policies: Cache<NetworkPolicy>,
}

/// Objects of this virtual cluster in the host namespace.
#[derive(Debug, Default)]
pub(crate) struct HostCaches {
    pub pods: Cache<Pod>,
    pub services: Cache<Service>,
    pub claims: Cache<PersistentVolumeClaim>,
    pub config_maps: Meta<ConfigMap>,
    pub secrets: Meta<Secret>,
    pub endpoints: Meta<Endpoints>,
    pub endpoint_slices: Meta<EndpointSlice>,
    pub ingresses: Meta<Ingress>,
    pub network_policies: Meta<NetworkPolicy>,
    pub disruption_budgets: Meta<PodDisruptionBudget>,
    /// The Service in front of the virtual API server.
    pub api_service: Cache<Service>,
    /// Its endpoints.
    pub api_endpoints: Cache<EndpointSlice>,
    /// The host's nodes, where they are synced.
    pub nodes: Cache<Node>,
}

impl HostCaches {
    /// Forgets the copies in a namespace that is not watched any more.
    pub fn forget(&self, namespace: &str) {
        self.pods.forget(namespace);
        self.services.forget(namespace);
        self.claims.forget(namespace);
        self.config_maps.forget(namespace);
        self.secrets.forget(namespace);
        self.endpoints.forget(namespace);
        self.endpoint_slices.forget(namespace);
        self.ingresses.forget(namespace);
        self.network_policies.forget(namespace);
        self.disruption_budgets.forget(namespace);
    }
}

/// Everything shared by the syncer's parts.
pub(crate) struct Context {
    pub translator: Translator,
    pub virtual_client: Client,
    pub host_client: Client,
    pub virtual_side: VirtualCaches,
    pub host_side: HostCaches,
    pub queue: Queue<Task>,
    pub references: Mutex<ReferenceIndex>,
    /// The rules for kinds without code of their own.
    pub rules: Vec<General>,
    /// Where Services appear under other names.
    pub exports: Vec<Exported>,
    /// Services being created through the allocator.
    pub pending: Pending,
    /// Resource version each host object had after our last write; another one means somebody else wrote.
    settled: Mutex<HashMap<Task, String>>,
    /// Kinds that leave something behind if the settings change.
    pub ledger: Ledger,
    /// Virtual namespaces that have namespaces of their own on the host.
    pub spaces: Spaces,
    namespace_owner: OnceCell<OwnerReference>,
    /// Since when kept nodes run none of the tenant's pods.
    idle_nodes: Mutex<HashMap<String, Instant>>,
}

impl Context {
    pub fn new(translator: Translator, virtual_client: Client, host_client: Client) -> Self {
        let config = &translator.config;
        let general = |rule: &Rule| General::new(rule.clone(), &config.host_namespace);
        let rules = config.rules.general.iter().map(general).collect();
        let exports = export::sides(&config.host_namespace, &config.rules.exports);
        Self {
            translator,
            rules,
            exports,
            virtual_client,
            host_client,
            virtual_side: VirtualCaches::default(),
            host_side: HostCaches::default(),
            queue: Queue::new(),
            references: Mutex::default(),
            pending: Pending::default(),
            settled: Mutex::default(),
            ledger: Ledger::default(),
            spaces: Spaces::default(),
            namespace_owner: OnceCell::new(),
            idle_nodes: Mutex::default(),
        }
    }

    /// Asks for work on a virtual object.
    pub fn enqueue(&self, kind: Kind, key: ObjectKey) {
        self.queue.add(Task { kind, key });
    }

    /// Whether there is anything to do for an object: it is on one side, as far as is known. Only those kinds are looked
    /// for whose objects come and go all the time.
    pub fn may_exist(&self, task: &Task) -> bool {
        let (here, there, key, host) =
            (&self.virtual_side, &self.host_side, &task.key, self.host_key(&task.key));
        match task.kind {
            Kind::Pod => here.pods.get(key).is_some() || there.pods.get(&host).is_some(),
            Kind::Service => here.services.get(key).is_some() || there.services.get(&host).is_some(),
            _ => true,
        }
    }

    /// The API version and the name of a kind.
    pub fn named(&self, kind: Kind) -> (String, String) {
        let Kind::Rule(number) = kind else { return (kind.api_version().into(), kind.name().into()) };
        let shape = self.rules.get(usize::from(number)).and_then(|rule| rule.shape.get());
        shape.map(|shape| (shape.api.api_version.clone(), shape.api.kind.clone())).unwrap_or_default()
    }

    /// Whether tenants may use a class: no rule limits them to those of the host, or this is one of them.
    pub fn offers(&self, resource: &str, class: &str) -> Result<bool> {
        let mut rules = self.rules.iter();
        let limit = rules.find(|general| general.rule.limits(resource));
        let Some(limit) = limit else { return Ok(true) };
        if !limit.is_host_filled() {
            return Err(Error::Waiting("the host's classes"));
        }
        Ok(limit.host(&ObjectKey::new("", class)).is_some())
    }

    /// The host namespace as the owner of what is ours outside of it, so that it goes when the virtual cluster does.
    pub async fn namespace_owner(&self) -> Result<OwnerReference> {
        let read = || async {
            let api: Api<PartialObjectMeta<Namespace>> = Api::all(self.host_client.clone());
            let found =
                api.get_metadata(&self.translator.config.host_namespace).await.map_err(Error::Host)?;
            Ok(OwnerReference {
                api_version: "v1".into(),
                kind: "Namespace".into(),
                name: found.metadata.name.unwrap_or_default(),
                uid: found.metadata.uid.unwrap_or_default(),
                ..OwnerReference::default()
            })
        };
        self.namespace_owner.get_or_try_init(read).await.cloned()
    }

    /// The host name of a virtual object.
    pub fn host_key(&self, key: &ObjectKey) -> ObjectKey {
        ObjectKey::new(
            self.translator.host_namespace(&key.namespace),
            self.translator.names.host(&key.namespace, &key.name),
        )
    }

    /// The API of a namespaced kind in the virtual cluster.
    pub fn virtual_api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.virtual_client.clone(), namespace)
    }

    /// The API of a namespaced kind on the host, for objects of a virtual namespace.
    pub fn host_api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.host_client.clone(), &self.translator.host_namespace(namespace))
    }

    /// The API of a namespaced kind in the host namespace of the cluster itself.
    pub fn own_api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        self.api_in(&self.translator.config.host_namespace)
    }

    /// The API of a namespaced kind in a namespace of the host.
    pub fn api_in<K>(&self, host_namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.host_client.clone(), host_namespace)
    }

    /// Applies an object to the host; fields we applied before and left out now are removed.
    pub async fn apply<K: Namespaced>(&self, object: &K) -> Result<K> {
        let name = object.meta().name.clone().unwrap_or_default();
        let params = PatchParams::apply(MANAGER).force();
        let api = self.api_in::<K>(object.meta().namespace.as_deref().unwrap_or_default());
        match api.patch(&name, &params, &Patch::Apply(object)).await {
            // Forced applies conflict only when two of them create the object at once; the second attempt finds it.
            Err(error) if is_conflict(&error) => api.patch(&name, &params, &Patch::Apply(object)).await,
            result => result,
        }
        .map_err(Error::Host)
    }

    /// Deletes exactly this host object, not a successor of its name; that it is gone already is success.
    pub async fn delete_host<K: Namespaced>(&self, metadata: &ObjectMeta, grace: Option<i64>) -> Result<()> {
        let params = delete_params(metadata.uid.clone(), grace);
        let name = metadata.name.clone().unwrap_or_default();
        let api = self.api_in::<K>(metadata.namespace.as_deref().unwrap_or_default());
        gone(api.delete(&name, &params).await.map(drop)).map_err(Error::Host)
    }

    /// Deletes exactly this virtual object; that it is gone already is success.
    pub async fn delete_virtual<K: Namespaced>(
        &self,
        metadata: &ObjectMeta,
        grace: Option<i64>,
    ) -> Result<()> {
        let params = delete_params(metadata.uid.clone(), grace);
        let name = metadata.name.clone().unwrap_or_default();
        let namespace = metadata.namespace.clone().unwrap_or_default();
        let api = self.virtual_api::<K>(&namespace);
        gone(api.delete(&name, &params).await.map(drop)).map_err(Error::Virtual)
    }

    /// The virtual object itself, past all caches: absence in a cache may only mean that it lags.
    pub async fn virtual_object<K: Namespaced>(&self, key: &ObjectKey) -> Result<Option<K>> {
        self.virtual_api::<K>(&key.namespace).get_opt(&key.name).await.map_err(Error::Virtual)
    }

    /// The virtual pod for which a host pod was made.
    pub fn pod_behind(&self, host: &ObjectKey) -> Option<Arc<Pod>> {
        let host = self.host_side.pods.get(host)?;
        let key = self.translator.origin(Kind::Pod.name(), &host.metadata)?;
        let pod = self.virtual_side.pods.get(&key)?;
        (virtual_uid(&host.metadata) == pod.metadata.uid.as_deref()).then_some(pod)
    }

    /// Parameters of writes that are not applies.
    pub fn post_params() -> PostParams {
        PostParams { dry_run: false, field_manager: Some(MANAGER.into()) }
    }

    /// Remembers the version of a host object after our write.
    pub fn settle(&self, task: Task, version: Option<String>) {
        if let Some(version) = version {
            self.settled().insert(task, version);
        }
    }

    /// Forgets a host object that is gone.
    pub fn unsettle(&self, task: &Task) {
        self.settled().remove(task);
    }

    /// Whether somebody else wrote a host object since our last write. At the first sighting its own record of
    /// writers tells.
    pub fn is_unsettled(&self, task: &Task, live: &ObjectMeta) -> bool {
        let Some(version) = live.resource_version.as_deref() else { return false };
        match self.settled().entry(task.clone()) {
            Entry::Occupied(entry) => entry.get() != version,
            Entry::Vacant(entry) => {
                entry.insert(version.to_owned());
                was_written_by_others(live)
            }
        }
    }

    fn settled(&self) -> MutexGuard<'_, HashMap<Task, String>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn idle_nodes(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.idle_nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn references(&self) -> MutexGuard<'_, ReferenceIndex> {
        self.references.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where pods reach the virtual API server.
    pub fn api_endpoint(&self) -> Result<ApiEndpoint> {
        let config = &self.translator.config;
        let key = ObjectKey::new(config.host_namespace.clone(), config.api_service.clone());
        let service =
            self.host_side.api_service.get(&key).ok_or(Error::Waiting("the API server's Service"))?;
        let spec = service.spec.as_ref();
        let address =
            spec.and_then(|spec| spec.cluster_ip.clone()).filter(|ip| !ip.is_empty() && ip != "None");
        let address = address.ok_or(Error::Waiting("the API server's cluster IP"))?;
        let addresses =
            spec.and_then(|spec| spec.cluster_ips.clone()).unwrap_or_else(|| vec![address.clone()]);
        Ok(ApiEndpoint { address, addresses })
    }

    /// Where pods send DNS queries.
    pub fn dns_address(&self) -> Result<IpAddr> {
        match self.translator.config.dns_address {
            Some(address) => Ok(address),
            None => self.api_endpoint()?.address.parse().map_err(|_| Error::Waiting("a DNS address")),
        }
    }

    /// What the translation of a pod in `namespace` depends on.
    pub fn surroundings(&self, namespace: &str) -> Result<Surroundings> {
        let api = self.api_endpoint()?;
        let dns = self.dns_address()?;
        let services = self
            .virtual_side
            .services
            .namespace(namespace)
            .into_iter()
            .filter(|service| {
                !(namespace == "default" && service.metadata.name.as_deref() == Some("kubernetes"))
            })
            .collect();
        let namespaces = self
            .virtual_side
            .namespaces
            .all()
            .iter()
            .filter_map(|namespace| {
                Some((
                    namespace.metadata.name.clone()?,
                    namespace.metadata.labels.clone().unwrap_or_default(),
                ))
            })
            .collect();
        let policies = self.virtual_side.network_policies.namespace(namespace);
        Ok(Surroundings { api, dns, services, namespaces, policies })
    }
}

pub(crate) fn delete_params(uid: Option<String>, grace: Option<i64>) -> DeleteParams {
    DeleteParams {
        grace_period_seconds: grace.map(|grace| grace.max(0) as u32),
        preconditions: uid.map(|uid| Preconditions { uid: Some(uid), resource_version: None }),
        ..DeleteParams::default()
    }
}

/// "Not found" and "another object has the name now" both mean that the one meant is gone.
pub(crate) fn gone(result: kube::Result<()>) -> kube::Result<()> {
    match result {
        Err(error) if is_not_found(&error) || is_conflict(&error) => Ok(()),
        other => other,
    }
}
