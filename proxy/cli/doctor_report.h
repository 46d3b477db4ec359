/*
 * doctor_report: what the doctor tells a person, one line a step, and the exit
 * code that follows from it. One thread; everything goes to standard output.
 */
#ifndef PROXY_CLI_DOCTOR_REPORT_H
#define PROXY_CLI_DOCTOR_REPORT_H

#include "cli/cli.h"
#include "link/link.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* id, exit code when it is the first that fails, its name */
#define DOCTOR_STEPS(X)                                                        \
	X(ENTRY, 10, "entry")                                                  \
	X(CLOCK, 11, "clock")                                                  \
	X(NAMES, 12, "names")                                                  \
	X(TCP, 13, "tcp")                                                      \
	X(EGRESS, 14, "egress")                                                \
	X(TLS, 15, "tls")                                                      \
	X(UPGRADE, 16, "upgrade")                                              \
	X(LOGIN, 17, "login")                                                  \
	X(STAY, 18, "stay")
#define DOCTOR_CODES_HELP                                                      \
	"  10 entry    the map has no such device, or it is disabled\n"        \
	"  11 clock    this machine's clock is plainly wrong\n"                \
	"  12 names    the host's addresses, or the egress proxy's\n"          \
	"  13 tcp      the connection to it\n"                                 \
	"  14 egress   the tunnel through the egress proxy\n"                  \
	"  15 tls      the handshake and the certificate\n"                    \
	"  16 upgrade  the WebSocket\n"                                        \
	"  17 login    the cloud's answer to the signed login\n"               \
	"  18 stay     the session was ended soon after the login\n"

struct report {
	enum cli_exit code;        /* CLI_OK until a step fails */
	enum cli_exit code_before; /* of a way that others may replace */
	uint64_t began_ms;         /* of the step under way */
	unsigned way;              /* the transport told last */
	bool only_resumption;
};

/* What was read, before anything is dialled. */
void report_files(
    struct report *r, const struct cli_options *o, size_t devices);
void report_clock(struct report *r);
/* <text> says why */
void report_no_entry(struct report *r, const char *text);
void report_disabled(struct report *r, const struct credential *entry);

/* A dial for <entry> begins. */
void report_begin(struct report *r, const struct credential *entry);
/* link_env.on_step */
void report_step(
    struct report *r, const struct link *l, const struct fault *why);
/* The session was still there after so long. */
void report_stayed(struct report *r, uint64_t ms);

/* From now on only whether the handshake was a resumed one is told. */
void report_resumption_only(struct report *r);

#endif
