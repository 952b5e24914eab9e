#!/bin/sh
# Installs the programs that `make test-system` uses and that are missing, with apt-get where that is allowed; names
# what is missing otherwise.
set -eu

# What is missing of "package:command|command|..." in $1, as package names.
missing_packages() {
  for entry in $1; do
    package=${entry%%:*}
    found=
    for command in $(echo "${entry#*:}" | tr '|' ' '); do
      # sshd lies where root alone looks.
      if PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null 2>&1; then found=1; fi
    done
    [ -n "$found" ] || printf '%s ' "$package"
  done
}

needed='curl:curl procps:ps openssh-client:ssh-keygen openssh-server:sshd redis-server:redis-server|valkey-server shellcheck:shellcheck chromium:chromium|chromium-browser|google-chrome'
missing=$(missing_packages "$needed")
[ -n "$missing" ] || exit 0

if command -v apt-get >/dev/null 2>&1; then
  if [ "$(id -u)" = 0 ]; then
    as_root='env'
  elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root='sudo env'
  else
    as_root=
  fi
  if [ -n "$as_root" ]; then
    echo "installing with apt-get: $missing"
    $as_root apt-get update -qq
    # shellcheck disable=SC2086 # both hold several words on purpose
    $as_root DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    missing=$(missing_packages "$needed")
    [ -n "$missing" ] || exit 0
  fi
fi
echo "make: the system tests need these programs, which are not installed: $missing(install them with the system's package manager)" >&2
exit 1
