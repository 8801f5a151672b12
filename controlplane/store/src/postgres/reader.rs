//! Reading: every answer comes from one statement, so it shows one state of the whole log, needs no transaction, and
//! shares its connection with others that are under way.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::StreamExt as _;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, RowStream, Statement};

use super::address::Address;
use super::session::{Prepared, Session, Slot};
use super::sql::{self, Keys};
use crate::record::Current;
use crate::ring::size;
use crate::watch::{History, PAGE_BYTES, PAGE_EVENTS, check_events_after};
use crate::{Entry, Error, Event, PART_BYTES, Page, Part, Range, Revision};

/// The statements that read.
pub(super) struct Reads {
    get: Statement,
    get_at: Statement,
    list: Statement,
    list_at: Statement,
    has: Statement,
    count: Statement,
    events: Statement,
    state: Statement,
    compact: Statement,
    sweep: Statement,
}

impl Prepared for Reads {
    async fn prepare(client: &Client) -> Result<Self, tokio_postgres::Error> {
        let one = |sql| client.prepare(sql);
        let (get, get_at, list, list_at, has, count, events, state, compact, sweep) = futures::try_join!(
            one(sql::GET),
            one(sql::GET_AT),
            one(sql::LIST),
            one(sql::LIST_AT),
            one(sql::HAS),
            one(sql::COUNT),
            one(sql::EVENTS),
            one(sql::STATE),
            one(sql::COMPACT),
            one(sql::SWEEP),
        )?;
        Ok(Self { get, get_at, list, list_at, has, count, events, state, compact, sweep })
    }
}

/// How far the log has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    pub(super) newest: Revision,
    pub(super) oldest: Revision,
    /// In how many milliseconds the next key expires.
    pub(super) expires_in: Option<i64>,
}

/// A few connections, opened when first needed.
pub(super) struct Readers {
    seats: Vec<Seat>,
}

struct Seat {
    slot: Slot<Reads>,
    /// How many reads are under way on it.
    busy: AtomicUsize,
}

type Reading<T> = BoxFuture<'static, Result<T, Error>>;

impl Readers {
    pub(super) fn new(address: &Arc<Address>, most: usize) -> Arc<Self> {
        let seat = |_| Seat { slot: Slot::new(Arc::clone(address), None), busy: AtomicUsize::new(0) };
        Arc::new(Self { seats: (0..most.max(1)).map(seat).collect() })
    }

    pub(super) async fn close(&self) {
        for seat in &self.seats {
            seat.slot.close().await;
        }
    }

