#!/bin/sh
# The manual of devices.ini agrees with the program, and scripts/check-docs
# would see it if it did not; its examples load. Runs where the program was
# built.
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
	mkdir -p "$dir/proxy/settings" "$dir/docs"
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
refused 'docs/devices.ini.5: topic_max has default "127" in proxy/settings/contract.h, and here default "128"'
replace $rules 'will, BOOL' 'will_3, BOOL'
refused 'docs/devices.ini.5:24: there is no key will
docs/devices.ini.5: will_3 is not there'
replace $rules '"128", "0"' '128'
refused 'proxy/settings/contract.h:2: no row of the table: X(x, topic_max, COUNT, 128, 0, 9, true, "longest, in bytes") \
docs/devices.ini.5:21: there is no key topic_max'
replace $table CREDMAP_KEYS OTHER_KEYS
! "$root/scripts/check-docs" "$dir" >/dev/null || failed "no table is fine"

# ---- the manual itself

"$root/scripts/check-docs" "$root"

if command -v mandoc >/dev/null; then
	mandoc -T lint -W warning "$manual"
fi

# Its examples, each as a file of its own: what has sections is a map, what does
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
