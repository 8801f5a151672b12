//! The checks of the levels. Each looks at a pod (or a template) and says what is wrong, in Kubernetes'
//! words: a reason, and in parentheses where.

use serde_json::Value;

use super::Level;
use crate::registry::access::{at, bool_at, entries, has, int_at, list_at, opt_str, str_at, strs_at};

/// A pod, taken apart for the checks.
struct Pod<'a> {
    whole: &'a Value,
    spec: &'a Value,
    containers: Vec<&'a Value>,
}

/// What is wrong: the reason, and where.
type Finding = Option<(String, String)>;

const BASELINE: &[fn(&Pod<'_>) -> Finding] = &[
    app_armor,
    baseline_capabilities,
    host_namespaces,
    host_paths,
    host_ports,
    host_probes,
    privileged,
    proc_mount,
    se_linux,
    baseline_seccomp,
    sysctls,
    windows_host_process,
];

/// `restricted` has its own, stricter forms of some checks of `baseline`.
const RESTRICTED: &[fn(&Pod<'_>) -> Finding] = &[
    app_armor,
    host_namespaces,
    host_ports,
    host_probes,
    privileged,
    proc_mount,
    se_linux,
    sysctls,
    windows_host_process,
    privilege_escalation,
    restricted_capabilities,
    restricted_volumes,
    run_as_non_root,
    run_as_user,
    restricted_seccomp,
];

fn findings(pod: &Value, level: Level) -> impl Iterator<Item = (String, String)> {
    let checks = match level {
        Level::Privileged => &[],
        Level::Baseline => BASELINE,
        Level::Restricted => RESTRICTED,
    };
    let spec = at(pod, "/spec");
    let containers = ["/initContainers", "/containers", "/ephemeralContainers"]
        .iter()
        .flat_map(|list| list_at(spec, list))
        .collect();
    let pod = Pod { whole: pod, spec, containers };
    checks.iter().filter_map(move |check| check(&pod))
}

/// All that a pod does which the level forbids: `reason (where)`.
pub fn violations(pod: &Value, level: Level) -> Vec<String> {
    findings(pod, level).map(|(reason, place)| format!("{reason} ({place})")).collect()
}

/// The reasons alone.
pub fn reasons(pod: &Value, level: Level) -> Vec<String> {
    findings(pod, level).map(|(reason, _)| reason).collect()
}

impl<'a> Pod<'a> {
    fn named(&self, wrong: impl Fn(&Value) -> bool) -> Vec<&'a str> {
        self.containers.iter().filter(|c| wrong(c)).map(|c| str_at(c, "/name")).collect()
    }

    /// Those who do something wrong: `pod and container "a"`.
    fn culprits(&self, wrong: impl Fn(&Value) -> bool) -> Option<String> {
        let mut culprits = Vec::new();
        if wrong(at(self.spec, "/securityContext")) {
            culprits.push("pod".to_owned());
        }
        let names = self.named(|c| wrong(at(c, "/securityContext")));
        if !names.is_empty() {
            culprits.push(containers(&names));
        }
        (!culprits.is_empty()).then(|| culprits.join(" and "))
    }

    fn is_windows(&self) -> bool {
        str_at(self.spec, "/os/name") == "windows"
    }
}

fn plural<'t>(names: &[&str], one: &'t str, many: &'t str) -> &'t str {
    if names.len() == 1 { one } else { many }
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|n| format!("{n:?}")).collect::<Vec<_>>().join(", ")
}

fn containers(names: &[&str]) -> String {
    format!("{} {}", plural(names, "container", "containers"), quoted(names))
}

/// The distinct items, sorted.
fn distinct(items: impl Iterator<Item = String>) -> Vec<String> {
    let mut items: Vec<String> = items.collect();
    items.sort();
    items.dedup();
    items
}

fn refs(items: &[String]) -> Vec<&str> {
    items.iter().map(String::as_str).collect()
}

fn finding(reason: &str, place: impl Into<Option<String>>) -> Finding {
    Some((reason.to_owned(), place.into()?))
}

