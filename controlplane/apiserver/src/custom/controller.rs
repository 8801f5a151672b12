//! The task behind CustomResourceDefinitions: accepts their names, establishes them, keeps the catalog
//! and clears up after those that are deleted.
//!
//! The catalog is set before the status says `Established`, so that whoever waits for the condition can
//! use the resource at once.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use vkube_store::{Change, Entry, Expect, Range, Signal, Watch, Write};

use super::{
    CustomResource, cleanup,
    compile::compile,
    conditions::{self, Claims},
};
use crate::{
    aggregation::registration,
    managed_fields::{self, Request, Reset},
    metadata,
    registry::access::{at, str_at},
    resource::Definition,
    server::{Server, builtin},
    status::ApiError,
    stored,
};

/// The finalizer that every deleted definition gets: its objects go first.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The manager of what this task writes.
const MANAGER: &str = "kube-apiserver";

/// How long to wait after the store has failed.
const RETRY: Duration = Duration::from_secs(1);

/// The task's state.
pub struct Controller {
    server: Server,
    definition: Definition,
    claims: Claims,
    events: Watch,
    cleanups: JoinSet<()>,
    /// Whose objects are being deleted by one of `cleanups`.
    cleaning: Vec<String>,
}

impl Controller {
    /// Reads all definitions; when this returns, the catalog holds every established one.
    pub async fn start(server: &Server) -> Result<Self, ApiError> {
        let definition = definition()?;
        let mut controller = Self {
            events: stream::empty().boxed(),
            server: server.clone(),
            definition,
            claims: Claims::default(),
            cleanups: JoinSet::new(),
            cleaning: Vec::new(),
        };
        controller.read_all().await?;
        Ok(controller)
    }

    /// Follows the definitions until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let signal = tokio::select! {
                () = shutdown.cancelled() => return,
                Some(_) = self.cleanups.join_next() => continue,
                signal = self.events.next() => signal,
            };
            let result = match signal {
                Some(Signal::Event(event)) if event.deleted => self.forget(&event.entry).await,
                Some(Signal::Event(event)) => self.observe(event.entry.clone()).await,
                Some(Signal::Progress(_)) => Ok(()),
                None => self.read_all().await,
            };
            if let Err(error) = result {
                tracing::error!(%error, "cannot follow custom resource definitions; reading all again");
                self.events = stream::empty().boxed();
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(RETRY) => {}
                }
            }
        }
    }

    /// Takes the present state as it is and watches from there.
    async fn read_all(&mut self) -> Result<(), ApiError> {
        let store = self.server.store();
        let page = store.list(Range { prefix: self.definition.prefix(), ..Range::default() }).await?;
        self.claims = Claims::default();
        let mut gone = self.server.catalog.custom_names();
        for entry in &page.entries {
            let definition = stored::decode(entry)?;
            self.claims.keep(&definition);
            gone.remove(metadata::name(&definition));
        }
        for name in gone {
            self.withdraw(&name).await?;
        }
        for entry in page.entries {
            self.observe(entry).await?;
        }
        self.events = self.server.store().watch(&self.definition.prefix(), page.revision).await?;
        Ok(())
    }

    /// Brings status and catalog up to date with a definition.
    async fn observe(&mut self, entry: Entry) -> Result<(), ApiError> {
        let old = stored::decode(&entry)?;
        self.claims.keep(&old);
        let mut new = old.clone();
        let changed = conditions::judge(&mut new, &self.claims, Timestamp::now());
        if conditions::is_true(&new, "Established") {
            let group = str_at(&new, "/spec/group");
            let versions = compile(&new, at(&new, "/status/acceptedNames"), entry.created);
            self.serve(group, str_at(&new, "/spec/names/plural"), versions).await?;
        }
        // If somebody else wrote in between, there is another event to come.
        if changed && write_status(&self.server, &entry, &old, &mut new).await? {
            self.claims.keep(&new);
            self.reconsider(&new).await?;
        }
        self.clean_up(&new);
        Ok(())
    }

    async fn forget(&mut self, entry: &Entry) -> Result<(), ApiError> {
        let definition = stored::decode(entry)?;
        self.withdraw(metadata::name(&definition)).await?;
        self.cleaning.retain(|name| name != metadata::name(&definition));
        self.reconsider(&definition).await
    }

    async fn withdraw(&mut self, name: &str) -> Result<(), ApiError> {
        self.claims.release(name);
        match name.split_once('.') {
            Some((plural, group)) => self.serve(group, plural, Vec::new()).await,
            None => Ok(()),
        }
    }

    /// Serves these versions of a resource, and registers those that are new or gone in its group.
    async fn serve(
        &mut self,
        group: &str,
        plural: &str,
        versions: Vec<Arc<CustomResource>>,
    ) -> Result<(), ApiError> {
        let before = self.server.catalog.custom_versions(group);
        self.server.catalog.set_custom(group, plural, versions);
        let after = self.server.catalog.custom_versions(group);
        for version in before.symmetric_difference(&after) {
            registration::sync(&self.server, &format!("{version}.{group}")).await?;
        }
        Ok(())
    }

    /// The siblings of a definition may take names that it does not have any more.
    async fn reconsider(&mut self, definition: &Value) -> Result<(), ApiError> {
        let siblings = self.claims.siblings(metadata::name(definition), str_at(definition, "/spec/group"));
        for name in siblings {
            let key = self.definition.key("", &name);
            let Some(entry) = self.server.store().get(&key, None).await? else { continue };
            let old = stored::decode(&entry)?;
            let mut new = old.clone();
            if conditions::judge(&mut new, &self.claims, Timestamp::now()) {
                // Its event does the rest.
                write_status(&self.server, &entry, &old, &mut new).await?;
            }
        }
        Ok(())
    }

    fn clean_up(&mut self, definition: &Value) {
        let name = metadata::name(definition);
        if !metadata::is_terminating(definition)
            || !metadata::finalizers(definition).contains(&FINALIZER)
            || self.cleaning.iter().any(|n| n == name)
        {
            return;
        }
        self.cleaning.push(name.into());
        self.cleanups.spawn(cleanup::run(self.server.clone(), name.to_owned()));
    }
}

