//! One container: started, probed, stopped, and started again as its policy says.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::{Arc, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use kube::ResourceExt;
use nix::sys::signal::Signal;
use rand::Rng;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use super::{
    backoff::{self, Backoff},
    context::{Live, PodContext, Run, Stdin},
    logs::{Output, write::Log},
    probe::Purpose,
    probing::{self, Finding},
    process::{Exit, Launch, Process},
    status::{Ended, State, View},
};
use crate::exec::NOT_STARTED;
use vkube_scheduler::events;

/// How long a simulated container that is meant to end runs.
const SIMULATED_RUN: Duration = Duration::from_millis(50);
/// How much of its last words is reported.
const LAST_WORDS: usize = 4096;

/// When a container is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    /// Whenever it ends.
    Always,
    /// When it fails.
    OnFailure,
    /// Never.
    Never,
}

impl Restart {
    fn again(self, code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => code != 0,
            Self::Never => false,
        }
    }
}

/// A container's life on the node.
pub(crate) struct Lifecycle {
    /// Its pod.
    pub pod: Arc<PodContext>,
    /// Its spec.
    pub container: Container,
    /// When it is started again.
    pub restart: Restart,
    /// Set when it shall end: how long it may take.
    pub stop: watch::Receiver<Option<Duration>>,
    /// Where its state is reported.
    pub reports: mpsc::Sender<(String, View)>,
    /// Its state.
    pub view: View,
}

/// What runs for a container.
enum Body {
    Real(Box<Process>),
    /// Ends by itself or not.
    Simulated {
        ends: bool,
    },
}

/// How a run came to its end.
enum End {
    /// By itself, or by a signal that was not ours.
    Exited(Exit),
    /// Because it was told to stop.
    Stopped(Exit),
    /// Because its liveness or startup probe failed.
    Unhealthy(Exit),
}

