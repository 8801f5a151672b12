//! Starting a sandbox, in the foreground or in the background.

use std::{
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    time::Duration,
};

use vkube_sandbox::host::{self, Sandbox};

use super::{StartOptions, demo, state};
use crate::{cli::Outcome, progress::Progress, stop::Stop};

/// Starts a sandbox and keeps it running until it is told to stop.
pub async fn run(options: StartOptions) -> Outcome {
    let state = state(&options.state)?;
    if let Some(pid) = state.running() {
        return Err(format!(
            "a sandbox is running already (process {pid}); use it with `export KUBECONFIG={}`, or end it with `vkube sandbox stop`",
            state.kubeconfig().display()
        )
        .into());
    }
    if options.detach {
        return detach(&options, &state).await;
    }
    let mut stop = Stop::new()?;
    state.claim()?;
    let result = tokio::select! {
        result = serve(&options, &state) => result,
        () = stop.wait() => Ok(()),
    };
    state.release();
    result
}

async fn serve(options: &StartOptions, state: &state::State) -> Outcome {
    let mut stop = Stop::new()?;
    let mut progress = Progress::new();
    progress.begin("Starting a host cluster and installing vkube on it");
    let sandbox = Sandbox::start(host::Options {
        listen: options.listen,
        install: !options.bare,
        ..host::Options::new(state.directory().to_path_buf())?
    })
    .await?;
    let shown = if options.demo { demo::run(&sandbox, &mut progress, state).await } else { Ok(()) };
    progress.finish();
    if shown.is_ok() && !options.demo {
        println!("The sandbox is ready. Use it with:\n");
        println!("  export KUBECONFIG={}", state.kubeconfig().display());
        println!("  kubectl apply -f examples/quickstart.yaml\n");
    }
    if shown.is_ok() && !options.exit {
        println!("Press Ctrl-C to stop the sandbox.");
        stop.wait().await;
        eprintln!("Stopping …");
    }
    sandbox.stop().await;
    shown
}

/// Starts this program again, on its own, and waits until that is ready.
async fn detach(options: &StartOptions, state: &state::State) -> Outcome {
    std::fs::create_dir_all(state.directory())?;
    let log = std::fs::File::create(state.log())?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["sandbox", "start", "--data-dir"])
        .arg(state.directory())
        .arg("--listen")
        .arg(options.listen.to_string())
        .args(options.bare.then_some("--bare"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0);
    let mut child = command.spawn()?;
    let mut progress = Progress::new();
    progress.begin("Starting a host cluster with vkube");
    loop {
        if let Some(status) = child.try_wait()? {
            let log = std::fs::read_to_string(state.log()).unwrap_or_default();
            return Err(format!("the sandbox ended ({status}):\n{}", log.trim_end()).into());
        }
        let ready =
            std::fs::read_to_string(state.log()).is_ok_and(|log| log.contains("The sandbox is ready"));
        if ready {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    progress.finish();
    println!("The sandbox is ready. Use it with:\n\n  export KUBECONFIG={}\n", state.kubeconfig().display());
    println!("`vkube sandbox stop` ends it.");
    Ok(())
}
