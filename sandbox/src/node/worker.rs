//! One pod on the node: from its volumes to its last container's end.
//!
//! ```text
//! volumes there? ─► init containers, one after the other ─► containers ─┬─► all ended: final phase
//!                                                                        └─► deleted: stop, report, remove
//! ```
//! Everything that happens, whether to the object, to a source of a volume or to a container, wakes one
//! loop, which starts what can be started and reports the status that follows.

mod ending;

use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodCondition, PodStatus};
use kube::ResourceExt;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use super::{
    container::{Lifecycle, Restart},
    context::PodContext,
    mounted::Mounted,
    reporter::Reporter,
    status::{self, Ended, Failure, Observed, State, View},
};
use vkube_scheduler::events;

/// Container states on their way to the pod; its loop takes them as fast as they come.
const REPORTS: usize = 64;
/// How long a pod waits before it asks again for what no event will tell.
const RETRY: Duration = Duration::from_secs(1);

/// Why a pod's containers are to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The object is gone already: nothing is left to report.
    Gone,
    /// The node stops: the object stays, and its containers start again with the next node.
    Shutdown,
}

/// A pod's worker.
pub(crate) struct Worker {
    context: Arc<PodContext>,
    ending: watch::Receiver<Option<Ending>>,
    views: BTreeMap<String, View>,
    tasks: JoinSet<String>,
    stops: BTreeMap<String, watch::Sender<Option<Duration>>>,
    reporting: mpsc::Sender<(String, View)>,
    reports: mpsc::Receiver<(String, View)>,
    reporter: Reporter,
    mounted: Mounted,
    mounted_ok: bool,
    retry: Option<Instant>,
    started: Timestamp,
    failure: Option<Failure>,
    /// The conditions that were reported last.
    reported: Vec<PodCondition>,
    finished: bool,
    real: bool,
}

/// What woke the loop.
enum Woken {
    Report(String, Box<View>),
    Ended(String),
    Pod,
    Sources,
    Deadline,
    Timer,
    Ending,
}

impl Worker {
    /// A worker that will run the pod of `context` until it is deleted or `ending` is set.
    pub fn new(context: Arc<PodContext>, ending: watch::Receiver<Option<Ending>>) -> Self {
        let pod = context.pod();
        let status = pod.status.as_ref();
        let started = status.and_then(|status| status.start_time.as_ref()).map(|time| time.0);
        let containers = all_containers(&pod);
        let real = containers.iter().any(|container| context.node.is_real(container));
        let (reporting, reports) = mpsc::channel(REPORTS);
        let mut worker = Self {
            reporter: Reporter::start(&context),
            context,
            ending,
            views: BTreeMap::new(),
            tasks: JoinSet::new(),
            stops: BTreeMap::new(),
            reporting,
            reports,
            mounted: Mounted::default(),
            mounted_ok: false,
            retry: None,
            started: started.unwrap_or_else(events::now),
            failure: None,
            reported: Vec::new(),
            finished: false,
            real,
        };
        worker.meet_containers(&pod);
        worker
    }

    /// Runs the pod. When this returns its processes are gone, and so is what it had on disk unless the
    /// node merely stops.
    pub async fn run(mut self) {
        let pod = self.context.pod();
        if status::is_terminal(pod.status.as_ref().and_then(|status| status.phase.as_deref())) {
            // Its containers ran under an earlier node; only deletion is left.
            self.finished = true;
        }
        let mut versions = self.context.node.sources.version();
        let mut objects = self.context.pod.clone();
        loop {
            let pod = self.context.pod();
            if self.ending.borrow().is_some() || pod.metadata.deletion_timestamp.is_some() {
                break;
            }
            if !self.finished {
                versions.borrow_and_update();
                self.advance(&pod).await;
                self.publish();
            }
            match self.wake(&mut objects, &mut versions, &pod).await {
                Woken::Report(name, view) => self.take_report(name, *view),
                Woken::Ended(name) => drop(self.stops.remove(&name)),
                Woken::Deadline => self.fail(
                    "DeadlineExceeded",
                    "Pod was active on the node longer than the specified deadline",
                ),
                Woken::Sources | Woken::Timer => self.refresh().await,
                Woken::Pod => {
                    let pod = self.context.pod();
                    self.meet_containers(&pod);
                    self.refresh().await;
                }
                Woken::Ending => {}
            }
            self.conclude().await;
        }
        self.terminate().await;
    }

