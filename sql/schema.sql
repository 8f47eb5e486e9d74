-- The tables of conntracker in MariaDB (10.4 or later), schema version 3.
--
-- Apply it by hand (`mariadb < schema.sql`, or `conntracker schema --store mariadb | mariadb`), or
-- let `conntracker run` do so, if its account may. Applying it again changes nothing.
--
-- conntracker's own account needs no more than this (the operating system's user of that name comes
-- in over the unix socket, without a password):
--
--   CREATE USER conntracker@localhost IDENTIFIED VIA unix_socket;
--   GRANT SELECT, INSERT, UPDATE, DELETE, EXECUTE ON conntrack.* TO conntracker@localhost;
--
-- and with ALL on conntrack.* it creates and migrates the tables by itself. Who only reads needs
-- GRANT SELECT ON conntrack.*.
--
-- Times are TIMESTAMP: each session sees them in its own time_zone, and `last_active < NOW() -
-- INTERVAL 90 DAY` is right in any. Names compare byte for byte and without padding, as the server
-- compares user names. A name whose bytes are not UTF-8 begins with U+FFFD, the replacement
-- character; behind it such bytes stand as \xNN, and a backslash as \\.

CREATE DATABASE IF NOT EXISTS conntrack
    CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
USE conntrack;

-- The use of each account name from each client host. Several servers may share this table.
CREATE TABLE IF NOT EXISTS accounts (
    server      VARCHAR(160)    NOT NULL COMMENT 'Database server: server_name, or serverhost of its log',
    name        VARCHAR(352)    NOT NULL COMMENT 'User name that the client gave',
    host        VARCHAR(255)    NOT NULL COMMENT 'Client: name, address, or localhost',
    first_seen  TIMESTAMP       NULL DEFAULT NULL COMMENT 'First successful authentication',
    last_seen   TIMESTAMP       NULL DEFAULT NULL COMMENT 'Last successful authentication',
    last_active TIMESTAMP       NULL DEFAULT NULL COMMENT 'Last sign of use of any kind',
    connects    BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'Number of CONNECT records',
    PRIMARY KEY (server, name, host)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_nopad_bin
  COMMENT = 'conntracker: the use of each account name from each client host';

-- Account rows of mysql.user (their host is a pattern) that were used through a proxy.
CREATE TABLE IF NOT EXISTS proxied_accounts (
    server     VARCHAR(160)    NOT NULL COMMENT 'Database server',
    account    VARCHAR(600)    NOT NULL COMMENT '`user`@`host pattern`, as the log writes it',
    first_seen TIMESTAMP       NULL DEFAULT NULL COMMENT 'First use',
    last_seen  TIMESTAMP       NULL DEFAULT NULL COMMENT 'Last use',
    connects   BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'Number of PROXY_CONNECT records',
    PRIMARY KEY (server, account)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_nopad_bin
  COMMENT = 'conntracker: accounts used through a proxy user';

-- Refused logins. Code 0 marks rows that stand for many: all other names of a host, or (host '') of
-- all other hosts; they are used when an attacker tries ever new names.
CREATE TABLE IF NOT EXISTS failed_connects (
    server     VARCHAR(160)    NOT NULL COMMENT 'Database server',
    name       VARCHAR(352)    NOT NULL COMMENT 'User name that was tried',
    host       VARCHAR(255)    NOT NULL COMMENT 'Client',
    code       INT UNSIGNED    NOT NULL COMMENT 'Error number of the server (1045: access denied)',
    first_seen TIMESTAMP       NULL DEFAULT NULL COMMENT 'First attempt',
    last_seen  TIMESTAMP       NULL DEFAULT NULL COMMENT 'Last attempt',
    attempts   BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'Number of FAILED_CONNECT records',
    PRIMARY KEY (server, name, host, code)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_nopad_bin
  COMMENT = 'conntracker: refused logins';

-- When each account name was used: logins and failures of an hour, or, where that is long ago, of a day
-- (UTC). A day may have rows of both kinds, so add them up, or take the view below. Failures of names
-- that had not logged in when they were read are counted in one row, others = 1, name ''.
CREATE TABLE IF NOT EXISTS activity (
    server      VARCHAR(160)     NOT NULL COMMENT 'Database server',
    hours       TINYINT UNSIGNED NOT NULL COMMENT 'Length of the span: 1 or 24',
    start       TIMESTAMP        NOT NULL DEFAULT '1970-01-02 00:00:00' COMMENT 'Beginning of the hour or day (UTC)',
    others      BOOLEAN          NOT NULL COMMENT 'All names that had not logged in when their failures were read',
    name        VARCHAR(352)     NOT NULL COMMENT 'User name that the client gave',
    logins      BIGINT UNSIGNED  NOT NULL COMMENT 'Number of CONNECT records; a change of user is none, as in accounts',
    failures    BIGINT UNSIGNED  NOT NULL COMMENT 'Number of FAILED_CONNECT records',
    login_hours INT UNSIGNED     NOT NULL COMMENT 'Hours of the day (UTC) with an authentication, changes of user included: 1 << hour',
    PRIMARY KEY (server, hours, start, others, name)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_nopad_bin
  COMMENT = 'conntracker: logins and failures by hour and day';

-- Records that were not believed, why, and who wrote them. They moved no figure.
CREATE TABLE IF NOT EXISTS quarantine (
    id           BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    server       VARCHAR(160)    NOT NULL COMMENT 'Database server',
    name         VARCHAR(352)    NOT NULL COMMENT 'User name in the record',
    host         VARCHAR(255)    NOT NULL COMMENT 'Client in the record',
    time         TIMESTAMP       NULL DEFAULT NULL COMMENT 'Time in the record',
    connectionid BIGINT UNSIGNED NOT NULL COMMENT 'Connection id in the record',
    why          VARCHAR(500)    NOT NULL COMMENT 'Why it is not believed',
    written_from VARCHAR(255)    NULL DEFAULT NULL COMMENT 'Client that wrote it, as far as known',
    file         VARCHAR(4096)   NOT NULL COMMENT 'File in which it stands',
    `offset`     BIGINT UNSIGNED NOT NULL COMMENT 'First byte of its line',
    PRIMARY KEY (id),
    KEY of_server (server, id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_nopad_bin
  COMMENT = 'conntracker: records that were not believed';

-- The spans of time that the logs cover. A login outside of them was not seen.
CREATE TABLE IF NOT EXISTS coverage (
    id        BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    collector VARCHAR(128)    NOT NULL COMMENT 'Host on which conntracker read the log',
    source    VARCHAR(512)    NOT NULL COMMENT 'Path of the log on that host',
    server    VARCHAR(160)    NOT NULL COMMENT 'Database server',
    from_time TIMESTAMP       NULL DEFAULT NULL COMMENT 'First record of the span',
    to_time   TIMESTAMP       NULL DEFAULT NULL COMMENT 'Last record of the span',
    gap       VARCHAR(500)    NULL DEFAULT NULL COMMENT 'Why the time before the span is missing',
    PRIMARY KEY (id),
    KEY of_source (collector, source, id),
    KEY of_server (server, from_time)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_nopad_bin
  COMMENT = 'conntracker: time spans that the logs cover';

-- How far each log was read. Written together with the figures, in one transaction.
CREATE TABLE IF NOT EXISTS checkpoints (
    collector  VARCHAR(128)    NOT NULL COMMENT 'Host on which conntracker read the log',
    source     VARCHAR(512)    NOT NULL COMMENT 'Path of the log on that host',
    generation BIGINT UNSIGNED NOT NULL COMMENT 'Grows with each commit',
    writer     BIGINT UNSIGNED NOT NULL COMMENT 'Number of the run that wrote it',
    written_at TIMESTAMP       NULL DEFAULT NULL COMMENT 'When it was written',
    state      LONGTEXT        NOT NULL COMMENT 'What the next run goes on from (JSON)',
    PRIMARY KEY (collector, source)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_nopad_bin
  COMMENT = 'conntracker: how far each log was read';

-- The accounts of each server (user and host pattern), as `conntracker check` judged them last.
CREATE TABLE IF NOT EXISTS account_status (
    server      VARCHAR(160)    NOT NULL COMMENT 'Database server',
    user        VARCHAR(352)    NOT NULL COMMENT 'User of the account',
    host        VARCHAR(255)    NOT NULL COMMENT 'Host pattern of the account',
    state       VARCHAR(16)     NOT NULL COMMENT 'active, unused, never_used, connected, locked, unknown, system, role',
    reason      VARCHAR(1000)   NOT NULL COMMENT 'Why, in words',
    last_seen   TIMESTAMP       NULL DEFAULT NULL COMMENT 'Last login that is certainly its own',
    last_active TIMESTAMP       NULL DEFAULT NULL COMMENT 'Last sign of use that is certainly its own',
    connects    BIGINT UNSIGNED NOT NULL COMMENT 'Number of logins that are certainly its own',
    clients     BIGINT UNSIGNED NOT NULL COMMENT 'Number of clients that are, or may be, its own',
    exact       BOOLEAN         NOT NULL COMMENT 'No login may be its own or another account''s',
    known_since TIMESTAMP       NULL DEFAULT NULL COMMENT 'Since when it is known to be there',
    checked_at  TIMESTAMP       NULL DEFAULT NULL COMMENT 'When it was judged',
    PRIMARY KEY (server, user, host)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_nopad_bin
  COMMENT = 'conntracker: which accounts are used';

-- Logins that belong to no account of today, or to one of several.
CREATE TABLE IF NOT EXISTS unexplained_logins (
    server      VARCHAR(160)    NOT NULL COMMENT 'Database server',
    name        VARCHAR(352)    NOT NULL COMMENT 'User name that the client gave',
    host        VARCHAR(255)    NOT NULL COMMENT 'Client',
    last_seen   TIMESTAMP       NULL DEFAULT NULL COMMENT 'Last successful authentication',
    last_active TIMESTAMP       NULL DEFAULT NULL COMMENT 'Last sign of use of any kind',
    connects    BIGINT UNSIGNED NOT NULL COMMENT 'Number of CONNECT records',
    accounts    TEXT            NOT NULL COMMENT 'Accounts that it may belong to; empty if there is none',
    checked_at  TIMESTAMP       NULL DEFAULT NULL COMMENT 'When that was found',
    PRIMARY KEY (server, name, host)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_nopad_bin
  COMMENT = 'conntracker: logins that no account, or more than one, explains';

-- What the next `conntracker check` has to know of the last one.
CREATE TABLE IF NOT EXISTS check_memory (
    server     VARCHAR(160)    NOT NULL COMMENT 'Database server',
    checked_at TIMESTAMP       NULL DEFAULT NULL COMMENT 'When it was checked',
    memory     LONGTEXT        NOT NULL COMMENT 'What was known then (JSON)',
    PRIMARY KEY (server)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_nopad_bin
  COMMENT = 'conntracker: what the next check has to know of the last one';

-- Views. On a Galera cluster no run creates them: apply this file there, while nobody else creates
-- anything.

-- Accounts that can go, with the time at which that was found.
CREATE OR REPLACE SQL SECURITY INVOKER VIEW unused_accounts AS
    SELECT server, user, host, state, reason, last_seen, last_active, checked_at
    FROM account_status WHERE state IN ('unused', 'never_used');

-- Logins that no account of today explains.
CREATE OR REPLACE SQL SECURITY INVOKER VIEW unknown_logins AS
    SELECT server, name, host, last_seen, last_active, connects, checked_at
    FROM unexplained_logins WHERE accounts = '';

-- Each account name of each server, over all of its clients.
CREATE OR REPLACE SQL SECURITY INVOKER VIEW account_names AS
    SELECT server, name,
           MIN(first_seen) AS first_seen, MAX(last_seen) AS last_seen,
           MAX(last_active) AS last_active, SUM(connects) AS connects,
           COUNT(*) AS hosts
    FROM accounts
    GROUP BY server, name;

-- Logins and failures of each account name by day (UTC).
CREATE OR REPLACE SQL SECURITY INVOKER VIEW activity_by_day AS
    SELECT server, DATE('1970-01-01' + INTERVAL UNIX_TIMESTAMP(start) SECOND) AS day, name, others,
           SUM(logins) AS logins, SUM(failures) AS failures
    FROM activity
    GROUP BY server, day, others, name;

-- The version of these tables. Written last: where it stands, the rest is there.
CREATE TABLE IF NOT EXISTS schema_version (
    only_row TINYINT UNSIGNED NOT NULL DEFAULT 1,
    version  INT UNSIGNED     NOT NULL,
    PRIMARY KEY (only_row)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_nopad_bin
  COMMENT = 'conntracker: version of these tables';
INSERT INTO schema_version (only_row, version) VALUES (1, 3)
    ON DUPLICATE KEY UPDATE version = GREATEST(version, VALUES(version));
