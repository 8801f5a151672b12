//! `vkube create NAME`: a virtual cluster, from flags to ready.

use clap::Args;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{PostParams, ValidationDirective},
};
use serde_json::{Map, Value, json};
use vkube_crds::VirtualCluster;

use super::{
    FIELD_MANAGER, Failure, Patience, Place, api_of,
    output::{Format, document, value},
    wait::{Goal, until},
};
use crate::{cli::Outcome, connect};

/// The cluster to create.
#[derive(Debug, Args)]
pub struct Options {
    /// Its name.
    pub name: String,
    /// Where it goes; without a namespace, that of the kubeconfig's context.
    #[command(flatten)]
    pub place: Place,
    /// Create its namespace if it does not exist.
    #[arg(long)]
    pub create_namespace: bool,
    /// The VirtualClusterPolicy that shapes it.
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
    /// How its API server is reached: ClusterIP, NodePort, LoadBalancer.
    #[arg(long, value_name = "TYPE")]
    pub expose: Option<String>,
    /// Host name or address under which clients outside reach it.
    #[arg(long, value_name = "HOST")]
    pub external_address: Option<String>,
    /// Size of its volume.
    #[arg(long, value_name = "SIZE", conflicts_with = "ephemeral")]
    pub size: Option<String>,
    /// Storage class of its volume.
    #[arg(long, value_name = "CLASS", conflicts_with = "ephemeral")]
    pub storage_class: Option<String>,
    /// Keep its data in the pod, and lose it with the pod.
    #[arg(long)]
    pub ephemeral: bool,
    /// Refuse to delete it until this is unset.
    #[arg(long)]
    pub protect: bool,
    /// A label of the VirtualCluster; may be given more than once.
    #[arg(short = 'l', long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    pub labels: Vec<(String, String)>,
    /// A field of `spec` by its path, such as `isolation.podSecurity=restricted`; the value is read as YAML.
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
    /// Print the manifest and create nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// The form of what is printed; with it, the object is printed.
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
    /// How long to wait until it is ready.
    #[command(flatten)]
    pub patience: Patience,
    /// Then merge its kubeconfig and switch to it, as `vkube connect` does.
    #[arg(long, conflicts_with_all = ["no_wait", "dry_run"])]
    pub connect: bool,
}

/// Creates, and waits.
pub async fn run(options: Options) -> Outcome {
    let mut manifest = manifest(&options)?;
    if options.dry_run {
        if let Some(namespace) = &options.place.namespace {
            manifest["metadata"]["namespace"] = json!(namespace);
        }
        print!("{}", document(&manifest, options.output.unwrap_or(Format::Yaml)));
        return Ok(());
    }
    let host = options.place.client().await?;
    let namespace = options.place.namespace_for_new(&host);
    if options.create_namespace {
        create_namespace(&host, &namespace).await?;
    }
    let cluster = create(&host, &namespace, &manifest).await?;
    let asleep = cluster.spec.replicas == Some(0);
    let cluster = if options.patience.no_wait {
        cluster
    } else {
        let goal = if asleep { Goal::Asleep } else { Goal::Ready };
        until(api_of(&host, &cluster), &cluster, goal, options.patience.timeout).await?.unwrap_or(cluster)
    };
    match options.output {
        Some(Format::Name) => println!("virtualcluster.vkube.dev/{}", options.name),
        Some(format) => print!("{}", document(&value(&cluster)?, format)),
        None if options.connect => {}
        None if options.patience.no_wait => println!("virtualcluster.vkube.dev/{} created", options.name),
        None => println!("Try: vkube connect {} -n {namespace}", options.name),
    }
    if options.connect {
        let place = Place { namespace: Some(namespace), ..options.place };
        return connect::run(connect::Options::merging(options.name, place)).await;
    }
    Ok(())
}

