#include "link/hosts_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char blanks[] = " \t\r\n";

/* True when the line has the name; <line> is changed. */
static bool
read_line(char *line, const char *name, struct address *out)
{
	char *rest;
	const char *first, *word;

	line[strcspn(line, "#")] = '\0';
	first = strtok_r(line, blanks, &rest);
	if (first == NULL)
		return false;
	while ((word = strtok_r(NULL, blanks, &rest)) != NULL)
		if (strcasecmp(word, name) == 0)
			return address_read(out, first, 0);
	return false;
}

unsigned
hosts_file_find(const char *path, const char *name,
    struct address out[static ADDRESS_LIST_MAX])
{
	FILE *f = fopen(path, "re");
	unsigned count = 0;
	char *line = NULL;
	size_t size = 0;

	if (f == NULL)
		return 0;
	while (count < ADDRESS_LIST_MAX && getline(&line, &size, f) >= 0)
		count += read_line(line, name, &out[count]);
	free(line);
	(void)fclose(f);
	return count;
}
