//! What to do about claims and volumes: a pure decision.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use k8s_openapi::{
    api::core::v1::{
        HostPathVolumeSource, ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use kube::{Resource, ResourceExt};

use vkube_scheduler::quantity;
use vkube_watch::feed::Key;

/// The provisioner's name.
pub(super) const PROVISIONER: &str = "vkube.dev/sandbox-hostpath";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    /// Make a volume for a claim.
    Create(Box<PersistentVolume>),
    /// Bind a claim to a volume.
    Bind {
        /// The claim.
        claim: Arc<PersistentVolumeClaim>,
        /// The volume.
        volume: Arc<PersistentVolume>,
    },
    /// Say that a volume has lost its claim.
    Release(Arc<PersistentVolume>),
    /// Remove a volume.
    Delete {
        /// The volume.
        volume: Arc<PersistentVolume>,
        /// Its directory, if it is ours.
        directory: Option<PathBuf>,
    },
}

impl Action {
    /// What the action is about: one volume.
    pub fn subject(&self) -> String {
        match self {
            Self::Create(volume) => volume.name_any(),
            Self::Bind { volume, .. } | Self::Release(volume) | Self::Delete { volume, .. } => {
                volume.name_any()
            }
        }
    }
}

/// What is to be done now.
pub(super) fn plan(
    claims: &BTreeMap<Key, Arc<PersistentVolumeClaim>>,
    volumes: &BTreeMap<Key, Arc<PersistentVolume>>,
    directory: &Path,
) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut taken = Vec::new();
    for claim in claims.values().filter(|claim| is_pending(claim)) {
        let name = volume_name(claim);
        let suits = |volume: &&Arc<PersistentVolume>| {
            !taken.contains(&volume.name_any()) && (volume.name_any() == name || is_free_for(volume, claim))
        };
        if let Some(volume) = volumes.values().find(suits) {
            taken.push(volume.name_any());
            actions.push(Action::Bind { claim: Arc::clone(claim), volume: Arc::clone(volume) });
        } else if is_ours(claim) {
            actions.push(Action::Create(Box::new(mk_volume(claim, directory))));
        }
    }
    for volume in volumes.values() {
        let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
        let reference = reference.filter(|reference| reference.uid.is_some());
        let deleted = volume.metadata.deletion_timestamp.is_some();
        if reference.map_or(!deleted, |reference| claimed(reference, claims)) {
            continue;
        }
        let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
        let ours = volume.annotations().get(PROVISIONED_BY).map(String::as_str) == Some(PROVISIONER);
        let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        if deleted || (ours && policy != Some("Retain")) {
            let directory = (ours && policy != Some("Retain")).then(|| directory.join(volume.name_any()));
            actions.push(Action::Delete { volume: Arc::clone(volume), directory });
        } else if phase != Some("Released") {
            actions.push(Action::Release(Arc::clone(volume)));
        }
    }
    actions
}

/// The annotations of a claim that was bound here.
pub(super) fn bound_annotations() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([(BIND_COMPLETED, "yes"), (BOUND_BY_CONTROLLER, "yes")])
}

/// The reference by which a volume names its claim.
pub(super) fn claim_reference(claim: &PersistentVolumeClaim) -> ObjectReference {
    ObjectReference {
        api_version: Some(PersistentVolumeClaim::api_version(&()).into_owned()),
        kind: Some(PersistentVolumeClaim::kind(&()).into_owned()),
        namespace: claim.namespace(),
        name: claim.metadata.name.clone(),
        uid: claim.uid(),
        ..ObjectReference::default()
    }
}

fn is_pending(claim: &PersistentVolumeClaim) -> bool {
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Bound" | "Lost")) && claim.metadata.deletion_timestamp.is_none()
}

fn class(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref())
}

/// Whether the claim asks for a volume of our class and for no particular one.
fn is_ours(claim: &PersistentVolumeClaim) -> bool {
    let named = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
    let name = volume_name(claim);
    matches!(class(claim), None | Some(super::CLASS))
        && named.is_none_or(|named| named.is_empty() || named == name)
}

fn volume_name(claim: &PersistentVolumeClaim) -> String {
    format!("pvc-{}", claim.uid().unwrap_or_default())
}

fn request(claim: &PersistentVolumeClaim) -> Option<Quantity> {
    claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage").cloned()
}

/// Whether a volume made by hand, or reserved for the claim, suits it.
fn is_free_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let Some(spec) = &volume.spec else { return false };
    let Some(wanted) = &claim.spec else { return false };
    if let Some(reference) = &spec.claim_ref {
        let same = reference.namespace == claim.namespace() && reference.name == claim.metadata.name;
        return same && (reference.uid.is_none() || reference.uid == claim.uid());
    }
    let named = wanted.volume_name.as_deref().filter(|name| !name.is_empty());
    if named.is_some_and(|name| name != volume.name_any()) || volume.metadata.deletion_timestamp.is_some() {
        return false;
    }
    let size =
        |quantity: Option<Quantity>| quantity.and_then(|quantity| quantity::milli(&quantity.0)).unwrap_or(0);
    let offered = spec.capacity.as_ref().and_then(|capacity| capacity.get("storage").cloned());
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    spec.storage_class_name.as_deref().unwrap_or_default() == class(claim).unwrap_or_default()
        && size(offered) >= size(request(claim))
        && wanted.access_modes.iter().flatten().all(|mode| modes.contains(mode))
}

