//! `vkube list`: the virtual clusters of a host.

use clap::Args;
use vkube_crds::VirtualCluster;

use super::{
    Place,
    output::{Collection, Format},
};
use crate::cli::Outcome;

/// Which clusters, and how to show them.
#[derive(Debug, Args)]
pub struct Options {
    /// Where they are; without a namespace, in all.
    #[command(flatten)]
    pub place: Place,
    /// List all namespaces, which is the default.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// Only those with these labels.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
    /// Leave out the line of headings.
    #[arg(long)]
    pub no_headers: bool,
}

/// Lists.
pub async fn run(options: Options) -> Outcome {
    let host = options.place.client().await?;
    let clusters = Collection::of::<VirtualCluster>(options.place.namespace.clone(), options.selector);
    let headings = !options.no_headers;
    let text = match clusters.show(&host, options.output, headings).await {
        // Whoever may not look everywhere means their own namespace.
        Err(kube::Error::Api(status))
            if status.code == 403 && options.place.namespace.is_none() && !options.all_namespaces =>
        {
            clusters.within(host.default_namespace()).show(&host, options.output, headings).await?
        }
        other => other?,
    };
    if text.is_empty() && options.output != Format::Name {
        eprintln!("No virtual clusters found; `vkube create NAME` makes one.");
    }
    print!("{text}");
    Ok(())
}
