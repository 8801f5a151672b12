//! A control plane without a host, for the length of a test program.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{
    binary,
    shell::{Shell, eventually},
};

/// A running `vkube controlplane --standalone`, with its controllers. It is killed when this is dropped.
pub struct ControlPlane {
    /// A shell of its administrator.
    pub shell: Shell,
    child: Child,
    directory: TempDir,
}

impl ControlPlane {
    /// Starts one in a new directory and waits until it is ready.
    pub fn start(flags: &[&str]) -> Self {
        let vkube = binary::vkube();
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("home");
        fs::create_dir(&home).unwrap();
        let (kubeconfig, log) = (directory.path().join("kubeconfig"), directory.path().join("log"));
        let mut child = Command::new(&vkube)
            .args(["controlplane", "--standalone", "--listen=127.0.0.1:0", "--data-dir"])
            .arg(directory.path().join("data"))
            .arg("--write-kubeconfig")
            .arg(&kubeconfig)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let path = vkube.parent().unwrap().to_path_buf();
        let shell = Shell { kubeconfig, home, path };
        eventually("the control plane is ready", || {
            let text = fs::read_to_string(&log).unwrap();
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the control plane ended ({status}):\n{text}");
            }
            let ready = shell.run("kubectl get --raw /readyz");
            if ready.stdout == "ok" { Ok(()) } else { Err(text + &ready.stderr) }
        });
        Self { shell, child, directory }
    }

    /// The address that its kubeconfig names, without the scheme.
    pub fn address(&self) -> String {
        let line = "kubectl config view --minify -o jsonpath={.clusters[0].cluster.server}";
        self.shell.ok(line).trim_start_matches("https://").to_owned()
    }

    /// A kubeconfig that reaches it at another address.
    pub fn kubeconfig_by(&self, address: &str) -> PathBuf {
        let document = fs::read_to_string(&self.shell.kubeconfig).unwrap();
        // A colon would end the name in a list of files.
        let path = self.directory.path().join(address.replace(':', "-"));
        fs::write(&path, document.replace(&self.address(), address)).unwrap();
        path
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
