//! The metrics APIs: `metrics.k8s.io`, `custom.metrics.k8s.io` and `external.metrics.k8s.io`, where they are
//! served.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use vkube_usage::quantity::Quantity;

use super::replicas::{Sample, Samples};
use crate::api::{self, Api, Page};
use crate::discovery::discover;
use crate::durations;

/// The window of metrics that do not tell theirs, in seconds.
const WINDOW_SECONDS: i64 = 60;
const CUSTOM_GROUP: &str = "custom.metrics.k8s.io";

/// Why there is no metric.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The API refused, or is not there.
    #[error("unable to fetch metrics from {api} metrics API: {why}")]
    Fetch {
        /// Which API.
        api: &'static str,
        /// What it said.
        why: String,
    },
    /// The API has nothing to say.
    #[error("no metrics returned from {0} metrics API")]
    Nothing(&'static str),
    /// The pod's metrics lack the container.
    #[error("container {container} not present in metrics for pod {namespace}/{pod}")]
    NoContainer {
        /// The container.
        container: String,
        /// The pod's namespace.
        namespace: String,
        /// The pod.
        pod: String,
    },
}

fn failed(api: &'static str, error: &api::Error, resource: &str) -> Error {
    let why = if error.is_not_found() {
        format!("the server could not find the requested resource (get {resource})")
    } else {
        error.message()
    };
    Error::Fetch { api, why }
}

