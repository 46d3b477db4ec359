#include "cli/secret_input.h"

#include "cli/cli.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/* Those that end the process, or stop it. SIGPIPE: of the question itself, when
   nobody reads standard error any more. */
static const int numbers[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP,
    SIGPIPE, SIGALRM, SIGUSR1, SIGUSR2};

enum { NUMBERS = sizeof(numbers) / sizeof(numbers[0]) };

static volatile sig_atomic_t caught;

static void
on_signal(int number)
{
	caught = number;
}

bool
secret_input_has_terminal(void)
{
	return isatty(STDIN_FILENO) == 1;
}

/* One byte, or -1 at the end, with 0 in errno, and on errors. Signals come
   through while it waits, and only then. */
static int
next_byte(const sigset_t *through)
{
	struct pollfd wait = {.fd = STDIN_FILENO, .events = POLLIN};
	uint8_t byte;
	ssize_t n;

	if (ppoll(&wait, 1, NULL, through) < 0)
		return -1;
	n = read(STDIN_FILENO, &byte, 1);
	if (n == 0)
		errno = 0;
	return n == 1 ? byte : -1;
}

/* Up to a line end or the end. False after telling why, or when a signal was
   caught. */
static bool
take_line(const sigset_t *through, struct secret *out)
{
	int byte;

	secret_wipe(out);
	for (;;) {
		byte = next_byte(through);
		if (byte < 0 || byte == '\n')
			break;
		if (out->n == sizeof(out->bytes)) {
			cli_tell("a secret has at most %d bytes", SECRET_MAX);
			secret_wipe(out);
			return false;
		}
		out->bytes[out->n++] = (uint8_t)byte;
	}
	if (byte < 0 && errno != 0) {
		if (caught == 0)
			cli_tell("standard input cannot be read: %s",
			    strerror(errno));
		secret_wipe(out);
		return false;
	}
	if (out->n > 0 && out->bytes[out->n - 1] == '\r')
		out->n--;
	return true;
}

bool
secret_input_read(struct secret *out)
{
	sigset_t now;

	(void)sigprocmask(SIG_BLOCK, NULL, &now);
	return take_line(&now, out);
}

/* Asks once, with the terminal as it has to be and the signals held. */
static bool
ask_once(const char *what, const sigset_t *through, struct secret *out)
{
	struct termios before, silent;
	bool ok;

	if (tcgetattr(STDIN_FILENO, &before) != 0) {
		cli_tell("the terminal cannot be used: %s", strerror(errno));
		return false;
	}
	silent = before;
	silent.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
	silent.c_lflag |= ICANON;
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent) != 0) {
		cli_tell("the echo of the terminal cannot be switched off: %s",
		    strerror(errno));
		return false;
	}
	(void)fputs(what, stderr);
	ok = take_line(through, out);
	(void)fputc('\n', stderr);
	(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	return ok;
}

bool
secret_input_ask(const char *what, struct secret *out)
{
	struct sigaction before[NUMBERS];
	struct sigaction action = {.sa_handler = on_signal};
	sigset_t held, through;
	bool ok;

	(void)sigemptyset(&held);
	for (size_t i = 0; i < NUMBERS; i++)
		(void)sigaddset(&held, numbers[i]);
	do {
		caught = 0;
		(void)sigprocmask(SIG_BLOCK, &held, &through);
		for (size_t i = 0; i < NUMBERS; i++)
			(void)sigaction(numbers[i], &action, &before[i]);
		ok = ask_once(what, &through, out);
		for (size_t i = 0; i < NUMBERS; i++)
			(void)sigaction(numbers[i], &before[i], NULL);
		(void)sigprocmask(SIG_SETMASK, &through, NULL);
		/* what it would have done */
		if (caught != 0)
			(void)raise(caught);
	} while (caught == SIGTSTP); /* it goes on: ask again */
	if (ok && caught == 0)
		return true;
	secret_wipe(out);
	return false;
}