fn app_armor(pod: &Pod<'_>) -> Finding {
    const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
    let bad = |value: &Value| {
        opt_str(value, "/appArmorProfile/type").is_some_and(|t| !matches!(t, "RuntimeDefault" | "Localhost"))
    };
    let mut places = Vec::new();
    if let Some(culprits) = pod.culprits(bad) {
        let kind =
            |value: &Value| opt_str(value, "/securityContext/appArmorProfile/type").map(ToOwned::to_owned);
        let kinds =
            pod.containers.iter().copied().chain([pod.spec]).filter(|v| bad(at(v, "/securityContext")));
        let kinds = distinct(kinds.filter_map(kind));
        places.push(format!("{culprits} must not set AppArmor profile type to {}", quoted(&refs(&kinds))));
    }
    let annotated = distinct(entries(pod.whole, "/metadata/annotations").filter_map(|(name, value)| {
        let value = value.as_str()?;
        let good = value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
        (name.starts_with(PREFIX) && !good).then(|| format!("{name}={value:?}"))
    }));
    if !annotated.is_empty() {
        let refs = refs(&annotated);
        places.push(format!("{} {}", plural(&refs, "annotation", "annotations"), annotated.join(", ")));
    }
    let reason = if places.len() > 1 { "forbidden AppArmor profiles" } else { "forbidden AppArmor profile" };
    if places.is_empty() { None } else { finding(reason, places.join("; ")) }
}

/// The capabilities beyond `allowed` that containers add.
fn added(pod: &Pod<'_>, allowed: &[&str]) -> Option<String> {
    let own = |c: &Value| -> Vec<String> {
        strs_at(c, "/securityContext/capabilities/add")
            .filter(|name| !allowed.contains(name))
            .map(Into::into)
            .collect()
    };
    let names = pod.named(|c| !own(c).is_empty());
    if names.is_empty() {
        return None;
    }
    let forbidden = distinct(pod.containers.iter().flat_map(|c| own(c)));
    Some(format!(
        "{} must not include {} in securityContext.capabilities.add",
        containers(&names),
        quoted(&refs(&forbidden))
    ))
}

fn baseline_capabilities(pod: &Pod<'_>) -> Finding {
    const DEFAULT: &[&str] = &[
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ];
    finding("non-default capabilities", added(pod, DEFAULT))
}

fn restricted_capabilities(pod: &Pod<'_>) -> Finding {
    if pod.is_windows() {
        return None;
    }
    let mut places = Vec::new();
    let keeping = pod.named(|c| !strs_at(c, "/securityContext/capabilities/drop").any(|name| name == "ALL"));
    if !keeping.is_empty() {
        let who = containers(&keeping);
        places.push(format!("{who} must set securityContext.capabilities.drop=[\"ALL\"]"));
    }
    places.extend(added(pod, &["NET_BIND_SERVICE"]));
    if places.is_empty() { None } else { finding("unrestricted capabilities", places.join("; ")) }
}

fn host_namespaces(pod: &Pod<'_>) -> Finding {
    let shared: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .iter()
        .filter(|field| bool_at(pod.spec, &format!("/{field}")))
        .map(|field| format!("{field}=true"))
        .collect();
    if shared.is_empty() { None } else { finding("host namespaces", shared.join(", ")) }
}

fn host_paths(pod: &Pod<'_>) -> Finding {
    let volumes = list_at(pod.spec, "/volumes").iter().filter(|v| has(v, "/hostPath"));
    let names: Vec<&str> = volumes.map(|v| str_at(v, "/name")).collect();
    if names.is_empty() {
        return None;
    }
    finding("hostPath volumes", format!("{} {}", plural(&names, "volume", "volumes"), quoted(&names)))
}

fn host_ports(pod: &Pod<'_>) -> Finding {
    let ports = |c: &Value| -> Vec<i64> {
        list_at(c, "/ports").iter().map(|p| int_at(p, "/hostPort")).filter(|p| *p != 0).collect()
    };
    let names = pod.named(|c| !ports(c).is_empty());
    if names.is_empty() {
        return None;
    }
    let mut all: Vec<i64> = pod.containers.iter().flat_map(|c| ports(c)).collect();
    all.sort_unstable();
    all.dedup();
    let shown: Vec<String> = all.iter().map(ToString::to_string).collect();
    let ports = if all.len() == 1 { "hostPort" } else { "hostPorts" };
    let uses = plural(&names, "uses", "use");
    finding("hostPort", format!("{} {uses} {ports} {}", containers(&names), shown.join(", ")))
}