/// The request as the API server reads it: a field that does not exist is an error, not silence.
async fn create(host: &Client, namespace: &str, manifest: &Value) -> Result<VirtualCluster, kube::Error> {
    let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    let url = <VirtualCluster as kube::Resource>::url_path(&(), Some(namespace));
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("fieldManager", params.field_manager.as_deref().unwrap_or_default());
    query.append_pair("fieldValidation", ValidationDirective::Strict.as_str());
    let request = http::Request::post(format!("{url}?{}", query.finish()))
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(manifest.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    host.request(request).await
}

async fn create_namespace(host: &Client, name: &str) -> Result<(), Failure> {
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    match Api::<Namespace>::all(host.clone()).create(&PostParams::default(), &namespace).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        other => Ok(other.map(drop)?),
    }
}

/// What the flags ask for.
fn manifest(options: &Options) -> Result<Value, Failure> {
    let mut spec = json!({});
    let mut put = |path: &str, value: Value| set(&mut spec, path, value);
    if let Some(policy) = &options.policy {
        put("policyRef.name", json!(policy))?;
    }
    if let Some(type_) = &options.expose {
        put("expose.type", json!(type_))?;
    }
    if let Some(address) = &options.external_address {
        put("expose.externalAddress", json!(address))?;
    }
    if let Some(size) = &options.size {
        put("backingStore.volume.size", json!(size))?;
    }
    if let Some(class) = &options.storage_class {
        put("backingStore.volume.storageClassName", json!(class))?;
    }
    if options.ephemeral {
        put("backingStore.volume.enabled", json!(false))?;
    }
    if options.protect {
        put("lifecycle.deletionProtection", json!(true))?;
    }
    for (path, text) in &options.set {
        let value: Value =
            serde_saphyr::from_str(text).map_err(|error| format!("--set {path}: {text:?}: {error}"))?;
        put(path, value)?;
    }
    let mut metadata = Map::from_iter([("name".to_owned(), json!(options.name))]);
    if !options.labels.is_empty() {
        let labels: Map<String, Value> =
            options.labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        metadata.insert("labels".into(), labels.into());
    }
    Ok(json!({
        "apiVersion": "vkube.dev/v1alpha1",
        "kind": "VirtualCluster",
        "metadata": metadata,
        "spec": spec,
    }))
}

/// Puts a value at a path, and makes the maps on the way. A dot in a key is written `\.`.
fn set(into: &mut Value, path: &str, value: Value) -> Result<(), Failure> {
    let path = path.replace("\\.", "\0");
    let mut at = into;
    for key in path.split('.') {
        let key = key.replace('\0', ".");
        let Value::Object(map) = at else {
            let path = path.replace('\0', "\\.");
            return Err(format!("--set {path}: what is above {key:?} is no map").into());
        };
        at = map.entry(key).or_insert_with(|| json!({}));
    }
    *at = value;
    Ok(())
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn spec(arguments: &[&str]) -> Value {
        let line = Line::parse_from(["create", "demo"].iter().chain(arguments));
        manifest(&line.options).unwrap()["spec"].take()
    }

    #[test]
    fn nothing_said_asks_for_nothing() {
        assert_eq!(spec(&[]), json!({}));
    }

    #[test]
    fn flags_and_paths_become_one_spec() {
        let asked = spec(&[
            "--expose=NodePort",
            "--size=2Gi",
            "--set=expose.extraSANs=[a.example.com]",
            "--set=replicas=0",
            "--set=hostNamespace.labels.example\\.com/team=a",
        ]);
        assert_eq!(
            asked,
            json!({
                "expose": {"type": "NodePort", "extraSANs": ["a.example.com"]},
                "backingStore": {"volume": {"size": "2Gi"}},
                "replicas": 0,
                "hostNamespace": {"labels": {"example.com/team": "a"}},
            })
        );
    }

    #[test]
    fn a_path_through_a_value_is_refused() {
        let line = Line::parse_from(["create", "demo", "--set=replicas=1", "--set=replicas.x=1"]);
        assert!(manifest(&line.options).is_err());
    }
}
