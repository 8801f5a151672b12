//! The `log` subresource.

use std::path::PathBuf;

use futures::StreamExt;
use http::{HeaderValue, header};
use jiff::Timestamp;
use kube::ResourceExt;
use vkube_apiserver::{
    body::{self, Response},
    status::ApiError,
};

use crate::node::{
    context::PodContext,
    logs::{
        read::{self, Options},
        write,
    },
};

/// Answers a request for a container's log.
pub(super) async fn serve(pod: &PodContext, query: &str) -> Result<Response, ApiError> {
    let options = Options::parse(query, Timestamp::now()).map_err(ApiError::bad_request)?;
    let asked = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "container");
    let asked = asked.map(|(_, value)| value.into_owned()).filter(|name| !name.is_empty());
    let container = asked.unwrap_or_else(|| super::default_container(pod));
    let name = pod.pod().name_any();

    let (path, progress) = if options.previous {
        (write::previous(&pod.log_path(&container)), None)
    } else {
        match pod.run(&container) {
            Some(run) => (run.log.path().to_owned(), Some(run.log.progress())),
            None => (pod.log_path(&container), None),
        }
    };
    let previous = options.previous;
    let chunks = read::open(&path, options, progress).await.map_err(|error| {
        tracing::debug!(%error, path = %PathBuf::from(&path).display(), "no log");
        if previous {
            ApiError::bad_request(format!(
                "previous terminated container {container:?} in pod {name:?} not found"
            ))
        } else {
            let reason = waiting_reason(pod, &container);
            ApiError::bad_request(format!(
                "container {container:?} in pod {name:?} is waiting to start: {reason}"
            ))
        }
    })?;
    let mut response = Response::new(body::stream(chunks.map(Ok)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

fn waiting_reason(pod: &PodContext, container: &str) -> String {
    let pod = pod.pod();
    let status = pod.status.as_ref();
    let lists = [
        status.and_then(|status| status.container_statuses.as_ref()),
        status.and_then(|status| status.init_container_statuses.as_ref()),
    ];
    let mut known = lists.into_iter().flatten().flatten();
    let waiting =
        known.find(|status| status.name == container).and_then(|status| status.state.clone()?.waiting);
    waiting.and_then(|waiting| waiting.reason).unwrap_or_else(|| "ContainerCreating".into())
}
