//! The OpenAPI documents of remote servers. They are asked for when a client asks for ours, and not again for a
//! while; whoever still has the same document says so by its tag.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;
use tokio::sync::Mutex;

use super::{Remote, discovery};
use crate::{
    openapi::remote::{self, Spec},
    registry::access::{map_at, str_at},
    server::Server,
};

/// How long an answer is not asked for again, as long as kube-apiserver waits.
const FRESH: Duration = Duration::from_secs(60);

/// How long a server is left alone that did not answer.
const PAUSE: Duration = Duration::from_secs(5);

/// Who asks.
const USER: &str = "system:aggregator";

/// What a remote server has last said.
#[derive(Debug, Default)]
pub struct Documents {
    index: Known<BTreeMap<String, String>>,
    spec: Known<Spec>,
}

#[cfg(test)]
impl Documents {
    /// Takes none of them for fresh any more.
    pub async fn expire(&self) {
        self.index.0.lock().await.again = None;
        self.spec.0.lock().await.again = None;
    }
}

#[derive(Debug)]
struct Known<T>(Mutex<State<T>>);

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self(Mutex::new(State { again: None, tag: None, document: None }))
    }
}

#[derive(Debug)]
struct State<T> {
    /// When to ask again.
    again: Option<Instant>,
    tag: Option<HeaderValue>,
    document: Option<Arc<T>>,
}

impl<T> Known<T> {
    /// The document at a path of a remote server, as it is or as it last was.
    async fn get(
        &self,
        server: &Server,
        remote: &Remote,
        path: &str,
        read: impl Fn(&Bytes) -> Result<T, serde_json::Error>,
    ) -> Option<Arc<T>> {
        // Others who want it wait for the one answer.
        let mut state = self.0.lock().await;
        if remote.is_available() && state.again.is_none_or(|again| again <= Instant::now()) {
            let asked = state.ask(server, remote, path, read).await;
            let rest = if asked.is_ok() { FRESH } else { PAUSE };
            state.again = Some(Instant::now() + rest);
            if let Err(why) = asked {
                tracing::warn!(why, path, api = remote.path(), "no OpenAPI of a remote API server");
            }
        }
        state.document.clone()
    }
}

impl<T> State<T> {
    async fn ask(
        &mut self,
        server: &Server,
        remote: &Remote,
        path: &str,
        read: impl Fn(&Bytes) -> Result<T, serde_json::Error>,
    ) -> Result<(), String> {
        let answer = discovery::get(server, remote, path, USER, self.tag.as_ref()).await?;
        match answer.status() {
            StatusCode::NOT_MODIFIED => {}
            // It has none to offer.
            StatusCode::NOT_FOUND => (self.tag, self.document) = (None, None),
            StatusCode::OK => {
                let document = read(answer.body()).map_err(|why| why.to_string())?;
                self.tag = answer.headers().get(header::ETAG).cloned();
                self.document = Some(Arc::new(document));
            }
            status => return Err(format!("bad status: {status}")),
        }
        Ok(())
    }
}

/// Who answers for a document of version 3, if it is not this server.
pub fn owner(server: &Server, segments: &[&str]) -> Option<Arc<Remote>> {
    match *segments {
        ["openapi", "v3", "apis", group, version] if !server.catalog.has_version(group, version) => {
            let remote = server.aggregation.remotes().get(&format!("{version}.{group}")).cloned();
            remote.filter(|remote| !remote.hosted)
        }
        ["openapi", "v3", "apis", group] if !server.catalog.has_group(group) => {
            let remotes = server.aggregation.remotes();
            remotes.values().find(|remote| remote.group == group && !remote.hosted).cloned()
        }
        _ => None,
    }
}

/// What remote servers add to the documents that the path leads to.
pub async fn additions(server: &Server, segments: &[&str]) -> remote::Remote {
    let remotes = server.aggregation.remotes();
    let mut additions = remote::Remote::default();
    match segments {
        ["openapi", "v3"] => {
            let all = remotes.values().filter(|r| !r.hosted).map(|remote| index(server, remote));
            for (name, url) in futures::future::join_all(all).await.into_iter().flatten() {
                additions.documents.insert(name, url);
            }
        }
        ["openapi", "v2"] => {
            // Where two call different things by one name, the one of the higher priority keeps it.
            let mut sorted: Vec<_> = remotes.iter().filter(|(_, remote)| !remote.hosted).collect();
            sorted.sort_by_key(|(name, r)| (-r.group_priority, &r.group, -r.version_priority, *name));
            let all = sorted.into_iter().map(|(_, remote)| spec(server, remote));
            additions.specs = futures::future::join_all(all).await.into_iter().flatten().collect();
        }
        _ => {}
    }
    additions
}

/// The documents of version 3 that a remote server has of its own.
async fn index(server: &Server, remote: &Remote) -> Vec<(String, String)> {
    let read = |bytes: &Bytes| {
        let document: Value = serde_json::from_slice(bytes)?;
        let paths = map_at(&document, "/paths").cloned().unwrap_or_default();
        Ok(paths
            .iter()
            .map(|(name, at)| (name.clone(), str_at(at, "/serverRelativeURL").to_owned()))
            .collect())
    };
    let Some(known) = remote.documents.index.get(server, remote, "/openapi/v3", read).await else {
        return Vec::new();
    };
    // Servers also tell of documents that every server has.
    let is_own = |name: &str| {
        let segments: Vec<&str> = ["openapi", "v3"].into_iter().chain(name.split('/')).collect();
        owner(server, &segments).is_some_and(|owner| owner.group == remote.group)
    };
    let own = known.iter().filter(|(name, _)| is_own(name));
    own.map(|(name, url)| (name.clone(), url.clone())).collect()
}

async fn spec(server: &Server, remote: &Remote) -> Option<Arc<Spec>> {
    let below = format!("{}/", remote.path());
    remote.documents.spec.get(server, remote, "/openapi/v2", |bytes| Spec::read(bytes, &below)).await
}
