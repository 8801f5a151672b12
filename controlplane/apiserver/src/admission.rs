//! Admission: what is done to, and demanded of, objects before they are stored
//! (<https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/>).

use futures::future::BoxFuture;
use serde_json::Value;

use crate::{options::DeleteOptions, resource::Definition, server::Server, status::ApiError, user::User};

/// What is done to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is created.
    Create,
    /// It, or a subresource of it, is changed.
    Update,
    /// It is deleted.
    Delete,
    /// A stream to it is opened.
    Connect,
}

impl Operation {
    /// As webhooks and policies name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// The circumstances of an admission.
pub struct Attributes<'a> {
    /// The server, for looking up other objects.
    pub server: &'a Server,
    /// What is done.
    pub operation: Operation,
    /// The resource of the request.
    pub definition: &'a Definition,
    /// The subresource; empty for the object itself.
    pub subresource: &'a str,
    /// The namespace; empty at cluster scope. For namespaces themselves, their own name.
    pub namespace: &'a str,
    /// The object's name; empty while a name is still to be generated.
    pub name: &'a str,
    /// Who asks.
    pub user: &'a User,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// The state before, for updates and deletions.
    pub old: Option<&'a Value>,
    /// The options of a deletion.
    pub delete_options: Option<&'a DeleteOptions>,
}

impl Attributes<'_> {
    /// Whether it is about a built-in resource itself (no subresource).
    pub fn is(&self, group: &str, plural: &str) -> bool {
        self.subresource.is_empty() && self.definition.is(group, plural)
    }
}

/// An admission plugin. Objects are of the stored version.
pub trait Plugin: Send + Sync + 'static {
    /// Its name as `--enable-admission-plugins` knows it.
    fn name(&self) -> &'static str;

    /// Changes the object, or refuses it. For deletions the object is null.
    fn admit<'a>(
        &'a self,
        _attributes: &'a Attributes<'a>,
        _object: &'a mut Value,
        _warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Refuses the object, or not. For deletions the object is null.
    fn validate<'a>(
        &'a self,
        _attributes: &'a Attributes<'a>,
        _object: &'a Value,
        _warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// The plugins in their order.
#[derive(Default)]
pub struct Chain(pub Vec<Box<dyn Plugin>>);

impl Chain {
    /// Lets every plugin change the object.
    pub async fn admit(
        &self,
        attributes: &Attributes<'_>,
        object: &mut Value,
        warnings: &mut Vec<String>,
    ) -> Result<(), ApiError> {
        for plugin in &self.0 {
            plugin.admit(attributes, object, warnings).await?;
        }
        Ok(())
    }

    /// Asks every plugin for its consent.
    pub async fn validate(
        &self,
        attributes: &Attributes<'_>,
        object: &Value,
        warnings: &mut Vec<String>,
    ) -> Result<(), ApiError> {
        for plugin in &self.0 {
            plugin.validate(attributes, object, warnings).await?;
        }
        Ok(())
    }
}
