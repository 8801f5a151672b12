//! What `kubectl get pods` shows of a pod.

use jiff::Timestamp;
use serde_json::Value;

use super::is_true;
use crate::registry::access::{bool_at, get, has, int_at, list_at, named, str_at};
use crate::registry::core::pod_spec::is_sidecar;
use crate::table::{age, human_duration, name, text_or, time_at};

/// The cells of its row.
pub fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let summary = Summary::of(pod);
    let restarts = match summary.last_restart {
        Some(time) if summary.restarts != 0 => {
            let ago = human_duration(now.duration_since(time).as_secs());
            format!("{} ({ago} ago)", summary.restarts)
        }
        _ => summary.restarts.to_string(),
    };
    let address = list_at(pod, "/status/podIPs").first();
    vec![
        name(pod),
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.status.into(),
        restarts.into(),
        age(pod, now),
        address.map_or_else(|| "<none>".into(), |ip| text_or(ip, "/ip", "<none>")),
        text_or(pod, "/spec/nodeName", "<none>"),
        text_or(pod, "/status/nominatedNodeName", "<none>"),
        readiness_gates(pod).into(),
    ]
}

fn readiness_gates(pod: &Value) -> String {
    let gates = list_at(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return "<none>".into();
    }
    let passed = gates.iter().filter(|gate| is_true(pod, str_at(gate, "/conditionType"))).count();
    format!("{passed}/{}", gates.len())
}

/// What the containers' states add up to.
struct Summary {
    status: String,
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

impl Summary {
    fn of(pod: &Value) -> Self {
        let inits = list_at(pod, "/spec/initContainers");
        let sidecars = inits.iter().filter(|init| is_sidecar(init)).count();
        let mut summary = Self {
            status: pod_status(pod),
            ready: 0,
            total: list_at(pod, "/spec/containers").len() + sidecars,
            restarts: 0,
            last_restart: None,
        };
        let initializing = summary.count_init_containers(pod, inits);
        if !initializing || is_true(pod, "Initialized") {
            summary.restarts = 0;
            summary.last_restart = None;
            for state in list_at(pod, "/status/initContainerStatuses") {
                if named(inits, str_at(state, "/name")).is_some_and(is_sidecar) {
                    summary.count_restarts(state);
                }
            }
            summary.count_containers(pod);
        }
        if has(pod, "/metadata/deletionTimestamp") {
            if str_at(pod, "/status/reason") == "NodeLost" {
                summary.status = "Unknown".into();
            } else if !matches!(str_at(pod, "/status/phase"), "Succeeded" | "Failed") {
                summary.status = "Terminating".into();
            }
        }
        summary
    }

    /// Whether a container still initializes the pod.
    fn count_init_containers(&mut self, pod: &Value, inits: &[Value]) -> bool {
        for (done, container) in list_at(pod, "/status/initContainerStatuses").iter().enumerate() {
            self.count_restarts(container);
            let terminated = get(container, "/state/terminated");
            if terminated.is_some_and(|t| int_at(t, "/exitCode") == 0) {
                continue;
            }
            let sidecar = named(inits, str_at(container, "/name")).is_some_and(is_sidecar);
            if sidecar && bool_at(container, "/started") {
                self.ready += usize::from(bool_at(container, "/ready"));
                continue;
            }
            let waiting = str_at(container, "/state/waiting/reason");
            self.status = if let Some(terminated) = terminated {
                format!("Init:{}", ending(terminated))
            } else if !waiting.is_empty() && waiting != "PodInitializing" {
                format!("Init:{waiting}")
            } else {
                format!("Init:{done}/{}", inits.len())
            };
            return true;
        }
        false
    }

    fn count_containers(&mut self, pod: &Value) {
        let mut any_running = false;
        for container in list_at(pod, "/status/containerStatuses").iter().rev() {
            self.count_restarts(container);
            let waiting = str_at(container, "/state/waiting/reason");
            if !waiting.is_empty() {
                waiting.clone_into(&mut self.status);
            } else if let Some(terminated) = get(container, "/state/terminated") {
                self.status = ending(terminated);
            } else if bool_at(container, "/ready") && has(container, "/state/running") {
                any_running = true;
                self.ready += 1;
            }
        }
        if self.status == "Completed" && any_running {
            self.status = if is_true(pod, "Ready") { "Running" } else { "NotReady" }.into();
        }
    }

    fn count_restarts(&mut self, container: &Value) {
        self.restarts += int_at(container, "/restartCount");
        self.last_restart = self.last_restart.max(time_at(container, "/lastState/terminated/finishedAt"));
    }
}

fn pod_status(pod: &Value) -> String {
    let gated = list_at(pod, "/status/conditions").iter().any(|condition| {
        str_at(condition, "/type") == "PodScheduled" && str_at(condition, "/reason") == "SchedulingGated"
    });
    match str_at(pod, "/status/reason") {
        _ if gated => "SchedulingGated",
        "" => str_at(pod, "/status/phase"),
        reason => reason,
    }
    .to_owned()
}

fn ending(terminated: &Value) -> String {
    match (str_at(terminated, "/reason"), int_at(terminated, "/signal")) {
        ("", 0) => format!("ExitCode:{}", int_at(terminated, "/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}
