//! The resource claim controller: the claims for devices that pods bring as templates, and who uses claims.
//!
//! A pod with a claim template gets a claim of its own, which the pod's status names. A pod that has a node is noted in
//! the claims that it uses. When the last pod of a claim is done, the claim gives its devices back; one that was made for
//! that pod goes. The scheduler gives claims their devices, and holds them by a finalizer that is taken off here.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodResourceClaim, PodResourceClaimStatus};
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimConsumerReference, ResourceClaimTemplate};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::DeleteParams;

use crate::Context;
use crate::api::Error;
use crate::events::{Note, Recorder};
use crate::finalizers;
use crate::informers::Informer;
use crate::ownership::{controller_name, controller_reference, is_controlled_by};
use crate::queue::Key;

/// Which claim of its pod a claim was made for.
const POD_CLAIM: &str = "resource.kubernetes.io/pod-claim-name";
/// Keeps a claim for as long as it has devices.
const DELETE_PROTECTION: &str = "resource.kubernetes.io/delete-protection";
/// How many pods may share a claim.
const MAX_CONSUMERS: usize = 256;
/// How long a generated name may be, without the characters that the server adds.
const MAX_BASE: usize = 57;

/// What to look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Task {
    /// Whether a pod has its claims.
    Pod(Key),
    /// Who uses a claim.
    Claim(Key),
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(key) => write!(f, "pod {key}"),
            Self::Claim(key) => write!(f, "claim {key}"),
        }
    }
}

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let controller = Controller {
        pods: context.informers.of(),
        claims: context.informers.of(),
        recorder: context.recorder.named("resource_claim"),
    };
    let queue = context.queue("resource_claim");
    controller.pods.subscribe({
        let queue = queue.clone();
        move |change| {
            let Some(pod) = change.new.as_ref().or(change.old.as_ref()).filter(|pod| has_claims(pod)) else {
                return;
            };
            if change.new.is_some() {
                queue.add(Task::Pod(Key::of(&**pod)));
            }
            if change.new.is_none() || is_done(pod) {
                let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
                for name in names(pod) {
                    queue.add(Task::Claim(Key::new(namespace, name)));
                }
            }
        }
    });
    controller.claims.subscribe({
        let queue = queue.clone();
        move |change| {
            let Some(claim) = change.new.as_ref().or(change.old.as_ref()) else { return };
            queue.add(Task::Claim(Key::of(&**claim)));
            // One that was deleted by mistake is made anew.
            if let Some(pod) = controller_name::<Pod>(&claim.metadata) {
                let namespace = claim.metadata.namespace.as_deref().unwrap_or_default();
                queue.add(Task::Pod(Key::new(namespace, pod)));
            }
        }
    });
    let shutdown = context.shutdown.clone();
    async move {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = futures::future::join(controller.pods.synced(), controller.claims.synced()) => {}
        }
        queue.run(4, &shutdown, |task| controller.work(task)).await;
    }
}

struct Controller {
    pods: Informer<Pod>,
    claims: Informer<ResourceClaim>,
    recorder: Recorder,
}

fn wanted(pod: &Pod) -> &[PodResourceClaim] {
    pod.spec.as_ref().and_then(|spec| spec.resource_claims.as_deref()).unwrap_or_default()
}

fn made(pod: &Pod) -> &[PodResourceClaimStatus] {
    pod.status.as_ref().and_then(|status| status.resource_claim_statuses.as_deref()).unwrap_or_default()
}

fn has_claims(pod: &Pod) -> bool {
    !wanted(pod).is_empty()
}

/// The names of the claims that a pod uses, as far as they are known.
fn names(pod: &Pod) -> impl Iterator<Item = &str> {
    wanted(pod).iter().filter_map(|claim| match &claim.resource_claim_name {
        Some(name) => Some(name.as_str()),
        None => made(pod).iter().find(|one| one.name == claim.name)?.resource_claim_name.as_deref(),
    })
}

/// Whether nothing of the pod runs or will ever run.
fn is_done(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
    matches!(phase, Some("Succeeded" | "Failed"))
        || (pod.metadata.deletion_timestamp.is_some() && node.is_empty())
}

fn consumers(claim: &ResourceClaim) -> &[ResourceClaimConsumerReference] {
    claim.status.as_ref().and_then(|status| status.reserved_for.as_deref()).unwrap_or_default()
}

