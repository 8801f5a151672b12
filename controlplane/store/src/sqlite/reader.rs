//! The pool of connections that read.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::task::{JoinError, spawn_blocking};

use super::schema::{Location, enlarge_cache};
use super::snapshot::Snapshot;
use crate::watch::History;
use crate::{Error, Event, Revision};

/// A few connections, opened when first needed. A read waits for a free one and then runs on a thread where it may block;
/// only a look-up of a row runs where it is asked for.
pub(super) struct Readers {
    location: Location,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

fn failed(error: JoinError) -> Error {
    Error::Database(Box::new(error))
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
        self.elsewhere(|connection| {
            enlarge_cache(connection, true)?;
            let result = Snapshot::of(connection).and_then(|snapshot| read(&snapshot));
            enlarge_cache(connection, false)?;
            result
        })
        .await
    }

    /// Runs one query of a row or two. Where a connection is free that happens at once: it takes a few microseconds,
    /// less than to hand it to another thread.
    pub(super) async fn look_up<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => self.run(permit, |connection| query(connection)),
            Err(TryAcquireError::Closed) => Err(Error::Closed),
            Err(TryAcquireError::NoPermits) => self.elsewhere(|connection| query(connection)).await,
        }
    }

    fn run<T>(
        &self,
        permit: OwnedSemaphorePermit,
        read: impl FnOnce(&mut Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // Held until the read is over, also when nobody waits for it any longer.
        let _permit = permit;
        let mut connection = self.take()?;
        let result = read(&mut connection);
        self.give_back(connection);
        result
    }

    /// Runs a read on a thread where it may block.
    async fn elsewhere<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let readers = Arc::clone(self);
        let run = move |permit: OwnedSemaphorePermit| readers.run(permit, read);
        let permits = Arc::clone(&self.permits);
        let reading = match Arc::clone(&permits).try_acquire_owned() {
            Ok(permit) => spawn_blocking(move || run(permit)),
            Err(TryAcquireError::Closed) => return Err(Error::Closed),
            // Who waits for a permit is given one in its turn, and whoever asked here may not look for long, as the
            // watch of a slow client: then all others would wait for it. So a task of its own waits instead.
            Err(TryAcquireError::NoPermits) => tokio::spawn(async move {
                let permit = permits.acquire_owned().await.map_err(|_| Error::Closed)?;
                spawn_blocking(move || run(permit)).await.map_err(failed)?
            }),
        };
        reading.await.map_err(failed)?
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

impl History for Readers {
    async fn events(
        self: &Arc<Self>,
        prefix: Arc<str>,
        after: Revision,
        end: Revision,
    ) -> Result<(Vec<Arc<Event>>, Revision), Error> {
        self.read(move |snapshot| snapshot.events(&prefix, after, end)).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::poll;

    use crate::sqlite::SqliteStore;

    #[tokio::test]
    async fn reads_whose_askers_do_not_look_hold_up_no_other() {
        let store = SqliteStore::in_memory().unwrap();
        let readers = &store.readers;
        let most = readers.permits.available_permits();
        let busy: Vec<_> = (0..most).map(|_| readers.permits.clone().try_acquire_owned().unwrap()).collect();
        let mut neglected: Vec<_> = (0..most).map(|_| Box::pin(readers.read(|_| Ok(())))).collect();
        for read in &mut neglected {
            assert!(poll!(read.as_mut()).is_pending());
        }
        drop(busy);
        let other = tokio::time::timeout(Duration::from_secs(20), readers.read(|_| Ok(())));
        assert!(other.await.is_ok(), "it waits for those that nobody polls");
    }
}
