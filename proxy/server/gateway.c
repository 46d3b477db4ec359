#include "server/gateway.h"

#include <arpa/inet.h>
#include <linux/route.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* proc(5): addresses are numbers in the order of the machine, in hexadecimal */
static bool
read_route(const char *line, char out[static ADDRESS_TEXT])
{
	unsigned destination, gateway, flags, mask;
	struct in_addr address;

	if (sscanf(line, "%*s %x %x %x %*s %*s %*s %x", &destination, &gateway,
		&flags, &mask) != 4 ||
	    destination != 0 || mask != 0 || (flags & RTF_GATEWAY) == 0)
		return false;
	address.s_addr = gateway;
	return inet_ntop(AF_INET, &address, out, ADDRESS_TEXT) != NULL;
}

/* destination, its length, source, its length, next hop, metric, references,
   use, flags, interface */
static bool
read_ip6_route(const char *line, char out[static ADDRESS_TEXT])
{
	unsigned length, flags, byte;
	char next_hop[33];
	struct in6_addr address;

	if (sscanf(line, "%*32s %x %*32s %*s %32s %*s %*s %*s %x", &length,
		next_hop, &flags) != 3 ||
	    length != 0 || (flags & RTF_GATEWAY) == 0)
		return false;
	for (size_t i = 0; i < sizeof(address.s6_addr); i++) {
		if (sscanf(next_hop + 2 * i, "%2x", &byte) != 1)
			return false;
		address.s6_addr[i] = (uint8_t)byte;
	}
	return inet_ntop(AF_INET6, &address, out, ADDRESS_TEXT) != NULL;
}

/* The first line that <reads> takes. */
static void
read_file(const char *path, char out[static ADDRESS_TEXT],
    bool (*reads)(const char *line, char out[static ADDRESS_TEXT]))
{
	FILE *file = fopen(path, "re");
	char line[256];

	out[0] = '\0';
	if (file == NULL)
		return;
	while (fgets(line, sizeof(line), file) != NULL)
		if (reads(line, out))
			break;
	(void)fclose(file);
}

void
gateway_read(struct gateway *g, const char *routes, const char *ip6_routes)
{
	g->is_told = false;
	read_file(routes, g->ip4, read_route);
	read_file(ip6_routes, g->ip6, read_ip6_route);
}

void
gateway_find(struct gateway *g)
{
	*g = (struct gateway){0};
	/* as systemd-detect-virt(1) knows Docker and Podman */
	if (access("/.dockerenv", F_OK) == 0 ||
	    access("/run/.containerenv", F_OK) == 0)
		gateway_read(g, "/proc/net/route", "/proc/net/ipv6_route");
}

bool
gateway_is_news(struct gateway *g, const char *address)
{
	if (g->is_told ||
	    (strcmp(address, g->ip4) != 0 && strcmp(address, g->ip6) != 0))
		return false;
	g->is_told = true;
	return true;
}
