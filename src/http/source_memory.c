/* SPDX-License-Identifier: Apache-2.0
 *
 * The process that the server runs in: one box, in memory, always there.
 *
 * A handle is opened per request, so no handle is ever shared between the loop and the workers.
 *
 * SYNCHRONIZATION  The structure is constant once the server has started; the box is written by
 * the core under the rules of box/layout.h.
 */
#include "http/source.h"

#include <errno.h>
#include <string.h>

static int memory_open(void *context, uint32_t pid, struct mal_box_reader **ret_reader) {
    const struct http_memory_source *memory = context;
    struct mal_box_reader *reader;
    struct mal_identity identity;
    int error = mal_reader_from_memory(memory->base, memory->bytes, &reader);
    if (error < 0)
        return error;
    error = mal_reader_identity(reader, &identity);
    if (error < 0)
        goto fail;
    uint32_t own = identity.pid;
    mal_identity_free(&identity);
    error = pid != 0 && pid != own ? -ENOENT : 0;
    if (error < 0)
        goto fail;
    *ret_reader = reader;
    return 0;
fail:
    mal_reader_close(reader);
    return error;
}

static int memory_each(void *context, http_process_visit *visit, void *visit_context) {
    struct mal_box_reader *reader;
    struct mal_identity identity;
    struct mal_status status;
    int result = memory_open(context, 0, &reader);
    if (result < 0)
        return result;
    result = mal_reader_identity(reader, &identity);
    if (result < 0)
        goto out_reader;
    result = mal_reader_status(reader, &status);
    if (result == 0)
        result = visit(&(struct http_process){reader, &identity, &status}, visit_context);
    mal_identity_free(&identity);
out_reader:
    mal_reader_close(reader);
    return result;
}

struct http_source http_memory_source(struct http_memory_source *memory) {
    return (struct http_source){memory_open, memory_each, memory};
}
