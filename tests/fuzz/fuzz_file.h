/*
 * fuzz_file: for the harnesses of file readers: the input as a file, without a
 * disk, and a judge of what is complained about it.
 */
#ifndef TESTS_FUZZ_FUZZ_FILE_H
#define TESTS_FUZZ_FUZZ_FILE_H

#include "fuzz.h"

#include "settings/complaints.h"

#include <sys/mman.h>
#include <unistd.h>

/* The path of a file with these bytes; the next call replaces it. */
static inline const char *
fuzz_file(const uint8_t *data, size_t size)
{
	static char path[64];
	static int fd = -1;

	if (fd < 0) {
		fd = memfd_create("input", MFD_CLOEXEC);
		MUST(fd >= 0);
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	MUST(ftruncate(fd, 0) == 0);
	MUST(pwrite(fd, data, size, 0) == (ssize_t)size);
	return path;
}

/* A complaint goes to the log: printable ASCII without double quotes. */
static inline void
fuzz_told(
    void *arg, bool is_error, const char *path, int line, const char *text)
{
	(void)arg;
	(void)is_error;
	(void)path;
	MUST(line >= 0 && *text != '\0');
	for (const char *c = text; *c != '\0'; c++)
		MUST(*c >= 0x20 && *c < 0x7f && *c != '"');
}

#endif
