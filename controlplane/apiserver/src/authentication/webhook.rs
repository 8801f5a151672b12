//! Tokens that another server is asked about
//! (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#webhook-token-authentication>).

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Identity, jwt};
use crate::{
    outbound::{
        answers::{Answers, question},
        kubeconfig::{self, Remote},
        review,
    },
    registry::access::{bool_at, entries, str_at},
    user::User,
};

/// How long the server may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What the flags `--authentication-token-webhook-*` say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The kubeconfig that leads to the server.
    pub config_file: PathBuf,
    /// The version of its reviews: `v1` or `v1beta1`.
    pub version: String,
    /// How long its answers are good.
    pub cache_ttl: Duration,
}

/// Why no server can be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There are no such reviews.
    #[error("unsupported authentication webhook version {0:?}, supported versions are \"v1\", \"v1beta1\"")]
    Version(String),
    /// It is not known how to reach it.
    #[error("failed to read the configuration of the authentication webhook")]
    Kubeconfig(#[from] kubeconfig::Error),
}

/// The server that knows tokens.
#[derive(Debug)]
pub struct Webhook {
    remote: Remote,
    api_version: &'static str,
    good_for: Duration,
    answers: Answers<Option<Identity>>,
}

impl Webhook {
    /// The server that the options lead to.
    pub fn new(options: &Options) -> Result<Self, Error> {
        let api_version = match options.version.as_str() {
            "v1" => "authentication.k8s.io/v1",
            "v1beta1" => "authentication.k8s.io/v1beta1",
            other => return Err(Error::Version(other.into())),
        };
        let remote = Remote::load(&options.config_file)?;
        Ok(Self { remote, api_version, good_for: options.cache_ttl, answers: Answers::default() })
    }

    /// Whose token it is, for these audiences; `own` are those of tokens that name none.
    pub async fn verify(
        &self,
        token: &str,
        audiences: &[String],
        own: &[String],
    ) -> Result<Option<Identity>, String> {
        let question = question(std::iter::once(token).chain(audiences.iter().map(String::as_str)));
        if let Some(answer) = self.answers.get(&question, Instant::now()) {
            return Ok(answer);
        }
        let spec = json!({"token": token, "audiences": audiences});
        let status = review::ask(&self.remote, self.api_version, "TokenReview", &spec, TIMEOUT).await;
        let status = status.inspect_err(|why| tracing::error!(error = why, "failed to ask about a token"))?;
        let answer = judge(&status, audiences, own)?;
        self.answers.put(question, answer.clone(), Instant::now(), self.good_for);
        Ok(answer)
    }
}

/// What the status of a review says.
fn judge(status: &Value, audiences: &[String], own: &[String]) -> Result<Option<Identity>, String> {
    let mut good_for: Vec<String> = jwt::texts(status.get("audiences")).map(Into::into).collect();
    if good_for.is_empty() {
        good_for = own.to_vec();
    }
    let audiences: Vec<String> = audiences.iter().filter(|a| good_for.contains(a)).cloned().collect();
    if audiences.is_empty() {
        return Ok(None);
    }
    if !bool_at(status, "/authenticated") {
        return match str_at(status, "/error") {
            "" => Ok(None),
            why => Err(why.into()),
        };
    }
    let texts = |value: &Value| jwt::texts(Some(value)).map(Into::into).collect();
    let user = User {
        name: str_at(status, "/user/username").into(),
        uid: str_at(status, "/user/uid").into(),
        groups: status.pointer("/user/groups").map(texts).unwrap_or_default(),
        extra: entries(status, "/user/extra").map(|(key, values)| (key.clone(), texts(values))).collect(),
    };
    Ok(Some(Identity { user: user.authenticated(), audiences }))
}
