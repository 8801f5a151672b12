//! A sandbox for the length of a test program.

use std::{
    fs::{self, File},
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{
    binary,
    shell::{Shell, eventually},
};

/// A running sandbox. It stops when this is dropped.
pub struct Sandbox {
    /// A shell of the host's administrator.
    pub host: Shell,
    child: Child,
    directory: TempDir,
}

impl Sandbox {
    /// Starts one in a new directory and waits until it is ready.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A host without vkube.
    pub fn bare() -> Self {
        Self::start_with(&["--bare"])
    }

    fn start_with(flags: &[&str]) -> Self {
        let vkube = binary::vkube();
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("sandbox");
        let home = directory.path().join("home");
        fs::create_dir(&home).unwrap();
        let log = directory.path().join("log");
        let file = File::create(&log).unwrap();
        let mut child = Command::new(&vkube)
            .args(["-v", "sandbox", "start", "--data-dir"])
            .arg(&data)
            .args(["--listen", &format!("127.0.0.1:{}", free_port())])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        eventually("the sandbox is ready", || {
            let text = fs::read_to_string(&log).unwrap();
            match child.try_wait().unwrap() {
                Some(status) => panic!("the sandbox ended ({status}):\n{text}"),
                None if text.contains("The sandbox is ready") => Ok(()),
                None => Err(text),
            }
        });
        let path = vkube.parent().unwrap().to_path_buf();
        let host = Shell { kubeconfig: data.join("kubeconfig"), home, path };
        Self { host, child, directory }
    }

    /// The flag that names this sandbox to `vkube sandbox`.
    pub fn flag(&self) -> String {
        format!("--data-dir {}", self.directory.path().join("sandbox").display())
    }

    /// A shell of the administrator of a virtual cluster, by the kubeconfig that `vkube connect` prints.
    pub fn connect(&self, namespace: &str, name: &str) -> Shell {
        let kubeconfig = self.directory.path().join(format!("{namespace}.{name}.kubeconfig"));
        fs::write(&kubeconfig, self.host.ok(&format!("vkube connect {name} -n {namespace} --print")))
            .unwrap();
        self.host.with_kubeconfig(kubeconfig)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // It stops its pods' processes as it ends, which a kill would not let it do.
        let _ = self.host.run(&format!("vkube sandbox stop {}", self.flag()));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nothing listens at.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
