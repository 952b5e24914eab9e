#!/usr/bin/env bash
# Tunnel from this machine to the Triton server on a GPU instance: gRPC 8001, HTTP 8000, metrics 8002, all on loopback.
#
#   scripts/lambda_tunnel.sh start --host IP [--user ubuntu] [--identity KEY] [--accept-new]
#   scripts/lambda_tunnel.sh status [--env] | stop | restart
#
# A keeper in the background starts ssh again, after a growing pause, whenever it ends. Host keys are strict: a key that
# is not in known_hosts is refused (--accept-new takes it at the first connection), a changed one always. A local port
# that is taken is replaced by the next free one; `status --env` prints the addresses for a shell:
#
#   eval "$(scripts/lambda_tunnel.sh status --env)" && scripts/run_lambda_tests.py
#
# Runs on Linux and macOS (bash 3.2). Exit codes: 0 fine, 1 failed or not healthy, 2 wrong usage, 3 no tunnel runs.
set -euo pipefail

SELF=$(cd "$(dirname "$0")" && pwd)/$(basename "$0")
STATE_ROOT=${CHARTER_TUNNEL_STATE:-${XDG_STATE_HOME:-$HOME/.local/state}/charter/tunnel}
NAMES='grpc http metrics'
LONGEST_PAUSE=${CHARTER_TUNNEL_LONGEST_PAUSE:-30} # seconds between two attempts to connect
HEALTH_TIMEOUT=5                                  # seconds for a question through the tunnel
START_TIMEOUT=${CHARTER_TUNNEL_START_TIMEOUT:-30} # seconds until the forwarded ports must listen
SAME_PORT_TRIES=100                               # how far the next free port is looked for

die() { # exit code, message
  echo "lambda_tunnel: error: $2" >&2
  exit "$1"
}

usage() {
  sed -n '2,/^set -euo/p' "$SELF" | sed -e '$d' -e 's/^# \{0,1\}//'
  cat <<'TEXT'
Options of start and restart (restart without --host takes those of the tunnel that ran last):
  --host HOST           the instance, or a name of ~/.ssh/config
  --user NAME           (ubuntu)
  --ssh-port N          sshd's port (22)
  --identity FILE       private key
  --known-hosts FILE    instead of ssh's own files
  --accept-new          take the host's key if none is known yet
  --local-ports G:H:M   wished ports here: gRPC, HTTP, metrics (8001:8000:8002)
  --remote-ports G:H:M  the server's ports on the instance (8001:8000:8002)
  --exact               fail where a local port is taken, instead of choosing another
Of all commands:
  --name NAME           of the tunnel, where there are several (default)
TEXT
}

parse() {
  host='' user=ubuntu ssh_port=22 identity='' known_hosts='' strict=yes exact=''
  local_ports=8001:8000:8002 remote_ports=8001:8000:8002 name=default print_env=''
  while [ $# -gt 0 ]; do
    case "$1" in
      --accept-new) strict=accept-new ;;
      --exact) exact=1 ;;
      --env) print_env=1 ;;
      --host | --user | --ssh-port | --identity | --known-hosts | --local-ports | --remote-ports | --name)
        [ $# -gt 1 ] || die 2 "$1 needs a value"
        case "$1" in
          --host) host=$2 ;;
          --user) user=$2 ;;
          --ssh-port) ssh_port=$2 ;;
          --identity) identity=$2 ;;
          --known-hosts) known_hosts=$2 ;;
          --local-ports) local_ports=$2 ;;
          --remote-ports) remote_ports=$2 ;;
          --name) name=$2 ;;
        esac
        shift
        ;;
      *) die 2 "there is no option '$1' (see: $0 help)" ;;
    esac
    shift
  done
  case "$name" in *[!A-Za-z0-9_-]* | '') die 2 "a tunnel's name holds letters, digits, - and _ alone: '$name'" ;; esac
  case "$host" in -*) die 2 "'$host' is no host" ;; esac
  case "$user" in -* | *@*) die 2 "'$user' is no user" ;; esac
  check_ports --ssh-port "$ssh_port" 1
  check_ports --local-ports "$local_ports" 3
  check_ports --remote-ports "$remote_ports" 3
  state=$STATE_ROOT/$name
}

