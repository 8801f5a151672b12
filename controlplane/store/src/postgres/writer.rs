//! The one task of a replica that writes.
//!
//! It takes all commits that are waiting, and writes them in one transaction of two round trips: lock and look, then
//! append and commit. While it does, the next ones gather.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep_until, timeout};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

use super::batch::Batch;
use super::reader::{current, revision, signed};
use super::session::{Cause, Prepared, Session, Slot};
use super::sql;
use super::tail::Tail;
use crate::record::Current;
use crate::retention::Retention;
use crate::{Error, Event, Revision, Write};

/// The bounds of one transaction: enough to make the share of each commit small, few enough that the first need not
/// wait long for the last, and that it fits into memory.
const MOST_COMMITS: usize = 256;
const MOST_BYTES: usize = 8 << 20;

/// At most so many keys expire in one transaction.
const EXPIRED_AT_ONCE: i64 = 256;

/// How long a transaction may take, the wait for those of other replicas included.
const LONGEST: Duration = Duration::from_secs(20);

/// How long expiry waits after the database failed.
const RETRY: Duration = Duration::from_secs(1);

/// How much history has to be too old before some is forgotten: few statements that forget much.
const FORGET_AT_ONCE: u64 = 256;

/// What a commit comes to: the revisions of its writes.
pub(super) type Outcome = Result<Vec<Revision>, Error>;

/// What the writer is asked to do.
pub(super) enum Command {
    Commit(Vec<Write>, oneshot::Sender<Outcome>),
    /// A key expires then.
    Expire(Instant),
    /// Finish what was asked before, then end.
    Close(oneshot::Sender<()>),
}

/// The statements that write.
pub(super) struct Writes {
    lock: Statement,
    current: Statement,
    expired: Statement,
    append: Statement,
    set: Statement,
    unset: Statement,
    advance: Statement,
    state: Statement,
    notify: Statement,
}

impl Prepared for Writes {
    async fn prepare(client: &Client) -> Result<Self, tokio_postgres::Error> {
        let one = |sql| client.prepare(sql);
        let (lock, current, expired, append, set, unset, advance, state, notify) = futures::try_join!(
            one(sql::LOCK),
            one(sql::CURRENT),
            one(sql::EXPIRED),
            one(sql::APPEND),
            one(sql::SET),
            one(sql::UNSET),
            one(sql::ADVANCE),
            one(sql::STATE),
            one(sql::NOTIFY),
        )?;
        Ok(Self { lock, current, expired, append, set, unset, advance, state, notify })
    }
}

pub(super) struct Writer {
    pub(super) slot: Arc<Slot<Writes>>,
    pub(super) channel: String,
    pub(super) tail: Arc<Tail>,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) retention: Retention,
    /// When a key expires next, as far as is known.
    pub(super) expiry: Option<Instant>,
}

/// The commits that one round takes up.
#[derive(Default)]
struct Round {
    commits: Vec<Vec<Write>>,
    replies: Vec<oneshot::Sender<Outcome>>,
    bytes: usize,
    closing: Option<oneshot::Sender<()>>,
}

/// What a transaction has done.
struct Done {
    results: Vec<Outcome>,
    events: Vec<Arc<Event>>,
    oldest: Revision,
    /// In how many milliseconds the next key expires, where that was asked.
    expires_in: Option<i64>,
}

/// Why a transaction has failed, and whether it is certain that nothing of it was written.
struct Failure {
    error: Error,
    is_undone: bool,
}

impl Writer {
    /// Works until it is told to close, or nobody is left who could.
    pub(super) async fn run(mut self) {
        loop {
            let round = self.gather().await;
            self.write(round.commits, round.replies).await;
            if let Some(closed) = round.closing {
                self.slot.close().await;
                // Whoever asked may be gone.
                let _ = closed.send(());
                return;
            }
        }
    }

    /// Waits for commands, or until a key expires, and takes all there are.
    async fn gather(&mut self) -> Round {
        let mut round = Round::default();
        let mut next = match self.expiry {
            None => Some(self.commands.recv().await),
            Some(at) => tokio::select! {
                biased;
                command = self.commands.recv() => Some(command),
                () = sleep_until(at.into()) => None,
            },
        };
        while let Some(command) = next {
            match command {
                Some(Command::Commit(writes, reply)) => {
                    round.bytes += writes.iter().map(size).sum::<usize>();
                    round.commits.push(writes);
                    round.replies.push(reply);
                }
                Some(Command::Expire(at)) => {
                    self.expiry = Some(self.expiry.map_or(at, |known| known.min(at)));
                }
                Some(Command::Close(closed)) => round.closing = Some(closed),
                None => round.closing = Some(oneshot::channel().0),
            }
            if round.closing.is_some() || round.commits.len() == MOST_COMMITS || round.bytes >= MOST_BYTES {
                break;
            }
            next = self.commands.try_recv().ok().map(Some);
        }
        round
    }

