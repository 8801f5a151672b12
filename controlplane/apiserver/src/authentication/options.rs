//! How authentication is set up, by the flags of kube-apiserver.

use std::path::PathBuf;

use super::{
    Anonymous, Authenticators,
    configuration::{self, Configuration},
    oidc::{self, Issuers, issuers},
    service_account::Issuer,
    static_tokens::StaticTokens,
    webhook::{self, Webhook},
};

/// What the flags say.
#[derive(Debug, Default)]
pub struct Options {
    /// The tokens of `--token-auth-file`.
    pub static_tokens: StaticTokens,
    /// `--enable-bootstrap-token-auth`
    pub bootstrap_tokens: bool,
    /// `--anonymous-auth`, if it is given.
    pub anonymous: Option<bool>,
    /// `--authentication-config`
    pub configuration: Option<PathBuf>,
    /// `--oidc-*`, if any of them is given.
    pub oidc: Option<oidc::Flags>,
    /// `--authentication-token-webhook-*`, if there is a file.
    pub webhook: Option<webhook::Options>,
}

/// Why authentication cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file and the flags.
    #[error("authentication-config file and oidc-* flags are mutually exclusive")]
    TwoConfigurations,
    /// The file and the flag.
    #[error(
        "--anonymous-auth flag cannot be set when anonymous field is configured in authentication configuration file"
    )]
    TwoAnonymous,
    /// The flags of the issuer.
    #[error(transparent)]
    Flags(#[from] oidc::flags::Error),
    /// What the flags of the issuer say.
    #[error("the oidc-* flags are refused")]
    Flagged(#[from] configuration::Error),
    /// The issuers.
    #[error(transparent)]
    Issuers(#[from] issuers::Error),
    /// The server that knows tokens.
    #[error(transparent)]
    Webhook(#[from] webhook::Error),
}

impl Authenticators {
    /// The authenticators that the options ask for; `issuer` is the server's own. Where authorization
    /// `allows_all`, strangers stay outside.
    pub fn new(options: Options, issuer: String, allows_all: bool) -> Result<Self, Error> {
        let (issuers, section) = match (&options.configuration, &options.oidc) {
            (Some(_), Some(_)) => return Err(Error::TwoConfigurations),
            (Some(path), None) => {
                let (issuers, configuration) = Issuers::of_file(path, &issuer)?;
                (Some(issuers), configuration.anonymous)
            }
            (None, Some(flags)) => {
                let configuration = Configuration::of(flags.jwt()?, &issuer)?;
                (Some(Issuers::fixed(configuration, &issuer)?), None)
            }
            (None, None) => (None, None),
        };
        let mut anonymous = match (section, options.anonymous) {
            (Some(_), Some(_)) => return Err(Error::TwoAnonymous),
            (Some(section), None) => Anonymous::from(section),
            (None, Some(false)) => Anonymous::Nowhere,
            (None, _) => Anonymous::Everywhere,
        };
        if anonymous != Anonymous::Nowhere && allows_all {
            tracing::warn!(
                "requests without credentials are refused, since everybody else may do everything"
            );
            anonymous = Anonymous::Nowhere;
        }
        Ok(Self {
            static_tokens: options.static_tokens,
            service_accounts: Issuer::new(issuer),
            bootstrap_tokens: options.bootstrap_tokens,
            issuers,
            webhook: options.webhook.as_ref().map(Webhook::new).transpose()?,
            anonymous,
        })
    }
}

impl From<configuration::Anonymous> for Anonymous {
    fn from(section: configuration::Anonymous) -> Self {
        match (section.enabled, section.conditions.is_empty()) {
            (false, _) => Self::Nowhere,
            (true, true) => Self::Everywhere,
            (true, false) => Self::At(section.conditions.into_iter().map(|c| c.path).collect()),
        }
    }
}
