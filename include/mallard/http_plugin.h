/* SPDX-License-Identifier: Apache-2.0
 *
 * What libmallard.so and libmallard-http.so say to each other. Not for programs: they call
 * mallard_http_listen() of mallard.h.
 */
#ifndef MALLARD_HTTP_PLUGIN_H
#define MALLARD_HTTP_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mallard_http_plugin_args {
    uint32_t size;         /* sizeof of the caller's structure */
    uint32_t flags;        /* none yet: 0 */
    const void *box;       /* this process's box, mapped for as long as it is served */
    size_t box_bytes;
    const char *address;   /* HOST:PORT, [HOST]:PORT or unix:PATH */
    const char *token;     /* NULL: none */
    void (*thread_begin)(void); /* called first in each thread that the plug-in makes */
};

/* All return 0 or a negative errno. */
int mallard_http_plugin_start(const struct mallard_http_plugin_args *args);
int mallard_http_plugin_stop(void);
int mallard_http_plugin_address(char *ret_address, size_t bytes);

/* In a forked child: closes what was inherited, starts nothing. Async-signal-safe. */
int mallard_http_plugin_after_fork_child(const struct mallard_http_plugin_args *args);

/* Writes the heap profile of `box` as gzipped profile.proto. */
int mallard_http_plugin_write_heap(const void *box, size_t box_bytes, int fd);

#ifdef __cplusplus
}
#endif

#endif
