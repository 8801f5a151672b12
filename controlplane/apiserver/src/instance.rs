//! A server put together and listening: what `vkube controlplane` and the sandbox start.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use vkube_store::{PostgresStore, SqliteStore, Store, postgres};

use crate::{
    admission::{self, Chain},
    aggregation::{availability, front_proxy},
    audit::{self, Audit},
    authentication::{self, Authenticators},
    authorization::{
        AlwaysAllow, AlwaysDeny, Authorizer,
        configuration::{self, Authorizer as Chosen},
        node::Node,
        webhook::{self, Webhook},
    },
    block::Blocked,
    bootstrap,
    connect::Connector,
    custom,
    flow_control::{self, FlowControl, upkeep},
    follow,
    health::Step,
    listener::{self, TlsFiles},
    rbac::authorizer::Rbac,
    server::{Parts, Server},
    service_allocation::{Allocator, range::RangeAllocator, shared},
    snapshot::Shelf,
    status::ApiError,
    stored,
};

/// How a server is started.
pub struct Options {
    /// Where the store lives; `None` keeps it in memory, for tests.
    pub data_dir: Option<PathBuf>,
    /// The database where the store lives instead, which other servers may serve too.
    pub database: Option<postgres::Address>,
    /// `--etcd-compaction-interval`: how long lists can be continued and watches resumed; zero is for ever.
    pub history: Duration,
    /// Where to listen; `None` serves calls from within the process only.
    pub listen: Option<SocketAddr>,
    /// What to serve TLS with. Needed to listen.
    pub tls: Option<TlsFiles>,
    /// How users show who they are.
    pub authentication: authentication::Options,
    /// `--authorization-mode`
    pub authorization_modes: Vec<String>,
    /// `--authorization-webhook-*`, for the mode `Webhook`.
    pub authorization_webhook: Option<webhook::Options>,
    /// `--authorization-config`, which decides instead of the modes.
    pub authorization_configuration: Option<PathBuf>,
    /// `--audit-*`, if there is a policy and a log.
    pub audit: Option<audit::Options>,
    /// Writes that are refused to whoever comes from outside the process.
    pub blocked: Blocked,
    /// Where the time of the last request of a user from outside is noted, in seconds since 1970.
    pub activity: Option<Arc<AtomicI64>>,
    /// `--enable-admission-plugins`, on top of those that are on by default.
    pub enable_admission: Vec<String>,
    /// `--disable-admission-plugins`
    pub disable_admission: Vec<String>,
    /// `--service-cluster-ip-range`
    pub service_range: IpNet,
    /// Who answers streams.
    pub connector: Option<Arc<dyn Connector>>,
    /// Where Services get their addresses, if not from the range.
    pub allocator: Option<Arc<dyn Allocator>>,
    /// The address told to clients; by default that of the listener.
    pub advertise: Option<String>,
    /// `--service-account-issuer`
    pub issuer: String,
    /// How many requests run at once: `--max-requests-inflight` and `--max-mutating-requests-inflight`
    /// together.
    pub seats: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            data_dir: None,
            database: None,
            history: vkube_store::Options::default().history,
            listen: None,
            tls: None,
            authentication: authentication::Options::default(),
            authorization_modes: vec!["RBAC".into()],
            authorization_webhook: None,
            authorization_configuration: None,
            audit: None,
            blocked: Blocked::default(),
            activity: None,
            enable_admission: Vec::new(),
            disable_admission: Vec::new(),
            service_range: IpNet::V4(ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 96, 0, 0), 16)),
            connector: None,
            allocator: None,
            advertise: None,
            issuer: "https://kubernetes.default.svc.cluster.local".into(),
            seats: flow_control::SEATS,
        }
    }
}

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store could not be opened.
    #[error("failed to open the store in {path}")]
    Store {
        /// Its directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: vkube_store::Error,
    },
    /// The store's database could not be opened.
    #[error("failed to open the store in the database")]
    Database(#[source] vkube_store::Error),
    /// The store's directory could not be made.
    #[error("failed to make the data directory {path}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// TLS could not be set up.
    #[error("failed to set up TLS")]
    Tls(#[from] listener::Error),
    /// A listener needs certificates.
    #[error("to listen, a serving certificate is needed")]
    NoCertificate,
    /// The port could not be had.
    #[error("failed to listen on {address}; is something else listening there?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An authorization mode that does not exist.
    #[error(
        "{0:?} is not a valid authorization mode; valid are AlwaysAllow, AlwaysDeny, Node, RBAC, Webhook"
    )]
    Mode(String),
    /// The mode `Webhook` without a webhook, or the other way round.
    #[error("--authorization-mode=Webhook and --authorization-webhook-config-file go together")]
    NoWebhook,
    /// The configuration of authorization is refused.
    #[error(transparent)]
    Authorization(#[from] configuration::Error),
    /// A webhook cannot be asked.
    #[error(transparent)]
    Webhook(#[from] webhook::Error),
    /// There is no audit as configured.
    #[error(transparent)]
    Audit(#[from] audit::Error),
    /// The service range cannot be used.
    #[error(transparent)]
    Range(#[from] crate::service_allocation::range::Unusable),
    /// The first objects could not be written.
    #[error("failed to bootstrap the cluster")]
    Bootstrap(#[from] ApiError),
    /// Users cannot show who they are as configured.
    #[error(transparent)]
    Authentication(#[from] authentication::options::Error),
    /// Admission plugins that cannot be had.
    #[error(transparent)]
    Admission(#[from] admission::Error),
}

/// A running server.
pub struct Instance {
    /// The server.
    pub server: Server,
    /// Where it listens.
    pub address: Option<SocketAddr>,
    store: Arc<dyn Store>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Instance {
    /// Starts a server. When this returns it answers, and is ready.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let snapshots = options.data_dir.as_ref().map(|directory| Shelf::new(directory.join("snapshots")));
        let store = open_store(options.data_dir, options.database, options.history).await?;
        let shutdown = CancellationToken::new();
        let tasks = TaskTracker::new();

        let (listener, address) = match options.listen {
            Some(address) => {
                let listener =
                    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
                let address = listener.local_addr().map_err(|source| Error::Listen { address, source })?;
                (Some(listener), Some(address))
            }
            None => (None, None),
        };
        let advertise = options
            .advertise
            .or_else(|| address.map(|a| a.to_string()))
            .unwrap_or_else(|| "127.0.0.1:6443".into());
        let own_services = options.allocator.is_none();
        let allocator = match options.allocator {
            Some(allocator) => allocator,
            None => range_allocator(options.service_range, &store, &shutdown).await?,
        };
        let chosen = chosen(
            options.authorization_modes,
            options.authorization_webhook,
            options.authorization_configuration.as_deref(),
        )?;
        let has = |wanted: &str| chosen.iter().any(|c| matches!(c, Chosen::Mode(mode) if mode == wanted));
        let (rbac, node) = (Rbac::default(), has("Node").then(Node::default));
        let (has_rbac, allows_all) = (has("RBAC"), has("AlwaysAllow"));
        let (audit, batches) = options.audit.map(Audit::new).transpose()?.unzip();
        let server = Server::new(Parts {
            store: store.clone(),
            authenticators: Authenticators::new(options.authentication, options.issuer, allows_all)?,
            authorizers: authorizers(chosen, &rbac, node.as_ref())?,
            rbac: has_rbac.then(|| rbac.clone()),
            flow_control: FlowControl::new(options.seats),
            audit,
            activity: options.activity,
            admission: Chain::new(&options.enable_admission, &options.disable_admission)?,
            connector: options.connector,
            allocator,
            own_services,
            advertise_address: advertise,
            service_range: options.service_range,
            blocked: options.blocked,
            snapshots,
        });
        if let Some(batches) = batches.flatten() {
            tasks.spawn(batches.run(shutdown.clone()));
        }
        bootstrap::run(&server).await?;
        server.progress.note(Step::Bootstrapped);
        front_proxy::prepare(&server, options.tls.as_ref().map(|tls| tls.client_ca.as_str())).await?;
        rbac.follow(store.clone(), shutdown.clone()).await?;
        let flow_control = Arc::new(server.parts.flow_control.clone());
        follow::follow(store.clone(), flow_control, shutdown.clone()).await?;
        server.progress.note(Step::Followed);
        tasks.spawn(upkeep::run(server.clone(), shutdown.clone()));
        server.parts.admission.follow(&server, &shutdown).await?;
        server.progress.note(Step::Admission);
        if let Some(node) = &node {
            node.follow(store.clone(), shutdown.clone()).await?;
        }
        let definitions = custom::controller::Controller::start(&server).await?;
        tasks.spawn(definitions.run(shutdown.clone()));
        server.progress.note(Step::Definitions);
        let availability = availability::Controller::start(&server).await?;
        tasks.spawn(availability.run(shutdown.clone()));
        server.progress.note(Step::Remotes);

        if let Some(listener) = listener {
            let tls = listener::tls(&options.tls.ok_or(Error::NoCertificate)?)?;
            tasks.spawn(listener::serve(server.clone(), listener, tls, shutdown.clone()));
        }
        let preparing = server.clone();
        tasks.spawn(async move {
            let issuer = &preparing.parts.authenticators.service_accounts;
            if let Err(error) = issuer.prepare(preparing.store()).await {
                tracing::warn!(%error, "the service-account key is not ready; the first token will make it");
            }
        });
        tasks.close();
        Ok(Self { server, address, store, shutdown, tasks })
    }

    /// Stops listening, lets requests finish, and closes the store.
    pub async fn stop(self) {
        self.server.progress.note(Step::Stopping);
        self.shutdown.cancel();
        self.tasks.wait().await;
        self.store.close().await;
    }
}

async fn open_store(
    data_dir: Option<PathBuf>,
    database: Option<postgres::Address>,
    history: Duration,
) -> Result<Arc<dyn Store>, Error> {
    let options = if history.is_zero() {
        vkube_store::Options { history: Duration::MAX, revisions: u64::MAX, ..Default::default() }
    } else {
        vkube_store::Options { history, ..Default::default() }
    };
    if let Some(address) = database {
        return Ok(PostgresStore::open(address, options).await.map_err(Error::Database)?);
    }
    let Some(path) = data_dir else {
        let store = SqliteStore::in_memory();
        return Ok(store.map_err(|source| Error::Store { path: ":memory:".into(), source })?);
    };
    std::fs::create_dir_all(&path).map_err(|source| Error::Directory { path: path.clone(), source })?;
    let file = path.join("state.db");
    Ok(SqliteStore::open(&file, options).map_err(|source| Error::Store { path, source })?)
}

/// The allocator of a cluster of its own. One that shares its store follows what the others give.
async fn range_allocator(
    range: IpNet,
    store: &Arc<dyn Store>,
    shutdown: &CancellationToken,
) -> Result<Arc<dyn Allocator>, Error> {
    if store.is_shared() {
        let allocator = Arc::new(RangeAllocator::new(range, &[])?);
        let followed = Arc::new(shared::Followed::new(Arc::clone(&allocator)));
        follow::follow(Arc::clone(store), followed, shutdown.clone()).await?;
        return Ok(allocator);
    }
    Ok(Arc::new(RangeAllocator::new(range, &stored_services(&**store).await?)?))
}

async fn stored_services(store: &dyn Store) -> Result<Vec<serde_json::Value>, ApiError> {
    let prefix = crate::server::builtin("", "services")?.prefix();
    let page = store.list(vkube_store::Range { prefix, ..Default::default() }).await?;
    page.entries.iter().map(stored::decode).collect()
}

/// The authorizers that were asked for, in order.
fn chosen(
    modes: Vec<String>,
    mut webhook: Option<webhook::Options>,
    configuration: Option<&Path>,
) -> Result<Vec<Chosen>, Error> {
    if let Some(path) = configuration {
        return Ok(configuration::load(path)?);
    }
    let mut chosen = Vec::with_capacity(modes.len());
    for mode in modes {
        chosen.push(match mode.as_str() {
            "Webhook" => Chosen::Webhook(webhook.take().ok_or(Error::NoWebhook)?),
            _ => Chosen::Mode(mode),
        });
    }
    if webhook.is_some() { Err(Error::NoWebhook) } else { Ok(chosen) }
}

fn authorizers(
    chosen: Vec<Chosen>,
    rbac: &Rbac,
    node: Option<&Node>,
) -> Result<Vec<Box<dyn Authorizer>>, Error> {
    let made = chosen.into_iter().map(|one| -> Result<Box<dyn Authorizer>, Error> {
        let mode = match one {
            Chosen::Webhook(options) => return Ok(Box::new(Webhook::new(options)?)),
            Chosen::Mode(mode) => mode,
        };
        match (mode.as_str(), node) {
            ("RBAC", _) => Ok(Box::new(rbac.clone())),
            ("Node", Some(node)) => Ok(Box::new(node.clone())),
            ("AlwaysAllow", _) => Ok(Box::new(AlwaysAllow)),
            ("AlwaysDeny", _) => Ok(Box::new(AlwaysDeny)),
            (other, _) => Err(Error::Mode(other.into())),
        }
    });
    made.collect()
}

/// The addresses that a serving certificate of a server at `listen` must name.
pub fn serving_addresses(listen: IpAddr, service_range: IpNet) -> Vec<IpAddr> {
    let mut addresses = vec![IpAddr::from([127, 0, 0, 1])];
    addresses.extend((!listen.is_unspecified()).then_some(listen));
    addresses.extend(RangeAllocator::first(service_range));
    addresses.dedup();
    addresses
}
