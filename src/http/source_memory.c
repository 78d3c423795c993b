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

static bool is_asked(struct mal_box_reader *reader, const struct http_ask *ask) {
    struct mal_identity identity;
    if (!http_viewer_sees(ask->viewer_uid, mal_reader_owner(reader)) ||
        mal_reader_identity(reader, &identity) < 0)
        return false;
    bool matches = http_key_matches(&ask->key, &identity);
    mal_identity_free(&identity);
    return matches;
}

static int memory_open(void *context, const struct http_ask *ask, http_process_visit *visit,
                       void *visit_context) {
    const struct http_memory_source *memory = context;
    struct http_facts facts = {.folder = "", .root = ""};
    struct mal_box_reader *reader;
    int error = mal_reader_from_memory(memory->base, memory->bytes, &reader);
    if (error < 0)
        return error;
    if (!is_asked(reader, ask)) {
        mal_reader_close(reader);
        return -ENOENT;
    }
    facts.uid = mal_reader_owner(reader);
    int result = http_source_visit(reader, &facts, visit, visit_context);
    return result == HTTP_UNREADABLE ? -EBADMSG : result;
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