    /// One transaction: all these commits and what has expired. Answers when it is durable.
    async fn write(&mut self, commits: Vec<Vec<Write>>, replies: Vec<oneshot::Sender<Outcome>>) {
        let expires = self.expiry.is_some_and(|at| at <= Instant::now());
        if commits.is_empty() && !expires {
            return;
        }
        let mut result = self.attempt(&commits, expires).await;
        // The connection may have been an old one, or the database a new one that has taken over.
        if matches!(&result, Err(Failure { error: Error::Unavailable(_), is_undone: true })) {
            result = self.attempt(&commits, expires).await;
        }
        match result {
            Ok(done) => {
                let until = |ttl: Duration| Instant::now().checked_add(ttl);
                let expiries = commits.iter().flatten().filter_map(ttl).filter_map(until);
                let next = done.expires_in.and_then(|ms| until(Duration::from_millis(ms.max(0) as u64)));
                let known = if expires { next } else { self.expiry };
                self.expiry = expiries.chain(known).min();
                let newest = self.publish(done.events, done.oldest).await;
                for (reply, result) in replies.into_iter().zip(done.results) {
                    let _ = reply.send(result);
                }
                self.forget(newest, done.oldest);
            }
            Err(Failure { error, .. }) => {
                if expires {
                    self.expiry = Some(Instant::now() + RETRY);
                }
                // Of a database that is away the tail tells, once.
                if !matches!(error, Error::Unavailable(_)) {
                    tracing::error!(error = &error as &dyn std::error::Error, "a transaction failed");
                }
                fail(error, replies);
            }
        }
    }

    async fn attempt(&self, commits: &[Vec<Write>], expires: bool) -> Result<Done, Failure> {
        let session = match self.slot.get().await {
            Ok(session) => session,
            Err(error) => return Err(Failure { error, is_undone: true }),
        };
        let mut committing = false;
        let transaction = self.transact(&session, commits, expires, &mut committing);
        let result = match timeout(LONGEST, transaction).await {
            Ok(result) => result,
            Err(late) => Err(Error::Unavailable(Box::new(late))),
        };
        match result {
            Ok(done) => Ok(done),
            Err(error) => {
                // Where the transaction stands is not known; it ends with its connection.
                self.slot.discard(&session).await;
                Err(Failure { error, is_undone: !committing })
            }
        }
    }

    async fn transact(
        &self,
        session: &Session<Writes>,
        commits: &[Vec<Write>],
        expires: bool,
        committing: &mut bool,
    ) -> Result<Done, Error> {
        let Session { client, statements } = session;
        let keys: HashSet<&[u8]> = commits.iter().flatten().map(|write| write.key.as_bytes()).collect();
        let keys: Vec<&[u8]> = keys.into_iter().collect();
        let wanted: [&(dyn ToSql + Sync); 1] = [&keys];
        // Sent together, answered in this order: what is looked at is the state under the lock.
        let ((), locked, found, expired) = futures::try_join!(
            client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"),
            client.query_one(&statements.lock, &[]),
            client.query(&statements.current, &wanted),
            async {
                if expires {
                    client.query(&statements.expired, &[&EXPIRED_AT_ONCE]).await
                } else {
                    Ok(Vec::new())
                }
            },
        )?;
        let (newest, oldest) = (revision(&locked, 0)?, revision(&locked, 1)?);
        let now: i64 = locked.try_get(2)?;
        let expired = expired.iter().map(current).collect::<Result<Vec<Current>, _>>()?;
        let found = found.iter().map(current).collect::<Result<Vec<Current>, _>>()?;
        let gone: Vec<String> = expired.iter().map(|current| current.entry.key.clone()).collect();

        let mut batch = Batch::new(now.max(0) as u64, newest, expired.into_iter().chain(found));
        for key in gone {
            batch.expire(key);
        }
        let results = commits.iter().map(|writes| batch.commit(writes)).collect();
        *committing = !batch.rows.is_empty();
        let expires_in = self.finish(session, &batch, expires).await?;
        let events = batch.rows.into_iter().map(|row| row.event).collect();
        Ok(Done { results, events, oldest, expires_in })
    }

