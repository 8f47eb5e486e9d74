-- What the cross-check reads of the server itself, for an account that may not read `mysql.*`.
--
-- An administrator creates these; they run with his rights (SQL SECURITY DEFINER) and show no secret:
-- of a password only whether there is one. conntracker's account then needs, beside its own tables:
--
--   GRANT SELECT ON conntrack.* TO conntrack@localhost;
--   GRANT EXECUTE ON PROCEDURE conntrack.server_connections TO conntrack@localhost;

-- The accounts: columns of mysql.global_priv, its JSON without secrets. `auth_or` is the list of
-- alternatives (IDENTIFIED VIA … OR …), of which the first eight are shown.
CREATE OR REPLACE SQL SECURITY DEFINER VIEW server_accounts AS
    SELECT User AS user, Host AS host,
           JSON_OBJECT(
               'access', JSON_EXTRACT(Priv, '$.access'),
               'version_id', JSON_EXTRACT(Priv, '$.version_id'),
               'is_role', JSON_EXTRACT(Priv, '$.is_role'),
               'default_role', JSON_EXTRACT(Priv, '$.default_role'),
               'account_locked', JSON_EXTRACT(Priv, '$.account_locked'),
               'password_last_changed', JSON_EXTRACT(Priv, '$.password_last_changed'),
               'password_lifetime', JSON_EXTRACT(Priv, '$.password_lifetime'),
               'ssl_type', JSON_EXTRACT(Priv, '$.ssl_type'),
               'plugin', JSON_EXTRACT(Priv, '$.plugin'),
               'authentication_string',
               IF(JSON_VALUE(Priv, '$.authentication_string') IN ('', 'invalid'),
                  JSON_VALUE(Priv, '$.authentication_string'),
                  IF(JSON_EXISTS(Priv, '$.authentication_string'), '*', NULL))) AS priv,
           IF(JSON_EXISTS(Priv, '$.auth_or'), JSON_LENGTH(Priv, '$.auth_or'), 0) AS alternatives,
           CONCAT('[', CONCAT_WS(',',
               IF(JSON_EXISTS(Priv, '$.auth_or[0]'), JSON_OBJECT(
                   'plugin', JSON_EXTRACT(Priv, '$.auth_or[0].plugin'), 'authentication_string',
                   IF(JSON_VALUE(Priv, '$.auth_or[0].authentication_string') IN ('', 'invalid'),
                      JSON_VALUE(Priv, '$.auth_or[0].authentication_string'),
                      IF(JSON_EXISTS(Priv, '$.auth_or[0].authentication_string'), '*', NULL))), NULL),
               IF(JSON_EXISTS(Priv, '$.auth_or[1]'), JSON_OBJECT(
                   'plugin', JSON_EXTRACT(Priv, '$.auth_or[1].plugin'), 'authentication_string',
                   IF(JSON_VALUE(Priv, '$.auth_or[1].authentication_string') IN ('', 'invalid'),
                      JSON_VALUE(Priv, '$.auth_or[1].authentication_string'),
                      IF(JSON_EXISTS(Priv, '$.auth_or[1].authentication_string'), '*', NULL))), NULL),
               IF(JSON_EXISTS(Priv, '$.auth_or[2]'), JSON_OBJECT(
                   'plugin', JSON_EXTRACT(Priv, '$.auth_or[2].plugin'), 'authentication_string',
                   IF(JSON_VALUE(Priv, '$.auth_or[2].authentication_string') IN ('', 'invalid'),
                      JSON_VALUE(Priv, '$.auth_or[2].authentication_string'),
                      IF(JSON_EXISTS(Priv, '$.auth_or[2].authentication_string'), '*', NULL))), NULL),
               IF(JSON_EXISTS(Priv, '$.auth_or[3]'), JSON_OBJECT(
                   'plugin', JSON_EXTRACT(Priv, '$.auth_or[3].plugin'), 'authentication_string',
                   IF(JSON_VALUE(Priv, '$.auth_or[3].authentication_string') IN ('', 'invalid'),
                      JSON_VALUE(Priv, '$.auth_or[3].authentication_string'),
                      IF(JSON_EXISTS(Priv, '$.auth_or[3].authentication_string'), '*', NULL))), NULL),
               IF(JSON_EXISTS(Priv, '$.auth_or[4]'), JSON_OBJECT(
                   'plugin', JSON_EXTRACT(Priv, '$.auth_or[4].plugin'), 'authentication_string',
                   IF(JSON_VALUE(Priv, '$.auth_or[4].authentication_string') IN ('', 'invalid'),
                      JSON_VALUE(Priv, '$.auth_or[4].authentication_string'),
                      IF(JSON_EXISTS(Priv, '$.auth_or[4].authentication_string'), '*', NULL))), NULL),
               IF(JSON_EXISTS(Priv, '$.auth_or[5]'), JSON_OBJECT(
                   'plugin', JSON_EXTRACT(Priv, '$.auth_or[5].plugin'), 'authentication_string',
                   IF(JSON_VALUE(Priv, '$.auth_or[5].authentication_string') IN ('', 'invalid'),
                      JSON_VALUE(Priv, '$.auth_or[5].authentication_string'),
                      IF(JSON_EXISTS(Priv, '$.auth_or[5].authentication_string'), '*', NULL))), NULL),
               IF(JSON_EXISTS(Priv, '$.auth_or[6]'), JSON_OBJECT(
                   'plugin', JSON_EXTRACT(Priv, '$.auth_or[6].plugin'), 'authentication_string',
                   IF(JSON_VALUE(Priv, '$.auth_or[6].authentication_string') IN ('', 'invalid'),
                      JSON_VALUE(Priv, '$.auth_or[6].authentication_string'),
                      IF(JSON_EXISTS(Priv, '$.auth_or[6].authentication_string'), '*', NULL))), NULL),
               IF(JSON_EXISTS(Priv, '$.auth_or[7]'), JSON_OBJECT(
                   'plugin', JSON_EXTRACT(Priv, '$.auth_or[7].plugin'), 'authentication_string',
                   IF(JSON_VALUE(Priv, '$.auth_or[7].authentication_string') IN ('', 'invalid'),
                      JSON_VALUE(Priv, '$.auth_or[7].authentication_string'),
                      IF(JSON_EXISTS(Priv, '$.auth_or[7].authentication_string'), '*', NULL))), NULL)
           ), ']') AS auth_or
    FROM mysql.global_priv;

