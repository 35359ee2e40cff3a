# The servers that tests need, for `check`, which sources this file: a PostgreSQL, a Redis, a Redis with a replica and three
# Sentinels, and a Redis Cluster of three masters. They live in a folder of their own, on free ports of this machine alone.
# PgBouncer is installed too: the tests that need one start it.
#
#   start_servers   starts them, and exports METERGATE_TEST_POSTGRES, METERGATE_TEST_POSTGRES_TO_CHANGE (a second one, whose
#                   settings a test changes), METERGATE_TEST_REDIS, METERGATE_TEST_REDIS_SENTINEL and METERGATE_TEST_REDIS_CLUSTER,
#                   their addresses
#   end_servers     ends them by their process ids, and removes the folder
#
# If `check` itself is killed, the kernel ends them. One that does not come up fails the step, with the end of its log.

servers_folder=""
servers_processes=()
# Seconds in which a server must answer.
servers_patience=30

start_servers() {
  [ -z "$servers_folder" ] || return 0
  # Debian would start what it installs, on its usual port: nobody needs that.
  RUNLEVEL=1 apt redis-server:redis-server redis-cli:redis-tools pgbouncer:pgbouncer setpriv:util-linux python3:python3 openssl:openssl
  [ -n "$(postgres_programs)" ] || RUNLEVEL=1 install_packages postgresql
  servers_folder=$(mktemp -d "${TMPDIR:-/tmp}/metergate-servers.XXXXXX")
  chmod 711 "$servers_folder"
  local ports
  read -ra ports <<<"$(free_ports 14)"
  [ "${#ports[@]}" = 14 ] || fail "there are no 14 free ports on this machine"
  start_postgres METERGATE_TEST_POSTGRES postgres "${ports[0]}"
  start_postgres METERGATE_TEST_POSTGRES_TO_CHANGE postgres-to-change "${ports[13]}"
  start_redis redis "${ports[1]}"
  start_sentinels "${ports[@]:2:5}"
  start_cluster "${ports[@]:7:6}"
}

end_servers() {
  local process
  for process in "${servers_processes[@]}"; do
    kill -INT "$process" 2>/dev/null || true
  done
  # Their last words are of no use: what is not gone within a second is killed.
  for _ in $(seq 20); do
    kill -0 "${servers_processes[@]}" 2>/dev/null || break
    sleep 0.05
  done
  for process in "${servers_processes[@]}"; do
    kill -KILL "$process" 2>/dev/null || true
    wait "$process" 2>/dev/null || true
  done
  servers_processes=()
  [ -z "$servers_folder" ] || rm -rf "$servers_folder"
  servers_folder=""
}

# free_ports COUNT: so many free ports, below those that the system gives to connections that go out.
free_ports() {
  python3 - "$1" <<'PYTHON'
import random, socket, sys

held = []
for port in random.sample(range(10000, 30000), 5000):
    if len(held) == int(sys.argv[1]):
        break
    taken = socket.socket()
    try:
        taken.bind(("127.0.0.1", port))
        held.append(taken)
    except OSError:
        taken.close()
print(*[taken.getsockname()[1] for taken in held])
PYTHON
}

# run_server NAME COMMAND…: runs it beside this script, its log in the folder. It ends with this script, however that ends.
run_server() {
  local name=$1
  shift
  (
    # The lock of the target folder is this script's alone.
    [ -z "${lock:-}" ] || exec {lock}>&-
    exec "$@"
  ) </dev/null >"$servers_folder/$name.log" 2>&1 &
  servers_processes+=("$!")
}

# await NAME COMMAND…: until the command succeeds.
await() {
  local name=$1 process=${servers_processes[-1]} until=$((SECONDS + servers_patience))
  shift
  until "$@" >/dev/null 2>&1; do
    if ! kill -0 "$process" 2>/dev/null || [ "$SECONDS" -ge "$until" ]; then
      tail -n 20 "$servers_folder/$name.log" >&2
      fail "$name, which tests need, did not come up within $servers_patience s; above is the end of its log ($*)"
    fi
    sleep 0.05
  done
}

# ---- PostgreSQL ---------------------------------------------------------------------------------------------------

# The folder of the newest version's programs; nothing where none is installed.
postgres_programs() {
  find /usr/lib/postgresql -mindepth 3 -maxdepth 3 -path '*/bin/postgres' 2>/dev/null | sort -V | tail -n 1 | xargs -r dirname || true
}

