//! Questions about the rest of the world, passed on to the resolvers of the control plane's pod.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// How long one resolver may take before the next is asked.
const PATIENCE: Duration = Duration::from_secs(2);

/// The largest UDP answer taken; what resolvers send without fragmentation is below.
const DATAGRAM: usize = 4096;

/// Resolvers to pass questions to, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Upstream {
    resolvers: Vec<SocketAddr>,
}

impl Upstream {
    pub fn new(resolvers: Vec<SocketAddr>) -> Self {
        Self { resolvers }
    }

    /// The resolvers that a `resolv.conf` names; none if it cannot be read.
    pub fn read(path: &Path) -> Self {
        std::fs::read_to_string(path).map(|text| Self::parse(&text)).unwrap_or_default()
    }

    pub fn parse(text: &str) -> Self {
        let resolvers = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("nameserver"))
            .filter_map(|address| address.split_whitespace().next())
            .filter_map(|address| address.split('%').next()?.parse::<IpAddr>().ok())
            .map(|address| SocketAddr::new(address, 53))
            .collect();
        Self { resolvers }
    }

    /// Passes a question on as it came and returns the first answer as it came. The question goes from a port of
    /// its own, so its identifier and the random port guard the answer as with any stub resolver.
    ///
    /// `own` are the resolvers to ask instead of the usual ones.
    pub async fn ask(&self, own: Option<&[SocketAddr]>, question: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
        for resolver in own.unwrap_or(&self.resolvers) {
            let answer = async {
                if over_tcp { ask_tcp(*resolver, question).await } else { ask_udp(*resolver, question).await }
            };
            match tokio::time::timeout(PATIENCE, answer).await {
                Ok(Ok(answer)) => return Some(answer),
                Ok(Err(error)) => tracing::debug!(%resolver, %error, "a resolver cannot be asked"),
                Err(_) => tracing::debug!(%resolver, "a resolver does not answer"),
            }
        }
        None
    }
}

async fn ask_udp(resolver: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let any: SocketAddr = if resolver.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(resolver).await?;
    // A fresh identifier: the client's may be guessed by who knows the client.
    let identifier: [u8; 2] = rand::random();
    let mut sent = question.to_vec();
    let Some(own) = sent.get_mut(..2) else { return Err(std::io::ErrorKind::InvalidInput.into()) };
    own.copy_from_slice(&identifier);
    socket.send(&sent).await?;

    let mut answer = vec![0; DATAGRAM];
    loop {
        let length = socket.recv(&mut answer).await?;
        if length < 12 || !answer.starts_with(&identifier) {
            continue;
        }
        answer.truncate(length);
        for (to, from) in answer.iter_mut().zip(question).take(2) {
            *to = *from;
        }
        return Ok(answer);
    }
}

async fn ask_tcp(resolver: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(resolver).await?;
    let length = u16::try_from(question.len()).map_err(|_| std::io::ErrorKind::InvalidInput)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(question).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_come_from_resolv_conf() {
        let upstream = Upstream::parse(
            "search host.svc\nnameserver 10.96.0.10\n# nameserver 1.1.1.1\nnameserver fe80::1%eth0\noptions ndots:5\n",
        );
        let expected = ["10.96.0.10:53", "[fe80::1]:53"].map(|address| address.parse().unwrap());
        assert_eq!(upstream, Upstream::new(expected.to_vec()));
    }
}
