#!/bin/sh
# The sources keep to their layers, and scripts/check-layers would see it if
# they did not.
set -eu
root=$(cd "${srcdir:-.}" && pwd)
check=$root/scripts/check-layers
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# put FILE LINE...: writes a source file of a small tree that is in order
put() {
	file=$dir/proxy/$1
	shift
	printf '%s\n' "$@" >"$file"
}

fresh_tree() {
	rm -rf "$dir/proxy"
	mkdir -p "$dir/proxy/base" "$dir/proxy/codec" "$dir/proxy/cli"
	put base/span.h '#include <stddef.h>'
	put base/span.c '#include "base/span.h"'
	put codec/ws.h '#include "base/span.h"'
	put codec/ws.c '#include "codec/ws_own.h"' '#include "codec/utf8.h"'
	put codec/utf8.c '#include "codec/utf8.h"'
	put codec/utf8.h '#include <stdint.h>'
	# a private header between two modules is in order
	put codec/ws_own.h '#include "codec/ws.h"'
	put codec/ws_tables.c '#include "codec/ws_own.h"'
	put cli/main.c '#include "codec/ws.h"'
}

# refused TEXT: the tree is refused with that text
refused() {
	if out=$("$check" "$dir"); then
		echo "FAILED: not seen: $1"
		exit 1
	fi
	case $out in
	*"$1"*) ;;
	*)
		echo "FAILED: '$1' is not in: $out"
		exit 1
		;;
	esac
}

fresh_tree
"$check" "$dir"

put base/span.c '#include "base/span.h"' '' ' # include "codec/ws.h"'
refused 'proxy/base/span.c:3: base/ may not include from codec/'

fresh_tree
put codec/ws.c '#include "ws.h"'
refused 'proxy/codec/ws.c:1: "ws.h" is not of the form'

fresh_tree
put codec/utf8.c '#include "codec/ws.h"'
refused '  proxy/codec/ws'

fresh_tree
put codec/ws.h '#include "codec/ws_own.h"'
refused '  proxy/codec/ws_own.h'

fresh_tree
mkdir "$dir/proxy/misc"
put misc/all.c ''
refused 'the folder misc is no layer'

fresh_tree
rm -r "$dir"/proxy/*
if "$check" "$dir" 2>/dev/null; then
	echo "FAILED: an empty tree passes"
	exit 1
fi

"$check" "$root"
