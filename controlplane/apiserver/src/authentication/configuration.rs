//! `AuthenticationConfiguration`, the file of `--authentication-config`
//! (<https://kubernetes.io/docs/reference/config-api/apiserver-config.v1/#apiserver-config-k8s-io-v1-AuthenticationConfiguration>).

mod validate;

use serde::Deserialize;
use serde_json::Value;

use crate::{codec::yaml, field::Errors};

const GROUP: &str = "apiserver.config.k8s.io";

/// Who may show who they are by JSON web tokens, and whether others are let in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Configuration {
    api_version: String,
    kind: String,
    /// The issuers of tokens.
    pub jwt: Vec<Jwt>,
    /// On requests without credentials; absent if a flag decides.
    pub anonymous: Option<Anonymous>,
}

/// Tokens of one issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Jwt {
    /// Who issues them, and for whom.
    pub issuer: Issuer,
    /// What tokens must say.
    pub claim_validation_rules: Vec<ClaimRule>,
    /// Which user a token is of.
    pub claim_mappings: Mappings,
    /// What users must be like.
    pub user_validation_rules: Vec<UserRule>,
    /// With what tokens may be signed. Only `--oidc-signing-algs` narrows it.
    #[serde(skip)]
    pub algorithms: Option<Vec<String>>,
}

/// The issuer of tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Issuer {
    /// `iss`, and where it is found.
    pub url: String,
    /// Where it is found, if not there.
    #[serde(rename = "discoveryURL")]
    pub discovery_url: String,
    /// Who vouches for it, in PEM; empty means the authorities of the machine.
    pub certificate_authority: String,
    /// For whom tokens must be, one of them.
    pub audiences: Vec<String>,
    /// `MatchAny` or empty.
    pub audience_match_policy: String,
    /// By which way it is reached. Here all ways are the same.
    pub egress_selector_type: String,
}

/// A claim that must have a value, or an expression that must be true.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClaimRule {
    /// The claim.
    pub claim: String,
    /// Its value.
    pub required_value: String,
    /// The expression.
    pub expression: String,
    /// What is said when it is not true.
    pub message: String,
}

/// An expression that must be true of the user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UserRule {
    /// The expression.
    pub expression: String,
    /// What is said when it is not true.
    pub message: String,
}

/// Which user a token is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Mappings {
    /// The name.
    pub username: Prefixed,
    /// The groups.
    pub groups: Prefixed,
    /// The uid.
    pub uid: ClaimOrExpression,
    /// What else is known.
    pub extra: Vec<Extra>,
}

/// A claim with a prefix, or an expression.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Prefixed {
    /// The claim.
    pub claim: String,
    /// What stands before its value.
    pub prefix: Option<String>,
    /// The expression.
    pub expression: String,
}

/// A claim or an expression.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClaimOrExpression {
    /// The claim.
    pub claim: String,
    /// The expression.
    pub expression: String,
}

/// An extra of the user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Extra {
    /// Its key.
    pub key: String,
    /// Its values: a text or a list of them.
    pub value_expression: String,
}

/// Whether requests without credentials are let in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Anonymous {
    /// Whether they are.
    pub enabled: bool,
    /// Where they are: everywhere, if there are none.
    pub conditions: Vec<Condition>,
}

/// A place for requests without credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Condition {
    /// The path, exactly.
    pub path: String,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no YAML.
    #[error("failed to parse: {0}")]
    Syntax(String),
    /// It is of another form.
    #[error("failed to decode")]
    Shape(#[from] serde_json::Error),
    /// It is something else.
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    Kind {
        /// What it says that it is.
        kind: String,
        /// Of which version.
        api_version: String,
    },
    /// It contradicts itself.
    #[error("{}", shown(.0))]
    Invalid(Errors),
}

fn shown(errors: &Errors) -> String {
    super::aggregate(errors.0.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

impl Configuration {
    /// Reads and validates a file. `own` is the issuer that no other may pass itself off as.
    pub fn read(text: &[u8], own: &str) -> Result<Self, Error> {
        let (mut document, doubled) = yaml::read(text).map_err(Error::Syntax)?;
        if let Some(doubled) = doubled.into_iter().next() {
            return Err(Error::Syntax(doubled));
        }
        without_nulls(&mut document);
        let configuration: Self = serde_json::from_value(document)?;
        let version = configuration.api_version.split_once('/');
        let known = version.is_some_and(|(group, version)| {
            group == GROUP && matches!(version, "v1" | "v1beta1" | "v1alpha1")
        });
        if !known || configuration.kind != "AuthenticationConfiguration" {
            let Self { kind, api_version, .. } = configuration;
            return Err(Error::Kind { kind, api_version });
        }
        configuration.validated(own)
    }

    /// A configuration of one issuer, validated.
    pub fn of(jwt: Jwt, own: &str) -> Result<Self, Error> {
        Self { jwt: vec![jwt], ..Self::default() }.validated(own)
    }

    fn validated(self, own: &str) -> Result<Self, Error> {
        let errors = validate::validate(&self, own);
        if errors.is_empty() { Ok(self) } else { Err(Error::Invalid(errors)) }
    }
}

/// What is null counts as absent, as in Go.
fn without_nulls(document: &mut Value) {
    match document {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}
