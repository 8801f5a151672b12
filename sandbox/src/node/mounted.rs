//! A pod's volumes on disk: made once, and kept equal to their sources.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest as Request, TokenRequestSpec},
    core::v1::{Pod, ServiceAccount, Volume},
};
use kube::{Api, Resource, ResourceExt, api::PostParams};
use tokio::time::Instant;

use super::{
    context::PodContext,
    volumes::{self, Backing, Files, TokenRequest, Tokens, VolumeError, write},
};

/// Why volumes are not (all) there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MountError {
    /// Something that a volume refers to is missing.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The disk refused.
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {source}")]
    Disk {
        /// The volume.
        volume: String,
        /// Why.
        source: io::Error,
    },
}

/// The volumes of one pod.
#[derive(Default)]
pub(crate) struct Mounted {
    written: BTreeMap<String, Files>,
    tokens: Tokens,
    refresh: BTreeMap<TokenRequest, Instant>,
}

impl Mounted {
    /// Makes the volumes what their sources say. With `real` unset nothing is written: it is only checked
    /// that they could be.
    pub async fn sync(&mut self, context: &PodContext, real: bool) -> Result<(), MountError> {
        let pod = context.pod();
        let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.clone()).unwrap_or_default();
        if real {
            self.fetch_tokens(context, &pod, &volumes).await?;
        }
        let mut directories = BTreeMap::new();
        for volume in &volumes {
            let sources = &*context.node.sources;
            let backing = volumes::resolve(volume, &pod, &context.facts, sources, &self.tokens)?;
            if real {
                let path = self
                    .put(context, volume, backing)
                    .map_err(|source| MountError::Disk { volume: volume.name.clone(), source })?;
                directories.insert(volume.name.clone(), path);
            }
        }
        *context.volumes.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = directories;
        Ok(())
    }

    /// When the next token wants to be renewed.
    pub fn refresh_at(&self) -> Option<Instant> {
        self.refresh.values().min().copied()
    }

    fn put(&mut self, context: &PodContext, volume: &Volume, backing: Backing) -> io::Result<PathBuf> {
        let own = context.directory.join("volumes").join(&volume.name);
        match backing {
            Backing::Empty => {
                open_directory(&own)?;
                Ok(own)
            }
            Backing::Files(files) => {
                if self.written.get(&volume.name) != Some(&files) {
                    write::replace(&own, &files)?;
                    self.written.insert(volume.name.clone(), files);
                }
                Ok(own)
            }
            Backing::Host { path, create } => {
                if create && !path.exists() {
                    open_directory(&path)?;
                }
                Ok(path)
            }
        }
    }

    async fn fetch_tokens(
        &mut self,
        context: &PodContext,
        pod: &Pod,
        volumes: &[Volume],
    ) -> Result<(), VolumeError> {
        let now = Instant::now();
        for wanted in volumes::wanted_tokens(volumes) {
            if self.refresh.get(&wanted).is_some_and(|at| *at > now) {
                continue;
            }
            match request(context, pod, &wanted).await {
                Ok(token) => {
                    // As a kubelet: after 80 % of its life, at the latest after a day.
                    let seconds = (wanted.seconds.unsigned_abs() * 8 / 10).min(24 * 3600);
                    self.refresh.insert(wanted.clone(), now + Duration::from_secs(seconds));
                    self.tokens.insert(wanted, token);
                }
                Err(error) if self.tokens.contains_key(&wanted) => {
                    tracing::warn!(%error, pod = pod.name_any(), "token not renewed, will try again");
                    self.refresh.insert(wanted, now + Duration::from_secs(10));
                }
                Err(error) => {
                    let volume = volumes.iter().find(|volume| volume.projected.is_some());
                    let volume = volume.map(|volume| volume.name.clone()).unwrap_or_default();
                    return Err(VolumeError::Token { volume, reason: error.to_string() });
                }
            }
        }
        Ok(())
    }
}

async fn request(context: &PodContext, pod: &Pod, wanted: &TokenRequest) -> kube::Result<String> {
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
    let account = account.filter(|name| !name.is_empty()).unwrap_or_else(|| "default".into());
    let namespace = pod.namespace().unwrap_or_default();
    let api: Api<ServiceAccount> = Api::namespaced(context.node.client.clone(), &namespace);
    let audiences = Some(&wanted.audience).filter(|audience| !audience.is_empty());
    let spec = TokenRequestSpec {
        audiences: audiences.map(|audience| vec![audience.clone()]),
        expiration_seconds: Some(wanted.seconds),
        bound_object_ref: Some(BoundObjectReference {
            api_version: Some(Pod::api_version(&()).into_owned()),
            kind: Some(Pod::kind(&()).into_owned()),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
        }),
    };
    let body = Request { spec: Some(spec), ..Request::default() };
    let answer = api.create_token_request(&account, &PostParams::default(), &body).await?;
    Ok(answer.status.and_then(|status| status.token).unwrap_or_default())
}

/// Makes a directory that any user may write to, as a volume's is.
fn open_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o777))
}
