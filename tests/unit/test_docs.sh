#!/bin/sh
# The manuals and lists in docs/ agree with the program, and scripts/check-docs
# would see it if they did not; examples load; completion knows all commands.
# Runs where the program was built.
set -eu
umask 077
proxy=$PWD/mqtt-wss-proxy
root=$(cd "${srcdir:-.}" && pwd)
manual=$root/docs/devices.ini.5
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

failed() {
	echo "FAILED: $*"
	exit 1
}

# ---- the checker, on a small table and manual

fresh() {
	mkdir -p "$dir/proxy/settings" "$dir/proxy/base" "$dir/docs"
	cat >"$dir/proxy/settings/credmap.h" <<'END_OF_TABLE'
#define OTHERS(X) X(other, "a", true)
#define CREDMAP_KEYS(X) \
X(label,      false, NULL, "what it is called") \
X(path,       true,  "/mqtt", "where, when") \
X(extra,      true,  "", "more, \"so\"") \
X(region,     true,  NULL, "") \
POLICIES(POLICY, X) \
CONTRACT(RULE, X)
#define X(name) nothing
END_OF_TABLE
	cat >"$dir/proxy/settings/policy.h" <<'END_OF_POLICIES'
#define POLICIES(X, x) \
X(x, qos2, "adapt",   "refuse", NULL, "two, \"2\"")
END_OF_POLICIES
	cat >"$dir/proxy/settings/contract.h" <<'END_OF_RULES'
#define CONTRACT(X, x) \
X(x, topic_max, COUNT, "128", "0", 0, 9, true, "longest, in bytes") \
X(x, will, BOOL,  "no", "yes",  0, 1, false, "so")
END_OF_RULES
	cat >"$dir/docs/devices.ini.5" <<'END_OF_MANUAL'
.Sh DESCRIPTION
.It Ic not_a_key_here
.Sh KEYS OF A DEVICE
.It Ic label
Its name.
.Sh KEYS OF A DEVICE OR A PRODUCT
.It Ic path
Where, such as
.Cm /here .
Default:
.Cm /mqtt ,
or another.
.It Ic extra
More. Default: empty.
.It Ic region
In China.
.It Ic qos2
Two. Default:
.Cm adapt .
.Sh KEYS OF A CONTRACT
.It Ic topic_max
Long. Default:
.Cm 128 .
.It Ic will
So. Default:
.Cm no .
.Sh FILES
.It Ic nor_here
END_OF_MANUAL
	cat >"$dir/proxy/settings/listener.h" <<'END_OF_LISTENER'
#define LISTENER(X, more) \
X(more, "port",  PORT, port, "1883", 0, 65535, false, "where") \
X(more, "from",  NETWORKS, from, "", 0, 0, true, "who, or \"all\"")
END_OF_LISTENER
	cat >"$dir/proxy/settings/settings.h" <<'END_OF_SETTINGS'
#define SOCKET_DEFAULT "/run/a.sock"
#define SETTINGS(X) \
X("cloud", "port",   PORT, cloud_port, "443", 1, 65535, true, "its, or more") \
X("admin", "socket", TEXT, socket, SOCKET_DEFAULT, 0, 0, false, "where")
END_OF_SETTINGS
	cat >"$dir/docs/proxy.ini.5" <<'END_OF_MANUAL'
.Sh SECTIONS AND KEYS
.Ss \&[listen]
.It Ic port
Read at the start only.
Default:
.Cm 1883 .
.It Ic from
Default: empty.
.Ss \&[cloud]
.It Ic port
Default:
.Cm 443 .
.Ss \&[contract]
.It Ic topic_max
Default:
.Cm 128 .
.It Ic will
Default:
.Cm no .
.Ss \&[admin]
.It Ic socket
Read at the start only.
Default:
.Cm /run/a.sock .
.Sh FILES
.It Ic not_here
END_OF_MANUAL
	cat >"$dir/proxy/base/reason.h" <<'END_OF_REASONS'
X(R_NONE, "none", 0) \
X(R_LOST, "lost", 0, "it, is \"gone\"") \
X(R_LATE_2, "late_2", 3)
END_OF_REASONS
	cat >"$dir/docs/troubleshooting.md" <<'END_OF_LIST'
| reason | cure |
|---|---|
| `lost`, `late_2` | see `other` |

`elsewhere`
END_OF_LIST
	cat >"$dir/proxy/base/a.c" <<'END_OF_CODE'
void log_write(enum log_level level, const char *event);
	log_write(LOG_INFO, "begun", "a=%s", "b",
	    "not_this",
	    "nor_this");
	SLOG(more ? LOG_INFO : LOG_DEBUG,
	    "over", "a=1");
	other("nor_that", 1);
END_OF_CODE
	cat >"$dir/docs/log.md" <<'END_OF_LIST'
| `begun` | so |
| `over` | so |
END_OF_LIST
}

