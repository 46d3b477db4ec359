#include "link/cert_text.h"

#include "base/escape.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

const char *
cert_text_name(char *out, size_t size, const X509_NAME *name)
{
	BIO *text = BIO_new(BIO_s_mem());
	int n = -1;

	if (text != NULL &&
	    X509_NAME_print_ex(text, name, 0, XN_FLAG_RFC2253) >= 0)
		n = BIO_read(text, out, (int)size - 1);
	out[n > 0 ? n : 0] = '\0';
	BIO_free(text);
	return out;
}

const char *
cert_text_date(char *out, size_t size, const ASN1_TIME *date)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(date, &tm) != 1 ||
	    strftime(out, size, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		(void)snprintf(out, size, "?");
	return out;
}

/* One name as text; empty when it is of another kind. */
static void
host_text(char *out, size_t size, const GENERAL_NAME *name)
{
	const ASN1_STRING *value = name->d.ia5;
	bool is_ip4;

	out[0] = '\0';
	if (name->type != GEN_DNS && name->type != GEN_IPADD)
		return;
	if (name->type == GEN_DNS) {
		(void)escape(out, size,
		    (struct span){ASN1_STRING_get0_data(value),
			(size_t)ASN1_STRING_length(value)});
		return;
	}
	is_ip4 = ASN1_STRING_length(value) == 4;
	if (is_ip4 || ASN1_STRING_length(value) == 16)
		(void)inet_ntop(is_ip4 ? AF_INET : AF_INET6,
		    ASN1_STRING_get0_data(value), out, (socklen_t)size);
}

const char *
cert_text_hosts(char *out, size_t size, const X509 *cert)
{
	enum { MORE = sizeof(" and 2147483647 more") };
	GENERAL_NAMES *names =
	    X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	int count = names == NULL ? 0 : sk_GENERAL_NAME_num(names);
	size_t at = 0;
	int left_out = 0;

	out[0] = '\0';
	for (int i = 0; i < count; i++) {
		char text[80];

		host_text(text, sizeof(text), sk_GENERAL_NAME_value(names, i));
		if (text[0] == '\0')
			continue;
		if (left_out > 0 || at + strlen(text) + 2 + MORE > size)
			left_out++;
		else
			at += (size_t)snprintf(out + at, size - at, "%s%s",
			    at > 0 ? ", " : "", text);
	}
	if (left_out > 0)
		(void)snprintf(out + at, size - at, " and %d more", left_out);
	else if (at == 0)
		(void)snprintf(out, size, "no host");
	GENERAL_NAMES_free(names);
	return out;
}

const char *
cert_text_expected(char *out, size_t size, X509_VERIFY_PARAM *param)
{
	const char *host = X509_VERIFY_PARAM_get0_host(param, 0);
	char *address = X509_VERIFY_PARAM_get1_ip_asc(param);

	(void)snprintf(out, size, "%s",
	    host != NULL      ? host
	    : address != NULL ? address
			      : "?");
	OPENSSL_free(address);
	return out;
}
