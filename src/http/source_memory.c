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

/* Whose process it is needs no file to tell: the box is ours. */
static int memory_read(const struct http_memory_source *memory, struct mal_box_reader **ret_reader,
                       struct mal_identity *ret_identity) {
    int error = mal_reader_from_memory(memory->base, memory->bytes, ret_reader);
    if (error < 0)
        return error;
    error = mal_reader_identity(*ret_reader, ret_identity);
    if (error < 0)
        mal_reader_close(*ret_reader);
    return error;
}

static int show(struct mal_box_reader *reader, uint32_t uid, http_process_visit *visit,
                void *visit_context) {
    struct http_facts facts = {.uid = uid, .folder = "", .root = ""};
    int result = http_source_visit(reader, &facts, visit, visit_context);
    return result == HTTP_UNREADABLE ? -EBADMSG : result;
}

static int memory_open(void *context, const struct http_ask *ask, http_process_visit *visit,
                       void *visit_context) {
    struct mal_box_reader *reader;
    struct mal_identity identity;
    int error = memory_read(context, &reader, &identity);
    if (error < 0)
        return error;
    uint32_t uid = identity.uid;
    bool found = http_key_matches(&ask->key, &identity) && http_viewer_sees(ask->viewer_uid, uid);
    mal_identity_free(&identity);
    if (found)
        return show(reader, uid, visit, visit_context);
    mal_reader_close(reader);
    return -ENOENT;
}

static int memory_each(void *context, uint32_t viewer_uid, http_process_visit *visit,
                       void *visit_context) {
    const struct http_ask any = {.viewer_uid = viewer_uid};
    int result = memory_open(context, &any, visit, visit_context);
    return result == -ENOENT ? 0 : result;
}

struct http_source http_memory_source(struct http_memory_source *memory) {
    return (struct http_source){memory_open, memory_each, memory};
}
