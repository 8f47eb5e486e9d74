#!/usr/bin/env bash
# What tests/docker-compose.yml uses of the official image's script of this name.

set -euo pipefail

ask() {
    mariadb --defaults-extra-file=/var/lib/mysql/.my-healthcheck.cnf --protocol=socket \
        --batch --skip-column-names --execute="$1"
}

for check; do
    case $check in
    --connect)
        # The first server, which sets up the accounts, has no network.
        [[ $(ask 'SELECT @@skip_networking') == 0 ]]
        ;;
    --innodb_initialized)
        [[ $(ask "SELECT support FROM information_schema.engines WHERE engine = 'InnoDB'") =~ YES|DEFAULT ]]
        ;;
    *)
        echo "healthcheck.sh: there is no check $check here" >&2
        exit 1
        ;;
    esac
done
