//! What the controllers of endpoint slices share.

use std::sync::Arc;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::DeleteParams;

use crate::api::Error;
use crate::informers::Informer;

/// Names the service of an endpoint slice.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Names who keeps an endpoint slice.
pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// What a label of an endpoint slice says.
pub(crate) fn label<'a>(slice: &'a EndpointSlice, key: &str) -> Option<&'a str> {
    slice.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

/// What to do about the endpoint slices of a service.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct SliceChanges {
    /// Slices to make.
    pub create: Vec<EndpointSlice>,
    /// Slices to replace, and with what.
    pub update: Vec<(Arc<EndpointSlice>, EndpointSlice)>,
    /// Slices of no further use.
    pub delete: Vec<Arc<EndpointSlice>>,
}

impl SliceChanges {
    /// Writes them. New addresses are announced before old slices go, so that no endpoint is missing in between.
    pub async fn write(&self, slices: &Informer<EndpointSlice>) -> Result<(), Error> {
        for slice in &self.create {
            slices.create(slice).await?;
        }
        for (old, new) in &self.update {
            slices.update(old, new).await?;
        }
        for slice in &self.delete {
            slices.delete(slice, DeleteParams::default()).await?;
        }
        Ok(())
    }
}
