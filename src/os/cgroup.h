/* SPDX-License-Identifier: Apache-2.0
 *
 * How much memory the control group that this process is in may use.
 */
#ifndef MAL_OS_CGROUP_H
#define MAL_OS_CGROUP_H

#include <stdint.h>

#define MAL_CGROUP_NO_LIMIT UINT64_MAX
#define MAL_CGROUP_MEMBERSHIP "/proc/self/cgroup"
#define MAL_CGROUP_ROOT "/sys/fs/cgroup"

/* The smallest limit of the group named in file `membership` and of those above it, in bytes, where
 * the hierarchy lies under `root`: memory.max of the unified one, memory.limit_in_bytes of the
 * older one. MAL_CGROUP_NO_LIMIT where there is none or nothing can be read. Allocates nothing,
 * keeps errno. */
uint64_t mal_cgroup_memory_limit_bytes(const char *membership, const char *root);

#endif
