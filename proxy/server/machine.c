#include "server/machine.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

enum { NICE = 10 };

/* "max 100000" or "150000 100000", both in microseconds. */
static unsigned
quota_of(const char *path)
{
	FILE *f = fopen(path, "re");
	unsigned long quota, period;
	int n;

	if (f == NULL)
		return UINT_MAX;
	n = fscanf(f, "%lu %lu", &quota, &period);
	(void)fclose(f);
	if (n != 2 || period == 0)
		return UINT_MAX;
	return (unsigned)((quota + period - 1) / period);
}

/* cgroup v2: in a container our own group is the root, on a host it is the one
   that "0::/PATH" names. */
static unsigned
quota_cpus(void)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	char group[200] = "", path[256];

	if (f != NULL) {
		if (fscanf(f, "0::%199s", group) != 1)
			group[0] = '\0';
		(void)fclose(f);
	}
	(void)snprintf(path, sizeof(path), "/sys/fs/cgroup%s/cpu.max", group);
	return quota_of(path);
}

unsigned
machine_cpus(void)
{
	cpu_set_t set;
	unsigned cpus = 1, quota = quota_cpus();

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		cpus = (unsigned)CPU_COUNT(&set);
	if (quota < cpus)
		cpus = quota;
	return cpus > 0 ? cpus : 1;
}

/* setpriority(2): in Linux the nice value is a thread's own. */
void
machine_step_back(void)
{
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
}

unsigned
machine_raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 1024;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	(void)getrlimit(RLIMIT_NOFILE, &limit);
	return limit.rlim_cur < UINT_MAX ? (unsigned)limit.rlim_cur : UINT_MAX;
}

bool
machine_has_descriptor(void)
{
	int fd = eventfd(0, EFD_CLOEXEC);

	if (fd >= 0)
		(void)close(fd);
	return fd >= 0;
}
