# shellcheck shell=bash
# What every script here needs: words for the person who watches, root where it must be, packages, and processes
# that are only ended when they are certainly ours.
#
# Messages go to stderr, so that stdout carries nothing but what was asked for (an address, a list).
# Sourced, never run.

# "set -e" in command substitutions too, and no silent end: whatever stops a script is named.
shopt -s inherit_errexit
set -o errtrace
trap 'name_failure "${BASH_SOURCE[0]##*/}" "$LINENO" "$BASH_COMMAND"' ERR
name_failure() { ((BASH_SUBSHELL > 0)) || printf '%s: stopped at line %s: %s\n' "$@" >&2; }

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# dockerd and its kind live there, which is not on everybody's PATH.
PATH=$PATH:/usr/sbin:/sbin

# Where the local cluster and the test registry keep what they write. In .gitignore.
state_dir() { realpath --canonicalize-missing "${PODLING_CLUSTER_DIR:-$repo/.cluster}"; }

say() { printf '%s\n' "$*" >&2; }
heading() { printf '\n== %s\n' "$*" >&2; }

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# A mistake on the command line: exit 2, as the binaries do.
usage_error() {
  printf '%s: %s (see %s --help)\n' "${0##*/}" "$*" "$0" >&2
  exit 2
}

# need_value --port 8080: a usage error that names the option, where its value is missing.
need_value() { [[ -n ${2:-} ]] || usage_error "$1 needs a value"; }

is_number() { [[ $1 =~ ^(0|[1-9][0-9]{0,4})$ ]]; }

# ---------------------------------------------------------------------------------------------- root and packages

as_root() {
  if ((EUID == 0)); then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo -- "$@"
  else
    die "this needs root, and there is no sudo here; run it as root: $*"
  fi
}

apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120)

# Reads the package lists, unless this machine knows all of the named packages already.
know_packages() {
  local package
  command -v apt-get >/dev/null || die "this needs Debian or Ubuntu: there is no apt-get here to bring $*"
  for package in "$@"; do
    [[ $(LC_ALL=C apt-cache policy "$package") != *'Candidate: '[!\(]* ]] || continue
    read_package_lists
    return
  done
}

read_package_lists() {
  say "reading the package lists (apt-get update) …"
  as_root "${apt[@]}" update </dev/null >&2
}

# Package lists may be there but old, and name files that are gone: then read them anew and try once more.
with_fresh_lists() {
  "$@" </dev/null >&2 && return
  read_package_lists
  "$@" </dev/null >&2
}

# Installs what is missing, in one go: need "cc:gcc" "/etc/ssl/certs/ca-certificates.crt:ca-certificates".
# Left of the colon a command, or a file, that shows it is there; right of it the package that brings it.
need() {
  local pair missing=()
  for pair in "$@"; do
    is_here "${pair%%:*}" || missing+=("${pair#*:}")
  done
  ((${#missing[@]} == 0)) || install_packages "${missing[@]}"
}

is_here() { if [[ $1 == /* ]]; then [[ -e $1 ]]; else command -v "$1" >/dev/null; fi; }

install_packages() {
  say "installing: $*"
  know_packages "$@"
  with_fresh_lists as_root "${apt[@]}" install -y --no-install-recommends "$@"
}

# Unpacks a package into a folder without installing it: the machine stays as it was, and no service starts.
unpack_package() {
  local package=$1 folder=$2
  know_packages "$package"
  mkdir -p "$folder"
  (cd "$folder" && with_fresh_lists "${apt[@]}" -o APT::Sandbox::User=root download "$package")
  dpkg-deb --extract "$folder/$package"_*.deb "$folder"
}

# --------------------------------------------------------------------------------------------------- processes

# The pid in a pid file, but only while that process lives and has the given word among its arguments. A pid alone
# proves nothing: after a reboot it may be anybody's.
pid_of() {
  local pid_file=$1 word=$2 pid
  [[ -s $pid_file ]] || return 1
  pid=$(<"$pid_file")
  is_pid "$pid" && has_argument "$pid" "$word" || return 1
  printf '%s\n' "$pid"
}

is_pid() { [[ $1 =~ ^[1-9][0-9]*$ ]]; }

has_argument() {
  local arguments=()
  mapfile -d '' -t arguments 2>/dev/null <"/proc/$1/cmdline" || return 1
  [[ " ${arguments[*]} " == *" $2 "* ]]
}

# Runs the command until it succeeds; gives up after so many seconds.
within() {
  local seconds=$1 deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.2
  done
}

# A process that has ended but whose parent has not looked yet (a zombie) is gone too.
is_gone() { [[ ! -d /proc/$1 ]] || grep -qs '^State:[[:space:]]Z' "/proc/$1/status"; }

# kill is the shell's own: minimal systems have no program of that name for sudo to run.
signal() { is_gone "$2" || kill "-$1" "$2" 2>/dev/null || is_gone "$2" || as_root bash -c "kill -$1 $2"; }

# TERM, then KILL for who doesn't follow in time. Says who needed longer.
end_process() {
  local name=$1 pid=$2 seconds=${3:-20}
  signal TERM "$pid"
  within 5 is_gone "$pid" && return
  say "$name (pid $pid) needs longer than 5 s to end; waiting up to $seconds s more …"
  within "$seconds" is_gone "$pid" && return
  say "$name (pid $pid) did not end on TERM: killing it"
  signal KILL "$pid"
  within 5 is_gone "$pid" || die "$name (pid $pid) can't be killed"
}

# Who listens on a TCP port of this machine, in words; fails where the port is free. Asks /proc, because minimal
# systems have neither ss nor lsof.
port_holder() {
  local hex inodes inode pid
  hex=$(printf '%04X' "$1")
  # Of the sockets in state 0A (listening), those whose local address ends in the port.
  inodes=$({ cat /proc/net/tcp /proc/net/tcp6 2>/dev/null || true; } |
    awk -v port=":$hex\$" '$4 == "0A" && $2 ~ port { print $10 }')
  [[ -n $inodes ]] || return 1
  for inode in $inodes; do
    pid=$(find /proc/[0-9]*/fd -lname "socket:\[$inode\]" -printf '%h\n' -quit 2>/dev/null | cut -d/ -f3 || true)
    [[ -z $pid ]] || { printf '%s (pid %s)\n' "$(tr '\0' ' ' <"/proc/$pid/comm")" "$pid"; return; }
  done
  printf 'a process of another user\n'
}

show_tail() {
  local file=$1 lines=${2:-20}
  say "--- the last lines of $file"
  tail -n "$lines" "$file" | sed 's/^/    /' >&2
  say "---"
}
