//! How many objects are stored.

use std::collections::BTreeSet;

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, metrics::MetricType};

use crate::{registry::RESOURCES, resource::Definition, server::Server, status::GroupResource};

/// Counts the objects of every resource that has any of its own.
pub async fn count(server: &Server) -> Counts {
    let builtin =
        RESOURCES.iter().filter(|r| r.stored_as.is_none() && r.is_stored()).map(Definition::Builtin);
    let custom = server.catalog.custom();
    let mut seen = BTreeSet::new();
    let custom = custom.iter().filter(|((group, _, plural), _)| seen.insert((group, plural)));
    let custom: Vec<_> = custom.map(|(_, resource)| Definition::Custom(resource.clone())).collect();
    let mut counts = Vec::new();
    for definition in builtin.chain(custom) {
        let count = server.store().count(&definition.prefix()).await;
        let count = count.ok().and_then(|count| i64::try_from(count).ok()).unwrap_or(-1);
        counts.push((definition.group().to_owned(), definition.plural().to_owned(), count));
    }
    counts.sort();
    Counts(counts)
}

/// How many objects there are, by group and resource.
#[derive(Debug)]
pub struct Counts(Vec<(String, String, i64)>);

impl Collector for Counts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut objects = encoder.encode_descriptor(
            "apiserver_resource_objects",
            "[ALPHA] Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1.",
            None,
            MetricType::Gauge,
        )?;
        for (group, resource, count) in &self.0 {
            let labels = [("group", group.as_str()), ("resource", resource.as_str())];
            objects.encode_family(&labels)?.encode_gauge(count)?;
        }
        let mut objects = encoder.encode_descriptor(
            "apiserver_storage_objects",
            "[STABLE] (Deprecated since 1.34.0) [DEPRECATED, consider using apiserver_resource_objects instead] Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1.",
            None,
            MetricType::Gauge,
        )?;
        for (group, resource, count) in &self.0 {
            let resource = GroupResource { group, resource }.to_string();
            objects.encode_family(&[("resource", resource.as_str())])?.encode_gauge(count)?;
        }
        Ok(())
    }
}
