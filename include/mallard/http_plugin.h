/* SPDX-License-Identifier: Apache-2.0
 *
 * What libmallard.so and libmallard-http.so say to each other. Not for programs: they call
 * mallard_http_listen() of mallard.h.
 *
 * Calls are made one at a time. All return 0 or a negative errno, and write nothing to standard
 * error.
 */
#ifndef MALLARD_HTTP_PLUGIN_H
#define MALLARD_HTTP_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MALLARD_HTTP_PLUGIN_INSECURE 1u /* any address without a token */

struct mallard_http_plugin_args {
    uint32_t size;   /* sizeof of the caller's structure */
    uint32_t flags;  /* MALLARD_HTTP_PLUGIN_INSECURE */
    const void *box; /* this process's box, mapped for as long as it is served */
    size_t box_bytes;
    const char *address;        /* HOST:PORT, [HOST]:PORT or unix:PATH */
    const char *token;          /* NULL: none */
    void (*thread_begin)(void); /* called first in each thread of the server; may be NULL */
    char *problem;              /* gets a sentence when the server cannot start; may be NULL */
    size_t problem_bytes;
};

/* Serves until stopped. -EINVAL: no box, or no such address; -EALREADY while a server is running;
 * -EACCES where the address needs a token; others from the bind. */
int mallard_http_plugin_start(const struct mallard_http_plugin_args *args);
/* Cuts all connections and waits for the threads to end; 0 also when no server is running. */
int mallard_http_plugin_stop(void);

/* The same, waiting for that long at most. -ETIMEDOUT when an answer takes longer to make: nobody
 * is served any more, and it is to be stopped again before a start. 0 when none is running. */
int mallard_http_plugin_stop_within(uint64_t patience_ns);

/* How many threads the server has at this moment; 0 without one, or when it gave up because the
 * program closed its descriptors. Any thread, at any time. */
unsigned mallard_http_plugin_threads(void);

/* Where the server listens. -ENOTCONN when none does, -ENOSPC when `bytes` is too small. */
int mallard_http_plugin_address(char *ret_address, size_t bytes);

/* In a child after fork: forgets the parent's server, whose threads did not come along, and closes
 * what was inherited of it. Async-signal-safe as long as `args` is NULL; with `args` it then starts
 * a server of the child's own. */
int mallard_http_plugin_after_fork_child(const struct mallard_http_plugin_args *args);

/* Writes the heap profile of `box` as gzipped profile.proto. -ENOMEM, and others from write. */
int mallard_http_plugin_write_heap(const void *box, size_t box_bytes, int fd);

#ifdef __cplusplus
}
#endif

#endif
