//! `vkube snapshot` and `vkube restore`: all objects of a cluster as of one moment, kept beside its store or as a file here.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use futures::TryStreamExt;
use http::{Request, Response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use kube::{Client, client::Body};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Target,
    output::{Format, document},
    state::age,
    table::Table,
};
use crate::{
    cli::{Failure, Outcome},
    connect,
};

/// What to do with snapshots.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take a snapshot, which is kept on the cluster's volume.
    Create(CreateOptions),
    /// List the snapshots that a cluster keeps.
    #[command(visible_alias = "ls")]
    List(ListOptions),
    /// Forget a snapshot.
    #[command(visible_alias = "rm")]
    Delete(DeleteOptions),
    /// Write a snapshot to a file here: one that is kept, or one of now.
    Download(DownloadOptions),
}

/// What to take.
#[derive(Debug, Args)]
pub struct CreateOptions {
    /// Which cluster.
    #[command(flatten)]
    pub target: Target,
    /// The snapshot's name; by default the present time.
    #[arg(long, value_name = "SNAPSHOT")]
    pub snapshot: Option<String>,
}

/// How to list.
#[derive(Debug, Args)]
pub struct ListOptions {
    /// Which cluster.
    #[command(flatten)]
    pub target: Target,
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
    /// Leave out the line of headings.
    #[arg(long)]
    pub no_headers: bool,
}

/// What to forget.
#[derive(Debug, Args)]
pub struct DeleteOptions {
    /// Which cluster.
    #[command(flatten)]
    pub target: Target,
    /// Which snapshot.
    pub snapshot: String,
}

/// What to write, and where.
#[derive(Debug, Args)]
pub struct DownloadOptions {
    /// Which cluster.
    #[command(flatten)]
    pub target: Target,
    /// A snapshot that is kept; by default one of now.
    #[arg(long, value_name = "SNAPSHOT")]
    pub snapshot: Option<String>,
    /// The file. It holds every Secret of the cluster, so only its owner can read it.
    #[arg(long, value_name = "FILE")]
    pub file: PathBuf,
}

/// What to bring back.
#[derive(Debug, Args)]
pub struct RestoreOptions {
    /// Which cluster.
    #[command(flatten)]
    pub target: Target,
    /// A snapshot that the cluster keeps.
    #[arg(long, value_name = "SNAPSHOT", required_unless_present = "file", conflicts_with = "file")]
    pub snapshot: Option<String>,
    /// A snapshot in a file, of this cluster or another.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Kept {
    name: String,
    taken: Timestamp,
    size: u64,
}

#[derive(Debug, Deserialize)]
struct List {
    items: Vec<Kept>,
}

#[derive(Debug, Deserialize)]
struct Summary {
    restored: usize,
    unchanged: usize,
    removed: usize,
}

/// Runs the subcommand.
pub async fn run(command: Command) -> Outcome {
    match command {
        Command::Create(options) => create(options).await,
        Command::List(options) => list(options).await,
        Command::Delete(options) => delete(options).await,
        Command::Download(options) => download(options).await,
    }
}

async fn create(options: CreateOptions) -> Outcome {
    let name = options.snapshot.unwrap_or_else(|| Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string());
    let inside = inside(&options.target).await?;
    let request = Request::post(path_of(&name)).body(Vec::new())?;
    let kept: Kept = inside.request(request).await?;
    println!("Took snapshot {:?} of {}, {} bytes.", kept.name, options.target.name, kept.size);
    Ok(())
}

async fn list(options: ListOptions) -> Outcome {
    let inside = inside(&options.target).await?;
    let found: List = inside.request(Request::get("/vkube/snapshots").body(Vec::new())?).await?;
    match options.output {
        Format::Table | Format::Wide => {
            let mut table = Table::new(&["name", "size", "age"]);
            let now = Timestamp::now();
            for kept in &found.items {
                table.add(vec![kept.name.clone(), kept.size.to_string(), age(kept.taken, now)]);
            }
            if table.is_empty() {
                eprintln!("No snapshots found; `vkube snapshot create {}` takes one.", options.target.name);
            } else {
                print!("{}", table.render(0, !options.no_headers));
            }
        }
        Format::Name => found.items.iter().for_each(|kept| println!("{}", kept.name)),
        Format::Json | Format::Yaml => {
            print!("{}", document(&json!({"items": found.items}), options.output));
        }
    }
    Ok(())
}

async fn delete(options: DeleteOptions) -> Outcome {
    let inside = inside(&options.target).await?;
    inside.request_text(Request::delete(path_of(&options.snapshot)).body(Vec::new())?).await?;
    println!("Deleted snapshot {:?} of {}.", options.snapshot, options.target.name);
    Ok(())
}

async fn download(options: DownloadOptions) -> Outcome {
    let inside = inside(&options.target).await?;
    let path = options.snapshot.as_deref().map_or_else(|| "/vkube/snapshot".to_owned(), path_of);
    let answer = accepted(inside.send(Request::get(path).body(Body::empty())?).await?).await?;
    write(&options.file, answer.into_body()).await?;
    println!("Wrote {}.", options.file.display());
    Ok(())
}

/// Brings a cluster to a snapshot.
pub async fn restore(options: RestoreOptions) -> Outcome {
    let snapshot = match &options.file {
        Some(file) => {
            let bytes = std::fs::read(file);
            Some(bytes.map_err(|error| format!("failed to read {}: {error}", file.display()))?)
        }
        None => None,
    };
    let inside = inside(&options.target).await?;
    let body = match (snapshot, &options.snapshot) {
        (Some(bytes), _) => Body::from(bytes),
        (None, name) => {
            let path = path_of(name.as_deref().unwrap_or_default());
            accepted(inside.send(Request::get(path).body(Body::empty())?).await?).await?.into_body()
        }
    };
    let answer = accepted(inside.send(Request::put("/vkube/snapshot").body(body)?).await?).await?;
    let bytes = answer.into_body().collect().await?.to_bytes();
    let Summary { restored, unchanged, removed } = serde_json::from_slice(&bytes)?;
    println!("Restored {restored} objects, removed {removed}; {unchanged} were so already.");
    Ok(())
}

fn path_of(name: &str) -> String {
    let name: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
    format!("/vkube/snapshots/{name}")
}

/// A client of the cluster as its administrator. A tunnel to it, if it takes one, lasts as long as the program.
async fn inside(target: &Target) -> Result<Client, Failure> {
    let (host, cluster) = target.find().await?;
    let (document, _tunnel) = connect::reach(&host, cluster).await?;
    connect::client(&document).await
}

async fn accepted(answer: Response<Body>) -> Result<Response<Body>, Failure> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    let code = answer.status();
    let bytes = answer.into_body().collect().await?.to_bytes();
    let status: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    Err(status["message"].as_str().map_or_else(|| code.to_string(), ToOwned::to_owned).into())
}

/// Writes a file that appears whole or not at all.
async fn write(path: &Path, body: Body) -> Outcome {
    use std::os::unix::fs::OpenOptionsExt;
    let mut name = path.file_name().ok_or("--file must name a file")?.to_owned();
    name.push(".part");
    let unfinished = path.with_file_name(name);
    let failed = |error: std::io::Error| format!("failed to write {}: {error}", path.display());
    let mut options = std::fs::OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished).map_err(failed)?;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.try_next().await? {
        file.write_all(&chunk).map_err(failed)?;
    }
    file.sync_all().map_err(failed)?;
    Ok(std::fs::rename(&unfinished, path).map_err(failed)?)
}
