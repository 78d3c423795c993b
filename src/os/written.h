/* SPDX-License-Identifier: Apache-2.0
 *
 * Which pages of this process were written to: the kernel's asynchronous write protection
 * (userfaultfd) and the call that reads and clears its marks (PAGEMAP_SCAN).
 *
 * Preconditions: addresses are multiples of the OS page. Results are 0 or a negative errno; errno
 * itself is left alone. One `struct mal_written` may be used by all threads that share the table of
 * file descriptors in which it was opened; open and close exclude everything else.
 */
#ifndef MAL_OS_WRITTEN_H
#define MAL_OS_WRITTEN_H

#include <stddef.h>
#include <stdint.h>

struct mal_written {
    int protector; /* userfaultfd, or -1 */
    int marks;     /* /proc/thread-self/pagemap, or -1 */
};
#define MAL_WRITTEN_CLOSED                                                                         \
    { -1, -1 }

/* Layout given by the kernel (struct page_region). */
struct mal_written_region {
    uint64_t low, high;
    uint64_t categories;
};

int mal_written_open(struct mal_written *ret_written);
void mal_written_close(struct mal_written *written);
/* In a child of fork, where the descriptors, if it has copies of them at all, still speak of the
 * parent's memory. They are not closed: unless they lay in a private table, the program may have
 * closed them long ago and given their numbers to something else. */
void mal_written_forget_in_child(struct mal_written *written);

/* Writes to the range can be seen from the next clear on. Idempotent. */
int mal_written_watch(const struct mal_written *written, uintptr_t low, uintptr_t high);
void mal_written_unwatch(const struct mal_written *written, uintptr_t low, uintptr_t high);
/* Writes cost nothing until the next clear; all of the range counts as written. Still watched. */
void mal_written_unprotect(const struct mal_written *written, uintptr_t low, uintptr_t high);

enum mal_written_scan { MAL_WRITTEN_LOOK, MAL_WRITTEN_CLEAR };
struct mal_written_result {
    size_t regions; /* filled in */
    /* May lie below `high` though there was room, and below regions that are reported. */
    uintptr_t walked_to;
};
/* Fills in regions of written pages from [low, high). -EPERM when part of it is not watched. */
int mal_written_scan(const struct mal_written *written, uintptr_t low, uintptr_t high,
                     enum mal_written_scan scan, struct mal_written_region *regions, size_t most,
                     struct mal_written_result *ret_result);

/* A write by the kernel, as read(2) makes it, of up to 512 bytes at `address`. */
int mal_written_by_kernel(void *address);
/* Asks for huge pages in the range; a hint. */
void mal_written_ask_huge(void *address, size_t bytes);

/* Gives the calling thread a table of file descriptors of its own, in which only `keep` is left
 * (-1: none; in a sanitizer's build the standard ones too). Threads that it starts later share it,
 * so they must be none that run the program's code; the rest of the process keeps its own, can
 * close all of it, and sees nothing of what is opened here. */
int mal_fds_become_private(int keep);

#endif
