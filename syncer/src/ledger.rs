//! Which kinds have been synchronised by settings that may change, so that what they leave behind is found.
//!
//! A rule that is taken back leaves objects that nobody watches any more. Therefore each kind is entered in a ConfigMap
//! of the host namespace before its first object is written; at the next start, what belongs to kinds that are no
//! longer synchronised is removed, and then their entry.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DynamicObject, ListParams};
use kube::core::ApiResource;
use kube::{Api, Client};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::context::{Context, Kind, delete_params, gone};
use crate::error::{Error, Result, is_not_found};
use crate::labels::{EXPORTED_BY, FROM_HOST, MANAGED};
use crate::resources::export;
use crate::rules::Direction;
use crate::rules::catalogue::{KNOWN, Place};
use crate::spaces;

/// How often an attempt is repeated that an API server refused.
const RETRY: Duration = Duration::from_secs(10);
const KEY: &str = "kinds";

/// Kinds with code of their own that are synchronised only if the settings say so.
const OPTIONAL: [Kind; 2] = [Kind::Ingress, Kind::NetworkPolicy];

/// A kind that is, or was, synchronised one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    to_host: bool,
    api_version: String,
    kind: String,
    plural: String,
    cluster_scoped: bool,
    /// Where exported objects are, whose names do not follow from the virtual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exported_to: Option<String>,
}

/// The entries; `None` before they are read.
pub(crate) type Ledger = Mutex<Option<Vec<Entry>>>;

impl Entry {
    pub fn new(direction: Direction, api: &ApiResource, place: Place) -> Self {
        Self {
            to_host: direction == Direction::ToHost,
            api_version: api.api_version.clone(),
            kind: api.kind.clone(),
            plural: api.plural.clone(),
            cluster_scoped: place == Place::Cluster,
            exported_to: None,
        }
    }

    fn of_code(kind: Kind) -> Option<Self> {
        let known = KNOWN.iter().find(|known| known.code() == Some(kind))?;
        Some(Self {
            to_host: true,
            api_version: kind.api_version().into(),
            kind: kind.name().into(),
            plural: known.names().0.into(),
            cluster_scoped: false,
            exported_to: None,
        })
    }

    /// Services or Endpoints that are exported into a namespace of the host.
    pub fn exported(kind: Kind, namespace: &str) -> Option<Self> {
        Some(Self { exported_to: Some(namespace.to_owned()), ..Self::of_code(kind)? })
    }

    fn api(&self) -> ApiResource {
        let (group, version) = self.api_version.split_once('/').unwrap_or(("", &self.api_version));
        ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            plural: self.plural.clone(),
        }
    }

    /// Whether the settings still ask for the kind. Versions come and go; objects stay.
    fn is_wanted(&self, cx: &Context) -> bool {
        if let Some(namespace) = &self.exported_to {
            return cx.exports.iter().any(|side| side.namespace == *namespace);
        }
        let coded = OPTIONAL.into_iter().find(|kind| kind.name() == self.kind && self.to_host);
        if coded.is_some_and(|kind| kind.api_version() == self.api_version) {
            return coded.is_some_and(|kind| cx.translator.config.syncs(kind));
        }
        let group = self.api().group;
        let resource =
            if group.is_empty() { self.plural.clone() } else { format!("{}.{group}", self.plural) };
        let direction = if self.to_host { Direction::ToHost } else { Direction::FromHost };
        cx.translator.config.rules.has(direction, &resource)
    }
}