impl Lifecycle {
    /// Runs the container until it ends for good.
    pub async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now();
            let Some(end) = self.run_once().await else { return };
            let (exit, stopped) = match end {
                End::Exited(exit) | End::Unhealthy(exit) => (exit, false),
                End::Stopped(exit) => (exit, true),
            };
            if stopped || !self.restart.again(exit.code) {
                return;
            }
            if !self.wait_for_next(backoff.ended(began.elapsed())).await {
                return;
            }
        }
    }

    /// One run; `None` if the container is stopped before it could be started.
    async fn run_once(&mut self) -> Option<End> {
        let launch = self.resolve().await?;
        let log = match Log::create(self.pod.log_path(&self.container.name)) {
            Ok(log) => log,
            Err(error) => return self.not_started(&error.to_string()).await,
        };
        self.view.id = Some(run_id());
        let simulated = self.view.simulated;
        self.pod.set_run(&self.container.name, Run { log: log.clone(), live: None, simulated });
        let reference = self.pod.container_reference(&self.container.name);
        let recorder = &self.pod.node.recorder;

        let mut outputs = JoinSet::new();
        let (mut body, live) = if simulated {
            log.note("This container is simulated: the sandbox executes only vkube's own image.").await;
            (Body::Simulated { ends: self.restart != Restart::Always }, None)
        } else {
            match self.start(launch, &log, &mut outputs).await {
                Ok((process, live)) => (Body::Real(Box::new(process)), Some(live)),
                Err(error) => {
                    recorder.warning(reference, "Failed", format!("Error: {error}"));
                    return self.not_started(&error.to_string()).await;
                }
            }
        };
        self.pod.set_run(&self.container.name, Run { log: log.clone(), live, simulated });
        recorder.normal(reference.clone(), "Created", format!("Container created: {}", self.container.name));
        recorder.normal(reference, "Started", format!("Container started: {}", self.container.name));

        let began = events::now();
        self.view.state = State::Running { since: began };
        let end = self.supervise(&mut body).await;
        // What was written before the end is kept before the end is told.
        while outputs.join_next().await.is_some() {}
        self.pod.end_run(&self.container.name);
        self.ended(&end, began).await;
        Some(end)
    }

    /// Resolves the environment, waiting for what it refers to.
    async fn resolve(&mut self) -> Option<Launch> {
        let mut version = self.pod.node.sources.version();
        let mut pod = self.pod.pod.clone();
        loop {
            if self.stop.borrow().is_some() {
                return None;
            }
            version.borrow_and_update();
            match self.pod.plan(&self.container) {
                Ok(launch) => return Some(launch),
                Err(error) => {
                    let message = error.to_string();
                    let reference = self.pod.container_reference(&self.container.name);
                    self.pod.node.recorder.warning(reference, "Failed", format!("Error: {message}"));
                    let reason = "CreateContainerConfigError".into();
                    self.view.state = State::Waiting { reason, message: Some(message) };
                    self.report().await;
                }
            }
            tokio::select! {
                _ = version.changed() => {}
                _ = pod.changed() => {}
                _ = self.stop.changed() => {}
            }
        }
    }

    async fn start(
        &self,
        launch: Launch,
        log: &Log,
        outputs: &mut JoinSet<()>,
    ) -> std::io::Result<(Process, Live)> {
        prepare(&self.pod, &self.container, &launch)?;
        let name = &self.container.name;
        let spec = self.pod.directory.join("exec").join(format!("{name}.json"));
        let input = self.container.stdin.unwrap_or(false);
        let mut process = Process::start(&self.pod.node.spawner, &launch, &spec, input).await?;
        if let Some(stdout) = process.stdout() {
            let log = log.clone();
            outputs.spawn(async move { log.keep(Output::Stdout, stdout).await });
        }
        if let Some(stderr) = process.stderr() {
            let log = log.clone();
            outputs.spawn(async move { log.keep(Output::Stderr, stderr).await });
        }
        let once = self.container.stdin_once.unwrap_or(false);
        let stdin = process.stdin();
        let stdin = stdin.map(|pipe| Stdin { pipe: Arc::new(tokio::sync::Mutex::new(Some(pipe))), once });
        let live = Live { pid: process.pid, launch: Arc::new(launch), stdin };
        Ok((process, live))
    }

    /// Follows a run to its end.
    async fn supervise(&mut self, body: &mut Body) -> End {
        let (findings, mut news) = mpsc::channel(16);
        let mut probes = JoinSet::new();
        if matches!(body, Body::Real(_)) {
            probing::start(&self.pod, &self.container, &findings, &mut probes);
            let hook = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.clone());
            if let Some(hook) = hook {
                self.hook(&hook).await;
            }
        }
        let asked = |present: bool| present && matches!(body, Body::Real(_));
        self.view.started = !asked(self.container.startup_probe.is_some());
        self.view.ready = self.view.started && !asked(self.container.readiness_probe.is_some());
        self.report().await;

        loop {
            tokio::select! {
                biased;
                exit = wait(body) => return End::Exited(exit),
                _ = self.stop.changed() => {
                    probes.shutdown().await;
                    let message = format!("Stopping container {}", self.container.name);
                    let reference = self.pod.container_reference(&self.container.name);
                    self.pod.node.recorder.normal(reference, "Killing", message);
                    return End::Stopped(self.halt(body).await);
                }
                Some(finding) = news.recv() => {
                    if let Some(end) = self.judge(finding, body).await {
                        return end;
                    }
                }
            }
        }
    }

    /// Takes in what a probe found.
    async fn judge(&mut self, finding: Finding, body: &mut Body) -> Option<End> {
        let reference = self.pod.container_reference(&self.container.name);
        let recorder = &self.pod.node.recorder;
        match finding {
            Finding::Healthy(Purpose::Startup) => {
                self.view.started = true;
                self.view.ready = self.container.readiness_probe.is_none();
            }
            Finding::Healthy(Purpose::Readiness) => self.view.ready = true,
            Finding::Healthy(Purpose::Liveness) => return None,
            Finding::Failed { purpose, message, decided } => {
                let text = format!("{} probe failed: {message}", purpose.title());
                recorder.warning(reference.clone(), "Unhealthy", text);
                if !decided {
                    return None;
                }
                if purpose == Purpose::Readiness {
                    self.view.ready = false;
                } else {
                    let text = format!(
                        "Container {} failed {} probe, will be restarted",
                        self.container.name,
                        purpose.title().to_lowercase()
                    );
                    recorder.normal(reference, "Killing", text);
                    return Some(End::Unhealthy(self.halt(body).await));
                }
            }
        }
        self.report().await;
        None
    }

    /// Ends a run: the hook, a signal, patience, force.
    async fn halt(&mut self, body: &mut Body) -> Exit {
        let Body::Real(process) = body else { return Exit { code: 0, signal: None } };
        let began = Instant::now();
        let grace = |stop: &watch::Receiver<Option<Duration>>, pod: &PodContext| {
            stop.borrow().unwrap_or_else(|| {
                let spec = pod.pod().spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
                Duration::from_secs(spec.unwrap_or(30).unsigned_abs())
            })
        };
        let hook = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.clone());
        if let Some(hook) = hook {
            let most = grace(&self.stop, &self.pod);
            let _ = tokio::time::timeout(most, self.hook(&hook)).await;
        }
        process.signal(Signal::SIGTERM);
        loop {
            let until = began + grace(&self.stop, &self.pod);
            tokio::select! {
                exit = process.wait() => return exit,
                // A second deletion may shorten the time that is left.
                Ok(()) = self.stop.changed() => {}
                () = tokio::time::sleep_until(until) => {
                    process.signal(Signal::SIGKILL);
                    return process.wait().await;
                }
            }
        }
    }

    async fn hook(&self, hook: &LifecycleHandler) {
        if let Some(sleep) = &hook.sleep {
            tokio::time::sleep(Duration::from_secs(sleep.seconds.unsigned_abs())).await;
            return;
        }
        if let Err(message) = probing::act(&self.pod, &self.container, hook).await {
            let reference = self.pod.container_reference(&self.container.name);
            self.pod.node.recorder.warning(reference, "FailedLifecycleHook", message);
        }
    }

    /// Records how a run ended.
    async fn ended(&mut self, end: &End, began: Timestamp) {
        let (End::Exited(exit) | End::Stopped(exit) | End::Unhealthy(exit)) = end;
        let ended = Ended {
            code: exit.code,
            signal: exit.signal,
            reason: (exit.code == NOT_STARTED).then(|| "StartError".to_owned()),
            message: self.last_words(),
            started: began,
            finished: events::now(),
        };
        self.view.ready = false;
        self.view.started = false;
        self.view.state = State::Ended(ended);
        self.report().await;
    }

    /// What the container left for its status.
    fn last_words(&self) -> Option<String> {
        if self.view.simulated {
            return Some("simulated: the sandbox executes only vkube's own image".into());
        }
        let bytes = fs::read(self.pod.directory.join("termination").join(&self.container.name)).ok()?;
        let start = bytes.len().saturating_sub(LAST_WORDS);
        let text = String::from_utf8_lossy(&bytes[start..]).into_owned();
        Some(text).filter(|text| !text.is_empty())
    }

    async fn not_started(&mut self, message: &str) -> Option<End> {
        let exit = Exit { code: NOT_STARTED, signal: None };
        let now = events::now();
        self.view.state = State::Ended(Ended {
            code: exit.code,
            signal: None,
            reason: Some("StartError".into()),
            message: Some(message.to_owned()),
            started: now,
            finished: now,
        });
        self.report().await;
        Some(End::Exited(exit))
    }

    /// Waits until the container may be started again; `false` if it is stopped instead.
    async fn wait_for_next(&mut self, wait: Duration) -> bool {
        if let State::Ended(ended) = &self.view.state {
            self.view.last = Some(ended.clone());
        }
        if !wait.is_zero() {
            let pod = self.pod.pod();
            let whole = format!("{}_{}", pod.name_any(), pod.namespace().unwrap_or_default());
            let (name, uid) = (&self.container.name, pod.uid().unwrap_or_default());
            let reference = self.pod.container_reference(name);
            let message = format!("Back-off restarting failed container {name} in pod {whole}({uid})");
            self.pod.node.recorder.warning(reference, "BackOff", message);
            let message = format!(
                "back-off {} restarting failed container={name} pod={whole}({uid})",
                backoff::display(wait)
            );
            let state = State::Waiting { reason: "CrashLoopBackOff".into(), message: Some(message) };
            let over = std::mem::replace(&mut self.view.state, state);
            self.report().await;
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = self.stop.changed() => {
                    self.view.state = over;
                    self.report().await;
                    return false;
                }
            }
        }
        self.view.restarts += 1;
        true
    }

    async fn report(&self) {
        // The pod is gone when nobody listens; the stop signal follows.
        let _ = self.reports.send((self.container.name.clone(), self.view.clone())).await;
    }
}

