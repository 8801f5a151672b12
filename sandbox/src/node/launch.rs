//! From a container to the process that is started for it: a pure decision.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};
use kube::ResourceExt;

use super::{env, process::Launch};
use crate::exec::{Mount, Place, Root};

/// The search path of a container whose environment has none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/";
/// Where a container leaves its last words unless it says otherwise.
const TERMINATION_LOG: &str = "/dev/termination-log";
/// Tells a process its pod's address, so that it can listen there alone: pods share the machine's network.
const POD_ADDRESS: &str = "POD_IP";

/// What the node has prepared for a pod.
#[derive(Clone, Debug)]
pub(crate) struct Prepared<'a> {
    /// The executable that vkube's image stands for.
    pub executable: &'a Path,
    /// Whether mounts of its own are possible.
    pub isolated: bool,
    /// The pod's directory.
    pub directory: &'a Path,
    /// The directories of the volumes, by name.
    pub volumes: &'a BTreeMap<String, PathBuf>,
    /// The pod's address.
    pub ip: IpAddr,
}

impl Prepared<'_> {
    /// Where the pod's own host file is.
    pub fn hosts(&self) -> PathBuf {
        self.directory.join("hosts")
    }

    /// Where a container's last words are.
    pub fn termination_log(&self, container: &str) -> PathBuf {
        self.directory.join("termination").join(container)
    }
}

/// What to start for a container of vkube's image with the resolved environment `env`.
pub(crate) fn plan(
    container: &Container,
    pod: &Pod,
    mut env: BTreeMap<String, String>,
    with: &Prepared<'_>,
) -> Launch {
    let mut argv = match container.command.as_deref() {
        Some([]) | None => vec!["vkube".to_owned()],
        Some(command) => command.to_vec(),
    };
    argv.extend(container.args.iter().flatten().cloned());
    for argument in &mut argv {
        *argument = env::expand(argument, &env);
    }

    let mounts = mounts(container, &env, with);
    let home = if with.isolated { "/" } else { "/tmp" };
    for (name, value) in [("PATH", PATH.to_owned()), ("HOSTNAME", hostname(pod)), ("HOME", home.into())] {
        env.entry(name.into()).or_insert(value);
    }
    for text in argv.iter_mut().skip(1).chain(env.values_mut()) {
        *text = narrow(text, with.ip);
    }
    env.entry(POD_ADDRESS.into()).or_insert_with(|| with.ip.to_string());

    let directory = container.working_dir.clone().filter(|directory| !directory.is_empty());
    let mut directory = directory.unwrap_or_else(|| "/".into());
    let place = if with.isolated {
        let security = container.security_context.as_ref();
        let read_only = security.and_then(|security| security.read_only_root_filesystem).unwrap_or(false);
        // Containers of a pod may start at once, and each builds a root of its own.
        let at = with.directory.join("roots").join(&container.name);
        Place::Own { root: Root { at, mounts, read_only }, hostname: hostname(pod) }
    } else {
        for text in argv.iter_mut().skip(1).chain(env.values_mut()).chain([&mut directory]) {
            *text = rewrite(text, &mounts);
        }
        Place::Machine
    };
    Launch {
        argv,
        env,
        directory: directory.into(),
        executable: with.executable.to_owned(),
        place,
        terminal: None,
    }
}

/// The pod's host name.
pub(crate) fn hostname(pod: &Pod) -> String {
    let given = pod.spec.as_ref().and_then(|spec| spec.hostname.clone());
    let mut name = given.unwrap_or_else(|| pod.name_any());
    name.truncate(63);
    name.trim_end_matches(['-', '.']).to_owned()
}

/// The pod's `/etc/hosts`.
pub(crate) fn hosts_file(pod: &Pod, ip: IpAddr) -> String {
    let mut text = format!("127.0.0.1\tlocalhost\n::1\tlocalhost\n{ip}\t{}\n", hostname(pod));
    for alias in pod.spec.iter().flat_map(|spec| spec.host_aliases.iter().flatten()) {
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        text.extend([alias.ip.as_str(), "\t", &names, "\n"]);
    }
    text
}

fn mounts(container: &Container, env: &BTreeMap<String, String>, with: &Prepared<'_>) -> Vec<Mount> {
    let volumes = container.volume_mounts.iter().flatten().filter_map(|mount| {
        let volume = with.volumes.get(&mount.name)?;
        let source = sub_path(mount, env).map_or_else(|| volume.clone(), |sub| volume.join(sub));
        let read_only = mount.read_only.unwrap_or(false);
        Some(Mount { source, target: PathBuf::from(&mount.mount_path), read_only })
    });
    let mut mounts: Vec<_> = volumes.collect();
    let mut add = |source: PathBuf, target: &str| {
        if !mounts.iter().any(|mount| mount.target == Path::new(target)) {
            mounts.push(Mount { source, target: target.into(), read_only: false });
        }
    };
    add(with.hosts(), "/etc/hosts");
    let last_words = container.termination_message_path.as_deref().unwrap_or(TERMINATION_LOG);
    add(with.termination_log(&container.name), last_words);
    mounts
}

fn sub_path(mount: &VolumeMount, env: &BTreeMap<String, String>) -> Option<String> {
    let expanded = mount.sub_path_expr.as_deref().map(|expression| env::expand(expression, env));
    expanded.or_else(|| mount.sub_path.clone()).filter(|path| !path.is_empty())
}

