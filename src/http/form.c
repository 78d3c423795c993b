/* SPDX-License-Identifier: Apache-2.0
 *
 * Parameters: the text behind the '?' and form bodies.
 *
 * libmicrohttpd parses both as well. They are parsed here because the contract is Go's, which
 * differs in what is skipped and which of two values counts, and because the body of a form and
 * the query of a URL have to give the same answer through the same code.
 *
 * SYNCHRONIZATION  None: pure functions over the caller's memory.
 */
#include "http/form.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The byte that the escape at `text` means, or -EINVAL. An escaped NUL would cut C strings. */
static int decode_escape(const char *text, size_t bytes) {
    if (bytes < 3)
        return -EINVAL;
    int high = hex_digit(text[1]);
    int low = hex_digit(text[2]);
    if (high < 0 || low < 0 || (high == 0 && low == 0))
        return -EINVAL;
    return high * 16 + low;
}

long http_decode(char *text, size_t bytes, enum http_decode how) {
    size_t to = 0;
    for (size_t from = 0; from < bytes; from++, to++) {
        int byte = (unsigned char)text[from];
        if (byte == '%') {
            byte = decode_escape(text + from, bytes - from);
            if (byte < 0)
                return -EINVAL;
            from += 2;
        } else if (byte == '+' && how == HTTP_DECODE_QUERY) {
            byte = ' ';
        }
        text[to] = (char)byte;
    }
    return (long)to;
}

/* One pair, name=value or only a name. What cannot be read is left out. */
static void parse_pair(struct http_form *form, const char *text, size_t bytes) {
    const char *equals = memchr(text, '=', bytes);
    size_t name_bytes = equals != NULL ? (size_t)(equals - text) : bytes;
    size_t value_bytes = equals != NULL ? bytes - name_bytes - 1 : 0;
    if (bytes == 0 || form->count == HTTP_FORM_PAIRS_MAX || memchr(text, ';', bytes) != NULL)
        return;
    char *copy = calloc(1, bytes + 2);
    if (copy == NULL)
        return;
    char *value = copy + name_bytes + 1;
    memcpy(copy, text, name_bytes);
    if (value_bytes > 0)
        memcpy(value, equals + 1, value_bytes);
    long name_end = http_decode(copy, name_bytes, HTTP_DECODE_QUERY);
    long value_end = http_decode(value, value_bytes, HTTP_DECODE_QUERY);
    if (name_end < 0 || value_end < 0) {
        free(copy);
        return;
    }
    copy[name_end] = '\0';
    value[value_end] = '\0';
    form->pair[form->count++] = (struct http_form_pair){copy, value};
}

void http_form_parse(struct http_form *form, const char *text, size_t bytes) {
    while (bytes > 0) {
        const char *end = memchr(text, '&', bytes);
        size_t pair_bytes = end != NULL ? (size_t)(end - text) : bytes;
        size_t step = end != NULL ? pair_bytes + 1 : pair_bytes;
        parse_pair(form, text, pair_bytes);
        text += step;
        bytes -= step;
    }
}

void http_form_free(struct http_form *form) {
    for (size_t i = 0; i < form->count; i++)
        free(form->pair[i].name);
    form->count = 0;
}

const char *http_form_get(const struct http_form *form, const char *name) {
    for (size_t i = 0; i < form->count; i++)
        if (strcmp(form->pair[i].name, name) == 0)
            return form->pair[i].value;
    return "";
}

int http_parse_int(const char *text, int64_t *ret_value) {
    const char *digits = text + (*text == '+' || *text == '-');
    if (*digits == '\0' || digits[strspn(digits, "0123456789")] != '\0') {
        *ret_value = 0;
        return -EINVAL;
    }
    errno = 0;
    *ret_value = strtoll(text, NULL, 10);
    return errno == ERANGE ? -ERANGE : 0;
}

/* "gzip", "br, gzip;q=0.8", not "gzip;q=0". */
bool http_accepts_gzip(const char *header) {
    static const char separators[] = ", \t";
    for (const char *at = header; at != NULL && *at != '\0'; at += strcspn(at, ",")) {
        at += strspn(at, separators);
        if (strncasecmp(at, "gzip", 4) != 0 || strchr(";, \t", at[4]) == NULL)
            continue;
        const char *weight = at + 4 + strspn(at + 4, "; \t");
        if (strncasecmp(weight, "q=", 2) != 0)
            return true;
        weight += 2 + strspn(weight + 2, "0.");
        return *weight >= '1' && *weight <= '9';
    }
    return false;
}
