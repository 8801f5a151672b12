//! The flags of the audit, as kube-apiserver names them.

use std::path::PathBuf;

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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines of JSON.
    Json,
    /// Lines of some fields.
    Legacy,
}

impl Flags {
    /// What they tell the API server; nothing without both a policy and a log.
    pub fn options(&self) -> Option<audit::Options> {
        let (Some(policy), Some(path)) = (&self.audit_policy_file, &self.audit_log_path) else {
            if self.audit_log_path.is_some() {
                tracing::warn!("no audit policy file provided, no events will be recorded");
            }
            return None;
        };
        let format = match self.audit_log_format {
            Format::Json => audit::log::Format::Json,
            Format::Legacy => audit::log::Format::Legacy,
        };
        let log = audit::log::Options {
            path: path.clone(),
            format,
            max_age: self.audit_log_maxage,
            max_backups: self.audit_log_maxbackup,
            max_size: self.audit_log_maxsize,
        };
        Some(audit::Options { policy: policy.clone(), log })
    }
}
