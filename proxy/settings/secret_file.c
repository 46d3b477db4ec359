#include "settings/secret_file.h"

#include "settings/file.h"

#include <stdio.h>
#include <string.h>

/* Up to <size> bytes. False, with <*why>, when it cannot be read. */
static bool
read_file(const char *path, const struct complaints *to, uint8_t *bytes,
    size_t size, size_t *n, const char **why)
{
	struct file file;
	int c;

	*n = 0;
	if (!file_open(&file, path, to, why))
		return false;
	while (*n < size && (c = file_next(&file)) != EOF)
		bytes[(*n)++] = (uint8_t)c;
	if (file.error != 0)
		*why = strerror(file.error);
	file_close(&file);
	return file.error == 0;
}

bool
secret_file_read(const char *beside, const char *name,
    const struct complaints *to, struct secret *out, const char **why)
{
	uint8_t bytes[SECRET_MAX + 2 + 1]; /* CRLF, and one to see more */
	struct span secret = {bytes, 0};
	char path[PATH_MAX];
	bool ok;

	secret_wipe(out);
	if (!file_beside(path, beside, name, why))
		return false;
	ok = read_file(path, to, bytes, sizeof(bytes), &secret.n, why);
	if (ok && secret.n > 0 && bytes[secret.n - 1] == '\n') {
		secret.n--;
		if (secret.n > 0 && bytes[secret.n - 1] == '\r')
			secret.n--;
	}
	if (ok && !secret_set(out, secret)) {
		*why = "it is too long for a secret";
		ok = false;
	}
	secret_wipe_bytes(bytes, sizeof(bytes));
	return ok;
}
