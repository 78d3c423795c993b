/* SPDX-License-Identifier: Apache-2.0
 *
 * Clipping for terminals.
 *
 * Widths are those of the C library's UTF-8 locale, whatever locale the user has: what is printed
 * is UTF-8 because names and command lines are. Where that locale does not exist every character
 * counts as one column, and a line of wide ones may wrap; nothing worse.
 *
 * Characters of no width at all (joiners, overrides of the direction) can make one name look like
 * another, so they are shown as '?'. Combining marks stay with the character before them.
 *
 * SYNCHRONIZATION  One thread.
 */
#include "cli/clip.h"

#include <locale.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

struct range {
    wchar_t first, last;
};

/* Format characters: no width, but an effect on what is around them. */
static const struct range deceiving[] = {
    {0x80, 0x9f},     {0xad, 0xad},     {0x61c, 0x61c},   {0x180e, 0x180e}, {0x200b, 0x200f},
    {0x2028, 0x202e}, {0x2060, 0x206f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f},
};

static bool is_harmless(wchar_t c) {
    if (c < ' ' || c == 0x7f)
        return false;
    for (size_t i = 0; i < sizeof deceiving / sizeof deceiving[0]; i++)
        if (c >= deceiving[i].first && c <= deceiving[i].last)
            return false;
    return true;
}

/* The code point of a sequence that view_utf8_bytes measured. */
static wchar_t code_point(const char *text, size_t length) {
    const unsigned char *bytes = (const unsigned char *)text;
    static const unsigned char first_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    wchar_t c = bytes[0] & first_bits[length];
    for (size_t i = 1; i < length; i++)
        c = (c << 6) | (bytes[i] & 0x3f);
    return c;
}

char *clip_printable(const char *text, size_t bytes) {
    char *copy = malloc(bytes + 1);
    size_t used = 0;
    if (copy == NULL)
        return NULL;
    for (size_t at = 0; at < bytes;) {
        size_t length = view_utf8_bytes(text + at, bytes - at);
        if (length > 0 && is_harmless(code_point(text + at, length))) {
            memcpy(copy + used, text + at, length);
            used += length;
        } else {
            copy[used++] = text[at] == '\0' ? ' ' : '?';
        }
        at += length > 0 ? length : 1;
    }
    copy[used] = '\0';
    return copy;
}

static locale_t utf8_locale(void) {
    static locale_t locale;
    if (locale == (locale_t)0)
        locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    return locale != (locale_t)0 ? locale : LC_GLOBAL_LOCALE;
}

static size_t width_of(wchar_t c) {
    int width = wcwidth(c);
    return width >= 0 ? (size_t)width : 1;
}

size_t clip_put(struct view_buffer *out, const char *text, size_t columns) {
    locale_t before = uselocale(utf8_locale());
    size_t bytes = strlen(text);
    size_t at = 0;
    size_t taken = 0;
    while (at < bytes) {
        size_t length = view_utf8_bytes(text + at, bytes - at);
        size_t width = length > 0 ? width_of(code_point(text + at, length)) : 1;
        if (taken + width > columns)
            break;
        taken += width;
        at += length > 0 ? length : 1;
    }
    uselocale(before);
    view_buffer_append(out, text, at);
    return taken;
}
