//! Keeps, inside the cluster, the bindings that its owner outside asks for (`spec.access`).
//!
//! They have names and a label of their own. What is changed in them is put back, what is no longer asked for goes; other
//! bindings are the tenant's. A cluster for which nothing is asked looks once, at its start, for what is left of an earlier
//! time.

use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleRef, Subject};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams},
    runtime::{WatchStreamExt, watcher},
};
use tokio_util::sync::CancellationToken;
use vkube_crds::{Access, AccessSubject};

const LABEL: &str = "vkube.dev/access";
const MANAGER: &str = "vkube-access";
const RETRY: Duration = Duration::from_secs(1);

/// Reads one entry.
pub fn parse(json: &str) -> Result<Access, serde_json::Error> {
    serde_json::from_str(json)
}

/// Keeps the bindings.
pub struct Keeper {
    bindings: Api<ClusterRoleBinding>,
    wanted: BTreeMap<String, ClusterRoleBinding>,
}

impl Keeper {
    /// For what is asked, through a client that may grant anything.
    pub fn new(client: Client, asked: &[Access]) -> Self {
        Self { bindings: Api::all(client), wanted: wanted(asked) }
    }

    /// Keeps them until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.keep()).await;
    }

    async fn keep(&self) {
        while let Err(error) = self.settle().await {
            tracing::warn!(%error, "failed to keep who has access");
            tokio::time::sleep(RETRY).await;
        }
        if self.wanted.is_empty() {
            return;
        }
        let labelled = watcher::Config::default().labels(LABEL);
        let mut changes = watcher(self.bindings.clone(), labelled).default_backoff().boxed();
        while let Some(change) = changes.next().await {
            let settled = match change {
                // The first list; what it says was just put in order, or is by what follows.
                Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => continue,
                Ok(_) => self.settle().await,
                Err(error) => {
                    tracing::debug!(%error, "the watch of who has access begins anew");
                    continue;
                }
            };
            if let Err(error) = settled {
                tracing::warn!(%error, "failed to keep who has access");
            }
        }
    }

    /// Brings all bindings in step. Writes nothing if they are.
    async fn settle(&self) -> Result<(), kube::Error> {
        let found = self.bindings.list(&ListParams::default().labels(LABEL)).await?.items;
        let mut missing = self.wanted.clone();
        for live in found {
            let name = live.name_any();
            match missing.remove(&name) {
                Some(wanted) if is_so(&live, &wanted) => {}
                Some(wanted) if live.role_ref == wanted.role_ref => self.apply(&name, &wanted).await?,
                // A binding cannot change its role.
                other => {
                    gone(self.bindings.delete(&name, &DeleteParams::default()).await)?;
                    if let Some(wanted) = other {
                        self.apply(&name, &wanted).await?;
                    }
                }
            }
        }
        for (name, wanted) in &missing {
            // One of that name without the label is the tenant's doing, and may have another role.
            if let Some(live) = self.bindings.get_opt(name).await?
                && live.role_ref != wanted.role_ref
            {
                gone(self.bindings.delete(name, &DeleteParams::default()).await)?;
            }
            self.apply(name, wanted).await?;
        }
        Ok(())
    }

    async fn apply(&self, name: &str, wanted: &ClusterRoleBinding) -> Result<(), kube::Error> {
        let params = PatchParams::apply(MANAGER).force();
        self.bindings.patch(name, &params, &Patch::Apply(wanted)).await.map(|_| ())
    }
}

fn gone<T>(deleted: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match deleted {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map(|_| ()),
    }
}

/// The bindings, by name.
fn wanted(asked: &[Access]) -> BTreeMap<String, ClusterRoleBinding> {
    asked.iter().map(|access| binding(access)).map(|binding| (binding.name_any(), binding)).collect()
}

fn binding(access: &Access) -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: ObjectMeta {
            name: Some(format!("vkube:access:{}", access.cluster_role)),
            labels: Some(BTreeMap::from([(LABEL.to_owned(), "true".to_owned())])),
            ..ObjectMeta::default()
        },
        role_ref: RoleRef {
            api_group: Some(RBAC.into()),
            kind: "ClusterRole".into(),
            name: access.cluster_role.clone(),
        },
        subjects: Some(access.subjects.iter().map(subject).collect()),
    }
}