check_ports() { # option, value, how many
  local count=0 port
  for port in $(echo "$2" | tr ':' ' '); do
    case "$port" in *[!0-9]*) die 2 "$1: '$port' is no port" ;; esac
    { [ "$port" -ge 1 ] && [ "$port" -le 65535 ]; } || die 2 "$1: '$port' is no port"
    count=$((count + 1))
  done
  [ "$count" -eq "$3" ] || die 2 "$1: '$2' does not name $3 ports"
}

field() { # G:H:M, 1 to 3
  echo "$1" | cut -d: -f"$2"
}

taken() { # whether something listens on a port of the loopback
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

next_free() { # port; prints it, or the next one that is free and not in $chosen
  local port=$1 tried=0
  while taken "$port" || case " $chosen " in *" $port "*) true ;; *) false ;; esac; do
    [ -z "$exact" ] || die 1 "port $port is taken (leave out --exact, or give other --local-ports)"
    port=$((port + 1)) tried=$((tried + 1))
    [ "$tried" -lt "$SAME_PORT_TRIES" ] || die 1 "no free port from $1 on"
    [ "$port" -le 65535 ] || die 1 "no free port from $1 on"
  done
  echo "$port"
}

command_of() { # pid; its command line, empty where there is no such process
  ps -ww -p "$1" -o command= 2>/dev/null || true
}

keeper_runs() { # the keeper of this tunnel, not another process that has its number by now
  keeper=''
  [ -f "$state/keeper" ] || return 1
  keeper=$(cat "$state/keeper")
  case "$(command_of "$keeper")" in *"_keep --name $name "*) return 0 ;; esac
  return 1
}

ssh_of_tunnel() { # pids of this tunnel's ssh, one a line
  [ -f "$state/ssh" ] || return 0
  local pid
  pid=$(cat "$state/ssh")
  case "$(command_of "$pid")" in *ssh*"-L 127.0.0.1:"*) echo "$pid" ;; esac
}

foreign_tunnels() { # ssh processes of this user that forward to one of the server's ports and are not ours
  local own
  own=$(ssh_of_tunnel)
  ps -ww -U "$(id -u)" -o pid=,command= 2>/dev/null | while read -r pid line; do
    case "$line" in
      ssh\ *-L*:"$(field "$remote_ports" 1)"* | */ssh\ *-L*:"$(field "$remote_ports" 1)"*)
        [ "$pid" = "$own" ] || echo "$pid $line"
        ;;
    esac
  done
}

connected() { # ssh has its forwards: it runs, and has set the marker for this very process
  local pid
  pid=$(ssh_of_tunnel)
  [ -n "$pid" ] && [ "$(cat "$state/connected" 2>/dev/null)" = "$pid" ]
}

healthy() { # what answers is behind ssh, HTTP says that it is ready, and the gRPC port takes a connection
  connected || return 1
  curl -sf --noproxy '*' -m "$HEALTH_TIMEOUT" -o /dev/null "http://127.0.0.1:$http/v2/health/ready" && taken "$grpc"
}

load_ports() {
  # shellcheck source=/dev/null # written by start_tunnel: three assignments of numbers
  . "$state/ports"
}