/// The claim that is made of a template for a pod.
fn generated(pod: &Pod, wanted: &PodResourceClaim, template: ResourceClaimTemplate) -> ResourceClaim {
    let meta = template.spec.metadata.unwrap_or_default();
    let mut annotations = meta.annotations.unwrap_or_default();
    annotations.insert(POD_CLAIM.to_owned(), wanted.name.clone());
    ResourceClaim {
        metadata: ObjectMeta {
            generate_name: Some(base_name(pod.metadata.name.as_deref().unwrap_or_default(), &wanted.name)),
            namespace: pod.metadata.namespace.clone(),
            labels: meta.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(pod)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.spec,
        status: None,
    }
}

/// The beginning of a generated name; where it would be too long, both parts give up their share.
fn base_name(pod: &str, claim: &str) -> String {
    let whole = format!("{pod}-{claim}-");
    let part = |text: &str| -> String { text.chars().take(text.len() * MAX_BASE / whole.len()).collect() };
    if whole.len() > MAX_BASE { format!("{}-{}", part(pod), part(claim)) } else { whole }
}

/// The claim with the pod among those that use it, where it has devices and there is room.
fn reserved(claim: &ResourceClaim, pod: &Pod) -> Option<ResourceClaim> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let known = consumers(claim).iter().any(|consumer| consumer.uid == uid);
    claim.status.as_ref()?.allocation.as_ref()?;
    if known || consumers(claim).len() >= MAX_CONSUMERS {
        return None;
    }
    let mut claim = claim.clone();
    claim.status.get_or_insert_default().reserved_for.get_or_insert_default().push(
        ResourceClaimConsumerReference {
            api_group: None,
            name: pod.metadata.name.clone().unwrap_or_default(),
            resource: "pods".to_owned(),
            uid: uid.to_owned(),
        },
    );
    Some(claim)
}

/// The claim without those that no longer use it; without any left, it has no devices either.
fn freed(claim: &ResourceClaim, uses: impl Fn(&ResourceClaimConsumerReference) -> bool) -> ResourceClaim {
    let mut freed = claim.clone();
    let Some(status) = &mut freed.status else { return freed };
    let before = status.reserved_for.as_ref().map_or(0, Vec::len);
    status.reserved_for = status.reserved_for.take().map(|mut all| {
        all.retain(uses);
        all
    });
    let left = status.reserved_for.as_ref().map_or(0, Vec::len);
    let held = claim.metadata.finalizers.iter().flatten().any(|one| one == DELETE_PROTECTION);
    let is_over = left < before || claim.metadata.deletion_timestamp.is_some();
    if left == 0 && is_over && held {
        (status.allocation, status.devices) = (None, None);
    }
    freed
}

impl Controller {
    async fn work(&self, task: Task) -> Result<(), Error> {
        match task {
            Task::Pod(key) => self.provide(key).await,
            Task::Claim(key) => self.release(key).await,
        }
    }

    /// Makes the claims of a pod that come from templates, and notes the pod in those that it uses on its node.
    async fn provide(&self, key: Key) -> Result<(), Error> {
        let Some(pod) = self.pods.get(&key.namespace, &key.name) else { return Ok(()) };
        if pod.metadata.deletion_timestamp.is_some() || is_done(&pod) {
            return Ok(());
        }
        let mut statuses = made(&pod).to_vec();
        for claim in wanted(&pod) {
            let provided = self.provided(&pod, claim, &mut statuses).await;
            provided.inspect_err(|error| {
                if !error.is_namespace_terminating() {
                    let message = format!("PodResourceClaim {}: {}", claim.name, error.message());
                    self.recorder.tell(&*pod, Note::warning("FailedResourceClaimCreation", message));
                }
            })?;
        }
        if statuses != made(&pod) {
            let mut told = (*pod).clone();
            told.status.get_or_insert_default().resource_claim_statuses = Some(statuses);
            match self.pods.update_status(&pod, &told).await {
                Err(error) if error.is_not_found() => return Ok(()),
                outcome => outcome?,
            }
        }
        let scheduled = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        if scheduled.is_none_or(str::is_empty) {
            return Ok(());
        }
        for name in names(&pod) {
            let Some(claim) = self.claims.get(&key.namespace, name) else { continue };
            if let Some(reserved) = reserved(&claim, &pod) {
                self.claims.update_status(&claim, &reserved).await?;
            }
        }
        Ok(())
    }

