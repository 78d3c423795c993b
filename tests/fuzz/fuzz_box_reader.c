/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzzes what reads boxes: an input becomes a box, and everything that can be asked of a box is
 * asked, up to the finished profile.
 *
 * An input is one of two things:
 *   - a box as it is, when it begins with the magic; it is copied to memory of exactly its size,
 *     so that reading one byte too far is seen;
 *   - else a list of changes to a good box: section (8 is the header), offset (24 bits, little
 *     endian), length, that many bytes. Small changes reach deeper than random megabytes.
 */
#include "box/reader.h"
#include "support/box_fixture.h"
#include "view/view.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void require(int condition) {
    if (!condition)
        abort();
}

static void ask_rings(struct mal_box_reader *reader) {
    static struct mal_box_history_row rows[MAL_BOX_HISTORY_ROWS];
    static char text[MAL_BOX_TRACE_BYTES];
    uint64_t cursor = 0;
    require(mal_reader_history(reader, rows, MAL_BOX_HISTORY_ROWS) <= (long)MAL_BOX_HISTORY_ROWS);
    require(mal_reader_trace(reader, &cursor, text, sizeof(text)) <= (long)sizeof(text));
    require(mal_reader_trace(reader, &cursor, text, 7) <= 7);
}

static void ask_views(const struct mal_snapshot *snapshot, const struct view_process *process) {
    static struct view_symbols *symbols;
    struct view_buffer out = {0};
    if (!symbols)
        require(view_symbols_create(&symbols) == 0);
    view_heap_proto(snapshot, symbols, VIEW_HEAP, &out);
    struct view_base *base;
    if (view_heap_base(snapshot, &base) == 0) {
        view_heap_delta_proto(base, snapshot, symbols, VIEW_HEAP, &out);
        free(base);
    }
    view_heap_text(snapshot, &process->stats, symbols, &out);
    view_empty_proto("block", snapshot, &out);
    view_index_html(snapshot, &out);
    view_memstats_json(&process->stats, &out);
    view_metrics_text(process, 1, &out);
    view_stat_text(process, NULL, &out);
    view_buffer_free(&out);
}

static void ask_spans(struct mal_box_reader *reader) {
    struct mal_span_map *map;
    volatile uint64_t sum = 0; /* every word is touched */
    if (mal_reader_spans(reader, &map) != 0)
        return;
    for (size_t i = 0; i < map->count; i++) {
        const struct mal_mapped_span *span = &map->spans[i];
        require(span->live <= span->objects && span->class < MAL_BOX_CLASSES_MAX);
        for (uint32_t frame = 0; frame < span->depth; frame++)
            sum += span->pcs[frame];
    }
    mal_span_map_free(map);
}

static void ask_everything(struct mal_box_reader *reader) {
    struct view_process process = {0};
    struct mal_snapshot *snapshot;
    ask_rings(reader);
    ask_spans(reader);
    if (mal_reader_identity(reader, &process.identity) != 0)
        return;
    if (mal_reader_status(reader, &process.status) == 0 &&
        mal_reader_stats(reader, &process.stats) == 0 &&
        mal_reader_snapshot(reader, &snapshot) == 0) {
        ask_views(snapshot, &process);
        mal_snapshot_free(snapshot);
    }
    mal_identity_free(&process.identity);
}

static void ask_memory(const void *base, size_t bytes) {
    struct mal_box_reader *reader;
    if (mal_reader_from_memory(base, bytes, &reader) != 0)
        return;
    ask_everything(reader);
    mal_reader_close(reader);
}

/* ----------------------------------------------------------------------- changes to a good box */

struct change {
    uint8_t *at;
    size_t bytes;
    uint8_t before[255];
};

/* Takes one change off the input and makes it. False at the end of the input. */
static int make_change(struct box_fixture *box, const uint8_t **data, size_t *left,
                       struct change *change) {
    const uint8_t *input = *data;
    if (*left < 5 || (size_t)input[4] > *left - 5)
        return 0;
    size_t section = input[0] % (MAL_BOX_SECTIONS + 1);
    size_t offset = input[1] | (size_t)input[2] << 8 | (size_t)input[3] << 16;
    size_t base = section == MAL_BOX_SECTIONS
                      ? offset % sizeof(struct mal_box_header)
                      : box_fixture_header(box)->section[section].offset + offset;
    change->bytes = input[4];
    if (base > box_fixture_bytes(box) - change->bytes)
        change->bytes = 0;
    change->at = (uint8_t *)box_fixture_base(box) + (change->bytes ? base : 0);
    memcpy(change->before, change->at, change->bytes);
    memcpy(change->at, input + 5, change->bytes);
    *data += 5 + input[4];
    *left -= 5 + (size_t)input[4];
    return 1;
}

static void ask_changed(const uint8_t *data, size_t bytes) {
    enum { MOST = 64 };
    static struct box_fixture *box;
    static struct change changes[MOST];
    struct mal_box_header header;
    if (!box)
        box = box_fixture_typical();
    memcpy(&header, box_fixture_header(box), sizeof(header));
    size_t count = 0;
    while (count < MOST && make_change(box, &data, &bytes, &changes[count])) {
        count++;
        /* Later changes find their section even when the header was changed. */
        if (memcmp(box_fixture_header(box)->section, header.section, sizeof(header.section)) != 0)
            break;
    }
    ask_memory(box_fixture_base(box), box_fixture_bytes(box));
    while (count-- > 0)
        memcpy(changes[count].at, changes[count].before, changes[count].bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (bytes < 8 || memcmp(data, MAL_BOX_MAGIC, 8) != 0) {
        ask_changed(data, bytes);
        return 0;
    }
    void *copy = malloc(bytes);
    require(copy != NULL);
    memcpy(copy, data, bytes);
    ask_memory(copy, bytes);
    free(copy);
    return 0;
}
