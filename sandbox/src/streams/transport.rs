//! Carries a session's pipes over the connection that the client asked for.

mod spdy_channels;
pub(crate) mod web_socket;

use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;

use super::{
    handshake::{Dialect, Upgrade},
    session::{Pipes, Session},
    spdy::SpdyError,
};

/// How many messages may wait in either direction.
const QUEUE: usize = 16;

/// Why a session's connection ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    /// The client did not go through with the upgrade.
    #[error("upgrade: {0}")]
    Upgrade(#[from] hyper::Error),
    /// The WebSocket broke.
    #[error("web socket: {0}")]
    WebSocket(Box<tokio_tungstenite::tungstenite::Error>),
    /// The SPDY connection broke.
    #[error(transparent)]
    Spdy(#[from] SpdyError),
    /// The client did not open the streams that its request announced.
    #[error("the client opened no stream {0:?} in time")]
    Missing(&'static str),
}

impl From<tokio_tungstenite::tungstenite::Error> for TransportError {
    fn from(error: tokio_tungstenite::tungstenite::Error) -> Self {
        Self::WebSocket(Box::new(error))
    }
}

/// Runs a session over a connection.
pub(super) async fn serve(upgrade: Upgrade, session: Session) -> Result<(), TransportError> {
    let io = TokioIo::new(upgrade.connection.await?);
    let (input, inputs) = mpsc::channel(QUEUE);
    let (outputs, output) = mpsc::channel(QUEUE);
    let wants = session.wants;
    let session = session.run(Pipes { inputs, outputs });
    let carried = async {
        match upgrade.dialect {
            Dialect::WebSocket { closes } => web_socket::carry(io, closes, input, output).await,
            Dialect::Spdy | Dialect::Tunnel => spdy_channels::carry(io, wants, input, output).await,
        }
    };
    // The session ends when the transport drops its ends, and the transport when the session drops its.
    let ((), carried) = tokio::join!(session, carried);
    carried
}
