//! Questions over sockets.

use std::net::SocketAddr;
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;

use super::super::overrides::DnsOverrides;
use super::super::server::DnsServer;
use super::super::zone::Zone;
use crate::config::Config;
use crate::context::Context;
use crate::labels::Translator;

/// A resolver that knows one address for every name.
async fn outside(last: u8) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut bytes = [0; 512];
        loop {
            let (length, client) = socket.recv_from(&mut bytes).await.unwrap();
            let question = Message::from_vec(&bytes[..length]).unwrap();
            let mut answer = Message::response(question.metadata.id, OpCode::Query);
            answer.add_queries(question.queries.clone());
            let data = RData::A(A([192, 0, 2, last].into()));
            answer.add_answer(Record::from_rdata(question.queries[0].name().clone(), 60, data));
            socket.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
        }
    });
    address
}

/// `hosted` is a name of the host's that looks like one of ours; `stub.test` has a resolver of its own.
fn overrides(stub: SocketAddr) -> DnsOverrides {
    let names = [("hosted.shop.svc.cluster.local", "db.prod.svc.cluster.local"), ("fixed.test", "192.0.2.7")];
    let names = names.map(|(name, target)| (name.to_owned(), target.to_owned())).into();
    DnsOverrides::parse(&names, &[("stub.test".to_owned(), vec![stub.to_string()])].into()).unwrap()
}

/// A server over the names of the tests; `outstanding` caches are not yet filled.
async fn server(outstanding: usize) -> SocketAddr {
    let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
    let client = kube::Client::try_from(config).unwrap();
    let mut settings = Config::new("demo", "tenant");
    settings.dns = overrides(outside(53).await);
    let mut context = Context::new(Translator::new(settings), client.clone(), client);
    context.virtual_side = super::caches();
    let (sender, receiver) = tokio::sync::watch::channel(outstanding);
    let zone = Zone::new(Arc::new(context), receiver);
    let any = "127.0.0.1:0".parse().unwrap();
    let server = DnsServer::bind_with_resolvers(any, zone, vec![outside(80).await]).await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(async move {
        server.run(CancellationToken::new()).await;
        drop(sender);
    });
    address
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

async fn ask(server: SocketAddr, bytes: &[u8]) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(bytes, server).await.unwrap();
    let mut answer = [0; 4096];
    let length = socket.recv(&mut answer).await.unwrap();
    Message::from_vec(&answer[..length]).unwrap()
}

async fn resolve(server: SocketAddr, name: &str) -> (ResponseCode, Vec<String>) {
    let answer = ask(server, &question(name, RecordType::A).to_vec().unwrap()).await;
    assert_eq!(answer.metadata.id, 4711);
    (answer.metadata.response_code, answer.answers.iter().map(|record| record.data.to_string()).collect())
}

#[tokio::test]
async fn names_of_the_cluster_are_answered_with_authority() {
    let server = server(0).await;
    let answer = ask(server, &question("web.shop.svc.cluster.local.", RecordType::A).to_vec().unwrap()).await;
    assert!(answer.metadata.authoritative && answer.metadata.recursion_available);
    assert_eq!(answer.answers[0].data.to_string(), "10.96.0.7");
}

#[tokio::test]
async fn unknown_names_come_with_the_start_of_authority() {
    let server = server(0).await;
    let answer =
        ask(server, &question("nope.shop.svc.cluster.local.", RecordType::A).to_vec().unwrap()).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(answer.authorities[0].record_type(), RecordType::SOA);
}

#[tokio::test]
async fn other_names_are_asked_outside() {
    let server = server(0).await;
    assert_eq!(resolve(server, "example.com.").await, (ResponseCode::NoError, vec!["192.0.2.80".into()]));
}

#[tokio::test]
async fn aliases_are_followed_outside_and_inside() {
    let server = server(0).await;
    let (_, outside) = resolve(server, "out.shop.svc.cluster.local.").await;
    assert_eq!(outside, ["example.com.", "192.0.2.80"]);
    let (_, inside) = resolve(server, "near.shop.svc.cluster.local.").await;
    assert_eq!(inside, ["web.shop.svc.cluster.local.", "10.96.0.7"]);
}

#[tokio::test]
async fn a_name_may_stand_for_one_of_the_hosts_or_for_an_address() {
    let server = server(0).await;
    let (_, hosted) = resolve(server, "hosted.shop.svc.cluster.local.").await;
    assert_eq!(hosted, ["db.prod.svc.cluster.local.", "192.0.2.80"], "the host's resolvers know it");
    assert_eq!(resolve(server, "fixed.test.").await.1, ["192.0.2.7"]);
}

#[tokio::test]
async fn a_stub_domain_is_asked_of_its_own_resolvers() {
    let server = server(0).await;
    assert_eq!(resolve(server, "a.stub.test.").await.1, ["192.0.2.53"]);
    assert_eq!(resolve(server, "a.other.test.").await.1, ["192.0.2.80"]);
}

#[tokio::test]
async fn before_the_caches_are_full_nothing_is_denied() {
    let server = server(1).await;
    assert_eq!(resolve(server, "web.shop.svc.cluster.local.").await.0, ResponseCode::ServFail);
    assert_eq!(resolve(server, "example.com.").await.0, ResponseCode::NoError);
}

#[tokio::test]
async fn rubbish_is_answered_as_such_or_not_at_all() {
    let server = server(0).await;
    let answer = ask(server, &[1, 2, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0]).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::FormErr);
}

#[tokio::test]
async fn one_connection_carries_several_questions() {
    let server = server(0).await;
    let mut stream = TcpStream::connect(server).await.unwrap();
    for name in ["web.shop.svc.cluster.local.", "kubernetes.default.svc.cluster.local."] {
        let bytes = question(name, RecordType::A).to_vec().unwrap();
        stream.write_u16(bytes.len() as u16).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(Message::from_vec(&answer).unwrap().answers.len(), 1, "{name}");
    }
}

#[tokio::test]
async fn answers_too_long_for_a_datagram_say_so() {
    let server = server(0).await;
    let answer =
        ask(server, &question("many.shop.svc.cluster.local.", RecordType::A).to_vec().unwrap()).await;
    assert!(answer.metadata.truncation);
    assert!(answer.answers.is_empty());
}
