//! A pod's status as a kubelet reports it: a pure function of the spec and what the containers do.

use std::{collections::BTreeMap, net::IpAddr};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus, VolumeMountStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

/// What a container does at the moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    /// It does not run, for a reason.
    Waiting {
        /// The reason, such as `ContainerCreating` or `CrashLoopBackOff`.
        reason: String,
        /// More, if there is more to say.
        message: Option<String>,
    },
    /// It runs.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// It ended and will not be started again.
    Ended(Ended),
}

/// A run of a container that ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ended {
    /// The exit code; 128 and more for signals.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// A reason other than `Completed` and `Error`.
    pub reason: Option<String>,
    /// What the container left as its last words.
    pub message: Option<String>,
    /// When it was started.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
}

/// All that is to be reported of a container.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    /// What it does.
    pub state: State,
    /// How its run before this one ended.
    pub last: Option<Ended>,
    /// How often it was started again.
    pub restarts: i32,
    /// Whether its readiness probe is content.
    pub ready: bool,
    /// Whether its startup probe is content.
    pub started: bool,
    /// The id of its current or last run.
    pub id: Option<String>,
    /// Whether it is only simulated.
    pub simulated: bool,
}

impl View {
    /// A container that has yet to be started.
    pub fn waiting(reason: &str, simulated: bool) -> Self {
        Self {
            state: State::Waiting { reason: reason.into(), message: None },
            last: None,
            restarts: 0,
            ready: false,
            started: false,
            id: None,
            simulated,
        }
    }

    /// How its last run ended, if it does not run.
    fn ended(&self) -> Option<&Ended> {
        match &self.state {
            State::Ended(ended) => Some(ended),
            State::Waiting { .. } => self.last.as_ref(),
            State::Running { .. } => None,
        }
    }
}

/// What the node knows of a pod beside its object.
#[derive(Clone, Debug)]
pub(crate) struct Observed<'a> {
    /// The containers by name, init and ephemeral ones included.
    pub views: &'a BTreeMap<String, View>,
    /// The pod's address, once it has one.
    pub ip: Option<IpAddr>,
    /// The node's address.
    pub host_ip: IpAddr,
    /// When the node took the pod.
    pub started: Timestamp,
    /// Whether the pod's directories and volumes are there.
    pub sandboxed: bool,
    /// A verdict of the node on the whole pod, such as `DeadlineExceeded`.
    pub failure: Option<&'a Failure>,
    /// Whether all containers have been stopped for good.
    pub finished: bool,
    /// The conditions reported last, which the object may not show yet.
    pub reported: &'a [PodCondition],
}

/// Why the node ended a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The reason.
    pub reason: String,
    /// The message.
    pub message: String,
}

/// The status to report. Conditions keep their transition time while their status stays.
pub(crate) fn compute(pod: &Pod, observed: &Observed<'_>, now: Timestamp) -> PodStatus {
    let phase = phase(pod, observed);
    let ips = |ip: IpAddr| vec![PodIP { ip: ip.to_string() }];
    PodStatus {
        phase: Some(phase.into()),
        reason: observed.failure.map(|failure| failure.reason.clone()),
        message: observed.failure.map(|failure| failure.message.clone()),
        conditions: Some(conditions(pod, observed, phase, now)),
        host_ip: Some(observed.host_ip.to_string()),
        host_ips: Some(vec![HostIP { ip: observed.host_ip.to_string() }]),
        pod_ip: observed.ip.map(|ip| ip.to_string()),
        pod_ips: observed.ip.map(ips),
        start_time: Some(Time(observed.started)),
        observed_generation: pod.metadata.generation,
        init_container_statuses: statuses(&inits(pod), observed.views),
        container_statuses: statuses(&mains(pod), observed.views),
        ephemeral_container_statuses: statuses(&ephemerals(pod), observed.views),
        ..PodStatus::default()
    }
}

/// The pod's init containers.
pub(crate) fn inits(pod: &Pod) -> Vec<Container> {
    pod.spec.as_ref().and_then(|spec| spec.init_containers.clone()).unwrap_or_default()
}

/// The pod's ordinary containers.
pub(crate) fn mains(pod: &Pod) -> Vec<Container> {
    pod.spec.as_ref().map(|spec| spec.containers.clone()).unwrap_or_default()
}

