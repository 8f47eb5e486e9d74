-- The tables of conntracker in SQLite, schema version 3.
--
-- Times are text, `YYYY-MM-DD HH:MM:SS+00:00`, always UTC, so that text order is time order.
-- Names are text, or blobs where their bytes are not UTF-8; both compare byte for byte.
-- `conntracker schema` prints this file; `conntracker run` creates and migrates by itself.

-- The use of each account name from each client host. `connects` counts CONNECT records;
-- first_seen and last_seen are the first and last successful authentication, last_active the last
-- sign of use of any kind (the end of a session included).
CREATE TABLE IF NOT EXISTS accounts (
    server      TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    host        TEXT    NOT NULL,
    first_seen  TEXT,
    last_seen   TEXT,
    last_active TEXT,
    connects    INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (server, name, host)
) WITHOUT ROWID;

-- Account rows (`user`@`host`; here the host is a pattern) that were used through a proxy.
CREATE TABLE IF NOT EXISTS proxied_accounts (
    server     TEXT    NOT NULL,
    account    TEXT    NOT NULL,
    first_seen TEXT    NOT NULL,
    last_seen  TEXT    NOT NULL,
    connects   INTEGER NOT NULL,
    PRIMARY KEY (server, account)
) WITHOUT ROWID;

-- Refused logins. Code 0 marks rows that stand for many: all other names of a host, or (host '')
-- of all other hosts; they are used when an attacker tries ever new names.
CREATE TABLE IF NOT EXISTS failed_connects (
    server     TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    host       TEXT    NOT NULL,
    code       INTEGER NOT NULL,
    first_seen TEXT    NOT NULL,
    last_seen  TEXT    NOT NULL,
    attempts   INTEGER NOT NULL,
    PRIMARY KEY (server, name, host, code)
) WITHOUT ROWID;

-- When each account name was used: logins and failures of an hour, or, where that is long ago, of a day
-- (UTC). A day may have rows of both kinds, so add them up, or take the view below. Failures of names
-- that had not logged in when they were read are counted in one row, others = 1, name ''.
--   logins       CONNECT records; a successful change of user is none, as in accounts
--   failures     FAILED_CONNECT records
--   login_hours  the hours of the day (UTC) with an authentication, changes of user included: 1 is the
--                hour from 00:00, 2 that from 01:00, 4 that from 02:00 and so on
CREATE TABLE IF NOT EXISTS activity (
    server      TEXT    NOT NULL,
    hours       INTEGER NOT NULL,
    start       TEXT    NOT NULL,
    others      INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    logins      INTEGER NOT NULL,
    failures    INTEGER NOT NULL,
    login_hours INTEGER NOT NULL,
    PRIMARY KEY (server, hours, start, others, name)
) WITHOUT ROWID;

-- Records that were not believed, why, and who wrote them. They moved no figure.
CREATE TABLE IF NOT EXISTS quarantine (
    id           INTEGER PRIMARY KEY,
    server       TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    host         TEXT    NOT NULL,
    time         TEXT,
    connectionid INTEGER NOT NULL,
    why          TEXT    NOT NULL,
    written_from TEXT,
    file         TEXT    NOT NULL,
    offset       INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS quarantine_of_server ON quarantine (server, id);

-- The spans of time that the log covers. `gap` says why the time before a span is missing.
CREATE TABLE IF NOT EXISTS coverage (
    source    TEXT NOT NULL,
    from_time TEXT NOT NULL,
    to_time   TEXT NOT NULL,
    gap       TEXT,
    server    TEXT NOT NULL,
    id        INTEGER PRIMARY KEY
);
CREATE INDEX IF NOT EXISTS coverage_of_source ON coverage (source, id);

-- How far each log was read. Written together with the figures, in one transaction.
CREATE TABLE IF NOT EXISTS checkpoints (
    source     TEXT    NOT NULL PRIMARY KEY,
    generation INTEGER NOT NULL,
    written_at TEXT    NOT NULL,
    state      TEXT    NOT NULL
) WITHOUT ROWID;

-- The accounts of the server (user and host pattern), as `conntracker check` judged them last: state is
-- active, unused, never_used, connected, locked, unknown, system or role, reason says why.
CREATE TABLE IF NOT EXISTS account_status (
    server      TEXT    NOT NULL,
    user        TEXT    NOT NULL,
    host        TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    last_seen   TEXT,
    last_active TEXT,
    connects    INTEGER NOT NULL,
    clients     INTEGER NOT NULL,
    exact       INTEGER NOT NULL,
    known_since TEXT,
    checked_at  TEXT    NOT NULL,
    PRIMARY KEY (server, user, host)
) WITHOUT ROWID;

-- Logins that belong to no account of today, or to one of several; `accounts` names those.
CREATE TABLE IF NOT EXISTS unexplained_logins (
    server      TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    host        TEXT    NOT NULL,
    last_seen   TEXT,
    last_active TEXT,
    connects    INTEGER NOT NULL,
    accounts    TEXT    NOT NULL,
    checked_at  TEXT    NOT NULL,
    PRIMARY KEY (server, name, host)
) WITHOUT ROWID;

-- What the next `conntracker check` has to know of the last one (JSON).
CREATE TABLE IF NOT EXISTS check_memory (
    server     TEXT NOT NULL PRIMARY KEY,
    checked_at TEXT NOT NULL,
    memory     TEXT NOT NULL
) WITHOUT ROWID;

-- Accounts that can go, with the time at which that was found.
CREATE VIEW IF NOT EXISTS unused_accounts AS
    SELECT server, user, host, state, reason, last_seen, last_active, checked_at
    FROM account_status WHERE state IN ('unused', 'never_used');

-- Logins that no account of today explains.
CREATE VIEW IF NOT EXISTS unknown_logins AS
    SELECT server, name, host, last_seen, last_active, connects, checked_at
    FROM unexplained_logins WHERE accounts = '';

-- Logins and failures of each account name by day (UTC).
CREATE VIEW IF NOT EXISTS activity_by_day AS
    SELECT server, date(start) AS day, name, others,
           sum(logins) AS logins, sum(failures) AS failures
    FROM activity
    GROUP BY server, day, others, name;
