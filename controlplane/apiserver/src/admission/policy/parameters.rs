//! The parameters of policies: objects that bindings name.

use serde_json::Value;

use crate::{
    admission::Attributes,
    custom::webhook,
    index::Index,
    registry::{
        Resource,
        access::{get, opt_str, str_at},
    },
    resource::Definition,
    selectors::labels::LabelSelector,
    server::Server,
    status::ApiError,
    stored,
};

/// The kind of a policy's parameters.
#[derive(Debug)]
pub struct Kind {
    group: String,
    version: String,
    kind: String,
}

impl Kind {
    /// Reads `paramKind`.
    pub fn read(kind: &Value) -> Self {
        let api_version = str_at(kind, "/apiVersion");
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self { group: group.into(), version: version.into(), kind: str_at(kind, "/kind").into() }
    }

    /// Its resource.
    pub fn resource(&self, server: &Server) -> Result<Definition, String> {
        if let Some(resource) = Resource::find_kind(&self.group, &self.version, &self.kind) {
            return Ok(Definition::Builtin(resource));
        }
        let custom = server.catalog.custom();
        let found = custom.values().find(|resource| {
            resource.kind == self.kind && resource.group == self.group && resource.version == self.version
        });
        found.cloned().map(Definition::Custom).ok_or_else(|| {
            let Self { group, version, kind } = self;
            format!("failed to find resource referenced by paramKind: '{group}/{version}, Kind={kind}'")
        })
    }
}

/// Which objects a binding takes as parameters.
#[derive(Debug)]
pub struct Reference {
    namespace: String,
    choice: Choice,
    /// Whether it is refused when there is none.
    denies: bool,
}

#[derive(Debug)]
enum Choice {
    Name(String),
    Selector(LabelSelector),
}

impl Reference {
    /// Reads `paramRef`.
    pub fn read(reference: &Value) -> Self {
        let choice = match (opt_str(reference, "/name"), get(reference, "/selector")) {
            (None | Some(""), Some(selector)) => Choice::Selector(LabelSelector::from_spec(selector)),
            (name, _) => Choice::Name(name.unwrap_or_default().into()),
        };
        Self {
            namespace: str_at(reference, "/namespace").into(),
            choice,
            denies: str_at(reference, "/parameterNotFoundAction") == "Deny",
        }
    }

    /// The objects, of that resource.
    pub async fn collect(
        &self,
        attributes: &Attributes<'_>,
        resource: &Definition,
    ) -> Result<Vec<Value>, String> {
        let namespace = match (resource.namespaced(), self.namespace.as_str()) {
            (true, "") if attributes.namespace.is_empty() => {
                return Err(
                    "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
                        .into(),
                );
            }
            (true, "") => attributes.namespace,
            (true, namespace) => namespace,
            (false, "") => "",
            (false, _) => {
                return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into());
            }
        };
        let found = self.find(attributes.server, resource, namespace).await.map_err(|error| error.message)?;
        if found.is_empty() && self.denies {
            return Err("no params found for policy binding with `Deny` parameterNotFoundAction".into());
        }
        Ok(found)
    }

    async fn find(
        &self,
        server: &Server,
        resource: &Definition,
        namespace: &str,
    ) -> Result<Vec<Value>, ApiError> {
        let home = resource.stored();
        let entries = match &self.choice {
            Choice::Name(name) => {
                server.store().get(&home.key(namespace, name), None).await?.into_iter().collect()
            }
            Choice::Selector(selector) => {
                let prefix = home.key(namespace, "");
                let mut page =
                    server.store().list(vkube_store::Range { prefix, ..Default::default() }).await?;
                page.entries.retain(|entry| {
                    let index = Index::new(&entry.index);
                    selector.matches(|key| index.label(key))
                });
                page.entries
            }
        };
        let mut parameters = entries.iter().map(stored::decode).collect::<Result<Vec<_>, _>>()?;
        webhook::bring(server, &mut parameters, resource).await?;
        Ok(parameters.into_iter().map(|parameter| home.convert(parameter, resource)).collect())
    }
}
