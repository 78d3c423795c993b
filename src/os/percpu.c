/* SPDX-License-Identifier: Apache-2.0
 *
 * Setting up per-CPU access: which thread area to read, how many CPUs there may be.
 *
 * libc registers one struct rseq per thread and publishes where it lies; Mallard borrows it. The
 * kernel clears the rseq_cs field when it restarts a sequence, and ignores it when the thread is
 * outside the range it names, so several users in one process do not disturb each other.
 *
 * In lock mode the offset names a thread variable of ours that looks like the area of a thread the
 * kernel never registered: CPU -1 for ever.
 */
#include "os/percpu.h"

#include "base/atomic.h"

#include <errno.h>
#include <sched.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CPU_MASK_BYTES 1024 /* the kernel's own limit is 8192 CPUs */

char *mal_percpu_slabs;
intptr_t mal_percpu_area_offset;

static MAL_THREAD struct rseq unregistered = {.cpu_id = (uint32_t)RSEQ_CPU_ID_UNINITIALIZED};

/* sched_getaffinity returns the size of the kernel's own CPU masks: an upper bound that needs
 * neither /sys nor /proc and cannot change while the kernel runs. */
unsigned mal_percpu_possible_cpus(void) {
    static unsigned long mask[CPU_MASK_BYTES / sizeof(unsigned long)];
    int saved_errno = errno;
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    errno = saved_errno;
    return bytes > 0 ? (unsigned)bytes * 8 : CPU_MASK_BYTES * 8;
}

static const struct rseq *libc_area(void) {
    const void *area = (char *)__builtin_thread_pointer() + __rseq_offset;
    return area;
}

bool mal_percpu_have_rseq(void) {
    return __rseq_size != 0 && (int32_t)mal_load_relaxed(&libc_area()->cpu_id) >= 0;
}

static intptr_t unregistered_offset(void) {
    return (char *)&unregistered - (char *)__builtin_thread_pointer();
}

void mal_percpu_init(char *slabs, enum mal_percpu_mode mode) {
    mal_percpu_slabs = slabs;
    mal_percpu_area_offset = mode == MAL_PERCPU_RSEQ ? __rseq_offset : unregistered_offset();
}

int mal_percpu_current(void) {
    const void *address = (char *)__builtin_thread_pointer() + mal_percpu_area_offset;
    const struct rseq *area = address;
    return (int32_t)mal_load_relaxed(&area->cpu_id);
}

unsigned mal_percpu_ask_kernel(unsigned cpus) {
    int cpu = sched_getcpu();
    return cpu < 0 ? 0 : (unsigned)cpu % cpus;
}