    async fn wake(
        &mut self,
        objects: &mut watch::Receiver<Arc<Pod>>,
        versions: &mut watch::Receiver<u64>,
        pod: &Pod,
    ) -> Woken {
        let follows_sources = !self.finished && (self.real || !self.mounted_ok);
        let refresh = self.mounted.refresh_at().filter(|_| !self.finished);
        let timer = [refresh, self.retry].into_iter().flatten().min();
        let deadline = self.deadline(pod);
        tokio::select! {
            biased;
            Some((name, view)) = self.reports.recv() => Woken::Report(name, Box::new(view)),
            Some(Ok(name)) = self.tasks.join_next() => Woken::Ended(name),
            _ = self.ending.changed() => Woken::Ending,
            Ok(()) = objects.changed() => Woken::Pod,
            Ok(()) = versions.changed(), if follows_sources => Woken::Sources,
            () = sleep_until(timer) => Woken::Timer,
            () = sleep_until(deadline) => Woken::Deadline,
        }
    }

    fn deadline(&self, pod: &Pod) -> Option<Instant> {
        let seconds = pod.spec.as_ref()?.active_deadline_seconds.filter(|_| !self.finished)?;
        let passed = Timestamp::now().duration_since(self.started).as_secs();
        Some(Instant::now() + Duration::from_secs(u64::try_from(seconds - passed).unwrap_or(0)))
    }

    /// Gives every container that is new to the node its first view.
    fn meet_containers(&mut self, pod: &Pod) {
        let inits = !status::inits(pod).is_empty();
        for container in all_containers(pod) {
            if self.views.contains_key(&container.name) {
                continue;
            }
            let simulated = !self.context.node.is_real(&container);
            let reason = if inits { "PodInitializing" } else { "ContainerCreating" };
            let view =
                earlier(pod, &container, simulated).unwrap_or_else(|| View::waiting(reason, simulated));
            self.views.insert(container.name, view);
        }
    }

    /// Starts whatever can be started now.
    async fn advance(&mut self, pod: &Pod) {
        if !self.mounted_ok {
            match self.mounted.sync(&self.context, self.real).await {
                Ok(()) if self.prepare(pod) => {
                    self.mounted_ok = true;
                    self.retry = None;
                }
                Ok(()) => {
                    self.retry = Some(Instant::now() + RETRY);
                    return;
                }
                Err(error) => {
                    let recorder = &self.context.node.recorder;
                    recorder.warning(self.context.reference(), "FailedMount", error.to_string());
                    self.retry = Some(Instant::now() + RETRY);
                    return;
                }
            }
        }
        let policy = restart_policy(pod);
        for init in status::inits(pod) {
            let sidecar = status::is_sidecar(&init);
            let restart = match policy {
                _ if sidecar => Restart::Always,
                Restart::Never => Restart::Never,
                _ => Restart::OnFailure,
            };
            let name = init.name.clone();
            self.ensure_started(init, restart);
            let view = self.views.get(&name);
            let passed = view.is_some_and(|view| match &view.state {
                State::Ended(ended) => ended.code == 0,
                State::Running { .. } => sidecar && view.started,
                State::Waiting { .. } => false,
            });
            if !passed {
                return;
            }
        }
        for container in status::mains(pod) {
            self.ensure_started(container, policy);
        }
        for container in status::ephemerals(pod) {
            self.ensure_started(container, Restart::Never);
        }
    }

    fn ensure_started(&mut self, container: Container, restart: Restart) {
        let Some(view) = self.views.get(&container.name) else { return };
        let over = matches!(view.state, State::Ended(_));
        if over || self.stops.contains_key(&container.name) {
            return;
        }
        let (stop, stopped) = watch::channel(None);
        let name = container.name.clone();
        let life = Lifecycle {
            pod: Arc::clone(&self.context),
            container,
            restart,
            stop: stopped,
            reports: self.reporting.clone(),
            view: view.clone(),
        };
        self.stops.insert(name.clone(), stop);
        self.tasks.spawn(async move {
            life.run().await;
            name
        });
    }

    /// Writes the files that are the pod's rather than a volume's.
    fn prepare(&self, pod: &Pod) -> bool {
        if !self.real {
            return true;
        }
        let context = &self.context;
        let written = fs::create_dir_all(&context.directory).and_then(|()| {
            fs::write(context.directory.join("hosts"), super::launch::hosts_file(pod, context.ip))?;
            match context.kubeconfig() {
                Some(kubeconfig) => fs::write(context.directory.join("kubeconfig"), kubeconfig),
                None => Ok(()),
            }
        });
        if let Err(error) = &written {
            tracing::warn!(%error, pod = pod.name_any(), "pod directory not written");
        }
        written.is_ok()
    }

