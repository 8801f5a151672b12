//! Deliveries to many watches of the same objects.

use std::time::{Duration, Instant};

use http::Request;
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use tokio::{sync::watch, task::JoinSet};

use super::{
    Failure,
    load::{Cost, Target},
};

/// Watches `collection` so many times while `changes` objects are changed one after the other by `change`.
pub async fn run<F>(
    target: &Target,
    collection: &str,
    watchers: usize,
    changes: usize,
    change: F,
) -> Result<Cost, Failure>
where
    F: Fn(usize) -> http::Result<Request<Vec<u8>>>,
{
    let Some(writer) = target.clients.first() else { return Err("no connection".into()) };
    let list: serde_json::Value =
        writer.request(Request::get(format!("{collection}?limit=1")).body(vec![])?).await?;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    let path = format!("{collection}?watch=true&resourceVersion={version}");
    // Each change is sent when its time is told, so that every delivery knows how long it took.
    let (sent, times) = watch::channel(Vec::<Instant>::new());
    let mut tasks = JoinSet::new();
    for client in target.clients.iter().cycle().take(watchers) {
        let body = open(client, &path).await?;
        tasks.spawn(deliveries(body, changes, times.clone()));
    }
    let (before, began) = (target.cpu(), Instant::now());
    for index in 0..changes {
        sent.send_modify(|times| times.push(Instant::now()));
        writer.request_text(change(index)?).await?;
    }
    let mut took = Vec::with_capacity(watchers * changes);
    while let Some(task) = tasks.join_next().await {
        took.append(&mut task??);
    }
    Ok(target.cost(&format!("deliver to {watchers} watches"), took, began.elapsed(), before))
}

async fn open(client: &Client, path: &str) -> Result<Body, Failure> {
    let response = client.send(Request::get(path).body(Body::empty())?).await?;
    if !response.status().is_success() {
        return Err(format!("the watch was answered with {}", response.status()).into());
    }
    Ok(response.into_body())
}

/// Reads so many events: one a line, in the order of the changes.
async fn deliveries(
    mut body: Body,
    wanted: usize,
    times: watch::Receiver<Vec<Instant>>,
) -> Result<Vec<Duration>, Failure> {
    let mut took = Vec::with_capacity(wanted);
    while took.len() < wanted {
        let frame = body.frame().await.ok_or("a watch ended")??;
        let lines = frame.data_ref().map_or(0, |data| data.split(|byte| *byte == b'\n').count() - 1);
        let now = Instant::now();
        let times = times.borrow();
        for _ in 0..lines {
            took.extend(times.get(took.len()).map(|sent| now.duration_since(*sent)));
        }
    }
    Ok(took)
}