    /// Sees to it that one claim of a pod is there, if it comes from a template, and notes its name.
    async fn provided(
        &self,
        pod: &Pod,
        wanted: &PodResourceClaim,
        statuses: &mut Vec<PodResourceClaimStatus>,
    ) -> Result<(), Error> {
        let Some(template) = &wanted.resource_claim_template_name else { return Ok(()) };
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let known = statuses.iter().find(|one| one.name == wanted.name);
        match known.map(|known| known.resource_claim_name.as_deref()) {
            // It turned out that the pod needs none.
            Some(None) => return Ok(()),
            Some(Some(name)) => {
                let claim = self.claims.get(namespace, name);
                if claim.is_some_and(|claim| is_controlled_by(&claim.metadata, &pod.metadata)) {
                    return Ok(());
                }
            }
            None => {}
        }
        let is_for = |claim: &&Arc<ResourceClaim>| {
            let annotations = claim.metadata.annotations.as_ref();
            annotations.and_then(|all| all.get(POD_CLAIM)) == Some(&wanted.name)
        };
        let claim = match self.claims.owned(&pod.metadata).iter().find(is_for) {
            // It was made before the pod could be told.
            Some(claim) => claim.clone(),
            None => {
                let path = ResourceClaimTemplate::url_path(&(), Some(namespace));
                let found = self.claims.api().get(&format!("{path}/{template}")).await?;
                let found: ResourceClaimTemplate = found.ok_or_else(|| {
                    Error::NotYet(format!(
                        "resource claim template \"{template}\": resourceclaimtemplate.resource.k8s.io \"{template}\" \
                         not found"
                    ))
                })?;
                self.claims.create(&generated(pod, wanted, found)).await?
            }
        };
        statuses.retain(|one| one.name != wanted.name);
        let resource_claim_name = claim.metadata.name.clone();
        statuses.push(PodResourceClaimStatus { name: wanted.name.clone(), resource_claim_name });
        Ok(())
    }

    /// Frees a claim of pods that are done, and lets it go that was made for one of them.
    async fn release(&self, key: Key) -> Result<(), Error> {
        let Some(mut claim) = self.claims.get(&key.namespace, &key.name) else { return Ok(()) };
        let mut gone = Vec::new();
        for consumer in
            consumers(&claim).iter().filter(|one| one.resource == "pods" && one.api_group.is_none())
        {
            let pod = match self.pods.get(&key.namespace, &consumer.name) {
                Some(pod) if pod.metadata.uid.as_ref() == Some(&consumer.uid) => Some(pod),
                // The scheduler may know of a pod that the watch has not told yet.
                _ => self.pods.fetch(&key.namespace, &consumer.name).await?.map(Into::into),
            };
            let uses =
                pod.is_some_and(|pod| pod.metadata.uid.as_ref() == Some(&consumer.uid) && !is_done(&pod));
            if !uses {
                gone.push(consumer.uid.clone());
            }
        }
        let freed = freed(&claim, |consumer| !gone.contains(&consumer.uid));
        if freed != *claim {
            self.claims.update_status(&claim, &freed).await?;
            let Some(now) = self.claims.get(&key.namespace, &key.name) else { return Ok(()) };
            claim = now;
        } else if claim.metadata.deletion_timestamp.is_none() {
            return self.remove(&claim).await;
        }
        let unallocated = claim.status.as_ref().is_none_or(|status| status.allocation.is_none());
        if unallocated && consumers(&claim).is_empty() {
            let metadata = finalizers::without(&claim.metadata, DELETE_PROTECTION);
            if let Some(metadata) = metadata {
                let released = ResourceClaim { metadata, ..(*claim).clone() };
                match self.claims.update(&claim, &released).await {
                    Err(error) if error.is_not_found() => return Ok(()),
                    outcome => outcome?,
                }
            }
        }
        self.remove(&claim).await
    }