-- Who may use which role, and who may act as whom (GRANT PROXY).
CREATE OR REPLACE SQL SECURITY DEFINER VIEW server_roles AS
    SELECT User AS user, Host AS host, Role AS role FROM mysql.roles_mapping;
CREATE OR REPLACE SQL SECURITY DEFINER VIEW server_proxies AS
    SELECT User AS user, Host AS host, Proxied_user AS proxied_user, Proxied_host AS proxied_host
    FROM mysql.proxies_priv;

-- Privileges on whole databases. `access` has a bit for each, as `access` of the accounts.
CREATE OR REPLACE SQL SECURITY DEFINER VIEW server_db_grants AS
    SELECT User AS user, Host AS host, Db AS db,
           (Select_priv = 'Y') << 0 | (Insert_priv = 'Y') << 1
           | (Update_priv = 'Y') << 2 | (Delete_priv = 'Y') << 3
           | (Create_priv = 'Y') << 4 | (Drop_priv = 'Y') << 5
           | (Grant_priv = 'Y') << 10 | (References_priv = 'Y') << 11
           | (Index_priv = 'Y') << 12 | (Alter_priv = 'Y') << 13
           | (Create_tmp_table_priv = 'Y') << 16 | (Lock_tables_priv = 'Y') << 17
           | (Execute_priv = 'Y') << 18 | (Create_view_priv = 'Y') << 21
           | (Show_view_priv = 'Y') << 22 | (Create_routine_priv = 'Y') << 23
           | (Alter_routine_priv = 'Y') << 24 | (Event_priv = 'Y') << 26
           | (Trigger_priv = 'Y') << 27 | (Delete_history_priv = 'Y') << 29 AS access
    FROM mysql.db;

-- Privileges on single tables, columns and routines.
CREATE OR REPLACE SQL SECURITY DEFINER VIEW server_object_grants AS
    SELECT User AS user, Host AS host, Db AS db, 'TABLE' AS kind, Table_name AS name,
           CONCAT_WS(',', NULLIF(Table_priv, ''), NULLIF(Column_priv, '')) AS rights
    FROM mysql.tables_priv
    UNION ALL
    SELECT User, Host, Db, 'COLUMN', CONCAT(Table_name, '.', Column_name), Column_priv
    FROM mysql.columns_priv
    UNION ALL
    SELECT User, Host, Db, Routine_type, Routine_name, Proc_priv FROM mysql.procs_priv;

-- Who is connected now, without what they execute. A view would show each reader only his own.
CREATE OR REPLACE PROCEDURE server_connections() SQL SECURITY DEFINER READS SQL DATA
    COMMENT 'conntracker: who is connected now'
    SELECT id, user, host, db, command, time FROM information_schema.processlist;