fn host_probes(pod: &Pod<'_>) -> Finding {
    const ACTIONS: &[&str] =
        &["/livenessProbe", "/readinessProbe", "/startupProbe", "/lifecycle/postStart", "/lifecycle/preStop"];
    let hosts = |c: &Value| -> Vec<String> {
        let host = |action: &str, form: &str| str_at(c, &format!("{action}/{form}/host")).to_owned();
        let all = ACTIONS.iter().flat_map(|action| [host(action, "httpGet"), host(action, "tcpSocket")]);
        all.filter(|host| !host.is_empty()).collect()
    };
    let names = pod.named(|c| !hosts(c).is_empty());
    if names.is_empty() {
        return None;
    }
    let all = distinct(pod.containers.iter().flat_map(|c| hosts(c)));
    let refs = refs(&all);
    let word = plural(&refs, "probe or lifecycle host", "probe or lifecycle hosts");
    let uses = plural(&names, "uses", "use");
    finding(word, format!("{} {uses} {word} {}", containers(&names), quoted(&refs)))
}

fn privileged(pod: &Pod<'_>) -> Finding {
    let names = pod.named(|c| bool_at(c, "/securityContext/privileged"));
    if names.is_empty() {
        return None;
    }
    finding("privileged", format!("{} must not set securityContext.privileged=true", containers(&names)))
}

fn proc_mount(pod: &Pod<'_>) -> Finding {
    // In a user namespace of its own the container cannot do harm by this.
    if at(pod.spec, "/hostUsers").as_bool() == Some(false) {
        return None;
    }
    let kind = |c: &Value| {
        opt_str(c, "/securityContext/procMount").filter(|k| *k != "Default").map(ToOwned::to_owned)
    };
    let names = pod.named(|c| kind(c).is_some());
    if names.is_empty() {
        return None;
    }
    let kinds = distinct(pod.containers.iter().filter_map(|c| kind(c)));
    let place =
        format!("{} must not set securityContext.procMount to {}", containers(&names), quoted(&refs(&kinds)));
    finding("procMount", place)
}