start_tunnel() {
  [ -n "$host" ] || die 2 "start needs --host (charter lambda list shows the addresses)"
  if keeper_runs; then
    load_ports
    echo "the tunnel '$name' runs already (keeper $keeper)"
    status_tunnel
    return
  fi
  stop_ssh
  for other in $(foreign_tunnels | cut -d' ' -f1); do
    echo "note: another ssh (process $other) forwards to such a port; it is left alone" >&2
  done
  mkdir -p "$state"
  chmod 700 "$state"
  chosen='' grpc='' http='' metrics=''
  grpc=$(next_free "$(field "$local_ports" 1)")
  chosen=$grpc
  http=$(next_free "$(field "$local_ports" 2)")
  chosen="$chosen $http"
  metrics=$(next_free "$(field "$local_ports" 3)")
  printf 'grpc=%s\nhttp=%s\nmetrics=%s\n' "$grpc" "$http" "$metrics" >"$state/ports"
  printf '%s\n' --host "$host" --user "$user" --ssh-port "$ssh_port" ${identity:+--identity "$identity"} \
    ${known_hosts:+--known-hosts "$known_hosts"} ${exact:+--exact} --local-ports "$local_ports" \
    --remote-ports "$remote_ports" --name "$name" >"$state/options"
  : >"$state/log"
  chmod 600 "$state/log" "$state/options"
  set -- _keep --name "$name" --host "$host" --user "$user" --ssh-port "$ssh_port" --remote-ports "$remote_ports"
  [ -z "$identity" ] || set -- "$@" --identity "$identity"
  [ -z "$known_hosts" ] || set -- "$@" --known-hosts "$known_hosts"
  [ "$strict" = yes ] || set -- "$@" --accept-new
  nohup bash "$SELF" "$@" </dev/null >>"$state/log" 2>&1 &
  echo $! >"$state/keeper"
  wait_for_ports
  status_tunnel
}

wait_for_ports() { # until ssh has logged in and all of them are its own; a refusal by ssh ends the wait at once
  local waited=0
  while ! connected; do
    if ! keeper_runs; then
      tail -n 5 "$state/log" >&2
      die 1 "ssh was refused (the lines above; the whole log is $state/log)"
    fi
    if [ "$waited" -ge $((START_TIMEOUT * 5)) ]; then
      tail -n 5 "$state/log" >&2
      stop_tunnel >/dev/null
      die 1 "no tunnel within $START_TIMEOUT s (the lines above are ssh's)"
    fi
    sleep 0.2
    waited=$((waited + 1))
  done
}

marker_command() { # for ssh's LocalCommand, in which % stands for something; the user's shell may be any, sh runs it
  local quoted
  quoted=$(printf '%s' "$state/connected" | sed -e "s/'/'\\\\''/g" -e 's/%/%%/g')
  printf "exec sh -c 'echo \$PPID >\"\$0\"' '%s'" "$quoted"
}

keep() { # the keeper: ssh again and again, until it is told to end
  load_ports
  child=''
  trap 'trap - TERM INT; [ -z "$child" ] || kill "$child" 2>/dev/null; exit 0' TERM INT
  local pause=1 begun first=1
  while true; do
    begun=$SECONDS
    set -- -N -T -p "$ssh_port" -o BatchMode=yes -o "StrictHostKeyChecking=$strict" -o ExitOnForwardFailure=yes \
      -o ServerAliveInterval=10 -o ServerAliveCountMax=3 -o ConnectTimeout=10 -o ControlMaster=no -o ControlPath=none
    [ -z "$identity" ] || set -- "$@" -i "$identity" -o IdentitiesOnly=yes
    [ -z "$known_hosts" ] || set -- "$@" -o "UserKnownHostsFile=$known_hosts" -o GlobalKnownHostsFile=/dev/null
    local index=1
    for local_name in $NAMES; do
      set -- "$@" -L "127.0.0.1:${!local_name}:127.0.0.1:$(field "$remote_ports" $index)"
      index=$((index + 1))
    done
    rm -f "$state/connected"
    # ssh runs the command once it has logged in and listens on all the ports; PPID is ssh. Other programs may have
    # taken the ports while ssh was away: that they answer says nothing.
    ssh -o PermitLocalCommand=yes -o "LocalCommand=$(marker_command)" "$@" -- "$user@$host" &
    child=$!
    echo "$child" >"$state/ssh"
    local code=0
    wait "$child" || code=$?
    child=''
    rm -f "$state/connected"
    echo "$(date -u +%FT%TZ) ssh ended with $code"
    # A tunnel that never stood is not tried again where trying cannot help: keys and names do not mend themselves.
    if [ -n "$first" ] && tail -n 5 "$state/log" | grep -qiE 'permission denied|host key verification failed|could not resolve|no such identity'; then
      exit 1
    fi
    first=''
    # One that stood for a while gets its next attempt at once.
    [ $((SECONDS - begun)) -lt 60 ] || pause=1
    sleep "$pause" &
    child=$!
    wait "$child" || true
    child=''
    pause=$((pause * 2))
    [ "$pause" -le "$LONGEST_PAUSE" ] || pause=$LONGEST_PAUSE
  done
}

