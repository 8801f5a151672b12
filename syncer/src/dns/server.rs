//! The DNS server: UDP and TCP around a [`Zone`].

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::forward::Upstream;
use super::zone::{Answer, Zone};

/// Questions being passed on at once; beyond, the server says so instead of growing.
const FORWARDS: usize = 256;
/// TCP connections at once.
const CONNECTIONS: usize = 64;
/// How long a TCP connection may be silent.
const IDLE: Duration = Duration::from_secs(10);
/// The largest UDP answer: what passes any network unfragmented.
const DATAGRAM: u16 = 1232;
/// Aliases followed before giving up.
const ALIASES: usize = 8;

/// A DNS server that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// The address cannot be listened on.
    #[error("cannot listen for DNS on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Answers questions about a zone, and passes others on.
pub struct DnsServer {
    udp: UdpSocket,
    tcp: TcpListener,
    desk: Arc<Desk>,
}

/// What answering takes.
struct Desk {
    zone: Zone,
    upstream: Upstream,
    forwards: Semaphore,
    connections: Arc<Semaphore>,
}

impl DnsServer {
    /// Listens on `address`, UDP and TCP. Other names go to the resolvers of `/etc/resolv.conf`.
    pub async fn bind(address: SocketAddr, zone: Zone) -> Result<Self, DnsError> {
        let upstream = Upstream::read(Path::new("/etc/resolv.conf"));
        Self::bind_with(address, zone, upstream).await
    }

    /// Like [`DnsServer::bind`], with given resolvers for other names.
    pub async fn bind_with_resolvers(
        address: SocketAddr,
        zone: Zone,
        resolvers: Vec<SocketAddr>,
    ) -> Result<Self, DnsError> {
        Self::bind_with(address, zone, Upstream::new(resolvers)).await
    }

    async fn bind_with(address: SocketAddr, zone: Zone, upstream: Upstream) -> Result<Self, DnsError> {
        let failed = |source| DnsError::Bind { address, source };
        let tcp = TcpListener::bind(address).await.map_err(failed)?;
        // With port 0 both take the port the system chose for TCP.
        let udp = UdpSocket::bind(tcp.local_addr().map_err(failed)?).await.map_err(failed)?;
        let desk = Desk {
            zone,
            upstream,
            forwards: Semaphore::new(FORWARDS),
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
        };
        Ok(Self { udp, tcp, desk: Arc::new(desk) })
    }

    /// The address listened on.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Serves until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let tasks = TaskTracker::new();
        let udp = Arc::new(self.udp);
        let serve = futures::future::join(
            datagrams(&udp, &self.desk, &tasks, &shutdown),
            connections(&self.tcp, &self.desk, &tasks, &shutdown),
        );
        tokio::select! {
            () = shutdown.cancelled() => {}
            _ = serve => {}
        }
        tasks.close();
        tasks.wait().await;
    }
}

async fn datagrams(
    socket: &Arc<UdpSocket>,
    desk: &Arc<Desk>,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) {
    let mut buffer = [0; 4096];
    loop {
        // Errors here are those of earlier sends (port unreachable), not of the socket.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        let Some(question) = buffer.get(..length) else { continue };
        match desk.local(question, false) {
            Local::Done(answer) => drop(socket.send_to(&answer, client).await),
            Local::Ignore => {}
            Local::Remote(remote) => {
                let (socket, desk, question) = (socket.clone(), desk.clone(), question.to_vec());
                let job = async move {
                    if let Some(answer) = desk.remote(remote, &question, false).await {
                        let _ = socket.send_to(&answer, client).await;
                    }
                };
                let shutdown = shutdown.clone();
                tasks.spawn(async move { shutdown.run_until_cancelled(job).await });
            }
        }
    }
}

async fn connections(
    listener: &TcpListener,
    desk: &Arc<Desk>,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) {
    loop {
        // The permits are never closed.
        let Ok(permit) = desk.connections.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors; waiting lets some close.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (desk, shutdown) = (desk.clone(), shutdown.clone());
        tasks.spawn(async move {
            shutdown.run_until_cancelled(converse(&desk, stream)).await;
            drop(permit);
        });
    }
}