    /// Brings the volumes of running containers up to date.
    async fn refresh(&mut self) {
        self.retry = None;
        if self.finished || !self.mounted_ok || !self.real {
            return;
        }
        if let Err(error) = self.mounted.sync(&self.context, true).await {
            // The containers keep what they have, as with a kubelet.
            tracing::debug!(%error, pod = self.context.pod().name_any(), "volumes not refreshed");
        }
    }

    fn take_report(&mut self, name: String, view: View) {
        self.views.insert(name, view);
    }

    fn fail(&mut self, reason: &str, message: &str) {
        self.failure.get_or_insert_with(|| Failure { reason: reason.into(), message: message.into() });
    }

    /// Ends a pod whose containers have all ended, or that has failed as a whole.
    async fn conclude(&mut self) {
        if self.finished {
            return;
        }
        let pod = self.context.pod();
        let phase = self.compute(&pod).phase;
        if !status::is_terminal(phase.as_deref()) {
            return;
        }
        self.stop_all(Duration::from_secs(grace_seconds(&pod))).await;
        self.finished = true;
        self.publish();
    }

    fn compute(&self, pod: &Pod) -> PodStatus {
        let observed = Observed {
            views: &self.views,
            ip: self.mounted_ok.then_some(self.context.ip),
            host_ip: self.context.node.address,
            started: self.started,
            sandboxed: self.mounted_ok,
            failure: self.failure.as_ref(),
            finished: self.finished,
            reported: &self.reported,
        };
        status::compute(pod, &observed, events::now())
    }

    fn publish(&mut self) {
        let status = self.compute(&self.context.pod());
        self.reported = status.conditions.clone().unwrap_or_default();
        let simulated = self.views.values().any(|view| view.simulated);
        self.reporter.report(status, simulated);
    }
}

fn all_containers(pod: &Pod) -> Vec<Container> {
    let mut all = status::inits(pod);
    all.extend(status::mains(pod));
    all.extend(status::ephemerals(pod));
    all
}

fn restart_policy(pod: &Pod) -> Restart {
    match pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) {
        Some("Never") => Restart::Never,
        Some("OnFailure") => Restart::OnFailure,
        _ => Restart::Always,
    }
}

/// How long the pod's containers may take to end.
fn grace_seconds(pod: &Pod) -> u64 {
    let spec = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    pod.metadata.deletion_grace_period_seconds.or(spec).unwrap_or(30).unsigned_abs()
}

/// The grace from `began` on that the object asks for by now.
fn remaining(pod: &Pod, began: Instant) -> Duration {
    let until = began + Duration::from_secs(grace_seconds(pod));
    until.saturating_duration_since(began)
}

/// The view of a container that an earlier node has left in the status: its process is gone by now, so it
/// counts as ended and as restarted.
fn earlier(pod: &Pod, container: &Container, simulated: bool) -> Option<View> {
    let status = pod.status.as_ref()?;
    let lists =
        [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    let mut known = lists.into_iter().flatten().flatten();
    let old = known.find(|status| status.name == container.name)?;
    let state = old.state.as_ref()?;
    let mut view = View::waiting("ContainerCreating", simulated);
    view.restarts = old.restart_count;
    if let Some(terminated) = &state.terminated {
        let time = |time: &Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| {
            time.as_ref().map_or_else(events::now, |time| time.0)
        };
        view.state = State::Ended(Ended {
            code: terminated.exit_code,
            signal: terminated.signal,
            reason: terminated.reason.clone(),
            message: terminated.message.clone(),
            started: time(&terminated.started_at),
            finished: time(&terminated.finished_at),
        });
    } else if let Some(running) = &state.running {
        view.restarts += 1;
        view.last = Some(Ended {
            code: 255,
            signal: None,
            reason: Some("Unknown".into()),
            message: None,
            started: running.started_at.as_ref().map_or_else(events::now, |time| time.0),
            finished: events::now(),
        });
    }
    Some(view)
}

fn never_ran() -> Ended {
    let now = events::now();
    Ended {
        code: 137,
        signal: None,
        reason: Some("ContainerStatusUnknown".into()),
        message: Some("The container could not be located when the pod was terminated".into()),
        started: now,
        finished: now,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
