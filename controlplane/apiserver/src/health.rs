//! `/livez`, `/readyz` and `/healthz`
//! (<https://kubernetes.io/docs/reference/using-api/health-checks/>).

use std::sync::atomic::{AtomicU8, Ordering};

use http::StatusCode;

use crate::{body::Response, options::Query, respond, server::Server};

/// What a server has come to.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// The objects that every cluster holds are there.
    Bootstrapped,
    /// It knows roles and bindings, priority levels and flow schemas, and follows them.
    Followed,
    /// So do the plugins of admission with what they need.
    Admission,
    /// Custom resources are served.
    Definitions,
    /// APIServices are followed, and their servers are asked how they are.
    Remotes,
    /// It is being stopped.
    Stopping,
}

/// The steps that a server has done.
#[derive(Debug, Default)]
pub struct Progress(AtomicU8);

impl Progress {
    /// Notes that a step has been done.
    pub fn note(&self, step: Step) {
        self.0.fetch_or(1 << step as u8, Ordering::AcqRel);
    }

    fn has(&self, step: Step) -> bool {
        self.0.load(Ordering::Acquire) & (1 << step as u8) != 0
    }
}

/// A check.
struct Check {
    name: &'static str,
    /// What it is about.
    of: Of,
    /// Whether it is about serving, which `/readyz` alone asks for.
    is_about_serving: bool,
}

enum Of {
    /// That there is an answer.
    Answer,
    /// The store.
    Store,
    /// A step that was done in the beginning.
    Step(Step),
    /// All steps of following something.
    Following,
    /// That the server is not being stopped.
    Running,
}

const fn check_of(name: &'static str, of: Of) -> Check {
    Check { name, of, is_about_serving: false }
}

const fn serving(name: &'static str, of: Of) -> Check {
    Check { name, of, is_about_serving: true }
}

/// The checks, by the names and in the order of the real server, as far as there is here what a name speaks of.
const CHECKS: &[Check] = &[
    check_of("ping", Of::Answer),
    check_of("etcd", Of::Store),
    serving("etcd-readiness", Of::Store),
    serving("informer-sync", Of::Following),
    check_of("poststarthook/start-apiserver-admission-initializer", Of::Step(Step::Admission)),
    check_of("poststarthook/generic-apiserver-start-informers", Of::Step(Step::Followed)),
    check_of("poststarthook/priority-and-fairness-config-consumer", Of::Step(Step::Followed)),
    check_of("poststarthook/priority-and-fairness-filter", Of::Step(Step::Followed)),
    check_of("poststarthook/start-apiextensions-informers", Of::Step(Step::Definitions)),
    check_of("poststarthook/start-apiextensions-controllers", Of::Step(Step::Definitions)),
    check_of("poststarthook/crd-informer-synced", Of::Step(Step::Definitions)),
    check_of("poststarthook/rbac/bootstrap-roles", Of::Step(Step::Bootstrapped)),
    check_of("poststarthook/scheduling/bootstrap-system-priority-classes", Of::Step(Step::Bootstrapped)),
    check_of("poststarthook/priority-and-fairness-config-producer", Of::Step(Step::Bootstrapped)),
    check_of("poststarthook/bootstrap-controller", Of::Step(Step::Bootstrapped)),
    check_of("poststarthook/start-kube-aggregator-informers", Of::Step(Step::Remotes)),
    check_of("poststarthook/apiservice-status-remote-available-controller", Of::Step(Step::Remotes)),
    check_of("poststarthook/apiservice-registration-controller", Of::Step(Step::Remotes)),
    check_of("poststarthook/kube-apiserver-autoregistration", Of::Step(Step::Bootstrapped)),
    check_of("autoregister-completion", Of::Step(Step::Bootstrapped)),
    serving("shutdown", Of::Running),
];

impl Check {
    fn belongs_to(&self, endpoint: &str) -> bool {
        !self.is_about_serving || endpoint == "readyz"
    }

    fn passes(&self, server: &Server, endpoint: &str) -> bool {
        let progress = &server.progress;
        match self.of {
            Of::Answer => true,
            // To be started anew would not bring a database back.
            Of::Store => endpoint == "livez" || server.store().is_available(),
            Of::Step(step) => progress.has(step),
            Of::Following => [Step::Followed, Step::Admission, Step::Definitions, Step::Remotes]
                .into_iter()
                .all(|step| progress.has(step)),
            Of::Running => !progress.has(Step::Stopping),
        }
    }
}