fn se_linux(pod: &Pod<'_>) -> Finding {
    const TYPES: &[&str] = &["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
    let kind = |context: &Value| {
        let kind = str_at(context, "/seLinuxOptions/type");
        (!TYPES.contains(&kind)).then(|| kind.to_owned())
    };
    let sets =
        |context: &Value, field: &str| !str_at(context, &format!("/seLinuxOptions/{field}")).is_empty();
    let culprits = pod.culprits(|c| kind(c).is_some() || sets(c, "user") || sets(c, "role"))?;
    let contexts: Vec<&Value> =
        pod.containers.iter().copied().chain([pod.spec]).map(|v| at(v, "/securityContext")).collect();
    let mut wrong = Vec::new();
    let kinds = distinct(contexts.iter().filter_map(|c| kind(c)));
    if !kinds.is_empty() {
        let refs = refs(&kinds);
        wrong.push(format!("{} {}", plural(&refs, "type", "types"), quoted(&refs)));
    }
    for field in ["user", "role"] {
        if contexts.iter().any(|c| sets(c, field)) {
            wrong.push(format!("{field} may not be set"));
        }
    }
    finding(
        "seLinuxOptions",
        format!("{culprits} set forbidden securityContext.seLinuxOptions: {}", wrong.join("; ")),
    )
}

fn bad_seccomp(pod: &Pod<'_>) -> Option<String> {
    let bad = |context: &Value| {
        opt_str(context, "/seccompProfile/type").is_some_and(|t| !matches!(t, "RuntimeDefault" | "Localhost"))
    };
    let culprits = pod.culprits(bad)?;
    let kinds = pod.containers.iter().copied().chain([pod.spec]).map(|v| at(v, "/securityContext"));
    let kinds = distinct(kinds.filter(|c| bad(c)).map(|c| str_at(c, "/seccompProfile/type").to_owned()));
    Some(format!("{culprits} must not set securityContext.seccompProfile.type to {}", quoted(&refs(&kinds))))
}

fn baseline_seccomp(pod: &Pod<'_>) -> Finding {
    finding("seccompProfile", bad_seccomp(pod))
}

fn restricted_seccomp(pod: &Pod<'_>) -> Finding {
    if pod.is_windows() {
        return None;
    }
    if let Some(bad) = bad_seccomp(pod) {
        return finding("seccompProfile", bad);
    }
    if has(pod.spec, "/securityContext/seccompProfile/type") {
        return None;
    }
    let names = pod.named(|c| !has(c, "/securityContext/seccompProfile/type"));
    if names.is_empty() {
        return None;
    }
    let who = containers(&names);
    finding(
        "seccompProfile",
        format!(
            "pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\""
        ),
    )
}

fn sysctls(pod: &Pod<'_>) -> Finding {
    const SAFE: &[&str] = &[
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    ];
    let names = list_at(pod.spec, "/securityContext/sysctls").iter().map(|s| str_at(s, "/name"));
    let forbidden: Vec<&str> = names.filter(|name| !SAFE.contains(name)).collect();
    if forbidden.is_empty() { None } else { finding("forbidden sysctls", forbidden.join(", ")) }
}

fn windows_host_process(pod: &Pod<'_>) -> Finding {
    let culprits = pod.culprits(|context| bool_at(context, "/windowsOptions/hostProcess"))?;
    finding("hostProcess", format!("{culprits} must not set securityContext.windowsOptions.hostProcess=true"))
}

fn privilege_escalation(pod: &Pod<'_>) -> Finding {
    if pod.is_windows() {
        return None;
    }
    let names = pod.named(|c| at(c, "/securityContext/allowPrivilegeEscalation").as_bool() != Some(false));
    if names.is_empty() {
        return None;
    }
    finding(
        "allowPrivilegeEscalation != false",
        format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&names)),
    )
}

fn restricted_volumes(pod: &Pod<'_>) -> Finding {
    const ALLOWED: &[&str] = &[
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    let source = |volume: &Value| {
        let mut sources =
            volume.as_object().into_iter().flatten().filter(|(k, v)| *k != "name" && !v.is_null());
        sources.next().map(|(kind, _)| kind.clone()).filter(|kind| !ALLOWED.contains(&kind.as_str()))
    };
    let bad: Vec<(&str, String)> = list_at(pod.spec, "/volumes")
        .iter()
        .filter_map(|volume| Some((str_at(volume, "/name"), source(volume)?)))
        .collect();
    if bad.is_empty() {
        return None;
    }
    let names: Vec<&str> = bad.iter().map(|(name, _)| *name).collect();
    let kinds = distinct(bad.iter().map(|(_, kind)| kind.clone()));
    let refs = refs(&kinds);
    let place = format!(
        "{} {} {} restricted volume {} {}",
        plural(&names, "volume", "volumes"),
        quoted(&names),
        plural(&names, "uses", "use"),
        plural(&refs, "type", "types"),
        quoted(&refs)
    );
    finding("restricted volume types", place)
}

fn run_as_non_root(pod: &Pod<'_>) -> Finding {
    let says = |value: &Value| at(value, "/securityContext/runAsNonRoot").as_bool();
    let mut places = Vec::new();
    if says(pod.spec) == Some(false) {
        places.push("pod must not set securityContext.runAsNonRoot=false".to_owned());
    }
    let bad = pod.named(|c| says(c) == Some(false));
    if !bad.is_empty() {
        places.push(format!("{} must not set securityContext.runAsNonRoot=false", containers(&bad)));
    }
    if places.is_empty() && says(pod.spec) != Some(true) {
        let silent = pod.named(|c| says(c).is_none());
        if !silent.is_empty() {
            places.push(format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&silent)));
        }
    }
    if places.is_empty() { None } else { finding("runAsNonRoot != true", places.join("; ")) }
}

fn run_as_user(pod: &Pod<'_>) -> Finding {
    let culprits = pod.culprits(|context| at(context, "/runAsUser").as_i64() == Some(0))?;
    finding("runAsUser=0", format!("{culprits} must not set runAsUser=0"))
}