# replace FILE OLD NEW: in a fresh tree, the words OLD by NEW
replace() {
	fresh
	sed "s|$2|$3|" "$dir/$1" >"$dir/new"
	! cmp -s "$dir/new" "$dir/$1" || failed "no $2 in $1"
	mv "$dir/new" "$dir/$1"
}

# refused TEXT: and nothing else is complained about
refused() {
	! out=$("$root/scripts/check-docs" "$dir" 2>&1) ||
		failed "not seen: $1"
	[ "$out" = "$1" ] || failed "'$1' is wanted, not: $out"
}

table=proxy/settings/credmap.h
policies=proxy/settings/policy.h
rules=proxy/settings/contract.h
page=docs/devices.ini.5
fresh
"$root/scripts/check-docs" "$dir"

replace $page '^.It Ic region' 'region'
refused 'docs/devices.ini.5: region is not there'
replace $table '"where, when") ' '&\\\nX(new, false, NULL, "") '
refused 'docs/devices.ini.5: new is not there'
replace $page '^.It Ic region' '.It Ic regoin\n&'
refused 'docs/devices.ini.5:15: there is no key regoin'
replace $page '^.It Ic region' '.It Ic label\n&'
refused 'docs/devices.ini.5:15: label is there twice'
replace $table '/mqtt' '/other'
refused 'docs/devices.ini.5: path has default "/other" in proxy/settings/credmap.h, and here default "/mqtt"'
replace $page '^.Cm /mqtt' '.Cm /other'
refused 'docs/devices.ini.5: path has default "/mqtt" in proxy/settings/credmap.h, and here default "/other"'
replace $page '^Default:' 'Or:'
refused 'docs/devices.ini.5: path has default "/mqtt" in proxy/settings/credmap.h, and here no default'
replace $page '^In China.' 'Default: empty.'
refused 'docs/devices.ini.5: region has no default in proxy/settings/credmap.h, and here default ""'
replace $table '"", "more' 'NULL, "more'
refused 'docs/devices.ini.5: extra has no default in proxy/settings/credmap.h, and here default ""'
replace $table 'label,      false' 'label,      true'
refused 'docs/devices.ini.5:4: label may stand in [product:KEY]'
replace $table 'region,     true' 'region,     false'
refused 'docs/devices.ini.5:15: region may not stand in [product:KEY]'
replace $table 'region,     true' 'region'
refused 'proxy/settings/credmap.h:6: no row of the table: X(region,  NULL, "") \
docs/devices.ini.5:15: there is no key region'
replace $policies 'X(x, qos2' 'X(x, qos'
refused 'docs/devices.ini.5:17: there is no key qos2
docs/devices.ini.5: qos is not there'
replace $policies adapt other
refused 'docs/devices.ini.5: qos2 has default "other" in proxy/settings/policy.h, and here default "adapt"'
replace $rules '"128"' '"127"'
refused 'docs/devices.ini.5: topic_max has default "127" in proxy/settings/contract.h, and here default "128"
docs/proxy.ini.5: [contract] topic_max has the default "127", and here "128"'
replace $rules 'will, BOOL' 'will_3, BOOL'
refused 'docs/devices.ini.5:24: there is no key will
docs/devices.ini.5: will_3 is not there
docs/proxy.ini.5:17: there is no key [contract] will
docs/proxy.ini.5: [contract] will_3 is not there'
replace $rules '"128", "0"' '128'
refused 'proxy/settings/contract.h:2: no row of the table: X(x, topic_max, COUNT, 128, 0, 9, true, "longest, in bytes") \
docs/devices.ini.5:21: there is no key topic_max'
replace $table CREDMAP_KEYS OTHER_KEYS
! "$root/scripts/check-docs" "$dir" >/dev/null || failed "no table is fine"


