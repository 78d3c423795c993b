/* SPDX-License-Identifier: Apache-2.0
 *
 * Text of any bytes inside of lines and fields: below 0x20, 0x7f and the backslash are written as
 * \xHH, all else as it is. So a line ends where it ends, a tab parts fields, and `grep` works.
 */
#include "keep/keep_private.h"

#include <string.h>

static bool is_plain(unsigned char byte) {
    return byte >= 0x20 && byte != 0x7f && byte != '\\';
}

void keep_escape(const char *text, size_t bytes, struct view_buffer *out) {
    size_t at = 0;
    while (at < bytes) {
        size_t run = at;
        while (run < bytes && is_plain((unsigned char)text[run]))
            run++;
        view_buffer_append(out, text + at, run - at);
        if (run < bytes)
            view_buffer_printf(out, "\\x%02x", (unsigned char)text[run++]);
        at = run;
    }
}

static int digit_of(char digit) {
    static const char digits[] = "0123456789abcdef";
    const char *at = digit ? strchr(digits, digit) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* The byte that `text` of at least four bytes stands for; -1 when it is no escape. */
static int escaped(const char *text) {
    int high = digit_of(text[2]), low = digit_of(text[3]);
    if (text[0] != '\\' || text[1] != 'x' || high < 0 || low < 0)
        return -1;
    int byte = high * 16 + low;
    return is_plain((unsigned char)byte) ? -1 : byte;
}

long keep_unescape(char *text, size_t bytes) {
    size_t from = 0, to = 0;
    while (from < bytes) {
        if (is_plain((unsigned char)text[from])) {
            text[to++] = text[from++];
            continue;
        }
        int byte = bytes - from >= 4 ? escaped(text + from) : -1;
        if (byte < 0)
            return -1;
        text[to++] = (char)byte;
        from += 4;
    }
    return (long)to;
}
