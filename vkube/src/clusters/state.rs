//! `vkube pause`, `resume`, `sleep`, `wake` and `rotate`: one field or annotation each.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use kube::{
    Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use vkube_crds::{Phase, VirtualCluster, annotations};

use super::{
    FIELD_MANAGER, Patience, Target, api_of,
    wait::{Goal, until},
};
use crate::cli::{Failure, Outcome};

/// How long a cluster that is connected to may take to wake.
const ROUSING: Duration = Duration::from_mins(2);

/// Which cluster, and how long to wait.
#[derive(Debug, Args)]
pub struct Options {
    /// Which cluster.
    #[command(flatten)]
    pub target: Target,
    /// How long to wait.
    #[command(flatten)]
    pub patience: Patience,
}

/// What to reissue.
#[derive(Debug, Args)]
pub struct RotateOptions {
    /// Which cluster.
    #[command(flatten)]
    pub change: Options,
    /// Reissue the certificate authority too: every kubeconfig handed out before ends to work.
    #[arg(long)]
    pub ca: bool,
}

/// The operator leaves the cluster as it is.
pub async fn pause(options: Options) -> Outcome {
    annotate(options, annotations::PAUSED, json!("true"), Goal::Paused).await
}

/// The operator looks after the cluster again.
pub async fn resume(options: Options) -> Outcome {
    annotate(options, annotations::PAUSED, Value::Null, Goal::Resumed).await
}

/// Reissues certificates.
pub async fn rotate(options: RotateOptions) -> Outcome {
    let key = if options.ca { annotations::ROTATE_CA } else { annotations::ROTATE };
    let now = Timestamp::from_second(Timestamp::now().as_second())?;
    annotate(options.change, key, json!(now.to_string()), Goal::Reissued).await
}

/// Stops the control plane and the pods; the data stays.
pub async fn sleep(options: Options) -> Outcome {
    scale(options, 0, Goal::Asleep).await
}

/// Starts the control plane, which starts the pods. One that sleeps by its own rule is awake until the next time to sleep.
pub async fn wake(options: Options) -> Outcome {
    let (_, cluster) = options.target.find().await?;
    let has_rule = cluster.spec.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.sleep.is_some());
    if !has_rule || cluster.spec.replicas == Some(0) {
        return scale(options, 1, Goal::Ready).await;
    }
    let now = Timestamp::from_second(Timestamp::now().as_second())?;
    annotate(options, annotations::WAKE, json!(now.to_string()), Goal::Awake).await
}

/// Wakes a cluster that is to wake when it is connected to, and waits until it is; any other is as it was.
pub async fn rouse(host: &Client, cluster: VirtualCluster) -> Result<VirtualCluster, Failure> {
    let rule = cluster.spec.lifecycle.as_ref().and_then(|lifecycle| lifecycle.sleep.as_ref());
    let is_asked = rule.and_then(|rule| rule.wake_on_connect) == Some(true);
    let sleeps = cluster.status.as_ref().and_then(|status| status.phase) == Some(Phase::Sleeping);
    if !is_asked || !sleeps || cluster.spec.replicas == Some(0) {
        return Ok(cluster);
    }
    let api = api_of(host, &cluster);
    let now = Timestamp::from_second(Timestamp::now().as_second())?;
    let patch =
        json!({"metadata": {"uid": cluster.uid(), "annotations": {annotations::WAKE: now.to_string()}}});
    let changed = api.patch(&cluster.name_any(), &params(), &Patch::Merge(patch)).await?;
    Ok(until(api, &changed, Goal::Awake, ROUSING).await?.unwrap_or(changed))
}

async fn annotate(options: Options, key: &str, value: Value, goal: Goal) -> Outcome {
    let (host, cluster) = options.target.find().await?;
    let declared = cluster.spec.lifecycle.as_ref().and_then(|lifecycle| lifecycle.paused) == Some(true);
    if declared && goal == Goal::Resumed {
        return Err("spec.lifecycle.paused is set; unset it where the cluster is declared".into());
    }
    let api = api_of(&host, &cluster);
    let patch = json!({"metadata": {"uid": cluster.uid(), "annotations": {key: value}}});
    let changed = api.patch(&options.target.name, &params(), &Patch::Merge(patch)).await?;
    settle(&options, api, &changed, goal).await
}

async fn scale(options: Options, replicas: i32, goal: Goal) -> Outcome {
    let (host, cluster) = options.target.find().await?;
    let api = api_of(&host, &cluster);
    let patch = json!({"spec": {"replicas": replicas}});
    api.patch_scale(&options.target.name, &params(), &Patch::Merge(patch)).await?;
    let changed = api.get(&options.target.name).await?;
    settle(&options, api, &changed, goal).await
}

async fn settle(
    options: &Options,
    api: kube::Api<VirtualCluster>,
    cluster: &VirtualCluster,
    goal: Goal,
) -> Outcome {
    if options.patience.no_wait {
        println!("virtualcluster.vkube.dev/{} changed", options.target.name);
        return Ok(());
    }
    until(api, cluster, goal, options.patience.timeout).await.map(drop)
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() }
}

/// A duration as Kubernetes writes it: `90s`, `5m`, `1h30m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    match text.parse::<kube::core::Duration>() {
        Ok(duration) if !duration.is_negative() => Ok(duration.into()),
        _ => Err(format!("{text:?} is not a duration such as 90s or 5m")),
    }
}

/// Reads an instant's distance from now as kubectl's AGE does.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{minutes}m"),
        7200..172_800 => format!("{hours}h"),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_kubernetes() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert!(duration("-5m").is_err() && duration("soon").is_err());
    }

    #[test]
    fn ages_have_one_unit() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (second, text) in [(5, "5s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (200_000, "2d")] {
            assert_eq!(age(at(0), at(second)), text);
        }
    }
}
