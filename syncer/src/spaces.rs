//! Virtual namespaces that have namespaces of their own on the host: asked for, watched once they are granted, and let go.
//!
//! ```text
//!   virtual namespaces ──► claims (ConfigMap) ──► operator ──► namespace on the host, bounded ──► answers (ConfigMap)
//!                                                                                                     │
//!   work on their objects waits ◄──── until their caches are filled ◄──── watches, a namespace each ◄─┘
//! ```
//!
//! Without mappings nothing of this exists.

mod policy;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{AbortHandle, Abortable};
use futures::stream::{FuturesUnordered, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::{Notify, watch};
use vkube_crds::{Answer, answers_name, claims_name, is_namespace};

use crate::context::{Context, Kind, Task};
use crate::error::{Error, Result};
use crate::labels::{MANAGED, ObjectKey};
use crate::queue::Outcome;
use crate::resources::service;
use crate::watch::{Scope, followed};

/// How often an attempt is repeated that the host refused.
const RETRY: Duration = Duration::from_secs(10);

/// How long a Service waits for its namespace on the host; its client waits as long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Virtual namespaces, and the one that each has on the host.
type Granted = BTreeMap<String, String>;

/// What is known of mapped namespaces.
#[derive(Debug, Default)]
pub(crate) struct Spaces {
    /// Those that may be used.
    granted: watch::Sender<Granted>,
    /// Counts the changes of what is open.
    opened: watch::Sender<u64>,
    /// Wakes who writes the claims.
    asked: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whose caches are filled.
    open: BTreeSet<String>,
    refused: HashMap<String, String>,
    /// Work that waits for its namespace.
    parked: HashMap<String, BTreeSet<Task>>,
}

/// Whether work on a virtual object may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    /// It comes back when its namespace is open.
    Parked,
    /// The object stays off the host, and why.
    Closed(String),
}

impl Spaces {
    /// Wakes who asks for namespaces: there is another virtual one, or one less.
    pub fn ask(&self) {
        self.asked.notify_one();
    }

    /// The namespaces on the host that hold objects of the virtual cluster.
    pub fn host_namespaces(&self, cx: &Context) -> Vec<String> {
        let mapped = self.granted.borrow().values().cloned().collect::<Vec<_>>();
        std::iter::once(cx.translator.config.host_namespace.clone()).chain(mapped).collect()
    }

    /// Notes that the caches of a namespace are filled.
    pub fn open(&self, cx: &Context, namespace: &str) {
        let parked = {
            let mut state = self.state();
            state.open.insert(namespace.to_owned());
            state.parked.remove(namespace).unwrap_or_default()
        };
        self.opened.send_modify(|changes| *changes += 1);
        for task in parked {
            cx.enqueue(task.kind, task.key);
        }
    }

    /// Notes that a namespace is not watched any more.
    pub fn close(&self, namespace: &str) {
        self.state().open.remove(namespace);
    }