page=docs/proxy.ini.5
table=proxy/settings/settings.h
replace $page '^.It Ic socket' '.It Ic sokcet'
refused "$page:21: there is no key [admin] sokcet
$page: [admin] socket is not there"
replace $page '^.It Ic from' '.It Ic port\nDefault:\n.Cm 1883 .\n&'
refused "$page:7: [listen] port is there twice"
replace $page '^.Cm 443' '.Cm 444'
refused "$page: [cloud] port has the default \"443\", and here \"444\""
replace $table a.sock b.sock
refused "$page: [admin] socket has the default \"/run/b.sock\", and here \"/run/a.sock\""
replace $table '65535, true' '65535, false'
refused "$page: [cloud] port is read at the start only"
replace $table '0, 0, false' '0, 0, true'
refused "$page: [admin] socket may change while the proxy runs"

# shellcheck disable=SC2016 # no command
replace docs/troubleshooting.md ', `late_2`' ''
refused 'docs/troubleshooting.md: late_2 is not there'
replace docs/troubleshooting.md late_2 late_3
refused 'docs/troubleshooting.md: late_2 is not there
docs/troubleshooting.md: late_3 is none of the reasons'
# shellcheck disable=SC2016 # no command
replace docs/troubleshooting.md late_2 'late_2`, `lost'
refused 'docs/troubleshooting.md: lost is there twice'
replace proxy/base/a.c '"over"' '"ended"'
refused 'docs/log.md: ended is not there
docs/log.md: over is none of the events'
replace proxy/base/reason.h R_ r_
! "$root/scripts/check-docs" "$dir" >/dev/null || failed "no reasons is fine"

# ---- the manuals themselves

"$root/scripts/check-docs" "$root"

# commands [GROUP]: what the program says that it has
commands() {
	"$proxy" ${1:+"$1"} --help |
		sed -n "/^Commands:/,/^\$/s/^  \([a-z]*\) .*/${1:+$1 }\1/p"
}

# options FILE: of a help
options() {
	grep -o '^ *\(-h, \)*--[a-z-]*' "$1" | grep -o -e '--[a-z-]*' | sort -u
}

# shown HEADING: the options below it in the manual
shown() {
	awk -v heading="$1" '
		/^\.S[sh] / { inside = substr($0, 5) == heading }
		inside && /^\.It Fl /
	' "$program_page" | grep -o ' -[a-z-]*' | sed 's/ /-/' | sort -u
}

program_page=$root/docs/mqtt-wss-proxy.8
{
	commands | grep -vx device
	commands device
} >"$dir/commands"
[ "$(wc -l <"$dir/commands")" -ge 18 ] || failed "only a few commands"
sed -n 's/^\.Ss //p' "$program_page" | sort >"$dir/pages"
sort "$dir/commands" | diff - "$dir/pages" ||
	failed "$program_page has other commands than the program"
shown 'OPTIONS OF ALL COMMANDS' >"$dir/common"
while read -r command; do
	case $command in version | help) continue ;; esac
	# shellcheck disable=SC2086 # its words
	"$proxy" $command --help >"$dir/help"
	options "$dir/help" | comm -23 - "$dir/common" >"$dir/own"
	shown "$command" | diff - "$dir/own" ||
		failed "$program_page has other options for $command"
done <"$dir/commands"
"$proxy" doctor --help | sed -n 's/^  \([0-9][0-9]*\) .*/.It \1/p' >"$dir/codes"
grep -x '\.It 1[0-9]' "$program_page" | diff - "$dir/codes" ||
	failed "$program_page has other exit codes for doctor"

# ---- completion

# completes WORD...: what bash offers for the last one
completes() {
	# shellcheck disable=SC2016 # for the other shell
	bash -c '. "$1"
		shift
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
		_mqtt_wss_proxy
		printf "%s\n" "${COMPREPLY[@]}"' \
		bash "$root/config/completions/mqtt-wss-proxy" "$proxy" "$@"
}

