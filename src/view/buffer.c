/* SPDX-License-Identifier: Apache-2.0
 *
 * The growing byte buffer. Room doubles; one byte beyond the content is always kept for a NUL.
 * Nothing here reports an error: the one flag is looked at once, at the end of a document.
 */
#include "view/buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALLEST_BYTES 256u

/* Makes room for `more` bytes and the NUL. */
static bool reserve(struct view_buffer *buffer, size_t more) {
    if (buffer->failed)
        return false;
    size_t needed, capacity;
    if (__builtin_add_overflow(buffer->bytes, more, &needed) || needed >= PTRDIFF_MAX / 2) {
        buffer->failed = true;
        return false;
    }
    if (needed < buffer->capacity_bytes)
        return true;
    capacity = buffer->capacity_bytes ? buffer->capacity_bytes : SMALLEST_BYTES;
    while (capacity <= needed)
        capacity *= 2;
    char *data = realloc(buffer->data, capacity);
    if (!data) {
        buffer->failed = true;
        return false;
    }
    buffer->data = data;
    buffer->capacity_bytes = capacity;
    return true;
}

void view_buffer_append(struct view_buffer *buffer, const void *data, size_t bytes) {
    if (!reserve(buffer, bytes))
        return;
    if (bytes > 0)
        memcpy(buffer->data + buffer->bytes, data, bytes);
    buffer->bytes += bytes;
    buffer->data[buffer->bytes] = 0;
}

char *view_buffer_room(struct view_buffer *buffer, size_t bytes) {
    return reserve(buffer, bytes) ? buffer->data + buffer->bytes : NULL;
}

void view_buffer_text(struct view_buffer *buffer, const char *text) {
    view_buffer_append(buffer, text, strlen(text));
}

void view_buffer_printf(struct view_buffer *buffer, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int bytes = vsnprintf(NULL, 0, format, arguments);
    if (bytes < 0)
        buffer->failed = true;
    else if (reserve(buffer, (size_t)bytes))
        buffer->bytes +=
            (size_t)vsnprintf(buffer->data + buffer->bytes, (size_t)bytes + 1, format, again);
    va_end(again);
    va_end(arguments);
}

/* Overlong forms, surrogates and code points beyond U+10FFFF are no sequences. */
size_t view_utf8_bytes(const char *text, size_t left) {
    const unsigned char *at = (const unsigned char *)text;
    unsigned char first = at[0];
    size_t bytes = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (bytes == 0 || bytes > left || first > 0xf4)
        return 0;
    for (size_t i = 1; i < bytes; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((first == 0xe0 && at[1] < 0xa0) || (first == 0xed && at[1] > 0x9f) ||
        (first == 0xf0 && at[1] < 0x90) || (first == 0xf4 && at[1] > 0x8f))
        return 0;
    return bytes;
}

static void append_json_ascii(struct view_buffer *buffer, unsigned char byte) {
    if (byte == '"' || byte == '\\')
        view_buffer_printf(buffer, "\\%c", byte);
    else if (byte == '\n')
        view_buffer_text(buffer, "\\n");
    else if (byte == '\t')
        view_buffer_text(buffer, "\\t");
    else
        view_buffer_printf(buffer, "\\u%04x", byte);
}

/* How much of `text` needs no escape at all. '<', '>' and '&' do, for pages that embed JSON. */
static size_t plain_bytes(const unsigned char *text, size_t left) {
    size_t bytes = 0;
    while (bytes < left && text[bytes] >= 0x20 && text[bytes] < 0x7f && text[bytes] != '"' &&
           text[bytes] != '\\' && text[bytes] != '<' && text[bytes] != '>' && text[bytes] != '&')
        bytes++;
    return bytes;
}

void view_buffer_json(struct view_buffer *buffer, const char *text, size_t bytes) {
    const char *at = text, *end = text + bytes;
    while (at < end) {
        size_t length = plain_bytes((const unsigned char *)at, (size_t)(end - at));
        view_buffer_append(buffer, at, length);
        at += length;
        if (at == end)
            return;
        length = view_utf8_bytes(at, (size_t)(end - at));
        if (length == 1)
            append_json_ascii(buffer, (unsigned char)*at);
        else if (length == 0)
            view_buffer_text(buffer, "\\ufffd");
        else
            view_buffer_append(buffer, at, length);
        at += length ? length : 1;
    }
}

static bool is_control(const char *text, size_t length) {
    const unsigned char *at = (const unsigned char *)text;
    return length == 1 ? at[0] < 0x20 || at[0] == 0x7f
                       : length == 2 && at[0] == 0xc2 && at[1] < 0xa0;
}

void view_buffer_printable(struct view_buffer *buffer, const char *text, size_t bytes) {
    for (size_t at = 0; at < bytes;) {
        size_t length = view_utf8_bytes(text + at, bytes - at);
        if (length == 0 || is_control(text + at, length))
            view_buffer_text(buffer, "?");
        else
            view_buffer_append(buffer, text + at, length);
        at += length ? length : 1;
    }
}

void view_buffer_reset(struct view_buffer *buffer) {
    buffer->bytes = 0;
    buffer->failed = false;
    if (buffer->data)
        buffer->data[0] = 0;
}

void view_buffer_free(struct view_buffer *buffer) {
    free(buffer->data);
    *buffer = (struct view_buffer){0};
}
