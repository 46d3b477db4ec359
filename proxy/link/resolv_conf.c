#include "link/resolv_conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NDOTS_MAX = 15 };

static const char blanks[] = " \t\r\n";

static void
add_server(struct resolv_conf *conf, const char *word)
{
	struct address *server = &conf->servers[conf->server_count];

	if (conf->server_count < NAMESERVERS_MAX && word != NULL &&
	    address_read(server, word, RESOLV_CONF_PORT))
		conf->server_count++;
}

static void
add_search(struct resolv_conf *conf, const char *domain)
{
	size_t n;

	domain += strspn(domain, "."); /* "." is how to say: none */
	n = strlen(domain);
	if (n == 0 || n >= NAME_BYTES ||
	    conf->search_count == RESOLV_CONF_SEARCH_MAX)
		return;
	memcpy(conf->search[conf->search_count++], domain, n + 1);
}

static void
set_option(struct resolv_conf *conf, const char *word)
{
	static const char ndots[] = "ndots:";
	unsigned long n;

	if (strncmp(word, ndots, sizeof(ndots) - 1) != 0)
		return;
	n = strtoul(word + sizeof(ndots) - 1, NULL, 10);
	conf->ndots = n < NDOTS_MAX ? (unsigned)n : NDOTS_MAX;
}

static void
read_line(struct resolv_conf *conf, char *line)
{
	char *rest;
	const char *key = strtok_r(line, blanks, &rest);
	const char *word;

	if (key == NULL)
		return;
	if (strcmp(key, "nameserver") == 0)
		add_server(conf, strtok_r(NULL, blanks, &rest));
	if (strcmp(key, "search") == 0 || strcmp(key, "domain") == 0) {
		conf->search_count = 0; /* the last line counts */
		while ((word = strtok_r(NULL, blanks, &rest)) != NULL)
			add_search(conf, word);
	}
	if (strcmp(key, "options") == 0)
		while ((word = strtok_r(NULL, blanks, &rest)) != NULL)
			set_option(conf, word);
}

/* What stands behind the first dot of this machine's name. */
static void
search_own_domain(struct resolv_conf *conf)
{
	char name[NAME_BYTES] = "";
	const char *dot;

	(void)gethostname(name, sizeof(name) - 1);
	dot = strchr(name, '.');
	if (dot != NULL)
		add_search(conf, dot);
}

void
resolv_conf_read(struct resolv_conf *conf, const char *path)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;

	memset(conf, 0, sizeof(*conf));
	conf->ndots = 1;
	search_own_domain(conf);
	if (f != NULL) {
		while (getline(&line, &size, f) >= 0)
			read_line(conf, line);
		free(line);
		(void)fclose(f);
	}
	if (conf->server_count == 0) {
		add_server(conf, "127.0.0.1");
		conf->server_assumed = true;
	}
}
