# shellcheck shell=bash disable=SC2154
# The Rust toolchain: found even where HOME points elsewhere, and installed only where Debian's own would do.
# Sourced after common.sh, which sets $repo.

# Where cargo puts what it builds: CARGO_TARGET_DIR and cargo's own settings may say another place than target/.
target_dir() {
  (cd "$repo" && cargo metadata --no-deps --format-version 1 --locked) | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'
}

wanted_rust() { sed -n 's/^rust-version = "\(.*\)"/\1/p' "$repo/Cargo.toml"; }

# Makes cargo and a C linker work in this shell, or says what to do.
need_rust() {
  need cc:gcc /usr/include/stdio.h:libc6-dev
  rust_works || look_in_own_home || install_rust || explain_rust
}

rust_works() {
  local version
  version=$(cd "$repo" && cargo --version 2>/dev/null | cut -d' ' -f2) && rustc --version >/dev/null 2>&1 || return 1
  at_least "$version" "$(wanted_rust)"
}

at_least() { [[ $(printf '%s\n' "$2" "$1" | sort -V | sed -n 1p) == "$2" ]]; }

# rustup looks for its toolchains below HOME. Where HOME is a temporary folder, they are still in the home that the
# user was born with; under sudo, in that of the user who called it.
look_in_own_home() {
  local user home
  for user in "$(id -un)" ${SUDO_USER:+"$SUDO_USER"}; do
    home=$(getent passwd "$user" | cut -d: -f6)
    [[ -d $home/.rustup || -d $home/.cargo/bin ]] || continue
    export RUSTUP_HOME=$home/.rustup PATH=$home/.cargo/bin:$PATH
    # What cargo downloads goes there as well, but only into one's own home.
    [[ $user != "$(id -un)" ]] || export CARGO_HOME=${CARGO_HOME:-$home/.cargo}
    ! rust_works || { say "using the Rust toolchain of $home" && return; }
  done
  return 1
}

install_rust() {
  local offered
  know_packages rustc cargo
  offered=$(LC_ALL=C apt-cache policy cargo | sed -n 's/ *Candidate: \([0-9.]*\).*/\1/p')
  at_least "${offered:-0}" "$(wanted_rust)" || return 1
  install_packages cargo rustc rust-clippy rustfmt
  rust_works
}

explain_rust() {
  say "Podling needs Rust $(wanted_rust) or newer (found: $(cargo --version 2>/dev/null || echo none))."
  say "This system's own packages of it are older. rustup brings it: see https://rustup.rs, or, from Debian 13 and"
  say "Ubuntu 24.04 on, apt-get install rustup, then rustup toolchain install $(wanted_rust). Then run this again."
  exit 1
}
