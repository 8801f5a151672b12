//! The flags of the audit, as kube-apiserver names them.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use vkube_apiserver::audit;

/// What is told of requests, and where.
#[derive(Debug, Args)]
#[group(skip)]
#[command(next_help_heading = "Audit")]
pub struct Flags {
    /// What is told of which requests: a `Policy` of audit.k8s.io/v1.
    #[arg(long, value_name = "FILE")]
    audit_policy_file: Option<PathBuf>,
    /// Where it is written to; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    audit_log_path: Option<PathBuf>,
    /// How it is written.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Json)]
    audit_log_format: Format,
    /// After how many days old files are removed; 0 is never.
    #[arg(long, value_name = "DAYS", default_value_t = 0)]
    audit_log_maxage: u64,
    /// How many old files are kept; 0 is all.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    audit_log_maxbackup: usize,
    /// At how many megabytes a new file is begun; 0 is 100.
    #[arg(long, value_name = "MEGABYTES", default_value_t = 0)]
    audit_log_maxsize: u64,
    /// A kubeconfig that leads to a server that is told too.
    #[arg(long, value_name = "FILE")]
    audit_webhook_config_file: Option<PathBuf>,
    /// When that server is told.
    #[arg(long, value_name = "MODE", value_enum, default_value_t = Mode::Batch)]
    audit_webhook_mode: Mode,
    /// How many events wait to be sent at most; more are lost.
    #[arg(long, value_name = "COUNT", default_value = "10000")]
    audit_webhook_batch_buffer_size: NonZeroUsize,
    /// How many events are sent at once.
    #[arg(long, value_name = "COUNT", default_value = "400")]
    audit_webhook_batch_max_size: NonZeroUsize,
    /// How long events wait for others.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = super::duration)]
    audit_webhook_batch_max_wait: Duration,
    /// How long that server is left alone after its first failure.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = super::duration)]
    audit_webhook_initial_backoff: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Later, several events at once.
    Batch,
    /// Before a request goes on.
    Blocking,
    /// The same, and what cannot be told does not happen.
    BlockingStrict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines of JSON.
    Json,
    /// Lines of some fields.
    Legacy,
}

impl Flags {
    /// What they tell the API server; nothing without a policy, or without anybody to tell.
    pub fn options(&self) -> Option<audit::Options> {
        let (log, webhook) = (self.log(), self.webhook());
        if log.is_none() && webhook.is_none() {
            return None;
        }
        let Some(policy) = self.audit_policy_file.clone() else {
            tracing::warn!("no audit policy file provided, no events will be recorded");
            return None;
        };
        Some(audit::Options { policy, log, webhook })
    }

    fn log(&self) -> Option<audit::log::Options> {
        let path = self.audit_log_path.clone()?;
        let format = match self.audit_log_format {
            Format::Json => audit::log::Format::Json,
            Format::Legacy => audit::log::Format::Legacy,
        };
        Some(audit::log::Options {
            path,
            format,
            max_age: self.audit_log_maxage,
            max_backups: self.audit_log_maxbackup,
            max_size: self.audit_log_maxsize,
        })
    }

    fn webhook(&self) -> Option<audit::webhook::Options> {
        let config_file = self.audit_webhook_config_file.clone()?;
        let mode = match self.audit_webhook_mode {
            Mode::Blocking => audit::webhook::Mode::Blocking { strict: false },
            Mode::BlockingStrict => audit::webhook::Mode::Blocking { strict: true },
            Mode::Batch => audit::webhook::Mode::Batch(audit::webhook::Batch {
                buffer: self.audit_webhook_batch_buffer_size,
                max_size: self.audit_webhook_batch_max_size,
                max_wait: self.audit_webhook_batch_max_wait,
            }),
        };
        let initial_backoff = self.audit_webhook_initial_backoff;
        Some(audit::webhook::Options { config_file, mode, initial_backoff })
    }
}
