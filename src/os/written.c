/* SPDX-License-Identifier: Apache-2.0
 *
 * Written pages, by Linux 6.7's means (arm64: 6.10's).
 *
 * A range is registered with a userfaultfd whose write protection is asynchronous: the first write
 * to a protected page, by the program or by the kernel on its behalf, takes a fault that the kernel
 * resolves alone by taking the protection off. No signal, no other thread, no event. A page is
 * "written" when it is not protected; PAGEMAP_SCAN reports such pages and, when asked to, protects
 * them in the same step, under the page table's lock and with the TLBs flushed before it returns:
 * a store is either visible to whoever reads the page after that, or makes the page "written"
 * again.
 *
 * Headers are older than kernels: what they may lack is defined here. Whether the kernel has it is
 * found out by asking, never by its version number.
 *
 * SYNCHRONIZATION: none here; see written.h.
 *
 * It must never report a page as clean on an error: every failure is returned.
 */
#include "os/written.h"

#include "os/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE (1u << 1)
#endif

#define FEATURES                                                                                   \
    (UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC)

#define SCAN_WP_MATCHING (1u << 0)
#define SCAN_CHECK_WPASYNC (1u << 1)
#define PAGE_WRITTEN (1u << 1)

/* The kernel's struct pm_scan_arg. */
struct scan {
    uint64_t bytes;
    uint64_t flags;
    uint64_t low, high;
    uint64_t walked_to;
    uint64_t regions, most_regions;
    uint64_t most_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask;
    uint64_t return_mask;
};
#define SCAN_REQUEST _IOWR('f', 16, struct scan)

_Static_assert(sizeof(struct scan) == 96, "given by the kernel");
_Static_assert(sizeof(struct mal_written_region) == 24, "given by the kernel");

static int ask(int fd, unsigned long request, void *argument) {
    return (int)mal_syscall(SYS_ioctl, fd, request, argument);
}

/* A descriptor or a negative errno. */
static int open_protector(void) {
    int fd = (int)mal_syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    if (fd < 0)
        return fd;
    struct uffdio_api api = {.api = UFFD_API, .features = FEATURES};
    int result = ask(fd, UFFDIO_API, &api);
    if (result < 0) {
        mal_file_close(fd);
        return result;
    }
    return fd;
}

int mal_written_open(struct mal_written *ret_written) {
    struct mal_written opened = {open_protector(), -1};
    if (opened.protector < 0)
        return opened.protector;
    opened.marks = mal_file_open("/proc/thread-self/pagemap", O_RDONLY | O_CLOEXEC, 0);
    if (opened.marks < 0) {
        mal_file_close(opened.protector);
        return opened.marks;
    }
    *ret_written = opened;
    return 0;
}

void mal_written_close(struct mal_written *written) {
    if (written->protector >= 0)
        mal_file_close(written->protector);
    if (written->marks >= 0)
        mal_file_close(written->marks);
    *written = (struct mal_written)MAL_WRITTEN_CLOSED;
}

void mal_written_forget_in_child(struct mal_written *written) {
    *written = (struct mal_written)MAL_WRITTEN_CLOSED;
}

int mal_written_watch(const struct mal_written *written, uintptr_t low, uintptr_t high) {
    struct uffdio_register range = {.range = {low, high - low}, .mode = UFFDIO_REGISTER_MODE_WP};
    return ask(written->protector, UFFDIO_REGISTER, &range);
}

void mal_written_unwatch(const struct mal_written *written, uintptr_t low, uintptr_t high) {
    struct uffdio_range range = {low, high - low};
    ask(written->protector, UFFDIO_UNREGISTER, &range);
}

void mal_written_unprotect(const struct mal_written *written, uintptr_t low, uintptr_t high) {
    struct uffdio_writeprotect range = {.range = {low, high - low}};
    ask(written->protector, UFFDIO_WRITEPROTECT, &range);
}

int mal_written_scan(const struct mal_written *written, uintptr_t low, uintptr_t high,
                     enum mal_written_scan scan, struct mal_written_region *regions, size_t most,
                     struct mal_written_result *ret_result) {
    struct scan arguments = {
        .bytes = sizeof(arguments),
        .flags = SCAN_CHECK_WPASYNC | (scan == MAL_WRITTEN_CLEAR ? SCAN_WP_MATCHING : 0),
        .low = low,
        .high = high,
        .regions = (uintptr_t)regions,
        .most_regions = most,
        .category_mask = PAGE_WRITTEN,
        .return_mask = PAGE_WRITTEN,
    };
    int result = ask(written->marks, SCAN_REQUEST, &arguments);
    if (result < 0)
        return result;
    *ret_result = (struct mal_written_result){(size_t)result, (uintptr_t)arguments.walked_to};
    return 0;
}

int mal_written_by_kernel(void *address) {
    return (int)mal_syscall(SYS_uname, address);
}

void mal_written_ask_huge(void *address, size_t bytes) {
    mal_syscall(SYS_madvise, address, bytes, MADV_HUGEPAGE);
}

static int close_range_unshared(unsigned first, unsigned last) {
    return (int)mal_syscall(SYS_close_range, first, last, CLOSE_RANGE_UNSHARE);
}

/* What a sanitizer finds it says on standard error, by whichever thread has found it. */
#if defined(MAL_SANITIZED)
#define LOWEST_CLOSED (STDERR_FILENO + 1)
#else
#define LOWEST_CLOSED 0
#endif

int mal_fds_become_private(int keep) {
    int result = 0;
    if (keep > LOWEST_CLOSED)
        result = close_range_unshared(LOWEST_CLOSED, (unsigned)keep - 1);
    if (result == 0)
        result =
            close_range_unshared((unsigned)(keep < LOWEST_CLOSED ? LOWEST_CLOSED : keep + 1), ~0u);
    return result;
}
