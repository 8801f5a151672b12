//! Asking a container's probes and telling its lifecycle what they found.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Container, ExecAction, LifecycleHandler, Probe, TCPSocketAction};
use tokio::{sync::mpsc, sync::watch, task::JoinSet, time::Instant};

use super::{
    context::PodContext,
    probe::{Purpose, Tally, Timing, Verdict, check::Question},
    process::{Launch, Process},
};
use crate::exec::Place;

/// What a probe found.
#[derive(Debug)]
pub(crate) enum Finding {
    /// The probe is content; told when it becomes so.
    Healthy(Purpose),
    /// The probe failed.
    Failed {
        /// Which.
        purpose: Purpose,
        /// Why.
        message: String,
        /// Whether it failed often enough to act.
        decided: bool,
    },
}

/// Starts the probes of a container's run.
pub(crate) fn start(
    pod: &Arc<PodContext>,
    container: &Container,
    findings: &mpsc::Sender<Finding>,
    probes: &mut JoinSet<()>,
) {
    let (started, wait) = watch::channel(container.startup_probe.is_none());
    let started = Arc::new(started);
    for (purpose, probe) in [
        (Purpose::Startup, &container.startup_probe),
        (Purpose::Readiness, &container.readiness_probe),
        (Purpose::Liveness, &container.liveness_probe),
    ] {
        let Some(probe) = probe.clone() else { continue };
        let (pod, container, findings) = (Arc::clone(pod), container.clone(), findings.clone());
        let (started, mut wait) = (Arc::clone(&started), wait.clone());
        probes.spawn(async move {
            if purpose != Purpose::Startup && wait.wait_for(|started| *started).await.is_err() {
                return;
            }
            repeat(&pod, &container, &probe, purpose, &findings, &started).await;
        });
    }
}

async fn repeat(
    pod: &PodContext,
    container: &Container,
    probe: &Probe,
    purpose: Purpose,
    findings: &mpsc::Sender<Finding>,
    started: &watch::Sender<bool>,
) {
    let timing = Timing::new(probe, purpose);
    let mut tally = Tally::new(timing, Instant::now());
    let mut healthy = false;
    tokio::time::sleep(timing.delay + tally.head_start()).await;
    loop {
        let answer = tokio::time::timeout(timing.timeout, ask(pod, container, probe)).await;
        let answer = answer.unwrap_or_else(|_| Err(timed_out(timing.timeout)));
        let verdict = tally.observe(answer.is_ok(), Instant::now());
        let finding = match verdict {
            Verdict::Healthy if !healthy => {
                healthy = true;
                Some(Finding::Healthy(purpose))
            }
            Verdict::Healthy | Verdict::Undecided => None,
            Verdict::Failing | Verdict::Unhealthy => {
                let decided = verdict == Verdict::Unhealthy;
                healthy &= !decided;
                let message = answer.err().unwrap_or_default();
                Some(Finding::Failed { purpose, message, decided })
            }
        };
        if let Some(finding) = finding {
            let startup_over = healthy && purpose == Purpose::Startup;
            if findings.send(finding).await.is_err() {
                return;
            }
            if startup_over {
                started.send_replace(true);
                return;
            }
        }
        tokio::time::sleep(tally.wait(Instant::now())).await;
    }
}

fn timed_out(timeout: Duration) -> String {
    format!("context deadline exceeded (no answer within {}s)", timeout.as_secs())
}

async fn ask(pod: &PodContext, container: &Container, probe: &Probe) -> Result<(), String> {
    let question = if let Some(action) = &probe.http_get {
        Question::http(action, container, pod.ip)
    } else if let Some(action) = &probe.tcp_socket {
        Question::tcp(action, container, pod.ip)
    } else if let Some(action) = &probe.grpc {
        // Whether the port serves at all is as much as is checked of a gRPC probe.
        let port = k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(action.port);
        Question::tcp(&TCPSocketAction { port, host: None }, container, pod.ip)
    } else if let Some(action) = &probe.exec {
        return execute(pod, container, action).await;
    } else {
        return Ok(());
    };
    match question {
        Some(question) => question.ask().await,
        None => Err("the probe's port is not one of the container's".into()),
    }
}

/// Carries out a lifecycle hook's action.
pub(crate) async fn act(
    pod: &PodContext,
    container: &Container,
    hook: &LifecycleHandler,
) -> Result<(), String> {
    let probe = Probe {
        exec: hook.exec.clone(),
        http_get: hook.http_get.clone(),
        tcp_socket: hook.tcp_socket.clone(),
        ..Probe::default()
    };
    ask(pod, container, &probe).await
}

async fn execute(pod: &PodContext, container: &Container, action: &ExecAction) -> Result<(), String> {
    let argv = action.command.clone().unwrap_or_default();
    let launch = beside(pod, &container.name, argv).ok_or("the container does not run")?;
    let spec = pod.directory.join("exec").join(format!("{}-probe.json", container.name));
    let started = Process::start(&pod.node.spawner, &launch, &spec, false).await;
    let mut process = started.map_err(|error| error.to_string())?;
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let (out, err, exit) = tokio::join!(text(stdout), text(stderr), process.wait());
    if exit.code == 0 { Ok(()) } else { Err(format!("{out}{err}").trim().to_owned()) }
}

async fn text(source: Option<impl tokio::io::AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(source) = source {
        let mut limited = tokio::io::AsyncReadExt::take(source, 10 * 1024);
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut limited, &mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// How to start another process in a running container; `None` if it does not run.
pub(crate) fn beside(pod: &PodContext, container: &str, argv: Vec<String>) -> Option<Launch> {
    let live = pod.run(container)?.live?;
    let mut launch = (*live.launch).clone();
    launch.argv = argv;
    if matches!(launch.place, Place::Own { .. }) {
        launch.place = Place::Beside { pid: live.pid };
    }
    Some(launch)
}
