//! The streams as the real `kubectl` opens them, where it is installed.

use std::process::Stdio;

use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use super::setup::{Host, get};

pub async fn speaks_spdy_and_web_sockets(host: Host) {
    if Command::new("kubectl").arg("version").arg("--client").output().await.is_err() {
        println!("       skipped: no kubectl");
        return;
    }
    host.run(
        "web",
        &["serve", "0.0.0.0:8080", "/proc/sys/kernel/hostname"],
        json!({"spec": {"containers": [{"readinessProbe": {"tcpSocket": {"port": 8080}}}]}}),
    )
    .await;
    host.wait_until_ready("web").await;
    for web_sockets in ["true", "false"] {
        let kubectl = |args: &[&str]| {
            let mut command = Command::new("kubectl");
            command
                .arg("--kubeconfig")
                .arg(host.sandbox().kubeconfig())
                .args(["-n", &host.namespace])
                .args(args)
                .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", web_sockets)
                .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", web_sockets)
                .stdin(Stdio::null())
                .kill_on_drop(true);
            command
        };
        let executed = kubectl(&["exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 5"]);
        let executed = { executed }.output().await.unwrap();
        assert_eq!(String::from_utf8_lossy(&executed.stdout), "out\n", "{executed:?}");
        assert!(String::from_utf8_lossy(&executed.stderr).starts_with("err\n"), "{executed:?}");
        assert_eq!(executed.status.code(), Some(5), "{executed:?}");

        let mut copy = kubectl(&["exec", "-i", "web", "--", "wc", "-c"]);
        let mut copy = copy.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = copy.stdin.take().unwrap();
        let large = vec![b'x'; 1_000_000];
        tokio::io::AsyncWriteExt::write_all(&mut stdin, &large).await.unwrap();
        drop(stdin);
        let counted = copy.wait_with_output().await.unwrap();
        assert_eq!(String::from_utf8_lossy(&counted.stdout).trim(), "1000000");

        let mut forward = kubectl(&["port-forward", "pod/web", ":8080"]);
        let mut forward = forward.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(forward.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().unwrap();
        let address = line.split_whitespace().nth(2).unwrap().to_owned();
        for _ in 0..3 {
            assert_eq!(get(&address).await, "web\n");
        }
        forward.kill().await.unwrap();
    }
}
