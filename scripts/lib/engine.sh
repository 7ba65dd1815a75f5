# shellcheck shell=bash
# The Docker Engine, over its HTTP API with curl: the same way Podling's worker speaks to it, so no docker client is
# needed. DOCKER_HOST is honoured. Sourced after common.sh.

engine_host=${DOCKER_HOST:-unix:///var/run/docker.sock}
[[ $engine_host == unix://* || $engine_host == tcp://* ]] ||
  die "DOCKER_HOST=$engine_host: only unix:// and tcp:// are understood"

# One call: engine_api GET /version; engine_api POST /containers/create --json …. Fails on a status of 400 or more,
# and prints the Engine's answer in any case.
engine_api() {
  local method=$1 path=$2 base=http://${engine_host#*://} socket=()
  shift 2
  [[ $engine_host != unix://* ]] || { socket=(--unix-socket "${engine_host#unix://}") && base=http://engine; }
  curl --silent --show-error --fail-with-body --noproxy '*' --max-time "${ENGINE_TIMEOUT:-60}" --request "$method" \
    "${socket[@]}" "$base$path" "$@"
}

engine_answers() { ENGINE_TIMEOUT=5 engine_api GET /_ping >/dev/null 2>&1; }

# "Docker Engine 20.10.24 at unix:///var/run/docker.sock"
engine_name() {
  local version
  version=$(engine_api GET /version | sed 's/.*"Version":"\([^"]*\)","ApiVersion.*/\1/')
  printf 'Docker Engine %s at %s\n' "$version" "$engine_host"
}

# For a script that is of no use without an Engine: need_engine "$0" "$@" before anything else.
need_engine() {
  need curl:curl
  enter_docker_group "$@"
  engine_answers || die "no Docker Engine answers at $engine_host; scripts/engine up installs and starts one"
}

# Who joined the group docker just now is in it from the next login on; sg brings it forward. Runs the script that asks
# once more under sg, where that is what is missing: enter_docker_group "$0" "$@".
enter_docker_group() {
  ! engine_answers || return 0
  [[ " $(id -nG "$(id -un)") " == *' docker '* && " $(id -nG) " != *' docker '* ]] || return 0
  say "going on as a member of the group docker"
  exec sg docker -c "bash $(printf '%q ' "$@")"
}

# The Engine answers a push and an import with 200 before the work is done, and says in the stream that it failed.
# Reads such a stream; shows the error and fails if there was one.
engine_progress() {
  local answer
  answer=$(cat)
  [[ $answer != *'"error'* ]] && return
  say "the Engine says: $answer"
  return 1
}