    /// Takes in what the operator says.
    fn answered(&self, cx: &Context, answers: &BTreeMap<String, String>) {
        let (mut granted, mut refused) = (Granted::new(), HashMap::new());
        for (namespace, answer) in answers {
            match (serde_json::from_str(answer), cx.translator.mapped(namespace)) {
                (Ok(Answer::Granted), Some(host)) => drop(granted.insert(namespace.clone(), host)),
                (Ok(Answer::Refused(why)), _) => drop(refused.insert(namespace.clone(), why)),
                _ => {}
            }
        }
        let before = std::mem::replace(&mut self.state().refused, refused.clone());
        for namespace in refused.keys().chain(before.keys()) {
            cx.enqueue(Kind::Namespace, ObjectKey::new("", namespace.clone()));
        }
        self.opened.send_modify(|changes| *changes += 1);
        self.granted.send_if_modified(|known| {
            let is_new = *known != granted;
            *known = granted;
            is_new
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether work on an object may go on now.
pub(crate) fn gate(cx: &Context, task: &Task) -> Gate {
    let Some(mapped) = &cx.translator.config.namespaces else { return Gate::Open };
    let namespace = &task.key.namespace;
    let is_everywhere = namespace.is_empty() || service::is_hosts(&task.key);
    if is_everywhere || !goes_to_host(cx, task.kind) {
        return Gate::Open;
    }
    if mapped.map.host(namespace).is_none() {
        return if mapped.only { Gate::Closed(unmapped(namespace)) } else { Gate::Open };
    }
    let refusal = refusal(cx, namespace);
    let mut state = cx.spaces.state();
    if state.open.contains(namespace) {
        return Gate::Open;
    }
    state.parked.entry(namespace.clone()).or_default().insert(task.clone());
    refusal.map_or(Gate::Parked, Gate::Closed)
}

fn goes_to_host(cx: &Context, kind: Kind) -> bool {
    match kind {
        Kind::Rule(number) => {
            let rule = cx.rules.get(usize::from(number)).map(|general| &general.rule);
            rule.is_some_and(|rule| rule.direction == crate::rules::Direction::ToHost)
        }
        Kind::KubernetesService | Kind::Node | Kind::Namespace => false,
        _ => true,
    }
}

/// Waits until objects of a virtual namespace may be made on the host.
pub(crate) async fn opened(cx: &Context, namespace: &str) -> Result<()> {
    let Some(mapped) = &cx.translator.config.namespaces else { return Ok(()) };
    if mapped.map.host(namespace).is_none() {
        return if mapped.only { Err(Error::Unsupported(unmapped(namespace))) } else { Ok(()) };
    }
    let mut changes = cx.spaces.opened.subscribe();
    let wait = async {
        loop {
            changes.borrow_and_update();
            if cx.spaces.state().open.contains(namespace) {
                return Ok(());
            }
            if let Some(why) = refusal(cx, namespace) {
                return Err(Error::Unsupported(why));
            }
            // The sender lives as long as the syncer.
            let _ = changes.changed().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or(Err(Error::Waiting("its namespace on the host")))
}

/// Why a mapped namespace has none on the host.
fn refusal(cx: &Context, namespace: &str) -> Option<String> {
    let host = cx.translator.mapped(namespace)?;
    if !is_namespace(&host) {
        return Some(format!("{host:?} cannot be the name of a namespace on the host"));
    }
    cx.spaces.state().refused.get(namespace).cloned()
}

/// Why objects of a namespace stay off the host.
fn unmapped(namespace: &str) -> String {
    format!("no mapping leads namespace {namespace:?} to the host")
}

/// Tells the tenant of an object that stays off the host, unless it goes there only for the sake of others.
pub(crate) async fn closed(cx: &Context, task: &Task, why: String) -> Result<Outcome> {
    match task.kind {
        Kind::ConfigMap | Kind::Secret | Kind::Endpoints | Kind::EndpointSlice => Ok(Outcome::Done),
        Kind::Pod => match cx.virtual_side.pods.get(&task.key) {
            // Its end waits for a kubelet, which it never had.
            Some(pod) if pod.metadata.deletion_timestamp.is_some() => {
                cx.delete_virtual::<Pod>(&pod.metadata, Some(0)).await?;
                Ok(Outcome::Done)
            }
            Some(_) => Err(Error::Unsupported(why)),
            None => Ok(Outcome::Done),
        },
        Kind::Service if cx.virtual_side.services.get(&task.key).is_none() => Ok(Outcome::Done),
        _ => Err(Error::Unsupported(why)),
    }
}

/// Tells the tenant if a namespace cannot be had on the host.
pub(crate) fn reconcile(cx: &Context, key: &ObjectKey) -> Result<Outcome> {
    let is_there = cx.virtual_side.namespaces.get(key).is_some();
    if !is_there {
        cx.spaces.state().parked.remove(&key.name);
    }
    match refusal(cx, &key.name).filter(|_| is_there) {
        Some(why) => Err(Error::Unsupported(why)),
        None => Ok(Outcome::Done),
    }
}

/// Does `work` for each mapped namespace, its virtual and its host name given, for as long as it may be used; then calls
/// `leave`.
pub(crate) async fn each<W: Future<Output = ()>>(
    cx: &Context,
    work: impl Fn(String, String) -> W,
    leave: impl Fn(&str, &str),
) {
    let mut granted = cx.spaces.granted.subscribe();
    let mut running = FuturesUnordered::new();
    let mut handles: BTreeMap<String, (String, AbortHandle)> = BTreeMap::new();
    loop {
        let wanted = granted.borrow_and_update().clone();
        handles.retain(|namespace, (host, handle)| {
            let stays = wanted.contains_key(namespace);
            if !stays {
                handle.abort();
                leave(namespace, host);
            }
            stays
        });
        for (namespace, host) in wanted {
            handles.entry(namespace).or_insert_with_key(|namespace| {
                let (handle, registration) = AbortHandle::new_pair();
                running.push(Abortable::new(work(namespace.clone(), host.clone()), registration));
                (host, handle)
            });
        }
        let changed = granted.changed();
        tokio::pin!(changed);
        loop {
            tokio::select! {
                _ = &mut changed => break,
                Some(_) = running.next(), if !running.is_empty() => {}
            }
        }
    }
}

/// Asks for namespaces, for ever.
pub(crate) async fn ask(cx: &Context) {
    let Some(mapped) = &cx.translator.config.namespaces else { return };
    if mapped.only {
        persist("keep tenants from making namespaces that are not mapped", || {
            policy::enforce(cx, &mapped.map)
        })
        .await;
    }
    loop {
        persist("ask for namespaces on the host", || claim(cx)).await;
        cx.spaces.asked.notified().await;
    }
}

/// Tries until it succeeds.
async fn persist<F: Future<Output = Result<()>>>(what: &str, attempt: impl Fn() -> F) {
    while let Err(error) = attempt().await {
        tracing::warn!(%error, "cannot {what}");
        tokio::time::sleep(RETRY).await;
    }
}

/// Listens to the operator's answers, for ever.
pub(crate) async fn listen(cx: &Context) {
    let answers = Scope::fields(format!("metadata.name={}", answers_name(&cx.translator.config.cluster)));
    followed(cx.own_api::<ConfigMap>(), answers, |seen| {
        let Some((answers, exists)) = seen else { return };
        let data = answers.data.as_ref().filter(|_| exists).cloned().unwrap_or_default();
        cx.spaces.answered(cx, &data);
    })
    .await;
}

/// Those that the operator has granted, whether they are watched yet or not.
pub(crate) async fn granted(cx: &Context) -> Result<Vec<String>> {
    if cx.translator.config.namespaces.is_none() {
        return Ok(Vec::new());
    }
    let name = answers_name(&cx.translator.config.cluster);
    let answers = cx.own_api::<ConfigMap>().get_opt(&name).await.map_err(Error::Host)?;
    let namespaces = answers.and_then(|answers| answers.data).unwrap_or_default().into_keys();
    Ok(namespaces.filter_map(|namespace| cx.translator.mapped(&namespace)).collect())
}

/// Writes which namespaces are wanted.
async fn claim(cx: &Context) -> Result<()> {
    let config = &cx.translator.config;
    let namespaces = cx.virtual_side.namespaces.all();
    let claim = |metadata: &ObjectMeta| {
        let name = metadata.name.clone()?;
        cx.translator.mapped(&name).filter(|host| is_namespace(host))?;
        Some((name, metadata.uid.clone().unwrap_or_default()))
    };
    let claims: BTreeMap<String, String> =
        namespaces.iter().filter_map(|namespace| claim(&namespace.metadata)).collect();
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(claims_name(&config.cluster)),
            namespace: Some(config.host_namespace.clone()),
            labels: Some([(MANAGED.to_owned(), "true".to_owned())].into()),
            owner_references: config.owner.clone().map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(claims),
        ..ConfigMap::default()
    };
    let live = cx.own_api::<ConfigMap>().get_opt(&claims_name(&config.cluster)).await.map_err(Error::Host)?;
    if live.is_some_and(|live| live.data.unwrap_or_default() == map.data.clone().unwrap_or_default()) {
        return Ok(());
    }
    cx.apply(&map).await.map(drop)
}