async fn wait(body: &mut Body) -> Exit {
    match body {
        Body::Real(process) => process.wait().await,
        Body::Simulated { ends: true } => {
            tokio::time::sleep(SIMULATED_RUN).await;
            Exit { code: 0, signal: None }
        }
        Body::Simulated { ends: false } => std::future::pending().await,
    }
}

/// Makes what a run's mounts need: the root's directory, the file for last words, sub-paths.
fn prepare(pod: &PodContext, container: &Container, launch: &Launch) -> std::io::Result<()> {
    fs::create_dir_all(pod.directory.join("roots").join(&container.name))?;
    let words = pod.directory.join("termination");
    fs::create_dir_all(&words)?;
    let words = words.join(&container.name);
    fs::write(&words, "")?;
    fs::set_permissions(&words, fs::Permissions::from_mode(0o666))?;

    let volumes = pod.volumes.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let crate::exec::Place::Own { root, .. } = &launch.place {
        for mount in &root.mounts {
            let ours = volumes.values().any(|volume| mount.source.starts_with(volume));
            if ours && !mount.source.exists() {
                fs::create_dir_all(&mount.source)?;
            }
        }
    }
    Ok(())
}

/// An id as container runtimes give them.
fn run_id() -> String {
    let mut random = rand::rng();
    format!("{:032x}{:032x}", random.random::<u128>(), random.random::<u128>())
}
