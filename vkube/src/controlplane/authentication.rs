//! The flags of authentication, as kube-apiserver names them.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use vkube_apiserver::authentication::{self, oidc, static_tokens::StaticTokens, webhook};

use super::read;
use crate::cli::Failure;

/// How users show who they are.
#[derive(Debug, Args)]
#[group(skip)]
#[command(next_help_heading = "Authentication")]
pub struct Flags {
    /// Static tokens: lines of `token,user,uid,"group1,group2"`.
    #[arg(long, value_name = "FILE")]
    token_auth_file: Option<PathBuf>,
    /// Let in requests without credentials as `system:anonymous` [default: true].
    #[arg(long, value_name = "BOOL")]
    anonymous_auth: Option<bool>,
    /// Take the bootstrap tokens of secrets in `kube-system`.
    #[arg(long, value_name = "BOOL", default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    enable_bootstrap_token_auth: bool,
    /// An `AuthenticationConfiguration`; it is read again when it changes.
    #[arg(long, value_name = "FILE")]
    authentication_config: Option<PathBuf>,
    /// The URL of an issuer of OpenID Connect tokens.
    #[arg(long, value_name = "URL", requires = "oidc_client_id")]
    oidc_issuer_url: Option<String>,
    /// For whom the issuer's tokens must be.
    #[arg(long, value_name = "ID", requires = "oidc_issuer_url")]
    oidc_client_id: Option<String>,
    /// Who vouches for the issuer, if not the authorities of the machine.
    #[arg(long, value_name = "FILE", requires = "oidc_issuer_url")]
    oidc_ca_file: Option<PathBuf>,
    /// The claim that is the user's name.
    #[arg(long, value_name = "CLAIM", default_value = "sub")]
    oidc_username_claim: String,
    /// What stands before the names of users: by default the issuer's URL and `#`, unless they are
    /// addresses; `-` is nothing.
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    oidc_username_prefix: String,
    /// The claim that has the groups.
    #[arg(long, value_name = "CLAIM", default_value = "", hide_default_value = true)]
    oidc_groups_claim: String,
    /// What stands before the names of groups.
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    oidc_groups_prefix: String,
    /// With what the issuer's tokens may be signed.
    #[arg(long, value_name = "ALGORITHMS", default_value = "RS256", value_delimiter = ',')]
    oidc_signing_algs: Vec<String>,
    /// A claim that tokens must have, with its value.
    #[arg(long, value_name = "CLAIM=VALUE", value_parser = pair)]
    oidc_required_claim: Vec<(String, String)>,
    /// A kubeconfig that leads to a server which knows tokens.
    #[arg(long, value_name = "FILE")]
    authentication_token_webhook_config_file: Option<PathBuf>,
    /// The version of the TokenReviews that it is sent.
    #[arg(long, value_name = "VERSION", default_value = "v1beta1")]
    authentication_token_webhook_version: String,
    /// How long its answers are good.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = super::duration)]
    authentication_token_webhook_cache_ttl: Duration,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (claim, value) = text.split_once('=').ok_or("must be a claim and its value")?;
    Ok((claim.trim().into(), value.trim().into()))
}

impl Flags {
    /// What they tell the API server.
    pub fn options(&self) -> Result<authentication::Options, Failure> {
        let static_tokens = match &self.token_auth_file {
            Some(path) => StaticTokens::parse(&read(path)?)?,
            None => StaticTokens::default(),
        };
        let hook =
            self.authentication_token_webhook_config_file.clone().map(|config_file| webhook::Options {
                config_file,
                version: self.authentication_token_webhook_version.clone(),
                cache_ttl: self.authentication_token_webhook_cache_ttl,
            });
        Ok(authentication::Options {
            static_tokens,
            bootstrap_tokens: self.enable_bootstrap_token_auth,
            anonymous: self.anonymous_auth,
            configuration: self.authentication_config.clone(),
            oidc: self.oidc()?,
            webhook: hook,
        })
    }

    fn oidc(&self) -> Result<Option<oidc::Flags>, Failure> {
        let (Some(issuer_url), Some(client_id)) = (&self.oidc_issuer_url, &self.oidc_client_id) else {
            return Ok(None);
        };
        Ok(Some(oidc::Flags {
            issuer_url: issuer_url.clone(),
            client_id: client_id.clone(),
            certificate_authority: self.oidc_ca_file.as_deref().map(read).transpose()?.unwrap_or_default(),
            username_claim: self.oidc_username_claim.clone(),
            username_prefix: self.oidc_username_prefix.clone(),
            groups_claim: self.oidc_groups_claim.clone(),
            groups_prefix: self.oidc_groups_prefix.clone(),
            signing_algs: self.oidc_signing_algs.clone(),
            required_claims: self.oidc_required_claim.clone(),
        }))
    }
}