# zsh_completes WORD...: the same of zsh, of which only what offers words is
# another's
zsh_completes() {
	# shellcheck disable=SC2016 # for the other shell
	zsh -f -c 'fpath=("$1")
		shift
		compadd() { [[ $1 == -- ]] && shift; print -rl -- "$@"; }
		_describe() { print -rl -- "${(@)${(@P)2}%%:*}"; }
		_files() { print -r FILES; }
		words=("$@") CURRENT=$#
		autoload -Uz _mqtt-wss-proxy
		_mqtt-wss-proxy' \
		zsh "$root/config/completions" "$proxy" "$@"
}

# completes_all COMPLETES: each command and each option
completes_all() {
	{
		"$1" '' | grep -vx device
		"$1" device '' | sed 's/^/device /'
	} | diff "$dir/commands" - || failed "$1: other commands"
	while read -r command; do
		case $command in version | help) continue ;; esac
		# shellcheck disable=SC2086 # its words
		"$proxy" $command --help >"$dir/help"
		options "$dir/help" >"$dir/own"
		# shellcheck disable=SC2086 # its words
		"$1" $command -- | sort | diff "$dir/own" - ||
			failed "$1: other options of $command"
	done <"$dir/commands"
	cp "$root/config/proxy.ini" "$dir/proxy.ini"
	printf '[device:%s]\n%s\ndevice_name = %s_1\n%s\n%s\n' \
		one 'product_key = k' one 'device_secret = x' 'host = h' \
		two 'product_key = k' two 'device_secret = x' 'host = h' \
		>"$dir/devices.ini"
}

if command -v bash >/dev/null; then
	completes_all completes
	[ "$(completes sign --config "$dir/proxy.ini" t)" = two ] ||
		failed "labels are not completed"
	[ "$(completes topic --config "$dir/proxy.ini" two u)" = up ] ||
		failed "up and down are not completed"
	[ "$(completes log --config "$dir/proxy.ini" d | xargs)" = \
		"debug default" ] || failed "levels are not completed"
fi
if command -v zsh >/dev/null; then
	zsh -n "$root/config/completions/_mqtt-wss-proxy"
	completes_all zsh_completes
	# which of them begin with the word is for zsh to say
	[ "$(zsh_completes sign --config "$dir/proxy.ini" '' | xargs)" = \
		"one two" ] || failed "zsh: labels are not completed"
	[ "$(zsh_completes topic --config "$dir/proxy.ini" two '' | xargs)" = \
		"up down one two" ] || failed "zsh: up and down are not completed"
	[ "$(zsh_completes log --config "$dir/proxy.ini" '' | xargs)" = \
		"error warning notice info debug default one two" ] ||
		failed "zsh: levels are not completed"
	[ "$(zsh_completes sign --config '')" = FILES ] ||
		failed "zsh: files are not completed"
fi

if command -v mandoc >/dev/null; then
	mandoc -T lint -W warning "$root"/docs/*.[58]
fi

# Examples, each as a file of its own: what has sections is a map, what does
# not is the table of a fleet.
mkdir "$dir/secrets"
echo a-secret >"$dir/secrets/meter-3"
echo a-password >"$dir/secrets/meter-3-password"
: >"$dir/proxy.ini"
awk -v dir="$dir" '
	/^\.Sh / { wanted = $2 == "EXAMPLES" }
	/^\.Bd -literal/ && wanted { n++; inside = 1; next }
	/^\.Ed/ { inside = 0 }
	inside {
		gsub(/\\&/, "")
		gsub(/\\e/, "\\")
		print >(dir "/example-" n ".ini")
	}
' "$manual"
examples=0
for map in "$dir"/example-*.ini; do
	grep -q '^\[device:' "$map" || {
		mv "$map" "$dir/secrets.csv"
		continue
	}
	out=$("$proxy" check --config "$dir/proxy.ini" --devices "$map" 2>&1) ||
		failed "an example is refused: $out"
	case $out in
	*error* | *warning*) failed "an example is complained about: $out" ;;
	esac
	examples=$((examples + 1))
done
[ "$examples" -ge 3 ] || failed "only $examples examples were found"
