/*
 * files: where the two configuration files are.
 */
#ifndef PROXY_SERVER_FILES_H
#define PROXY_SERVER_FILES_H

struct server_files {
	const char *settings; /* NULL: built-in defaults */
	const char *devices;
};

#endif
