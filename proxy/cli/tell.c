#include "cli/cli.h"

#include <stdarg.h>
#include <stdio.h>

PRINTF_LIKE(1, 0)
static void
vtell(const char *fmt, va_list ap)
{
	(void)fputs(CLI_PROGRAM ": ", stderr);
	(void)vfprintf(stderr, fmt, ap);
	(void)fputc('\n', stderr);
}

void
cli_tell(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vtell(fmt, ap);
	va_end(ap);
}

enum cli_exit
cli_misused(const struct cli_command *command, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vtell(fmt, ap);
	va_end(ap);
	cli_tell("try '" CLI_PROGRAM "%s%s --help'", command != NULL ? " " : "",
	    command != NULL ? command->name : "");
	return CLI_USAGE;
}