    /// Runs a read on the connection that has the least to do, and once more on a new one if that breaks. It goes on
    /// whether or not its asker looks: what one does not take holds up all on the same connection.
    async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl Fn(Arc<Session<Reads>>) -> Reading<T> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        let readers = Arc::clone(self);
        let reading = tokio::spawn(async move {
            let Some(seat) = readers.seats.iter().min_by_key(|seat| seat.busy.load(Ordering::Relaxed)) else {
                return Err(Error::Closed);
            };
            seat.busy.fetch_add(1, Ordering::Relaxed);
            let result = match seat.attempt(&read).await {
                Err((Error::Unavailable(_), true)) => seat.attempt(&read).await,
                result => result,
            };
            seat.busy.fetch_sub(1, Ordering::Relaxed);
            result.map_err(|(error, _)| error)
        });
        reading.await.map_err(|error| Error::Database(Box::new(error)))?
    }

    pub(super) async fn state(self: &Arc<Self>) -> Result<State, Error> {
        self.read(|session| {
            Box::pin(async move {
                let row = session.client.query_one(&session.statements.state, &[]).await?;
                Ok(State {
                    newest: revision(&row, 0)?,
                    oldest: revision(&row, 1)?,
                    expires_in: row.try_get(2)?,
                })
            })
        })
        .await
    }

    pub(super) async fn get(
        self: &Arc<Self>,
        key: String,
        at: Option<Revision>,
    ) -> Result<Option<Entry>, Error> {
        let Some(at) = at else {
            return self
                .read(move |session| {
                    let key = key.clone();
                    Box::pin(async move {
                        let found =
                            session.client.query_opt(&session.statements.get, &[&key.as_bytes()]).await?;
                        found.map(|row| entry(&row, 0)).transpose()
                    })
                })
                .await;
        };
        self.read(move |session| {
            let key = key.clone();
            Box::pin(async move {
                let at_row = signed(at);
                let row =
                    session.client.query_one(&session.statements.get_at, &[&key.as_bytes(), &at_row]).await?;
                resolve(Some(at), &row)?;
                if row.try_get::<_, Option<bool>>(7)? == Some(false) {
                    entry(&row, 2).map(Some)
                } else {
                    Ok(None)
                }
            })
        })
        .await
    }

    pub(super) async fn has(self: &Arc<Self>, prefix: String) -> Result<bool, Error> {
        self.read(move |session| {
            let keys = Keys::with_prefix(&prefix);
            Box::pin(async move {
                let row =
                    session.client.query_one(&session.statements.has, &[&keys.start, &keys.end]).await?;
                Ok(row.try_get(0)?)
            })
        })
        .await
    }

    pub(super) async fn count(self: &Arc<Self>, prefix: String) -> Result<u64, Error> {
        self.read(move |session| {
            let keys = Keys::with_prefix(&prefix);
            Box::pin(async move {
                let row =
                    session.client.query_one(&session.statements.count, &[&keys.start, &keys.end]).await?;
                revision(&row, 0)
            })
        })
        .await
    }

    pub(super) async fn list(self: &Arc<Self>, range: Range) -> Result<Page, Error> {
        self.read(move |session| {
            let range = range.clone();
            Box::pin(async move {
                let mut keys = Keys::with_prefix(&range.prefix);
                if let Some(after) = &range.after {
                    keys = keys.after(after);
                }
                let mut rows = pin!(rows(&session, &keys, range.limit, range.at).await?);
                let (mut entries, mut shown, mut total) = (Vec::new(), 0, 0);
                while let Some(row) = rows.next().await {
                    let row = row?;
                    shown = resolve(range.at, &row)?;
                    total = revision(&row, 2)?;
                    entries.extend(listed(&row)?);
                }
                let remaining = if range.limit == 0 { 0 } else { total.saturating_sub(entries.len() as u64) };
                Ok(Page { entries, revision: shown, remaining })
            })
        })
        .await
    }

    /// Hands all keys with this prefix to `take`, in parts, for as long as it wants more.
    pub(super) async fn parts(
        self: &Arc<Self>,
        prefix: String,
        at: Option<Revision>,
        take: impl Fn(Part) -> bool + Send + Sync + 'static,
    ) -> Result<(), Error> {
        let take = Arc::new(take);
        self.read(move |session| {
            let (keys, take) = (Keys::with_prefix(&prefix), Arc::clone(&take));
            Box::pin(async move {
                let mut rows = pin!(rows(&session, &keys, 0, at).await?);
                let (mut entries, mut bytes, mut shown) = (Vec::new(), 0, 0);
                while let Some(row) = rows.next().await {
                    // Parts that have been handed out are not taken back, so what breaks now is not tried again.
                    let row = row.map_err(|error| {
                        if shown == 0 { error.into() } else { Error::Database(Box::new(error)) }
                    })?;
                    shown = resolve(at, &row)?;
                    if bytes >= PART_BYTES {
                        bytes = 0;
                        let part =
                            Part { entries: std::mem::take(&mut entries), revision: shown, is_last: false };
                        if !take(part) {
                            return Ok(());
                        }
                    }
                    if let Some(entry) = listed(&row)? {
                        bytes += entry.value.len() + entry.index.len();
                        entries.push(entry);
                    }
                }
                take(Part { entries, revision: shown, is_last: true });
                Ok(())
            })
        })
        .await
    }

    /// Moves the compaction point to `goal`, or further if it is there already.
    pub(super) async fn compact(self: &Arc<Self>, goal: Revision) -> Result<State, Error> {
        self.read(move |session| {
            Box::pin(async move {
                let Session { client, statements } = &*session;
                let to: [&(dyn ToSql + Sync); 1] = [&signed(goal)];
                // Sent together; the second statement sees what the first has done.
                let moved = client.execute(&statements.compact, &to);
                let (_, row) = futures::try_join!(moved, client.query_one(&statements.state, &[]))?;
                let (newest, oldest) = (revision(&row, 0)?, revision(&row, 1)?);
                if goal > newest {
                    return Err(Error::Future { requested: goal, newest });
                }
                Ok(State { newest, oldest, expires_in: row.try_get(2)? })
            })
        })
        .await
    }

    /// Removes some of the rows that are of no use since the compaction, unless another replica is at it; and whether
    /// there may be more.
    pub(super) async fn sweep(self: &Arc<Self>, most: i64) -> Result<bool, Error> {
        self.read(move |session| {
            Box::pin(async move {
                let done = session.client.query_opt(&session.statements.sweep, &[&most]).await?;
                done.map_or(Ok(false), |row| Ok(row.try_get(0)?))
            })
        })
        .await
    }
}

impl Seat {
    /// Runs a read; with an error, whether it is worth another try, as the connection may just have been an old one.
    async fn attempt<T>(
        &self,
        read: &(impl Fn(Arc<Session<Reads>>) -> Reading<T> + Sync),
    ) -> Result<T, (Error, bool)> {
        let session = self.slot.get().await.map_err(|error| (error, false))?;
        let result = read(Arc::clone(&session)).await;
        match result {
            Err(error @ Error::Unavailable(_)) => {
                self.slot.discard(&session).await;
                Err((error, true))
            }
            result => result.map_err(|error| (error, false)),
        }
    }
}