/// Turns "listen everywhere" into "listen at the pod's address": pods share the machine's network, and two
/// that listen on one port must not meet. Knows `0.0.0.0`, `[::]`, and an address that is only `:port`.
fn narrow(text: &str, ip: IpAddr) -> String {
    let ip = ip.to_string();
    let text = replace_token(text, "0.0.0.0", &ip);
    let text = replace_token(&text, "[::]", &ip);
    let (flag, value) = match text.split_once('=') {
        Some((flag, value)) => (format!("{flag}="), value),
        None => (String::new(), &*text),
    };
    let port = value
        .strip_prefix(':')
        .filter(|port| !port.is_empty() && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()));
    match port {
        Some(port) => format!("{flag}{ip}:{port}"),
        None => text,
    }
}

/// Replaces `token` where it stands alone: `0.0.0.0/0` and `10.0.0.0.0` are something else.
fn replace_token(text: &str, token: &str, by: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(token) {
        let (before, after) = (&rest[..at], &rest[at + token.len()..]);
        let joined = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '/');
        let alone = !before.ends_with(joined) || before.ends_with("//");
        out.push_str(before);
        out.push_str(if alone && !after.starts_with(joined) { by } else { token });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Replaces mount paths by the directories behind them, for processes without mounts of their own.
fn rewrite(text: &str, mounts: &[Mount]) -> String {
    let mut longest_first: Vec<_> = mounts.iter().collect();
    longest_first.sort_by_key(|mount| std::cmp::Reverse(mount.target.as_os_str().len()));
    let mut out = String::new();
    let mut rest = text;
    'text: while let Some(first) = rest.chars().next() {
        // A path starts where nothing that belongs to a path stands before it.
        let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
        let starts = first == '/' && (!out.ends_with(inside) || out.ends_with("//"));
        for mount in longest_first.iter().filter(|_| starts) {
            let target = mount.target.to_string_lossy();
            let after = rest.strip_prefix(target.trim_end_matches('/'));
            let whole = |after: &&str| {
                !after.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
            };
            if let Some(after) = after.filter(whole) {
                out.push_str(&mount.source.to_string_lossy());
                rest = after;
                continue 'text;
            }
        }
        out.push(first);
        rest = &rest[first.len_utf8()..];
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mk_launch(isolated: bool) -> Launch {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "plane-0", "namespace": "ns"},
            "spec": {"containers": [{
                "name": "c",
                "args": ["controlplane", "--data=/data/store", "--listen=0.0.0.0:$(PORT)", "--metrics=:8080"],
                "securityContext": {"readOnlyRootFilesystem": true},
                "volumeMounts": [
                    {"name": "data", "mountPath": "/data"},
                    {"name": "data", "mountPath": "/data/pki", "subPath": "pki", "readOnly": true},
                ],
            }]},
        }))
        .unwrap();
        let volumes = BTreeMap::from([("data".to_owned(), PathBuf::from("/host/vol"))]);
        let prepared = Prepared {
            executable: Path::new("/bin/vkube"),
            isolated,
            directory: Path::new("/host/pod"),
            volumes: &volumes,
            ip: "127.64.0.9".parse().unwrap(),
        };
        let env = BTreeMap::from([("PORT".into(), "8443".into()), ("CERT".into(), "/data/pki/x.crt".into())]);
        plan(&pod.spec.as_ref().unwrap().containers[0], &pod, env, &prepared)
    }

    #[test]
    fn an_isolated_process_sees_its_mounts_and_listens_at_its_address() {
        let launch = mk_launch(true);
        assert_eq!(
            launch.argv,
            [
                "vkube",
                "controlplane",
                "--data=/data/store",
                "--listen=127.64.0.9:8443",
                "--metrics=127.64.0.9:8080"
            ]
        );
        assert_eq!(launch.env["HOSTNAME"], "plane-0");
        assert_eq!(launch.env["POD_IP"], "127.64.0.9");
        let Place::Own { root, .. } = launch.place else { panic!("not isolated") };
        assert!(root.read_only);
        let pki = &root.mounts[1];
        assert_eq!((pki.source.to_str(), pki.read_only), (Some("/host/vol/pki"), true));
        assert!(root.mounts.iter().any(|mount| mount.target == Path::new("/etc/hosts")));
    }

    #[test]
    fn without_mounts_paths_lead_to_the_real_directories() {
        let launch = mk_launch(false);
        assert_eq!(launch.argv[2], "--data=/host/vol/store");
        assert_eq!(launch.env["CERT"], "/host/vol/pki/x.crt");
        assert!(matches!(launch.place, Place::Machine));
    }

    #[test]
    fn rewrites_whole_paths_only() {
        let mounts = [Mount { source: "/real".into(), target: "/data".into(), read_only: false }];
        for (text, expected) in [
            ("/data", "/real"),
            ("--x=/data/y,/data", "--x=/real/y,/real"),
            ("/database", "/database"),
            ("/var/data", "/var/data"),
            ("sqlite:///data/x", "sqlite:///real/x"),
        ] {
            assert_eq!(rewrite(text, &mounts), expected);
        }
    }

    #[test]
    fn narrows_addresses_that_mean_everywhere() {
        let ip = "127.64.0.9".parse().unwrap();
        for (text, expected) in [
            ("0.0.0.0:8443", "127.64.0.9:8443"),
            ("https://0.0.0.0:1", "https://127.64.0.9:1"),
            ("[::]:8443", "127.64.0.9:8443"),
            (":8443", "127.64.0.9:8443"),
            ("--cidr=0.0.0.0/0", "--cidr=0.0.0.0/0"),
            ("10.0.0.0.0", "10.0.0.0.0"),
            ("--x=:y", "--x=:y"),
        ] {
            assert_eq!(narrow(text, ip), expected);
        }
    }
}
