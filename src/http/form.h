/* SPDX-License-Identifier: Apache-2.0
 *
 * Parameters of a request, read as Go's net/url reads them: pairs separated by '&', '+' is a
 * space, a pair with ';', a broken escape or an escaped NUL is left out. The first of several
 * equal names counts. Parameters of a body are parsed before those of the URL, so they win.
 */
#ifndef MAL_HTTP_FORM_H
#define MAL_HTTP_FORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_FORM_PAIRS_MAX 64

struct http_form_pair {
    char *name; /* owned; the value follows it in the same allocation */
    char *value;
};

struct http_form {
    struct http_form_pair pair[HTTP_FORM_PAIRS_MAX];
    size_t count;
};

/* Adds the pairs of `text`; those beyond HTTP_FORM_PAIRS_MAX are left out. */
void http_form_parse(struct http_form *form, const char *text, size_t bytes);
void http_form_free(struct http_form *form);

/* The first value of that name, or "". */
const char *http_form_get(const struct http_form *form, const char *name);

/* Decodes %XX in place, and '+' when asked to. Returns the new length, or -EINVAL. */
enum http_decode { HTTP_DECODE_PATH, HTTP_DECODE_QUERY };
long http_decode(char *text, size_t bytes, enum http_decode how);

/* True when an Accept-Encoding header, which may be NULL, allows gzip. */
bool http_accepts_gzip(const char *header);

/* A decimal integer as strconv.ParseInt(text, 10, 64) reads it. -ERANGE saturates the result, any
 * other text gives -EINVAL and 0. */
int http_parse_int(const char *text, int64_t *ret_value);

#endif
