/*
 * machine: what the process is allowed to use of the machine it runs on.
 */
#ifndef PROXY_SERVER_MACHINE_H
#define PROXY_SERVER_MACHINE_H

#include <stdbool.h>

/* CPUs that affinity and the cgroup's quota leave us; at least 1. */
unsigned machine_cpus(void);

/* For threads that may be slow: the calling one lets those that carry messages
   go first from now on. */
void machine_step_back(void);

/* Raises the limit of open files as far as it goes; returns it. */
unsigned machine_raise_descriptors(void);

/* Whether there is a descriptor left at the moment. */
bool machine_has_descriptor(void);

#endif