/// Answers a health check: all of them, or the one that the path names.
pub fn check(server: &Server, segments: &[&str], query: &Query) -> Response {
    let (endpoint, one) = (segments[0], segments[1..].join("/"));
    let mut checks = CHECKS.iter().filter(|check| check.belongs_to(endpoint));
    if !one.is_empty() {
        return match checks.find(|check| check.name == one) {
            Some(check) if check.passes(server, endpoint) => {
                respond::bytes(StatusCode::OK, "text/plain; charset=utf-8", "ok")
            }
            Some(_) => respond::text(StatusCode::INTERNAL_SERVER_ERROR, "internal server error: not yet\n"),
            None => respond::page_not_found(),
        };
    }
    let mut excluded: std::collections::BTreeSet<&str> =
        query.all("exclude").iter().map(String::as_str).collect();
    let (mut lines, mut failed) = (String::new(), false);
    for check in checks {
        let name = check.name;
        if excluded.remove(name) {
            lines.push_str(&format!("[+]{name} excluded: ok\n"));
        } else if check.passes(server, endpoint) {
            lines.push_str(&format!("[+]{name} ok\n"));
        } else {
            failed = true;
            lines.push_str(&format!("[-]{name} failed: reason withheld\n"));
        }
    }
    if !excluded.is_empty() {
        let unknown: Vec<String> = excluded.into_iter().map(|name| format!("{name:?}")).collect();
        let unknown = unknown.join(",");
        lines.push_str(&format!("warn: some health checks cannot be excluded: no matches for {unknown}\n"));
    }
    if failed {
        lines.push_str(&format!("{endpoint} check failed\n"));
        return respond::text(StatusCode::INTERNAL_SERVER_ERROR, lines);
    }
    if query.has("verbose") {
        lines.push_str(&format!("{endpoint} check passed\n"));
        return respond::text(StatusCode::OK, lines);
    }
    respond::text(StatusCode::OK, "ok")
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::custom::tests::Fixture;

    async fn told(server: &Fixture, endpoint: &str, query: &str) -> String {
        let response = check(&server.0.server, &[endpoint], &Query::parse(query));
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn the_verbose_form_says_which_checks_could_not_be_left_out() {
        let server = Fixture::start().await;
        assert_eq!(told(&server, "livez", "exclude=nope").await, "ok");
        let told = told(&server, "livez", "verbose&exclude=nope&exclude=etcd").await;
        let rest = told.strip_prefix("[+]ping ok\n[+]etcd excluded: ok\n").unwrap();
        let end =
            "warn: some health checks cannot be excluded: no matches for \"nope\"\nlivez check passed\n";
        let rest = rest.strip_suffix(end).unwrap();
        assert!(rest.lines().all(|line| line.starts_with("[+]") && line.ends_with(" ok")), "{rest}");
        server.0.stop().await;
    }

    #[tokio::test]
    async fn checks_go_by_the_names_that_tools_ask_for() {
        let server = Fixture::start().await;
        for (path, code) in [
            ("/readyz/poststarthook/rbac/bootstrap-roles", 200),
            ("/livez/poststarthook/crd-informer-synced", 200),
            ("/healthz/autoregister-completion", 200),
            ("/readyz/informer-sync", 200),
            ("/readyz/shutdown", 200),
            ("/livez/shutdown", 404),
            ("/healthz/etcd-readiness", 404),
            ("/readyz/poststarthook", 404),
        ] {
            assert_eq!(server.get(path).await.0.as_u16(), code, "{path}");
        }
        server.0.stop().await;
    }

    #[tokio::test]
    async fn a_server_that_is_being_stopped_lives_but_is_not_ready() {
        let fixture = Fixture::start().await;
        let server = fixture.0.server.clone();
        fixture.0.stop().await;
        let asked = |endpoint| check(&server, &[endpoint], &Query::parse("exclude=etcd-readiness")).status();
        assert_eq!(asked("livez"), StatusCode::OK);
        assert_eq!(asked("readyz"), StatusCode::INTERNAL_SERVER_ERROR);
        let shutdown = check(&server, &["readyz", "shutdown"], &Query::default());
        assert_eq!(shutdown.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
