//! Persistent volumes for the sandbox: a directory for each claim of its storage class.
//!
//! A pending claim gets a volume that is already bound to it; when the claim is gone, the volume and its
//! directory go too, unless it is to be retained. Volumes made by hand are bound to claims they suit.

mod plan;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::{
    api::{
        core::v1::{PersistentVolume, PersistentVolumeClaim},
        storage::v1::StorageClass,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::task::JoinSet;

use plan::{Action, PROVISIONER};
use vkube_watch::feed::{self, Change, Key};

/// The storage class that claims get when they name none.
const CLASS: &str = "standard";
const PROTECTION: &str = "kubernetes.io/pv-protection";
const RETRY: Duration = Duration::from_millis(500);

/// The objects of one kind.
struct Mirror<K> {
    objects: BTreeMap<Key, Arc<K>>,
    synced: bool,
}

impl<K: Resource> Mirror<K> {
    fn new() -> Self {
        Self { objects: BTreeMap::new(), synced: false }
    }

    fn take(&mut self, change: Change<K>) {
        match change {
            Change::Applied(object) => {
                self.objects.insert(feed::key(&*object), object);
            }
            Change::Deleted(object) => {
                self.objects.remove(&feed::key(&*object));
            }
            Change::Synced => self.synced = true,
        }
    }
}

/// Provisions for as long as it is polled. Volumes are directories below `directory`.
pub(crate) async fn run(client: Client, directory: PathBuf) {
    let mut claims = feed::changes::<PersistentVolumeClaim>(Api::all(client.clone()), "");
    let mut volumes = feed::changes::<PersistentVolume>(Api::all(client.clone()), "");
    create_class(&client).await;

    let (mut known_claims, mut known_volumes) = (Mirror::new(), Mirror::new());
    let mut work = JoinSet::new();
    // One action at a time for each claim and volume: until its result is seen it would be planned again.
    let mut busy = BTreeSet::new();
    loop {
        tokio::select! {
            Some(change) = claims.next() => known_claims.take(change),
            Some(change) = volumes.next() => known_volumes.take(change),
            Some(ended) = work.join_next() => {
                if let Ok(subject) = ended {
                    busy.remove(&subject);
                }
            }
        }
        if !(known_claims.synced && known_volumes.synced) {
            continue;
        }
        for action in plan::plan(&known_claims.objects, &known_volumes.objects, &directory) {
            let subject = action.subject();
            if busy.insert(subject.clone()) {
                work.spawn(act(client.clone(), action, subject));
            }
        }
    }
}

async fn create_class(client: &Client) {
    let class = StorageClass {
        metadata: ObjectMeta {
            name: Some(CLASS.into()),
            annotations: Some(BTreeMap::from([(
                "storageclass.kubernetes.io/is-default-class".to_owned(),
                "true".to_owned(),
            )])),
            ..ObjectMeta::default()
        },
        provisioner: PROVISIONER.into(),
        reclaim_policy: Some("Delete".into()),
        volume_binding_mode: Some("Immediate".into()),
        ..StorageClass::default()
    };
    let api: Api<StorageClass> = Api::all(client.clone());
    loop {
        match api.create(&PostParams::default(), &class).await {
            Ok(_) => return,
            Err(kube::Error::Api(status)) if status.code == 409 => return,
            Err(error) => tracing::warn!(%error, "storage class not created, will try again"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Carries out an action; its effects come back as changes. What fails is planned again after a moment.
async fn act(client: Client, action: Action, subject: String) -> String {
    let result = match action {
        Action::Create(volume) => create(&client, *volume).await,
        Action::Bind { claim, volume } => bind(&client, &claim, &volume).await,
        Action::Release(volume) => release(&client, &volume).await,
        Action::Delete { volume, directory } => delete(&client, &volume, directory.as_deref()).await,
    };
    if let Err(error) = result {
        tracing::debug!(%error, subject, "volume not brought forward, will try again");
        tokio::time::sleep(RETRY).await;
    }
    subject
}

/// Why an action failed.
#[derive(Debug, thiserror::Error)]
enum ActError {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("volume directory: {0}")]
    Disk(#[from] io::Error),
}

async fn create(client: &Client, volume: PersistentVolume) -> Result<(), ActError> {
    let api: Api<PersistentVolume> = Api::all(client.clone());
    match api.create(&PostParams::default(), &volume).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn bind(
    client: &Client,
    claim: &PersistentVolumeClaim,
    volume: &PersistentVolume,
) -> Result<(), ActError> {
    let none = PatchParams::default();
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let reference = Patch::Merge(json!({"spec": {"claimRef": plan::claim_reference(claim)}}));
    volumes.patch(&volume.name_any(), &none, &reference).await?;
    let bound = Patch::Merge(json!({"status": {"phase": "Bound"}}));
    volumes.patch_status(&volume.name_any(), &none, &bound).await?;

    let claims: Api<PersistentVolumeClaim> =
        Api::namespaced(client.clone(), &claim.namespace().unwrap_or_default());
    let named = Patch::Merge(json!({
        "metadata": {"uid": claim.uid(), "annotations": plan::bound_annotations()},
        "spec": {"volumeName": volume.name_any()},
    }));
    claims.patch(&claim.name_any(), &none, &named).await?;
    let spec = volume.spec.as_ref();
    let status = json!({
        "phase": "Bound",
        "accessModes": spec.and_then(|spec| spec.access_modes.clone()),
        "capacity": spec.and_then(|spec| spec.capacity.clone()),
    });
    claims.patch_status(&claim.name_any(), &none, &Patch::Merge(json!({"status": status}))).await?;
    Ok(())
}

async fn release(client: &Client, volume: &PersistentVolume) -> Result<(), ActError> {
    let api: Api<PersistentVolume> = Api::all(client.clone());
    let released = Patch::Merge(json!({"status": {"phase": "Released"}}));
    api.patch_status(&volume.name_any(), &PatchParams::default(), &released).await?;
    Ok(())
}

async fn delete(
    client: &Client,
    volume: &PersistentVolume,
    directory: Option<&Path>,
) -> Result<(), ActError> {
    if let Some(directory) = directory {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    let api: Api<PersistentVolume> = Api::all(client.clone());
    let name = volume.name_any();
    let gone = |result: kube::Result<()>| match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        result => result,
    };
    if volume.metadata.deletion_timestamp.is_none() {
        gone(api.delete(&name, &DeleteParams::default()).await.map(drop))?;
    }
    let kept: Vec<_> = volume.finalizers().iter().filter(|finalizer| *finalizer != PROTECTION).collect();
    let unprotected = Patch::Merge(json!({"metadata": {"uid": volume.uid(), "finalizers": kept}}));
    Ok(gone(api.patch(&name, &PatchParams::default(), &unprotected).await.map(drop))?)
}