const RBAC: &str = "rbac.authorization.k8s.io";

fn subject(asked: &AccessSubject) -> Subject {
    Subject {
        // Service accounts are of the core group.
        api_group: asked.namespace.is_none().then(|| RBAC.to_owned()),
        kind: asked.kind.as_str().into(),
        name: asked.name.clone(),
        namespace: asked.namespace.clone(),
    }
}

fn is_so(live: &ClusterRoleBinding, wanted: &ClusterRoleBinding) -> bool {
    live.role_ref == wanted.role_ref && live.subjects == wanted.subjects
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tower::Service as _;
    use vkube_apiserver::{instance, instance::Instance, user::User};

    use super::*;

    async fn start() -> (Instance, Client) {
        let instance = Instance::start(instance::Options::default()).await.unwrap();
        let client = Client::new(instance.server.service(User::component("test")), "default");
        (instance, client)
    }

    fn asked(role: &str, users: &[&str]) -> Access {
        let subjects: Vec<_> = users.iter().map(|name| json!({"kind": "User", "name": name})).collect();
        serde_json::from_value(json!({"clusterRole": role, "subjects": subjects})).unwrap()
    }

    fn names(client: &Client) -> impl Future<Output = Vec<String>> {
        let api: Api<ClusterRoleBinding> = Api::all(client.clone());
        async move {
            let found = api.list(&ListParams::default().labels(LABEL)).await.unwrap();
            found.items.iter().map(ResourceExt::name_any).collect()
        }
    }

    /// Whether a user may list Secrets.
    async fn may(instance: &Instance, user: &str) -> bool {
        let request = http::Request::get("/api/v1/secrets").body(vkube_apiserver::body::empty()).unwrap();
        let mut service = instance.server.service(User::new(user, &[]));
        service.call(request).await.unwrap().status().is_success()
    }

    #[tokio::test]
    async fn who_is_named_has_the_role_until_no_longer_named() {
        let (instance, client) = start().await;
        Keeper::new(client.clone(), &[asked("cluster-admin", &["jane"]), asked("view", &["joe"])])
            .settle()
            .await
            .unwrap();
        while !may(&instance, "jane").await {
            tokio::task::yield_now().await;
        }
        assert!(!may(&instance, "joe").await, "viewers see no Secrets");
        Keeper::new(client.clone(), &[asked("view", &["joe"])]).settle().await.unwrap();
        assert_eq!(names(&client).await, ["vkube:access:view"]);
        Keeper::new(client.clone(), &[]).run(CancellationToken::new()).await;
        assert_eq!(names(&client).await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn what_a_tenant_changes_is_put_back() {
        let (_instance, client) = start().await;
        let shutdown = CancellationToken::new();
        let keeper = Keeper::new(client.clone(), &[asked("view", &["joe"])]);
        let running = tokio::spawn(keeper.run(shutdown.clone()));
        let api: Api<ClusterRoleBinding> = Api::all(client.clone());
        let name = "vkube:access:view";
        let until = async |met: fn(&ClusterRoleBinding) -> bool| {
            while !api.get_opt(name).await.unwrap().is_some_and(|live| met(&live)) {
                tokio::task::yield_now().await;
            }
        };
        let is_joes = |live: &ClusterRoleBinding| {
            live.subjects.as_ref().is_some_and(|all| all.len() == 1 && all[0].name == "joe")
                && live.labels().contains_key(LABEL)
        };
        until(is_joes).await;
        for change in [
            json!({"subjects": [{"kind": "User", "name": "eve", "apiGroup": RBAC}]}),
            json!({"metadata": {"labels": {LABEL: null}}}),
        ] {
            api.patch(name, &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
            until(is_joes).await;
        }
        api.delete(name, &DeleteParams::default()).await.unwrap();
        until(is_joes).await;
        shutdown.cancel();
        running.await.unwrap();
    }
}