    /// Deletes a claim that was made for a pod that is done; one of a pod that is gone is the garbage collector's.
    async fn remove(&self, claim: &ResourceClaim) -> Result<(), Error> {
        let namespace = claim.metadata.namespace.as_deref().unwrap_or_default();
        if !consumers(claim).is_empty() || claim.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let owner = controller_name::<Pod>(&claim.metadata).and_then(|name| self.pods.get(namespace, name));
        let needless = |pod: &Pod| is_done(pod) || !is_controlled_by(&claim.metadata, &pod.metadata);
        if owner.is_some_and(|pod| needless(&pod)) {
            self.claims.delete(claim, DeleteParams::default()).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "1"},
            "spec": {"containers": [], "nodeName": "n", "resourceClaims": [
                {"name": "own", "resourceClaimTemplateName": "t"}, {"name": "shared", "resourceClaimName": "s"},
            ]},
            "status": status,
        }))
        .unwrap()
    }

    fn claim(consumers: &[&str], finalizers: &[&str]) -> ResourceClaim {
        let consumers: Vec<_> =
            consumers.iter().map(|uid| json!({"name": uid, "uid": uid, "resource": "pods"})).collect();
        serde_json::from_value(json!({
            "metadata": {"name": "s", "namespace": "shop", "finalizers": finalizers},
            "spec": {},
            "status": {"allocation": {"devices": {}}, "reservedFor": consumers},
        }))
        .unwrap()
    }

    #[test]
    fn a_template_becomes_a_claim_that_its_pod_owns_and_that_says_what_it_is_for() {
        let template = json!({"metadata": {"name": "t"}, "spec": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"devices": {"requests": [{"name": "r"}]}},
        }});
        let pod = pod(json!({}));
        let made = generated(&pod, &wanted(&pod)[0], serde_json::from_value(template).unwrap());
        assert_eq!(made.metadata.generate_name.as_deref(), Some("web-own-"));
        assert_eq!(made.metadata.annotations.as_ref().unwrap()[POD_CLAIM], "own");
        assert_eq!(made.metadata.labels.as_ref().unwrap()["a"], "b");
        assert!(is_controlled_by(&made.metadata, &pod.metadata));
        assert_eq!(made.spec.devices.unwrap().requests.unwrap()[0].name, "r");
    }

    #[test]
    fn long_names_give_up_their_share() {
        let base = base_name(&"p".repeat(50), &"c".repeat(50));
        assert_eq!(base, format!("{}-{}", "p".repeat(27), "c".repeat(27)));
    }

    #[test]
    fn a_pod_uses_the_claims_that_it_names_and_those_that_were_made_for_it() {
        let status = json!({"resourceClaimStatuses": [{"name": "own", "resourceClaimName": "web-own-x"}]});
        assert_eq!(names(&pod(status)).collect::<Vec<_>>(), ["web-own-x", "s"]);
        assert_eq!(names(&pod(json!({}))).collect::<Vec<_>>(), ["s"]);
        assert!(is_done(&pod(json!({"phase": "Failed"}))) && !is_done(&pod(json!({"phase": "Running"}))));
    }

    #[test]
    fn a_pod_with_a_node_is_noted_once_in_a_claim_that_has_devices() {
        let pod = pod(json!({}));
        let noted = reserved(&claim(&["2"], &[]), &pod).unwrap();
        assert_eq!(consumers(&noted).iter().map(|one| one.uid.as_str()).collect::<Vec<_>>(), ["2", "1"]);
        assert_eq!(reserved(&noted, &pod), None);
        let full: Vec<String> = (2..2 + MAX_CONSUMERS).map(|n| n.to_string()).collect();
        let full: Vec<&str> = full.iter().map(String::as_str).collect();
        assert_eq!(reserved(&claim(&full, &[]), &pod), None, "it is used by as many as may");
    }

    #[test]
    fn a_claim_gives_its_devices_back_when_its_last_pod_is_done() {
        let has_devices = |claim: &ResourceClaim| claim.status.as_ref().unwrap().allocation.is_some();
        let one_left = freed(&claim(&["1", "2"], &[DELETE_PROTECTION]), |one| one.uid == "2");
        assert!(has_devices(&one_left) && consumers(&one_left).len() == 1);
        let none_left = freed(&claim(&["1"], &[DELETE_PROTECTION]), |_| false);
        assert!(!has_devices(&none_left) && consumers(&none_left).is_empty());
        let unused = claim(&[], &[DELETE_PROTECTION]);
        assert_eq!(freed(&unused, |_| false), unused, "one that waits for its first pod keeps them");
    }
}
