//! Metrics as a client reads them.

use http::{Method, header};
use http_body_util::BodyExt;
use tower::Service;

use crate::{
    body::{self, Response},
    instance::{Instance, Options},
    user::User,
};

struct Fixture(Instance);

impl Fixture {
    async fn start() -> Self {
        Self(Instance::start(Options::default()).await.unwrap())
    }

    async fn call(&self, method: Method, path: &str, accept: &str, body: &'static str) -> Response {
        let request = http::Request::builder().method(method).uri(path).header(header::ACCEPT, accept);
        let request =
            request.header(header::CONTENT_TYPE, "application/json").body(body::full(body)).unwrap();
        self.0.server.service(User::component("test")).call(request).await.unwrap()
    }

    async fn metrics(&self, accept: &str) -> (String, String) {
        let answer = self.call(Method::GET, "/metrics", accept, "").await;
        let ty = answer.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (ty, String::from_utf8(bytes.to_vec()).unwrap())
    }

    /// The value of a series; nothing if it is not there.
    async fn value(&self, series: &str) -> Option<f64> {
        let (_, text) = self.metrics("").await;
        let value = text.lines().find_map(|line| line.strip_prefix(series));
        value.map(|value| value.trim().parse().unwrap())
    }
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const MAP: &str = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}"#;

/// The labels of a request for config maps.
fn labels(dry_run: &str, scope: &str, verb: &str) -> String {
    format!(
        r#"component="apiserver",dry_run="{dry_run}",group="",resource="configmaps",scope="{scope}",subresource="",verb="{verb}",version="v1""#
    )
}

#[tokio::test]
async fn requests_are_counted_by_what_they_are_and_what_came_of_them() {
    let fixture = Fixture::start().await;
    let total = |labels: String, code: u16| format!("apiserver_request_total{{{labels},code=\"{code}\"}}");
    for (path, code) in [(MAPS.to_owned(), 201), (format!("{MAPS}?dryRun=All"), 409), (MAPS.to_owned(), 409)]
    {
        assert_eq!(fixture.call(Method::POST, &path, "", MAP).await.status(), code);
    }
    let post = |dry_run| labels(dry_run, "resource", "POST");
    assert_eq!(fixture.value(&total(post(""), 201)).await, Some(1.0));
    assert_eq!(fixture.value(&total(post(""), 409)).await, Some(1.0));
    assert_eq!(fixture.value(&total(post("All"), 409)).await, Some(1.0));
    let count = format!("apiserver_request_duration_seconds_count{{{}}}", post(""));
    assert_eq!(fixture.value(&count).await, Some(2.0));
    let all = format!("apiserver_request_duration_seconds_bucket{{le=\"+Inf\",{}}}", post(""));
    assert_eq!(fixture.value(&all).await, Some(2.0));
    assert_eq!(fixture.call(Method::GET, MAPS, "", "").await.status(), 200);
    assert_eq!(fixture.value(&total(labels("", "namespace", "LIST"), 200)).await, Some(1.0));
    fixture.0.stop().await;
}

#[tokio::test]
async fn a_watch_runs_until_its_answer_is_dropped() {
    let fixture = Fixture::start().await;
    let labels = labels("", "namespace", "WATCH").replace("dry_run=\"\",", "");
    let running = format!("apiserver_longrunning_requests{{{labels}}}");
    let watch = fixture.call(Method::GET, &format!("{MAPS}?watch=true"), "", "").await;
    assert_eq!(fixture.value(&running).await, Some(1.0));
    drop(watch);
    assert_eq!(fixture.value(&running).await, Some(0.0));
    fixture.0.stop().await;
}

#[tokio::test]
async fn clients_cannot_make_up_series() {
    let fixture = Fixture::start().await;
    for path in ["/apis/none.example.com/v1/things", "/api/v1/namespaces/default/pods/p/nothing"] {
        assert_eq!(fixture.call(Method::GET, path, "", "").await.status(), 404);
    }
    let (_, text) = fixture.metrics("").await;
    assert!(!text.contains("none.example.com") && !text.contains("nothing"), "{text}");
    fixture.0.stop().await;
}

#[tokio::test]
async fn stored_objects_are_counted_by_resource() {
    let fixture = Fixture::start().await;
    assert_eq!(fixture.call(Method::POST, MAPS, "", MAP).await.status(), 201);
    // One more is that of the front proxy's authority.
    assert_eq!(fixture.value(r#"apiserver_storage_objects{resource="configmaps"}"#).await, Some(2.0));
    let roles = r#"apiserver_storage_objects{resource="clusterroles.rbac.authorization.k8s.io"}"#;
    assert!(fixture.value(roles).await.unwrap() > 10.0);
    assert_eq!(fixture.value(r#"apiserver_resource_objects{group="",resource="pods"}"#).await, Some(0.0));
    fixture.0.stop().await;
}

#[tokio::test]
async fn who_asks_for_open_metrics_gets_it() {
    let fixture = Fixture::start().await;
    assert_eq!(fixture.call(Method::GET, MAPS, "", "").await.status(), 200);
    let (ty, plain) = fixture.metrics("text/plain;q=0.5,*/*;q=0.1").await;
    assert_eq!(ty, "text/plain; version=0.0.4; charset=utf-8; escaping=underscores");
    assert!(plain.contains("# TYPE apiserver_request_total counter\n"), "{plain}");
    assert!(plain.contains("le=\"1\",") && plain.contains("le=\"0.005\","), "{plain}");
    assert!(!plain.contains("# EOF"), "{plain}");
    let (ty, open) = fixture.metrics("application/openmetrics-text;version=1.0.0,text/plain;q=0.5").await;
    assert_eq!(ty, "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores");
    assert!(open.contains("# TYPE apiserver_request counter\n") && open.ends_with("# EOF\n"), "{open}");
    fixture.0.stop().await;
}
