#!/usr/bin/env bash
# What tests/docker-compose.yml uses of the official image's entrypoint, in the same order: a fresh
# data directory, a first server that only the socket reaches and that sets up the accounts, then the
# server itself.

set -euo pipefail

if ((EUID == 0)); then
    install -d -o mysql -g mysql /var/lib/mysql /run/mysqld
    exec setpriv --reuid=mysql --regid=mysql --init-groups "$0" "$@"
fi

set_up() {
    : "${MARIADB_ALLOW_EMPTY_ROOT_PASSWORD:?this image knows no other root than one without a password}"
    local socket first
    socket=$("$@" --verbose --help 2>/dev/null | awk '/^socket / { print $2 }')

    mariadb-install-db --datadir=/var/lib/mysql --auth-root-authentication-method=normal \
        --skip-test-db "${@:2}"

    "$@" --skip-networking &
    first=$!
    until mariadb --socket="$socket" --user=root --execute='DO 0' 2>/dev/null; do
        kill -0 "$first"
        sleep 0.1
    done
    {
        echo "CREATE USER healthcheck@localhost;"
        if [[ ${MARIADB_ROOT_HOST:=%} != localhost ]]; then
            echo "CREATE USER root@'$MARIADB_ROOT_HOST';"
            echo "GRANT ALL ON *.* TO root@'$MARIADB_ROOT_HOST' WITH GRANT OPTION;"
        fi
    } | mariadb --socket="$socket" --user=root
    printf '[mariadb-client]\nsocket=%s\nuser=healthcheck\n' "$socket" >/var/lib/mysql/.my-healthcheck.cnf
    kill "$first"
    wait "$first"
}

[[ -d /var/lib/mysql/mysql ]] || set_up "$@"
exec "$@"
