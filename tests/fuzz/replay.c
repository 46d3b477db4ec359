/*
 * replay FOLDER...: runs every file of the folders through the harness it is
 * linked with, and says how many there were. A folder without any is a mistake.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* Runs one file, in memory of exactly its size. */
static void
replay_file(const char *path, size_t size)
{
	uint8_t *bytes = malloc(size > 0 ? size : 1);
	FILE *f = fopen(path, "rb");

	if (bytes == NULL || f == NULL || fread(bytes, 1, size, f) != size) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(1);
	}
	fclose(f);
	/* the name of the file that crashes it is the last line */
	printf("%s\n", path);
	fflush(stdout);
	(void)LLVMFuzzerTestOneInput(bytes, size);
	free(bytes);
}

static size_t
replay_folder(const char *folder)
{
	DIR *d = opendir(folder);
	struct dirent *entry;
	size_t files = 0;

	if (d == NULL) {
		fprintf(stderr, "%s: %s\n", folder, strerror(errno));
		exit(1);
	}
	while ((entry = readdir(d)) != NULL) {
		char path[4096];
		struct stat st;

		(void)snprintf(
		    path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
			continue;
		replay_file(path, (size_t)st.st_size);
		files++;
	}
	closedir(d);
	return files;
}

int
main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: replay FOLDER...\n");
		return 2;
	}
	for (int i = 1; i < argc; i++) {
		size_t files = replay_folder(argv[i]);

		printf("%s: %zu inputs\n", argv[i], files);
		if (files == 0) {
			fprintf(stderr, "%s: no inputs\n", argv[i]);
			return 1;
		}
	}
	return 0;
}
