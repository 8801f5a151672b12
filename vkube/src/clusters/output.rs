//! Forms of answers, as kubectl has them.

use clap::ValueEnum;
use kube::{Client, Resource, api::DynamicObject, core::ApiResource};
use serde_json::{Value, json};

use super::{Failure, table::Table};

/// Forms of answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people.
    #[default]
    Table,
    /// A table with every column.
    Wide,
    /// `kind/name`, one a line.
    Name,
    /// The objects as JSON.
    Json,
    /// The objects as YAML.
    Yaml,
}

/// A collection and which of it.
pub struct Collection {
    resource: ApiResource,
    namespace: Option<String>,
    selector: Option<String>,
}

impl Collection {
    /// The objects of kind `K` in a namespace, or in all, that match a label selector.
    pub fn of<K: Resource<DynamicType = ()>>(namespace: Option<String>, selector: Option<String>) -> Self {
        Self { resource: ApiResource::erase::<K>(&()), namespace, selector }
    }

    /// The same in one namespace.
    pub fn within(self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self }
    }

    fn path(&self) -> String {
        let base = DynamicObject::url_path(&self.resource, self.namespace.as_deref());
        match &self.selector {
            Some(selector) => {
                let query: String = form_urlencoded::Serializer::new(String::new())
                    .append_pair("labelSelector", selector)
                    .finish();
                format!("{base}?{query}")
            }
            None => base,
        }
    }

    /// Reads the collection and puts it into a form.
    pub async fn show(&self, host: &Client, format: Format, headings: bool) -> Result<String, kube::Error> {
        let table = matches!(format, Format::Table | Format::Wide);
        let accept = if table { "application/json;as=Table;v=v1;g=meta.k8s.io" } else { "application/json" };
        let request = http::Request::get(self.path())
            .header(http::header::ACCEPT, accept)
            .body(Vec::new())
            .map_err(kube::Error::HttpError)?;
        let answer: Value = host.request(request).await?;
        if !table {
            return Ok(self.documents(answer, format));
        }
        let namespaces =
            self.namespace.is_none() && answer.pointer("/rows/0/object/metadata/namespace").is_some();
        let table = Table::of(&answer, format == Format::Wide, namespaces);
        Ok(if table.is_empty() { String::new() } else { table.render(0, headings) })
    }

    fn documents(&self, mut list: Value, format: Format) -> String {
        let mut items = list["items"].take().as_array().cloned().unwrap_or_default();
        for item in &mut items {
            item["apiVersion"] = json!(self.resource.api_version);
            item["kind"] = json!(self.resource.kind);
            without_bookkeeping(item);
        }
        if format == Format::Name {
            let kind = format!("{}.{}", self.resource.kind.to_lowercase(), self.resource.group);
            let name =
                |item: &Value| item.pointer("/metadata/name").and_then(Value::as_str).map(String::from);
            return items.iter().filter_map(name).map(|name| format!("{kind}/{name}\n")).collect();
        }
        let list =
            json!({"apiVersion": "v1", "kind": "List", "items": items, "metadata": {"resourceVersion": ""}});
        document(&list, format)
    }
}

/// One object in a form for programs.
pub fn document(object: &Value, format: Format) -> String {
    match format {
        Format::Yaml => serde_saphyr::to_string(object).unwrap_or_default(),
        _ => serde_json::to_string_pretty(object).map(|text| text + "\n").unwrap_or_default(),
    }
}

/// Takes away what only the API server reads, as kubectl does.
pub fn without_bookkeeping(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

/// An object as JSON.
pub fn value(object: &impl serde::Serialize) -> Result<Value, Failure> {
    let mut value = serde_json::to_value(object)?;
    without_bookkeeping(&mut value);
    Ok(value)
}
