//! Logs, exec and port-forward by the WebSocket of kube's own client.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{AttachParams, LogParams, TerminalSize};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::setup::Host;

pub async fn logs_show_this_run_and_the_one_before(host: Host) {
    host.run("flaky", &["exit", "7"], json!({})).await;
    let restarted = |pod: &Pod| {
        let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
        containers.unwrap_or_default().first().is_some_and(|container| {
            container.restart_count == 1 && container.state.as_ref().unwrap().waiting.is_some()
        })
    };
    host.wait_for_pod("flaky", restarted).await;
    let api = host.remote_pods();
    let options = LogParams { timestamps: true, tail_lines: Some(1), ..LogParams::default() };
    let log = api.logs("flaky", &options).await.unwrap();
    assert!(log.ends_with("Z ending with 7\n"), "{log}");
    let previous = LogParams { previous: true, ..LogParams::default() };
    assert_eq!(api.logs("flaky", &previous).await.unwrap(), "ending with 7\n");
}

pub async fn exec_runs_beside_the_process(host: Host) {
    host.run("shell", &["echo", "here"], json!({})).await;
    host.wait_until_ready("shell").await;
    let api = host.remote_pods();

    let command = ["sh", "-c", "echo $HOSTNAME; echo oops >&2; exit 3"];
    let mut process = api.exec("shell", command, &AttachParams::default()).await.unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let status = process.take_status().unwrap();
    let (_, _, status) = tokio::join!(
        async { stdout.unwrap().read_to_string(&mut out).await.unwrap() },
        async { stderr.unwrap().read_to_string(&mut err).await.unwrap() },
        status,
    );
    assert_eq!((out.as_str(), err.as_str()), ("shell\n", "oops\n"));
    let causes = status.unwrap().details.unwrap().causes.unwrap();
    assert_eq!(causes[0].message.as_deref(), Some("3"));

    let with_input = AttachParams::default().stdin(true).stderr(false);
    let mut process = api.exec("shell", ["cat"], &with_input).await.unwrap();
    let mut stdin = process.stdin().unwrap();
    stdin.write_all(b"back and forth").await.unwrap();
    drop(stdin);
    let mut copied = vec![0; 14];
    process.stdout().unwrap().read_exact(&mut copied).await.unwrap();
    assert_eq!(copied, b"back and forth");

    let terminal = AttachParams::interactive_tty();
    let mut process = api.exec("shell", ["sh", "-c", "sleep 0.2; stty size; tty"], &terminal).await.unwrap();
    let mut sizes = process.terminal_size().unwrap();
    sizes.try_send(TerminalSize { width: 101, height: 31 }).unwrap();
    let mut shown = String::new();
    process.stdout().unwrap().read_to_string(&mut shown).await.unwrap();
    assert!(shown.contains("31 101") && shown.contains("/dev/pts/"), "{shown:?}");
}

pub async fn ports_are_forwarded(host: Host) {
    host.run(
        "web",
        &["serve", "0.0.0.0:8080", "/proc/sys/kernel/hostname"],
        json!({"spec": {"containers": [{"readinessProbe": {"tcpSocket": {"port": 8080}}}]}}),
    )
    .await;
    host.wait_until_ready("web").await;
    let mut forwarder = host.remote_pods().portforward("web", &[8080]).await.unwrap();
    let mut stream = forwarder.take_stream(8080).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("\r\n\r\nweb\n"), "{answer}");
}
