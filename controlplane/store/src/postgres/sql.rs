//! The statements. Each shows one state of the log, whatever is written meanwhile.
//!
//! Those that read a range begin with the row of `state`, so that they say of which revision they are also when they
//! find nothing. A side join to that one row can only be a nested loop around it, which keeps the order of the range.

/// A key's newest state.
pub(super) const GET: &str = "
    SELECT log.key, value, fields, created, log.revision
    FROM current JOIN log ON log.revision = current.revision
    WHERE current.key = $1";

/// A key's state at a revision.
pub(super) const GET_AT: &str = "
    SELECT state.newest, state.oldest, past.key, past.value, past.fields, past.created, past.revision, past.deleted
    FROM state LEFT JOIN LATERAL (
        SELECT * FROM log WHERE key = $1 AND revision <= $2 ORDER BY revision DESC LIMIT 1
    ) AS past ON true";

/// The newest state of a range: along `current`, one look-up in the log a key.
pub(super) const LIST: &str = "
    SELECT state.newest, state.oldest,
           CASE WHEN $3::bigint IS NULL THEN 0
                ELSE (SELECT count(*) FROM current WHERE key >= $1 AND key < $2) END,
           page.*
    FROM state LEFT JOIN LATERAL (
        SELECT log.key, value, fields, created, log.revision
        FROM current JOIN log ON log.revision = current.revision
        WHERE current.key >= $1 AND current.key < $2
        ORDER BY current.key LIMIT $3
    ) AS page ON true";

/// An older state of a range: along the index `history`, one look-up a key that existed.
pub(super) const LIST_AT: &str = "
    SELECT state.newest, state.oldest,
           CASE WHEN $3::bigint IS NULL THEN 0
                ELSE (SELECT count(*) FROM (
                          SELECT DISTINCT ON (key) deleted FROM log
                          WHERE key >= $1 AND key < $2 AND revision <= $4
                          ORDER BY key, revision DESC) AS past
                      WHERE NOT deleted) END,
           page.*
    FROM state LEFT JOIN LATERAL (
        SELECT log.key, value, fields, created, log.revision
        FROM (SELECT DISTINCT ON (key) key, revision, deleted FROM log
              WHERE key >= $1 AND key < $2 AND revision <= $4
              ORDER BY key, revision DESC) AS past
        JOIN log ON log.revision = past.revision
        WHERE NOT past.deleted
        ORDER BY past.key LIMIT $3
    ) AS page ON true";

/// Whether a range has keys.
pub(super) const HAS: &str = "SELECT EXISTS (SELECT FROM current WHERE key >= $1 AND key < $2)";

/// How many keys a range has.
pub(super) const COUNT: &str = "SELECT count(*) FROM current WHERE key >= $1 AND key < $2";

/// The events of a range, along the log.
pub(super) const EVENTS: &str = "
    SELECT state.newest, state.oldest, page.*
    FROM state LEFT JOIN LATERAL (
        SELECT log.key, log.value, log.fields, log.created, log.revision, log.deleted,
               previous.value, previous.fields, previous.created, previous.revision
        FROM log LEFT JOIN log AS previous ON previous.revision = log.previous
        WHERE log.revision > $1 AND log.revision <= $2 AND log.key >= $3 AND log.key < $4
        ORDER BY log.revision LIMIT $5
    ) AS page ON true";

/// How far the log has come, and in how many milliseconds the next key expires.
pub(super) const STATE: &str = "
    SELECT newest, oldest,
           (SELECT expires FROM current WHERE expires IS NOT NULL ORDER BY expires LIMIT 1)
               - (extract(epoch FROM clock_timestamp()) * 1000)::bigint
    FROM state";

/// Moves the compaction point.
pub(super) const COMPACT: &str = "UPDATE state SET oldest = $1 WHERE oldest < $1 AND newest >= $1";

