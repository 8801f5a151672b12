//! Impersonation against the rights of RBAC.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;

use super::*;
use crate::{instance::Instance, request_info::RequestInfo};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

struct Fixture(crate::custom::tests::Fixture);

impl Fixture {
    /// A server where everybody has these rules.
    async fn start(rules: serde_json::Value) -> Self {
        let server = crate::custom::tests::Fixture(Instance::start(Default::default()).await.unwrap());
        let (role, subject) = ("rbac.authorization.k8s.io", "system:authenticated");
        let metadata = json!({"name": "actor"});
        server
            .create(
                &format!("{RBAC}/clusterroles"),
                &json!({"apiVersion": format!("{role}/v1"), "kind": "ClusterRole", "metadata": metadata, "rules": rules}),
            )
            .await;
        let binding = json!({
            "apiVersion": format!("{role}/v1"), "kind": "ClusterRoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": role, "kind": "ClusterRole", "name": "actor"},
            "subjects": [{"apiGroup": role, "kind": "Group", "name": subject}],
        });
        server.create(&format!("{RBAC}/clusterrolebindings"), &binding).await;
        let fixture = Self(server);
        // Bindings reach the authorizer by way of a watch.
        while fixture.rules() == 0 {
            tokio::task::yield_now().await;
        }
        fixture
    }

    fn rules(&self) -> usize {
        let rbac = self.0.0.server.parts.rbac.as_ref().unwrap();
        rbac.rules(&User::new("x", &[]), "")
            .iter()
            .filter(|g| g.rule.to_value()["verbs"][0].as_str().unwrap().starts_with("imp"))
            .count()
    }

    /// Whom a list of pods acts as.
    async fn act(
        &self,
        user: &User,
        headers: &[(&str, &str)],
    ) -> Result<(User, Option<&'static str>), String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let info = RequestInfo::new(&http::Method::GET, "/api/v1/namespaces/default/pods", "");
        let acting = impersonate(&self.0.0.server, &mut map, &Attributes::of(user, &info)).await;
        assert!(acting.is_err() || map.is_empty(), "the headers stay behind");
        let acting = acting.map_err(|why| why.message)?.unwrap();
        Ok((User::clone(&acting.user), acting.constraint))
    }
}

fn jane() -> User {
    User::new("jane", &["dev"])
}

#[tokio::test]
async fn a_constrained_right_holds_for_what_it_names() {
    let server = Fixture::start(json!([
        {"verbs": ["impersonate:user-info"], "apiGroups": ["authentication.k8s.io"], "resources": ["users", "groups"], "resourceNames": ["bob", "ops"]},
        {"verbs": ["impersonate-on:user-info:list"], "apiGroups": [""], "resources": ["pods"]},
    ]))
    .await;
    let bob = server.act(&jane(), &[("impersonate-user", "bob"), ("impersonate-group", "ops")]).await;
    assert_eq!(bob, Ok((User::new("bob", &["ops"]), Some("impersonate:user-info"))));
    assert_eq!(
        server.act(&jane(), &[("impersonate-user", "eve")]).await,
        Err("users.authentication.k8s.io \"eve\" is forbidden: User \"jane\" cannot impersonate:user-info resource \"users\" in API group \"authentication.k8s.io\" at the cluster scope".into())
    );
    assert_eq!(
        server.act(&jane(), &[("impersonate-user", "bob"), ("impersonate-group", "system:masters")]).await,
        Err("groups.authentication.k8s.io \"system:masters\" is forbidden: User \"jane\" cannot impersonate:user-info resource \"groups\" in API group \"authentication.k8s.io\" at the cluster scope: impersonating the system:masters group is not allowed".into())
    );
    // Service accounts are another mode.
    let account = server.act(&jane(), &[("impersonate-user", "system:serviceaccount:a:b")]).await;
    assert_eq!(
        account,
        Err("pods is forbidden: User \"jane\" cannot impersonate-on:serviceaccount:list resource \"pods\" in API group \"\" in the namespace \"default\"".into())
    );
    server.0.0.stop().await;
}

#[tokio::test]
async fn the_right_without_constraints_is_asked_for_last() {
    let server = Fixture::start(json!([
        {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users", "serviceaccounts"]},
        {"verbs": ["impersonate"], "apiGroups": ["authentication.k8s.io"], "resources": ["userextras/scopes", "uids"]},
    ]))
    .await;
    let headers =
        [("impersonate-user", "bob"), ("impersonate-uid", "7"), ("impersonate-extra-scopes", "view")];
    let mut bob = User { uid: "7".into(), ..User::new("bob", &[]) };
    bob.extra.insert("scopes".into(), vec!["view".into()]);
    assert_eq!(server.act(&jane(), &headers).await, Ok((bob, None)));
    let account = server.act(&jane(), &[("impersonate-user", "system:serviceaccount:a:b")]).await;
    assert_eq!(account, Ok((User::service_account("a", "b", ""), None)));
    let groups = [("impersonate-user", "bob"), ("impersonate-group", "ops")];
    let refusal = |user: &str, what: &str| format!("{what}User {user:?} cannot ");
    assert_eq!(
        server.act(&jane(), &groups).await,
        Err(refusal("jane", "groups \"ops\" is forbidden: ")
            + "impersonate resource \"groups\" in API group \"\" at the cluster scope"),
        "what was good the last time is told"
    );
    let other = server.act(&User::new("joe", &[]), &groups).await;
    assert!(
        other
            .unwrap_err()
            .starts_with(&(refusal("joe", "pods is forbidden: ") + "impersonate-on:user-info:list"))
    );
    let anonymous = server.act(&jane(), &[("impersonate-user", "system:anonymous")]).await;
    assert_eq!(anonymous, Ok((User::anonymous(), None)));
    server.0.0.stop().await;
}

#[tokio::test]
async fn a_service_account_acts_as_its_own_node_only() {
    let server = Fixture::start(json!([
        {"verbs": ["impersonate:associated-node"], "apiGroups": ["authentication.k8s.io"], "resources": ["nodes"]},
        {"verbs": ["impersonate-on:associated-node:list"], "apiGroups": [""], "resources": ["pods"]},
    ]))
    .await;
    let mut agent = User::service_account("a", "agent", "1");
    agent.extra.insert("authentication.kubernetes.io/node-name".into(), vec!["one".into()]);
    let node = server.act(&agent, &[("impersonate-user", "system:node:one")]).await;
    let expected = User::new("system:node:one", &["system:nodes"]);
    assert_eq!(node, Ok((expected, Some("impersonate:associated-node"))));
    let other = server.act(&agent, &[("impersonate-user", "system:node:two")]).await;
    assert!(other.unwrap_err().contains("cannot impersonate-on:arbitrary-node:list resource \"pods\""));
    server.0.0.stop().await;
}
