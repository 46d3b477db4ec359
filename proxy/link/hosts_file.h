/* hosts_file: names that the administrator of the machine has settled,
 * hosts(5).
 */
#ifndef PROXY_LINK_HOSTS_FILE_H
#define PROXY_LINK_HOSTS_FILE_H

#include "base/address.h"

/*
 * Reads <path> for <name>, in any case, be it a line's first name or an alias.
 * Returns how many addresses there are, at most ADDRESS_LIST_MAX, in the file's
 * order, without ports; 0 also when there is no such file.
 */
unsigned hosts_file_find(const char *path, const char *name,
    struct address out[static ADDRESS_LIST_MAX]);

#endif
