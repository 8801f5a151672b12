//! What a pod's volumes hold: a pure decision over the volume's source and the objects it refers to.

pub(crate) mod write;

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, KeyToPath, Pod, ProjectedVolumeSource, ServiceAccountTokenProjection, Volume,
    VolumeProjection,
};
use kube::ResourceExt;

use super::{
    downward::{self, Facts},
    env::Lookup,
};

/// The mode of files whose source gives none.
const DEFAULT_MODE: i32 = 0o644;
/// How long a token lives whose projection does not say.
const DEFAULT_TOKEN_SECONDS: i64 = 3600;

/// The files of a volume by their relative path.
pub(crate) type Files = BTreeMap<PathBuf, File>;

/// One file of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
}

/// What stands behind a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Backing {
    /// A directory of the pod's own that starts empty.
    Empty,
    /// Files that follow their sources.
    Files(Files),
    /// A path of the machine.
    Host {
        /// The path.
        path: PathBuf,
        /// Whether to make the directory if it is missing.
        create: bool,
    },
}

/// The state of a persistent volume claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// There is none of that name.
    Missing,
    /// It has no volume yet.
    Pending,
    /// Its volume is this directory.
    Bound(PathBuf),
    /// Its volume is of a kind that this node cannot reach.
    Foreign,
}

/// Where claims are looked up.
pub(crate) trait Claims {
    /// The state of a claim.
    fn claim(&self, namespace: &str, name: &str) -> Claim;
}

/// Why a volume cannot be set up yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VolumeError {
    /// A referenced object does not exist.
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {kind} \"{name}\" not found")]
    Missing {
        /// The volume.
        volume: String,
        /// `configmap`, `secret` or `persistentvolumeclaim`.
        kind: &'static str,
        /// The object.
        name: String,
    },
    /// A referenced object lacks a key.
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : references non-existent {kind} key: {key}")]
    MissingKey {
        /// The volume.
        volume: String,
        /// `config` or `secret`.
        kind: &'static str,
        /// The key.
        key: String,
    },
    /// The claim waits for its volume.
    #[error("pod has unbound immediate PersistentVolumeClaims")]
    Unbound,
    /// The path of a file leaves its volume.
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : invalid path {path:?}")]
    Path {
        /// The volume.
        volume: String,
        /// The path.
        path: String,
    },
    /// A token could not be had.
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : failed to fetch token: {reason}")]
    Token {
        /// The volume.
        volume: String,
        /// What the API server said.
        reason: String,
    },
}

/// The service account tokens at hand.
pub(crate) type Tokens = BTreeMap<TokenRequest, String>;

/// What tells one token of a pod's service account from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TokenRequest {
    /// Who it is for; empty is the API server.
    pub audience: String,
    /// How long it lives.
    pub seconds: i64,
}

impl From<&ServiceAccountTokenProjection> for TokenRequest {
    fn from(projection: &ServiceAccountTokenProjection) -> Self {
        Self {
            audience: projection.audience.clone().unwrap_or_default(),
            seconds: projection.expiration_seconds.unwrap_or(DEFAULT_TOKEN_SECONDS),
        }
    }
}

/// The tokens that a pod's volumes want.
pub(crate) fn wanted_tokens(volumes: &[Volume]) -> Vec<TokenRequest> {
    let projections = volumes.iter().filter_map(|volume| volume.projected.as_ref());
    let sources = projections.flat_map(|projected| projected.sources.iter().flatten());
    let mut wanted: Vec<_> =
        sources.filter_map(|source| source.service_account_token.as_ref()).map(TokenRequest::from).collect();
    wanted.sort();
    wanted.dedup();
    wanted
}

/// What is behind `volume`.
pub(crate) fn resolve(
    volume: &Volume,
    pod: &Pod,
    facts: &Facts,
    sources: &(impl Lookup + Claims),
    tokens: &Tokens,
) -> Result<Backing, VolumeError> {
    let view = View {
        volume: &volume.name,
        namespace: pod.namespace().unwrap_or_default(),
        pod,
        facts,
        sources,
        tokens,
    };
    let mut files = Files::new();
    if let Some(source) = &volume.config_map {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        view.config_map(&source.name, source.optional, source.items.as_deref(), mode, &mut files)?;
    } else if let Some(source) = &volume.secret {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        let name = source.secret_name.as_deref().unwrap_or_default();
        view.secret(name, source.optional, source.items.as_deref(), mode, &mut files)?;
    } else if let Some(source) = &volume.downward_api {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        view.downward(source.items.as_deref(), mode, &mut files)?;
    } else if let Some(source) = &volume.projected {
        view.projected(source, &mut files)?;
    } else if let Some(source) = &volume.host_path {
        let create = source.type_.as_deref() == Some("DirectoryOrCreate");
        return Ok(Backing::Host { path: PathBuf::from(&source.path), create });
    } else if let Some(source) = &volume.persistent_volume_claim {
        return view.claim(&source.claim_name);
    } else if volume.ephemeral.is_some() {
        return view.claim(&format!("{}-{}", pod.name_any(), volume.name));
    } else {
        return Ok(Backing::Empty);
    }
    Ok(Backing::Files(files))
}

