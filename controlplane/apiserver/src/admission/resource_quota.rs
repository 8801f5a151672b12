//! ResourceQuota: what the objects of a namespace may use together.
//!
//! The usage is kept in the status of the quotas and changes by compare-and-swap. It is counted anew from
//! the objects that are there when a quota is new, and before anything is refused.

use futures::future::BoxFuture;
use serde_json::{Value, json};
use vkube_store::{Change, Expect, Range, Write};
use vkube_usage::{
    Amounts as Usage, pod,
    quota::{self as usage, Resource},
};

use super::{Attributes, Operation, Plugin};
use crate::{
    metadata,
    registry::access::{at, set},
    resource::Definition,
    schema::quantity::Quantity,
    server::builtin,
    status::ApiError,
    stored,
};

const ATTEMPTS: usize = 32;

pub struct ResourceQuota;

impl Plugin for ResourceQuota {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }

    fn validate<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: &'a Value,
        _warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            let delta = match attributes.operation {
                Operation::Create if attributes.subresource.is_empty() => {
                    usage::of(resource(attributes.definition), object)
                }
                Operation::Update => increase(attributes, object),
                _ => return Ok(()),
            };
            if attributes.namespace.is_empty() || !attributes.definition.namespaced() || delta.is_empty() {
                return Ok(());
            }
            claim(attributes, object, &delta).await
        })
    }
}

/// What an update makes the object use more.
fn increase(attributes: &Attributes<'_>, object: &Value) -> Usage {
    let definition = attributes.definition;
    let counted = definition.is("", "services")
        || definition.is("", "persistentvolumeclaims")
        || definition.is("", "pods") && attributes.subresource == "resize";
    let Some(old) = attributes.old.filter(|old| counted && !metadata::is_terminating(old)) else {
        return Usage::new();
    };
    if !matches!(attributes.subresource, "" | "resize") {
        return Usage::new();
    }
    let before = usage::of(resource(definition), old);
    let mut delta = usage::of(resource(definition), object);
    for (name, amount) in &mut delta {
        if let Some(before) = before.get(name) {
            amount.sub(before);
        }
    }
    delta.retain(|_, amount| amount.signum() > 0);
    delta
}

/// Books `delta` in all quotas that count it, or refuses.
async fn claim(attributes: &Attributes<'_>, object: &Value, delta: &Usage) -> Result<(), ApiError> {
    let server = attributes.server;
    let definition = builtin("", "resourcequotas")?;
    let prefix = format!("{}{}/", definition.prefix(), attributes.namespace);
    // Most namespaces have no quota, which takes one look to see.
    if !server.store().has(&prefix).await? {
        return Ok(());
    }
    for _ in 0..ATTEMPTS {
        let page = server.store().list(Range { prefix: prefix.clone(), ..Range::default() }).await?;
        let mut writes = Vec::new();
        for entry in &page.entries {
            let mut quota = stored::decode(entry)?;
            let Some(used) = book(attributes, object, delta, &quota).await? else { continue };
            let used: Value = used.iter().map(|(k, v)| (k.clone(), Value::from(v.to_string()))).collect();
            let status = json!({"hard": at(&quota, "/spec/hard"), "used": used});
            set(&mut quota, "/status", status);
            let document = stored::encode(&mut quota, &definition)?;
            let change = Change::Put { document, ttl: None };
            writes.push(Write { key: entry.key.clone(), expect: Expect::Modified(entry.modified), change });
        }
        if writes.is_empty() || attributes.dry_run {
            return Ok(());
        }
        match server.store().commit(writes).await {
            Ok(_) => return Ok(()),
            Err(vkube_store::Error::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ApiError::modified(definition.group_resource(), ""))
}

/// The new usage of one quota, if it counts anything of `delta`.
async fn book(
    attributes: &Attributes<'_>,
    object: &Value,
    delta: &Usage,
    quota: &Value,
) -> Result<Option<Usage>, ApiError> {
    let hard = usage::limits(quota);
    let requested: Usage =
        delta.iter().filter(|(k, _)| hard.contains_key(*k)).map(|(k, v)| (k.clone(), v.clone())).collect();
    if !usage::matches(quota, resource(attributes.definition), object) {
        return Ok(None);
    }
    if attributes.definition.is("", "pods")
        && let Some(missing) = usage::unspecified(object, &hard)
    {
        let why = format!("failed quota: {}: must specify {missing}", metadata::name(quota));
        return Err(attributes.forbidden(object, &why));
    }
    if requested.is_empty() {
        return Ok(None);
    }
    let mut used = pod::amounts(quota, "/status/used");
    let counted = pod::amounts(quota, "/status/hard") == hard && hard.keys().all(|k| used.contains_key(k));
    if !counted {
        used = count(attributes, quota, &hard).await?;
    }
    if counted && !exceeded(&hard, &used, &requested).is_empty() {
        // Nobody may have told the quota yet of what has gone since.
        used = count(attributes, quota, &hard).await?;
    }
    let exceeded = exceeded(&hard, &used, &requested);
    if !exceeded.is_empty() {
        let show = |amounts: &Usage| {
            let zero = Quantity::ZERO;
            let shown = exceeded.iter().map(|k| format!("{k}={}", amounts.get(k).unwrap_or(&zero)));
            shown.collect::<Vec<_>>().join(",")
        };
        let why = format!(
            "exceeded quota: {}, requested: {}, used: {}, limited: {}",
            metadata::name(quota),
            show(&requested),
            show(&used),
            show(&hard)
        );
        return Err(attributes.forbidden(object, &why));
    }
    for (name, amount) in &requested {
        used.entry(name.clone()).or_insert(Quantity::ZERO).add(amount);
    }
    Ok(Some(used))
}

fn exceeded(hard: &Usage, used: &Usage, requested: &Usage) -> Vec<String> {
    let over = |(name, amount): (&String, &Quantity)| {
        let mut total = used.get(name).cloned().unwrap_or(Quantity::ZERO);
        total.add(amount);
        hard.get(name).is_some_and(|hard| total > *hard).then(|| name.clone())
    };
    requested.iter().filter_map(over).collect()
}

/// What the objects of the namespace use now, of what the quota limits.
async fn count(attributes: &Attributes<'_>, quota: &Value, hard: &Usage) -> Result<Usage, ApiError> {
    let server = attributes.server;
    let mut objects = Vec::new();
    for resource in usage::MEASURED {
        if hard.keys().any(|name| usage::belongs(resource, name)) {
            let found = server.find_all(resource.group, resource.plural, attributes.namespace).await?;
            objects.extend(found.into_iter().map(|object| (resource, object)));
        }
    }
    let mut used = usage::total(hard, quota, objects.iter().map(|(resource, object)| (*resource, object)));
    for (name, used) in &mut used {
        let Some(Resource { group, plural }) = usage::counted(name) else { continue };
        let prefix = match builtin(group, plural) {
            Ok(definition) => definition.prefix(),
            Err(_) => format!("/registry/{group}/{plural}/"),
        };
        let prefix = format!("{prefix}{}/", attributes.namespace);
        let page = server.store().list(Range { prefix, ..Range::default() }).await?;
        let length = i64::try_from(page.entries.len()).unwrap_or(i64::MAX);
        *used = Quantity::new(length, crate::schema::quantity::Format::Decimal);
    }
    Ok(used)
}

fn resource(definition: &Definition) -> Resource<'_> {
    Resource { group: definition.group(), plural: definition.plural() }
}