fn escape(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A client of the metrics APIs.
pub(super) struct Metrics {
    api: Api,
    /// The version of the custom metrics API, once it was found.
    custom_version: Mutex<Option<String>>,
}

#[derive(Deserialize)]
struct PodMetrics {
    metadata: ObjectMeta,
    #[serde(default)]
    timestamp: Option<Time>,
    #[serde(default)]
    window: String,
    #[serde(default)]
    containers: Vec<ContainerMetrics>,
}

#[derive(Deserialize)]
struct ContainerMetrics {
    name: String,
    #[serde(default)]
    usage: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CustomValue {
    described_object: Described,
    #[serde(default)]
    timestamp: Option<Time>,
    /// Called `window` in the older version of the API.
    #[serde(default, alias = "window")]
    window_seconds: Option<i64>,
    value: String,
}

#[derive(Deserialize)]
struct Described {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct ExternalValue {
    value: String,
}

fn milli(text: &str) -> i64 {
    Quantity::parse(text).map_or(0, |amount| amount.milli_value())
}

/// The usage of a resource by pods, or by one of their containers.
fn of_pods(
    pods: Vec<PodMetrics>,
    namespace: &str,
    resource: &str,
    container: Option<&str>,
) -> Result<Samples, Error> {
    let mut samples = Samples::new();
    for pod in pods {
        let name = pod.metadata.name.unwrap_or_default();
        let wanted: Vec<_> =
            pod.containers.iter().filter(|one| container.is_none_or(|only| one.name == only)).collect();
        if let (Some(container), []) = (container, &wanted[..]) {
            let (container, namespace) = (container.to_owned(), namespace.to_owned());
            return Err(Error::NoContainer { container, namespace, pod: name });
        }
        // A pod with a container that tells nothing of the resource has no metrics.
        let Some(value) = wanted.iter().map(|one| one.usage.get(resource).map(|text| milli(text))).sum()
        else {
            continue;
        };
        let at = pod.timestamp.map_or(jiff::Timestamp::UNIX_EPOCH, |at| at.0);
        let window = durations::seconds(&pod.window).unwrap_or(WINDOW_SECONDS);
        samples.insert(name, Sample { value, at, window });
    }
    Ok(samples)
}

impl Metrics {
    /// What `api` serves of metrics.
    pub fn new(api: Api) -> Self {
        Self { api, custom_version: Mutex::default() }
    }

    /// The usage of a resource by the pods that match the selector.
    pub async fn resource(
        &self,
        namespace: &str,
        selector: &str,
        resource: &str,
        container: Option<&str>,
    ) -> Result<Samples, Error> {
        let path = format!(
            "/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods?labelSelector={}",
            escape(selector)
        );
        let page: Page<PodMetrics> =
            self.api.list(&path).await.map_err(|error| failed("resource", &error, "pods.metrics.k8s.io"))?;
        if page.items.is_empty() {
            return Err(Error::Nothing("resource"));
        }
        of_pods(page.items, namespace, resource, container)
    }

    /// A metric of each pod that matches the selector.
    pub async fn of_pods(
        &self,
        namespace: &str,
        selector: &str,
        metric: &str,
        metric_selector: &str,
    ) -> Result<Samples, Error> {
        let query =
            format!("?labelSelector={}&metricLabelSelector={}", escape(selector), escape(metric_selector));
        let values = self.custom(&format!("namespaces/{namespace}/pods/*/{metric}{query}"), metric).await?;
        let sample = |value: CustomValue| {
            let at = value.timestamp.map_or(jiff::Timestamp::UNIX_EPOCH, |at| at.0);
            let window = value.window_seconds.unwrap_or(WINDOW_SECONDS);
            (value.described_object.name, Sample { value: milli(&value.value), at, window })
        };
        Ok(values.into_iter().map(sample).collect())
    }

    /// A metric of one object, in thousandths; `resource` is its resource with its group.
    pub async fn of_object(
        &self,
        namespace: &str,
        resource: &str,
        name: &str,
        metric: &str,
        metric_selector: &str,
    ) -> Result<i64, Error> {
        let query = format!("?metricLabelSelector={}", escape(metric_selector));
        let path = if resource == "namespaces" {
            format!("namespaces/{name}/metrics/{metric}{query}")
        } else {
            format!("namespaces/{namespace}/{resource}/{name}/{metric}{query}")
        };
        let values = self.custom(&path, metric).await?;
        values.first().map(|value| milli(&value.value)).ok_or(Error::Nothing("custom"))
    }

    async fn custom(&self, path: &str, metric: &str) -> Result<Vec<CustomValue>, Error> {
        let version = self.custom_version().await?;
        let path = format!("/apis/{CUSTOM_GROUP}/{version}/{path}");
        let page: Page<CustomValue> = self.api.list(&path).await.map_err(|error| {
            if error.is_not_found() {
                // It may be the version that is gone.
                *self.known_version() = None;
            }
            failed("custom", &error, &format!("{metric}.{CUSTOM_GROUP}"))
        })?;
        if page.items.is_empty() {
            return Err(Error::Nothing("custom"));
        }
        Ok(page.items)
    }

    fn known_version(&self) -> MutexGuard<'_, Option<String>> {
        self.custom_version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn custom_version(&self) -> Result<String, Error> {
        if let Some(version) = self.known_version().clone() {
            return Ok(version);
        }
        let fetch = |why| Error::Fetch { api: "custom", why };
        let served = discover(&self.api).await.map_err(|error| fetch(error.message()))?;
        let found = served.resources.into_iter().find(|one| one.group == CUSTOM_GROUP);
        let version = found
            .map(|one| one.version)
            .ok_or_else(|| fetch(format!("no custom metrics API ({CUSTOM_GROUP}) registered")))?;
        *self.known_version() = Some(version.clone());
        Ok(version)
    }

    /// The sum of an external metric's values, in thousandths.
    pub async fn external(&self, namespace: &str, metric: &str, selector: &str) -> Result<i64, Error> {
        let path = format!(
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{metric}?labelSelector={}",
            escape(selector)
        );
        let resource = format!("{metric}.external.metrics.k8s.io");
        let page: Page<ExternalValue> =
            self.api.list(&path).await.map_err(|error| failed("external", &error, &resource))?;
        if page.items.is_empty() {
            return Err(Error::Nothing("external"));
        }
        Ok(page.items.iter().map(|one| milli(&one.value)).sum())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower::service_fn;

    use super::*;

    /// Metrics APIs that answer with what `serve` has for a path; and the paths and queries that were asked
    /// for.
    fn mk_metrics(serve: fn(&str) -> Option<Value>) -> (Metrics, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let service = service_fn(move |request: Request<Body>| {
            let path = request.uri().path().to_owned();
            log.lock().unwrap().push(request.uri().to_string());
            async move {
                let (code, body) = match serve(&path) {
                    Some(body) => (200, body),
                    None => (
                        404,
                        json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound"}),
                    ),
                };
                Response::builder().status(code).body(Body::from(body.to_string().into_bytes()))
            }
        });
        (Metrics::new(Api::new(Client::new(service, "default"))), asked)
    }

    /// Discovery of a custom metrics API.
    fn custom(path: &str) -> Option<Value> {
        let value = |name: &str, value: &str| json!({"describedObject": {"kind": "Pod", "name": name}, "value": value, "windowSeconds": 30});
        let resource = json!({"resource": "pods/qps", "scope": "Namespaced", "verbs": ["get"]});
        let versions = json!([{"version": "v1beta2", "freshness": "Current", "resources": [resource]}]);
        let list = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop";
        Some(match path {
            "/api" => json!({"items": []}),
            "/apis" => json!({"items": [{"metadata": {"name": CUSTOM_GROUP}, "versions": versions}]}),
            _ if path == format!("{list}/pods/*/qps") => {
                json!({"items": [value("a", "1500m"), value("b", "2")]})
            }
            _ if path == format!("{list}/services/web/qps") => json!({"items": [value("web", "40")]}),
            _ => return None,
        })
    }

    #[tokio::test]
    async fn custom_metrics_are_asked_for_in_the_version_that_is_served() {
        let (metrics, asked) = mk_metrics(custom);
        let samples = metrics.of_pods("shop", "app=web", "qps", "").await.unwrap();
        assert_eq!((samples["a"].value, samples["b"].value, samples["a"].window), (1500, 2000, 30));
        assert_eq!(metrics.of_object("shop", "services", "web", "qps", "").await.unwrap(), 40_000);
        let asked = asked.lock().unwrap();
        let query = "labelSelector=app%3Dweb&metricLabelSelector=";
        let path = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/qps";
        assert!(asked.iter().any(|uri| uri.ends_with(&format!("{path}?{query}"))), "{asked:?}");
        assert_eq!(asked.iter().filter(|uri| uri.ends_with("/apis")).count(), 1, "discovery is asked once");
    }

    #[tokio::test]
    async fn the_values_of_an_external_metric_add_up() {
        let (metrics, _) = mk_metrics(|path| {
            let queue = "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/queue";
            (path == queue).then(|| json!({"items": [{"value": "3"}, {"value": "500m"}]}))
        });
        assert_eq!(metrics.external("shop", "queue", "").await.unwrap(), 3500);
        let error = metrics.external("shop", "other", "").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "unable to fetch metrics from external metrics API: \
             the server could not find the requested resource (get other.external.metrics.k8s.io)"
        );
    }

    #[tokio::test]
    async fn an_api_that_is_not_there_is_named() {
        let (metrics, _) = mk_metrics(|path| path.starts_with("/api").then(|| json!({"items": []})));
        let error = metrics.of_pods("shop", "app=web", "qps", "").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "unable to fetch metrics from custom metrics API: \
             no custom metrics API (custom.metrics.k8s.io) registered"
        );
        let error = metrics.resource("shop", "app=web", "cpu", None).await.unwrap_err();
        assert_eq!(error.to_string(), "no metrics returned from resource metrics API");
    }

    fn pods() -> Vec<PodMetrics> {
        let pods = json!([
            {"metadata": {"name": "a"}, "timestamp": "2026-01-01T00:00:00Z", "window": "30s", "containers": [
                {"name": "main", "usage": {"cpu": "250m", "memory": "1Gi"}},
                {"name": "proxy", "usage": {"cpu": "50m"}},
            ]},
        ]);
        serde_json::from_value(pods).unwrap()
    }

    #[test]
    fn a_pod_uses_what_its_containers_use_together() {
        let samples = of_pods(pods(), "shop", "cpu", None).unwrap();
        assert_eq!((samples["a"].value, samples["a"].window), (300, 30));
        assert!(of_pods(pods(), "shop", "memory", None).unwrap().is_empty(), "the proxy tells nothing");
    }

    #[test]
    fn one_container_can_be_measured() {
        assert_eq!(of_pods(pods(), "shop", "cpu", Some("proxy")).unwrap()["a"].value, 50);
        let error = of_pods(pods(), "shop", "cpu", Some("other")).unwrap_err();
        assert_eq!(error.to_string(), "container other not present in metrics for pod shop/a");
    }
}