async fn converse(desk: &Desk, mut stream: TcpStream) {
    loop {
        let question = tokio::time::timeout(IDLE, async {
            let length = stream.read_u16().await?;
            let mut question = vec![0; usize::from(length)];
            stream.read_exact(&mut question).await?;
            Ok::<_, std::io::Error>(question)
        });
        let Ok(Ok(question)) = question.await else { return };
        let answer = match desk.local(&question, true) {
            Local::Done(answer) => Some(answer),
            Local::Ignore => None,
            Local::Remote(remote) => desk.remote(remote, &question, true).await,
        };
        let Some(answer) = answer else { return };
        let Ok(length) = u16::try_from(answer.len()) else { return };
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend(answer);
        if !matches!(tokio::time::timeout(IDLE, stream.write_all(&framed)).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// What can be said without asking anybody.
enum Local {
    Done(Vec<u8>),
    Remote(Remote),
    Ignore,
}

/// What has to be asked elsewhere.
enum Remote {
    /// The question as it came.
    Question(Box<Message>),
    /// An alias led outside: the answer so far, and the name to ask for.
    Alias(Box<Message>, Name, RecordType),
}

impl Desk {
    fn local(&self, question: &[u8], over_tcp: bool) -> Local {
        let Ok(message) = Message::from_vec(question) else {
            return match malformed(question) {
                Some(answer) => Local::Done(answer),
                None => Local::Ignore,
            };
        };
        if message.metadata.message_type != MessageType::Query {
            return Local::Ignore;
        }
        let [query] = message.queries.as_slice() else {
            return Local::Done(encode(&refuse(&message, ResponseCode::FormErr), &message, over_tcp));
        };
        if message.metadata.op_code != OpCode::Query {
            return Local::Done(encode(&refuse(&message, ResponseCode::NotImp), &message, over_tcp));
        }
        if !matches!(query.query_class(), DNSClass::IN | DNSClass::ANY) {
            return Local::Remote(Remote::Question(Box::new(message)));
        }

        let mut answer = respond(&message);
        let mut name = query.name().clone();
        for _ in 0..ALIASES {
            match self.zone.answer(&name, query.query_type()) {
                Answer::Foreign if answer.answers.is_empty() => {
                    return Local::Remote(Remote::Question(Box::new(message)));
                }
                Answer::Foreign => {
                    let kind = query.query_type();
                    return Local::Remote(Remote::Alias(Box::new(answer), name, kind));
                }
                Answer::NotReady => {
                    return Local::Done(encode(
                        &refuse(&message, ResponseCode::ServFail),
                        &message,
                        over_tcp,
                    ));
                }
                Answer::Unknown => {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                    answer.add_authority(self.zone.authority());
                    break;
                }
                Answer::Alias { record, target } => {
                    answer.add_answer(*record);
                    if query.query_type() == RecordType::CNAME {
                        break;
                    }
                    name = target;
                }
                Answer::Elsewhere { record, target } => {
                    answer.add_answer(*record);
                    let kind = query.query_type();
                    if kind == RecordType::CNAME {
                        break;
                    }
                    return Local::Remote(Remote::Alias(Box::new(answer), target, kind));
                }
                Answer::Records { answers, additionals } => {
                    if answers.is_empty() {
                        answer.add_authority(self.zone.authority());
                    }
                    answer.add_answers(answers);
                    answer.add_additionals(additionals);
                    break;
                }
            }
        }
        Local::Done(encode(&answer, &message, over_tcp))
    }

    async fn remote(&self, remote: Remote, question: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
        let permit = self.forwards.try_acquire();
        match remote {
            Remote::Question(message) => {
                let answer = match permit {
                    Ok(_permit) => {
                        let own = message.queries.first().and_then(|query| self.zone.resolvers(query.name()));
                        self.upstream.ask(own, question, over_tcp).await
                    }
                    Err(_) => None,
                };
                Some(
                    answer.unwrap_or_else(|| {
                        encode(&refuse(&message, ResponseCode::ServFail), &message, over_tcp)
                    }),
                )
            }
            Remote::Alias(mut answer, name, kind) => {
                // The alias itself is a valid answer, should nobody know its target.
                if let Ok(_permit) = permit {
                    let own = self.zone.resolvers(&name);
                    let mut outside = Message::new(0, MessageType::Query, OpCode::Query);
                    outside.metadata.recursion_desired = true;
                    outside.add_query(Query::query(name, kind));
                    let bytes = outside.to_vec().ok()?;
                    let reply = self.upstream.ask(own, &bytes, over_tcp).await;
                    if let Some(reply) = reply.and_then(|reply| Message::from_vec(&reply).ok()) {
                        answer.add_answers(reply.answers);
                    }
                }
                let message = Message::from_vec(question).ok()?;
                Some(encode(&answer, &message, over_tcp))
            }
        }
    }
}

fn respond(question: &Message) -> Message {
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.metadata.recursion_desired = question.metadata.recursion_desired;
    answer.metadata.checking_disabled = question.metadata.checking_disabled;
    answer.metadata.recursion_available = true;
    answer.metadata.authoritative = true;
    answer.add_queries(question.queries.iter().cloned());
    if question.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(DATAGRAM);
        answer.set_edns(edns);
    }
    answer
}

fn refuse(question: &Message, code: ResponseCode) -> Message {
    let mut answer = respond(question);
    answer.metadata.authoritative = false;
    answer.metadata.response_code = code;
    answer
}

/// A format error for what carries at least an identifier and is no answer itself.
fn malformed(question: &[u8]) -> Option<Vec<u8>> {
    let [high, low, flags, ..] = question else { return None };
    if question.len() < 12 || flags & 0x80 != 0 {
        return None;
    }
    let id = u16::from_be_bytes([*high, *low]);
    Message::error_msg(id, OpCode::Query, ResponseCode::FormErr).to_vec().ok()
}

/// The bytes of an answer, cut to what the client takes in a datagram.
fn encode(answer: &Message, question: &Message, over_tcp: bool) -> Vec<u8> {
    let bytes = answer.to_vec().unwrap_or_default();
    let room =
        if over_tcp { usize::from(u16::MAX) } else { usize::from(question.max_payload().min(DATAGRAM)) };
    if bytes.len() <= room && !bytes.is_empty() {
        return bytes;
    }
    answer.truncate().to_vec().unwrap_or_default()
}