fn claimed(reference: &ObjectReference, claims: &BTreeMap<Key, Arc<PersistentVolumeClaim>>) -> bool {
    let key = (reference.namespace.clone().unwrap_or_default(), reference.name.clone().unwrap_or_default());
    claims.get(&key).is_some_and(|claim| claim.uid() == reference.uid)
}

/// The volume for a claim: a directory of the machine, already promised to the claim.
fn mk_volume(claim: &PersistentVolumeClaim, directory: &Path) -> PersistentVolume {
    let name = volume_name(claim);
    let spec = claim.spec.clone().unwrap_or_default();
    let size = request(claim).unwrap_or_else(|| Quantity("1Gi".into()));
    PersistentVolume {
        spec: Some(PersistentVolumeSpec {
            access_modes: spec.access_modes,
            capacity: Some(BTreeMap::from([("storage".to_owned(), size)])),
            claim_ref: Some(claim_reference(claim)),
            host_path: Some(HostPathVolumeSource {
                path: directory.join(&name).display().to_string(),
                type_: Some("DirectoryOrCreate".into()),
            }),
            persistent_volume_reclaim_policy: Some("Delete".into()),
            storage_class_name: Some(super::CLASS.into()),
            volume_mode: spec.volume_mode,
            ..PersistentVolumeSpec::default()
        }),
        metadata: ObjectMeta {
            annotations: Some(BTreeMap::from([(PROVISIONED_BY.to_owned(), PROVISIONER.to_owned())])),
            name: Some(name),
            ..ObjectMeta::default()
        },
        ..PersistentVolume::default()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::{Value, json};

    use super::*;
    use vkube_watch::feed;

    fn mk_claim(spec: &Value, phase: &str) -> PersistentVolumeClaim {
        let mut claim = json!({
            "metadata": {"name": "data", "namespace": "ns", "uid": "u1"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            "status": {"phase": phase},
        });
        claim["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(claim).unwrap()
    }

    fn mk_hand_made(name: &str, storage: &str) -> PersistentVolume {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"capacity": {"storage": storage}, "accessModes": ["ReadWriteOnce"], "storageClassName": "slow"},
        }))
        .unwrap()
    }

    fn plan_for(claims: &[PersistentVolumeClaim], volumes: &[PersistentVolume]) -> Vec<Action> {
        let claims = claims.iter().map(|claim| (feed::key(claim), Arc::new(claim.clone()))).collect();
        let volumes = volumes.iter().map(|volume| (feed::key(volume), Arc::new(volume.clone()))).collect();
        plan(&claims, &volumes, Path::new("/data/volumes"))
    }

    #[test]
    fn makes_a_volume_and_then_binds_it() {
        let claim = mk_claim(&json!({"storageClassName": "standard"}), "Pending");
        let actions = plan_for(std::slice::from_ref(&claim), &[]);
        let [Action::Create(volume)] = &*actions else { panic!("{actions:?}") };
        let path = &volume.spec.as_ref().unwrap().host_path.as_ref().unwrap().path;
        assert_eq!(path, "/data/volumes/pvc-u1");

        let actions = plan_for(&[claim], &[(**volume).clone()]);
        assert!(matches!(&*actions, [Action::Bind { .. }]));
    }

    #[test]
    fn leaves_bound_claims_and_foreign_classes_alone() {
        let bound = mk_claim(&json!({"storageClassName": "standard"}), "Bound");
        assert!(plan_for(&[bound], &[]).is_empty());
        for class in ["", "fast"] {
            assert!(plan_for(&[mk_claim(&json!({"storageClassName": class}), "Pending")], &[]).is_empty());
        }
    }

    #[test]
    fn binds_a_hand_made_volume_that_is_large_enough() {
        let claim = mk_claim(&json!({"storageClassName": "slow"}), "Pending");
        let volumes = [mk_hand_made("a", "500Mi"), mk_hand_made("b", "2Gi")];
        let actions = plan_for(&[claim], &volumes);
        let [Action::Bind { volume, .. }] = &*actions else { panic!("{actions:?}") };
        assert_eq!(volume.name_any(), "b");
    }

    #[test]
    fn removes_its_volume_with_the_claim_and_only_releases_others() {
        let claim = mk_claim(&json!({}), "Pending");
        let ours = mk_volume(&claim, Path::new("/data/volumes"));
        let actions = plan_for(&[], std::slice::from_ref(&ours));
        let [Action::Delete { directory, .. }] = &*actions else { panic!("{actions:?}") };
        assert_eq!(directory.as_deref(), Some(Path::new("/data/volumes/pvc-u1")));

        let mut unused = mk_hand_made("a", "1Gi");
        assert!(plan_for(&[], std::slice::from_ref(&unused)).is_empty());
        unused.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        assert!(matches!(&*plan_for(&[], &[unused]), [Action::Delete { directory: None, .. }]));

        let mut retained = ours;
        retained.spec.as_mut().unwrap().persistent_volume_reclaim_policy = Some("Retain".into());
        assert!(matches!(&*plan_for(&[], &[retained]), [Action::Release(_)]));
    }
}
