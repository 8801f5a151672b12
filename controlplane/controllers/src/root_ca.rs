//! The root CA publisher: each namespace has a config map with the CA that signed the API server's certificate.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::Context;
use crate::api::Error;
use crate::informers::Informer;
use crate::ownership::wake_itself;
use crate::queue::Key;
use crate::service_account::is_active;

/// The config map that every pod's service account volume projects.
const NAME: &str = "kube-root-ca.crt";
const DESCRIPTION: &str = "kubernetes.io/description";

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let shutdown = context.shutdown.clone();
    let publisher = context.root_ca.clone().map(|bundle| {
        let publisher = Publisher {
            bundle,
            namespaces: context.informers.of(),
            maps: context.informers.selected("metadata.name=kube-root-ca.crt"),
        };
        let queue = context.queue("root_ca_cert_publisher");
        wake_itself(&publisher.namespaces, &queue);
        publisher.maps.subscribe({
            let queue = queue.clone();
            move |change| {
                if let Some(map) = change.new.as_ref().or(change.old.as_ref()) {
                    queue.add(Key::new("", map.metadata.namespace.as_deref().unwrap_or_default()));
                }
            }
        });
        (publisher, queue)
    });
    async move {
        let Some((publisher, queue)) = publisher else { return shutdown.cancelled().await };
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = futures::future::join(publisher.namespaces.synced(), publisher.maps.synced()) => {}
        }
        queue.run(4, &shutdown, |key| publisher.ensure(key)).await;
    }
}

struct Publisher {
    bundle: String,
    namespaces: Informer<Namespace>,
    maps: Informer<ConfigMap>,
}

impl Publisher {
    async fn ensure(&self, key: Key) -> Result<(), Error> {
        if !self.namespaces.get("", &key.name).is_some_and(|namespace| is_active(&namespace)) {
            return Ok(());
        }
        let outcome = match self.maps.get(&key.name, NAME) {
            Some(found) => self.maps.update(&found, &publish(ConfigMap::clone(&found), &self.bundle)).await,
            None => {
                let metadata = ObjectMeta {
                    namespace: Some(key.name),
                    name: Some(NAME.to_owned()),
                    ..ObjectMeta::default()
                };
                let map = publish(ConfigMap { metadata, ..ConfigMap::default() }, &self.bundle);
                self.maps.create(&map).await.map(drop)
            }
        };
        match outcome {
            Err(error) if error.is_namespace_terminating() => Ok(()),
            outcome => outcome,
        }
    }
}

/// The config map with nothing but `bundle` in it.
fn publish(mut map: ConfigMap, bundle: &str) -> ConfigMap {
    map.data = Some(BTreeMap::from([("ca.crt".to_owned(), bundle.to_owned())]));
    map.metadata.annotations.get_or_insert_default().entry(DESCRIPTION.to_owned()).or_insert_with(|| {
        "Verifies the API server at the addresses it has inside the cluster, such as kubernetes.default.svc."
            .to_owned()
    });
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_undone_but_annotations_stay() {
        let mut edited = publish(ConfigMap::default(), "CA");
        edited.data =
            Some([("ca.crt".to_owned(), "other".to_owned()), ("extra".to_owned(), "x".to_owned())].into());
        edited.metadata.annotations.as_mut().unwrap().insert("mine".to_owned(), "kept".to_owned());
        let restored = publish(edited, "CA");
        assert_eq!(restored.data, Some([("ca.crt".to_owned(), "CA".to_owned())].into()));
        assert_eq!(restored.metadata.annotations.unwrap().len(), 2);
    }

    #[test]
    fn a_published_map_needs_no_change() {
        let published = publish(ConfigMap::default(), "CA");
        assert_eq!(publish(published.clone(), "CA"), published);
    }
}
