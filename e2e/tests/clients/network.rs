//! A network between clients and a server that can be cut.

use std::{
    io,
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// Carries connections to a server, unless it is cut. It lasts as long as the process.
pub struct Network {
    /// Where the server is reached through it.
    pub address: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    cut: bool,
    streams: Vec<TcpStream>,
}

impl Network {
    /// A network in front of the server at this address.
    pub fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming() {
                // Who goes away while being connected is as good as cut off.
                let _ = client.and_then(|client| carry(&shared, client, &server));
            }
        });
        Self { address, state }
    }

    /// Ends all connections and carries no new ones.
    pub fn cut(&self) {
        let mut state = self.state.lock().unwrap();
        state.cut = true;
        for stream in state.streams.drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Carries connections again.
    pub fn mend(&self) {
        self.state.lock().unwrap().cut = false;
    }
}

fn carry(state: &Mutex<State>, client: TcpStream, server: &str) -> io::Result<()> {
    let mut state = state.lock().unwrap();
    if state.cut {
        return Ok(());
    }
    let server = TcpStream::connect(server)?;
    for (from, to) in [(&client, &server), (&server, &client)] {
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        thread::spawn(move || {
            // However it ends, the other side learns that nothing more comes.
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    state.streams.extend([client, server]);
    Ok(())
}
