# Sourced by scripts/run and scripts/test.
# shellcheck shell=bash
# shellcheck disable=SC2034 # they use what is set here

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
me=scripts/$(basename "$0")

build_packages=(autoconf automake gcc libc6-dev make pkg-config
	libevent-dev libinih-dev libssl-dev)
# for the emulated cloud
cloud_packages=(mosquitto mosquitto-clients openssl python3 python3-websockets)

die() {
	printf '%s: %s\n' "$me" "$*" >&2
	exit 1
}

# stop_service NAME PACKAGE: what a package that was missing has started is not
# wanted here: the tests start their own. For need_packages only.
stop_service() {
	[[ " ${missing[*]} " == *" $2 "* ]] || return 0
	"${sudo[@]}" service "$1" stop || true
	"${sudo[@]}" update-rc.d "$1" disable || true
} >/dev/null 2>&1

# need_packages PACKAGE...: installs those that are missing. Asks no server when
# none is.
need_packages() {
	local package missing=() sudo=()

	# on other systems ./configure says what it misses
	command -v dpkg-query >/dev/null || return 0
	for package; do
		dpkg-query -W -f '${db:Status-Status}\n' "$package" \
			2>/dev/null | grep -qx installed ||
			missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	if [ "$EUID" -ne 0 ]; then
		command -v sudo >/dev/null ||
			die "not root and no sudo; as root, do:" \
			    "apt-get install ${missing[*]}"
		sudo=(sudo)
	fi
	echo "$me: installing ${missing[*]}"
	"${sudo[@]}" apt-get -q update ||
		die "apt-get update failed; missing: ${missing[*]}"
	"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get -qy install --no-install-recommends "${missing[@]}" ||
		die "apt-get could not install ${missing[*]}"
	stop_service mosquitto mosquitto
	stop_service haproxy haproxy
	stop_service nginx nginx
	stop_service stunnel4 stunnel4
	stop_service squid squid-openssl
	stop_service prometheus prometheus
	stop_service docker docker.io
	stop_service containerd containerd
}

# Nothing that talks to this machine itself may go through a proxy.
forget_proxies() {
	unset http_proxy https_proxy all_proxy ftp_proxy \
		HTTP_PROXY HTTPS_PROXY ALL_PROXY FTP_PROXY
	export no_proxy='*' NO_PROXY='*'
}

# logged FILE COMMAND...: its output goes to FILE, and is shown when it fails.
logged() {
	local file=$1
	shift
	"$@" >"$file" 2>&1 || {
		cat "$file" >&2
		return 1
	}
}
