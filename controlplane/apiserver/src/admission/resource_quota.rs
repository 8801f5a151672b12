//! ResourceQuota: what the objects of a namespace may use together.
//!
//! The usage is kept in the status of the quotas and changes by compare-and-swap. It is counted anew from
//! the objects that are there when a quota is new, and before anything is refused.

mod scopes;
mod usage;

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use serde_json::{Value, json};
use vkube_store::{Change, Expect, Range, Write};

use super::{Attributes, Operation, Plugin};
use crate::{
    metadata,
    registry::access::{at, entries, set},
    resource::Definition,
    schema::quantity::Quantity,
    server::builtin,
    status::ApiError,
    stored,
};

const ATTEMPTS: usize = 32;

/// Amounts by the names that quotas have for them.
type Usage = BTreeMap<String, Quantity>;

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
                    usage::of(attributes.definition, object)
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
    let before = usage::of(definition, old);
    let mut delta = usage::of(definition, object);
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
    for _ in 0..ATTEMPTS {
        let page = server.store().list(Range { prefix: prefix.clone(), ..Range::default() }).await?;
        let mut writes = Vec::new();
        for entry in &page.entries {
            let mut quota = stored::decode(entry)?;
            let Some(used) = book(attributes, object, delta, &quota).await? else { continue };
            let used: Value = used.iter().map(|(k, v)| (k.clone(), Value::from(v.to_string()))).collect();
            let status = json!({"hard": at(&quota, "/spec/hard"), "used": used});
            set(&mut quota, "/status", status);
            let document = stored::encode(&quota, &definition)?;
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
    let hard = amounts(quota, "/spec/hard");
    let requested: Usage =
        delta.iter().filter(|(k, _)| hard.contains_key(*k)).map(|(k, v)| (k.clone(), v.clone())).collect();
    if !scopes::matches(quota, attributes.definition, object) {
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
    let mut used = amounts(quota, "/status/used");
    let counted = amounts(quota, "/status/hard") == hard && hard.keys().all(|k| used.contains_key(k));
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

fn amounts(object: &Value, path: &str) -> Usage {
    entries(object, path)
        .filter_map(|(name, amount)| Some((name.clone(), Quantity::from_value(amount).ok()?)))
        .collect()
}

/// What the objects of the namespace use now, of what the quota limits.
async fn count(attributes: &Attributes<'_>, quota: &Value, hard: &Usage) -> Result<Usage, ApiError> {
    let mut used: Usage = hard.keys().map(|k| (k.clone(), Quantity::ZERO)).collect();
    let server = attributes.server;
    for plural in ["pods", "services", "persistentvolumeclaims"] {
        if !hard.keys().any(|name| usage::belongs(plural, name)) {
            continue;
        }
        let definition = builtin("", plural)?;
        for object in server.find_all("", plural, attributes.namespace).await? {
            if !scopes::matches(quota, &definition, &object) {
                continue;
            }
            for (name, amount) in usage::of(&definition, &object) {
                if let Some(used) = used.get_mut(&name) {
                    used.add(&amount);
                }
            }
        }
    }
    for (name, used) in &mut used {
        let Some((plural, group)) = usage::counted(name) else { continue };
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

/// The name of a resource in `count/…`.
fn count_name(definition: &Definition) -> String {
    format!("count/{}", definition.group_resource())
}