impl History for Readers {
    async fn events(
        self: &Arc<Self>,
        prefix: Arc<str>,
        after: Revision,
        end: Revision,
    ) -> Result<(Vec<Arc<Event>>, Revision), Error> {
        self.read(move |session| {
            let keys = Keys::with_prefix(&prefix);
            Box::pin(async move {
                let (from, to, most) = (signed(after), signed(end), PAGE_EVENTS as i64);
                let parameters: [&(dyn ToSql + Sync); 5] = [&from, &to, &keys.start, &keys.end, &most];
                let mut rows = pin!(session.client.query_raw(&session.statements.events, parameters).await?);
                let (mut events, mut bytes) = (Vec::new(), 0);
                while let Some(row) = rows.next().await {
                    let row = row?;
                    check_events_after(after, revision(&row, 1)?)?;
                    if row.try_get::<_, Option<&[u8]>>(2)?.is_none() {
                        break;
                    }
                    let event = event(&row)?;
                    let reached = event.revision;
                    bytes += size(&event);
                    events.push(Arc::new(event));
                    if events.len() == PAGE_EVENTS || bytes >= PAGE_BYTES {
                        return Ok((events, reached));
                    }
                }
                Ok((events, end))
            })
        })
        .await
    }
}

async fn rows(
    session: &Session<Reads>,
    keys: &Keys,
    limit: usize,
    at: Option<Revision>,
) -> Result<RowStream, tokio_postgres::Error> {
    let limit = if limit == 0 { None } else { i64::try_from(limit).ok() };
    let (client, statements) = (&session.client, &session.statements);
    match at {
        None => {
            let parameters: [&(dyn ToSql + Sync); 3] = [&keys.start, &keys.end, &limit];
            client.query_raw(&statements.list, parameters).await
        }
        Some(at) => {
            let at = signed(at);
            let parameters: [&(dyn ToSql + Sync); 4] = [&keys.start, &keys.end, &limit, &at];
            client.query_raw(&statements.list_at, parameters).await
        }
    }
}

/// The revision that a row shows which begins with `newest, oldest`, when `at` was asked for.
fn resolve(at: Option<Revision>, row: &Row) -> Result<Revision, Error> {
    let (newest, oldest) = (revision(row, 0)?, revision(row, 1)?);
    match at {
        Some(requested) if requested > newest => Err(Error::Future { requested, newest }),
        Some(requested) if requested < oldest => Err(Error::Compacted { requested, oldest }),
        at => Ok(at.unwrap_or(newest)),
    }
}

/// The entry of a row of a list; a list of nothing has one row without.
fn listed(row: &Row) -> Result<Option<Entry>, Error> {
    match row.try_get::<_, Option<&[u8]>>(3)? {
        None => Ok(None),
        Some(_) => entry(row, 3).map(Some),
    }
}

/// Reads an entry from the columns `key, value, fields, created, revision`, starting at `first`.
pub(super) fn entry(row: &Row, first: usize) -> Result<Entry, Error> {
    state(row, key(row, first)?, first + 1)
}

/// Reads what a write finds: an entry and its `revision_at`.
pub(super) fn current(row: &Row) -> Result<Current, Error> {
    let revision_at: Option<i32> = row.try_get(5)?;
    Ok(Current { entry: entry(row, 0)?, revision_at: revision_at.and_then(|at| u32::try_from(at).ok()) })
}

fn event(row: &Row) -> Result<Event, Error> {
    let entry = entry(row, 2)?;
    let previous = match row.try_get::<_, Option<&[u8]>>(8)? {
        None => None,
        Some(_) => Some(state(row, entry.key.clone(), 8)?),
    };
    Ok(Event { revision: entry.modified, deleted: row.try_get(7)?, entry, previous })
}

fn key(row: &Row, column: usize) -> Result<String, Error> {
    let bytes: &[u8] = row.try_get(column)?;
    String::from_utf8(bytes.to_vec()).map_err(|error| Error::Database(Box::new(error)))
}

/// Reads an entry from the columns `value, fields, created, revision`, starting at `first`.
fn state(row: &Row, key: String, first: usize) -> Result<Entry, Error> {
    let blob = |column| -> Result<Bytes, Error> { Ok(Bytes::copy_from_slice(row.try_get(column)?)) };
    Ok(Entry {
        key,
        value: blob(first)?,
        index: blob(first + 1)?,
        created: revision(row, first + 2)?,
        modified: revision(row, first + 3)?,
    })
}

pub(super) fn revision(row: &Row, column: usize) -> Result<Revision, Error> {
    let number: i64 = row.try_get(column)?;
    Ok(Revision::try_from(number).unwrap_or_default())
}

/// As PostgreSQL has it; what is beyond its numbers is beyond every revision.
pub(super) fn signed(revision: Revision) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}
