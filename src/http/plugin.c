/* SPDX-License-Identifier: Apache-2.0
 *
 * libmallard-http.so: the server as a guest in the program that it tells about.
 *
 * The core loads it only when in-process HTTP is asked for, hands over its box, and is told
 * nothing back. After a fork the child has none of the server's threads; what the parent's server
 * left in the child's memory is abandoned where it lies, because taking it apart would mean to
 * use locks and structures in whatever state the fork found them.
 *
 * SYNCHRONIZATION  The core makes one call at a time, so `running` and `own_box` need no lock;
 * `threads` is atomic.
 *
 * It must never call the core except through `thread_begin`.
 */
#include "mallard/http_plugin.h"

#include "base/attr.h"
#include "http/heap_file.h"
#include "http/server.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static struct http_server *running;
static struct http_memory_source own_box;
static _Atomic unsigned threads; /* of `running` */

MAL_PUBLIC int mallard_http_plugin_start(const struct mallard_http_plugin_args *args) {
    char problem[HTTP_PROBLEM_BYTES];
    if (args == NULL || args->size < sizeof *args || args->box == NULL || args->address == NULL)
        return -EINVAL;
    if (running != NULL)
        return -EALREADY;
    own_box = (struct http_memory_source){args->box, args->box_bytes};
    struct http_options options = {
        .address = args->address,
        .token = args->token,
        .flags =
            HTTP_GUEST | (args->flags & MALLARD_HTTP_PLUGIN_INSECURE ? HTTP_ALLOW_INSECURE : 0),
        .source = http_memory_source(&own_box),
        .thread_begin = args->thread_begin,
        .threads = &threads,
    };
    int error = http_server_start(&options, &running, problem);
    if (error < 0)
        atomic_store(&threads, 0);
    if (error < 0 && args->problem != NULL)
        snprintf(args->problem, args->problem_bytes, "%s", problem);
    return error;
}

MAL_PUBLIC int mallard_http_plugin_stop(void) {
    http_server_stop(running);
    running = NULL;
    return 0;
}

MAL_PUBLIC int mallard_http_plugin_stop_within(uint64_t patience_ns) {
    int error = http_server_stop_within(running, patience_ns);
    if (error == 0)
        running = NULL;
    return error;
}

MAL_PUBLIC unsigned mallard_http_plugin_threads(void) {
    return atomic_load(&threads);
}

MAL_PUBLIC int mallard_http_plugin_address(char *ret_address, size_t bytes) {
    if (running == NULL)
        return -ENOTCONN;
    const char *address = http_server_address(running);
    if (strlen(address) >= bytes)
        return -ENOSPC;
    memcpy(ret_address, address, strlen(address) + 1);
    return 0;
}

MAL_PUBLIC int mallard_http_plugin_after_fork_child(const struct mallard_http_plugin_args *args) {
    http_server_forget(running);
    running = NULL;
    atomic_store(&threads, 0);
    return args != NULL ? mallard_http_plugin_start(args) : 0;
}

MAL_PUBLIC int mallard_http_plugin_write_heap(const void *box, size_t box_bytes, int fd) {
    struct mal_box_reader *reader;
    int error = mal_reader_from_memory(box, box_bytes, &reader);
    if (error < 0)
        return error;
    error = http_heap_write(reader, VIEW_HEAP, fd);
    mal_reader_close(reader);
    return error;
}
