//! What the machine has and is.

use std::{collections::BTreeMap, fs, path::Path};

use k8s_openapi::{api::core::v1::NodeSystemInfo, apimachinery::pkg::api::resource::Quantity};
use nix::sys::statvfs::statvfs;

/// The version of Kubernetes whose kubelet this node stands in for.
const KUBELET: &str = "v1.36.2";
/// How many pods the node takes. Simulated ones cost next to nothing.
const PODS: u32 = 1000;

/// The machine's resources. `data` is the directory whose file system pods write to.
pub(crate) fn capacity(data: &Path) -> BTreeMap<String, Quantity> {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory_kibibytes(&text));
    let disk = statvfs(data).map_or(0, |stat| stat.blocks() * stat.fragment_size() / 1024);
    BTreeMap::from(
        [
            ("cpu", cpus.to_string()),
            ("memory", format!("{}Ki", memory.unwrap_or(4 << 20))),
            ("ephemeral-storage", format!("{disk}Ki")),
            ("hugepages-2Mi", "0".to_owned()),
            ("pods", PODS.to_string()),
        ]
        .map(|(name, amount)| (name.to_owned(), Quantity(amount))),
    )
}

fn memory_kibibytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What the machine says of itself.
pub(crate) fn info() -> NodeSystemInfo {
    let line = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let release = line("/etc/os-release");
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let machine = line("/etc/machine-id");
    NodeSystemInfo {
        architecture: architecture().into(),
        boot_id: line("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: concat!("vkube-sandbox://", env!("CARGO_PKG_VERSION")).into(),
        kernel_version: line("/proc/sys/kernel/osrelease"),
        kube_proxy_version: String::new(),
        kubelet_version: KUBELET.into(),
        machine_id: machine.clone(),
        operating_system: "linux".into(),
        os_image: name.unwrap_or("Linux").trim_matches('"').into(),
        system_uuid: machine,
        ..NodeSystemInfo::default()
    }
}

/// The machine's architecture as Go names it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_memory_of_the_machine() {
        assert_eq!(memory_kibibytes("MemTotal:       24684092 kB\nMemFree: 1 kB\n"), Some(24_684_092));
        assert_eq!(memory_kibibytes("nothing"), None);
    }
}
