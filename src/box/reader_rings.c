/* SPDX-License-Identifier: Apache-2.0
 *
 * The two rings: history rows and trace text.
 *
 * A ring has no lock. The count of what was ever written is read before and after copying, and
 * what the writer may have written over meanwhile, or may be writing over now, is dropped.
 */
#include "box/reader.h"

#include "box/reader_private.h"

#include <errno.h>
#include <string.h>

#define TRACE_APPEND_MAX_BYTES 4096u /* a writer appends at most this much at once */
#define TRACE_ATTEMPTS 4

/* The running count of a ring, which is the first word of its section. */
static int written_now(const struct mal_box_reader *reader, enum mal_box_section_id id,
                       uint64_t *ret_written) {
    int error = mal_reader_section(reader, id, 0, ret_written, sizeof(*ret_written));
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return error;
}

/* The first row that nobody can be writing when the count is `written`. */
static uint64_t history_oldest(uint64_t written) {
    return written < MAL_BOX_HISTORY_ROWS ? 0 : written - MAL_BOX_HISTORY_ROWS + 1;
}

long mal_reader_history(struct mal_box_reader *reader, struct mal_box_history_row *ret_rows,
                        size_t max) {
    const size_t row_bytes = sizeof(*ret_rows);
    uint64_t written, later;
    int error = written_now(reader, MAL_BOX_HISTORY, &written);
    if (error)
        return error;
    uint64_t first = history_oldest(written);
    if (written - first > max)
        first = written - max;
    for (uint64_t n = first; n < written && !error; n++) {
        uint64_t at = offsetof(struct mal_box_history, row) + n % MAL_BOX_HISTORY_ROWS * row_bytes;
        error = mal_reader_section(reader, MAL_BOX_HISTORY, at, &ret_rows[n - first], row_bytes);
    }
    if (!error)
        error = written_now(reader, MAL_BOX_HISTORY, &later);
    if (error)
        return error;
    if (later < written)
        return -EBADMSG;
    uint64_t oldest = history_oldest(later), count = written - first;
    uint64_t lost = oldest > first ? oldest - first : 0;
    if (lost >= count)
        return 0;
    memmove(ret_rows, ret_rows + lost, (size_t)(count - lost) * row_bytes);
    return (long)(count - lost);
}

/* The first byte that no append in progress can be writing over. */
static uint64_t trace_oldest(uint64_t written) {
    const uint64_t kept = MAL_BOX_TRACE_BYTES - TRACE_APPEND_MAX_BYTES;
    return written < kept ? 0 : written - kept;
}

static int trace_copy(const struct mal_box_reader *reader, uint64_t from, char *text,
                      size_t bytes) {
    uint64_t at = from % MAL_BOX_TRACE_BYTES;
    size_t head = MAL_BOX_TRACE_BYTES - at < bytes ? (size_t)(MAL_BOX_TRACE_BYTES - at) : bytes;
    const uint64_t base = offsetof(struct mal_box_trace, text);
    int error = mal_reader_section(reader, MAL_BOX_TRACE, base + at, text, head);
    if (!error && head < bytes)
        error = mal_reader_section(reader, MAL_BOX_TRACE, base, text + head, bytes - head);
    return error;
}

/* Cuts `text` to what begins a line. Returns how much was cut: all of it when no line begins. */
static size_t trace_cut(char *text, size_t bytes) {
    const char *end = memchr(text, '\n', bytes);
    size_t cut = end ? (size_t)(end - text) + 1 : bytes;
    memmove(text, text + cut, bytes - cut);
    return cut;
}

/* One attempt from *cursor on. -EAGAIN: overwritten while copying. */
static long trace_try(const struct mal_box_reader *reader, uint64_t *cursor, char *text,
                      size_t max) {
    uint64_t written, later, from = *cursor;
    int error = written_now(reader, MAL_BOX_TRACE, &written);
    if (error)
        return error;
    bool too_old = from < trace_oldest(written);
    if (too_old)
        from = trace_oldest(written);
    if (from >= written)
        return 0;
    size_t bytes = written - from < max ? (size_t)(written - from) : max;
    error = trace_copy(reader, from, text, bytes);
    if (!error)
        error = written_now(reader, MAL_BOX_TRACE, &later);
    if (error)
        return error;
    if (later < written)
        return -EBADMSG;
    if (from < trace_oldest(later))
        return -EAGAIN;
    *cursor = from + bytes;
    return too_old ? (long)(bytes - trace_cut(text, bytes)) : (long)bytes;
}

long mal_reader_trace(struct mal_box_reader *reader, uint64_t *cursor, char *ret_text, size_t max) {
    if (max > MAL_BOX_TRACE_BYTES)
        max = MAL_BOX_TRACE_BYTES;
    long got = -EAGAIN;
    for (int attempt = 0; attempt < TRACE_ATTEMPTS && got == -EAGAIN; attempt++)
        got = trace_try(reader, cursor, ret_text, max);
    return got;
}
