/* SPDX-License-Identifier: Apache-2.0
 *
 * The formatter behind diagnostics, trace lines and file names.
 *
 * One pass over the format; each conversion appends to a bounded output that silently stops at its
 * end, so a sentence that is too long is cut and never overruns. No state, safe in any context
 * including signal handlers. It must never call anything that could allocate.
 *
 * SYNCHRONIZATION. None: everything is the caller's.
 */
#include "base/format.h"

#include <stdint.h>

struct output {
    char *next;
    char *end; /* the place of the final NUL */
};

static void put(struct output *out, char c) {
    if (out->next < out->end)
        *out->next++ = c;
}

static void put_text(struct output *out, const char *text) {
    for (text = text ? text : "(null)"; *text; text++)
        put(out, *text);
}

static void put_number(struct output *out, uint64_t value, unsigned radix) {
    char digits[20];
    unsigned count = 0;
    do {
        digits[count++] = "0123456789abcdef"[value % radix];
        value /= radix;
    } while (value);
    while (count)
        put(out, digits[--count]);
}

static void put_signed(struct output *out, int64_t value) {
    if (value < 0)
        put(out, '-');
    put_number(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10);
}

/* All three lengths are one register wide where Mallard runs. */
static uint64_t next_unsigned(va_list *arguments, unsigned is_wide) {
    return is_wide ? va_arg(*arguments, unsigned long) : va_arg(*arguments, unsigned);
}

static int64_t next_signed(va_list *arguments, unsigned is_wide) {
    return is_wide ? va_arg(*arguments, long) : va_arg(*arguments, int);
}

static void convert(struct output *out, char conversion, unsigned is_wide, va_list *arguments) {
    switch (conversion) {
    case 's':
        put_text(out, va_arg(*arguments, const char *));
        break;
    case 'c':
        put(out, (char)va_arg(*arguments, int));
        break;
    case 'd':
        put_signed(out, next_signed(arguments, is_wide));
        break;
    case 'u':
        put_number(out, next_unsigned(arguments, is_wide), 10);
        break;
    case 'x':
        put_number(out, next_unsigned(arguments, is_wide), 16);
        break;
    case 'p':
        put_text(out, "0x");
        put_number(out, (uintptr_t)va_arg(*arguments, void *), 16);
        break;
    default:
        put(out, conversion);
    }
}

size_t mal_vformat(char *ret_text, size_t bytes, const char *format, va_list arguments) {
    struct output out = {ret_text, ret_text + bytes - 1};
    va_list rest;
    va_copy(rest, arguments);
    for (; *format; format++) {
        if (*format != '%') {
            put(&out, *format);
            continue;
        }
        unsigned is_wide = 0;
        for (format++; *format == 'l' || *format == 'z'; format++)
            is_wide = 1;
        if (!*format)
            break;
        convert(&out, *format, is_wide, &rest);
    }
    va_end(rest);
    *out.next = '\0';
    return (size_t)(out.next - ret_text);
}

size_t mal_format(char *ret_text, size_t bytes, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    size_t length = mal_vformat(ret_text, bytes, format, arguments);
    va_end(arguments);
    return length;
}