# start_postgres VARIABLE NAME PORT: its settings are the usual ones, in a file, so that they can be changed.
start_postgres() {
  local name=$2 port=$3 programs folder="$servers_folder/$2" unprivileged=()
  programs=$(postgres_programs)
  [ -n "$programs" ] || fail "PostgreSQL, which tests need, is not below /usr/lib/postgresql: apt-get install postgresql"
  mkdir "$folder"
  # It refuses to run as root.
  if [ "$(id -u)" = 0 ]; then
    getent passwd postgres >/dev/null || fail "there is no user postgres, as which PostgreSQL could run: apt-get install postgresql"
    chown postgres "$folder"
    unprivileged=(--reuid=postgres --regid=postgres --init-groups)
  fi
  (
    cd "$folder"
    exec setpriv "${unprivileged[@]}" --pdeathsig=TERM "$programs/initdb" --pgdata="$folder/data" --username=postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8
  ) >"$servers_folder/$name.log" 2>&1 || {
    tail -n 20 "$servers_folder/$name.log" >&2
    fail "PostgreSQL's initdb failed; above is the end of what it said"
  }
  run_server "$name" setpriv "${unprivileged[@]}" --pdeathsig=INT "$programs/postgres" -D "$folder/data" -p "$port" -k "$folder" \
    -c listen_addresses=127.0.0.1 -c max_connections=300
  await "$name" "$programs/pg_isready" --quiet --host=127.0.0.1 --port="$port"
  export "$1=postgres://postgres@127.0.0.1:$port/postgres"
}

# ---- Redis --------------------------------------------------------------------------------------------------------

# run_redis NAME PORT OPTION…: one that writes nothing to disk.
run_redis() {
  local name=$1 port=$2
  shift 2
  mkdir "$servers_folder/$name"
  run_server "$name" setpriv --pdeathsig=TERM redis-server --port "$port" --bind 127.0.0.1 --dir "$servers_folder/$name" --save "" "$@"
  await "$name" redis_says "$port" PONG ping
}

# redis_says PORT ANSWER COMMAND…: whether the answer to a command has these words.
redis_says() {
  local port=$1 answer=$2
  shift 2
  redis-cli -h 127.0.0.1 -p "$port" "$@" | grep -q "$answer"
}

start_redis() {
  run_redis "$1" "$2"
  export METERGATE_TEST_REDIS="redis://127.0.0.1:$2"
}

# start_sentinels MASTER REPLICA SENTINEL…
start_sentinels() {
  local master=$1 replica=$2 port addresses=""
  shift 2
  run_redis watched-master "$master"
  run_redis watched-replica "$replica" --replicaof 127.0.0.1 "$master"
  await watched-replica redis_says "$replica" master_link_status:up info replication
  for port in "$@"; do
    mkdir "$servers_folder/sentinel-$port"
    cat >"$servers_folder/sentinel-$port/sentinel.conf" <<CONFIGURATION
port $port
bind 127.0.0.1
dir $servers_folder/sentinel-$port
sentinel monitor metergate 127.0.0.1 $master 2
sentinel down-after-milliseconds metergate 1000
sentinel failover-timeout metergate 2000
CONFIGURATION
    run_server "sentinel-$port" setpriv --pdeathsig=TERM redis-server "$servers_folder/sentinel-$port/sentinel.conf" --sentinel
    addresses+="${addresses:+,}127.0.0.1:$port"
  done
  for port in "$@"; do
    await "sentinel-$port" redis_says "$port" "sentinels=3" info sentinel
    await "sentinel-$port" redis_says "$port" "slaves=1" info sentinel
  done
  export METERGATE_TEST_REDIS_SENTINEL="redis+sentinel://$addresses/metergate"
}

# start_cluster PORT BUS_PORT…: three masters, each with a third of the slots.
start_cluster() {
  local slots=("0 5460" "5461 10922" "10923 16383") first=$1 first_bus=$2 i=0 port addresses=""
  local ports=()
  while [ $# -gt 0 ]; do
    run_redis "cluster-$1" "$1" --cluster-enabled yes --cluster-port "$2" --cluster-node-timeout 2000
    # shellcheck disable=SC2086 # first and last slot are two words
    redis-cli -p "$1" cluster addslotsrange ${slots[i]} >/dev/null
    redis-cli -p "$1" cluster set-config-epoch "$((i + 1))" >/dev/null
    [ "$1" = "$first" ] || redis-cli -p "$1" cluster meet 127.0.0.1 "$first" "$first_bus" >/dev/null
    ports+=("$1")
    addresses+="${addresses:+,}127.0.0.1:$1"
    i=$((i + 1))
    shift 2
  done
  for port in "${ports[@]}"; do
    await "cluster-$port" redis_says "$port" cluster_state:ok cluster info
    await "cluster-$port" redis_says "$port" cluster_known_nodes:3 cluster info
  done
  export METERGATE_TEST_REDIS_CLUSTER="redis+cluster://$addresses"
}