/// The built-in resource of definitions.
pub fn definition() -> Result<Definition, ApiError> {
    builtin("apiextensions.k8s.io", "customresourcedefinitions")
}

/// What the first deletion of a definition does: it stays until its objects are gone.
pub fn begin_deletion(definition: &mut Value, now: Timestamp) {
    metadata::set(definition, "deletionTimestamp", metadata::time(now));
    let mut finalizers: Vec<String> = metadata::finalizers(definition).into_iter().map(Into::into).collect();
    if !finalizers.iter().any(|f| f == FINALIZER) {
        finalizers.push(FINALIZER.into());
    }
    metadata::set_finalizers(definition, finalizers);
    let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    conditions::set_condition(definition, "Terminating", "True", "InstanceDeletionPending", message, now);
}

/// Stores a definition with a new status, as the API server's own change; false if the stored one has
/// changed since `entry`. Ends a definition that is being deleted and has lost its last finalizer.
pub async fn write_status(
    server: &Server,
    entry: &Entry,
    old: &Value,
    new: &mut Value,
) -> Result<bool, ApiError> {
    let definition = definition()?;
    own(&definition, old, new)?;
    let document = stored::encode(new, &definition)?;
    let ends = metadata::is_terminating(new) && metadata::finalizers(new).is_empty();
    let change =
        if ends { Change::Delete { last: Some(document) } } else { Change::Put { document, ttl: None } };
    let write = Write { key: entry.key.clone(), expect: Expect::Modified(entry.modified), change };
    match server.store().commit(vec![write]).await {
        Ok(_) => Ok(true),
        Err(vkube_store::Error::Conflict { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Records the change as the API server's own.
fn own(definition: &Definition, old: &Value, new: &mut Value) -> Result<(), ApiError> {
    let request = Request {
        manager: MANAGER,
        api_version: "apiextensions.k8s.io/v1",
        kind: definition.kind(),
        subresource: "status",
        ty: definition.ty()?,
        now: Timestamp::now(),
        reset: &Reset::Fields(&["spec"]),
        convert: None,
    };
    managed_fields::on_update(Some(old), new, &request);
    Ok(())
}
