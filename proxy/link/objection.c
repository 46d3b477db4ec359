#include "link/objection.h"

#include "base/clock.h"
#include "link/cert_text.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>

enum { NAME_TEXT = 72, DATE_TEXT = CLOCK_TEXT_MAX, HOSTS_TEXT = 120 };

static _Thread_local struct fault objection; /* R_NONE: none */

static enum reason
reason_of(int error)
{
	switch (error) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return R_CERT_EXPIRED;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return R_CERT_NOT_YET_VALID;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return R_CERT_WRONG_NAME;
	case X509_V_ERR_OUT_OF_MEM:
		return R_OUT_OF_MEMORY;
	default:
		return R_CERT_UNTRUSTED;
	}
}

static bool
none_is_valid_yet(X509_STORE_CTX *store, int64_t now_s)
{
	STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(store);
	time_t now = (time_t)now_s;

	for (int i = 0; i < sk_X509_num(chain); i++)
		if (X509_cmp_time(X509_get0_notBefore(sk_X509_value(chain, i)),
			&now) <= 0)
			return false;
	return true;
}

/* OpenSSL's words, and the certificate they are about. */
static void
describe(X509_STORE_CTX *store, char *out, size_t size)
{
	X509 *cert = X509_STORE_CTX_get_current_cert(store);
	char subject[NAME_TEXT], issuer[NAME_TEXT];
	char from[DATE_TEXT], to[DATE_TEXT];
	int n = snprintf(out, size, "%s; depth %d",
	    X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)),
	    X509_STORE_CTX_get_error_depth(store));

	if (cert == NULL || n < 0 || (size_t)n >= size)
		return;
	(void)snprintf(out + n, size - (size_t)n,
	    ", valid %s to %s, subject %s, issuer %s",
	    cert_text_date(from, sizeof(from), X509_get0_notBefore(cert)),
	    cert_text_date(to, sizeof(to), X509_get0_notAfter(cert)),
	    cert_text_name(
		subject, sizeof(subject), X509_get_subject_name(cert)),
	    cert_text_name(issuer, sizeof(issuer), X509_get_issuer_name(cert)));
}

static void
note_wrong_name(X509_STORE_CTX *store, const char *words)
{
	const X509 *cert = X509_STORE_CTX_get_current_cert(store);
	char expected[NAME_TEXT], hosts[HOSTS_TEXT] = "?";

	if (cert != NULL)
		(void)cert_text_hosts(hosts, sizeof(hosts), cert);
	(void)fault_set(&objection, R_CERT_WRONG_NAME,
	    "expected %s, the certificate is for %s; %s",
	    cert_text_expected(
		expected, sizeof(expected), X509_STORE_CTX_get0_param(store)),
	    hosts, words);
}

/* A date is wrong: the certificate's, or ours? */
static void
note_date(X509_STORE_CTX *store, enum reason why, const char *words)
{
	int64_t now_s = (int64_t)(clock_wall_ms() / 1000);
	char now[CLOCK_TEXT_MAX], release[CLOCK_TEXT_MAX];

	(void)clock_text(now, now_s);
	if (now_s < RELEASE_EPOCH_S)
		(void)fault_set(&objection, R_CLOCK_WRONG,
		    "this machine's clock says %s, before this program was"
		    " released (%s); %s",
		    now, clock_text(release, RELEASE_EPOCH_S), words);
	else if (none_is_valid_yet(store, now_s))
		(void)fault_set(&objection, R_CLOCK_WRONG,
		    "this machine's clock says %s, before any certificate of"
		    " the server is valid; %s",
		    now, words);
	else
		(void)fault_set(
		    &objection, why, "%s; the clock says %s", words, now);
}

/* OpenSSL goes on when there is no memory to take over whom a certificate must
   name (ssl_verify_cert_chain() of 3.0), and any name would do. */
static bool
expects_a_name(X509_STORE_CTX *store)
{
	X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(store);
	char *ip;

	if (X509_VERIFY_PARAM_get0_host(param, 0) != NULL)
		return true;
	ip = X509_VERIFY_PARAM_get1_ip_asc(param);
	OPENSSL_free(ip);
	return ip != NULL;
}

int
objection_note(int ok, X509_STORE_CTX *store)
{
	char words[FAULT_TEXT_MAX];
	enum reason why;

	if (ok && expects_a_name(store))
		return 1;
	/* what fails without memory has many names, "key too weak" is one */
	if (ok || errno == ENOMEM)
		X509_STORE_CTX_set_error(store, X509_V_ERR_OUT_OF_MEM);
	why = reason_of(X509_STORE_CTX_get_error(store));
	describe(store, words, sizeof(words));
	if (why == R_CERT_WRONG_NAME)
		note_wrong_name(store, words);
	else if (why == R_CERT_EXPIRED || why == R_CERT_NOT_YET_VALID)
		note_date(store, why, words);
	else
		(void)fault_set(&objection, why, "%s", words);
	return 0;
}

bool
objection_take(struct fault *why)
{
	if (objection.why == R_NONE)
		return false;
	*why = objection;
	objection.why = R_NONE;
	return true;
}
