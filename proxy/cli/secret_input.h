/*
 * secret_input: a secret from a person, or from a pipe. Never from an argument:
 * every user of the machine can see those. Runs in the main thread.
 */
#ifndef PROXY_CLI_SECRET_INPUT_H
#define PROXY_CLI_SECRET_INPUT_H

#include "base/attr.h"
#include "base/secret.h"

#include <stdbool.h>

/* Whether standard input is a terminal. */
bool secret_input_has_terminal(void);

/*
 * Asks for it on the terminal that standard input is, without echo; <what>
 * stands before the cursor. However it ends, also by a signal, the terminal is
 * as it was before. False after telling why.
 */
NODISCARD bool secret_input_ask(const char *what, struct secret *out);

/* The first line of standard input, or all of it. False after telling why. */
NODISCARD bool secret_input_read(struct secret *out);

#endif
