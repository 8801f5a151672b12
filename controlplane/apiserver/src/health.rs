//! `/livez`, `/readyz` and `/healthz`
//! (<https://kubernetes.io/docs/reference/using-api/health-checks/>).

use http::StatusCode;

use crate::{body::Response, options::Query, respond, server::Server};

/// The checks, in the order in which the verbose form lists them. The store goes by the name that clients ask for.
const CHECKS: &[&str] = &["ping", "etcd", "poststarthook/bootstrap"];

/// Answers a health check: all of them, or the one that the path names.
pub fn check(server: &Server, segments: &[&str], query: &Query) -> Response {
    let (endpoint, one) = (segments[0], segments[1..].join("/"));
    let included = |name: &str| endpoint != "livez" || name != "poststarthook/bootstrap";
    if !one.is_empty() {
        return match CHECKS.iter().find(|c| **c == one && included(c)) {
            Some(check) if passes(server, endpoint, check) => {
                respond::bytes(StatusCode::OK, "text/plain; charset=utf-8", "ok")
            }
            Some(_) => respond::text(StatusCode::INTERNAL_SERVER_ERROR, "internal server error: not yet\n"),
            None => respond::page_not_found(),
        };
    }
    let excluded = query.all("exclude");
    let (mut lines, mut failed) = (String::new(), false);
    for check in CHECKS.iter().filter(|c| included(c)) {
        if excluded.iter().any(|e| e == check) {
            lines.push_str(&format!("[+]{check} excluded: ok\n"));
        } else if passes(server, endpoint, check) {
            lines.push_str(&format!("[+]{check} ok\n"));
        } else {
            failed = true;
            lines.push_str(&format!("[-]{check} failed: reason withheld\n"));
        }
    }
    let is_unknown = |name: &&String| !CHECKS.iter().any(|check| check == name && included(check));
    let unknown: std::collections::BTreeSet<&String> = excluded.iter().filter(is_unknown).collect();
    if !unknown.is_empty() {
        let unknown: Vec<String> = unknown.into_iter().map(|name| format!("{name:?}")).collect();
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

fn passes(server: &Server, endpoint: &str, check: &str) -> bool {
    match check {
        // To be started anew would not bring a database back.
        "etcd" => endpoint == "livez" || server.store().is_available(),
        "poststarthook/bootstrap" => server.is_ready(),
        _ => true,
    }
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
        assert_eq!(
            told(&server, "livez", "verbose&exclude=nope&exclude=etcd").await,
            "[+]ping ok\n[+]etcd excluded: ok\nwarn: some health checks cannot be excluded: no matches for \"nope\"\n\
             livez check passed\n"
        );
        server.0.stop().await;
    }
}
