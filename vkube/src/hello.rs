//! `vkube hello`: a small web server, so that a sandbox has a workload that really runs.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use clap::Args;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::{
    cli::Outcome,
    stop::{Stop, pod_address},
};

/// What the server is told.
#[derive(Debug, Args)]
pub struct Options {
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
}

/// Answers every request with the pod's name until the process is told to stop.
pub async fn run(options: Options) -> Outcome {
    let mut stop = Stop::new()?;
    let listener = TcpListener::bind(pod_address(options.listen)).await?;
    let pod =
        std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME")).unwrap_or_else(|_| "vkube".into());
    println!("hello from {pod}, listening on {}", listener.local_addr()?);
    loop {
        let (stream, peer) = tokio::select! {
            () = stop.wait() => return Ok(()),
            accepted = listener.accept() => accepted?,
        };
        println!("connection from {peer}");
        let pod = pod.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request: Request<Incoming>| {
                let text = format!("hello from {pod}: {} {}\n", request.method(), request.uri().path());
                async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text)))) }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}