/// Removes what rules that are taken back left behind, and enters optional kinds; tried until it succeeds.
pub(crate) async fn open(cx: &Context) {
    loop {
        match sweep(cx).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, "cannot remove what is no longer synchronised"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Enters a kind, before its first object is written.
pub(crate) async fn enter(cx: &Context, entry: Entry) -> Result<()> {
    let mut ledger = cx.ledger.lock().await;
    let mut entries = match ledger.take() {
        Some(entries) => entries,
        None => read(cx).await?,
    };
    if !entries.contains(&entry) {
        entries.push(entry);
        write(cx, &entries).await?;
    }
    *ledger = Some(entries);
    Ok(())
}

async fn sweep(cx: &Context) -> Result<()> {
    let entries = read(cx).await?;
    let (kept, dropped): (Vec<Entry>, Vec<Entry>) =
        entries.into_iter().partition(|entry| entry.is_wanted(cx));
    let mut stuck = Vec::new();
    for entry in &dropped {
        match remove_all(cx, entry).await {
            // The right to do so may have gone with the rule. The next start tries again.
            Err(error) if error.status().is_some_and(|status| status.code == 403) => {
                tracing::warn!(kind = entry.kind, %error, "what was synchronised stays");
                stuck.push(entry.clone());
            }
            outcome => outcome?,
        }
    }
    {
        let mut ledger = cx.ledger.lock().await;
        // A rule may have entered its kind meanwhile.
        let mut all = ledger.take().unwrap_or(kept);
        all.retain(|entry| entry.is_wanted(cx));
        all.extend(stuck);
        if !dropped.is_empty() {
            write(cx, &all).await?;
        }
        *ledger = Some(all);
    }
    for kind in OPTIONAL.into_iter().filter(|kind| cx.translator.config.syncs(*kind)) {
        if let Some(entry) = Entry::of_code(kind) {
            enter(cx, entry).await?;
        }
    }
    Ok(())
}

async fn remove_all(cx: &Context, entry: &Entry) -> Result<()> {
    let api = entry.api();
    let (client, labels) = if entry.exported_to.is_some() {
        (&cx.host_client, format!("{EXPORTED_BY}={}", export::exporter(cx)))
    } else if entry.to_host {
        (&cx.host_client, cx.translator.host_selector())
    } else {
        (&cx.virtual_client, FROM_HOST.to_owned())
    };
    let places: Vec<Api<DynamicObject>> = if entry.to_host && !entry.cluster_scoped {
        let own = || std::iter::once(cx.translator.config.host_namespace.clone());
        let namespaces = match &entry.exported_to {
            Some(namespace) => vec![namespace.clone()],
            None => own().chain(spaces::granted(cx).await?).collect(),
        };
        let place = |namespace: &String| Api::namespaced_with(client.clone(), namespace, &api);
        namespaces.iter().map(place).collect()
    } else {
        vec![Api::all_with(client.clone(), &api)]
    };
    for all in places {
        remove_from(cx, entry, client, &all, &labels).await?;
    }
    tracing::info!(kind = entry.kind, "removed what is no longer synchronised");
    Ok(())
}

async fn remove_from(
    cx: &Context,
    entry: &Entry,
    client: &Client,
    all: &Api<DynamicObject>,
    labels: &str,
) -> Result<()> {
    let api = entry.api();
    let wrap = if entry.to_host { Error::Host } else { Error::Virtual };
    let found = match all.list_metadata(&ListParams::default().labels(labels)).await {
        Ok(found) => found,
        // The kind itself is gone, and all objects with it.
        Err(error) if is_not_found(&error) => return Ok(()),
        Err(error) => return Err(wrap(error)),
    };
    for object in found.items {
        let metadata = &object.metadata;
        let is_named = entry.to_host && entry.exported_to.is_none();
        if is_named && cx.translator.origin(&entry.kind, metadata).is_none() {
            continue;
        }
        let (name, namespace) = (metadata.name.as_deref().unwrap_or_default(), metadata.namespace.as_deref());
        let one: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &api),
            None => Api::all_with(client.clone(), &api),
        };
        let deleted = one.delete(name, &delete_params(metadata.uid.clone(), None)).await;
        gone(deleted.map(drop)).map_err(wrap)?;
    }
    Ok(())
}

fn name(cx: &Context) -> String {
    cx.translator.names.derived("", &cx.translator.config.cluster, "kinds")
}

async fn read(cx: &Context) -> Result<Vec<Entry>> {
    let found = cx.own_api::<ConfigMap>().get_opt(&name(cx)).await.map_err(Error::Host)?;
    let text = found.and_then(|map| map.data).and_then(|mut data| data.remove(KEY));
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

async fn write(cx: &Context, entries: &[Entry]) -> Result<()> {
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name(cx)),
            namespace: Some(cx.translator.config.host_namespace.clone()),
            labels: Some([(MANAGED.to_owned(), "true".to_owned())].into()),
            owner_references: cx.translator.config.owner.clone().map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some([(KEY.to_owned(), serde_json::to_string(entries).unwrap_or_default())].into()),
        ..ConfigMap::default()
    };
    cx.apply(&map).await.map(drop)
}