/// Removes up to so many revisions' worth of what is of no use since the compaction: every state whose successor is
/// older than the compaction point, and every deletion that is. One replica at a time is at it; the others pass by.
/// Whoever sees rows gone sees the compaction point too, which was moved before.
pub(super) const SWEEP: &str = "
    WITH turn AS MATERIALIZED (
        SELECT swept FROM sweep FOR UPDATE SKIP LOCKED
    ), goal AS MATERIALIZED (
        SELECT swept, least(oldest, swept + $1) AS next, oldest FROM turn, state
    ), gone AS (
        DELETE FROM log WHERE revision IN (
            SELECT previous FROM log AS later, goal
            WHERE later.revision >= goal.swept AND later.revision < goal.next AND previous > 0
            UNION ALL
            SELECT revision FROM log AS deletion, goal
            WHERE deletion.revision >= goal.swept AND deletion.revision < goal.next AND deleted)
    )
    UPDATE sweep SET swept = goal.next FROM goal RETURNING goal.next < goal.oldest";

/// Begins a write: nobody else writes from here to its end. Revisions are given and become visible in one order, without
/// gaps. The clock is the database's, as replicas may differ on the time.
pub(super) const LOCK: &str = "
    SELECT newest, oldest, (extract(epoch FROM clock_timestamp()) * 1000)::bigint FROM state FOR UPDATE";

/// What these keys are.
pub(super) const CURRENT: &str = "
    SELECT log.key, value, fields, created, log.revision, revision_at
    FROM current JOIN log ON log.revision = current.revision
    WHERE current.key = ANY($1::bytea[])";

/// The keys whose time has come.
pub(super) const EXPIRED: &str = "
    SELECT log.key, value, fields, created, log.revision, revision_at
    FROM current JOIN log ON log.revision = current.revision
    WHERE current.expires <= (extract(epoch FROM clock_timestamp()) * 1000)::bigint
    ORDER BY current.expires LIMIT $1";

/// Writes rows of the log.
pub(super) const APPEND: &str = "
    INSERT INTO log (revision, key, deleted, created, previous, revision_at, fields, value)
    SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::boolean[], $4::bigint[], $5::bigint[], $6::integer[],
                         $7::bytea[], $8::bytea[])";

/// Says what keys are now.
pub(super) const SET: &str = "
    INSERT INTO current (key, revision, expires) SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bigint[])
    ON CONFLICT (key) DO UPDATE SET revision = EXCLUDED.revision, expires = EXCLUDED.expires";

/// Says that keys are no more.
pub(super) const UNSET: &str = "DELETE FROM current WHERE key = ANY($1::bytea[])";

/// Says how far the log has come.
pub(super) const ADVANCE: &str = "UPDATE state SET newest = $1";

/// Tells the other replicas. Not within the transaction that writes: a commit with a notification waits for every other
/// such commit of the whole server, its disk included.
pub(super) const NOTIFY: &str = "SELECT pg_notify($1, $2)";

/// The keys from `start` (inclusive) to `end` (exclusive).
pub(super) struct Keys {
    pub(super) start: Vec<u8>,
    pub(super) end: Vec<u8>,
}

impl Keys {
    /// The keys with this prefix.
    pub(super) fn with_prefix(prefix: &str) -> Self {
        // No UTF-8 has this byte, so what begins with the prefix and goes on with it is above all keys with the prefix.
        let end = [prefix.as_bytes(), &[0xff]].concat();
        Self { start: prefix.as_bytes().to_vec(), end }
    }

    /// Those of them that follow `key`.
    pub(super) fn after(self, key: &str) -> Self {
        // No string lies between a key and the same key with a zero byte.
        let next = [key.as_bytes(), &[0]].concat();
        Self { start: self.start.max(next), end: self.end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_all_keys_of_its_prefix_and_no_other() {
        let keys = Keys::with_prefix("/b/");
        let has = |key: &str| key.as_bytes() >= &keys.start[..] && key.as_bytes() < &keys.end[..];
        assert!(has("/b/") && has("/b/1") && has("/b/\u{10ffff}\u{10ffff}"));
        assert!(!has("/b") && !has("/b0") && !has("/a/1"));
        assert_eq!(Keys::with_prefix("b/").after("a").start, b"b/");
        assert_eq!(Keys::with_prefix("b/").after("b/1").start, b"b/1\0");
    }
}
