/* SPDX-License-Identifier: Apache-2.0
 *
 * The map of spans: a private copy, checked entry by entry.
 *
 * The section is copied whole under its sequence lock, first its head, then as many entries as the
 * head says. The stacks are append-only and complete before an entry names one, so they are copied
 * afterwards. An entry that breaks a rule is left out; a stack that does is taken for none.
 */
#include "box/reader.h"

#include "box/reader_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_BYTES offsetof(struct mal_box_spans, span)

/* One attempt under the sequence lock; *spans grows as needed and is the caller's to free. */
static int spans_try(struct mal_box_reader *reader, struct mal_box_spans **spans) {
    struct mal_box_spans *copy = *spans;
    uint64_t after;
    int error = mal_reader_section(reader, MAL_BOX_SPANS, 0, copy, HEAD_BYTES);
    if (error)
        return error;
    if (copy->sequence == 0)
        return -ENODATA;
    if (copy->sequence & 1)
        return -EAGAIN;
    if (copy->count > MAL_BOX_SPANS_MAX)
        return -EBADMSG;
    copy = realloc(copy, HEAD_BYTES + copy->count * sizeof(copy->span[0]));
    if (!copy)
        return -ENOMEM;
    *spans = copy;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    error = mal_reader_section(reader, MAL_BOX_SPANS, HEAD_BYTES, copy->span,
                               copy->count * sizeof(copy->span[0]));
    if (error)
        return error;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    error = mal_reader_section(reader, MAL_BOX_SPANS, 0, &after, sizeof(after));
    if (error)
        return error;
    return after == copy->sequence ? 0 : -EAGAIN;
}

static int spans_load(struct mal_box_reader *reader, struct mal_box_spans **ret_spans) {
    struct mal_box_spans *spans = malloc(sizeof(*spans));
    if (!spans)
        return -ENOMEM;
    uint64_t deadline_ns = mal_reader_patience_ns();
    int error;
    while ((error = spans_try(reader, &spans)) == -EAGAIN) {
        if (mal_reader_wait_for_writer(deadline_ns) != 0)
            break;
    }
    if (error) {
        free(spans);
        return error;
    }
    *ret_spans = spans;
    return 0;
}

static bool span_is_sound(const struct mal_box_span *span, uint64_t next_page) {
    return span->pages > 0 && span->objects > 0 && span->live <= span->objects &&
           span->class < MAL_BOX_CLASSES_MAX && span->page >= next_page;
}

static void fill(struct mal_span_map *map, const struct mal_box_spans *from, uint32_t stack_words) {
    const uint64_t *stacks = map->storage;
    uint64_t next_page = 0;
    for (uint32_t i = 0; i < from->count; i++) {
        const struct mal_box_span *span = &from->span[i];
        if (!span_is_sound(span, next_page))
            continue;
        next_page = (uint64_t)span->page + span->pages;
        bool pinned = mal_reader_stack_is_sound(stacks, stack_words, span->stack);
        map->spans[map->count++] = (struct mal_mapped_span){
            .address = from->base_address + span->page * from->page_bytes,
            .pages = span->pages,
            .class = span->class,
            .live = span->live,
            .objects = span->objects,
            .depth = pinned ? (uint32_t)stacks[span->stack] : 0,
            .pcs = pinned ? stacks + span->stack + 1 : NULL,
        };
    }
}

static struct mal_span_map *map_new(const struct mal_box_spans *from) {
    struct mal_span_map *map = calloc(1, sizeof(*map));
    if (!map)
        return NULL;
    map->spans = malloc(from->count * sizeof(*map->spans) + 1);
    map->taken_unix_ns = from->taken_unix_ns;
    map->page_bytes = from->page_bytes;
    map->total = from->total;
    map->stride = from->stride > 0 ? from->stride : 1;
    return map;
}

int mal_reader_spans(struct mal_box_reader *reader, struct mal_span_map **ret_map) {
    struct mal_box_spans *from;
    struct mal_box_header header;
    int error = spans_load(reader, &from);
    if (error)
        return error;
    struct mal_span_map *map = map_new(from);
    error = map && map->spans ? mal_reader_header(reader, &header) : -ENOMEM;
    if (map && !error)
        map->storage =
            mal_reader_load(reader, MAL_BOX_STACKS, header.stacks_used * sizeof(uint64_t), &error);
    if (!error) {
        fill(map, from, header.stacks_used);
        *ret_map = map;
    } else {
        mal_span_map_free(map);
    }
    free(from);
    return error;
}

void mal_span_map_free(struct mal_span_map *map) {
    if (!map)
        return;
    free(map->spans);
    free(map->storage);
    free(map);
}
