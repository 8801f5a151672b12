//! The pool of connections that read.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::schema::Location;
use super::snapshot::Snapshot;
use crate::Error;

/// A few connections, opened when first needed; a read waits for a free one and then runs on a thread
/// where it may block.
pub(super) struct Readers {
    location: Location,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(location: Location, most: usize) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(most.max(1)));
        Arc::new(Self { location, permits, idle: Mutex::default() })
    }

    /// Runs a read on the newest state.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Snapshot<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| Error::Closed)?;
        let readers = Arc::clone(self);
        let run = move || {
            // Held until the read is over, also when nobody waits for it any longer.
            let _permit = permit;
            let mut connection = readers.take()?;
            let result = Snapshot::of(&mut connection).and_then(|snapshot| read(&snapshot));
            readers.give_back(connection);
            result
        };
        tokio::task::spawn_blocking(run).await.map_err(|error| Error::Database(Box::new(error)))?
    }

    /// Refuses further reads and closes the connections; a read that is under way finishes.
    pub(super) fn close(&self) {
        self.permits.close();
        self.lock().clear();
    }

    fn take(&self) -> Result<Connection, Error> {
        let idle = self.lock().pop();
        idle.map_or_else(|| self.location.reader(), Ok)
    }

    fn give_back(&self, connection: Connection) {
        let mut idle = self.lock();
        if !self.permits.is_closed() {
            idle.push(connection);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