/// The pod's ephemeral containers, in the form of ordinary ones.
pub(crate) fn ephemerals(pod: &Pod) -> Vec<Container> {
    let all = pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    all.map(|container| Container {
        name: container.name.clone(),
        image: container.image.clone(),
        command: container.command.clone(),
        args: container.args.clone(),
        env: container.env.clone(),
        env_from: container.env_from.clone(),
        volume_mounts: container.volume_mounts.clone(),
        working_dir: container.working_dir.clone(),
        stdin: container.stdin,
        stdin_once: container.stdin_once,
        tty: container.tty,
        ..Container::default()
    })
    .collect()
}

/// Whether an init container goes on beside the ordinary ones.
pub(crate) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn phase(pod: &Pod, observed: &Observed<'_>) -> &'static str {
    if observed.failure.is_some() {
        return "Failed";
    }
    let restart = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always");
    let view = |container: &Container| observed.views.get(&container.name);
    let inits = inits(pod);
    for init in inits.iter().filter(|init| !is_sidecar(init)) {
        match view(init).map(|view| &view.state) {
            Some(State::Ended(ended)) if ended.code == 0 => {}
            Some(State::Ended(_)) if restart == "Never" => return "Failed",
            _ if observed.finished => return "Failed",
            _ => return "Pending",
        }
    }

    let mains = mains(pod);
    let (mut running, mut waiting, mut stopped, mut succeeded) = (0, 0, 0, 0);
    for view in mains.iter().map(view) {
        match view.map(|view| (view, view.ended())) {
            Some((_, Some(ended))) => {
                stopped += 1;
                succeeded += i32::from(ended.code == 0);
            }
            Some((View { state: State::Running { .. }, .. }, None)) => running += 1,
            _ => waiting += 1,
        }
    }
    let all_succeeded = stopped == succeeded;
    if observed.finished {
        return if waiting == 0 && all_succeeded { "Succeeded" } else { "Failed" };
    }
    if waiting > 0 {
        return "Pending";
    }
    match (running, restart) {
        (1.., _) | (_, "Always") => "Running",
        _ if all_succeeded => "Succeeded",
        (_, "Never") => "Failed",
        _ => "Running",
    }
}

/// Whether a phase is final.
pub(crate) fn is_terminal(phase: Option<&str>) -> bool {
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn conditions(pod: &Pod, observed: &Observed<'_>, phase: &str, now: Timestamp) -> Vec<PodCondition> {
    let old = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let mut conditions: Vec<PodCondition> = Vec::new();
    let mut set = |type_: &str, verdict: Result<(), (&str, String)>, reason: Option<&str>| {
        let status = if verdict.is_ok() { "True" } else { "False" };
        let mut known = observed.reported.iter().chain(old).filter(|condition| condition.type_ == type_);
        let before = known.next().filter(|condition| condition.status == status);
        let since = before.and_then(|condition| condition.last_transition_time.clone());
        let (reason, message) = match verdict {
            Ok(()) => (reason.map(Into::into), None),
            Err((reason, message)) => {
                let given = |text: String| Some(text).filter(|text| !text.is_empty());
                (given(reason.to_owned()), given(message))
            }
        };
        conditions.push(PodCondition {
            type_: type_.into(),
            status: status.into(),
            reason,
            message,
            last_transition_time: since.or(Some(Time(now))),
            observed_generation: pod.metadata.generation,
            ..PodCondition::default()
        });
    };

    let sandboxed = observed.sandboxed && !observed.finished && !is_terminal(Some(phase));
    set("PodReadyToStartContainers", sandboxed.then_some(()).ok_or(("", String::new())), None);
    let initialized = initialized(pod, observed);
    let completed = phase == "Succeeded";
    set("Initialized", initialized, completed.then_some("PodCompleted"));
    let containers = containers_ready(pod, observed, phase);
    let gates = match &containers {
        Ok(()) => gates_open(pod, old),
        Err(error) => Err(error.clone()),
    };
    set("Ready", gates, None);
    set("ContainersReady", containers, None);
    set("PodScheduled", Ok(()), None);
    conditions
}

fn initialized(pod: &Pod, observed: &Observed<'_>) -> Result<(), (&'static str, String)> {
    let done = |container: &&Container| {
        let view = observed.views.get(&container.name);
        view.is_some_and(|view| match &view.state {
            State::Ended(ended) => ended.code == 0,
            _ => is_sidecar(container) && view.started,
        })
    };
    let inits = inits(pod);
    let names: Vec<_> = inits.iter().filter(|init| !done(init)).map(|init| &*init.name).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(("ContainersNotInitialized", format!("containers with incomplete status: [{}]", names.join(" "))))
}

fn containers_ready(pod: &Pod, observed: &Observed<'_>, phase: &str) -> Result<(), (&'static str, String)> {
    match phase {
        "Succeeded" => return Err(("PodCompleted", String::new())),
        "Failed" => return Err(("PodFailed", String::new())),
        _ => {}
    }
    let sidecars = inits(pod).into_iter().filter(is_sidecar);
    let unready = |container: &Container| {
        let view = observed.views.get(&container.name);
        !view.is_some_and(|view| view.ready && matches!(view.state, State::Running { .. }))
    };
    let names: Vec<_> = sidecars.chain(mains(pod)).filter(unready).map(|container| container.name).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(("ContainersNotReady", format!("containers with unready status: [{}]", names.join(" "))))
}

fn gates_open(pod: &Pod, conditions: &[PodCondition]) -> Result<(), (&'static str, String)> {
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let mut closed = Vec::new();
    for gate in gates {
        let name = &gate.condition_type;
        match conditions.iter().find(|condition| condition.type_ == *name) {
            None => closed
                .push(format!("corresponding condition of pod readiness gate \"{name}\" does not exist.")),
            Some(condition) if condition.status != "True" => closed.push(format!(
                "the status of pod readiness gate \"{name}\" is not \"True\", but {}",
                condition.status
            )),
            Some(_) => {}
        }
    }
    if closed.is_empty() { Ok(()) } else { Err(("ReadinessGatesNotReady", closed.join(", "))) }
}

fn statuses(containers: &[Container], views: &BTreeMap<String, View>) -> Option<Vec<ContainerStatus>> {
    let statuses: Vec<_> = containers
        .iter()
        .filter_map(|container| views.get(&container.name).map(|view| status(container, view)))
        .collect();
    Some(statuses).filter(|statuses| !statuses.is_empty())
}

fn status(container: &Container, view: &View) -> ContainerStatus {
    let image = container.image.clone().unwrap_or_default();
    let mounts = container.volume_mounts.iter().flatten().map(|mount| VolumeMountStatus {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        read_only: mount.read_only,
        recursive_read_only: mount.read_only.filter(|only| *only).map(|_| "Disabled".to_owned()),
        ..VolumeMountStatus::default()
    });
    let mounts: Vec<_> = mounts.collect();
    let started = matches!(view.state, State::Running { .. }) && view.started;
    let image_id = match &view.id {
        Some(_) if view.simulated => format!("simulated://{image}"),
        Some(_) => format!("process://{image}"),
        None => String::new(),
    };
    ContainerStatus {
        name: container.name.clone(),
        image_id,
        image,
        container_id: view.id.as_ref().map(|id| format!("sandbox://{id}")),
        ready: view.ready && !matches!(view.state, State::Waiting { .. }),
        started: Some(started),
        restart_count: view.restarts,
        state: Some(state(&view.state, view)),
        last_state: view.last.as_ref().map(|ended| ContainerState {
            terminated: Some(terminated(ended, view)),
            ..ContainerState::default()
        }),
        resources: container.resources.clone(),
        allocated_resources: container.resources.as_ref().and_then(|resources| resources.requests.clone()),
        volume_mounts: Some(mounts).filter(|mounts| !mounts.is_empty()),
        ..ContainerStatus::default()
    }
}

fn state(state: &State, view: &View) -> ContainerState {
    let mut out = ContainerState::default();
    match state {
        State::Waiting { reason, message } => {
            let (reason, message) = (Some(reason.clone()), message.clone());
            out.waiting = Some(ContainerStateWaiting { reason, message });
        }
        State::Running { since } => {
            out.running = Some(ContainerStateRunning { started_at: Some(Time(*since)) });
        }
        State::Ended(ended) => out.terminated = Some(terminated(ended, view)),
    }
    out
}

fn terminated(ended: &Ended, view: &View) -> ContainerStateTerminated {
    let usual = if ended.code == 0 { "Completed" } else { "Error" };
    ContainerStateTerminated {
        exit_code: ended.code,
        signal: ended.signal,
        reason: Some(ended.reason.clone().unwrap_or_else(|| usual.into())),
        message: ended.message.clone(),
        started_at: Some(Time(ended.started)),
        finished_at: Some(Time(ended.finished)),
        container_id: view.id.as_ref().map(|id| format!("sandbox://{id}")),
    }
}

#[cfg(test)]
mod tests;
