//! The service account controller: each namespace has a service account called `default`.

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::Context;
use crate::api::Error;
use crate::informers::Informer;
use crate::ownership::wake_itself;
use crate::queue::Key;

/// The account of pods that name none.
const DEFAULT: &str = "default";

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let namespaces: Informer<Namespace> = context.informers.of();
    let accounts: Informer<ServiceAccount> = context.informers.of();
    let queue = context.queue("serviceaccount");
    wake_itself(&namespaces, &queue);
    accounts.subscribe({
        let queue = queue.clone();
        move |change| {
            if let (Some(gone), None) = (&change.old, &change.new)
                && gone.metadata.name.as_deref() == Some(DEFAULT)
            {
                queue.add(Key::new("", gone.metadata.namespace.as_deref().unwrap_or_default()));
            }
        }
    });
    let shutdown = context.shutdown.clone();
    async move {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = futures::future::join(namespaces.synced(), accounts.synced()) => {}
        }
        queue.run(4, &shutdown, |key| ensure(&namespaces, &accounts, key)).await;
    }
}

/// Whether objects may be created in `namespace`.
pub(crate) fn is_active(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_none()
}

async fn ensure(
    namespaces: &Informer<Namespace>,
    accounts: &Informer<ServiceAccount>,
    key: Key,
) -> Result<(), Error> {
    let active = namespaces.get("", &key.name).is_some_and(|namespace| is_active(&namespace));
    if !active || accounts.get(&key.name, DEFAULT).is_some() {
        return Ok(());
    }
    let account = ServiceAccount {
        metadata: ObjectMeta {
            namespace: Some(key.name),
            name: Some(DEFAULT.to_owned()),
            ..ObjectMeta::default()
        },
        ..ServiceAccount::default()
    };
    match accounts.create(&account).await {
        Err(error) if !error.is_already_exists() && !error.is_namespace_terminating() => Err(error),
        _ => Ok(()),
    }
}