stop_ssh() {
  local pid
  for pid in $(ssh_of_tunnel); do kill "$pid" 2>/dev/null || true; done
  rm -f "$state/ssh" "$state/connected"
}

stop_tunnel() {
  if ! keeper_runs && [ -z "$(ssh_of_tunnel)" ]; then
    rm -f "$state/keeper" "$state/ssh" "$state/connected"
    echo "no tunnel '$name' runs"
    return 0
  fi
  if keeper_runs; then
    kill "$keeper"
    local waited=0
    while keeper_runs && [ "$waited" -lt 50 ]; do
      sleep 0.1
      waited=$((waited + 1))
    done
    if keeper_runs; then kill -9 "$keeper" 2>/dev/null || true; fi
  fi
  stop_ssh # of a keeper that was killed itself
  rm -f "$state/keeper"
  echo "the tunnel '$name' is closed"
}

status_tunnel() {
  if ! keeper_runs; then
    [ -n "$print_env" ] || foreign_tunnels | sed 's/^\([0-9]*\) .*/another ssh (process \1) forwards to such a port/'
    [ -z "$print_env" ] || echo "lambda_tunnel: no tunnel '$name' runs" >&2
    [ -n "$print_env" ] || echo "no tunnel '$name' runs"
    return 3
  fi
  load_ports
  if [ -n "$print_env" ]; then
    echo "export CHARTER_LAMBDA_URL=127.0.0.1:$grpc"
    echo "export CHARTER_LAMBDA_HTTP_URL=http://127.0.0.1:$http"
    echo "export CHARTER_LAMBDA_METRICS_URL=http://127.0.0.1:$metrics/metrics"
    return 0
  fi
  echo "tunnel '$name' (keeper $keeper, log $state/log)"
  echo "  gRPC     127.0.0.1:$grpc"
  echo "  HTTP     http://127.0.0.1:$http"
  echo "  metrics  http://127.0.0.1:$metrics/metrics"
  if healthy; then
    echo "  the server answers through it: ready"
    return 0
  fi
  if connected; then
    echo "  the server does not answer through it (Triton may still be loading)"
  else
    echo "  the server does not answer through it: ssh is not connected, and tries again"
    for port in $grpc $http $metrics; do
      if taken "$port"; then echo "  port $port is another program's meanwhile: $0 restart chooses another"; fi
    done
  fi
  return 1
}

restart_tunnel() {
  if [ -z "$host" ]; then
    [ -f "$state/options" ] || die 2 "no tunnel '$name' ran before: restart needs --host"
    set --
    while IFS= read -r word; do set -- "$@" "$word"; done <"$state/options"
    parse "$@"
  fi
  stop_tunnel
  start_tunnel
}

main() {
  local action=${1:-help}
  [ $# -eq 0 ] || shift
  case "$action" in
    help | -h | --help)
      usage
      return 0
      ;;
    start | stop | status | restart | _keep) parse "$@" ;;
    *) die 2 "there is no command '$action' (start, stop, status, restart, help)" ;;
  esac
  case "$action" in
    start) start_tunnel ;;
    stop) stop_tunnel ;;
    status) status_tunnel ;;
    restart) restart_tunnel ;;
    _keep) keep ;;
  esac
}

main "$@"
