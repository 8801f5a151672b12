//! The watches of rules: on both sides, once the kind is known to be served.

use std::time::Duration;

use futures::FutureExt;
use futures::future::{join, join_all, join3};
use kube::Api;
use kube::api::DynamicObject;
use tokio::sync::Notify;

use super::Syncer;
use super::watches::{Job, refer};
use crate::cache::Change;
use crate::context::{Context, Kind, Task};
use crate::labels::{EXPORTED_BY, FROM_HOST, ObjectKey};
use crate::ledger::{self, Entry};
use crate::resources::export::{self, Exported};
use crate::resources::general::{self, General, Shape};
use crate::resources::metrics;
use crate::rules::selector::query;
use crate::rules::{Direction, ENDPOINTS, SERVICES};
use crate::spaces;
use crate::watch::{Scope, cached};

/// How often an attempt is repeated that the host refused.
pub(crate) const RETRY: Duration = Duration::from_secs(10);

impl Syncer {
    /// The watches of all rules. Pods and DNS do not depend on them, so nothing waits for them.
    pub(super) fn by_rule(&self) -> Vec<Job<'_>> {
        let numbered = (0_u16..).zip(&self.context.rules);
        let mut jobs: Vec<Job<'_>> = numbered
            .map(|(number, general)| follow(&self.context, Kind::Rule(number), general).boxed())
            .collect();
        jobs.extend(self.context.exports.iter().map(|side| exported(&self.context, side).boxed()));
        if self.context.translator.config.rules.metrics {
            jobs.push(metrics::show(&self.context).boxed());
        }
        jobs
    }
}

/// Looks after what is exported into one namespace of the host.
async fn exported(cx: &Context, side: &Exported) {
    for kind in [Kind::Service, Kind::Endpoints] {
        let Some(entry) = Entry::exported(kind, &side.namespace) else { continue };
        enter(cx, "services", entry).await;
    }
    let api = Api::namespaced(cx.host_client.clone(), &side.namespace);
    let ours = Scope::labels(format!("{EXPORTED_BY}={}", export::exporter(cx))).metadata();
    cached(api, ours, &side.services, None, move |change| {
        if let Some(key) = change.object().and_then(|host| export::origin(cx, &host.metadata)) {
            cx.enqueue(Kind::Export, key);
        }
    })
    .await;
}

/// Enters a kind in the ledger, however often it takes.
pub(crate) async fn enter(cx: &Context, resource: &str, entry: Entry) {
    while let Err(error) = ledger::enter(cx, entry.clone()).await {
        tracing::warn!(resource, %error, "cannot begin to synchronise");
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow(cx: &Context, kind: Kind, general: &General) {
    if !general::wants_definition(general) {
        return sides(cx, kind, general).await;
    }
    let found = Notify::new();
    let definition = general::follow_definition(cx, general, || found.notify_one());
    join(definition, async {
        found.notified().await;
        sides(cx, kind, general).await;
    })
    .await;
}

async fn sides(cx: &Context, kind: Kind, general: &General) {
    let Some(shape) = general.shape.get() else { return };
    let entry = Entry::new(general.rule.direction, &shape.api, shape.place);
    enter(cx, &general.rule.resource, entry).await;
    match general.rule.direction {
        Direction::ToHost => to_host(cx, kind, general).await,
        Direction::FromHost => from_host(cx, kind, general).await,
    }
}

async fn to_host(cx: &Context, kind: Kind, general: &General) {
    let Ok(api) = general.api(&cx.virtual_client, "") else { return };
    let wanted = Scope::labels(query(&general.rule.selector));
    let virtual_side = cached(api, wanted, &general.virtual_side, None, move |change| {
        let Some(object) = change.object() else { return };
        let key = ObjectKey::of(&object.metadata);
        let needs = change.new.as_ref().map(|object| general::needs(&general.rule, object));
        refer(cx, Task { kind, key: key.clone() }, needs.unwrap_or_default());
        cx.enqueue(kind, key);
    });
    let own = copies(cx, kind, general, cx.translator.config.host_namespace.clone());
    let is_mapped =
        cx.translator.config.namespaces.is_some() && general.shape.get().is_some_and(Shape::is_namespaced);
    let mapped = async {
        if is_mapped {
            let copies = |_, place: String| copies(cx, kind, general, place);
            spaces::each(cx, copies, |_, place| general.forget(place)).await;
        }
    };
    join3(virtual_side, own, mapped).await;
}

/// What a rule has written into one namespace of the host.
async fn copies(cx: &Context, kind: Kind, general: &General, namespace: String) {
    let Ok(api) = general.api(&cx.host_client, &namespace) else { return };
    let Some(side) = general.host_sides.first() else { return };
    let ours = Scope::labels(cx.translator.host_selector());
    cached(api, ours, &side.objects, None, move |change| {
        let Some(shape) = general.shape.get() else { return };
        let origin = change.object().and_then(|host| cx.translator.origin(&shape.api.kind, &host.metadata));
        if let Some(key) = origin {
            cx.enqueue(kind, key);
        }
    })
    .await;
}

async fn from_host(cx: &Context, kind: Kind, general: &General) {
    let Ok(api) = general.api(&cx.virtual_client, "") else { return };
    let ours = Scope::labels(FROM_HOST);
    let virtual_side = cached(api, ours, &general.virtual_side, None, move |change| {
        if let Some(object) = change.object() {
            cx.enqueue(kind, ObjectKey::of(&object.metadata));
        }
    });
    let host_sides = general.host_sides.iter().filter_map(|side| {
        let api = general.api(&cx.host_client, &side.namespace).ok()?;
        let scope = Scope {
            labels: Some(query(&general.rule.selector)),
            fields: side.name.as_ref().map(|name| format!("metadata.name={name}")),
            metadata: false,
        };
        Some(cached(api, scope, &side.objects, None, move |change: &Change<DynamicObject>| {
            let Some(object) = change.object() else { return };
            for key in general::targets(cx, general, &ObjectKey::of(&object.metadata)) {
                if general.rule.resource == SERVICES {
                    enqueue_endpoints(cx, &key);
                }
                cx.enqueue(kind, key);
            }
        }))
    });
    join(virtual_side, join_all(host_sides)).await;
}

/// The endpoints of a Service of the host are shown as the Service says.
fn enqueue_endpoints(cx: &Context, key: &ObjectKey) {
    for (number, _) in (0_u16..).zip(&cx.rules).filter(|(_, general)| general.rule.limits(ENDPOINTS)) {
        cx.enqueue(Kind::Rule(number), key.clone());
    }
}

/// A namespace is there now that objects of the host may have waited for.
pub(super) fn namespace_appeared(cx: &Context, namespace: &str) {
    for (number, general) in (0_u16..).zip(&cx.rules) {
        if general.rule.direction != Direction::FromHost || general.rule.mappings.is_empty() {
            continue;
        }
        for object in general.host_sides.iter().flat_map(|side| side.objects.all()) {
            for key in general::targets(cx, general, &ObjectKey::of(&object.metadata)) {
                if key.namespace == namespace {
                    cx.enqueue(Kind::Rule(number), key);
                }
            }
        }
    }
}
