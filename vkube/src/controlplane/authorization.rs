//! The flags of authorization, as kube-apiserver names them.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use vkube_apiserver::{authorization::webhook, instance};

/// Who decides what users may do.
#[derive(Debug, Args)]
#[group(skip)]
#[command(next_help_heading = "Authorization")]
pub struct Flags {
    /// Who decides what users may do, in order: AlwaysAllow, AlwaysDeny, Node, RBAC, Webhook.
    #[arg(long, value_name = "MODES", default_value = "RBAC", value_delimiter = ',')]
    authorization_mode: Vec<String>,
    /// An `AuthorizationConfiguration`, instead of the modes.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["authorization_mode", "authorization_webhook_config_file"]
    )]
    authorization_config: Option<PathBuf>,
    /// A kubeconfig that leads to a server which knows who may do what, for the mode Webhook.
    #[arg(long, value_name = "FILE")]
    authorization_webhook_config_file: Option<PathBuf>,
    /// The version of the SubjectAccessReviews that it is sent.
    #[arg(long, value_name = "VERSION", default_value = "v1beta1")]
    authorization_webhook_version: String,
    /// How long it is good that somebody may do something.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = super::duration)]
    authorization_webhook_cache_authorized_ttl: Duration,
    /// How long it is good that somebody may not.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = super::duration)]
    authorization_webhook_cache_unauthorized_ttl: Duration,
}

impl Flags {
    /// What they tell the API server.
    pub fn apply(&self, options: &mut instance::Options) {
        options.authorization_modes.clone_from(&self.authorization_mode);
        options.authorization_configuration.clone_from(&self.authorization_config);
        options.authorization_webhook =
            self.authorization_webhook_config_file.clone().map(|config_file| webhook::Options {
                version: self.authorization_webhook_version.clone(),
                authorized_ttl: self.authorization_webhook_cache_authorized_ttl,
                unauthorized_ttl: self.authorization_webhook_cache_unauthorized_ttl,
                ..webhook::Options::of_file(config_file)
            });
    }
}