struct View<'a, S> {
    volume: &'a str,
    namespace: String,
    pod: &'a Pod,
    facts: &'a Facts,
    sources: &'a S,
    tokens: &'a Tokens,
}

impl<S: Lookup + Claims> View<'_, S> {
    fn claim(&self, name: &str) -> Result<Backing, VolumeError> {
        match self.sources.claim(&self.namespace, name) {
            Claim::Missing => Err(self.missing("persistentvolumeclaim", name)),
            Claim::Pending => Err(VolumeError::Unbound),
            Claim::Bound(path) => Ok(Backing::Host { path, create: true }),
            Claim::Foreign => Ok(Backing::Empty),
        }
    }

    fn config_map(
        &self,
        name: &str,
        optional: Option<bool>,
        items: Option<&[KeyToPath]>,
        mode: i32,
        files: &mut Files,
    ) -> Result<(), VolumeError> {
        let Some(map) = self.sources.config_map(&self.namespace, name) else {
            return if optional == Some(true) { Ok(()) } else { Err(self.missing("configmap", name)) };
        };
        let text = map.data.iter().flatten().map(|(key, value)| (key, value.as_bytes()));
        let binary = map.binary_data.iter().flatten().map(|(key, value)| (key, value.0.as_slice()));
        self.keys("config", &text.chain(binary).collect(), optional, items, mode, files)
    }

    fn secret(
        &self,
        name: &str,
        optional: Option<bool>,
        items: Option<&[KeyToPath]>,
        mode: i32,
        files: &mut Files,
    ) -> Result<(), VolumeError> {
        let Some(secret) = self.sources.secret(&self.namespace, name) else {
            return if optional == Some(true) { Ok(()) } else { Err(self.missing("secret", name)) };
        };
        let data = secret.data.iter().flatten().map(|(key, value)| (key, value.0.as_slice()));
        self.keys("secret", &data.collect(), optional, items, mode, files)
    }

    fn keys(
        &self,
        kind: &'static str,
        data: &BTreeMap<&String, &[u8]>,
        optional: Option<bool>,
        items: Option<&[KeyToPath]>,
        mode: i32,
        files: &mut Files,
    ) -> Result<(), VolumeError> {
        let Some(items) = items.filter(|items| !items.is_empty()) else {
            for (key, bytes) in data {
                self.put(files, key, bytes.to_vec(), mode)?;
            }
            return Ok(());
        };
        for item in items {
            match data.get(&item.key) {
                Some(bytes) => self.put(files, &item.path, bytes.to_vec(), item.mode.unwrap_or(mode))?,
                None if optional == Some(true) => {}
                None => {
                    let (volume, key) = (self.volume.to_owned(), item.key.clone());
                    return Err(VolumeError::MissingKey { volume, kind, key });
                }
            }
        }
        Ok(())
    }

    fn downward(
        &self,
        items: Option<&[DownwardAPIVolumeFile]>,
        mode: i32,
        files: &mut Files,
    ) -> Result<(), VolumeError> {
        for item in items.unwrap_or_default() {
            let field = item.field_ref.as_ref();
            let value = field.and_then(|field| downward::field(&field.field_path, self.pod, self.facts));
            let own = self.pod.spec.as_ref().and_then(|spec| spec.containers.first());
            let amount = item.resource_field_ref.as_ref().zip(own);
            let amount =
                amount.and_then(|(selector, own)| downward::resource(selector, own, self.pod, self.facts));
            let bytes = value.or(amount).unwrap_or_default().into_bytes();
            self.put(files, &item.path, bytes, item.mode.unwrap_or(mode))?;
        }
        Ok(())
    }

    fn projected(&self, source: &ProjectedVolumeSource, files: &mut Files) -> Result<(), VolumeError> {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        for projection in source.sources.iter().flatten() {
            let VolumeProjection { config_map, secret, downward_api, service_account_token, .. } = projection;
            if let Some(map) = config_map {
                self.config_map(&map.name, map.optional, map.items.as_deref(), mode, files)?;
            }
            if let Some(secret) = secret {
                self.secret(&secret.name, secret.optional, secret.items.as_deref(), mode, files)?;
            }
            if let Some(downward) = downward_api {
                self.downward(downward.items.as_deref(), mode, files)?;
            }
            if let Some(projection) = service_account_token {
                let token = self.tokens.get(&projection.into()).cloned().unwrap_or_default();
                self.put(files, &projection.path, token.into_bytes(), mode)?;
            }
        }
        Ok(())
    }

    fn put(&self, files: &mut Files, path: &str, bytes: Vec<u8>, mode: i32) -> Result<(), VolumeError> {
        let relative = Path::new(path);
        let inside = relative.components().all(|part| matches!(part, Component::Normal(_)));
        if path.is_empty() || !inside {
            return Err(VolumeError::Path { volume: self.volume.to_owned(), path: path.to_owned() });
        }
        files.insert(relative.to_owned(), File { bytes, mode: mode.unsigned_abs() & 0o777 });
        Ok(())
    }

    fn missing(&self, kind: &'static str, name: &str) -> VolumeError {
        VolumeError::Missing { volume: self.volume.to_owned(), kind, name: name.to_owned() }
    }
}

#[cfg(test)]
mod tests;
