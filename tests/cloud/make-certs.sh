#!/bin/sh
# Makes a throw-away PKI for tests: root -> intermediate -> leaf, P-256; with
# KEYS=rsa:2048 in the environment RSA.
#
#   make-certs.sh DIR [NAME...]
#
# Leaves are for localhost, 127.0.0.1, ::1 and the names given.  All chains
# hold leaf and intermediate and belong to the one key server.key:
#
#   root.pem          what a client has to trust
#   server.pem        a good chain
#   leaf-only.pem     the same without its intermediate
#   expired.pem       ended in 2021
#   not-yet.pem       begins in 2098
#   wrong-name.pem    for wrong.example only
#   untrusted.pem     good, but under other-root.pem
set -eu

if [ $# -lt 1 ]; then
	echo "usage: $0 DIR [NAME...]" >&2
	exit 2
fi
dir=$1
shift
mkdir -p "$dir"
cd "$dir"
umask 077
keys=${KEYS:-ec -pkeyopt ec_paramgen_curve:P-256}

names=DNS:localhost,IP:127.0.0.1,IP:::1
for name; do
	names=$names,DNS:$name
done

cat > ca.cnf <<END
[ca]
default_ca = throw_away
[throw_away]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[root]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = \$ENV::names
END
: > index.txt
export names

quietly()
{
	"$@" 2> openssl.log || {
		cat openssl.log >&2
		exit 1
	}
}

# request FILE CN: a key and a request to sign
request()
{
	# shellcheck disable=SC2086
	quietly openssl req -new -newkey $keys \
	    -nodes -subj "/CN=$2" -config /dev/null -keyout "$1.key" \
	    -out "$1.csr"
}

# sign REQUEST FILE ISSUER EXTENSIONS FROM TO
sign()
{
	if [ "$2" = "$3" ]; then
		issuer=-selfsign
	else
		issuer="-cert $3.pem"
	fi
	# shellcheck disable=SC2086
	quietly openssl ca -batch -notext -config ca.cnf -in "$1.csr" \
	    -out "$2.pem" $issuer -keyfile "$3.key" -extensions "$4" \
	    -startdate "$5" -enddate "$6"
}

# leaf FILE ISSUER FROM TO: a chain for the common key
leaf()
{
	sign server "$1" "$2" leaf "$3" "$4"
	cp "$1.pem" leaf-only.pem
	cat "$2.pem" >> "$1.pem"
}

past=20200101000000Z
start=20240101000000Z
end=20980101000000Z
beyond=20990101000000Z

for prefix in "" other-; do
	request "${prefix}root" "Throw-away ${prefix}root"
	sign "${prefix}root" "${prefix}root" "${prefix}root" root \
	    $past $beyond
	request "${prefix}intermediate" "Throw-away ${prefix}intermediate"
	sign "${prefix}intermediate" "${prefix}intermediate" \
	    "${prefix}root" root $past $beyond
done

request server localhost
leaf expired intermediate $past 20210101000000Z
leaf not-yet intermediate $end $beyond
leaf untrusted other-intermediate $start $end
good=$names
names=DNS:wrong.example
leaf wrong-name intermediate $start $end
names=$good
leaf server intermediate $start $end

rm -f ./*.csr ./index.txt* ./ca.cnf ./openssl.log ./[0-9A-F]*.pem
rm -f root.key other-root.key intermediate.key other-intermediate.key
rm -f intermediate.pem other-intermediate.pem