    /// Writes the rows and commits. When the next key expires is asked for if that was the last known.
    async fn finish(
        &self,
        session: &Session<Writes>,
        batch: &Batch,
        expires: bool,
    ) -> Result<Option<i64>, tokio_postgres::Error> {
        let Session { client, statements } = session;
        let (rows, newest) = (&batch.rows, signed(batch.newest()));
        let each =
            |of: fn(&Event) -> Revision| rows.iter().map(|row| signed(of(&row.event))).collect::<Vec<_>>();
        let revisions = each(|event| event.revision);
        let created = each(|event| event.entry.created);
        let previous = each(|event| event.previous.as_ref().map_or(0, |previous| previous.modified));
        let keys: Vec<&[u8]> = rows.iter().map(|row| row.event.entry.key.as_bytes()).collect();
        let deleted: Vec<bool> = rows.iter().map(|row| row.event.deleted).collect();
        let places: Vec<Option<i32>> = rows.iter().map(|row| row.revision_at.map(|at| at as i32)).collect();
        let fields: Vec<&[u8]> = rows.iter().map(|row| &row.event.entry.index[..]).collect();
        let values: Vec<&[u8]> = rows.iter().map(|row| &row.event.entry.value[..]).collect();

        let (unset, set): (Vec<_>, Vec<_>) = batch.outcome().into_iter().partition(|row| row.event.deleted);
        let set_keys: Vec<&[u8]> = set.iter().map(|row| row.event.entry.key.as_bytes()).collect();
        let set_revisions: Vec<i64> = set.iter().map(|row| signed(row.event.revision)).collect();
        let set_expires: Vec<Option<i64>> = set.iter().map(|row| row.expires.map(signed)).collect();
        let unset_keys: Vec<&[u8]> = unset.iter().map(|row| row.event.entry.key.as_bytes()).collect();

        let is_empty = rows.is_empty();
        let (_, _, _, _, next, (), _) = futures::try_join!(
            async {
                if is_empty {
                    return Ok(0);
                }
                let log: [&(dyn ToSql + Sync); 8] =
                    [&revisions, &keys, &deleted, &created, &previous, &places, &fields, &values];
                client.execute(&statements.append, &log).await
            },
            async {
                if set_keys.is_empty() {
                    return Ok(0);
                }
                client.execute(&statements.set, &[&set_keys, &set_revisions, &set_expires]).await
            },
            async {
                if unset_keys.is_empty() {
                    return Ok(0);
                }
                client.execute(&statements.unset, &[&unset_keys]).await
            },
            async { if is_empty { Ok(0) } else { client.execute(&statements.advance, &[&newest]).await } },
            async {
                if expires { client.query_one(&statements.state, &[]).await.map(Some) } else { Ok(None) }
            },
            client.batch_execute("COMMIT"),
            async {
                if is_empty {
                    return Ok(0);
                }
                client.execute(&statements.notify, &[&self.channel, &newest.to_string()]).await
            },
        )?;
        next.map_or(Ok(None), |row| row.try_get(2))
    }

    /// Shows the events to watchers; what others wrote before them has to be read first.
    async fn publish(&self, events: Vec<Arc<Event>>, oldest: Revision) -> Revision {
        let newest = events.last().map_or(0, |event| event.revision);
        let ring = &self.tail.ring;
        ring.publish(events, oldest);
        if ring.newest() < newest
            && let Err(error) = self.tail.catch_up().await
        {
            // It is written all the same, and watchers will see it when the log can be read again.
            tracing::warn!(error = &error as &dyn std::error::Error, "the log cannot be read");
        }
        self.tail.progress.notify_one();
        ring.newest().max(newest)
    }

    /// Begins to forget what has become too old.
    fn forget(&mut self, newest: Revision, oldest: Revision) {
        let horizon = self.retention.horizon(Instant::now(), newest);
        if horizon >= oldest.saturating_add(FORGET_AT_ONCE) && !self.tail.is_compacting() {
            let tail = Arc::clone(&self.tail);
            tokio::spawn(async move {
                if let Err(error) = tail.compact(horizon).await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "history cannot be forgotten");
                }
            });
        }
    }
}

fn fail(error: Error, replies: Vec<oneshot::Sender<Outcome>>) {
    let again: Box<dyn Fn() -> Error> = match error {
        Error::Unavailable(cause) => {
            let cause: Cause = cause.into();
            Box::new(move || Error::Unavailable(Box::new(Arc::clone(&cause))))
        }
        Error::Database(cause) => {
            let cause: Cause = cause.into();
            Box::new(move || Error::Database(Box::new(Arc::clone(&cause))))
        }
        Error::Closed => Box::new(|| Error::Closed),
        other => {
            let cause: Cause = Arc::new(other);
            Box::new(move || Error::Database(Box::new(Arc::clone(&cause))))
        }
    };
    for reply in replies {
        let _ = reply.send(Err(again()));
    }
}

fn size(write: &Write) -> usize {
    use crate::Change::{Delete, Put};
    let document = match &write.change {
        Put { document, .. } | Delete { last: Some(document) } => document.bytes.len() + document.index.len(),
        Delete { last: None } => 0,
    };
    write.key.len() + document
}

fn ttl(write: &Write) -> Option<Duration> {
    match &write.change {
        crate::Change::Put { ttl, .. } => *ttl,
        crate::Change::Delete { .. } => None,
    }
}
